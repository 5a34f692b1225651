/**
 * Images of aarch64 on a kernel: processes of one emulated machine, from the cores that its kernel wrote, go on in
 * another.
 *
 * @module
 */
import { mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { NOTHING_LEFT } from '../../unexec/file-pages.ts';
import { type FreezeOptions, freeze } from '../../unexec/freeze.ts';
import { parseFreezePoint } from '../../unexec/freeze-point.ts';
import type { ProcessImage } from '../../unexec/image.ts';
import { elfCore } from '../../unexec/sources/elf-core.ts';
import { finishExecutable, storeContents } from '../../unexec/styles/resume.ts';
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
  'handlers-static': compileArm(directory, 'arm/handlers.c', ['-static']),
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
for name in ${NAMES.join(' ')}; do echo "== $name"; cat /out/$name.whole; done
for what in r v m; do echo "== $what"; uname -$what; done`;

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

/** An image that knows its kernel and where that has the data of its vdso, which a core does not tell. */
async function imageOfKernel(name: string, target: string): Promise<void> {
  const { collect, whole } = await first;
  const said = (what: string): string => (whole.get(what) ?? '').trimEnd();
  const kernel = { sysname: 'Linux', release: said('r'), version: said('v'), machine: said('m') };
  const exe = PROGRAMS[name] ?? '';
  const options = { exe, sysroot: ARM_SYSROOT };
  const point = parseFreezePoint('auto');
  const source = await elfCore(join(collect, `core.${name}`), { options, point, say: () => {} });
  const file = await open(target, 'w+', 0o755);
  try {
    const { vdso, origin, regions, ...rest } = source.image;
    const data = regions.find(({ kind }) => kind === 'vvar');
    if (vdso === undefined || data === undefined) throw new Error('the core has no vdso');
    const known = { ...vdso, vvarStart: data.start };
    const image: ProcessImage = { ...rest, regions, vdso: known, origin: { ...origin, kernel } };
    const contents = await storeContents(image, file, { left: NOTHING_LEFT, compress: false }, () => {});
    const features = { vdso: true, mmMap: true, rseq: true, timerIds: true, unmapVdso: true };
    const plan = { cwd: 'caller', symbols: 'all', features, orStart: undefined, touched: [] } as const;
    await finishExecutable(image, contents, file, plan);
  } finally {
    await file.close();
    await source.release();
  }
}

test("on its own kernel a process for aarch64 has that kernel's vdso where it was", async t => {
  const { whole } = await first;
  const target = join(directory, 'known');
  await imageOfKernel('handlers-static', target);
  const files = { '/bin/known': target };
  const { output } = await runMachine({ arch: 'aarch64', files, script: '/bin/known; echo "status $?"' });
  t.is(output, (whole.get('handlers-static') ?? '').replace(/^before.*\n/, ''));
  t.regex(output, /vdso as it was/);
});

test('an emulated CPU for aarch64 that lacks something is refused by name', async t => {
  const machine = { arch: 'aarch64', cpu: 'cortex-a72', files: await images(), script: SECOND_LIFE } as const;
  const second = sections((await runMachine(machine)).output);
  for (const name of NAMES) {
    t.is(second.get(name), `unexec: cannot resume /bin/${name}: this CPU lacks atomics\nstatus 125\n`);
  }
});
