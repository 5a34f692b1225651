/**
 * Finds a text in what a process writes to its stdout or stderr, each by itself, however the writes cut
 * it in pieces. Only what the kernel took counts, so it is looked at when the call returns.
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { ProcessMemory } from '../linux/memory.ts';
import type { SystemCall } from '../linux/system-calls.ts';

const VECTORS: ReadonlySet<string> = new Set<SystemCall>(['writev', 'pwritev', 'pwritev2']);
const WRITES: ReadonlySet<string> = new Set<SystemCall>([
  'write',
  'pwrite64',
  'writev',
  'sendto',
  'pwritev',
  'pwritev2',
]);
/** Bytes read from the process at once. */
const CHUNK = 1 << 20;
/** IOV_MAX (linux/uio.h). */
const MOST_VECTORS = 1024;

export interface Call {
  readonly name: SystemCall | undefined;
  readonly args: readonly bigint[];
}

export class OutputSearch {
  readonly #wanted: Buffer;
  /** The end of what was written to a descriptor so far, shorter than the text. */
  readonly #ends = new Map<bigint, Buffer>();

  constructor(text: string) {
    this.#wanted = Buffer.from(text);
  }

  /** Whether this call may write what is looked for. */
  follows({ name, args: [fd] }: Call): boolean {
    return name !== undefined && WRITES.has(name) && (fd === 1n || fd === 2n);
  }

  /** Whether the text is complete with the `written` bytes of this call. */
  completes(
    { name, args: [fd = 0n, address = 0n, count = 0n] }: Call,
    written: bigint,
    memory: ProcessMemory,
  ): boolean {
    if (written <= 0n) return false;
    const pieces =
      name !== undefined && VECTORS.has(name)
        ? vectors(memory, address, Number(count))
        : [{ address, length: Number(written) }];
    let left = Number(written);
    for (const piece of pieces) {
      const length = Math.min(piece.length, left);
      left -= length;
      for (let at = 0; at < length; at += CHUNK) {
        const bytes = memory.bytes(piece.address + BigInt(at), Math.min(CHUNK, length - at));
        if (this.#found(fd, bytes)) return true;
      }
    }
    return false;
  }

  #found(fd: bigint, bytes: Uint8Array): boolean {
    const seen = Buffer.concat([this.#ends.get(fd) ?? Buffer.alloc(0), bytes]);
    const keep = this.#wanted.length - 1;
    this.#ends.set(fd, keep === 0 ? Buffer.alloc(0) : seen.subarray(-keep));
    return seen.includes(this.#wanted);
  }
}

/** struct iovec: base, length. */
function vectors(
  memory: ProcessMemory,
  address: bigint,
  count: number,
): { address: bigint; length: number }[] {
  const view = viewOf(memory.bytes(address, Math.min(count, MOST_VECTORS) * 16));
  return Array.from({ length: view.byteLength / 16 }, (_, i) => ({
    address: view.getBigUint64(i * 16, true),
    length: Number(view.getBigUint64(i * 16 + 8, true)),
  }));
}
