import test from 'ava';
import fc from 'fast-check';
import { NT_GNU, PT, SHT } from '../../../formats/elf/constants.ts';
import { addSection, newElf, newSection, newSegment } from '../../../formats/elf/model.ts';
import { elfNotes, encodeNotes, readBuildId, readNotes } from '../../../formats/elf/notes.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { elfBytes } from '../../../formats/elf/write.ts';
import { FormatError } from '../../../formats/errors.ts';
import { bytesSource } from '../../../formats/source.ts';
import { BUILD_ID, hello } from './support/hello.ts';
import { bytesOf, compile, output } from './support/tools.ts';

const anyNote = fc.record({
  owner: fc.string().map(text => text.replaceAll('\0', '')),
  type: fc.nat(0xffffffff),
  desc: fc.uint8Array({ maxLength: 40 }),
});

for (const align of [4, 8]) {
  test(`readNotes() gives back what encodeNotes() took, aligned to ${align}`, t => {
    fc.assert(
      fc.property(fc.array(anyNote), notes => {
        const bytes = encodeNotes(notes, align);
        t.is(bytes.length % align, 0);
        const read = readNotes(bytes, align);
        t.deepEqual(
          read.map(({ owner, type, desc }) => ({ owner, type, desc })),
          notes,
        );
        for (const { desc, descOffset } of read) {
          t.is(descOffset % align, 0);
          t.deepEqual(bytes.subarray(descOffset, descOffset + desc.length), desc);
        }
      }),
    );
  });
}

test('encodeNotes() writes sizes, type, owner with its NUL, and padding', t => {
  const bytes = encodeNotes([{ owner: 'GNU', type: 3, desc: Uint8Array.of(0xaa) }], 4);
  t.is(Buffer.from(bytes).toString('hex'), '040000000100000003000000474e5500aa000000');
});

test('encodeNotes() begins descriptions and notes at multiples of 8 where asked to', t => {
  const note = { owner: 'AB', type: 1, desc: Uint8Array.of(1) };
  t.deepEqual(
    readNotes(encodeNotes([note, note], 8), 8).map(({ descOffset }) => descOffset),
    [16, 40],
  );
  t.deepEqual(
    readNotes(encodeNotes([note, note], 4), 4).map(({ descOffset }) => descOffset),
    [16, 36],
  );
});

test('readNotes() takes every alignment but 8 for 4, as Linux writes 0 and 1 in cores', t => {
  const bytes = encodeNotes([{ owner: 'CORE', type: 1, desc: Uint8Array.of(1, 2, 3) }], 4);
  for (const align of [0, 1, 2, 4, 16]) t.deepEqual(readNotes(bytes, align), readNotes(bytes, 4));
});

test('readNotes() takes less than a note at the end for padding', t => {
  const bytes = encodeNotes([{ owner: 'CORE', type: 1, desc: new Uint8Array(4) }], 4);
  const padded = new Uint8Array(bytes.length + 11);
  padded.set(bytes);
  t.is(readNotes(padded, 4).length, 1);
});

test('readNotes() reads a last note whose padding is missing', t => {
  const bytes = encodeNotes([{ owner: 'CORE', type: 1, desc: Uint8Array.of(1) }], 4);
  t.deepEqual([...(readNotes(bytes.subarray(0, -3), 4)[0]?.desc ?? [])], [1]);
});

const overrun = test.macro<[number, number]>({
  exec(t, namesz, descsz) {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(0, namesz, true);
    new DataView(bytes.buffer).setUint32(4, descsz, true);
    t.throws(() => readNotes(bytes, 4), { instanceOf: FormatError, code: 'ELF_BAD_NOTE' });
  },
  title: (_, namesz, descsz) => `readNotes() refuses n_namesz ${namesz} and n_descsz ${descsz} in 16 bytes`,
});
test(overrun, 5, 0);
test(overrun, 0, 5);
test(overrun, 4, 1);
test(overrun, 0xffffffff, 0xffffffff);
test(overrun, 0, 0xfffffffd);
test(overrun, 0xfffffffd, 0);

test('elfNotes() reads the PT_NOTE segments that the linker made, as readelf does', t => {
  const path = compile('int main(void) { return 0; }', ['-Wl,--build-id=sha1', '-fcf-protection=full']);
  const file = readElf(bytesOf(path));
  const notes = elfNotes(file);
  const theirs = output('readelf', ['-nW', path]);
  t.true(notes.some(({ owner, type }) => owner === 'GNU' && type === NT_GNU.NT_GNU_PROPERTY_TYPE_0));
  t.true(notes.some(({ owner, type }) => owner === 'GNU' && type === NT_GNU.NT_GNU_ABI_TAG));
  t.is(readBuildId(file), /Build ID: ([0-9a-f]+)/.exec(theirs)?.[1]);
});

test('elfNotes() reads the SHT_NOTE sections of a file without segments', t => {
  const file = newElf({ type: 1 });
  const contents = encodeNotes([{ owner: 'unexec', type: 7, desc: Uint8Array.of(1) }], 8);
  addSection(file, newSection({ name: '.note.a', type: SHT.SHT_NOTE, align: 8, contents }));
  const [note, ...none] = elfNotes(readElf(elfBytes(file)));
  t.like(note, { owner: 'unexec', type: 7 });
  t.deepEqual(none, []);
});

test('elfNotes() refuses segments that read the same notes over and over', t => {
  const contents = encodeNotes(
    Array.from({ length: 5000 }, () => ({ owner: 'X', type: 1, desc: new Uint8Array(0) })),
    4,
  );
  const file = newElf({ type: 4 });
  file.source = bytesSource(contents);
  const segment = newSegment({ type: PT.PT_NOTE, flags: 4, align: 4, offset: 0, fileSize: contents.length });
  file.segments = Array.from({ length: 60_000 }, () => segment);
  t.throws(() => elfNotes(file), { instanceOf: FormatError, code: 'ELF_BAD_NOTE' });
});

test('readBuildId() is undefined for a file without one', t => {
  const path = compile('int main(void) { return 0; }', ['-Wl,--build-id=none']);
  t.is(readBuildId(readElf(bytesOf(path))), undefined);
});

test('readBuildId() reads the one of a file that we made', t => {
  t.is(readBuildId(readElf(elfBytes(hello()))), BUILD_ID);
});
