/** `--style shared` as a user types it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { renderShared } from '../../cli/freeze/shared-report.ts';
import { PLAIN } from '../../cli/render.ts';
import { unexec } from '../support/command.ts';
import { compileLibrary, directory, freezeTo, said } from '../support/frozen-library.ts';

const library = compileLibrary('test/fixtures/shared/kinds.c');
const inSandbox = (name: string): string => join(directory, name);
const SHARED = ['--style', 'shared'];

test('unexec --style shared --init writes a library that is initialised', async t => {
  const target = inSandbox('typed.so');
  const { status, stdout, stderr } = await unexec([...SHARED, '--init', 'urf_init', library, target]);
  t.deepEqual([status, stdout], [0, ''], stderr);
  t.true(
    stderr.startsWith(`written ${target}\n  frozen    ${library} (x86_64), initialised by urf_init()\n`),
  );
  t.regex(stderr, /^ {2}file +\S+ MiB, 9 blocks with 2\.\d+ MiB$/m);
  t.regex(stderr, /^ {2}pointers +10 into the library, 4 to others; compact relocations$/m);
  t.regex(stderr, /^ {2}remark +a word led to memory that had been freed: null pointers now$/m);
  t.regex((await said('open', target)).join(), /^opened: low high packed /);
  t.deepEqual((await unexec(['verify', target])).status, 0);
});

test('unexec --style shared --verbose tells what hangs on which variable', async t => {
  const target = inSandbox('verbose.so');
  const words = [...SHARED, '--verbose', '--init', 'urf_init', library, target];
  const { status, stderr } = await unexec(words);
  t.is(status, 0, stderr);
  t.regex(stderr, /^bytes +blocks +largest +variable$|^ *bytes +blocks +largest +variable$/m);
  t.regex(stderr, /2\.\d+ MiB +1 +2\.\d+ MiB +large$/m);
  t.regex(stderr, /^ *1 +isalpha$/m);
});

test('unexec --style shared --json is one object', async t => {
  const target = inSandbox('json.so');
  const words = [...SHARED, '--json', '--init', 'init_pid', '--scratch', 'pid', '--scratch', 'hash'];
  const { status, stdout } = await unexec([...words, library, target]);
  t.is(status, 0, stdout);
  t.like(JSON.parse(stdout), { ok: true, style: 'shared', library, target, init: 'init_pid' });
});

test('unexec --style shared refuses with every reason, and writes nothing', async t => {
  const target = inSandbox('nothing.so');
  const failures = [
    [3, ['--init', 'init_pid', library], /- pid differs between two runs .*: 0x/],
    [4, ['--init', 'init_crash', library], /init_crash crashed: SIGSEGV/],
    [4, ['--init', 'nothing', library], /exports no function nothing/],
    [6, ['/no/such/library.so'], /no such library/],
    [2, ['--at', 'main', library], /--at is for --style resume and restart only/],
    [2, [library, target, '--', 'argument'], /a library has no arguments/],
  ] as const;
  for (const [expected, words, message] of failures) {
    const all = words.includes('--' as never) ? words : [...words, target];
    const { status, stderr } = await unexec([...SHARED, ...all]);
    t.is(status, expected, stderr);
    t.regex(stderr, message);
    t.false(existsSync(target));
  }
});

test('unexec --init without --style shared is told', async t => {
  const { status, stderr } = await unexec(['--init', 'main', '/bin/true', inSandbox('true')]);
  t.is(status, 2);
  t.regex(stderr, /--init is for --style shared only/);
});

test('a library that its constructors initialise is said to be', async t => {
  const report = await freezeTo(library, {}, 'constructed.so');
  t.regex(renderShared(report, PLAIN).join('\n'), /initialised by its constructors$/m);
});
