import test from 'ava';
import { refuseRegions } from '../../../unexec/linux/regions.ts';
import { refusedFor } from '../../support/refused.ts';
import { regionOf } from '../../support/synthetic-view.ts';

const refused = refusedFor('state/refused.c', 'with a remedy');

test(refused, 'seccomp', 'SECCOMP', /^the process runs under a seccomp filter/, /sandbox/);
test(refused, 'seccomp-thread', 'SECCOMP', /^thread \d+ runs under a seccomp filter/, /sandbox/);
test(refused, 'dispatch', 'SYSCALL_USER_DISPATCH', /^the process .* sent to itself/, /switched off/);
test(refused, 'files-thread', 'THREAD_UNSHARED', /^thread \d+ has descriptors or/, /has ended/);
test(refused, 'directory-thread', 'THREAD_UNSHARED', /^thread \d+ has .* a working directory/, /has ended/);
test(refused, 'root', 'ROOT_DIRECTORY', /^its root directory is \/.* \(chroot\)/, /without chroot/);
test(refused, 'segment', 'SEGMENTS', /memory segments of its own \(modify_ldt\)/, /before they are made/);
test(refused, 'sysv', 'SYSV_MEMORY', /^the mapping at 0x[0-9a-f]+ \(\/SYSV.* is a System V/, /shmdt/);
test(refused, 'ring', 'KERNEL_RING', /^the mapping at 0x[0-9a-f]+ .*is a ring shared/, /unmap it/);
test(refused, 'clock', 'POSIX_TIMER_CLOCK', /^timer 0 of timer_create\(2\) runs by a clock/, /timer_delete/);

const mapping = test.macro({
  exec: (t, facts: Parameters<typeof regionOf>[2], code: string, what: RegExp) => {
    const [reason, ...others] = refuseRegions([regionOf(0x7000n, 1, facts)]);
    t.deepEqual([reason?.code, others.length], [code, 0]);
    t.regex(reason?.what ?? '', what);
    t.true(reason?.what.startsWith('the mapping at 0x7000 ('));
  },
  title: (what, _facts, code) => `refuseRegions() refuses ${what} as ${code}`,
});

test('huge pages', mapping, { flags: new Set(['ht']) }, 'HUGE_PAGES', /huge pages \(MAP_HUGETLB\)/);
test('a shadow stack', mapping, { flags: new Set(['ss']) }, 'SHADOW_STACK', /a shadow stack/);
test('memory of a device', mapping, { flags: new Set(['io', 'pf']) }, 'DEVICE_MEMORY', /of a device/);
test(
  'a buffer of perf events',
  mapping,
  { shared: true, name: 'anon_inode:[perf_event]' },
  'DEVICE_MEMORY',
  /of the kernel/,
);
test('an io_uring', mapping, { shared: true, name: 'anon_inode:[io_uring]' }, 'KERNEL_RING', /a ring/);
test(
  'secret memory',
  mapping,
  { shared: true, name: '/secretmem (deleted)' },
  'SECRET_MEMORY',
  /memfd_secret/,
);
test('tagged memory', mapping, { flags: new Set(['mt']) }, 'TAGGED_MEMORY', /memory with tags/);
test('a memory key', mapping, { protectionKey: 3 }, 'MEMORY_KEYS', /pkey_mprotect/);

test('refuseRegions() takes memory that may only be executed, which has a key by itself', t => {
  t.deepEqual(refuseRegions([regionOf(0x7000n, 1, { protectionKey: 1, read: false, execute: true })]), []);
  t.deepEqual(refuseRegions([regionOf(0x7000n, 1, { protectionKey: 0 })]), []);
});
