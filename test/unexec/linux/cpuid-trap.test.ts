import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { FEATURES, levelOf } from '../../../unexec/cpu-features.ts';
import { CpuidTrap, masked, type SwitchFaulting } from '../../../unexec/linux/cpuid-trap.ts';
import { X86_REGISTER_NAMES, type X86Registers } from '../../../unexec/machine-state.ts';
import { launch } from '../../../unexec/sources/launch.ts';
import { compileFixture } from '../../support/fixtures.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('cpuid');
const flags = (/^flags\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '').split(' ');
const PROT_READ = 1;
const PROT_READ_EXEC = 5;
const V2 = levelOf('x86-64-v2')?.features ?? new Set<string>();

/** The page with the fixture's instruction, in place of the CPU's switch: few CPUs have that. */
const byProtection: SwitchFaulting = (thread, faults) => {
  thread.call('mprotect', 0x2000_1000, 4096, faults ? PROT_READ : PROT_READ_EXEC);
  return 0n; // an error only before the fixture has mapped it
};

/** What CPUID answers in a traced program, a line a leaf, and how the program ends. */
async function answers(allowed: ReadonlySet<string>): Promise<{ lines: string[]; ended: string }> {
  const path = join(directory, `${allowed.size}`);
  const [input, output] = [openSync('/dev/null', 'r'), openSync(path, 'w')];
  const tracee = await launch(compileFixture('machines/cpuid.c'), {
    args: [],
    env: [],
    keepEnv: false,
    stdio: [input, output, output],
  });
  const trap = CpuidTrap.set(tracee.pid, allowed, byProtection);
  tracee.interceptor = {
    wantsSyscalls: false,
    handles: stop => stop.type === 'signal' && stop.signal === 11 && trap?.answer(stop.tid) === true,
    releases: () => {},
  };
  try {
    tracee.resume(tracee.pid, 'run');
    for (;;) {
      const stop = await tracee.next();
      if (stop?.type === 'ended')
        return { lines: readFileSync(path, 'utf8').trimEnd().split('\n'), ended: stop.how };
      if (stop !== undefined) tracee.resume(stop.tid, 'run', stop.type === 'signal' ? stop.signal : 0);
    }
  } finally {
    tracee.kill();
    trap?.close();
    closeSync(input);
    closeSync(output);
  }
}

/** Names of the features that the lines tell of. */
function told(lines: readonly string[]): string[] {
  const registers = ['eax', 'ebx', 'ecx', 'edx'];
  return FEATURES.filter(({ leaf, register, bit }) => {
    const line = lines.find(text =>
      text.startsWith(`${leaf.leaf.toString(16)}.${leaf.subleaf.toString(16)}: `),
    );
    const words = line?.split(' ').slice(1) ?? [];
    return ((Number.parseInt(words[registers.indexOf(register)] ?? '0', 16) >>> bit) & 1) === 1;
  }).map(({ name }) => name);
}

test('a program whose CPUID is trapped sees the features that are allowed, and no others', async t => {
  const all = await answers(new Set(FEATURES.map(({ name }) => name)));
  const seen = told(all.lines);
  t.deepEqual(
    seen.filter(name => flags.includes(name)),
    FEATURES.map(({ name }) => name).filter(name => flags.includes(name)),
    'what the CPU has',
  );
  const some = await answers(V2);
  t.deepEqual(
    told(some.lines),
    seen.filter(name => V2.has(name)),
  );
  t.is(some.lines[0], all.lines[0], 'the name of the vendor');
  t.is(all.ended, 'signal 11', 'a SIGSEGV of its own is not taken for a CPUID');
});

test('masked() hides OSXSAVE with XSAVE, and nothing of other leaves', t => {
  const zero = Object.fromEntries(X86_REGISTER_NAMES.map(name => [name, 0n])) as X86Registers;
  const ones = { ...zero, rax: 0xffff_ffffn, rbx: 0xffff_ffffn, rcx: 0xffff_ffffn, rdx: 0xffff_ffffn };
  const OSXSAVE = 1n << 27n;
  t.is(masked(ones, { rax: 1n, rcx: 5n }, V2).rcx & OSXSAVE, 0n);
  t.not(masked(ones, { rax: 1n, rcx: 5n }, new Set([...V2, 'xsave'])).rcx & OSXSAVE, 0n);
  t.deepEqual(masked(ones, { rax: 7n, rcx: 2n }, V2), ones);
  t.deepEqual(masked(ones, { rax: 0xdn, rcx: 0n }, V2), ones);
  t.not(masked(ones, { rax: 0xdn, rcx: 1n }, V2).rax, ones.rax);
});
