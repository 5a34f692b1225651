import { readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../formats/elf/index.ts';
import { FileSource } from '../../unexec/file-source.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('file-source');
const BYTES = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7) & 0xff);
const path = join(directory, 'file');
writeFileSync(path, BYTES);

test('read() gives any part of the file, and refuses what is not in it', t => {
  const source = new FileSource(path);
  const place = fc.integer({ min: -10, max: 6000 });
  fc.assert(
    fc.property(place, place, (offset, length) => {
      const inside = offset >= 0 && length >= 0 && offset + length <= BYTES.length;
      if (inside) t.deepEqual(source.read(offset, length), BYTES.slice(offset, offset + length));
      else t.throws(() => source.read(offset, length), { instanceOf: FormatError, code: 'TRUNCATED' });
    }),
  );
  source.close();
});

test('read() refuses offsets that only look small after an overflow', t => {
  const source = new FileSource(path);
  for (const [offset, length] of [
    [Number.MAX_SAFE_INTEGER, 2],
    [2 ** 63, 1],
    [0, 2 ** 40],
  ] as const) {
    t.throws(() => source.read(offset, length), { instanceOf: FormatError, code: 'TRUNCATED' });
  }
  source.close();
});

test('read() gives zeros for what was cut off since the file was opened', t => {
  const cut = join(directory, 'cut');
  writeFileSync(cut, BYTES);
  const source = new FileSource(cut);
  truncateSync(cut, 100);
  const bytes = source.read(90, 20);
  t.deepEqual([...bytes], [...BYTES.slice(90, 100), ...new Uint8Array(10)]);
  source.close();
});

test('a file that cannot be opened gives the error of open(2)', t => {
  t.throws(() => new FileSource(join(directory, 'nothing')), { code: 'ENOENT' });
});

test('close() gives the descriptor back', t => {
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 50; i++) new FileSource(path).close();
  t.is(readdirSync('/proc/self/fd').length, before);
});
