import { basename, join } from 'node:path';
import test from 'ava';
import { prepare } from '../../../unexec/prepare.ts';
import { restart } from '../../../unexec/restart.ts';
import { judgeMachO } from '../../support/macho/judge.ts';
import { type LoaderOptions, runMachO } from '../../support/macho/loader.ts';
import { compileShapes, rescriptProgram } from '../../support/macho/rescript.ts';
import { MACHO_ARCHES, type MachOArch } from '../../support/macho/toolchain.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('restart-real');
const FAR = 0x1234_5678_0000n;

/** Path of a core of the program at its entry. */
async function coreAtEntry(program: string, arch: MachOArch, slide: bigint): Promise<string> {
  const core = join(directory, `${basename(program)}.${arch}.${slide}.core`);
  const { status, stderr } = await runMachO(program, [], { arch, foreign: true, at: 'entry', core, slide });
  if (status !== 0) throw new Error(stderr);
  return core;
}

/** Dumps the program at its entry; with comparison, every pointer is known. */
async function dumped(program: string, name: string, arch: MachOArch, compared: boolean): Promise<string> {
  const core = await coreAtEntry(program, arch, 0x7f00_0000n);
  const compare = compared ? { compare: await coreAtEntry(program, arch, FAR), strict: true } : {};
  const target = join(directory, name);
  await restart(core, target, { exe: program, ...compare });
  await judgeMachO(target);
  return target;
}

for (const arch of MACHO_ARCHES) {
  for (const compared of [true, false]) {
    const how = compared ? 'by comparison' : 'by a scan';
    test.serial(`ReScript's compiler compiles the same after a dump ${how}, ${arch}`, async t => {
      const program = rescriptProgram('bsc', arch);
      const second = await dumped(program, `bsc.${arch}.${compared}`, arch, compared);
      const expected = await compileShapes(program, directory, { arch });
      t.regex(expected.stdout, /exports\.answer = answer/);
      const options: LoaderOptions = compared ? { arch } : { arch, slide: FAR };
      t.deepEqual(await compileShapes(second, directory, options), expected);
    });
  }

  test.serial(`ReScript's build tool says the same after a dump, ${arch}`, async t => {
    const program = rescriptProgram('rescript', arch);
    const second = await dumped(program, `rescript.${arch}`, arch, true);
    for (const args of [['--version'], ['build', '--help'], ['build', 'nowhere']]) {
      const expected = await runMachO(program, args, { arch, foreign: true });
      t.true(expected.stdout.length + expected.stderr.length > 0);
      t.deepEqual(await runMachO(second, args, { arch, foreign: true }), expected);
    }
  });

  test.serial(`ReScript's compiler compiles the same with a reserve, ${arch}`, async t => {
    const program = rescriptProgram('bsc', arch);
    const target = join(directory, `bsc.${arch}.prepared`);
    await prepare(program, target, { reserve: 1 << 22 });
    await judgeMachO(target);
    const expected = await compileShapes(program, directory, { arch });
    t.deepEqual(await compileShapes(target, directory, { arch }), expected);
  });
}
