/**
 * The page that .ci/bundle-page.mjs made, empty or with its data inside.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { type Embedded, encodeMap, encodeSymbols } from './embedded.ts';
import type { Order } from './view.ts';

/** The page, into which files are dropped. */
export const emptyPage = (): string => readFileSync(new URL('page.html', import.meta.url), 'utf8');

/** The same page, which shows this. */
export function pageWith({ map, symbols }: Embedded, order: Order): string {
  const compress = (text: string): string => gzipSync(text).toString('base64');
  const elements =
    `<script id="data" type="text/plain" data-order="${order}">${compress(encodeMap(map))}</script>\n` +
    `<script id="symbols" type="text/plain">${compress(encodeSymbols(symbols))}</script>`;
  return emptyPage().replace('<!--data-->', () => elements);
}
