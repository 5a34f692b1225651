/**
 * Plain text tables and the numbers in them.
 *
 * @module
 */

/** Columns as wide as their widest cell; the first one to the left, the others to the right. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...lines.map(line => (line[column] ?? '').length)));
  const format = (line: readonly string[]): string =>
    widths
      .map((width, column) => {
        const cell = line[column] ?? '';
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd();
  const rule = widths.map(width => '-'.repeat(width)).join('  ');
  return [format(header), rule, ...rows.map(format)].join('\n');
}

/** About three significant digits; from 100 on whole numbers. */
export function formatNumber(value: number): string {
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

/** Milliseconds of microseconds: `0.094`, `1.52`, `229`. */
export function formatMilliseconds(microseconds: number): string {
  const milliseconds = microseconds / 1000;
  return milliseconds < 1 ? milliseconds.toFixed(3) : formatNumber(milliseconds);
}

/** `0.74x`, `22.1x`. */
export const formatRatio = (ratio: number): string => `${formatNumber(ratio)}x`;

export const formatMib = (bytes: number): string => formatNumber(bytes / 2 ** 20);
