/**
 * What `--strict` refuses: words of which it is not certain what they are.
 *
 * @module
 */
import { UnexecError } from '../../errors.ts';
import type { FoundPointers } from './found-pointers.ts';

const MOST_REASONS = 50;

/**
 * @param lost words that lead out of the program and cannot be kept
 * @param lines one for each word, as far as they are listed
 * @throws UnexecError `DOUBTFUL_WORDS`
 */
export function refuseDoubtful(
  path: string,
  { counts: { doubtful, unexplained } }: FoundPointers,
  { nulled, left }: { readonly nulled: number; readonly left: number },
  lines: readonly string[],
): void {
  const count = doubtful + unexplained + nulled + left;
  if (count === 0) return;
  const message = `${path} has ${count} words of which it is not certain what they are`;
  throw new UnexecError('DOUBTFUL_WORDS', message, {
    path,
    hint: 'without --strict they are told and kept; two runs (--compare) leave fewer of them',
    reasons: lines.slice(0, MOST_REASONS).map(what => ({
      code: 'DOUBTFUL_WORD',
      what,
      remedy: 'clear it before the freeze, or leave out --strict',
    })),
  });
}
