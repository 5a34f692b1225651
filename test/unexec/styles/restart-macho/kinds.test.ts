import { readFileSync, statSync } from 'node:fs';
import test from 'ava';
import {
  DYLD_CHAINED_PTR,
  findBlob,
  findCommand,
  LC,
  readChainedFixups,
  readFixups,
  readMachO,
  sectionsOf,
  wholeContents,
} from '../../../../formats/macho/index.ts';
import { bytesSource } from '../../../../formats/source.ts';
import { prepare } from '../../../../unexec/prepare.ts';
import { restart } from '../../../../unexec/restart.ts';
import { MIB, prepared, RUNTIME_SOURCE, takeCore } from '../../../support/macho/dump.ts';
import { judgeMachO } from '../../../support/macho/judge.ts';
import { runMachO } from '../../../support/macho/loader.ts';
import { useOffsetFormat } from '../../../support/macho/offset-format.ts';
import {
  compileMachO,
  FIXUP_STYLES,
  MACHO_ARCHES,
  type MachOProgram,
} from '../../../support/macho/toolchain.ts';
import { run } from '../../../support/run.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('restart-macho-kinds');
const world = 'samples/restart/world.c';
const constructors = 'samples/restart/constructors.c';
const base: MachOProgram = { sources: [world], arch: 'x86_64', fixups: 'dyld-info', directory };
const SLIDES = [0x12_0000_4000n, 0x4567_0000_8000n] as const;

const readFile = (path: string) => readMachO(bytesSource(new Uint8Array(readFileSync(path))));
const secondLife = (number: number): string =>
  `life ${number}, restarted\nconstructors ran 1 time(s), made before main\nthread-local: 41 ''\n`;

for (const arch of MACHO_ARCHES) {
  for (const fixups of FIXUP_STYLES) {
    for (const initOffsets of [false, true]) {
      const how = initOffsets ? 'init offsets' : 'init functions';
      test(`constructors run once in all lives, thread-local variables are new, ${arch}, ${fixups}, ${how}`, async t => {
        const name = `constructors.${arch}.${fixups}.${initOffsets}`;
        const program = await prepared({ ...base, sources: [constructors], arch, fixups, initOffsets, name });
        const first = await runMachO(program, [], { arch });
        t.is(first.stdout, secondLife(1).replace('restarted', 'started'));
        let executable = program;
        for (const [life, dropped] of [
          [2, 1],
          [3, 0],
        ] as const) {
          const target = `${program}.${life}`;
          const core = await takeCore(executable, { arch });
          t.is((await restart(core, target, { exe: executable })).dropped, dropped);
          await judgeMachO(target);
          t.deepEqual(await runMachO(target, [], { arch }), { ...first, stdout: secondLife(life) });
          executable = target;
        }
      });
    }

    test(`a program without the runtime keeps its variables, holes and all, ${arch}, ${fixups}`, async t => {
      const sources = ['test/fixtures/macho/bare.c'];
      const program = compileMachO({ ...base, sources, arch, fixups, name: `bare.${arch}.${fixups}` });
      const target = `${program}.restart`;
      const { zone, remarks } = await restart(await takeCore(program, { arch }), target, { exe: program });
      t.is(zone, undefined);
      t.regex(remarks.join('\n'), /no zone was started/);
      await judgeMachO(target);
      const { size, blocks } = statSync(target);
      t.true(size > 3 * MIB && blocks * 512 < MIB, `${size} bytes in ${blocks} blocks`);
      const { stdout } = await runMachO(target, [], { arch, slide: SLIDES[1] });
      t.is(stdout, '2 1 1, m\nlife 2\n');
    });
  }

  test(`a heap of some MiB has holes in the file where it is zero, ${arch}`, async t => {
    const program = await prepared(
      { ...base, sources: ['test/fixtures/macho/heap.c'], arch, headerpad: 0x400, name: `heap.${arch}` },
      { reserve: 16 * MIB },
    );
    const target = `${program}.restart`;
    const { zone, segments } = await restart(await takeCore(program, { arch }), target, { exe: program });
    const heap = segments.find(({ name }) => name === '__DATA_HEAP');
    t.true((zone?.highWater ?? 0) > 4 * MIB);
    t.true((heap?.file ?? 0) >= (zone?.highWater ?? 0) && (heap?.stored ?? 0) < MIB / 4, `${heap?.stored}`);
    const { size, blocks } = statSync(target);
    t.true(size > 4 * MIB && blocks * 512 < MIB, `${size} bytes in ${blocks} blocks`);
    await judgeMachO(target);
    t.is((await runMachO(target, [], { arch, slide: SLIDES[0] })).stdout, '8 pieces, sum 28\n');
  });

  test(`pointers in the format of newer linkers stay in it, ${arch}`, async t => {
    const sources = [world, RUNTIME_SOURCE];
    const program = compileMachO({
      ...base,
      sources,
      arch,
      fixups: 'chained',
      headerpad: 0x400,
      name: `offset.${arch}`,
    });
    await useOffsetFormat(program);
    await judgeMachO(program);
    const whole = await runMachO(program, ['2'], { arch });
    await prepare(program, program, { reserve: 4 * MIB });
    const target = `${program}.restart`;
    await restart(await takeCore(program, { arch, slide: SLIDES[1] }), target, { exe: program });
    const blob = findBlob(readFile(target), 'chained-fixups');
    const fixups = readChainedFixups(wholeContents(blob?.contents ?? new Uint8Array()));
    t.is(fixups.pointerFormat, DYLD_CHAINED_PTR.DYLD_CHAINED_PTR_64_OFFSET);
    await judgeMachO(target);
    const { stdout } = await runMachO(target, [], { arch });
    t.is(stdout, ['restarted', ...whole.stdout.split('\n').slice(3)].join('\n'));
  });

  test(`a program for the newest system, whose rules are the strictest, is within them, ${arch}`, async t => {
    const linkFlags = ['-platform_version', 'macos', '13.0', '26.0'];
    const newest = { ...base, arch, fixups: 'chained', linkFlags, headerpad: 0x400 } as const;
    const program = await prepared({ ...newest, name: `newest.${arch}` });
    t.regex((await run('/usr/bin/llvm-otool-19', { args: ['-l', program] })).stdout, /sdk 26\.0/);
    const target = `${program}.restart`;
    await restart(await takeCore(program, { arch }), target, { exe: program });
    await judgeMachO(target);
    t.is((await runMachO(target, [], { arch })).status, 0);

    // A reserve that nobody uses, behind variables that grow in the file.
    const sources = ['test/fixtures/macho/bare.c'];
    const bare = compileMachO({ ...newest, sources, name: `newest-bare.${arch}` });
    await prepare(bare, bare, { reserve: MIB });
    await restart(await takeCore(bare, { arch }), `${bare}.restart`, { exe: bare });
    await judgeMachO(`${bare}.restart`);
    t.is((await runMachO(`${bare}.restart`, [], { arch })).stdout, '2 1 1, m\nlife 2\n');
  });
}

for (const [arch, fixups] of [
  ['x86_64', 'chained'],
  ['arm64', 'chained'],
  ['arm64', 'dyld-info'],
] as const) {
  test(`a program whose file has no pointer at all keeps the one that it made, ${arch}, ${fixups}`, async t => {
    const sources = ['test/fixtures/macho/lone.c'];
    const program = compileMachO({ ...base, sources, arch, fixups, name: `lone.${arch}.${fixups}` });
    t.is([...readFixups(readFile(program)).rebases].length, 0);
    const target = `${program}.restart`;
    await restart(await takeCore(program, { arch }), target, { exe: program });
    await judgeMachO(target);
    t.is((await runMachO(target, [], { arch })).status, 43);
  });

  test(`segments of the program's own are dumped, and move behind one that grows, ${arch}, ${fixups}`, async t => {
    const sources = ['test/fixtures/macho/more-segments.c'];
    const program = await prepared({ ...base, sources, arch, fixups, name: `more.${arch}.${fixups}` });
    let executable = program;
    for (const life of [2, 3]) {
      const target = `${program}.${life}`;
      await restart(await takeCore(executable, { arch }), target, { exe: executable });
      await judgeMachO(target);
      t.is((await runMachO(target, [], { arch })).stdout, '6 behind end b ok\n');
      executable = target;
    }
  });
}

test('a program without position goes on at its own addresses', async t => {
  const program = await prepared({ ...base, pie: false, name: 'fixed' });
  const whole = await runMachO(program, ['2'], { arch: 'x86_64' });
  const target = `${program}.restart`;
  const { pointers } = await restart(await takeCore(program, { arch: 'x86_64' }), target, { exe: program });
  t.like(pointers, { method: 'none', pointers: 0 });
  await judgeMachO(target);
  const { stdout } = await runMachO(target, [], { arch: 'x86_64' });
  t.is(stdout, ['restarted', ...whole.stdout.split('\n').slice(3)].join('\n'));
});

test('debuggers read the dumped values of variables from the file', async t => {
  const program = await prepared({ ...base, headerpad: 0x400, name: 'debugged' });
  const target = `${program}.restart`;
  await restart(await takeCore(program, { arch: 'x86_64', args: ['3'] }), target, { exe: program });
  const commands = [`target create "${target}"`, 'target variable rounds diary *newest'];
  const args = ['-b', '-x', ...commands.flatMap(command => ['-o', command])];
  const { stdout } = await run('/usr/bin/lldb-19', { args });
  t.regex(stdout, /rounds = 3\n/);
  t.regex(stdout, /diary = 0x\w+ "\[1: 1000 of 1000, \d+\]\[2: /);
  t.regex(stdout, /name = 0x\w+ "entry 1899 of the world"/);
  t.regex(stdout, /older = 0x00000001\w{8}\n/);
});

test('the notes of a dump are named by a load command where there is room for one', async t => {
  for (const headerpad of [32, 0x400]) {
    const program = await prepared({ ...base, headerpad, name: `notes.${headerpad}` });
    const target = `${program}.restart`;
    await restart(await takeCore(program, { arch: 'x86_64' }), target, { exe: program });
    t.is(findCommand(readFile(target), LC.LC_NOTE) !== undefined, headerpad > 32);
    t.true(
      sectionsOf(readFile(target)).some(({ sectname }) => sectname === (headerpad > 32 ? '__heap' : '__bss')),
    );
    t.true(readFileSync(target).includes('"style":"restart"'));
  }
});
