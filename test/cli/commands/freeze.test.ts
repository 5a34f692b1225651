import test from 'ava';
import { parseFreeze } from '../../../cli/commands/freeze.ts';
import { UsageError } from '../../../cli/errors.ts';
import { EXIT_MEANINGS } from '../../../cli/exit-codes.ts';
import { FREEZE_POINTS } from '../../../cli/freeze/help.ts';
import { type FreezeOptions, VERSION } from '../../../unexec/index.ts';

const env = { HOME: '/home/me', EMPTY: '' };

function optionsOf(...argv: readonly string[]): FreezeOptions {
  const request = parseFreeze(argv, env);
  if (request.type !== 'freeze') throw new Error('no freeze');
  return request.options;
}

test('parseFreeze() takes program and target', t => {
  t.deepEqual(parseFreeze(['prog', 'out'], env), {
    type: 'freeze',
    from: 'prog',
    target: 'out',
    options: { args: [] },
  });
});

test('parseFreeze() leaves everything after the first -- to the program', t => {
  t.deepEqual(optionsOf('prog', 'out', '--', '--at', 'x', '--', '-h'), { args: ['--at', 'x', '--', '-h'] });
});

const accepted: readonly (readonly [argv: readonly string[], options: FreezeOptions])[] = [
  [['--at', 'symbol:main'], { at: 'symbol:main' }],
  [['--at', 'time:1.5s'], { at: 'time:1.5s' }],
  [
    ['--env', 'A=b=c', '--env', 'HOME', '--env', 'EMPTY', '--env', 'X='],
    { env: ['A=b=c', 'HOME=/home/me', 'EMPTY=', 'X='] },
  ],
  [['--keep-env'], { keepEnv: true }],
  [['--drop-fd', '3,4', '--drop-fd', '7'], { dropFds: [3, 4, 7] }],
  [['--hangup-sockets'], { hangupSockets: true }],
  [['--cwd', 'caller'], { cwd: 'caller' }],
  [['--symbols=none'], { symbols: 'none' }],
  [['--train', "-n 'two words'"], { train: { args: ['-n', 'two words'] } }],
  [['--train', ''], { train: { args: [] } }],
  [['--leave-running'], { leaveRunning: true }],
  [['--kill'], { leaveRunning: false }],
  [['--copy-limit', '64M'], { copyLimit: 64 * 2 ** 20 }],
  [['--copy-limit=0'], { copyLimit: 0 }],
  [['--avoid', 'vdso,mm-map', '--avoid', 'rseq'], { avoid: ['vdso', 'mmMap', 'rseq'] }],
];
for (const [argv, options] of accepted) {
  test(`parseFreeze() takes ${argv.join(' ')}`, t => {
    t.deepEqual(optionsOf(...argv, 'prog', 'out'), { ...options, args: [] });
    t.deepEqual(optionsOf('prog', 'out', ...argv), { ...options, args: [] });
  });
}

const rejected: readonly (readonly [argv: readonly string[], message: RegExp])[] = [
  [[], /missing required argument 'running-image'/],
  [['prog'], /missing required argument 'out-binary'/],
  [['prog', 'out', 'extra'], /too many arguments/],
  [['prog', 'out', '--no-such'], /unknown option '--no-such'/],
  [['prog', 'out', '--at'], /argument missing/],
  [['--pid', '12', 'out', 'extra'], /too many arguments/],
  [['--pid', '12'], /missing required argument 'out-binary'/],
  [['--pid', 'perl', 'out'], /'perl' is no number of a process/],
  [['--pid=0', 'out'], /'0' is no number of a process/],
  [['12', 'out', '--', 'arg'], /has its arguments already/],
  [['12', 'out', '--keep-env'], /--keep-env is for a program that is to be started/],
  [['--pid', '12', 'out', '--style', 'restart'], /--pid is for --style resume only/],
  [['prog', 'out', '--at', 'noon'], /'noon' is invalid/],
  [['prog', 'out', '--env', 'UNSET'], /UNSET is not set/],
  [['prog', 'out', '--env', '=x'], /needs a name/],
  [['prog', 'out', '--drop-fd', '3,x'], /'x' is no descriptor/],
  [['prog', 'out', '--drop-fd', '-1'], /'-1' is no descriptor/],
  [['prog', 'out', '--style', 'again'], /choices are resume, restart/],
  [['prog', 'out', '--cwd', 'toString'], /choices are frozen, caller/],
  [['prog', 'out', '--symbols', 'some'], /choices are all, program, none/],
  [['prog', 'out', '--avoid', 'vdso,'], /choices are vdso, mm-map, rseq/],
  [['prog', 'out', '--train', "'"], /quote is not closed/],
];
for (const [argv, message] of rejected) {
  test(`parseFreeze() rejects: ${argv.join(' ')}`, t => {
    const error = t.throws(() => parseFreeze(argv, env), { instanceOf: UsageError, message });
    t.is(error?.code, 'USAGE');
    t.truthy(error?.hint);
  });
}

test('parseFreeze() takes a number for a process, and a path with a number for a program', t => {
  const running = { type: 'freeze', from: { pid: 1234 }, target: 'out', options: { at: 'input' } } as const;
  t.deepEqual(parseFreeze(['1234', 'out', '--at', 'input'], env), running);
  t.deepEqual(parseFreeze(['--at', 'input', '--pid', '1234', 'out'], env), running);
  t.deepEqual(parseFreeze(['--pid=1234', '--at', 'input', 'out'], env), running);
  t.like(parseFreeze(['./1234', 'out'], env), { from: './1234' });
  t.like(parseFreeze(['01234', 'out'], env), { from: '01234' });
});

test('parseFreeze() makes a dump of --style restart', t => {
  t.deepEqual(parseFreeze(['--style', 'resume', 'prog', 'out'], env), {
    type: 'freeze',
    from: 'prog',
    target: 'out',
    options: { args: [] },
  });
  const words = [
    '--style=restart',
    '--exe',
    'app',
    '--compare',
    'core2',
    '--strict',
    '--runs=3',
    'core1',
    'out',
  ];
  t.deepEqual(parseFreeze(words, env), {
    type: 'restart',
    source: 'core1',
    target: 'out',
    options: { exe: 'app', compare: 'core2', strict: true, runs: 3, args: [] },
  });
  t.deepEqual(
    parseFreeze(
      ['loader', 'out', '--style', 'restart', '--at', 'stop', '--env', 'A=b', '--', 'app', '-v'],
      env,
    ),
    {
      type: 'restart',
      source: 'loader',
      target: 'out',
      options: { at: 'stop', env: ['A=b'], args: ['app', '-v'] },
    },
  );
});

test('parseFreeze() takes --style shared with a library and its initialiser', t => {
  const words = ['--style', 'shared', '--init', 'start', '--clear-remains', 'libx.so', 'out.so'];
  t.deepEqual(parseFreeze([...words, '--scratch', 'seed', '--env', 'A=b'], env), {
    type: 'shared',
    library: 'libx.so',
    target: 'out.so',
    options: { init: 'start', clearRemains: true, scratch: ['seed'], env: ['A=b'] },
  });
  t.throws(() => parseFreeze([...words, '--', 'argument'], env), { instanceOf: UsageError });
  t.throws(() => parseFreeze([...words, '--keep-env'], env), { instanceOf: UsageError });
});

const onlyOf = {
  resume: [
    ['--drop-fd', '3'],
    ['--hangup-sockets'],
    ['--cwd', 'caller'],
    ['--symbols', 'none'],
    ['--train', '-v'],
    ['--leave-running'],
    ['--avoid', 'vdso'],
    ['--sysroot', '/'],
  ],
  restart: [['--compare', 'core'], ['--strict'], ['--runs', '3']],
  'restart and shared': [['--scratch', 'seed']],
  shared: [['--init', 'start'], ['--clear-remains']],
} as const;
for (const [style, options] of Object.entries(onlyOf)) {
  for (const option of options) {
    const [one = ''] = style.split(' ');
    const other = one === 'resume' ? 'restart' : 'resume';
    test(`parseFreeze() rejects ${option.join(' ')} with --style ${other}`, t => {
      t.throws(() => parseFreeze([...option, '--style', other, 'prog', 'out'], env), {
        instanceOf: UsageError,
        message: `${option[0]} is for --style ${style} only`,
      });
      t.notThrows(() => parseFreeze(['prog', 'out', '--style', one, ...option], env));
    });
  }
}

test('parseFreeze() tells where arguments of the program go', t => {
  const error = t.throws(() => parseFreeze(['perl', 'out', '-e', '1'], env), { instanceOf: UsageError });
  t.regex(error?.hint ?? '', /after --/);
});

test('parseFreeze() gives help with every freeze point and every exit status', t => {
  const request = parseFreeze(['--help'], env);
  if (request.type !== 'text') return t.fail('no help');
  const lines = request.text.split('\n').map(line => line.trim().split(/ {2,}/));
  for (const [point, what] of FREEZE_POINTS)
    t.deepEqual(
      lines.find(([name]) => name === point),
      [point, what],
    );
  for (const [code, what] of EXIT_MEANINGS)
    t.deepEqual(
      lines.find(([name]) => name === `${code}`),
      [`${code}`, what],
    );
});

test('parseFreeze() gives the version', t => {
  t.deepEqual(parseFreeze(['--version'], env), { type: 'text', text: `${VERSION}\n` });
});

test('parseFreeze() takes --as core of a program and of a process, without what is about executables', t => {
  t.like(parseFreeze(['--as', 'core', 'prog', 'out', '--', 'x'], env), {
    type: 'core',
    from: 'prog',
    options: { args: ['x'] },
  });
  t.like(parseFreeze(['--as', 'core', '4711', 'out'], env), {
    type: 'core',
    from: { pid: 4711 },
    target: 'out',
  });
  t.like(parseFreeze(['--as', 'program', 'prog', 'out'], env), { type: 'freeze' });
  for (const option of [
    ['--train', 'x'],
    ['--thin'],
    ['--symbols', 'none'],
    ['--exe', 'x'],
    ['--or-start'],
    ['--reproducible'],
  ]) {
    t.throws(() => parseFreeze(['--as', 'core', ...option, 'prog', 'out'], env), {
      instanceOf: UsageError,
      message: `${option[0]} is not for --as core`,
    });
  }
});
