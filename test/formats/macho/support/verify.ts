/**
 * Mach-O files to be spoiled, one rule at a time, and what the verifier says of them.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  type Finding,
  hashPages,
  LC,
  readCodeSignature,
  readMachO,
  type Severity,
  verifyMachO,
} from '../../../../formats/macho/index.ts';
import { bytesSource } from '../../../../formats/source.ts';
import { Editor } from '../../../support/macho/edit.ts';
import {
  compileFlags,
  compileMachO,
  type MachOArch,
  type MachOProgram,
} from '../../../support/macho/toolchain.ts';
import { sandbox } from '../../../support/sandbox.ts';

const directory = sandbox('macho-verify');
const source = join(directory, 'spoiled.c');
/** `volatile`: a constructor whose effect is known would be run by the compiler. */
const SOURCE = `#include <stdio.h>
#include <stdlib.h>
static volatile int zero[9000]; volatile int one = 1; const int fixed[] = {1, 2, 3};
_Thread_local int local = 7; _Thread_local int local_zero;
static int f(int x) { return x + 1; } static int g(int x) { return x + 2; }
int (*table[])(int) = {f, g, f}; const char *const names[] = {"f", "g"}; void *imported = (void *)&malloc;
__attribute__((constructor)) static void first(void) { zero[one] = one; }
int main(int argc, char **argv) {
  printf("%s %d\\n", names[argc & 1], table[argc % 3](zero[argc]) + local + local_zero);
  return fixed[argc % 3] + (argv == 0);
}`;

let count = 0;

function linked(how: Omit<MachOProgram, 'sources'>): string {
  return compileMachO({ sources: [sourcePath()], directory, name: `linked-${++count}`, ...how });
}

function object(arch: MachOArch, ...flags: readonly string[]): string {
  const path = join(directory, `object-${++count}.o`);
  execFileSync('clang-19', [...compileFlags(arch), ...flags, '-c', sourcePath(), '-o', path]);
  return path;
}

function dsym(): string {
  const path = join(directory, `debug-${++count}`);
  execFileSync('dsymutil-19', ['--flat', '-o', path, base('chained')]);
  return path;
}

function sourcePath(): string {
  writeFileSync(source, SOURCE);
  return source;
}

const makers = {
  /** x86_64, opcodes, unsigned. */
  info: () => linked({ arch: 'x86_64', fixups: 'dyld-info', signed: false }),
  /** x86_64, chained fixups, unsigned. */
  chained: () => linked({ arch: 'x86_64', fixups: 'chained', signed: false }),
  arm: () => linked({ arch: 'arm64', fixups: 'chained' }),
  'arm-info': () => linked({ arch: 'arm64', fixups: 'dyld-info' }),
  'no-pie': () => linked({ arch: 'x86_64', fixups: 'dyld-info', pie: false, signed: false }),
  offsets: () => linked({ arch: 'x86_64', fixups: 'chained', initOffsets: true, signed: false }),
  dylib: () => linked({ arch: 'x86_64', fixups: 'dyld-info', kind: 'dylib', signed: false }),
  bundle: () => linked({ arch: 'arm64', fixups: 'chained', kind: 'bundle' }),
  object: () => object('x86_64'),
  'arm-object': () => object('arm64', '-g'),
  dsym: () => dsym(),
} as const;
export type Base = keyof typeof makers;
export const BASES = Object.keys(makers).filter((name): name is Base => name in makers);

const made = new Map<Base, string>();

/** Path of a sound file, made once. */
export function base(name: Base): string {
  const path = made.get(name) ?? makers[name]();
  made.set(name, path);
  return path;
}

export const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

export const findingsIn = (bytes: Uint8Array): Finding[] => verifyMachO(readMachO(bytes), sha256);

/** Changes a file in memory. */
export type Edit = (file: Editor) => void;

/** What is broken, the code of the finding, the file, and how. */
export type Breakage = readonly [
  what: string,
  severity: Severity,
  code: string,
  base: Base,
  ...edits: Edit[],
];

/** A test for each: the spoiled file has the finding, which the sound one has not. */
export function testBreakages(breakages: readonly Breakage[]): void {
  for (const [what, severity, code, name, ...edits] of breakages) {
    test(`verifyMachO() finds ${what}: ${code}`, t => {
      const file = new Editor(base(name));
      t.deepEqual(findingsIn(file.bytes), []);
      for (const edit of edits) edit(file);
      const found = findingsIn(file.bytes);
      const finding = found.find(one => one.code === code && one.severity === severity);
      t.truthy(
        finding,
        JSON.stringify(found, (_, value) => (typeof value === 'bigint' ? `${value}` : value)),
      );
      t.regex(finding?.message ?? '', /^Mach-O: /);
    });
  }
}

/** And the other way: with the SDK of these rules, but before it, nothing is wrong. */
export function testSound(what: string, name: Base, ...edits: readonly Edit[]): void {
  test(`verifyMachO() has nothing against ${what}`, t => {
    const file = new Editor(base(name));
    for (const edit of edits) edit(file);
    t.deepEqual(findingsIn(file.bytes), []);
  });
}

/** The SDK that LC_BUILD_VERSION names; 26 is `sdk(26)`, 15.4 is `sdk(15, 4)`. */
export const sdk =
  (major: number, minor = 0): Edit =>
  file =>
    file.set32(file.command(LC.LC_BUILD_VERSION) + 16, (major << 16) | (minor << 8));

/** Changes a 32-bit field of a segment. */
export const segment32 =
  (name: string, field: number, value: number): Edit =>
  file =>
    file.set32(file.segment(name) + field, value);

/** Changes a 64-bit field of a segment. */
export const segment64 =
  (name: string, field: number, value: number | ((was: number) => number)): Edit =>
  file => {
    const at = file.segment(name) + field;
    file.set64(at, typeof value === 'number' ? value : value(file.u64(at)));
  };

export const section32 =
  (name: string, field: number, value: number | ((was: number) => number)): Edit =>
  file => {
    const at = file.section(name) + field;
    file.set32(at, typeof value === 'number' ? value : value(file.u32(at)));
  };

export const section64 =
  (name: string, field: number, value: number | ((was: number) => number)): Edit =>
  file => {
    const at = file.section(name) + field;
    file.set64(at, typeof value === 'number' ? value : value(file.u64(at)));
  };

/** Changes a 32-bit field of the first command of this kind. */
export const command32 =
  (cmd: number, field: number, value: number | ((was: number) => number)): Edit =>
  file => {
    const at = file.command(cmd) + field;
    file.set32(at, typeof value === 'number' ? value : value(file.u32(at)));
  };

/** Makes another kind of command of the first one of this kind. */
export const replaced = (cmd: number, by: number): Edit => command32(cmd, 0, by);

/** Changes bytes of the header. */
export const header32 =
  (offset: number, value: number | ((was: number) => number)): Edit =>
  file =>
    file.set32(offset, typeof value === 'number' ? value : value(file.u32(offset)));

/** Changes bytes at the place that a command's field gives, and `more` bytes behind it. */
export const blob =
  (cmd: number, field: number, more: number, ...values: readonly number[]): Edit =>
  file =>
    file.bytes.set(values, file.u32(file.command(cmd) + field) + more);

/** Gives all pages the hashes that they have now. */
export const signedAgain: Edit = file => {
  const at = file.u32(file.command(LC.LC_CODE_SIGNATURE) + 8);
  const size = file.u32(file.command(LC.LC_CODE_SIGNATURE) + 12);
  const signature = file.bytes.subarray(at, at + size);
  const { codeDirectory } = readCodeSignature(signature);
  const { pageHashes, codeLimit, pageSize } = codeDirectory;
  const hashes = hashPages(bytesSource(file.bytes), codeLimit, pageSize, sha256);
  file.bytes.set(hashes, pageHashes.byteOffset - file.bytes.byteOffset);
};
