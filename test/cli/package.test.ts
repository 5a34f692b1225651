/**
 * The package as it is published: packed, installed with npm under a prefix of its own, and used from
 * there, as a command, as a library and for its header.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import { perlArguments } from '../support/command.ts';
import { conformanceFile } from '../support/conformance-files.ts';
import { run } from '../support/run.ts';
import { ROOT, sandbox } from '../support/sandbox.ts';

const directory = sandbox('package');
const prefix = join(directory, 'prefix');
const installed = join(prefix, 'lib/node_modules/unexec');
const command = join(prefix, 'bin/unexec');

const npm = (...args: readonly string[]): string =>
  execFileSync('npm', [...args, '--loglevel=error'], { cwd: ROOT, encoding: 'utf8' });

test.before(() => {
  // What the tests were compiled to is what is packed: no scripts, which would compile again.
  const packed: { filename: string }[] = JSON.parse(
    npm('pack', '--json', '--ignore-scripts', `--pack-destination=${directory}`),
  );
  const tarball = join(directory, packed[0]?.filename ?? '');
  npm('install', '--global', `--prefix=${prefix}`, '--prefer-offline', '--no-audit', '--no-fund', tarball);
});

/** Runs a module that imports the package by its name. */
async function runModule(text: string, ...args: readonly string[]): Promise<string> {
  const project = join(directory, `project${count++}`);
  mkdirSync(join(project, 'node_modules'), { recursive: true });
  execFileSync('ln', ['-s', installed, join(project, 'node_modules/unexec')]);
  writeFileSync(join(project, 'main.mjs'), text);
  const { status, stdout, stderr } = await run(process.execPath, {
    args: [join(project, 'main.mjs'), ...args],
    cwd: project,
  });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}
let count = 0;

test('the installed command prints its version', async t => {
  const { version }: { version: string } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  t.is((await run(command, { args: ['--version'] })).stdout, `${version}\n`);
});

test('the installed command freezes a program', async t => {
  const target = join(directory, 'by-command');
  const { status, stderr } = await run(command, { args: perlArguments(target, 'print "resumed"') });
  t.is(status, 0, stderr);
  t.is((await run(target)).stdout, 'resumed');
});

test('the installed library freezes a program, and tells why it cannot', async t => {
  const target = join(directory, 'by-library');
  const stdout = await runModule(
    `import { freeze, readManifest, UnexecError } from 'unexec';
     const target = process.argv[2];
     const args = ['-e', 'kill STOP => $$; print "resumed"'];
     const report = await freeze('/usr/bin/perl', target, { args, at: 'stop' });
     const error = await freeze('/usr/bin/perl', target, { args: ['-e', '0'] }).catch(error => error);
     console.log(JSON.stringify([
       report.reached,
       readManifest(target).program,
       error instanceof UnexecError,
       error.code,
     ]));`,
    target,
  );
  t.deepEqual(JSON.parse(stdout), ['stop', '/usr/bin/perl', true, 'ENDED_BEFORE_FREEZE_POINT']);
  t.is((await run(target)).stdout, 'resumed');
});

test('the installed formats/elf reads a file', async t => {
  const stdout = await runModule(
    `import { readFileSync } from 'node:fs';
     import { bytesSource, readElf } from 'unexec/formats/elf';
     console.log(readElf(bytesSource(readFileSync('/bin/true'))).sections.length > 10);`,
  );
  t.is(stdout, 'true\n');
});

test('the installed formats/macho reads a file', async t => {
  const { path } = conformanceFile('fsevents fsevents.node');
  const stdout = await runModule(
    `import { readFileSync } from 'node:fs';
     import { bytesSource, readFat, readMachO } from 'unexec/formats/macho';
     const { architectures } = readFat(bytesSource(readFileSync(${JSON.stringify(path)})));
     console.log(architectures.map(({ contents }) => readMachO(contents).header.filetype).join());`,
  );
  t.is(stdout, '8,8\n');
});

test('the installed formats/describe describes a file', async t => {
  const stdout = await runModule(
    `import { readFileSync } from 'node:fs';
     import { bytesSource, describeFile } from 'unexec/formats/describe';
     console.log(describeFile(bytesSource(readFileSync('/bin/true'))).images[0].kind);`,
  );
  t.is(stdout, 'position-independent executable\n');
});

test('the installed command writes the page of page maps', async t => {
  const target = join(directory, 'map.html');
  const { status, stderr } = await run(command, { args: ['map', '/bin/true', '-o', target] });
  t.is(status, 0, stderr);
  t.regex(readFileSync(target, 'utf8'), /^<!doctype html>[\s\S]*<script id="data"/);
});

test('the installed header is found and compiles, in C and in C++', async t => {
  const header = (
    await runModule(
      `import { createRequire } from 'node:module';
       process.stdout.write(createRequire(import.meta.url).resolve('unexec/unexec.h'));`,
    )
  ).trim();
  const source = join(directory, 'uses-header.c');
  writeFileSync(
    source,
    `#include ${JSON.stringify(header)}\nint main(void) { struct unexec_args a; return unexec_freeze(&a); }\n`,
  );
  for (const compiler of [['gcc'], ['g++', '-x', 'c++']]) {
    const [name = '', ...flags] = compiler;
    const program = join(directory, name);
    execFileSync(name, ['-Wall', '-Wextra', '-Werror', ...flags, source, '-o', program]);
    t.is((await run(program)).status, 0, 'nobody listens: the first life goes on');
  }
});

test('the installed runtime is found and links, in C and in C++', async t => {
  const runtime = (
    await runModule(
      `import { createRequire } from 'node:module';
       process.stdout.write(createRequire(import.meta.url).resolve('unexec/unexec-runtime.c'));`,
    )
  ).trim();
  const object = join(directory, 'unexec-runtime.o');
  execFileSync('gcc', ['-O2', '-Wall', '-Wextra', '-Werror', '-c', runtime, '-o', object]);
  const source = join(directory, 'uses-runtime.cc');
  const program = join(directory, 'uses-runtime');
  writeFileSync(
    source,
    `#include "unexec.h"
     #include <memory>
     int main() { return unexec_restarted() + (*std::make_unique<int>(0) + (unexec_zone_check(nullptr) != nullptr)); }`,
  );
  execFileSync('g++', ['-Wall', '-Werror', '-I', dirname(runtime), object, source, '-o', program]);
  t.is((await run(program)).status, 0);
});

test('the package has types for what it exports, and no sources, tests or maps', t => {
  const files = execFileSync('find', ['.', '-type', 'f', '-not', '-path', './node_modules/*'], {
    cwd: installed,
    encoding: 'utf8',
  }).split('\n');
  for (const file of ['build/unexec/index.d.ts', 'build/formats/elf/index.d.ts', 'LICENSE', 'README.md']) {
    t.true(files.includes(`./${file}`), file);
  }
  t.deepEqual(
    files.filter(file => /\.map$|(?<!\.d)\.ts$|build\/(test|samples)/.test(file)),
    [],
  );
});
