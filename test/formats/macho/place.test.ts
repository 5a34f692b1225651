/** Where the parts of __LINKEDIT go. */
import test from 'ava';
import fc from 'fast-check';
import {
  addNote,
  blobSize,
  dyld_info_command,
  FormatError,
  findBlob,
  findSegment,
  insertSegment,
  LC,
  LINKEDIT_KINDS,
  type LinkeditKind,
  layoutMachO,
  linkedit_data_command,
  type MachOFile,
  machoBytes,
  newCommand,
  newSegment,
  readMachO,
  relayLinkedit,
  removeBlob,
  setBlob,
  twolevel_hints_command,
} from '../../../formats/macho/index.ts';
import { tiny } from './support/tiny.ts';

const LINKEDIT_COMMANDS = [
  LC.LC_DYLD_CHAINED_FIXUPS,
  LC.LC_DYLD_EXPORTS_TRIE,
  LC.LC_SEGMENT_SPLIT_INFO,
  LC.LC_ATOM_INFO,
  LC.LC_FUNCTION_VARIANTS,
  LC.LC_FUNCTION_VARIANT_FIXUPS,
  LC.LC_DYLIB_CODE_SIGN_DRS,
  LC.LC_LINKER_OPTIMIZATION_HINT,
  LC.LC_CODE_SIGNATURE,
] as const;

/** The file of ours with a command for every kind of part, and none of them. */
function everyCommand(): MachOFile {
  const file = tiny();
  file.linkedit = [];
  for (const cmd of LINKEDIT_COMMANDS)
    file.commands.push(newCommand(cmd, linkedit_data_command, { dataoff: 0, datasize: 0 }));
  file.commands.push(newCommand(LC.LC_TWOLEVEL_HINTS, twolevel_hints_command, { offset: 0, nhints: 0 }));
  file.commands.push(newCommand(LC.LC_DYLD_INFO_ONLY, dyld_info_command, NO_DYLD_INFO));
  return file;
}

const NO_DYLD_INFO = {
  rebase_off: 0,
  rebase_size: 0,
  bind_off: 0,
  bind_size: 0,
  weak_bind_off: 0,
  weak_bind_size: 0,
  lazy_bind_off: 0,
  lazy_bind_size: 0,
  export_off: 0,
  export_size: 0,
};

const UNITS: Partial<Record<LinkeditKind, number>> = {
  symbols: 16,
  'indirect-symbols': 4,
  'twolevel-hints': 4,
  extrefsyms: 4,
  toc: 8,
  modtab: 56,
  'local-relocations': 8,
  'external-relocations': 8,
};

const anyParts = fc.uniqueArray(
  fc.record({ kind: fc.constantFrom(...LINKEDIT_KINDS), entries: fc.nat(40) }),
  { selector: ({ kind }) => kind },
);

test('parts are laid out in canonical order, aligned, without overlaps, whatever there is of them', t => {
  fc.assert(
    fc.property(anyParts, parts => {
      const file = everyCommand();
      for (const { kind, entries } of parts) {
        setBlob(file, kind, new Uint8Array(entries * (UNITS[kind] ?? 1)).fill(0xee));
      }
      const { linkedit, size } = layoutMachO(file);
      let end = 0x2000;
      for (const kind of LINKEDIT_KINDS) {
        const place = linkedit.get(kind);
        if (!place || place.size === 0) continue;
        t.is(place.offset % (kind === 'code-signature' ? 16 : 8), 0, kind);
        t.true(place.offset >= end, kind);
        t.true(place.offset - end < 16, kind);
        end = place.offset + place.size;
      }
      if (end > 0x2000) t.is(size, end);

      // And so it is read again: nothing is lost, and what was rounded up is zeros.
      const bytes = machoBytes(file);
      const read = readMachO(bytes);
      for (const { kind, entries } of parts) {
        const exact = entries * (UNITS[kind] ?? 1);
        const contents = findBlob(read, kind)?.contents;
        const found = contents
          ? 'read' in contents
            ? contents.read(0, contents.size)
            : contents
          : new Uint8Array(0);
        t.true(found.length >= exact && found.length < exact + 8, kind);
        t.true(
          found.every((byte, i) => byte === (i < exact ? 0xee : 0)),
          kind,
        );
      }
      t.deepEqual(read.kept, []);
      t.is(findSegment(read, '__LINKEDIT')?.filesize, Math.max(0, bytes.length - 0x2000));
      t.is(Buffer.compare(machoBytes(read), bytes), 0);
    }),
    { numRuns: 150 },
  );
});

test('__LINKEDIT ends with its last part, and its memory with the page', t => {
  const file = tiny();
  setBlob(file, 'strings', new Uint8Array(0x1234));
  const read = readMachO(machoBytes(file));
  const linkedit = findSegment(read, '__LINKEDIT');
  t.is((linkedit?.fileoff ?? 0) + (linkedit?.filesize ?? 0), layoutMachO(file).size);
  t.is(linkedit?.vmsize, 0x2000n);
});

test('only a part that has no place is given one', t => {
  const file = readMachO(machoBytes(tiny()));
  const before = layoutMachO(file).linkedit;
  setBlob(file, 'strings', new Uint8Array(100));
  const after = layoutMachO(file).linkedit;
  for (const kind of ['function-starts', 'data-in-code', 'symbols', 'strings'] as const)
    t.is(after.get(kind)?.offset, before.get(kind)?.offset);
  t.is(after.get('strings')?.size, 100);
});

test('a part that grows into the next one is refused until all are laid out again', t => {
  const file = readMachO(machoBytes(tiny()));
  setBlob(file, 'function-starts', new Uint8Array(100).fill(1));
  t.throws(() => layoutMachO(file), { instanceOf: FormatError, code: 'MACHO_OVERLAP' });
  relayLinkedit(file, 0x2000);
  const { linkedit } = layoutMachO(file);
  t.deepEqual(linkedit.get('function-starts'), { offset: 0x2000, size: 104 });
  t.is(linkedit.get('symbols')?.offset, 0x2068);
});

test('a part of no bytes has a place where its linker gives it one', t => {
  const file = everyCommand();
  for (const kind of ['bind', 'data-in-code', 'toc'] as const) setBlob(file, kind, new Uint8Array(0));
  setBlob(file, 'function-starts', new Uint8Array(8));
  const { linkedit } = layoutMachO(file);
  t.deepEqual(linkedit.get('data-in-code'), { offset: 0x2008, size: 0 });
  t.deepEqual(linkedit.get('bind'), { offset: 0, size: 0 });
  t.deepEqual(linkedit.get('toc'), { offset: 0, size: 0 });
});

test('relayLinkedit() takes the padding along, and refuses what follows __LINKEDIT', t => {
  const bytes = machoBytes(tiny());
  const file = readMachO(bytes);
  relayLinkedit(file, 0x8000);
  t.is(findSegment(file, '__LINKEDIT')?.fileoff, 0x8000);
  t.is(layoutMachO(file).size, 0x8000 + bytes.length - 0x2000);

  const longer = new Uint8Array(bytes.length + 10);
  longer.set(bytes);
  const zeros = readMachO(longer);
  relayLinkedit(zeros, 0x2000);
  t.is(Buffer.compare(machoBytes(zeros), bytes), 0);
  longer[bytes.length + 9] = 1;
  t.throws(() => relayLinkedit(readMachO(longer), 0x8000), {
    instanceOf: FormatError,
    code: 'MACHO_TRAILING_BYTES',
    message: /0xa bytes at 0x[0-9a-f]+ follow __LINKEDIT/,
  });
});

test('relayLinkedit() refuses what it would lose', t => {
  const file = tiny();
  const linkedit = findSegment(file, '__LINKEDIT');
  const place = layoutMachO(file).linkedit.get('strings');
  if (!linkedit || !place) return t.fail();
  const end = place.offset + place.size;
  const bytes = machoBytes(file);
  const grown = (filesize: number, ...tail: readonly number[]): MachOFile => {
    const longer = Uint8Array.from([...bytes, ...tail]);
    const read = readMachO(longer);
    const segment = findSegment(read, '__LINKEDIT');
    if (segment) segment.filesize = filesize;
    return readMachO(machoBytes(read));
  };
  t.throws(() => relayLinkedit(grown(end - 0x2000 + 4, 0, 0, 0, 1), 0x8000), {
    instanceOf: FormatError,
    code: 'MACHO_UNKNOWN_LINKEDIT',
    message: /0x4 bytes at 0x[0-9a-f]+ of __LINKEDIT are of no load command/,
  });
  const noted = readMachO(bytes);
  addNote(noted, { owner: 'x', offset: end - 4, size: 4 });
  t.throws(() => relayLinkedit(noted, 0x8000), {
    instanceOf: FormatError,
    code: 'MACHO_UNKNOWN_LINKEDIT',
    message: /LC_NOTE of "x" is 0x4 bytes/,
  });
  // Where another segment takes its place, the note may be that one's.
  insertSegment(noted, '__LINKEDIT', newSegment({ segname: '__NEW', fileoff: 0x2000, filesize: 0x1000 }));
  t.notThrows(() => relayLinkedit(noted, 0x8000));
});

test('relayLinkedit() and parts without a place need a segment __LINKEDIT', t => {
  const file = tiny();
  file.commands = file.commands.filter(
    command => !('sections' in command && command.segname === '__LINKEDIT'),
  );
  t.throws(() => relayLinkedit(file, 0x8000), { instanceOf: FormatError, code: 'MACHO_NO_LINKEDIT' });
  t.throws(() => layoutMachO(file), { instanceOf: FormatError, code: 'MACHO_NO_LINKEDIT' });
});

test('removeBlob() takes a part out', t => {
  const file = tiny();
  t.is(blobSize(file, 'strings'), 14);
  removeBlob(file, 'strings');
  t.is(blobSize(file, 'strings'), 0);
  t.is(findBlob(file, 'strings'), undefined);
  t.false(layoutMachO(file).linkedit.has('strings'));
});
