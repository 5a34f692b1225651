/**
 * The architecture, enforced: `cli -> unexec -> formats`, never back; FFI in unexec/linux only; nothing of
 * Node in formats/, which must bundle for a browser; the one package that formats/ uses in its wrapper only;
 * and only the command line ends the process.
 *
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** Layers, lowest first: each may import what is below it. */
const LAYERS = ['formats', 'unexec', 'cli'];
/** The packages that formats/ may import, each in one file that wraps it. They run in a browser too. */
const WRAPPED = new Map([['@webassemblyjs/leb128', join('formats', 'leb128.ts')]]);
/** import and export declarations, and dynamic imports, with a constant specifier. */
const IMPORT = /(?:\bfrom\s*|\bimport\s*\(?\s*)['"]([^'"]+)['"]/g;

const faults = LAYERS.flatMap(layer => sourcesOf(layer).flatMap(path => faultsOf(path, layer)));
faults.push(...(await browserFaults()));
for (const fault of faults) console.error(`layers: ${fault}`);
if (faults.length > 0) process.exit(1);

function sourcesOf(layer) {
  return readdirSync(join(ROOT, layer), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && entry.name.endsWith('.ts'))
    .map(entry => relative(ROOT, join(entry.parentPath, entry.name)));
}

function faultsOf(path, layer) {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const faults = [...text.matchAll(IMPORT)].flatMap(([, specifier = '']) => {
    const reason = wrongImport(path, layer, specifier);
    return reason === undefined ? [] : [`${path} imports ${specifier}: ${reason}`];
  });
  if (layer !== 'cli' && /\bprocess\.(exit|exitCode|abort)\b/.test(withoutComments(text))) {
    faults.push(`${path} ends the process: only cli/ may`);
  }
  return faults;
}

function wrongImport(path, layer, specifier) {
  if (!specifier.startsWith('.')) {
    const wrapper = WRAPPED.get(specifier);
    if (wrapper !== undefined) return path === wrapper ? undefined : `only ${wrapper} may`;
    if (layer === 'formats') return 'formats/ imports nothing from outside';
    if (specifier === 'koffi' && !path.startsWith(join('unexec', 'linux') + sep))
      return 'FFI is in unexec/linux/ only';
    return undefined;
  }
  const [room = ''] = relative(ROOT, resolve(ROOT, dirname(path), specifier)).split(sep);
  const target = LAYERS.indexOf(room);
  if (target < 0) return `${room}/ is no layer of the product`;
  return target > LAYERS.indexOf(layer) ? `${layer}/ must not know ${room}/` : undefined;
}

function withoutComments(text) {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
}

/** Bundles every entry of formats/ as a browser would get it; a node: import that slipped in fails. */
async function browserFaults() {
  const entries = sourcesOf('formats').filter(path => path.endsWith(`${sep}index.ts`));
  const { errors } = await build({
    absWorkingDir: ROOT,
    entryPoints: entries,
    bundle: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    outdir: 'unused',
    logLevel: 'silent',
  }).catch(error => ({ errors: error.errors ?? [{ text: String(error) }] }));
  return errors.map(({ text, location }) => `browser bundle: ${location?.file ?? 'formats'}: ${text}`);
}
