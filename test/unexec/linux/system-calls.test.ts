import { execFileSync } from 'node:child_process';
import test from 'ava';
import type { Arch } from '../../../unexec/image.ts';
import { NR, nameOfCall, numberOf } from '../../../unexec/linux/system-calls.ts';

/** What the C compiler of an architecture has from asm/unistd.h. */
const headers: readonly [arch: Arch, compiler: string][] = [
  ['x86_64', 'gcc'],
  ['aarch64', 'aarch64-linux-gnu-gcc'],
];

/** Those that the headers of Debian 12 (Linux 6.1) do not have. */
const NEWER: ReadonlySet<string> = new Set(['mseal']);
const ONLY_X86: ReadonlySet<string> = new Set(['arch_prctl', 'modify_ldt', 'poll', 'select', 'epoll_wait']);

for (const [arch, compiler] of headers) {
  test(`system calls have the numbers of asm/unistd.h on ${arch}`, t => {
    const here = Object.values(NR).filter(name => arch === 'x86_64' || !ONLY_X86.has(name));
    const names = here.filter(name => !NEWER.has(name));
    const source = ['#include <asm/unistd.h>', ...names.map(name => `${name} __NR_${name}`)].join('\n');
    const said = execFileSync(compiler, ['-E', '-P', '-'], { input: source, encoding: 'utf8' });
    const expected = said.split('\n').filter(line => line !== '');
    t.deepEqual(
      names.map(name => `${name} ${numberOf(name, arch)}`),
      expected.map(line => line.replace(/\((.*)\)/, '$1')),
    );
    for (const name of names) t.is(nameOfCall(numberOf(name, arch), arch), name);
  });
}

test('numberOf() refuses a system call that the architecture lacks', t => {
  t.is(numberOf('arch_prctl', 'x86_64'), 158);
  t.throws(() => numberOf('arch_prctl', 'aarch64'), { code: 'INTERNAL', message: /aarch64.*arch_prctl/ });
  t.is(nameOfCall(100_000, 'aarch64'), undefined);
});
