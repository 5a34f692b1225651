import test from 'ava';
import type { ProcessImage } from '../../../../unexec/image.ts';
import { RestoreProgram } from '../../../../unexec/restorer/program.ts';
import { adviceSteps } from '../../../../unexec/styles/resume/advice.ts';
import { imageOf } from '../../../support/synthetic-image.ts';
import { regionOf } from '../../../support/synthetic-view.ts';

const BASE = 0x7000_0000_0000n;

/** The steps by name, with whether they begin at the region and whether they must succeed. */
function stepsOf(facts: Partial<ProcessImage>) {
  const program = new RestoreProgram('x86_64');
  adviceSteps(program, imageOf(facts));
  return program.steps.map(({ name, args, required }) => [name, args[0] === BASE, required]);
}

test('adviceSteps() gives advice, then locks, then seals', t => {
  const flags = new Set(['sl', 'hg', 'dd', 'dc', 'wf', 'lo', 'rd', 'wr']);
  t.deepEqual(stepsOf({ regions: [regionOf(BASE, 3, { flags })], locksNewMemory: true }), [
    ['MADV_HUGEPAGE', true, false],
    ['MADV_DONTDUMP', true, false],
    ['MADV_DONTFORK', true, false],
    ['MADV_WIPEONFORK', true, false],
    ['lock memory', true, false],
    ['lock memory to come', false, false],
    ['seal memory', true, false],
  ]);
});

test('adviceSteps() takes access away where a kernel has no guards', t => {
  t.deepEqual(stepsOf({ guards: [{ start: BASE, size: 4096 }] }), [
    ['guard pages', true, false],
    ['guards installed', false, false],
    ['skip', false, false],
    ['pages without access', true, true],
  ]);
});

test('adviceSteps() leaves what the kernel maps by itself as it is', t => {
  const flags = new Set(['dd', 'sl']);
  t.deepEqual(stepsOf({ regions: [regionOf(BASE, 1, { flags, kind: 'vdso' })] }), []);
});
