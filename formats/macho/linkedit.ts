/**
 * What __LINKEDIT is made of: which fields of which load command say where each part is. Reading gives
 * the parts, the layout writes the fields. All of it: 22 pairs of fields in 16 commands, of cctools-1035,
 * `mach-o/loader.h`.
 *
 * @module
 */
import { type Contents, contentsSize } from '../contents.ts';
import { FormatError, hex } from '../errors.ts';
import { nameOf } from '../names.ts';
import type { ByteSource } from '../source.ts';
import { viewOf } from '../struct.ts';
import { LC } from './constants.ts';
import { sliceOf } from './extents.ts';
import {
  isSegment,
  type LinkeditBlob,
  type LinkeditKind,
  type LoadCommand,
  type MachOFile,
  type OtherCommand,
} from './model.ts';
import {
  dyld_info_command,
  dysymtab_command,
  LE,
  linkedit_data_command,
  nlist_64,
  symtab_command,
  twolevel_hints_command,
} from './structs.ts';

/** Where a command says that a part is: the offsets, within the command, of two u32. */
interface BlobFields {
  readonly kind: LinkeditKind;
  /** Of the file offset. */
  readonly offset: number;
  /** Of the number of entries. */
  readonly count: number;
  /** Bytes an entry has. */
  readonly unit: number;
}

const symtab: readonly BlobFields[] = [
  {
    kind: 'symbols',
    offset: symtab_command.offsets.symoff,
    count: symtab_command.offsets.nsyms,
    unit: nlist_64.size,
  },
  {
    kind: 'strings',
    offset: symtab_command.offsets.stroff,
    count: symtab_command.offsets.strsize,
    unit: 1,
  },
];

const dysymtab = (
  kind: LinkeditKind,
  offset: keyof dysymtab_command,
  count: keyof dysymtab_command,
  unit: number,
): BlobFields => ({
  kind,
  offset: dysymtab_command.offsets[offset],
  count: dysymtab_command.offsets[count],
  unit,
});

const dyldInfo = (
  kind: LinkeditKind,
  offset: keyof dyld_info_command,
  count: keyof dyld_info_command,
): BlobFields => ({
  kind,
  offset: dyld_info_command.offsets[offset],
  count: dyld_info_command.offsets[count],
  unit: 1,
});

const DYLD_INFO: readonly BlobFields[] = [
  dyldInfo('rebase', 'rebase_off', 'rebase_size'),
  dyldInfo('bind', 'bind_off', 'bind_size'),
  dyldInfo('weak-bind', 'weak_bind_off', 'weak_bind_size'),
  dyldInfo('lazy-bind', 'lazy_bind_off', 'lazy_bind_size'),
  dyldInfo('export', 'export_off', 'export_size'),
];

const linkeditData = (kind: LinkeditKind): readonly BlobFields[] => [
  {
    kind,
    offset: linkedit_data_command.offsets.dataoff,
    count: linkedit_data_command.offsets.datasize,
    unit: 1,
  },
];

/** By command. The entries of LC_DYSYMTAB are of loader.h, reloc.h (8 bytes) and dylib_module_64 (56). */
const FIELDS: ReadonlyMap<number, readonly BlobFields[]> = new Map<number, readonly BlobFields[]>([
  [LC.LC_SYMTAB, symtab],
  [
    LC.LC_DYSYMTAB,
    [
      dysymtab('toc', 'tocoff', 'ntoc', 8),
      dysymtab('modtab', 'modtaboff', 'nmodtab', 56),
      dysymtab('extrefsyms', 'extrefsymoff', 'nextrefsyms', 4),
      dysymtab('indirect-symbols', 'indirectsymoff', 'nindirectsyms', 4),
      dysymtab('external-relocations', 'extreloff', 'nextrel', 8),
      dysymtab('local-relocations', 'locreloff', 'nlocrel', 8),
    ],
  ],
  [
    LC.LC_TWOLEVEL_HINTS,
    [
      {
        kind: 'twolevel-hints',
        offset: twolevel_hints_command.offsets.offset,
        count: twolevel_hints_command.offsets.nhints,
        unit: 4,
      },
    ],
  ],
  [LC.LC_DYLD_INFO, DYLD_INFO],
  [LC.LC_DYLD_INFO_ONLY, DYLD_INFO],
  [LC.LC_CODE_SIGNATURE, linkeditData('code-signature')],
  [LC.LC_SEGMENT_SPLIT_INFO, linkeditData('segment-split-info')],
  [LC.LC_FUNCTION_STARTS, linkeditData('function-starts')],
  [LC.LC_DATA_IN_CODE, linkeditData('data-in-code')],
  [LC.LC_DYLIB_CODE_SIGN_DRS, linkeditData('code-sign-drs')],
  [LC.LC_LINKER_OPTIMIZATION_HINT, linkeditData('linker-optimization-hint')],
  [LC.LC_DYLD_EXPORTS_TRIE, linkeditData('exports-trie')],
  [LC.LC_DYLD_CHAINED_FIXUPS, linkeditData('chained-fixups')],
  [LC.LC_ATOM_INFO, linkeditData('atom-info')],
  [LC.LC_FUNCTION_VARIANTS, linkeditData('function-variants')],
  [LC.LC_FUNCTION_VARIANT_FIXUPS, linkeditData('function-variant-fixups')],
]);

/**
 * The parts that the commands speak of, in order of offset. A part of no bytes is one where its command
 * gives it a place.
 *
 * @throws FormatError `MACHO_TRUNCATED`, `MACHO_BAD_COMMAND`, `MACHO_DUPLICATE_COMMAND`
 */
export function readLinkedit(source: ByteSource, commands: readonly LoadCommand[]): LinkeditBlob[] {
  const blobs: LinkeditBlob[] = [];
  const seen = new Map<LinkeditKind, number>();
  for (const command of commands) {
    if (isSegment(command)) continue;
    for (const { kind, offset: at, count, unit } of fieldsOf(command.cmd, command.bytes)) {
      const before = seen.get(kind);
      if (before !== undefined) throw duplicate(kind, before, command.cmd);
      seen.set(kind, command.cmd);
      const view = viewOf(command.bytes);
      const offset = view.getUint32(at, LE);
      const size = view.getUint32(count, LE) * unit;
      if (offset > 0 || size > 0) {
        blobs.push({ kind, offset, contents: sliceOf(source, kind, { offset, size }) });
      }
    }
  }
  return blobs.sort((a, b) => (a.offset ?? 0) - (b.offset ?? 0));
}

/**
 * The bytes of a command with the fields that say where these parts are; 0 for parts that are not there. The
 * kinds that it describes are added to `described`.
 *
 * @throws FormatError `MACHO_TOO_LARGE`, `MACHO_BAD_LINKEDIT`, `MACHO_DUPLICATE_COMMAND`
 */
export function withPlaces(
  { cmd, bytes }: OtherCommand,
  places: ReadonlyMap<LinkeditKind, { readonly offset: number; readonly size: number }>,
  described: Set<LinkeditKind>,
): Uint8Array {
  const fields = fieldsOf(cmd, bytes);
  if (fields.length === 0) return bytes;
  const patched = bytes.slice();
  const view = viewOf(patched);
  for (const { kind, offset: at, count, unit } of fields) {
    const { offset, size } = places.get(kind) ?? { offset: 0, size: 0 };
    if (described.has(kind)) throw duplicate(kind, cmd, cmd);
    described.add(kind);
    if (offset > 0xffff_ffff || size / unit > 0xffff_ffff) {
      throw new FormatError(
        'MACHO_TOO_LARGE',
        `Mach-O: ${kind} is ${hex(size)} bytes at ${hex(offset)}, expected an offset below 4 GiB, where the 32 bits of ${nameOf(LC, cmd)} end`,
        { offset, value: size },
      );
    }
    if (size % unit !== 0) {
      const message = `Mach-O: ${kind} is ${hex(size)} bytes, expected a multiple of ${unit}`;
      throw new FormatError('MACHO_BAD_LINKEDIT', message, { offset, value: size });
    }
    view.setUint32(at, offset, LE);
    view.setUint32(count, size / unit, LE);
  }
  return patched;
}

export const findBlob = (file: MachOFile, kind: LinkeditKind): LinkeditBlob | undefined =>
  file.linkedit.find(blob => blob.kind === kind);

/**
 * Gives a part of __LINKEDIT other contents; the layout places it. Parts behind it that stay where they are
 * may be in the way: `relayLinkedit` lays out all of them.
 */
export function setBlob(file: MachOFile, kind: LinkeditKind, contents: Contents): void {
  const blob = findBlob(file, kind);
  if (!blob) {
    file.linkedit.push({ kind, offset: undefined, contents });
    return;
  }
  blob.contents = contents;
  blob.offset = undefined;
}

/** Takes a part out of __LINKEDIT; its command, if it stays, says that there is none. */
export function removeBlob(file: MachOFile, kind: LinkeditKind): void {
  file.linkedit = file.linkedit.filter(blob => blob.kind !== kind);
}

/** Bytes of a part, 0 where there is none. */
export const blobSize = (file: MachOFile, kind: LinkeditKind): number => {
  const blob = findBlob(file, kind);
  return blob ? contentsSize(blob.contents) : 0;
};

function fieldsOf(cmd: number, bytes: Uint8Array): readonly BlobFields[] {
  const fields = FIELDS.get(cmd) ?? [];
  const size = Math.max(0, ...fields.map(({ offset, count }) => Math.max(offset, count) + 4));
  if (bytes.length >= size) return fields;
  throw new FormatError(
    'MACHO_BAD_COMMAND',
    `Mach-O: cmdsize of ${nameOf(LC, cmd)} is ${hex(bytes.length)}, expected at least ${hex(size)}`,
    { value: bytes.length },
  );
}

const duplicate = (kind: LinkeditKind, first: number, second: number): FormatError =>
  new FormatError(
    'MACHO_DUPLICATE_COMMAND',
    `Mach-O: ${nameOf(LC, first)} and another ${nameOf(LC, second)} both have a part for ${kind}, expected one`,
    { value: second },
  );
