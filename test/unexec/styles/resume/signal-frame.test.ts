import test from 'ava';
import { viewOf } from '../../../../formats/struct.ts';
import { ARM_REGISTER_NAMES, type Thread } from '../../../../unexec/image.ts';
import { RestoreProgram } from '../../../../unexec/restorer/program.ts';
import { registerOffset, signalFrame } from '../../../../unexec/styles/resume/signal-frame.ts';
import { armThreadOf } from '../../../support/synthetic-image.ts';

/** Bytes of the frame, as it is in a laid-out program. */
function frameOf(thread: Thread): Uint8Array {
  const program = new RestoreProgram('aarch64');
  const frame = signalFrame(program, thread);
  program.syscall('refer', 'getpid', [frame]);
  const { bytes, steps } = program.layOut(0x1_0000n, '');
  const at = Number(viewOf(bytes).getBigUint64(Number(steps.address - 0x1_0000n) + 8, true) - 0x1_0000n);
  return bytes.subarray(at, at + 4688);
}

/** sizeof(siginfo_t), and offsets of asm/ucontext.h and asm/sigcontext.h. */
const RECORDS = 128 + 176 + 288;
const FPSIMD_SIZE = 528;

/** Contents of NT_ARM_SVE with vectors of `vl` bytes, each byte of its registers `fill`. */
function sveOf(vl: number, fill: number, flags = 1): Uint8Array {
  const size = 16 + vl * 32 + (vl / 8) * 17;
  const sve = new Uint8Array(size).fill(fill);
  const view = viewOf(sve);
  view.setUint32(0, size, true);
  view.setUint32(4, size, true);
  view.setUint16(8, vl, true);
  view.setUint16(10, vl, true);
  view.setUint16(12, flags, true);
  view.setUint16(14, 0, true);
  return sve;
}

const withSve = (sve: Uint8Array): Thread => {
  const thread = armThreadOf({});
  if (thread.machine.arch !== 'aarch64') throw new Error('a thread of aarch64 was asked for');
  return { ...thread, machine: { ...thread.machine, sve } };
};

test('a frame of aarch64 has every register at its offset', t => {
  const registers = Object.fromEntries(ARM_REGISTER_NAMES.map((name, i) => [name, BigInt(i + 1) << 40n]));
  const frame = frameOf(
    armThreadOf(registers, { signalMask: 0x1234n, altStack: { sp: 0x5000n, flags: 0, size: 8192 } }),
  );
  const view = viewOf(frame);
  t.is(registerOffset('x0'), 128 + 176 + 8);
  for (const name of ARM_REGISTER_NAMES) {
    t.is(view.getBigUint64(registerOffset(name), true), registers[name] ?? 0n, name);
  }
  t.is(view.getBigUint64(128 + 16, true), 0x5000n);
  t.is(view.getBigUint64(128 + 32, true), 8192n);
  t.is(view.getBigUint64(128 + 40, true), 0x1234n);
});

test('a frame of aarch64 has floating point in a record, control words first, and no other', t => {
  const fpsimd = Uint8Array.from({ length: 528 }, (_, i) => i & 0xff);
  const view = viewOf(frameOf(armThreadOf({}, {}, fpsimd)));
  t.is(view.getUint32(RECORDS, true), 0x46508001);
  t.is(view.getUint32(RECORDS + 4, true), FPSIMD_SIZE);
  t.is(view.getUint32(RECORDS + 8, true), viewOf(fpsimd).getUint32(512, true), 'fpsr');
  t.is(view.getUint32(RECORDS + 12, true), viewOf(fpsimd).getUint32(516, true), 'fpcr');
  t.is(view.getBigUint64(RECORDS + 16, true), viewOf(fpsimd).getBigUint64(0, true), 'v0');
  t.is(view.getBigUint64(RECORDS + 16 + 504, true), viewOf(fpsimd).getBigUint64(504, true), 'v31');
  t.is(view.getBigUint64(RECORDS + FPSIMD_SIZE, true), 0n);
});

test('a frame of aarch64 has SVE registers in a record of their own', t => {
  for (const vl of [16, 32, 64]) {
    const sve = sveOf(vl, 0xab);
    const frame = frameOf(withSve(sve));
    const view = viewOf(frame);
    const at = RECORDS + FPSIMD_SIZE;
    const size = view.getUint32(at + 4, true);
    t.is(view.getUint32(at, true), 0x53564501);
    t.is(size % 16, 0);
    t.is(view.getUint16(at + 8, true), vl);
    t.deepEqual(frame.slice(at + 16, at + sve.length), sve.slice(16));
    t.is(view.getBigUint64(at + size, true), 0n);
  }
});

test('a thread whose SVE registers hold no more than those of FPSIMD has no such record', t => {
  const view = viewOf(frameOf(withSve(sveOf(32, 0xab, 0))));
  t.is(view.getBigUint64(RECORDS + FPSIMD_SIZE, true), 0n);
});

test('SVE registers that a frame has no room for are refused', t => {
  t.throws(() => frameOf(withSve(sveOf(256, 1))), {
    code: 'SVE_TOO_WIDE',
    message: /thread 1 has \d+ bytes/,
  });
});
