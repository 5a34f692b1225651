/**
 * Images of aarch64 on a kernel: processes of one emulated machine, from the cores that its kernel wrote, go on in
 * another.
 *
 * @module
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { type FreezeOptions, freeze } from '../../unexec/freeze.ts';
import { ARM_SYSROOT, compileArm } from '../support/arm-programs.ts';
import { runMachine } from '../support/emulated-machine.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('aarch64-cores');

/** What the dynamic ones want where they run first; their images want nothing. */
const LIBRARIES = Object.fromEntries(
  ['ld-linux-aarch64.so.1', 'libc.so.6'].map(name => [`/lib/${name}`, join(ARM_SYSROOT, 'lib', name)]),
);
const PROGRAMS: Readonly<Record<string, string>> = {
  threads: compileArm(directory, 'cores/threads.c'),
  'threads-static': compileArm(directory, 'cores/threads.c', ['-static']),
  handlers: compileArm(directory, 'arm/handlers.c'),
};
const NAMES = Object.keys(PROGRAMS);

/** Runs each to its end, and takes a core of each on the way. */
const FIRST_LIFE = `
echo '/out/core.%e' > /proc/sys/kernel/core_pattern
ulimit -c unlimited
stopped() { until grep -q '^State:.T' /proc/$1/status; do sleep 0.2; done; }
for name in ${NAMES.join(' ')}; do
  /bin/$name stop vdso > /out/$name.whole & stopped $!; kill -CONT $!; wait $!; echo "status $?" >> /out/$name.whole
  /bin/$name stop vdso > /out/$name.first & stopped $!; kill -ABRT $!; kill -CONT $!; wait $!
done
for name in ${NAMES.join(' ')}; do echo "== $name"; cat /out/$name.whole; done`;

/** What a program says that is not interrupted, by its name. */
const sections = (output: string): Map<string, string> =>
  new Map(
    output
      .split(/^== /m)
      .slice(1)
      .map(text => [text.slice(0, text.indexOf('\n')), text.slice(text.indexOf('\n') + 1)]),
  );

async function firstLives() {
  const collect = join(directory, 'first');
  mkdirSync(collect, { recursive: true });
  const files = {
    ...LIBRARIES,
    ...Object.fromEntries(Object.entries(PROGRAMS).map(([name, path]) => [`/bin/${name}`, path])),
  };
  const { output } = await runMachine({ arch: 'aarch64', files, script: FIRST_LIFE, collect });
  return { collect, whole: sections(output) };
}

/** Machines are slow: all tests share the first one. */
const first = firstLives();
let count = 0;

async function images(options: FreezeOptions = {}): Promise<Record<string, string>> {
  const { collect } = await first;
  const own = join(directory, `images-${count++}`);
  mkdirSync(own);
  const made = NAMES.map(async name => {
    const target = join(own, name);
    const exe = PROGRAMS[name] ?? '';
    await freeze(join(collect, `core.${name}`), target, { ...options, exe, sysroot: ARM_SYSROOT });
    return [`/bin/${name}`, target] as const;
  });
  return Object.fromEntries(await Promise.all(made));
}

const SECOND_LIFE = `for name in ${NAMES.join(' ')}; do echo "== $name"; /bin/$name again; echo "status $?"; done`;

/** What the second life says: a core does not tell its kernel, so that the vdso of the new one is not trusted. */
const secondLife = (whole: string): string =>
  whole.replace(/^before.*\n/, '').replace('vdso as it was', 'vdso elsewhere');

test('processes of a kernel for aarch64 go on in a machine without any library', async t => {
  const { whole } = await first;
  const { output } = await runMachine({ arch: 'aarch64', files: await images(), script: SECOND_LIFE });
  const second = sections(output);
  for (const name of NAMES) {
    const expected = whole.get(name) ?? '';
    t.regex(expected, /^before.*\n.*after/s, name);
    t.is(second.get(name), secondLife(expected), name);
  }
});

const VARIANTS: readonly [how: string, options: FreezeOptions][] = [
  ['without vdso, PR_SET_MM_MAP and rseq', { avoid: ['vdso', 'mmMap', 'rseq'] }],
  ['from a compressed image', { compress: true }],
];

for (const [how, options] of VARIANTS) {
  test(`${how} a process for aarch64 says the same`, async t => {
    const { whole } = await first;
    const files = await images(options);
    const second = sections((await runMachine({ arch: 'aarch64', files, script: SECOND_LIFE })).output);
    for (const name of NAMES) {
      t.is(second.get(name), secondLife(whole.get(name) ?? ''), name);
    }
  });
}

test('an emulated CPU for aarch64 that lacks something is refused by name', async t => {
  const machine = { arch: 'aarch64', cpu: 'cortex-a72', files: await images(), script: SECOND_LIFE } as const;
  const second = sections((await runMachine(machine)).output);
  for (const name of NAMES) {
    t.is(second.get(name), `unexec: cannot resume /bin/${name}: this CPU lacks atomics\nstatus 125\n`);
  }
});
