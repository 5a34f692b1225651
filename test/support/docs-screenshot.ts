/**
 * Makes the pictures of docs/: a perl that has loaded its modules is frozen, its page map drawn, and the page that
 * `unexec map` writes photographed in Chromium.
 *
 *     npm run docs:screenshot
 *
 * @module
 */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { launchBrowser } from './browser.ts';
import { unexec } from './command.ts';
import { ROOT, sandbox } from './sandbox.ts';

const directory = sandbox('docs');
const DOCS = join(ROOT, 'docs');
const IMAGE = join(directory, 'greet');
const PAGE = join(directory, 'greet.html');

mkdirSync(DOCS, { recursive: true });
await succeed(['/usr/bin/perl', IMAGE, '--', join(ROOT, 'samples/greet.pl'), 'Ada']);
await succeed(['map', IMAGE, '-o', join(DOCS, 'page-map.svg')]);
await succeed(['map', IMAGE, '-o', PAGE]);

const browser = await launchBrowser();
try {
  const page = await browser.newPage({ viewport: { width: 1240, height: 760 } });
  await page.goto(pathToFileURL(PAGE).href);
  await page.waitForSelector('body[data-state=finished]');
  await page.fill('#query', 'PL_op_name');
  await page.press('#query', 'Enter');
  await page.locator('#results').waitFor();
  await page.locator('#results button').first().click();
  await page.locator('#here dd', { hasText: /^PL_op_name/ }).waitFor();
  await page.keyboard.press('Escape');
  await page.screenshot({ path: join(DOCS, 'page-map.png') });
} finally {
  await browser.close();
}
for (const name of ['page-map.svg', 'page-map.png']) {
  process.stdout.write(`docs/${name}: ${statSync(join(DOCS, name)).size} bytes\n`);
}

async function succeed(args: readonly string[]): Promise<void> {
  const { status, stderr } = await unexec(args);
  if (status !== 0) throw new Error(`unexec ${args.join(' ')}: status ${status}\n${stderr}`);
}
