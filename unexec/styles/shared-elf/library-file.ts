/**
 * The file of a library, with what its loader sees: relocations, symbols, and which of its writable memory is
 * the loader's. The rest is what a dump takes from the process.
 *
 * @module
 */
import {
  atAddress,
  DT,
  type DynamicTypes,
  dynamicTypes,
  type ElfDynamic,
  type ElfFile,
  type ElfSegment,
  type ElfSymbol,
  EM,
  ET,
  findSegment,
  PF,
  PT,
  type RelaTable,
  readDynamic,
  readDynamicRelocations,
  readDynamicSymbols,
  readSymbolVersions,
  SHF,
  SHT,
  type SymbolVersion,
} from '../../../formats/elf/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { UnexecError } from '../../errors.ts';
import type { Skipped } from '../../pointers.ts';

export interface LibraryFile {
  readonly file: ElfFile;
  readonly path: string;
  readonly types: DynamicTypes;
  readonly dynamic: readonly ElfDynamic[];
  readonly symbols: readonly ElfSymbol[];
  readonly versions: readonly (SymbolVersion | undefined)[];
  readonly rela: RelaTable;
  readonly jmprel: RelaTable;
  /** Words of DT_RELR: where they are, and what they lead to. */
  readonly relr: readonly { readonly place: bigint; readonly target: bigint }[];
  readonly writable: readonly WritableSegment[];
}

/** A PT_LOAD that is written to, and which bytes of it the loader makes: from its first byte, ascending. */
export interface WritableSegment {
  readonly segment: ElfSegment;
  readonly loaders: readonly Skipped[];
}

/** `d_val` of DT_FLAGS_1: a position-independent program (elf.h). */
const DF_1_PIE = 0x0800_0000n;

/** Sections whose words only the loader writes, wherever a linker puts them. */
const LOADERS_NAMES: ReadonlySet<string> = new Set(['.got', '.got.plt', '.dynamic', '.data.rel.ro']);
const LOADERS_TYPES: ReadonlySet<number> = new Set([
  SHT.SHT_DYNAMIC,
  SHT.SHT_INIT_ARRAY,
  SHT.SHT_FINI_ARRAY,
  SHT.SHT_PREINIT_ARRAY,
]);

/**
 * Reads what is needed of a library.
 *
 * @throws UnexecError `NOT_A_LIBRARY`, `UNSUPPORTED_MACHINE`, `NO_SECTIONS`; FormatError
 */
export function readLibrary(file: ElfFile, path: string): LibraryFile {
  const refuse = (code: string, what: string, hint: string): never => {
    throw new UnexecError(code, `${path} ${what}`, { path, hint });
  };
  const dynamic = readDynamic(file);
  const flags = dynamic.find(({ tag }) => tag === DT.DT_FLAGS_1)?.value ?? 0n;
  const isProgram = (flags & DF_1_PIE) !== 0n;
  if (file.header.type !== ET.ET_DYN || dynamic.length === 0 || isProgram) {
    refuse('NOT_A_LIBRARY', 'is no shared library', 'link it with -shared');
  }
  if (file.header.machine !== EM.EM_X86_64) {
    refuse('UNSUPPORTED_MACHINE', 'is not for x86-64', 'only libraries of x86-64 can be frozen');
  }
  if (file.sections.length < 2) {
    refuse('NO_SECTIONS', 'has no section headers', 'take the library as its linker wrote it');
  }
  const symbols = readDynamicSymbols(file);
  const { rela, jmprel, relr } = readDynamicRelocations(file);
  return {
    file,
    path,
    types: dynamicTypes(file.header.machine),
    dynamic,
    symbols,
    versions: readSymbolVersions(file, symbols.length),
    rela,
    jmprel,
    relr: [...relr].map(place => ({ place, target: wordAt(file, place) })),
    writable: file.segments
      .filter(({ type, flags }) => type === PT.PT_LOAD && (flags & PF.PF_W) !== 0)
      .map(segment => ({ segment, loaders: loadersOf(file, segment) })),
  };
}

function wordAt(file: ElfFile, address: bigint): bigint {
  const source = atAddress(file, address);
  return source === undefined || source.size < 8 ? 0n : viewOf(source.read(0, 8)).getBigUint64(0, true);
}

function loadersOf(file: ElfFile, segment: ElfSegment): Skipped[] {
  const relro = findSegment(file, PT.PT_GNU_RELRO);
  const places = [
    ...(relro === undefined ? [] : [{ address: relro.address, size: relro.memorySize }]),
    ...file.sections
      .filter(
        ({ name, type, flags }) =>
          (flags & SHF.SHF_ALLOC) !== 0 &&
          (LOADERS_TYPES.has(type) || LOADERS_NAMES.has(name) || (flags & SHF.SHF_TLS) !== 0),
      )
      // .tbss takes no memory of the segment.
      .filter(({ type }) => type !== SHT.SHT_NOBITS)
      .map(({ address, size, contents }) => ({
        address,
        size: contents === undefined ? size : sizeOf(contents),
      })),
  ];
  const stretches = places
    .map(({ address, size }) => {
      const start = Number(address - segment.address);
      return { start: Math.max(0, start), end: Math.min(segment.memorySize, start + size) };
    })
    .filter(({ start, end }) => end > start)
    .sort((x, y) => x.start - y.start);
  const joined: { start: number; end: number }[] = [];
  for (const { start, end } of stretches) {
    const last = joined.at(-1);
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
    else joined.push({ start, end });
  }
  return joined;
}

const sizeOf = (contents: Uint8Array | { readonly size: number }): number =>
  contents instanceof Uint8Array ? contents.length : contents.size;

/** The writable segment that holds this address of the file, and where; undefined: none does. */
export function writableAt(
  { writable }: LibraryFile,
  address: bigint,
): { readonly index: number; readonly offset: number; readonly isLoaders: boolean } | undefined {
  for (const [index, { segment, loaders }] of writable.entries()) {
    const offset = Number(address - segment.address);
    if (offset < 0 || offset >= segment.memorySize) continue;
    return { index, offset, isLoaders: loaders.some(({ start, end }) => offset >= start && offset < end) };
  }
  return undefined;
}
