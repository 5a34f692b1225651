import { join } from 'node:path';
import { compileTo } from '../support/compile.ts';
import { programTests } from '../support/program-tests.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';

const program = join(sandbox('gdb'), 'plain');
compileTo(program, join(ROOT, 'test/fixtures/state/plain.c'), ['-g']);

programTests({
  name: 'gdb',
  program: '/usr/bin/gdb',
  args: [
    '-nx',
    '-q',
    '-ex',
    'set print inferior-events off',
    '-ex',
    'set print frame-arguments none',
    '-ex',
    'set disable-randomization on',
    '-ex',
    'break main',
    '-ex',
    'python import json; words = [n * n for n in range(10)]',
    program,
  ],
  env: ['HOME=/nonexistent', 'DEBUGINFOD_URLS='],
  typed: `info symbol main
print 6 * 7
python print(json.dumps(words))
list main
run
bt
info breakpoints
next
shell echo a child
print nothing
kill
quit 3
`,
  status: 3,
  times: 10,
});
