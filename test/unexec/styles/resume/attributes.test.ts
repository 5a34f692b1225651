import test from 'ava';
import { RestoreProgram } from '../../../../unexec/restorer/program.ts';
import { attributeSteps } from '../../../../unexec/styles/resume/attributes.ts';
import { imageOf } from '../../../support/synthetic-image.ts';

/** Few CPUs have AMX: what the fixtures see everywhere else is seen here by its steps. */
test('attributeSteps() must get the permission for AMX, and asks for the rest', t => {
  const program = new RestoreProgram('x86_64');
  attributeSteps(
    program,
    imageOf({
      attributes: [
        { name: 'permission for AMX tiles', call: 'arch_prctl', args: [0x1023, 18] },
        { name: 'PR_SET_MDWE', call: 'prctl', args: [65, 1, 0, 0, 0] },
      ],
    }),
  );
  t.deepEqual(
    program.steps.map(({ name, nr, args, required }) => [name, nr, args, required]),
    [
      ['permission for AMX tiles', 'arch_prctl', [0x1023, 18], true],
      ['PR_SET_MDWE', 'prctl', [65, 1, 0, 0, 0], false],
    ],
  );
});

test('attributeSteps() writes to files of /proc where they can be opened', t => {
  const program = new RestoreProgram('x86_64');
  attributeSteps(program, imageOf({ settings: [{ name: 'oom_score_adj', value: '-17' }] }));
  t.deepEqual(
    program.steps.map(({ name, required }) => [name, required]),
    [
      ['open /proc/self/oom_score_adj', false],
      ['/proc/self/oom_score_adj is open', false],
      ['write /proc/self/oom_score_adj', false],
      ['close /proc/self/oom_score_adj', true],
    ],
  );
});
