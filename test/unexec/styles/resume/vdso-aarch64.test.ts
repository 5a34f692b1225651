import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readDynamicSymbols, readElf } from '../../../../formats/elf/index.ts';
import { systemCallVdso } from '../../../../unexec/styles/resume/vdso.ts';
import { ARM_SYSROOT } from '../../../support/arm-programs.ts';
import { runnerOf } from '../../../support/foreign-arch.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('vdso-aarch64');
const FUNCTIONS = ['clock_gettime', 'gettimeofday', 'clock_getres', 'getrandom', 'rt_sigreturn'];

/** Like the vdso of Linux 6.12, with other functions: all crash. */
const VDSO = FUNCTIONS.map(
  name => `
  .globl __kernel_${name}
  .type __kernel_${name}, %function
  .balign 64
__kernel_${name}:
  udf #0
  .space 60`,
).join('\n');

const CALLER = `
#include <stdio.h>
#include <sys/time.h>
#include <time.h>
int __kernel_clock_gettime(clockid_t, struct timespec *);
int __kernel_gettimeofday(struct timeval *, void *);
int __kernel_clock_getres(clockid_t, struct timespec *);
long __kernel_getrandom(void *, unsigned long, unsigned, void *, unsigned long);
int main(void) {
  struct timespec now = { 0 }, direct, resolution = { 0 };
  struct timeval day = { 0 };
  const int first = __kernel_clock_gettime(CLOCK_REALTIME, &now);
  const int second = __kernel_gettimeofday(&day, NULL);
  const int third = __kernel_clock_getres(CLOCK_REALTIME, &resolution);
  clock_gettime(CLOCK_REALTIME, &direct);
  printf("%d %d %d %d ", first, second, third, __kernel_clock_gettime(12345, &now));
  printf("%d %d %d ", direct.tv_sec - now.tv_sec < 2, direct.tv_sec - day.tv_sec < 2, resolution.tv_nsec > 0);
  printf("%ld\\n", __kernel_getrandom(NULL, 0, 0, NULL, ~0ul));
}
`;

const compiler = (args: readonly string[]): Buffer => execFileSync('aarch64-linux-gnu-gcc', args);

test("systemCallVdso() has the functions of aarch64's vdso make system calls", t => {
  const [source, library, caller] = ['vdso.S', 'libvdso.so', 'caller.c'].map(name => join(directory, name));
  if (source === undefined || library === undefined || caller === undefined) throw new Error('no names');
  writeFileSync(source, `.text\n${VDSO}\n.section .note.GNU-stack,"",%progbits\n`);
  compiler([
    '-shared',
    '-nostdlib',
    '-Wl,-soname,libvdso.so',
    '-Wl,-z,noseparate-code',
    '-o',
    library,
    source,
  ]);
  const before = readFileSync(library);
  const vdso = { start: 0n, size: before.length, vvarStart: 0n, bytes: new Uint8Array(before) };
  const bytes = systemCallVdso(vdso, 'aarch64');
  const signal = readDynamicSymbols(readElf(bytes)).find(({ name }) => name === '__kernel_rt_sigreturn');
  const at = Number(signal?.value);
  t.deepEqual(bytes.slice(at, at + 64), new Uint8Array(before.subarray(at, at + 64)), 'unwinders know it');

  writeFileSync(library, bytes);
  writeFileSync(caller, CALLER);
  const program = join(directory, 'caller');
  compiler(['-o', program, caller, library]);
  const [command = program, ...args] = [...runnerOf('aarch64'), program];
  const options = {
    encoding: 'utf8',
    env: { LD_LIBRARY_PATH: directory, QEMU_LD_PREFIX: ARM_SYSROOT },
  } as const;
  t.is(
    execFileSync(command, args, { ...options, env: { ...process.env, ...options.env } }),
    '0 0 0 -22 1 1 1 -38\n',
  );
});
