/**
 * Files to be spoiled, one rule at a time, and what the verifier says of them.
 *
 * @module
 */
import test from 'ava';
import {
  type ElfFile,
  elfBytes,
  type Finding,
  PT,
  readElf,
  type Severity,
  verifyElf,
} from '../../../../formats/elf/index.ts';
import { viewOf } from '../../../../formats/struct.ts';
import { core } from './core.ts';
import { type Spoil, setSection, setSegment, spoiled } from './spoil.ts';
import { bytesOf, compile, onDisk, run } from './tools.ts';

const PROGRAM = `#include <stdio.h>
__thread int thread = 3, thread_zero;
int data[100] = {1}, bss[9000];
static const char *names[] = {"a", "b"};
__attribute__((constructor)) static void construct(void) { thread++; }
int f(int x) { return x + thread + thread_zero + bss[x] + data[x] + (int)(long)names[x]; }
int main(void) { printf("%d\\n", f(1)); return 0; }
`;
/** A section group comes with a comdat. */
const COMDAT = `${PROGRAM}
__asm__(".section .text.g,\\"axG\\",@progbits,g,comdat\\n.globl g\\n.type g,@function\\ng: ret\\n.text");
`;

/** Two versions, both hash tables, relative relocations in a table of their own. */
const LIBRARY_FLAGS = ['-shared', '-fPIC', '-Wl,--hash-style=both', '-Wl,-z,pack-relative-relocs'];

const makers = {
  pie: () => compile(PROGRAM, ['-O1', '-pie', '-fPIE']),
  static: () => compile(PROGRAM, ['-O1', '-static', '-no-pie']),
  library: () => compile(PROGRAM, ['-O1', ...LIBRARY_FLAGS, versionScript()]),
  object: () => compile(COMDAT, ['-O1', '-c', '-g']),
  compressed: () => compile(PROGRAM, ['-O1', '-c', '-g', '-gz=zlib']),
  core: () => onDisk(elfBytes(core([new Uint8Array(0x1000).fill(5), new Uint8Array(0x1000).fill(6)]))),
} as const;
export type Base = keyof typeof makers;

function versionScript(): string {
  return `-Wl,--version-script=${onDisk(new TextEncoder().encode('V1 { global: f; local: *; };'))}`;
}

const made = new Map<Base, Uint8Array>();

/** The bytes of a sound file, compiled once. */
export function base(name: Base): Uint8Array {
  const known = made.get(name) ?? bytesOf(makers[name]());
  made.set(name, known);
  return known;
}

/** What is broken, the code of the finding, the file, and how. */
export type Breakage = readonly [
  what: string,
  severity: Severity,
  code: string,
  base: Base,
  ...spoils: Spoil[],
];

export const findingsIn = (bytes: Uint8Array): Finding[] => verifyElf(readElf(bytes));

/** A test for each: the spoiled file has the finding, which the sound one has not. */
export function testBreakages(breakages: readonly Breakage[]): void {
  for (const [what, severity, code, name, ...spoils] of breakages) {
    test(`verifyElf() finds ${what}: ${code}`, t => {
      t.deepEqual(findingsIn(base(name)), []);
      const found = findingsIn(spoiled(base(name), ...spoils));
      const finding = found.find(one => one.code === code && one.severity === severity);
      t.truthy(
        finding,
        JSON.stringify(found, (_, value) => (typeof value === 'bigint' ? `${value}` : value)),
      );
      t.regex(finding?.message ?? '', /^ELF: /);
    });
  }
}

/** The file that these bytes are, for finding places in it. */
const read = (bytes: Uint8Array): ElfFile => readElf(bytes);

/** Changes fields of the first segment of this type; `fields` may need what it was. */
export const segment =
  (type: number, fields: Parameters<typeof setSegment>[1], which = 0): Spoil =>
  bytes => {
    const indices = [...read(bytes).segments.entries()].filter(([, one]) => one.type === type);
    return setSegment(indices[which]?.[0] ?? fail(`segment of type ${type}`), fields)(bytes);
  };

/** Changes fields of the section of this name. */
export const section =
  (name: string, fields: Parameters<typeof setSection>[1]): Spoil =>
  bytes => {
    const index = read(bytes).sections.findIndex(one => one.name === name);
    return setSection(index < 0 ? fail(`section ${name}`) : index, fields)(bytes);
  };

/** Changes bytes of a section, from its `offset` on. */
export const contents =
  (name: string, offset: number, ...values: readonly number[]): Spoil =>
  bytes => {
    const found = read(bytes).sections.find(one => one.name === name);
    bytes.set(values, (found?.offset ?? fail(`section ${name}`)) + offset);
    return undefined;
  };

/** Changes a 32-bit or 64-bit word of a section. */
export const word =
  (name: string, offset: number, value: number | bigint): Spoil =>
  bytes => {
    const found = read(bytes).sections.find(one => one.name === name);
    const at = (found?.offset ?? fail(`section ${name}`)) + offset;
    if (typeof value === 'bigint') viewOf(bytes).setBigUint64(at, value, true);
    else viewOf(bytes).setUint32(at, value, true);
    return undefined;
  };

/** Changes a dynamic entry: its tag, its value, or both. */
export const dynamic =
  (tag: number, change: { readonly tag?: number; readonly value?: bigint }): Spoil =>
  bytes => {
    const view = viewOf(bytes);
    const found = read(bytes).segments.find(({ type }) => type === PT.PT_DYNAMIC) ?? fail('PT_DYNAMIC');
    for (let at = found.offset; at < found.offset + found.fileSize; at += 16) {
      if (view.getBigUint64(at, true) !== BigInt(tag)) continue;
      if (change.tag !== undefined) view.setBigUint64(at, BigInt(change.tag), true);
      if (change.value !== undefined) view.setBigUint64(at + 8, change.value, true);
      return undefined;
    }
    return fail(`dynamic entry ${tag}`);
  };

function fail(what: string): never {
  throw new Error(`the file to be spoiled has no ${what}`);
}

/** What eu-elflint has against these bytes, but for notes whose owner it does not know. */
export const elflintFindings = (bytes: Uint8Array): string[] =>
  run('eu-elflint', ['--gnu-ld', onDisk(bytes)])
    .stdout.split('\n')
    .filter(line => line !== '' && line !== 'No errors' && !line.includes('unknown object file note type'));
