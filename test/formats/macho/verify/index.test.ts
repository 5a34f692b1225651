/** What real files and the linker's say of the verifier: nothing sound is called wrong. */
import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import { FormatError } from '../../../../formats/errors.ts';
import { bytesSource, readFat, verifyFat, verifyMachO } from '../../../../formats/macho/index.ts';
import { conformanceFile } from '../../../support/conformance-files.ts';
import { forEachRealFile } from '../support/real-files.ts';
import { BASES, base, findingsIn, sdk, sha256, testSound } from '../support/verify.ts';

test('verifyMachO() finds nothing in real executables, libraries and bundles', t => {
  const count = forEachRealFile(({ name, file }) => {
    t.deepEqual(
      verifyMachO(file, sha256).map(({ message }) => message),
      [],
      name,
    );
  });
  t.true(count >= 13, `${count} files`);
});

for (const name of BASES) {
  test(`verifyMachO() finds nothing in what the linker makes: ${name}`, t => {
    t.deepEqual(findingsIn(new Uint8Array(readFileSync(base(name)))), []);
  });
}

for (const name of ['info', 'chained', 'no-pie', 'dylib'] as const) {
  testSound(`what the linker makes with the newest SDK: ${name}`, name, sdk(26, 1));
}

test('verifyFat() finds nothing in a real file of two architectures', t => {
  const { path } = conformanceFile('fsevents fsevents.node');
  t.deepEqual(verifyFat(readFat(bytesSource(new Uint8Array(readFileSync(path))))), []);
});

test('verifyMachO() gives findings or a FormatError for mutated files, and nothing else', t => {
  for (const name of ['info', 'chained', 'arm', 'object'] as const) {
    const sound = new Uint8Array(readFileSync(base(name)));
    const change = fc.tuple(fc.nat(sound.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 20 }), changes => {
        const bytes = sound.slice();
        for (const [at, value] of changes) {
          bytes[at] = value;
          // The commands are where it matters, and the parts of __LINKEDIT, at the end.
          bytes[at % 0x800] = value;
          bytes[bytes.length - 1 - (at % 0x1000)] = value;
        }
        try {
          return findingsIn(bytes).every(({ message }) => message.length > 10);
        } catch (error) {
          return error instanceof FormatError;
        }
      }),
      { numRuns: 100 },
    );
  }
  t.pass();
});
