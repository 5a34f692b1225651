/**
 * The machine that we run on: architecture, kernel and CPU. Where processes are not traced at all, it does not matter.
 * Facts: uname(2), proc(5) (cpuinfo), Documentation/arch/x86/xstate.rst.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { viewOf } from '../../formats/struct.ts';
import type { CpuFeatures, KernelIdentity } from '../image.ts';
import type { Arch, MachineState } from '../machine-state.ts';
import { readProc } from './proc.ts';

export const ARCH: Arch = process.arch === 'arm64' ? 'aarch64' : 'x86_64';

export function kernelIdentity(): KernelIdentity {
  const read = (name: string): string => readProc(`/proc/sys/kernel/${name}`).trimEnd();
  return { sysname: read('ostype'), release: read('osrelease'), version: read('version'), machine: ARCH };
}

/** The XSAVE area as ptrace gives it has XCR0 in the first software-reserved word, byte 464. */
export function cpuFeatures(machine: MachineState | undefined): CpuFeatures {
  const xstate = machine?.arch === 'x86_64' ? machine.xstate : undefined;
  const cpuinfo = readFileSync('/proc/cpuinfo', 'latin1');
  return {
    flags: (/^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '').split(' '),
    xcr0: xstate === undefined || xstate.length < 472 ? 3n : viewOf(xstate).getBigUint64(464, true),
  };
}
