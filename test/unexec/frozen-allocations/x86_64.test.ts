import test from 'ava';
import {
  AGAIN_OFFSET,
  ALLOCATION_FUNCTIONS,
  stubOffset,
  TABLE_DISTANCE,
} from '../../../unexec/frozen-allocations/functions.ts';
import { STUBS_X86_64 } from '../../../unexec/frozen-allocations/x86_64.ts';
import { assembleStubs } from '../../support/assemble-stubs.ts';

const ENDBR64 = 'f30f1efa';

test('the machine code of the stubs is what GNU as makes of x86_64.S (else: npm run stubs)', t => {
  t.is(Buffer.from(STUBS_X86_64).toString('hex'), assembleStubs('unexec/frozen-allocations'));
});

test('every function has a stub that can be called where indirect calls are checked', t => {
  const code = Buffer.from(STUBS_X86_64);
  const at = [...ALLOCATION_FUNCTIONS.keys()].map(stubOffset);
  for (const offset of [...at, AGAIN_OFFSET]) t.is(code.toString('hex', offset, offset + 4), ENDBR64);
});

test('the machine code of the stubs ends before its table', t => {
  t.true(STUBS_X86_64.length <= TABLE_DISTANCE);
});
