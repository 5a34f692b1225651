import test from 'ava';
import { verifyFile } from '../../unexec/verify-file.ts';
import { output, run } from '../formats/elf/support/tools.ts';
import { compileLibrary, freezeTo, said } from '../support/frozen-library.ts';

/** What a linker or a user may do to a library. */
const WAYS: readonly (readonly string[])[] = [
  ['-Wl,-z,now'],
  ['-Wl,-Bsymbolic'],
  ['-Wl,-z,norelro'],
  ['-Wl,--hash-style=sysv', '-Wl,-z,noseparate-code'],
  ['-s'],
  ['-fno-plt', '-fcf-protection=full'],
  ['-Wl,-z,pack-relative-relocs', '-Wl,-z,max-page-size=0x200000'],
  ['-B/usr/lib/llvm-19/bin', '-fuse-ld=lld'],
  ['-B/usr/lib/llvm-19/bin', '-fuse-ld=lld', '-Wl,-z,pack-relative-relocs', '-Wl,--hash-style=both'],
  ['-fuse-ld=gold', '-Wl,-z,norelro', '-s'],
];

for (const [i, flags] of WAYS.entries()) {
  test(`a library made with ${flags.join(' ')} is frozen, and every reader is content`, async t => {
    const library = compileLibrary('test/fixtures/shared/kinds.c', flags, `way${i}`);
    const { target } = await freezeTo(library, { init: 'urf_init' });
    const [, live] = await said('init', library);
    t.deepEqual(await said('open', target), [live?.replace(' kept ', ' freed ')]);
    const known = new Set(run('eu-elflint', ['--gnu-ld', library]).stdout.split('\n'));
    const unknown = /owner name 'unexec'|'\.relr\.dyn' has wrong type|^No errors$|^$/;
    const complaints = run('eu-elflint', ['--gnu-ld', target]).stdout.split('\n');
    t.deepEqual(
      complaints.filter(line => !known.has(line) && !unknown.test(line)),
      [],
    );
    t.true(output('readelf', ['-aW', target]).length > 0);
    t.true(output('llvm-readobj', ['--all', target]).length > 0);
    t.deepEqual(
      verifyFile(target).findings.filter(({ severity }) => severity === 'error'),
      [],
    );
  });
}
