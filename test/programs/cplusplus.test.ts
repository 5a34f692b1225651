import { compileSample } from '../support/compile.ts';
import { programTests } from '../support/program-tests.ts';
import { sandbox } from '../support/sandbox.ts';

programTests({
  name: 'exceptions-threads',
  program: compileSample(sandbox('cplusplus'), 'exceptions-threads.cc'),
  args: [],
  times: 200,
});
