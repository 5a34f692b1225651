import test from 'ava';
import { viewOf } from '../../../formats/struct.ts';
import {
  ARM_REGISTER_NAMES,
  type ArmRegisters,
  type MachineState,
  programCounter,
  X86_REGISTER_NAMES,
  type X86Registers,
} from '../../../unexec/image.ts';
import { abortSequence } from '../../../unexec/linux/thread-state.ts';

const at = (programCounter: bigint): MachineState => {
  const zeros = Object.fromEntries(X86_REGISTER_NAMES.map(name => [name, 0n])) as X86Registers;
  return { arch: 'x86_64', registers: { ...zeros, rip: programCounter }, xstate: new Uint8Array() };
};

const armAt = (programCounter: bigint): MachineState => ({
  arch: 'aarch64',
  registers: {
    ...(Object.fromEntries(ARM_REGISTER_NAMES.map(name => [name, 0n])) as ArmRegisters),
    pc: programCounter,
  },
  threadPointer: 0n,
  fpsimd: new Uint8Array(528),
  sve: undefined,
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
    for (const machine of [at(rip), armAt(rip)]) {
      t.is(
        programCounter({ machine: abortSequence(machine, RSEQ, memory(section)) }),
        expected,
        machine.arch,
      );
    }
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
  t.deepEqual(abortSequence(at(0x4000n), undefined, memory(SECTION)), at(0x4000n));
});
