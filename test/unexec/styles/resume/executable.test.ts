import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { PAGE } from '../../../../unexec/image.ts';
import { readManifest } from '../../../../unexec/read-manifest.ts';
import { compileFixture } from '../../../support/fixtures.ts';
import { freezeProgram } from '../../../support/freeze-program.ts';
import { run } from '../../../support/run.ts';
import { freezeFixture, freshDirectory, sameResult } from '../../../support/same-result.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('executable');
const frozen = freezeProgram(compileFixture('image/sparse.c'), join(directory, 'sparse'), {
  at: 'stop',
  args: [freshDirectory()],
});

/** stdout of a judge that must say nothing on stderr and end with 0. */
function judge(command: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (error !== undefined) throw new Error(`${command} could not be run: is its Debian package installed?`);
  if (status !== 0 || stderr !== '') throw new Error(`${command}: status ${status}\n${stderr}`);
  return stdout;
}

test('a frozen program is an executable to readelf, without a warning', async t => {
  const { path } = await frozen;
  const text = judge('readelf', '-hlSnW', path);
  t.notRegex(text, /<corrupt|<unknown>: /);
  t.regex(text, /Type: +EXEC/);
  t.regex(text, /LOAD +0x000000 .* R E 0x1000/);
  t.regex(text, /GNU_STACK .* RW /);
  t.regex(text, /unexec +0x/);
  t.regex(text, /\.unexec\.data +PROGBITS/);
});

test('a frozen program is sound to llvm-readobj', async t => {
  const { path } = await frozen;
  const text = judge('llvm-readobj', '--file-headers', '--program-headers', '--sections', path);
  t.regex(text, /Type: Executable/);
});

test('a frozen program has symbols that readelf shows without a warning', async t => {
  const { path } = await frozen;
  const text = judge('readelf', '-sW', path);
  t.notRegex(text, /<corrupt|<OS specific>|<unknown>/);
  for (const [name, type] of [
    ['main', 'FUNC +GLOBAL'],
    ['sum_of', 'FUNC +GLOBAL'],
    ['an_initialised_variable', 'OBJECT +GLOBAL'],
    ['a_local_variable', 'OBJECT +LOCAL'],
    ['malloc', 'FUNC +LOCAL'],
  ]) {
    t.regex(text, new RegExp(`${type} .* ${name}(@.*)?$`, 'm'), name);
  }
});

test('gdb knows main of a frozen program, and in which section it is', async t => {
  const { path } = await frozen;
  const info = (...commands: string[]): string =>
    execFileSync('gdb', ['-batch', '-nx', ...commands.flatMap(command => ['-ex', command]), path], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  t.regex(info('info symbol main'), /^main in section sparse-\w+\.r-x/m);
  t.regex(info('info symbol malloc'), /^(malloc|__libc_malloc)\b.* in section libc\.so\.6\.r-x/m);
  t.regex(info('disassemble main'), /Dump of assembler code for function main/);
  t.regex(info('print *(int *)&an_initialised_variable'), /= 42$/m);
  t.regex(info('print *(int *)&a_local_variable'), /= 17$/m);
});

test('the file is smaller than the memory, and takes less on the disk than it is long', async t => {
  const { path, report } = await frozen;
  const { size, blocks } = statSync(path);
  t.is(size, report.fileSize);
  t.true(report.memoryBytes > 1 << 30);
  t.true(size < report.memoryBytes / 10, `${size} bytes for ${report.memoryBytes}`);
  t.true(blocks * 512 < size - 8192 * PAGE * 0.9, `${blocks * 512} bytes on disk of ${size}`);
  const stored = readManifest(path).regions.reduce((sum, region) => sum + region.stored, 0);
  t.true(blocks * 512 < stored + (2 << 20), 'what is on the disk is what is stored, and tables');
});

test('sparse memory and pages of zeros come back', async t => {
  const { stdout } = await sameResult(t, 'image/sparse.c');
  t.regex(stdout, /wrong 0, 42/);
});

test('a part of the stack that may only be read comes back', async t => {
  const { stdout } = await sameResult(t, 'image/guarded-stack.c');
  t.regex(stdout, /^guarded ss$/m);
});

test('every page that is stored holds something', async t => {
  const { path } = await frozen;
  const file = readFileSync(path);
  const { regions } = readManifest(path);
  const sections = judge('readelf', '-SW', path)
    .split('\n')
    .flatMap(line => {
      const [, address, offset, size] =
        /PROGBITS +(\w{16}) (\w+) (\w+) \d+ +\w*A/.exec(line)?.map(hex => Number.parseInt(hex, 16)) ?? [];
      return address === undefined || offset === undefined || size === undefined
        ? []
        : [{ address, offset, size }];
    });
  for (const region of regions) {
    const start = Number(region.start);
    let found = 0;
    for (const { address, offset, size } of sections) {
      if (address < start || address >= start + region.size) continue;
      for (let at = offset; at < offset + size; at += PAGE) {
        if (!file.subarray(at, at + PAGE).every(byte => byte === 0)) found += PAGE;
      }
    }
    t.is(region.stored, found, region.name);
  }
});

for (const [symbols, kept, missing] of [
  ['program', ['main', 'sum_of'], ['malloc']],
  ['none', [], ['main', 'malloc']],
] as const) {
  test(`symbols of choice '${symbols}' are kept, others are not`, async t => {
    const { frozen: image } = await freezeFixture('image/sparse.c', { symbols });
    const text = judge('readelf', '-sW', image.path);
    for (const name of kept) t.regex(text, new RegExp(` ${name}$`, 'm'));
    for (const name of missing) t.notRegex(text, new RegExp(` ${name}(@.*)?$`, 'm'));
    t.is((await run(image.path)).status, 0);
  });
}

test('eu-elflint finds nothing but what sections outside of segments bring with them', async t => {
  const { path } = await frozen;
  const { stdout } = spawnSync('eu-elflint', ['--gnu-ld', path], { encoding: 'utf8' });
  const meant = [
    /alloc flag set but section not in any loaded segment/,
    /unknown object file note type [12] with owner name 'unexec'/,
    /loadable segment \[2\] is writable but contains no writable sections/,
    /does not fit completely in referenced section/,
    /_GLOBAL_OFFSET_TABLE_ symbol/,
  ];
  const others = stdout.split('\n').filter(line => line !== '' && !meant.some(pattern => pattern.test(line)));
  t.deepEqual(others, []);
});
