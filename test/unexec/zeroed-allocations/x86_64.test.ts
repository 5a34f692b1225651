import test from 'ava';
import { ZEROED_X86_64 } from '../../../unexec/zeroed-allocations/x86_64.ts';
import { assembleStubs } from '../../support/assemble-stubs.ts';

test('the machine code of zeroed allocations is what GNU as makes of x86_64.S (else: npm run stubs)', t => {
  t.is(Buffer.from(ZEROED_X86_64).toString('hex'), assembleStubs('unexec/zeroed-allocations'));
});
