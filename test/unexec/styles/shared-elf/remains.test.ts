import test from 'ava';
import { bytesBeforeRemains } from '../../../../unexec/styles/shared-elf/remains.ts';

const HEAP = { start1: 0x5651_0000_1000n, start2: 0x55aa_7000_1000n, size: 0x10_0000 };

const words = test.macro({
  exec(t, value1: bigint, value2: bigint, bytes: number | undefined) {
    t.is(bytesBeforeRemains(value1, value2, [HEAP]), bytes);
  },
  title: (_ = '', value1: bigint, value2: bigint, bytes: number | undefined) =>
    `0x${value1.toString(16)} and 0x${value2.toString(16)} hold ${bytes ?? 'no'} bytes below the rest of a pointer`,
});
test(words, 0x5651_0000_0007n, 0x55aa_0000_0007n, 4);
test(words, 0x5651_0000_1007n, 0x55aa_7000_1007n, 3);
test(words, 0x5651_1234_5678n, 0x55ab_1234_5678n, undefined);
test(words, 0x5651_0004_abcdn, 0x55aa_7004_abcdn, 3);
test(words, 5n, 6n, undefined);
test(words, 7n, 7n, undefined);
test(words, 0xabcd_5651_0004_abcdn, 0xabcd_55aa_7004_abcdn, undefined);
