import { closeSync, readFileSync } from 'node:fs';
import test from 'ava';
import { isSemaphore } from '../../../unexec/linux/eventfd.ts';
import { syscall } from '../../../unexec/linux/libc.ts';

const EFD_SEMAPHORE = 1;
const LARGEST = 0xffff_ffff_ffff_fffen;

for (const semaphore of [true, false]) {
  test(`isSemaphore() tells ${semaphore ? 'semaphores' : 'counters'} of any value, which they keep`, t => {
    for (const count of [0n, 1n, 2n, 3n, 1000n, LARGEST]) {
      const fd = syscall('eventfd2', 0, semaphore ? EFD_SEMAPHORE : 0);
      const value = new Uint8Array(8);
      new DataView(value.buffer).setBigUint64(0, count, true);
      t.is(syscall('write', fd, value, 8), 8);
      t.is(isSemaphore(fd, count), semaphore, String(count));
      const info = readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1');
      t.is(/eventfd-count:\s*([0-9a-f]+)/.exec(info)?.[1], count.toString(16));
      closeSync(fd);
    }
  });
}
