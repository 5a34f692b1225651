/**
 * The state of a CPU's extensions, as a signal frame has it: x87, SSE, AVX, … in an XSAVE area of the standard
 * format. It is cut to the components that are in use, so that a CPU with fewer of them takes it.
 * Facts: Intel SDM volume 1, 13.4 (XSAVE area) and 13.6 (initial state); arch/x86/include/uapi/asm/sigcontext.h
 * and arch/x86/kernel/fpu/signal.c of Linux 6.1.
 *
 * @module
 */
import { viewOf } from '../formats/struct.ts';
import { XCR0 } from './cpu-features.ts';
import type { MachineState } from './machine-state.ts';

const FP_XSTATE_MAGIC1 = 0x46505853;
const FP_XSTATE_MAGIC2 = 0x46505845;
/** FXSAVE area, then the header of 64 bytes, whose first word says which components are in use. */
export const LEGACY_SIZE = 512;
const HEADER_SIZE = 64;
const SOFTWARE_BYTES = 464;
/** What Linux sets for every new process (init_pkru_value): no key but the first may be used. */
const DEFAULT_PKRU = 0x5555_5554;

/** Of a component behind the header, bytes from the start of the area. */
interface Component {
  readonly bit: bigint;
  readonly offset: number;
  readonly size: number;
}

/**
 * What a signal frame holds: the area with what the kernel asks for around it, the software-reserved bytes and the
 * second magic number. x87 and SSE are marked as in use: their part of the area is always valid, and a component
 * that is not marked gets its initial state.
 */
export function signalFrameState(xstate: Uint8Array): Uint8Array {
  if (!isExtended(xstate)) return new Uint8Array([...xstate, 0, 0, 0, 0]);
  const inUse = componentsInUse(xstate);
  const size = sizeOf(xstate, inUse);
  const state = new Uint8Array(size + 4);
  state.set(xstate.subarray(0, size));
  const view = viewOf(state);
  state.fill(0, SOFTWARE_BYTES, LEGACY_SIZE);
  view.setUint32(SOFTWARE_BYTES, FP_XSTATE_MAGIC1, true);
  view.setUint32(SOFTWARE_BYTES + 4, state.length, true);
  view.setBigUint64(SOFTWARE_BYTES + 8, inUse, true);
  view.setUint32(SOFTWARE_BYTES + 16, size, true);
  view.setBigUint64(LEGACY_SIZE, inUse, true);
  view.setUint32(size, FP_XSTATE_MAGIC2, true);
  return state;
}

/** XCR0's bits of the components that are not in their initial state, and of x87 and SSE. */
export const stateInUse = (machine: MachineState): bigint =>
  machine.arch === 'x86_64' && isExtended(machine.xstate) ? componentsInUse(machine.xstate) : XCR0.BASE;

/**
 * Where components in use are whose places differ between CPUs (Intel's and AMD's AVX-512, PKRU): the CPU of the second
 * life must have them there, too.
 */
export function placedComponents(machine: MachineState): { readonly bit: bigint; readonly offset: number }[] {
  if (machine.arch !== 'x86_64' || !isExtended(machine.xstate)) return [];
  const inUse = componentsInUse(machine.xstate);
  return componentsOf(machine.xstate).filter(({ bit }) => bit !== XCR0.AVX && (inUse & bit) !== 0n);
}

/** It is more than what FXSAVE writes. */
export const isExtended = (xstate: Uint8Array): boolean => xstate.length >= LEGACY_SIZE + HEADER_SIZE;

function componentsInUse(xstate: Uint8Array): bigint {
  const initial = componentsOf(xstate).filter(component => isInitial(xstate, component));
  const marked = viewOf(xstate).getBigUint64(LEGACY_SIZE, true);
  return initial.reduce((bits, { bit }) => bits & ~bit, marked) | XCR0.BASE;
}

function isInitial(xstate: Uint8Array, { bit, offset, size }: Component): boolean {
  if (bit === XCR0.PKRU) return viewOf(xstate).getUint32(offset, true) === DEFAULT_PKRU;
  return xstate.subarray(offset, offset + size).every(byte => byte === 0);
}

/** Bytes of the area up to the end of the last component in use; all, where we do not know where that is. */
function sizeOf(xstate: Uint8Array, inUse: bigint): number {
  const components = componentsOf(xstate).filter(({ bit }) => (inUse & bit) !== 0n);
  const known = components.reduce<bigint>((bits, { bit }) => bits | bit, XCR0.BASE);
  if ((inUse & ~known) !== 0n) return xstate.length;
  return components.reduce(
    (end, { offset, size }) => Math.max(end, offset + size),
    LEGACY_SIZE + HEADER_SIZE,
  );
}

/**
 * The components that this area has room for. CPUID leaf 0xd tells their places; of an area from elsewhere the size
 * does: there are Intel's layout, with a hole for MPX, and AMD's.
 */
function componentsOf({ length }: Uint8Array): Component[] {
  const avx512 = (at: number): Component[] => [
    { bit: 1n << 5n, offset: at, size: 64 },
    { bit: 1n << 6n, offset: at + 64, size: 512 },
    { bit: 1n << 7n, offset: at + 576, size: 1024 },
  ];
  const pkru = (offset: number): Component => ({ bit: XCR0.PKRU, offset, size: 8 });
  if (length < 832) return [];
  const avx: Component = { bit: XCR0.AVX, offset: 576, size: 256 };
  if (length >= 2696) return [avx, ...avx512(1088), pkru(2688)];
  if (length === 2688) return [avx, ...avx512(1088)];
  if (length === 2440) return [avx, ...avx512(832), pkru(2432)];
  if (length === 2432) return [avx, ...avx512(832)];
  if (length === 840) return [avx, pkru(832)];
  return [avx];
}
