import test from 'ava';
import {
  RESTORER_CODE_OFFSET,
  RESTORER_DATA_OFFSET,
  RESTORER_X86_64,
} from '../../../unexec/restorer/x86_64.ts';
import { assembleRestorer } from '../../support/assemble-restorer.ts';

test('the machine code is what GNU as makes of x86_64.S (else: npm run restorer)', t => {
  t.is(Buffer.from(RESTORER_X86_64).toString('hex'), assembleRestorer());
});

test('the machine code ends before its data', t => {
  t.true(RESTORER_CODE_OFFSET + RESTORER_X86_64.length <= RESTORER_DATA_OFFSET);
});
