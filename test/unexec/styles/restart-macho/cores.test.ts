import { join } from 'node:path';
import test from 'ava';
import { restart } from '../../../../unexec/restart.ts';
import { prepared, takeCore } from '../../../support/macho/dump.ts';
import { judgeMachO } from '../../../support/macho/judge.ts';
import { lldbSaveCore } from '../../../support/macho/lldb.ts';
import { runMachO } from '../../../support/macho/loader.ts';
import type { MachOProgram } from '../../../support/macho/toolchain.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('restart-macho-cores');
const base: MachOProgram = {
  sources: ['test/fixtures/macho/clean.c'],
  arch: 'x86_64',
  fixups: 'dyld-info',
  directory,
};
const SAID = 'life 2: X rebased 0\n';

for (const [arch, fixups] of [
  ['x86_64', 'dyld-info'],
  ['x86_64', 'chained'],
  ['arm64', 'chained'],
] as const) {
  for (const coreStyle of ['xnu', 'lldb', 'modified'] as const)
    test(`a program is dumped from a core as ${coreStyle} writes it, ${arch}, ${fixups}`, async t => {
      const program = await prepared({ ...base, arch, fixups, name: `clean.${arch}.${fixups}.${coreStyle}` });
      const core = await takeCore(program, { arch, coreStyle });
      const target = `${program}.restart`;
      const { doubtful, pointers } = await restart(core, target, { exe: program });
      await judgeMachO(target);
      t.is(pointers.bound, 1);
      // There the library is elsewhere.
      t.is((await runMachO(target, [], { arch, foreign: true })).stdout, SAID);
      const strict = restart(core, `${target}.strict`, { exe: program, strict: true });
      if (coreStyle !== 'modified') {
        t.deepEqual(doubtful, []);
        await t.notThrowsAsync(strict);
        return;
      }
      t.regex(doubtful.join('\n'), /^memory of libraries is not there \(\d+ imports\): .* stay as they are$/);
      await t.throwsAsync(strict, { code: 'CORE_WITHOUT_LIBRARIES' });
    });
}

test('a program is dumped from a core that lldb has saved', async t => {
  const program = await prepared({ ...base, name: 'saved' });
  const core = await takeCore(program, { arch: 'x86_64', coreStyle: 'lldb' });
  const saved = join(directory, 'lldb.core');
  await lldbSaveCore(program, core, saved);
  const target = `${program}.restart`;
  await restart(saved, target, { exe: program });
  await judgeMachO(target);
  t.is((await runMachO(target, [], { arch: 'x86_64', foreign: true })).stdout, SAID);
});
