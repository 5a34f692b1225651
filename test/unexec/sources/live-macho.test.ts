import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import test from 'ava';
import { segmentsOf } from '../../../formats/macho/find.ts';
import { UnexecError } from '../../../unexec/errors.ts';
import { parseFreezePoint } from '../../../unexec/freeze-point.ts';
import { comparePointers, scanPointers } from '../../../unexec/pointers.ts';
import { type LiveMachO, openLiveMachO } from '../../../unexec/sources/live-macho.ts';
import { loaderCommand } from '../../support/macho/loader.ts';
import {
  compileMachO,
  FIXUP_STYLES,
  type FixupStyle,
  MACHO_ARCHES,
  type MachOArch,
} from '../../support/macho/toolchain.ts';
import { readVariables, symbolsOf, VARIABLES } from '../../support/macho-variables.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('live-macho');
const SOURCES = ['test/fixtures/macho/variables.c'];
const nothing = openSync('/dev/null', 'r+');
test.after.always(() => closeSync(nothing));

const executables = new Map<string, string>();
function executable(arch: MachOArch, fixups: FixupStyle, pie = true): string {
  const key = `${arch} ${fixups} ${pie}`;
  const path = executables.get(key) ?? compileMachO({ sources: SOURCES, arch, fixups, pie, directory });
  executables.set(key, path);
  return path;
}

function open(
  exe: string,
  arch: MachOArch,
  facts: { args?: string[]; through?: string[] } = {},
): Promise<LiveMachO> {
  const [program = '', ...args] = loaderCommand(exe, facts.args ?? ['stop'], { arch });
  return openLiveMachO(program, parseFreezePoint('stop'), {
    args: [...(facts.through ?? []), ...args],
    env: [],
    keepEnv: false,
    stdio: [nothing, nothing, nothing],
  });
}

// One at a time: a tracee is stopped with all the others of this process's children waiting.
for (const arch of MACHO_ARCHES) {
  for (const fixups of FIXUP_STYLES) {
    test.serial(`openLiveMachO() reads every variable of a running program, ${arch} ${fixups}`, async t => {
      const exe = executable(arch, fixups);
      const live = await open(exe, arch);
      t.is(live.executable.path, exe);
      t.is(live.guestBase, 0n);
      t.is(live.image.arch, arch === 'arm64' ? 'aarch64' : 'x86_64');
      t.deepEqual(readVariables(live.image, exe, live.executable.slide), VARIABLES);
      live.release();
    });
  }
}

test.serial('openLiveMachO() finds a program that is not position-independent', async t => {
  const exe = executable('x86_64', 'dyld-info', false);
  const live = await open(exe, 'x86_64');
  t.is(live.executable.slide, 0n);
  t.is(live.guestBase, 0n);
  t.deepEqual(readVariables(live.image, exe, 0n), VARIABLES);
  live.release();
});

test.serial('openLiveMachO() sees an emulated program by its own addresses', async t => {
  const exe = executable('arm64', 'chained');
  const live = await open(exe, 'arm64', { through: ['-B', '0x100000000000'] });
  t.is(live.guestBase, 0x1000_0000_0000n);
  t.true(live.executable.slide < 0x1000_0000_0000n);
  t.deepEqual(readVariables(live.image, exe, live.executable.slide), VARIABLES);
  live.release();
});

test.serial('openLiveMachO() stops where a loader stops the program, and lets it go on', async t => {
  const exe = executable('x86_64', 'dyld-info');
  const [program = '', ...args] = loaderCommand(exe, [], { arch: 'x86_64', at: 'freeze_here', stop: true });
  const path = join(directory, 'output');
  const output = openSync(path, 'w');
  const live = await openLiveMachO(program, parseFreezePoint('stop'), {
    args,
    env: [],
    keepEnv: false,
    stdio: [nothing, output, output],
  });
  closeSync(output);
  t.deepEqual(readVariables(live.image, exe, live.executable.slide), VARIABLES);
  live.release('let-go');
  for (let i = 0; i < 500 && readFileSync(path).length === 0; i++) await setTimeout(10);
  t.is(readFileSync(path, 'utf8'), '2 as written\n');
});

const SHAPE = ['__TEXT', '__DATA_CONST', '__DATA'];

/** The program's segments in two runs, as ranges; the code is only a target. */
const pairedRanges = (a: LiveMachO, b: LiveMachO) =>
  segmentsOf(a.executable.file)
    .filter(({ segname }) => SHAPE.includes(segname))
    .map(({ segname, vmaddr, vmsize }) => ({
      name: segname,
      start1: vmaddr + a.executable.slide,
      start2: vmaddr + b.executable.slide,
      size: Number(vmsize),
      searched: segname === '__DATA',
    }));

for (const arch of MACHO_ARCHES) {
  test.serial(
    `two runs at different slides tell exactly which words of __DATA are pointers, ${arch}`,
    async t => {
      const exe = executable(arch, 'chained');
      const a = await open(exe, arch);
      const b = await open(exe, arch);
      t.not(a.executable.slide, b.executable.slide);
      const found = comparePointers({
        ranges: pairedRanges(a, b),
        image: { a: a.image, b: b.image },
        outside: [],
      });
      const data = found.ranges.find(({ range }) => range.name === '__DATA');
      const scanned = scanPointers({
        ranges: pairedRanges(a, b).map(({ start1, ...range }) => ({ ...range, start: start1 })),
        image: a.image,
        outside: [],
      });
      a.release();
      b.release();
      const symbols = symbolsOf(exe);
      const base = (data?.range.start1 ?? 0n) - a.executable.slide;
      const offsetOf = (name: string, at = 0) => Number((symbols.get(name) ?? 0n) - base) + at;
      const expected = [
        offsetOf('text'),
        offsetOf('node'),
        offsetOf('first'),
        offsetOf('first', 16),
        offsetOf('into_bss'),
        offsetOf('unwritten_pointers', 0x800 * 8),
      ].sort((x, y) => x - y);
      const slots = [...(data?.slots ?? [])];
      t.deepEqual(
        slots.filter(slot => expected.includes(slot)),
        expected,
      );
      // A program has a few more, of its own __DATA sections; nothing of it is unexplained but its pointers to elsewhere.
      t.true(slots.length <= expected.length + 2, slots.join());
      const outside = [offsetOf('list'), offsetOf('function')];
      t.deepEqual(
        found.unexplained.map(({ offset }) => offset).filter(offset => !outside.includes(offset)),
        [],
      );
      t.deepEqual([...(scanned.ranges.find(({ range }) => range.name === '__DATA')?.slots ?? [])], slots);
      t.is(scanned.counts.doubtful, 0);
    },
  );
}

test.serial('openLiveMachO() refuses a command line without a Mach-O file', async t => {
  const error = await t.throwsAsync(
    openLiveMachO('/bin/sh', parseFreezePoint('stop'), {
      args: ['-c', 'kill -STOP $$'],
      env: [],
      keepEnv: false,
      stdio: [nothing, nothing, nothing],
    }),
    { instanceOf: UnexecError },
  );
  t.is(error?.code, 'EXECUTABLE_NEEDED');
});

test.serial('openLiveMachO() says so when the executable is not in the process', async t => {
  const error = await t.throwsAsync(
    openLiveMachO(
      '/bin/sh',
      parseFreezePoint('stop'),
      { args: ['-c', 'kill -STOP $$'], env: [], keepEnv: false, stdio: [nothing, nothing, nothing] },
      executable('x86_64', 'chained'),
    ),
    { instanceOf: UnexecError },
  );
  t.is(error?.code, 'EXECUTABLE_NOT_FOUND');
});

test.serial('openLiveMachO() says so when the program ends before it stops', async t => {
  const error = await t.throwsAsync(open(executable('x86_64', 'chained'), 'x86_64', { args: [] }), {
    instanceOf: UnexecError,
  });
  t.is(error?.code, 'ENDED_BEFORE_FREEZE_POINT');
});
