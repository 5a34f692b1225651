/**
 * Tables and lists that stay within 100 columns: what is too long for its column is cut in its middle, where names
 * and paths say least.
 *
 * @module
 */
import { type Align, table } from './render.ts';

export const WIDTH = 100;
/** Less says nothing. */
const LEAST = 12;

/** A table whose last column gets what the others leave of the line. */
export function fittedTable(rows: readonly (readonly string[])[], align: readonly Align[] = []): string[] {
  const columns = Math.max(0, ...rows.map(row => row.length));
  const others = table(
    rows.map(row => [...row.slice(0, columns - 1), 'x']),
    align,
  );
  const used = Math.max(0, ...others.map(line => [...line].length)) - 1;
  const room = Math.max(LEAST, WIDTH - used);
  return table(
    rows.map(row => row.map((cell, column) => (column === columns - 1 ? shorten(cell, room) : cell))),
    align,
  );
}

/** At most so many characters, with `…` in place of the middle. */
export function shorten(text: string, room: number): string {
  const letters = [...text];
  if (letters.length <= room) return text;
  const tail = Math.floor((room - 1) * 0.6);
  const head = room - 1 - tail;
  return `${letters.slice(0, head).join('')}…${letters.slice(letters.length - tail).join('')}`;
}

/** Words on as many lines as they need, each with an indent. */
export function wrapped(words: readonly string[], indent: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of words.map(item => shorten(item, WIDTH - indent.length))) {
    if (line !== '' && indent.length + line.length + 1 + word.length > WIDTH) {
      lines.push(indent + line);
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  return line === '' ? lines : [...lines, indent + line];
}
