import test from 'ava';
import { viewOf } from '../../../formats/struct.ts';
import { X86_REGISTER_NAMES, type X86RegisterName, type X86Registers } from '../../../unexec/image.ts';
import { abortSequence, restartSystemCall } from '../../../unexec/linux/thread-state.ts';

const registers = (values: Partial<Record<X86RegisterName, bigint>>): X86Registers => ({
  ...(Object.fromEntries(X86_REGISTER_NAMES.map(name => [name, 0n])) as X86Registers),
  orig_rax: 0xffff_ffff_ffff_ffffn,
  ...values,
});

const RSEQ = { address: 0x1000n, length: 32, signature: 0x53053053 };
const SECTION = 0x2000n;

/** A process in whose rseq area a critical section [0x4000, 0x4010) is announced, or none. */
const memory = (section: bigint) => ({
  bytes(address: bigint, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const view = viewOf(bytes);
    if (address === RSEQ.address + 8n) view.setBigUint64(0, section, true);
    if (address === SECTION) {
      view.setBigUint64(8, 0x4000n, true); // start_ip
      view.setBigUint64(16, 0x10n, true); // post_commit_offset
      view.setBigUint64(24, 0x5000n, true); // abort_ip
    }
    return bytes;
  },
});

const sequence = test.macro({
  exec: (t, section: bigint, rip: bigint, expected: bigint) => {
    t.is(abortSequence(registers({ rip }), RSEQ, memory(section)).rip, expected);
  },
  title: what => `abortSequence() ${what}`,
});

test(
  'goes on at the abort handler from the first instruction of a section',
  sequence,
  SECTION,
  0x4000n,
  0x5000n,
);
test('goes on at the abort handler from the last byte of a section', sequence, SECTION, 0x400fn, 0x5000n);
test('leaves a thread that has committed', sequence, SECTION, 0x4010n, 0x4010n);
test('leaves a thread that is elsewhere', sequence, SECTION, 0x3fffn, 0x3fffn);
test('leaves a thread that has announced no section', sequence, 0n, 0x4000n, 0x4000n);
test('abortSequence() leaves a thread without rseq', t => {
  t.is(abortSequence(registers({ rip: 0x4000n }), undefined, memory(SECTION)).rip, 0x4000n);
});

/** The instructions that end before 0x4002: what loads the number, and `syscall`. */
const code = (...instructions: readonly number[]) => ({
  bytes(address: bigint, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const all = Uint8Array.of(...instructions, 0x0f, 0x05);
    bytes.set(all, Number(0x4002n - address) - all.length);
    return bytes;
  },
});

const restart = test.macro({
  exec: (t, result: bigint, again: boolean) => {
    const stopped = registers({ orig_rax: 35n, rax: BigInt.asUintN(64, result), rip: 0x4002n });
    const { rax, rip, orig_rax } = restartSystemCall(stopped, code());
    t.deepEqual([rax, rip], again ? [35n, 0x4000n] : [stopped.rax, 0x4002n]);
    t.is(BigInt.asIntN(64, orig_rax), -1n, 'the kernel of the second life must not restart it once more');
  },
  title: (what, result) => `restartSystemCall() ${what} (${result})`,
});

test('makes an interrupted call again: ERESTARTSYS', restart, -512n, true);
test('makes an interrupted call again: ERESTARTNOINTR', restart, -513n, true);
test('makes an interrupted call again: ERESTARTNOHAND', restart, -514n, true);
test('makes an interrupted sleep again: ERESTART_RESTARTBLOCK', restart, -516n, true);
test('leaves a call that has failed by itself: EINTR', restart, -4n, false);
test('leaves a call that has succeeded', restart, 0n, false);

test('restartSystemCall() leaves a thread that made no call', t => {
  const stopped = registers({ rax: BigInt.asUintN(64, -512n), rip: 0x4002n });
  t.deepEqual(restartSystemCall(stopped, code()), stopped);
});

test('restartSystemCall() finds the call that restart_syscall stands for, in the code before it', t => {
  const stopped = registers({ orig_rax: 219n, rax: BigInt.asUintN(64, -516n), rip: 0x4002n });
  const poll = code(0xb8, 7, 0, 0, 0, 0x90); // mov eax, 7; nop
  t.deepEqual([restartSystemCall(stopped, poll).rax, restartSystemCall(stopped, poll).rip], [7n, 0x4000n]);
  t.is(restartSystemCall(stopped, code(0x90)).rax, 219n, 'it will see EINTR');
});
