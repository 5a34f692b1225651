/**
 * The blocks of our own zone, read from a process or a core by the structures of unexec/runtime/zone.c: tag
 * after tag from the zone's start to its `top`. The zone's layout is the same on every system.
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { MemoryReader } from '../image.ts';
import { BLOCKS_OFFSET, unexec_zone_header } from '../zones/reserve.ts';
import type { ChunkFinder } from './glibc-chunks.ts';
import { BLOCK_STATE } from './table.ts';
import { Window } from './window.ts';

/** `struct unexec_zone`: `top` follows the header, at a multiple of 8. */
const TOP_OFFSET = unexec_zone_header.size;
const TAG = 8;
const FIRST_TAG = BLOCKS_OFFSET + TAG;
const SMALLEST = 32;
const GRAIN = 16;
const TAG_FREE = 1;

export interface OwnZone {
  /** Bytes of the reserve; 0: no zone was started there. */
  readonly size: number;
}

/** Finds the blocks of the zone at `base`. */
export function walkOwnZone(memory: MemoryReader, base: bigint, found: ChunkFinder): OwnZone {
  const head = new Uint8Array(TOP_OFFSET + 8);
  memory.read(base, head);
  const header = unexec_zone_header.read(viewOf(head), 0, true);
  if (header.magic[0] === 0) return { size: 0 };
  const size = Number(header.size);
  const top = Number(viewOf(head).getBigUint64(TOP_OFFSET, true));
  const start = Number(base);
  const isSound = Number.isSafeInteger(size) && top >= FIRST_TAG && top <= size && top % GRAIN === TAG;
  if (!isSound) {
    const sized = Number.isSafeInteger(size) && size > BLOCKS_OFFSET && start + size < 2 ** 48 ? size : 0;
    if (sized > 0) found.gap(start + BLOCKS_OFFSET, start + sized, 'damaged');
    return { size: sized };
  }
  const window = new Window(memory, start, start + top);
  for (let tag = FIRST_TAG; tag < top; ) {
    const word = window.word(start + tag);
    const bytes = word - (word % GRAIN);
    if (bytes < SMALLEST || bytes > top - tag) {
      found.gap(start + tag, start + top, 'damaged');
      break;
    }
    const isFree = (window.low(start + tag) & TAG_FREE) !== 0;
    found.block(start + tag + TAG, bytes - TAG, isFree ? BLOCK_STATE.free : BLOCK_STATE.used);
    tag += bytes;
  }
  return { size };
}
