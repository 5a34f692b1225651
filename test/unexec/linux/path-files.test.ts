import { fstatSync } from 'node:fs';
import test from 'ava';
import { inMemory } from '../../../unexec/linux/path-files.ts';
import { Refusal } from '../../../unexec/linux/refusal.ts';

/** Not every kernel lets memory be secret. */
test('inMemory() refuses a descriptor of secret memory', t => {
  const error = t.throws(
    () =>
      inMemory({
        descriptors: [{ fd: 7, closeOnExec: false }],
        link: '/secretmem (deleted)',
        position: 0n,
        flags: 2,
        info: '',
        locks: [],
        own: -1,
        stat: fstatSync(0, { bigint: true }),
        cwd: '/',
      }),
    { instanceOf: Refusal },
  );
  t.is(error?.reason.code, 'FD_SECRET_MEMORY');
  t.regex(error?.reason.what ?? '', /^descriptor 7 is secret memory \(memfd_secret\)/);
});
