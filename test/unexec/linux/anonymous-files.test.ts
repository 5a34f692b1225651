import { fstatSync } from 'node:fs';
import test from 'ava';
import { anonymousFile } from '../../../unexec/linux/anonymous-files.ts';
import type { HeldFile } from '../../../unexec/linux/held-file.ts';
import { Refusal } from '../../../unexec/linux/refusal.ts';

/** What /proc tells of a descriptor; the kernels of test machines do not let everybody make all kinds. */
const held = (link: string, info = ''): HeldFile => ({
  descriptors: [
    { fd: 7, closeOnExec: false },
    { fd: 9, closeOnExec: true },
  ],
  link,
  position: 0n,
  flags: 2,
  info,
  locks: [],
  own: -1,
  stat: fstatSync(0, { bigint: true }),
  cwd: '/',
});

const context = {
  pid: process.pid,
  files: [],
  options: { drop: new Set<number>(), hangupSockets: false, watchedPaths: [] },
};

const refused = test.macro({
  exec: (t, link: string, noun: string) => {
    const error = t.throws(() => anonymousFile(held(`anon_inode:${link}`), context), { instanceOf: Refusal });
    t.deepEqual(error?.reason, {
      code: 'FD_UNSUPPORTED',
      what: `descriptor 7 is ${noun}, whose state the kernel does not tell (anon_inode:${link})`,
      remedy: 'close it before the freeze point, or leave it out with --drop-fd 7 --drop-fd 9',
    });
  },
  title: (_, link) => `anonymousFile() refuses ${link} by the name that people know`,
});

test(refused, '[io_uring]', 'an io_uring');
test(refused, '[perf_event]', 'a perf event');
test(refused, 'bpf-map', 'a BPF map');
test(refused, 'bpf-prog', 'a BPF program');
test(refused, '[userfaultfd]', 'a userfaultfd');
test(refused, '[fanotify]', 'a fanotify instance');
test(refused, '[pidfd]', 'a pidfd');
test(refused, '[of 2030]', 'of a kind that unexec does not know');

test('anonymousFile() refuses an inotify instance whose inode nobody knows', t => {
  const info = `pos:\t0\nflags:\t00\ninotify wd:1 ino:7 sdev:fff00001 mask:2 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:0700000001000000\n`;
  const error = t.throws(() => anonymousFile(held('anon_inode:inotify', info), context), {
    instanceOf: Refusal,
  });
  t.is(error?.reason.code, 'FD_INOTIFY');
  t.regex(
    error?.reason.what ?? '',
    /^descriptor 7 is an inotify instance .* inode 7, whose path is not known/,
  );
  t.regex(error?.reason.remedy ?? '', /request.*--drop-fd 7/);
});

test('anonymousFile() reads the count of an eventfd as hexadecimal', t => {
  const info = 'pos:\t0\nflags:\t02\neventfd-count:               1f\neventfd-id: 3\neventfd-semaphore: 1\n';
  t.deepEqual(anonymousFile(held('anon_inode:[eventfd]', info), context), {
    type: 'eventfd',
    count: 31n,
    semaphore: true,
  });
});

test('anonymousFile() reads the mask of a signalfd', t => {
  const info = 'pos:\t0\nsigmask:\t0000000400000200\n';
  t.deepEqual(anonymousFile(held('anon_inode:[signalfd]', info), context), {
    type: 'signalfd',
    mask: 0x4_0000_0200n,
  });
});
