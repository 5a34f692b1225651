import test from 'ava';
import { errorJson, factsOf, renderError } from '../../cli/errors.ts';
import { PLAIN } from '../../cli/render.ts';
import { FormatError, UnexecError } from '../../unexec/index.ts';

const refusal = new UnexecError('CANNOT_BE_KEPT', 'x cannot be frozen as it is, for 2 reasons', {
  reasons: [
    { code: 'FD_A', what: 'descriptor 7 is a lease', remedy: '--drop-fd 7' },
    { code: 'FD_B', what: 'descriptor 8 is odd\x1b', remedy: 'close it' },
  ],
});

test('renderError() lists every reason with its remedy, and no control characters', t => {
  t.deepEqual(renderError(refusal, PLAIN, false), [
    'unexec: x cannot be frozen as it is, for 2 reasons',
    '  - descriptor 7 is a lease',
    '    remedy: --drop-fd 7',
    '  - descriptor 8 is odd\\x1b',
    '    remedy: close it',
  ]);
});

test('renderError() gives the hint, and with verbose the code and the causes', t => {
  const cause = new Error('outer', { cause: new TypeError('inner') });
  const error = new UnexecError('X', 'failed', { hint: 'do y', cause });
  t.deepEqual(renderError(error, PLAIN, false), ['unexec: failed', '  hint: do y']);
  t.deepEqual(renderError(error, PLAIN, true).slice(2), [
    '  code: X',
    '  cause: Error: outer',
    '  cause: TypeError: inner',
  ]);
});

test('renderError() ends when a cause leads back to itself', t => {
  const cause = new Error('loop');
  cause.cause = cause;
  t.true(renderError(new UnexecError('X', 'failed', { cause }), PLAIN, true).length < 20);
});

test('factsOf() calls what is none of our errors a fault of ours', t => {
  for (const thrown of [new TypeError('oops'), 'oops']) {
    const { code, message, hint } = factsOf(thrown);
    t.deepEqual([code, message], ['INTERNAL', 'oops']);
    t.regex(hint ?? '', /report/);
  }
  t.is(factsOf(new FormatError('ELF_BAD_MAGIC', 'bad')).code, 'ELF_BAD_MAGIC');
});

test('renderError() gives the stack of a fault of ours with verbose only', t => {
  const lines = (verbose: boolean): string => renderError(new TypeError('oops'), PLAIN, verbose).join('\n');
  t.notRegex(lines(false), /errors\.test/);
  t.regex(lines(true), /errors\.test/);
});

test('errorJson() has code, message, hint, reasons and the exit code', t => {
  t.deepEqual(JSON.parse(JSON.stringify(errorJson(refusal, 3))), {
    ok: false,
    exitCode: 3,
    error: {
      code: 'CANNOT_BE_KEPT',
      message: refusal.message,
      reasons: [
        { code: 'FD_A', what: 'descriptor 7 is a lease', remedy: '--drop-fd 7' },
        { code: 'FD_B', what: 'descriptor 8 is odd\u001b', remedy: 'close it' },
      ],
    },
  });
});
