/**
 * A way back for threads that are made to call: where we are killed meanwhile, the kernel lets the thread go on with
 * whatever registers it has. So a call is made where a `ret` follows, and the stack pointer is that of a signal frame:
 * the thread comes out of the call, returns into the code that ends a signal handler, and rt_sigreturn(2) gives it
 * all its registers and its signal mask as they were; a call of its own that was interrupted is made again.
 *
 * The frame lies at the far end of the main stack, below everything that is in use, as does what calls write; both are
 * put back as they were.
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import { UnexecError } from '../errors.ts';
import { endOf, type MachineState, type Region } from '../image.ts';
import { x86Frame } from '../x86-frame.ts';
import { ARCHITECTURE } from './arch.ts';
import { SCRATCH_SIZE } from './borrow.ts';
import type { ProcessMemory } from './memory.ts';
import { ARCH } from './this-machine.ts';

/** Room for a frame: its XSAVE area may have AMX tiles, 11 KiB. */
const FRAME_ROOM = 12_288;
/** Below the stack pointer there may be a function's own (System V ABI, 3.2.2). */
const RED_ZONE = 128n;
const CODE_CHUNK = 1 << 20;
/** Searched at the most: what we need is in libc. */
const MOST_CODE = 32 << 20;

/** `syscall; ret`. */
const CALL = Buffer.of(0x0f, 0x05, 0xc3);
/** `mov $15, %eax` (glibc, musl: %rax), `syscall`: behind every handler of signals. */
const SIGRETURN = Buffer.of(0xc0, 0x0f, 0x00, 0x00, 0x00, 0x0f, 0x05);
const SIGRETURN_PREFIX = Buffer.of(0x48, 0xc7);
/** Flags that sigaltstack(2) does not know: the kernel leaves the alternate stack as it is. */
const KEEP_ALT_STACK = { sp: 0n, flags: 7, size: 0 } as const;

export interface WayBack {
  /** Of the instruction that makes the call. */
  readonly instruction: bigint;
  /** SCRATCH_SIZE bytes for what calls write. */
  readonly scratch: bigint;
  /**
   * Lays the frame of a thread.
   *
   * @param state as the thread stands
   * @returns its stack pointer during calls, and what takes the frame away again
   */
  lay(state: MachineState, signalMask: bigint): { readonly stack: bigint; readonly remove: () => void };
}

/**
 * @param stackPointers of all threads
 * @returns undefined where there is none: code without such instructions, a stack that is in use to its end, another
 *   machine
 */
export function findWayBack(
  regions: readonly Region[],
  stackPointers: readonly bigint[],
  memory: ProcessMemory,
): WayBack | undefined {
  if (ARCH !== 'x86_64') return undefined;
  const place = unusedStack(regions, stackPointers);
  const code = findCode(regions, memory);
  if (place === undefined || code === undefined) return undefined;
  const scratch = place + BigInt(FRAME_ROOM);
  return {
    instruction: code.call,
    scratch,
    lay: (state, signalMask) => {
      const going = ARCHITECTURE.goingOn(state, memory);
      if (going.arch !== 'x86_64') throw new UnexecError('UNSUPPORTED_MACHINE', `a thread of ${going.arch}`);
      const frame = x86Frame(going, signalMask, KEEP_ALT_STACK);
      const bytes = frameBytes(frame, place, code.sigreturn);
      const before = memory.bytes(place, bytes.length);
      memory.write(place, bytes);
      return { stack: place, remove: () => memory.write(place, before) };
    },
  };
}

/** The return address, `struct ucontext` right behind it, and the XSAVE area. */
function frameBytes(
  { context, pointer, state }: ReturnType<typeof x86Frame>,
  place: bigint,
  sigreturn: bigint,
): Uint8Array {
  const stateOffset = Math.ceil((8 + context.length) / 64) * 64;
  const bytes = new Uint8Array(stateOffset + (state?.length ?? 0));
  const view = viewOf(bytes);
  view.setBigUint64(0, sigreturn, true);
  bytes.set(context, 8);
  if (state !== undefined) {
    bytes.set(state, stateOffset);
    view.setBigUint64(8 + pointer, place + BigInt(stateOffset), true);
  }
  return bytes;
}

/** The lowest part of the main stack, where nothing of any thread is. */
function unusedStack(regions: readonly Region[], stackPointers: readonly bigint[]): bigint | undefined {
  const stack = regions.find(region => region.kind === 'stack' && region.write);
  if (stack === undefined) return undefined;
  const end = stack.start + BigInt(FRAME_ROOM + SCRATCH_SIZE) + RED_ZONE;
  const inUse = stackPointers.some(sp => sp >= stack.start && sp < endOf(stack) && sp < end);
  return inUse || end > endOf(stack) ? undefined : stack.start;
}

interface Code {
  readonly call: bigint;
  readonly sigreturn: bigint;
}

function findCode(regions: readonly Region[], memory: ProcessMemory): Code | undefined {
  const candidates = regions.filter(region => region.execute && region.read && region.inode !== 0);
  const isLibc = ({ name }: Region): boolean => /\/(libc\b|ld-musl)/.test(name);
  candidates.sort((a, b) => Number(isLibc(b)) - Number(isLibc(a)));
  let call: bigint | undefined;
  let sigreturn: bigint | undefined;
  let searched = 0;
  for (const { start, size } of candidates) {
    for (let at = 0; at < size && searched < MOST_CODE; at += CODE_CHUNK) {
      const bytes = Buffer.from(memory.bytes(start + BigInt(at), Math.min(CODE_CHUNK, size - at)));
      searched += bytes.length;
      const address = (offset: number): bigint => start + BigInt(at + offset);
      const found = bytes.indexOf(CALL);
      if (call === undefined && found >= 0) call = address(found);
      const load = bytes.indexOf(SIGRETURN);
      if (sigreturn === undefined && load >= 2 && bytes.subarray(load - 2, load).equals(SIGRETURN_PREFIX)) {
        sigreturn = address(load - 2);
      }
      if (call !== undefined && sigreturn !== undefined) return { call, sigreturn };
    }
  }
  return undefined;
}
