import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { run } from '../../support/run.ts';
import { ROOT } from '../../support/sandbox.ts';

const url = (path: string): string => pathToFileURL(join(ROOT, 'build', path)).href;

/** Where it runs, koffi does not exist: neither for import nor for require. */
const WITHOUT_KOFFI = `
import module from 'node:module';
const resolve = module._resolveFilename;
module._resolveFilename = (name, ...rest) => {
  if (name.startsWith('koffi')) throw new Error('Cannot find the native Koffi module');
  return resolve(name, ...rest);
};
module.register('data:text/javascript,' + encodeURIComponent(\`
  export const resolve = (name, context, next) => {
    if (name.startsWith('koffi')) throw new Error('no koffi');
    return next(name, context);
  };\`));
`;
const ON_DARWIN = `Object.defineProperty(process, 'platform', { value: 'darwin' });`;

/** What a module prints that runs after another one. */
async function runAfter(preload: string, text: string): Promise<string> {
  const module = (code: string): string => `data:text/javascript,${encodeURIComponent(code)}`;
  const { status, stdout, stderr } = await run(process.execPath, {
    args: ['--import', module(preload), '--input-type=module', '--eval', text],
  });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

const IMPORT = `const { freeze } = await import(${JSON.stringify(url('unexec/index.js'))});
console.log(typeof freeze);`;
const CALL = `const { syscall } = await import(${JSON.stringify(url('unexec/linux/libc.js'))});
try { syscall('kcmp'); } catch (error) { console.log(error.name, error.code, error.message); }`;

test('koffi is missing where the tests say so', async t => {
  const stdout = await runAfter(
    WITHOUT_KOFFI,
    `import('koffi').then(() => console.log('found'), error => console.log(error.message));`,
  );
  t.is(stdout, 'no koffi\n');
});

for (const [where, preload] of [
  ['without koffi', WITHOUT_KOFFI],
  ['on macOS', WITHOUT_KOFFI + ON_DARWIN],
] as const) {
  test(`the library can be imported ${where}`, async t => {
    t.is(await runAfter(preload, IMPORT), 'function\n');
  });
}

test('a call into libc says so where koffi is missing', async t => {
  t.is(
    await runAfter(WITHOUT_KOFFI, CALL),
    'UnexecError FFI_MISSING koffi, which calls libc for us, cannot be loaded: Cannot find the native Koffi module\n',
  );
});

test('a call into libc says that it needs Linux elsewhere', async t => {
  t.is(
    await runAfter(ON_DARWIN, CALL),
    'UnexecError UNSUPPORTED_MACHINE processes can be traced on linux only, and this is darwin\n',
  );
});

test('a freeze is refused on macOS, without koffi', async t => {
  const stdout = await runAfter(
    WITHOUT_KOFFI + ON_DARWIN,
    `const { freeze } = await import(${JSON.stringify(url('unexec/index.js'))});
     await freeze('perl', './out').catch(error => console.log(error.code));`,
  );
  t.is(stdout, 'UNSUPPORTED_MACHINE\n');
});
