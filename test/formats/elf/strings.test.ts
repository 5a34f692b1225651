import test from 'ava';
import fc from 'fast-check';
import { StringTable, StringTableBuilder } from '../../../formats/elf/strings.ts';
import { FormatError } from '../../../formats/errors.ts';

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const badString = { instanceOf: FormatError, code: 'ELF_BAD_STRING' };

test('at() gives back every name that add() took, ASCII or not, whole or as the end of another', t => {
  const name = fc.string({ unit: 'binary' }).map(text => text.replaceAll('\0', ''));
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          name,
          fc.string().map(text => text.replaceAll('\0', '')),
        ),
      ),
      names => {
        const builder = new StringTableBuilder();
        const offsets = names.map(each => builder.add(each));
        const table = new StringTable(builder.bytes());
        t.deepEqual(
          offsets.map(offset => table.at(offset)),
          names,
        );
      },
    ),
  );
});

test('add() stores each name once, and the empty name at 0', t => {
  const builder = new StringTableBuilder();
  t.is(builder.add('.text'), builder.add('.text'));
  t.is(builder.add(''), 0);
  t.deepEqual(builder.bytes(), encode('\0.text\0'));
});

test('add() to an existing table leaves its names where they are', t => {
  const before = encode('\0.text\0.data\0');
  const builder = new StringTableBuilder(before);
  t.is(builder.add('.data'), 7);
  t.deepEqual(builder.bytes(), before);
  t.is(builder.add('.bss'), before.length);
  t.deepEqual(builder.bytes(), encode('\0.text\0.data\0.bss\0'));
});

test('add() to a table without an end or without an empty name makes both', t => {
  const builder = new StringTableBuilder(encode('abc'));
  const offsets = ['', 'x'].map(name => builder.add(name));
  const table = new StringTable(builder.bytes());
  t.is(table.at(0), 'abc');
  t.deepEqual(
    offsets.map(offset => table.at(offset)),
    ['', 'x'],
  );
});

test('add() refuses a name with a NUL', t => {
  t.throws(() => new StringTableBuilder().add('a\0b'), {
    ...badString,
    message: /"a\\u0000b" contains a NUL/,
  });
});

test('add() is quick for 300,000 names', t => {
  const builder = new StringTableBuilder();
  const start = performance.now();
  for (let i = 0; i < 300_000; i++) builder.add(`symbol_number_${i}`);
  const elapsed = performance.now() - start;
  t.log(`${elapsed.toFixed()} ms`);
  t.true(elapsed < 5000);
});

test('at() refuses an offset outside of the table', t => {
  const table = new StringTable(encode('\0abc\0'));
  t.is(table.at(2), 'bc');
  t.is(table.at(4), '');
  t.throws(() => table.at(5), { ...badString, message: /at 0x5 of a string table of 0x5 bytes/ });
  t.throws(() => table.at(2 ** 32 - 1), badString);
});

test('at() refuses a name without an end', t => {
  t.throws(() => new StringTable(encode('\0abc')).at(1), badString);
  t.throws(() => new StringTable(encode('\0ab\u00fc')).at(1), badString);
});

test('at() reads the empty name of an empty table', t => {
  t.is(new StringTable(new Uint8Array(0)).at(0), '');
  t.throws(() => new StringTable(new Uint8Array(0)).at(1), badString);
});

test('at() replaces bytes that are not UTF-8 and keeps a byte order mark', t => {
  const table = new StringTable(Uint8Array.of(0, 0xff, 0x41, 0, 0xef, 0xbb, 0xbf, 0x42, 0));
  t.is(table.at(1), '\ufffdA');
  t.is(table.at(4), '\ufeffB');
});

test('find() is undefined where at() throws for an offset', t => {
  const table = new StringTable(encode('\0abc'));
  t.is(table.find(0), '');
  t.is(table.find(1), undefined);
  t.is(table.find(9), undefined);
});

for (const [kind, filler] of [
  ['ASCII', 'a'],
  ['other', '\u00e4'],
] as const) {
  test(`at() refuses ${kind} names that overlap into far more than the table`, t => {
    const text = encode(`${filler.repeat(500_000)}\0`);
    const table = new StringTable(text);
    const read = () => {
      for (let offset = 0; offset < 1000; offset++) table.at(2 * offset);
    };
    t.throws(read, { ...badString, message: /overlap, expected at most 16 times/ });
  });
}

test('at() reads one long name as often as it is asked for', t => {
  const table = new StringTable(encode(`${'x'.repeat(100_000)}\0`));
  for (let i = 0; i < 1000; i++) t.is(table.at(0).length, 100_000);
});
