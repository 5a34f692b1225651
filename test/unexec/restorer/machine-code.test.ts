import test from 'ava';
import type { Arch } from '../../../unexec/image.ts';
import { CODE_OFFSET, RESTORERS } from '../../../unexec/restorer/machine-code.ts';
import { assembleRestorer } from '../../support/assemble-restorer.ts';

for (const arch of ['x86_64', 'aarch64'] satisfies Arch[]) {
  const { code, dataDistance } = RESTORERS[arch];

  test(`the machine code is what GNU as makes of ${arch}.S (else: npm run restorer)`, t => {
    t.is(Buffer.from(code).toString('hex'), assembleRestorer(arch));
  });

  test(`the machine code for ${arch} ends with its page, before its data`, t => {
    t.true(CODE_OFFSET + code.length <= 0x1000);
    t.true(CODE_OFFSET + code.length <= dataDistance);
  });
}
