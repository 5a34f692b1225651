/** What real files and foreign judges say of the verifier: nothing sound is called wrong. */
import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { verifyElf } from '../../../../formats/elf/index.ts';
import { readElf } from '../../../../formats/elf/read.ts';
import { elfBytes } from '../../../../formats/elf/write.ts';
import { FormatError } from '../../../../formats/errors.ts';
import { withFile } from '../support/files.ts';
import { hello } from '../support/hello.ts';
import { type Base, base, elflintFindings, findingsIn } from '../support/verify.ts';

/** Of the programs and libraries of this system, so many, evenly spread. */
const SAMPLE = 300;

test('verifyElf() finds nothing in programs and libraries of this system', t => {
  const candidates = [...filesIn('/usr/bin', /./), ...filesIn('/usr/lib', /\.so(\.\d+)*$|\.o$/)];
  const step = Math.max(1, Math.floor(candidates.length / SAMPLE));
  let count = 0;
  for (let i = 0; i < candidates.length; i += step) {
    const path = candidates[i] ?? '';
    withFile(path, source => {
      const magic = source.read(0, Math.min(6, source.size));
      if (Buffer.compare(magic, Buffer.of(0x7f, 0x45, 0x4c, 0x46, 2, 1)) !== 0) return;
      count++;
      t.deepEqual(
        verifyElf(readElf(source)).map(({ message }) => message),
        [],
        path,
      );
    });
  }
  t.log(`${count} ELF64 files`);
  t.true(count > 100);
});

function filesIn(directory: string, names: RegExp): string[] {
  return readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter(entry => entry.isFile() && names.test(entry.name))
    .map(entry => join(entry.parentPath, entry.name))
    .filter(path => lstatSync(path).size < 64 * 1024 * 1024);
}

for (const name of [
  'pie',
  'static',
  'library',
  'object',
  'compressed',
  'core',
] as const satisfies readonly Base[]) {
  test(`verifyElf() finds nothing in a file of kind ${name}`, t => {
    t.deepEqual(findingsIn(base(name)), []);
  });
}

test('verifyElf() and eu-elflint agree on a file that was made from nothing', t => {
  const bytes = elfBytes(hello());
  t.deepEqual(findingsIn(bytes), []);
  t.deepEqual(elflintFindings(bytes), []);
});

test('verifyElf() gives findings or a FormatError for mutated files, and nothing else', t => {
  for (const name of ['pie', 'library', 'object', 'core'] as const) {
    const sound = base(name);
    const change = fc.tuple(fc.nat(sound.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 30 }), changes => {
        const bytes = sound.slice();
        for (const [at, value] of changes) bytes[at] = value;
        // Headers and tables are where it matters.
        for (const [at, value] of changes) bytes[at % 0x1000] = value;
        try {
          for (const { message, severity } of findingsIn(bytes)) {
            if (!message.startsWith('ELF: ') || (severity !== 'error' && severity !== 'strict')) return false;
          }
          return true;
        } catch (error) {
          return error instanceof FormatError;
        }
      }),
      { numRuns: 150 },
    );
  }
  t.pass();
});
