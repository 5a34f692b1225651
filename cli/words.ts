/**
 * Splits a string into words as a POSIX shell does (XCU 2.2), with quotes and backslashes but without any
 * expansion: `$`, `*` and `~` stand for themselves.
 *
 * @module
 */
import { UsageError } from './errors.ts';

/** @throws UsageError when a quote is not closed */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if (quote === undefined && /[ \t\n]/.test(c)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (c === quote) {
      quote = undefined;
    } else if (quote === undefined && (c === "'" || c === '"')) {
      quote = c;
      word ??= '';
    } else if (c === '\\' && quote !== "'" && i + 1 < text.length) {
      const next = text.charAt(++i);
      // Within double quotes a backslash only quotes what would be special there.
      const kept = quote === '"' && !/["\\$`]/.test(next) ? '\\' : '';
      word = (word ?? '') + kept + next;
    } else {
      word = (word ?? '') + c;
    }
  }
  if (quote !== undefined) throw new UsageError(`a quote is not closed in: ${text}`);
  if (word !== undefined) words.push(word);
  return words;
}

/** Digits are the number of a process; a program or file of such a name is given by its path. */
export const isPid = (word: string): boolean => /^[1-9]\d{0,9}$/.test(word);
