import test from 'ava';
import { restart } from '../../../unexec/restart.ts';
import { prepared, takeCore } from '../../support/macho/dump.ts';
import { judgeMachO } from '../../support/macho/judge.ts';
import { runMachO } from '../../support/macho/loader.ts';
import { compileMachO, FIXUP_STYLES, MACHO_ARCHES, type MachOArch } from '../../support/macho/toolchain.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('restart-macho');
const world = 'samples/restart/world.c';
/** Far apart, and one that the loader chooses. */
const SLIDES = [0x4000n, 0x1234_5678_0000n, undefined];
const MODES = ['segment', 'extend'] as const;

/** What lives from `first` to `last` say, of an uninterrupted life's output. */
const lives = (whole: string, first: number, last: number): string =>
  ['restarted', ...whole.split('\n').slice(2 * first - 1, 2 * last + 1), ''].join('\n');

const wholes = new Map<MachOArch, Promise<string>>();

/** Three rounds in one life: the oracle of three lives with one round each. */
function wholeOf(arch: MachOArch): Promise<string> {
  const play = async (): Promise<string> => {
    const sources = [world, 'unexec/runtime/unexec-runtime.c'];
    const path = compileMachO({ sources, arch, fixups: 'dyld-info', directory, name: `whole.${arch}` });
    return (await runMachO(path, ['3'], { arch })).stdout;
  };
  const whole = wholes.get(arch) ?? play();
  wholes.set(arch, whole);
  return whole;
}

for (const arch of MACHO_ARCHES) {
  for (const fixups of FIXUP_STYLES) {
    for (const mode of MODES) {
      test(`a program goes on in three lives as in one: ${arch}, ${fixups}, ${mode}`, async t => {
        const name = `world.${arch}.${fixups}.${mode}`;
        const headerpad = mode === 'segment' ? 0x400 : 32;
        const program = await prepared({ sources: [world], arch, fixups, directory, name, headerpad });
        const expected = await wholeOf(arch);
        const core = await takeCore(program, { arch, slide: 0x7ff0_0000_0000n });

        const second = `${program}.2`;
        const { generation, pointers, zone } = await restart(core, second, { exe: program });
        t.like({ generation, method: pointers.method }, { generation: 1, method: 'scan' });
        t.true(zone?.isDefault);
        await judgeMachO(second);
        for (const slide of SLIDES) {
          const { stdout, stderr, status } = await runMachO(second, [], {
            arch,
            ...(slide === undefined ? {} : { slide }),
          });
          t.deepEqual([stdout, stderr, status], [lives(expected, 2, 2), '', 0]);
        }

        const compared = `${program}.compared`;
        const compare = await takeCore(program, { arch, slide: 0x2_4000n });
        const exact = await restart(core, compared, { exe: program, compare });
        t.is(exact.pointers.method, 'comparison');
        t.is(exact.pointers.pointers, pointers.pointers);
        await judgeMachO(compared);
        t.is((await runMachO(compared, ['2'], { arch })).stdout, lives(expected, 2, 3));

        const third = `${program}.3`;
        const later = await restart(await takeCore(second, { arch }), third, { exe: second });
        t.is(later.generation, 2);
        await judgeMachO(third);
        // There libraries are elsewhere, too.
        t.is((await runMachO(third, [], { arch, foreign: true })).stdout, lives(expected, 3, 3));
      });
    }
  }
}
