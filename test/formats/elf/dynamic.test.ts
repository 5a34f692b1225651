import test from 'ava';
import { DT, PT } from '../../../formats/elf/constants.ts';
import { dynamicStrings, readDynamic } from '../../../formats/elf/dynamic.ts';
import type { ElfFile } from '../../../formats/elf/model.ts';
import { readElf } from '../../../formats/elf/read.ts';
import { FormatError } from '../../../formats/errors.ts';
import { withoutSections } from './support/files.ts';
import { bytesOf, compile, output } from './support/tools.ts';

const library = compile('int answer(void) { return 42; }', [
  '-shared',
  '-fPIC',
  '-Wl,-soname,libanswer.so.7',
  '-Wl,--no-as-needed',
  '-lm',
  '-Wl,-rpath,/opt/x:/opt/y',
]);

test('readDynamic() reads the entries that readelf reads', t => {
  const theirs = [...output('readelf', ['-dW', library]).matchAll(/^ 0x([0-9a-f]{16}) /gm)];
  const ours = readDynamic(readElf(bytesOf(library))).map(({ tag }) => tag);
  t.deepEqual(
    [...ours, DT.DT_NULL],
    theirs.map(([, tag]) => Number.parseInt(tag ?? '', 16)),
  );
  t.true(ours.length > 10);
});

test('dynamicStrings() reads names and search paths, with and without section headers', t => {
  for (const bytes of [bytesOf(library), withoutSections(bytesOf(library))]) {
    const file = readElf(bytes);
    t.deepEqual(dynamicStrings(file, DT.DT_SONAME), ['libanswer.so.7']);
    t.deepEqual(dynamicStrings(file, DT.DT_NEEDED), ['libm.so.6', 'libc.so.6']);
    t.deepEqual(dynamicStrings(file, DT.DT_RUNPATH), ['/opt/x:/opt/y']);
    t.deepEqual(dynamicStrings(file, DT.DT_AUDIT), []);
  }
});

test('readDynamic() finds nothing in a static program', t => {
  const file = readElf(bytesOf(compile('int main(void) { return 0; }', ['-static'])));
  t.deepEqual(readDynamic(file), []);
  t.deepEqual(dynamicStrings(file, DT.DT_NEEDED), []);
});

const refused = test.macro<[string, (file: ElfFile) => void, RegExp]>({
  exec(t, _title, spoil, message) {
    const file = readElf(bytesOf(library));
    spoil(file);
    t.throws(() => dynamicStrings(file, DT.DT_NEEDED), { instanceOf: FormatError, message });
  },
  title: (_, title) => `dynamicStrings() refuses ${title}`,
});

test(
  refused,
  'a dynamic section of gigabytes',
  file => dynamicSegment(file, { fileSize: 2 ** 32 }),
  /PT_DYNAMIC is 0x1/,
);
test(
  refused,
  'a dynamic section past the end of the file',
  file => dynamicSegment(file, { offset: 2 ** 40 }),
  /file's/,
);
test(
  refused,
  'strings at an address that no segment has',
  file => entry(file, DT.DT_STRTAB, 1n << 40n),
  /DT_STRTAB is 0x1/,
);
test(
  refused,
  'strings that go past their segment',
  file => entry(file, DT.DT_STRSZ, 1n << 40n),
  /DT_STRTAB goes on/,
);
test(
  refused,
  'a string table size beyond 2^53',
  file => entry(file, DT.DT_STRSZ, 1n << 63n),
  /DT_STRSZ is 0x8/,
);
test(
  refused,
  'a name outside of the strings',
  file => entry(file, DT.DT_NEEDED, 0xffffn),
  /no terminated string at 0xffff/,
);
test(
  refused,
  'entries without a string table',
  file => entry(file, DT.DT_NEEDED, 0n, DT.DT_STRTAB),
  /expected both/,
);

function dynamicSegment(file: ElfFile, fields: { offset?: number; fileSize?: number }): void {
  for (const segment of file.segments) if (segment.type === PT.PT_DYNAMIC) Object.assign(segment, fields);
}

/** Gives the entry with this tag another value; with `removed`, makes that entry one that nobody knows. */
function entry(file: ElfFile, tag: number, value: bigint, removed?: number): void {
  const segment = file.segments.find(({ type }) => type === PT.PT_DYNAMIC);
  if (!file.source || !segment) throw new Error('no dynamic section');
  const view = new DataView(file.source.read(0, file.source.size).buffer);
  for (let at = segment.offset; at < segment.offset + segment.fileSize; at += 16) {
    const found = Number(view.getBigUint64(at, true));
    if (found === removed) view.setBigUint64(at, 0x6fff_0000n, true);
    else if (found === tag) view.setBigUint64(at + 8, value, true);
  }
}
