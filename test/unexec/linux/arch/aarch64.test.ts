import test from 'ava';
import { viewOf } from '../../../../formats/struct.ts';
import { ARM_REGISTER_NAMES, type ArmRegisters } from '../../../../unexec/image.ts';
import { startAgain } from '../../../../unexec/linux/arch/aarch64.ts';

const registers = (values: Partial<ArmRegisters>): ArmRegisters => ({
  ...(Object.fromEntries(ARM_REGISTER_NAMES.map(name => [name, 0n])) as ArmRegisters),
  ...values,
});

const SVC = 0xd400_0001;
const NOP = 0xd503_201f;

/** These instructions end before 0x4004, the last of them is that at 0x4000. */
const code = (...instructions: readonly number[]) => ({
  bytes(address: bigint, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const start = 0x4004n - BigInt(instructions.length * 4);
    for (const [i, instruction] of instructions.entries()) {
      viewOf(bytes).setUint32(Number(start - address) + i * 4, instruction, true);
    }
    return bytes;
  },
});

test('startAgain() leaves a call that the kernel has put back to its start', t => {
  const stopped = registers({ x0: 3n, x8: 101n, pc: 0x4000n });
  t.deepEqual(startAgain(stopped, code(SVC)), stopped);
});

test('startAgain() finds the call that restart_syscall stands for, in the code before it', t => {
  const stopped = registers({ x8: 128n, pc: 0x4000n });
  const loads = { 'mov x8, #101': 0xd280_0ca8, 'mov w8, #101': 0x5280_0ca8 };
  for (const [text, load] of Object.entries(loads)) {
    t.is(startAgain(stopped, code(load, NOP, SVC)).x8, 101n, text);
  }
});

test('startAgain() leaves restart_syscall, which sees EINTR, where nothing tells the call', t => {
  const stopped = registers({ x8: 128n, pc: 0x4000n });
  const movX9 = 0xd280_0ca9;
  const movX8Getpid = 0xd280_1588;
  for (const instructions of [
    [NOP, SVC],
    [movX9, SVC],
    [movX8Getpid, SVC],
    [0xd280_0ca8, NOP],
  ]) {
    t.is(startAgain(stopped, code(...instructions)).x8, 128n);
  }
});

test('startAgain() takes the bit of a single step out of the state of the processor', t => {
  t.is(startAgain(registers({ pstate: 0x6020_1000n }), code(SVC)).pstate, 0x6000_1000n);
});
