import test from 'ava';
import { UnexecError } from '../../unexec/errors.ts';
import { type FreezePoint, freezePointText, parseFreezePoint } from '../../unexec/freeze-point.ts';

const POINTS: readonly (readonly [string, FreezePoint])[] = [
  ['auto', { type: 'auto' }],
  ['request', { type: 'request' }],
  ['stop', { type: 'stop' }],
  ['input', { type: 'input' }],
  ['main', { type: 'main' }],
  ['symbol:main', { type: 'symbol', name: 'main' }],
  ['symbol:std::sort', { type: 'symbol', name: 'std::sort' }],
  ['output:ready> ', { type: 'output', text: 'ready> ' }],
  ['output:a:b', { type: 'output', text: 'a:b' }],
  ['time:2', { type: 'time', milliseconds: 2000 }],
  ['time:1.5s', { type: 'time', milliseconds: 1500 }],
  ['time:12.25ms', { type: 'time', milliseconds: 12.25 }],
  ['time:2m', { type: 'time', milliseconds: 120_000 }],
  ['syscall:17', { type: 'syscall', count: 17 }],
];

for (const [text, point] of POINTS) {
  test(`parseFreezePoint() takes ${text}, and freezePointText() says it again`, t => {
    t.deepEqual(parseFreezePoint(text), point);
    t.deepEqual(parseFreezePoint(freezePointText(point)), point);
  });
}

const WRONG = [
  '',
  'Main',
  'main:',
  'symbol',
  'symbol:',
  'output:',
  'time:',
  'time:-1s',
  'time:1h',
  'time:1e3',
];
for (const text of [...WRONG, 'time:.5s', 'syscall:0', 'syscall:1.5', 'syscall:x', 'pid:7', 'symbol :main']) {
  test(`parseFreezePoint() refuses '${text}' and names the others`, t => {
    const error = t.throws(() => parseFreezePoint(text), { instanceOf: UnexecError });
    t.is(error?.code, 'BAD_FREEZE_POINT');
    t.true(error?.message.includes(`'${text}'`));
    t.true(error?.hint?.includes('output:TEXT'));
  });
}
