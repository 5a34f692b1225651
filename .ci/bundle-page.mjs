/**
 * The page map's page: what is in cli/map/page, with all that it needs, as one file for a browser, in
 * build/cli/map/page.html. `unexec map` writes it; nothing of this is needed when it runs.
 *
 *     node .ci/bundle-page.mjs
 *
 * @module
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const PAGE = join(ROOT, 'cli/map/page');
const TARGET = join(ROOT, 'build/cli/map/page.html');

const worker = await bundle('worker.ts');
const script = inScript(await bundle('page.ts', { WORKER_SOURCE: JSON.stringify(worker) }));
const style = await bundle('page.css');
const parts = {
  policy: policy(),
  style: `<style>${style}</style>`,
  script: `<script>${script}</script>`,
};
// A function: in a replacement string `$&` means something, and scripts have it.
const html = readFileSync(join(PAGE, 'index.html'), 'utf8').replace(
  /<!--(policy|style|script)-->/g,
  (_, name) => parts[name],
);
writeWhole(html);

async function bundle(entry, define = {}) {
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: [join(PAGE, entry)],
    bundle: true,
    platform: 'browser',
    format: 'iife',
    target: ['chrome109', 'firefox115', 'safari16.4'],
    minify: true,
    charset: 'utf8',
    legalComments: 'none',
    write: false,
    define,
  });
  return outputFiles[0].text.trimEnd();
}

/** HTML ends a script wherever these characters are. */
function inScript(text) {
  return text.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');
}

/** Nothing but this page's own script may run, and nothing may be fetched or sent. */
function policy() {
  const hash = text => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  const rules = [
    "default-src 'none'",
    `script-src ${hash(script)}`,
    `style-src ${hash(style)}`,
    'worker-src blob:',
    "base-uri 'none'",
    "form-action 'none'",
  ];
  return `<meta http-equiv="Content-Security-Policy" content="${rules.join('; ')}">`;
}

/** Whole or not at all, and only where it has changed: others may be reading it. */
function writeWhole(text) {
  if (existsSync(TARGET) && readFileSync(TARGET, 'utf8') === text) return;
  mkdirSync(dirname(TARGET), { recursive: true });
  const partial = `${TARGET}.${process.pid}`;
  writeFileSync(partial, text);
  renameSync(partial, TARGET);
}
