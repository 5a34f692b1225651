/** Nothing but the file and /proc, on this kernel; kernel.test.ts has the same on another one. */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { compileFixture } from '../support/fixtures.ts';
import { freezeProgram } from '../support/freeze-program.ts';
import { type Outcome, run } from '../support/run.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('empty-root');
const PERL =
  'use POSIX; kill STOP => $$; print POSIX::floor(3.7), " ", join(",", sort { $b <=> $a } 1 .. 9), "\\n"; exit 3';

/** Freezes a program, and runs it in a root of its own, which nobody needs to be root for. */
async function inEmptyRoot(
  name: string,
  program: string,
  { args = [], proc = true }: { readonly args?: readonly string[]; readonly proc?: boolean },
): Promise<{ second: Outcome; written: string }> {
  const { path, written } = await freezeProgram(program, join(directory, name), { args, cwd: 'caller' });
  const root = join(directory, `${name}-root`);
  mkdirSync(join(root, 'proc'), { recursive: true });
  copyFileSync(path, join(root, 'image'));
  const mounted = proc ? ['--mount', '--pid', '--fork', '--mount-proc=/proc'] : [];
  const namespaces = ['--user', '--map-root-user', ...mounted, `--root=${root}`];
  const second = await run('/image', { through: ['/usr/bin/unshare', ...namespaces] });
  return { second, written };
}

test('perl goes on where there is nothing but its image and /proc', async t => {
  const { second } = await inEmptyRoot('perl', '/usr/bin/perl', { args: ['-e', PERL] });
  t.is(second.stdout, '3 9,8,7,6,5,4,3,2,1\n');
  t.is(second.stderr, '');
  t.is(second.status, 3);
});

test('a dynamic program with threads goes on where there is nothing but its image and /proc', async t => {
  const program = compileFixture('state/threads.c');
  const whole = await run(program);
  const { second, written } = await inEmptyRoot('threads', program, {});
  t.is(written + second.stdout + second.stderr, whole.stdout);
  t.is(second.status, 0);
});

test('without /proc an image says that it needs it, and ends with 125', async t => {
  const { second } = await inEmptyRoot('no-proc', '/usr/bin/perl', { args: ['-e', PERL], proc: false });
  t.is(
    second.stderr,
    'unexec: cannot resume /usr/bin/perl: open /proc/self/exe (is /proc mounted?): ENOENT\n',
  );
  t.is(second.stdout, '');
  t.is(second.status, 125);
});
