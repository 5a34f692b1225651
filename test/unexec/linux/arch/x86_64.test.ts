import test from 'ava';
import { X86_REGISTER_NAMES, type X86RegisterName, type X86Registers } from '../../../../unexec/image.ts';
import { restartSystemCall } from '../../../../unexec/linux/arch/x86_64.ts';

const registers = (values: Partial<Record<X86RegisterName, bigint>>): X86Registers => ({
  ...(Object.fromEntries(X86_REGISTER_NAMES.map(name => [name, 0n])) as X86Registers),
  orig_rax: 0xffff_ffff_ffff_ffffn,
  ...values,
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
