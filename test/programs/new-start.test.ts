import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { compileTo } from '../support/compile.ts';
import { directoryForNobody, type Frozen, freezeAsNobody, freezeProgram } from '../support/freeze-program.ts';
import { PATH, run } from '../support/run.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';

const directory = sandbox('new-start');
const ASK = join(ROOT, 'test/fixtures/points/ask.c');
let images = 0;

const frozenAt = (
  program: string,
  args: readonly string[],
  options: Parameters<typeof freezeProgram>[2] = {},
): Promise<Frozen> =>
  freezeProgram(program, join(directory, `image-${images++}`), { args, at: 'stop', ...options });

const ARGS = ['first argument', '', '--third=\u00fc'];
const ENV = { MARKER: 'of the second life', EMPTY: '', PATH };

for (const [language, compiler] of [
  ['C', 'gcc'],
  ['C++', 'g++'],
] as const) {
  test(`unexec.h tells a program in ${language} its new arguments and environment`, async t => {
    const program = join(directory, `ask-${compiler}`);
    compileTo(program, ASK, [], compiler);
    const alone = await run(program, { args: ['alone'], env: { MARKER: 'kept' } });
    t.is(alone.stdout, 'asking\nlife 1 [alone]\ngetenv kept\n');
    const frozen = await frozenAt(program, ['build'], { at: 'request', env: ['MARKER=of the build'] });
    t.is(frozen.written, 'asking\n');
    const { stdout } = await run(frozen.path, { args: ARGS, env: { MARKER: 'now', OTHER: '' } });
    t.is(stdout, 'life 2 [first argument] [] [--third=\u00fc]\nMARKER=now\nOTHER=\ngetenv now\n');
    const bare = await run(frozen.path, { env: {} });
    t.is(bare.stdout, 'life 2\ngetenv (none)\n');
  });
}

for (const flags of [['-static'], ['-static-pie']])
  test(`a program of gcc ${flags.join(' ')} sees what it was started with`, async t => {
    const program = join(directory, `ask${flags.join('')}`);
    compileTo(program, ASK, flags, 'gcc');
    const frozen = await frozenAt(program, ['build'], { at: 'request', env: ['MARKER=of the build'] });
    const { stdout } = await run(frozen.path, { args: ARGS, env: { MARKER: 'now' } });
    t.is(stdout, 'life 2 [first argument] [] [--third=\u00fc]\nMARKER=now\ngetenv now\n');
  });

const PERL = `
$| = 1;
my $args = "\\0" x 24;
print "asking\\n";
my $again = syscall 157, 0x554e4558, $args, 0, 0, 0;
my ($argc, $argv, $envp) = unpack 'q3', $args;
my $string = sub { unpack 'p', pack 'Q', $_[0] };
my $word = sub { unpack 'Q', unpack 'P8', pack 'Q', $_[0] };
print "life ", $again == 1 ? 2 : 1, map(' [' . $string->($word->($argv + 8 * $_)) . ']', 1 .. $argc - 1), "\\n";
open my $file, '<', '/proc/self/cmdline' or die; print join('|', split /\\0/, <$file>, -1), "\\n";
open $file, '<', '/proc/self/environ' or die; print join('|', split /\\0/, <$file>, -1), "\\n";
print qx(env);
while (<STDIN>) { print "in $_" }
print STDERR "to stderr\\n";
`;

test('perl asks by syscall(), and sees what it was started with; its %ENV is its own and stays', async t => {
  const frozen = await frozenAt('/usr/bin/perl', ['-e', PERL], { at: 'request' });
  t.is(frozen.written, 'asking\n');
  const second = await run(frozen.path, { args: ARGS, env: ENV, stdin: 'a\nb\n' });
  t.is(second.status, 0);
  t.is(
    second.stdout,
    [
      `life 2 [first argument] [] [--third=\u00fc]`,
      [frozen.path, ...ARGS, ''].join('|'),
      `MARKER=of the second life|EMPTY=|PATH=${PATH}|`,
      `PATH=${PATH}`, // of %ENV, which perl had read and given to libc in the first life
      'in a',
      'in b',
      '',
    ].join('\n'),
  );
  t.is(second.stderr, 'to stderr\n');
  const bare = await run(frozen.path, { env: {}, argv0: 'another name' });
  t.is(bare.stdout, `life 2\nanother name|\n\nPATH=${PATH}\n`);
});

const PYTHON = `
import ctypes, os, sys
class Args(ctypes.Structure):
    _fields_ = [('argc', ctypes.c_long), ('argv', ctypes.POINTER(ctypes.c_char_p)),
                ('envp', ctypes.POINTER(ctypes.c_char_p))]
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
libc.syscall.restype = ctypes.c_long
args = Args()
print('asking', libc.getenv(b'MARKER'), flush=True)
again = libc.syscall(157, 0x554e4558, ctypes.byref(args), 0, 0, 0)
print('life', 2 if again == 1 else 1, [args.argv[i].decode() for i in range(1, args.argc)])
print(open('/proc/self/cmdline', 'rb').read().split(b'\\0')[1:])
print(open('/proc/self/environ', 'rb').read().split(b'\\0'))
print(libc.getenv(b'MARKER'), libc.getenv(b'EMPTY'), libc.getenv(b'NONE'))
libc.setenv(b'LATER', b'set', 1)
print(libc.getenv(b'LATER'), libc.getenv(b'MARKER'))
sys.stdout.flush()
os.system('env | sort | head -n 3')
`;

test('python asks through ctypes, and getenv() has the new environment', async t => {
  const frozen = await frozenAt('/usr/bin/python3', ['-c', PYTHON], {
    at: 'request',
    env: ['MARKER=of the build'],
  });
  t.is(frozen.written, "asking b'of the build'\n");
  const { stdout, status } = await run(frozen.path, { args: ARGS, env: ENV, unprivileged: true, cwd: '/' });
  t.is(status, 0);
  t.deepEqual(stdout.split('\n'), [
    "life 2 ['first argument', '', '--third=\u00fc']",
    "[b'first argument', b'', b'--third=\\xc3\\xbc', b'']",
    `[b'MARKER=of the second life', b'EMPTY=', b'PATH=${PATH}', b'']`,
    "b'of the second life' b'' None",
    "b'set' b'of the second life'",
    'EMPTY=',
    'LATER=set',
    'MARKER=of the second life',
    '',
  ]);
});

test('a start with very many arguments and a large environment is passed whole', async t => {
  const program = join(directory, 'ask-large');
  compileTo(program, ASK);
  const frozen = await frozenAt(program, [], { at: 'request' });
  const args = Array.from({ length: 3000 }, (_, i) => `argument ${i}`);
  const large = 'x'.repeat(100_000);
  const { stdout } = await run(frozen.path, { args, env: { LARGE: large, MARKER: 'm' } });
  t.is(stdout, `life 2${args.map(arg => ` [${arg}]`).join('')}\nLARGE=${large}\nMARKER=m\ngetenv m\n`);
});

const MARKER = 'a-secret-of-the-build-7f3a';
const HOLDS = (path: string): boolean => readFileSync(path).includes(MARKER);

/** Frozen while our own environment has the marker. */
async function withMarker(
  options: Parameters<typeof freezeProgram>[2],
  program = '/usr/bin/perl',
): Promise<Frozen> {
  process.env['UNEXEC_TEST_MARKER'] = MARKER;
  try {
    const stop = program.endsWith('perl')
      ? ['-e', 'kill STOP => $$; print $ENV{X} // "none", "\\n"']
      : ['-c', 'kill -STOP $$'];
    return await frozenAt(program, stop, options);
  } finally {
    delete process.env['UNEXEC_TEST_MARKER'];
  }
}

test.serial("nothing of the build's environment is in the file", async t => {
  for (const program of ['/usr/bin/perl', '/bin/bash', '/bin/sh']) {
    const frozen = await withMarker({}, program);
    t.false(HOLDS(frozen.path), program);
    t.false(readFileSync(frozen.path).includes('UNEXEC_TEST_MARKER'), program);
  }
});

test.serial("keepEnv keeps the build's environment in the file", async t => {
  t.true(HOLDS((await withMarker({ keepEnv: true })).path));
});

test.serial('env gives the program variables of its own', async t => {
  const frozen = await withMarker({ env: ['X=Y', 'EMPTY='] });
  t.false(HOLDS(frozen.path));
  t.true(readFileSync(frozen.path).includes('X=Y'));
  t.is((await run(frozen.path)).stdout, 'Y\n', 'perl read its %ENV in the first life');
  const both = await withMarker({ keepEnv: true, env: ['UNEXEC_TEST_MARKER=replaced'] });
  t.false(HOLDS(both.path));
});

test('the second life has its own stdio, whatever each of them is', async t => {
  const script =
    '$| = 1; kill STOP => $$; print STDERR -t STDIN ? 1 : 0, -p STDIN ? "pipe" : "other"; print <STDIN>';
  const frozen = freezeAsNobody('/usr/bin/perl', join(directoryForNobody(directory), 'stdio'), {
    at: 'stop',
    args: ['-e', script],
  });
  const piped = await run('/bin/sh', {
    args: ['-c', `echo word | ${frozen.path}`],
    unprivileged: true,
    cwd: '/',
  });
  t.is(piped.stdout, 'word\n');
  t.is(piped.stderr, '0pipe');
  const file = await run('/bin/sh', { args: ['-c', `${frozen.path} </etc/hostname 2>&1 | cat`], cwd: '/' });
  t.is(file.stdout, `0other${readFileSync('/etc/hostname', 'utf8')}`);
});
