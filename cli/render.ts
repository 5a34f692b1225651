/**
 * Text for people: colours, sizes, durations, tables.
 *
 * @module
 */
import { stripVTControlCharacters, styleText } from 'node:util';
import { threeDigits } from './format-bytes.ts';

export { formatBytes } from './format-bytes.ts';

/** Formats a stretch of text; does nothing where colours are not wanted. */
export interface Style {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly red: (text: string) => string;
  readonly yellow: (text: string) => string;
  readonly green: (text: string) => string;
}

const plain = (text: string): string => text;
export const PLAIN: Style = { bold: plain, dim: plain, red: plain, yellow: plain, green: plain };

type Format = Parameters<typeof styleText>[0];
/** Newer releases of Node look at stdout by themselves; which stream it is, we know better. */
const as =
  (format: Format) =>
  (text: string): string =>
    styleText(format, text, { validateStream: false });
const COLOURED: Style = {
  bold: as('bold'),
  dim: as('dim'),
  red: as('red'),
  yellow: as('yellow'),
  green: as('green'),
};

/** Colours for a terminal, unless NO_COLOR (no-color.org) is set or the terminal has none. */
export function styleFor(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv): Style {
  const refused = (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb';
  return stream.isTTY === true && !refused ? COLOURED : PLAIN;
}

/** Milliseconds as `0.42 ms`, `53 ms`, `1.25 s` or `3 min 20 s`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 999.5) return `${threeDigits(milliseconds)} ms`;
  const seconds = milliseconds / 1000;
  if (seconds < 60) return `${threeDigits(seconds)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** How a column stands. */
export type Align = 'left' | 'right';

/** Lines of a table: columns padded to their widest cell, two spaces apart; nothing is cut off. */
export function table(rows: readonly (readonly string[])[], align: readonly Align[] = []): string[] {
  const columns = Math.max(0, ...rows.map(row => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    rows.reduce((widest, row) => Math.max(widest, width(row[column] ?? '')), 0),
  );
  return rows.map(row =>
    row
      .map((cell, column) => {
        const padding = ' '.repeat((widths[column] ?? 0) - width(cell));
        return align[column] === 'right' ? padding + cell : cell + padding;
      })
      .join('  ')
      .trimEnd(),
  );
}

/** Columns on a terminal, for the text that we write: one a character, none for colours. */
const width = (text: string): number => [...stripVTControlCharacters(text)].length;

/**
 * Text that came from elsewhere (a path, a program's name) with control characters shown, so that it
 * cannot move the cursor or end a line.
 */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\x00-\x1f\x7f-\x9f]/g, c => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
