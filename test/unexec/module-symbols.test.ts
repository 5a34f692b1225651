import { execFileSync } from 'node:child_process';
import { copyFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { readBuildId, readElf, STT } from '../../formats/elf/index.ts';
import { FileSource } from '../../unexec/file-source.ts';
import type { Module } from '../../unexec/image.ts';
import { findSymbol, rawSymbols, symbolsNamed } from '../../unexec/module-symbols.ts';
import { compileTo } from '../support/compile.ts';
import { sandbox } from '../support/sandbox.ts';

const directory = sandbox('module-symbols');
const BIAS = 0x5555_0000_0000n;
const source = join(directory, 'names.c');
writeFileSync(
  source,
  `int tail = 1;
   int with_a_tail = 2;
   static volatile int hidden_tail = 3;
   extern int missing __attribute__((weak));
   __thread int per_thread = 4;
   __attribute__((noinline)) int function(void) { return tail + with_a_tail + hidden_tail + per_thread; }
   int main(void) { return &missing ? missing : function(); }
  `,
);

/** Compiled once for each set of flags. */
function build(name: string, ...flags: string[]): Module {
  const path = join(directory, name);
  compileTo(path, source, flags);
  return moduleOf(path);
}

function moduleOf(path: string, facts: Partial<Module> = {}): Module {
  const file = new FileSource(path);
  const buildId = readBuildId(readElf(file)) ?? '';
  file.close();
  return { path, bias: BIAS, start: BIAS, end: BIAS + 0x10_0000n, buildId, ...facts };
}

/** name -> address of the process, as nm sees the file. */
function nm(path: string, ...flags: string[]): Map<string, bigint> {
  const lines = execFileSync('nm', [...flags, path], { encoding: 'utf8' }).split('\n');
  return new Map(
    lines.flatMap(line => {
      const [, address, name] = /^(\w{16}) \w (\S+?)(?:@.*)?$/.exec(line) ?? [];
      return address === undefined || name === undefined ? [] : [[name, BigInt(`0x${address}`) + BIAS]];
    }),
  );
}

const full = build('full', '-rdynamic');
const stripped = build('stripped', '-rdynamic', '-s');

test('symbolsNamed() finds functions and objects at the addresses that nm gives', t => {
  const expected = nm(full.path);
  const names = ['main', 'function', 'tail', 'with_a_tail', 'hidden_tail'];
  const found = symbolsNamed(full, names, 'all');
  t.deepEqual(found.map(({ name }) => name).sort(), names.toSorted());
  t.is(found.length, names.length);
  for (const { name, address } of found) t.is(expected.get(name), address, name);
});

test('symbolsNamed() tells functions from objects', t => {
  const found = symbolsNamed(full, ['main', 'tail'], 'all');
  t.deepEqual(Object.fromEntries(found.map(({ name, type }) => [name, type])), {
    main: STT.STT_FUNC,
    tail: STT.STT_OBJECT,
  });
});

test('symbolsNamed() finds neither what is undefined, nor per thread, nor only the tail of a name', t => {
  t.deepEqual(symbolsNamed(full, ['missing', 'per_thread', 'a_tail', 'ail', '', 'nowhere'], 'all'), []);
});

test('symbolsNamed() looks into the dynamic table where it is asked to', t => {
  t.is(symbolsNamed(full, ['hidden_tail'], 'dynamic').length, 0);
  t.is(symbolsNamed(full, ['tail'], 'dynamic').length, 1);
});

test('symbolsNamed() uses the dynamic table of a stripped file', t => {
  const expected = nm(stripped.path, '-D');
  const found = symbolsNamed(stripped, ['main', 'tail', 'hidden_tail'], 'all');
  t.deepEqual(Object.fromEntries(found.map(({ name, address }) => [name, address])), {
    main: expected.get('main'),
    tail: expected.get('tail'),
  });
});

test('symbolsNamed() finds dynamic symbols without any section header', t => {
  const path = join(directory, 'headerless');
  execFileSync('llvm-objcopy', ['--strip-sections', stripped.path, path]);
  const found = symbolsNamed(moduleOf(path), ['main', 'with_a_tail'], 'all');
  const expected = nm(stripped.path, '-D');
  t.deepEqual(
    found.map(({ name, address }) => [name, address]).sort(),
    ['main', 'with_a_tail'].map(name => [name, expected.get(name)]),
  );
});

test('a file with another build-id is not asked', t => {
  t.is(rawSymbols({ ...full, buildId: 'ab'.repeat(20) }, 'all'), undefined);
  const other = build('other', '-DX', '-O3', '-no-pie');
  t.deepEqual(symbolsNamed({ ...full, path: other.path }, ['main'], 'all'), []);
});

test('a file that is gone, no ELF file, or cut off has no symbols', t => {
  t.is(rawSymbols({ ...full, path: join(directory, 'nothing') }, 'all'), undefined);
  t.is(rawSymbols({ ...full, path: source }, 'all'), undefined);
  const cut = join(directory, 'cut');
  copyFileSync(full.path, cut);
  truncateSync(cut, 3000);
  t.is(rawSymbols({ ...full, path: cut }, 'all'), undefined);
});

test('findSymbol() takes the first module that defines a name', t => {
  const second = { ...stripped, bias: 0x7000_0000_0000n };
  const gone = { ...full, path: join(directory, 'nothing') };
  t.is(findSymbol([gone, full, second], 'tail')?.address, nm(full.path).get('tail'));
  t.is(findSymbol([second, full], 'hidden_tail')?.address, nm(full.path).get('hidden_tail'));
  t.is(findSymbol([full, second], 'nowhere'), undefined);
});
