/** What is no use for a kind of source is refused, by the name of the option, and before anything is touched. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { EXIT, exitCodeOf } from '../../../cli/exit-codes.ts';
import { UnexecError } from '../../../unexec/errors.ts';
import { type FreezeOptions, freeze } from '../../../unexec/freeze.ts';
import type { FrozenFrom } from '../../../unexec/sources/source.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('open-source');
const HERE: FrozenFrom = { pid: process.pid };

const CASES: readonly (readonly [from: FrozenFrom, options: FreezeOptions, code: string, says: RegExp])[] = [
  [HERE, { reproducible: true }, 'ONLY_FOR_A_START', /--reproducible/],
  [HERE, { cpu: 'x86-64-v3' }, 'CPU_CHOSEN_ALREADY', /x86-64-v3/],
  [HERE, { exe: '/bin/true' }, 'ONLY_FOR_A_CORE', /--exe/],
  [HERE, { sysroot: '/' }, 'ONLY_FOR_A_CORE', /--sysroot/],
  ['/bin/true', { exe: '/bin/true' }, 'ONLY_FOR_A_CORE', /--exe/],
  ['/bin/true', { at: 'now' }, 'BAD_FREEZE_POINT', /--at now/],
];

for (const [i, [from, options, code, says]] of CASES.entries()) {
  const what = typeof from === 'string' ? 'a program' : 'a process that runs';
  test(`freeze() refuses ${JSON.stringify(options)} for ${what}, as a wrong command line`, async t => {
    const target = join(directory, `target-${i}`);
    const error = await t.throwsAsync(freeze(from, target, options), { instanceOf: UnexecError });
    t.is(error?.code, code);
    t.regex(error?.message ?? '', says);
    t.is(exitCodeOf(code), EXIT.USAGE);
    t.false(existsSync(target));
  });
}
