/**
 * What the kernel put at the beginning of the stack when the program started: argc, argv, envp and the auxiliary
 * vector, of which a core has a copy. So it is found whatever the C library. Facts: System V psABI, "Process
 * Initialization".
 *
 * @module
 */
import { type ElfCoreMemory, PF } from '../../formats/elf/index.ts';
import type { CoreReader, OpenElfCore } from './open-core.ts';

export interface StartOfStack {
  /** Address of argc; 0n where the stack does not have it any more. */
  readonly address: bigint;
  readonly argv: readonly string[];
}

const AT_RANDOM = 25;
/** The kernel's has 736 bytes at the most (AT_VECTOR_SIZE). */
const LONGEST_AUXV = 4096;
const CHUNK = 1 << 20;
/** Bytes that are searched for the vector: of one segment, and of all. */
const MOST_OF_ONE = 64 << 20;
const MOST_SEARCHED = 256 << 20;
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
function findAuxv(open: OpenElfCore): bigint | undefined {
  const { core, memory } = open;
  const vector = core.auxv;
  if (vector === undefined || vector.length < 32 || vector.length > LONGEST_AUXV) return undefined;
  let left = MOST_SEARCHED;
  for (const { address, contents } of likelyFirst(open)) {
    const size = contents.size;
    const start = Math.max(0, size - MOST_OF_ONE);
    for (let at = start; at + vector.length <= size; at += CHUNK - vector.length) {
      if (left <= 0) return undefined;
      const chunk = Buffer.from(memory.bytes(address + BigInt(at), Math.min(CHUNK, size - at)));
      const found = chunk.indexOf(vector);
      if (found >= 0) return address + BigInt(at + found);
      left -= chunk.length;
    }
  }
  return undefined;
}

/** What is writable: what has the 16 random bytes of the stack, then from above, where stacks are. */
function likelyFirst({ core, auxv }: OpenElfCore): ElfCoreMemory[] {
  const random = auxv.get(AT_RANDOM) ?? 0n;
  const writable = core.memory.filter(({ flags }) => (flags & PF.PF_W) !== 0);
  const isStack = ({ address, size }: ElfCoreMemory): boolean =>
    address <= random && random < address + BigInt(size);
  return [...writable.filter(isStack), ...writable.toReversed().filter(memory => !isStack(memory))];
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
