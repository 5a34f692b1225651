import { join } from 'node:path';
import test from 'ava';
import { restart } from '../../../../unexec/restart.ts';
import { judgeMachO } from '../../../support/macho/judge.ts';
import { runMachO } from '../../../support/macho/loader.ts';
import { compileShapes, rescriptProgram } from '../../../support/macho/rescript.ts';
import { MACHO_ARCHES, type MachOArch } from '../../../support/macho/toolchain.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('restart-macho-real');
const SLIDES = [0x12_0000_4000n, 0x4567_0000_8000n] as const;

/** A core of a program that stands at its entry: constructors have run, and main has not. */
async function coreOf(program: string, arch: MachOArch, name: string, slide: bigint): Promise<string> {
  const core = join(directory, `${name}.${arch}.${slide}.core`);
  const { status, stderr } = await runMachO(program, [], { arch, foreign: true, at: 'entry', core, slide });
  if (status !== 0) throw new Error(`${program}: status ${status}\n${stderr}`);
  return core;
}

for (const arch of MACHO_ARCHES) {
  for (const name of ['bsc', 'rescript'] as const) {
    for (const method of ['scan', 'comparison'] as const)
      test(`a real program that was dumped at its entry does as before: ${name}.exe, ${arch}, ${method}`, async t => {
        const program = rescriptProgram(name, arch);
        const [core = '', compare = ''] = await Promise.all(
          SLIDES.map(slide => coreOf(program, arch, `${name}.${method}`, slide)),
        );
        const target = join(directory, `${name}.${arch}.${method}`);
        const options = method === 'scan' ? {} : { compare };
        const { pointers } = await restart(core, target, { exe: program, ...options });
        t.is(pointers.method, method);
        await judgeMachO(target);
        if (name === 'bsc') {
          const compiled = await compileShapes(target, directory, { arch });
          t.deepEqual(compiled, await compileShapes(program, directory, { arch }));
          t.true(compiled.interface.length > 1000);
        } else {
          const help = ['format', '--help'];
          const expected = await runMachO(program, help, { arch, foreign: true });
          t.deepEqual(await runMachO(target, help, { arch, foreign: true }), expected);
          t.regex(expected.stdout, /Usage: rescript format/);
        }
      });
  }
}
