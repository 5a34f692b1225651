/**
 * Pointers that are not aligned: in packed structs, and in byte strings that a program serialises into. They
 * are looked for where an aligned word differs between the runs and is no pointer, at places that cover a
 * byte which differs: odd multiples of 4 first, then of 2, then any.
 *
 * @module
 */
import { KIND, type Kind, type PairJudge } from './pair-judge.ts';
import type { ChunkBuffer } from './stretches.ts';

const WORD = 8;
/** From the byte that differs, back: in this order for a pointer at a multiple of 4, of 2, anywhere. */
const ALIGNMENTS = [4, 2, 1];

export interface UnalignedSearch {
  readonly a: ChunkBuffer;
  readonly b: ChunkBuffer;
  readonly judge: PairJudge;
  /** Whether the 8 bytes at this place of the buffers lie in the range and are of no other pointer yet. */
  isFree(at: number): boolean;
  /** Takes the 8 bytes for a pointer of this kind; the judge has its particulars. */
  claim(at: number, kind: Kind): void;
}

/**
 * Claims the pointers that cover differing bytes of the word at `at`, from `from` on. Returns whether they
 * explain all of them.
 */
export function claimUnaligned(search: UnalignedSearch, at: number, from: number): boolean {
  for (let byte = Math.max(at, from); byte < at + WORD; byte++) {
    if (search.a.bytes[byte] === search.b.bytes[byte]) continue;
    const pointer = pointerOver(search, byte);
    if (pointer === undefined) return false;
    byte = pointer + WORD - 1;
  }
  return true;
}

function pointerOver(search: UnalignedSearch, byte: number): number | undefined {
  for (const alignment of ALIGNMENTS) {
    for (let at = byte - (byte % alignment); at > byte - WORD; at -= alignment) {
      // Multiples of 8 have been judged; multiples of a larger alignment have just been tried.
      if (at % WORD === 0 || (alignment < 4 && at % (alignment * 2) === 0)) continue;
      if (at < 0 || !search.isFree(at) || overlapsAligned(search, at)) continue;
      const kind = judgeAt(search, at);
      if (kind !== KIND.POINTER && kind !== KIND.OUTWARD) continue;
      search.claim(at, kind);
      return at;
    }
  }
  return undefined;
}

/** Aligned words that are pointers by themselves come first. */
function overlapsAligned(search: UnalignedSearch, at: number): boolean {
  const word = at - (at % WORD);
  return [word, word + WORD].some(at => {
    const kind = judgeAt(search, at);
    return kind === KIND.POINTER || kind === KIND.OUTWARD || kind === KIND.BIASED;
  });
}

function judgeAt({ a, b, judge }: UnalignedSearch, at: number): Kind {
  const low1 = a.view.getInt32(at, true);
  const high1 = a.view.getInt32(at + 4, true);
  const low2 = b.view.getInt32(at, true);
  const high2 = b.view.getInt32(at + 4, true);
  return low1 === low2 && high1 === high2 ? KIND.CONSTANT : judge.judge(low1, high1, low2, high2);
}
