/**
 * Mach-O cores made by hand: parts for `newCore`, with what is in their memory.
 *
 * @module
 */
import { CPU_TYPE, VM_PROT } from '../../formats/macho/constants.ts';
import { type CoreParts, newCore } from '../../formats/macho/core.ts';
import { type CoreRegisters, registerState } from '../../formats/macho/core-threads.ts';
import { segmentsOf } from '../../formats/macho/find.ts';
import { layoutMachO } from '../../formats/macho/layout.ts';
import { arm_thread_state64, x86_thread_state64 } from '../../formats/macho/structs.ts';
import { writeMachO } from '../../formats/macho/write.ts';

export interface CoreStretch {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  /** VM_PROT_*; default: rw-. */
  readonly protection?: number;
}

const RW = VM_PROT.VM_PROT_READ | VM_PROT.VM_PROT_WRITE;

/** A core that holds these stretches, x86-64 but for what is said otherwise. */
export function coreBytes(stretches: readonly CoreStretch[], facts: Partial<CoreParts> = {}): Uint8Array {
  const file = newCore({
    cputype: CPU_TYPE.CPU_TYPE_X86_64,
    cpusubtype: facts.cputype === CPU_TYPE.CPU_TYPE_ARM64 ? 0 : 3,
    memory: stretches.map(({ address, bytes, protection = RW }) => ({
      address,
      size: bytes.length,
      protection,
    })),
    threads: [],
    notes: [],
    ...facts,
  });
  const layout = layoutMachO(file);
  const core = new Uint8Array(layout.size);
  for (const { offset, bytes } of writeMachO(layout)) core.set(bytes, offset);
  for (const [i, { fileoff }] of segmentsOf(file).entries()) core.set(stretches[i]?.bytes ?? [], fileoff);
  return core;
}

/** Registers that are zero but for these. */
export const x86Registers = (registers: Partial<x86_thread_state64> = {}): CoreRegisters => ({
  arch: 'x86_64',
  state: {
    ...x86_thread_state64.read(new DataView(new ArrayBuffer(x86_thread_state64.size)), 0, true),
    ...registers,
  },
});

export const armRegisters = (registers: Partial<arm_thread_state64> = {}): CoreRegisters => ({
  arch: 'arm64',
  state: {
    ...arm_thread_state64.read(new DataView(new ArrayBuffer(arm_thread_state64.size)), 0, true),
    ...registers,
  },
});

/** A thread of these registers. */
export const threadOf = (registers: CoreRegisters) => [registerState(registers)];
