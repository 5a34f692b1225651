/** The other way round: frozen on Debian's kernel 6.1, on an emulated CPU, and resumed on this one. */
import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readManifest } from '../../unexec/read-manifest.ts';
import { runMachine } from '../support/emulated-machine.ts';
import { compileFixture } from '../support/fixtures.ts';
import { run } from '../support/run.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';

const directory = sandbox('frozen-there');

/** What a program needs of this machine to run on another one: itself, and its libraries. */
function withLibraries(paths: readonly string[]): Record<string, string> {
  const libraries = paths.flatMap(path => {
    const listed = execFileSync('ldd', [path], { encoding: 'utf8' });
    return [...listed.matchAll(/(\/\S+) \(0x/g)].map(([, library]) => library ?? '');
  });
  return Object.fromEntries([...paths, ...libraries].map(path => [path, realpathSync(path)]));
}

test("a process that is frozen on Debian's kernel 6.1 goes on here", async t => {
  const threads = compileFixture('state/threads.c');
  const whole = await run(threads);
  const own = ['package.json', 'build/cli', 'build/unexec', 'build/formats'];
  // What package.json depends on, with what that depends on.
  const packages = [
    '@webassemblyjs/leb128',
    '@xtuc/long',
    'commander',
    'koffi',
    '@koromix',
    'tmp-promise',
    'tmp',
  ];
  const parts = [...own, ...packages.map(name => `node_modules/${name}`)];
  const { output, status } = await runMachine({
    cpu: 'Haswell',
    memory: 2048,
    files: {
      ...withLibraries([process.execPath, threads]),
      '/program': threads,
      ...Object.fromEntries(parts.map(path => [`/unexec/${path}`, join(ROOT, path)])),
    },
    script: `for level in native x86-64-v3; do
        ${process.execPath} /unexec/build/cli/main.js --cpu $level --cwd caller /program /out/$level || exit 1
      done`,
    collect: directory,
    timeout: 200,
  });
  t.is(status, 0, output);
  const path = join(directory, 'x86-64-v3');
  t.regex(readManifest(path).kernel.release, /^6\.1\./);
  for (const name of ['x86-64-v3', 'native']) chmodSync(join(directory, name), 0o755);
  const second = await run(path);
  t.is(second.stdout, whole.stdout);
  t.is(second.stderr, '');
  t.is(second.status, 0);
  // Without --cpu it binds functions as they are called, by an XSAVE that has no room for AVX-512 here.
  const native = await run(join(directory, 'native'));
  const flags = readFileSync('/proc/cpuinfo', 'utf8');
  if (/\bavx512f\b/.test(flags)) t.regex(native.stderr, /save no AVX-512 \(freeze with --cpu/);
  else t.is(native.stdout, whole.stdout);
});
