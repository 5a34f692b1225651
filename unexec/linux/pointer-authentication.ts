/**
 * Pointer authentication of aarch64. A function signs its return address with a key of its process, which every
 * exec draws anew and which no process can set for itself: what was signed in the first life would be false in the
 * second. A program that we start goes on without keys from its first instruction, and then signing changes
 * nothing; one that has signed already can only be kept where it has no code that does.
 * Facts: prctl(2) (PR_PAC_SET_ENABLED_KEYS, Linux 5.13), Documentation/arm64/pointer-authentication.rst, linux/elf.h;
 * Arm Architecture Reference Manual, C6.2 (PACIASP, PACIBSP, AUTIASP, AUTIBSP, RETAA, RETAB).
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { Reason } from '../errors.ts';
import type { MemoryReader, Region } from '../image.ts';
import { getRegisterSet } from './ptrace.ts';
import type { RemoteThread } from './remote.ts';

const NT_ARM_PAC_ENABLED_KEYS = 0x40a;
const PR_PAC_SET_ENABLED_KEYS = 60;
/** PR_PAC_APIAKEY, APIBKEY, APDAKEY, APDBKEY. */
const ALL_KEYS = 15;
/** Those that sign in compiled code: `paciasp`, `pacibsp`. */
const SIGNING: readonly number[] = [0xd503_233f, 0xd503_237f];
const CHUNK = 1 << 20;

/** Whether the thread has keys to sign with: never on other machines. */
export function hasKeys(tid: number): boolean {
  const keys = getRegisterSet(tid, NT_ARM_PAC_ENABLED_KEYS);
  return keys !== undefined && viewOf(keys).getBigUint64(0, true) !== 0n;
}

/** Takes the keys from a process that has not run yet. A resumed process gets none either. */
export function takeKeys(remote: RemoteThread): void {
  remote.call('prctl', PR_PAC_SET_ENABLED_KEYS, ALL_KEYS, 0, 0, 0);
}

/** Whether the thread has signed, or may have: it has keys, and the process code that uses them. */
export function refuseSigned(
  tid: number,
  regions: readonly Region[],
  memory: Pick<MemoryReader, 'read'>,
): Reason[] {
  if (!hasKeys(tid)) return [];
  const region = regions.find(candidate => signs(candidate, memory));
  if (region === undefined) return [];
  return [
    {
      code: 'POINTER_AUTHENTICATION',
      what: `the process signs return addresses, with keys that no other process can have (${region.name || 'code'} at 0x${region.start.toString(16)})`,
      remedy: 'start the program with unexec, which does without: unexec PROGRAM TARGET',
    },
  ];
}

function signs({ start, size, execute, read, kind }: Region, memory: Pick<MemoryReader, 'read'>): boolean {
  if (!execute || !read || kind === 'vdso') return false;
  const buffer = new Uint32Array(Math.min(CHUNK, size) / 4);
  const bytes = new Uint8Array(buffer.buffer);
  for (let at = 0; at < size; at += CHUNK) {
    const length = Math.min(CHUNK, size - at);
    memory.read(start + BigInt(at), bytes.subarray(0, length));
    const words = buffer.subarray(0, length / 4);
    if (SIGNING.some(instruction => words.includes(instruction))) return true;
  }
  return false;
}
