/**
 * Debian's Chromium, without a window.
 *
 * @module
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';

const CHROMIUM = '/usr/bin/chromium';

export function launchBrowser(): Promise<Browser> {
  if (!existsSync(CHROMIUM)) throw new Error(`${CHROMIUM} is missing, install the package chromium`);
  // As root Chromium refuses to start with its sandbox; it sees nothing but our own page.
  return chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
}

/** Drops a file on the page, as from a file manager. */
export async function dropFile(
  page: Page,
  path: string,
  bytes: Uint8Array = readFileSync(path),
): Promise<void> {
  const transfer = await page.evaluateHandle(
    `(() => {
      const characters = atob(${JSON.stringify(Buffer.from(bytes).toString('base64'))});
      const bytes = Uint8Array.from(characters, character => character.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], ${JSON.stringify(basename(path))}));
      return transfer;
    })()`,
  );
  await page.dispatchEvent('main', 'dragover', { dataTransfer: transfer });
  await page.dispatchEvent('main', 'drop', { dataTransfer: transfer });
}
