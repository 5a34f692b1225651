/**
 * What the kernel put at the beginning of the stack when the program started: argc, argv, envp and the auxiliary
 * vector, of which a core has a copy. So it is found whatever the C library. Facts: System V psABI, "Process
 * Initialization".
 *
 * @module
 */
import type { CoreReader, OpenElfCore } from './open-core.ts';

export interface StartOfStack {
  /** Address of argc; 0n where the stack does not have it any more. */
  readonly address: bigint;
  readonly argv: readonly string[];
}

const CHUNK = 1 << 20;
const MOST_WORDS = 1n << 20n;
/** Three quarters of the largest stack (MAX_ARG_STRLEN and execve(2)). */
const MOST_BYTES = 6 << 20;

export function startOfStack(open: OpenElfCore): StartOfStack {
  const { memory } = open;
  const auxv = findAuxv(open);
  if (auxv === undefined) return { address: 0n, argv: [] };
  // Backwards: null, envp, null, argv, and argc where the number of words is right.
  let words = 0n;
  let at = auxv - 16n;
  let nulls = 1;
  for (; words < MOST_WORDS; at -= 8n, words++) {
    const word = memory.word(at);
    if (nulls === 2 && word === words) break;
    if (word !== 0n) continue;
    if (++nulls > 2) return { address: 0n, argv: [] };
    words = -1n;
  }
  if (words === MOST_WORDS) return { address: 0n, argv: [] };
  return { address: at, argv: texts(memory, at + 8n, Number(words)) };
}

/** Address of the vector on the stack: the same bytes, in writable memory. */
function findAuxv({ core, memory }: OpenElfCore): bigint | undefined {
  if (core.auxv === undefined || core.auxv.length < 32) return undefined;
  const wanted = Buffer.from(core.auxv);
  // Stacks are high up, and the process's own is the highest.
  for (const { address, size, flags } of core.memory.toReversed()) {
    if ((flags & 2) === 0 || size < wanted.length) continue;
    const start = Math.max(0, size - 64 * CHUNK);
    for (let at = start; at < size; at += CHUNK - wanted.length) {
      const chunk = Buffer.from(memory.bytes(address + BigInt(at), Math.min(CHUNK, size - at)));
      const found = chunk.indexOf(wanted);
      if (found >= 0) return address + BigInt(at + found);
    }
  }
  return undefined;
}

/** The strings of a vector, as far as its structure is one: arguments take 6 MiB at most. */
function texts(memory: CoreReader, vector: bigint, count: number): string[] {
  const found: string[] = [];
  let left = MOST_BYTES;
  for (let i = 0; i < count && left > 0; i++) {
    const bytes = untilNul(memory, memory.word(vector + BigInt(i * 8)), left);
    left -= bytes.length + 1;
    found.push(new TextDecoder().decode(bytes));
  }
  return found;
}

function untilNul(memory: CoreReader, address: bigint, limit: number): Uint8Array {
  for (let length = 256; ; length *= 2) {
    const bytes = memory.bytes(address, Math.min(length, limit));
    const end = bytes.indexOf(0);
    if (end >= 0 || length >= limit) return bytes.subarray(0, end < 0 ? bytes.length : end);
  }
}
