import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { elfBytes, newElf, readDynamicSymbols, readElf } from '../../../../formats/elf/index.ts';
import type { Vdso } from '../../../../unexec/image.ts';
import { systemCallVdso } from '../../../../unexec/styles/resume/vdso.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('vdso');

/** The vdso of this very process. */
function ownVdso(): Vdso {
  const maps = readFileSync('/proc/self/maps', 'utf8');
  const range = /^(\w+)-(\w+) .*\[vdso\]$/m.exec(maps);
  const vvar = /^(\w+)-\w+ .*\[vvar\]$/m.exec(maps);
  if (range === null || vvar === null) throw new Error('this kernel gives processes no vdso');
  const [start, end, vvarStart] = [range[1], range[2], vvar[1]].map(hex => BigInt(`0x${hex}`));
  if (start === undefined || end === undefined || vvarStart === undefined) throw new Error('no range');
  const bytes = new Uint8Array(Number(end - start));
  const memory = openSync('/proc/self/mem', 'r');
  try {
    readSync(memory, bytes, 0, bytes.length, Number(start));
  } finally {
    closeSync(memory);
  }
  return { start, size: bytes.length, vvarStart, bytes };
}

const vdso = ownVdso();
const calls: ReadonlyMap<string, number> = new Map([
  ['clock_gettime', 228],
  ['gettimeofday', 96],
  ['time', 201],
  ['getcpu', 309],
  ['clock_getres', 229],
]);

const plainName = (name: string): string => name.replace(/^__vdso_/, '');

test('systemCallVdso() replaces every function by its system call', t => {
  const bytes = systemCallVdso(vdso, 'x86_64');
  const symbols = readDynamicSymbols(readElf(vdso.bytes)).filter(({ value }) => value !== 0n);
  const replaced = symbols.filter(({ name }) => calls.has(plainName(name)));
  t.true(replaced.length >= 8, 'four functions, each by two names');
  for (const { name, value } of replaced) {
    const code = Buffer.from(bytes.subarray(Number(value), Number(value) + 8));
    t.is(code[0], 0xb8, `${name}: mov eax`);
    t.is(calls.get(plainName(name)), code.readUInt32LE(1), name);
    t.is(code.toString('hex', 5), '0f05c3', `${name}: syscall, ret`);
  }
  const functions = new Set(symbols.filter(({ type }) => type === 2).map(({ name }) => plainName(name)));
  const known = new Set([...calls.keys(), 'getrandom', 'sgx_enter_enclave']);
  t.deepEqual(
    [...functions].filter(name => !known.has(name)),
    [],
    'no function of this kernel is left as it was',
  );
});

test('systemCallVdso() lets functions without a system call of their own answer ENOSYS', t => {
  const bytes = systemCallVdso(vdso, 'x86_64');
  for (const { name, value } of readDynamicSymbols(readElf(vdso.bytes))) {
    if (value === 0n || !['getrandom', 'sgx_enter_enclave'].includes(plainName(name))) continue;
    const code = Buffer.from(bytes.subarray(Number(value), Number(value) + 8));
    t.is(code.toString('hex'), '48c7c0daffffffc3', name); // mov rax, -38; ret
  }
  t.pass();
});

test('systemCallVdso() changes nothing but its functions, and not the original', t => {
  const before = vdso.bytes.slice();
  const bytes = systemCallVdso(vdso, 'x86_64');
  t.deepEqual(vdso.bytes, before);
  t.is(bytes.length, before.length);
  const starts = readDynamicSymbols(readElf(before)).map(({ value }) => Number(value));
  const strange = [...bytes.keys()].filter(
    at => bytes[at] !== before[at] && !starts.some(start => at >= start && at < start + 8),
  );
  t.deepEqual(strange, []);
});

test('systemCallVdso() gives a sound ELF file, as readelf and objdump see it', t => {
  const path = join(directory, 'vdso.so');
  writeFileSync(path, systemCallVdso(vdso, 'x86_64'));
  const symbols = execFileSync('readelf', ['--dyn-syms', '-W', path], { encoding: 'utf8' });
  t.regex(symbols, /__vdso_clock_gettime/);
  const code = execFileSync('objdump', ['-d', '--disassemble=__vdso_clock_gettime', path], {
    encoding: 'utf8',
  });
  t.regex(code, /mov +\$0xe4,%eax\n.*syscall *\n.*ret/);
});

test('systemCallVdso() refuses a symbol that lies outside', t => {
  const symbol = readDynamicSymbols(readElf(vdso.bytes)).find(({ name }) => name === '__vdso_time');
  const cut = { ...vdso, bytes: vdso.bytes.slice() };
  const view = new DataView(cut.bytes.buffer);
  let moved = 0;
  for (let at = 0; at + 8 <= cut.bytes.length; at += 8) {
    if (view.getBigUint64(at, true) !== symbol?.value) continue;
    view.setBigUint64(at, BigInt(cut.bytes.length - 4), true);
    moved++;
  }
  t.true(moved > 0);
  t.throws(() => systemCallVdso(cut, 'x86_64'), { code: 'VDSO_UNKNOWN' });
});

test('systemCallVdso() leaves a vdso without symbols as it is', t => {
  const bytes = elfBytes(newElf({ type: 3, machine: 62 }));
  t.deepEqual(systemCallVdso({ ...vdso, bytes }, 'x86_64'), bytes);
});
