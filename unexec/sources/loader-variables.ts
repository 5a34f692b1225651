/**
 * Environment variables for the C library's start alone: it is told what code to choose, and then they are taken
 * away, so that the program never sees them. The program's own variables of these names stay as they were given.
 *
 * What is taken away leaves room in the vector that the kernel made on the stack: environment, a null pointer,
 * auxiliary vector. Programs (Go's run-time support) go through the one to find the other, so its end becomes
 * entries of the auxiliary vector that mean nothing (AT_IGNORE). Facts: System V ABI for x86-64, 3.4.1 (the
 * stack of a new process); execve(2); glibc 2.36 and 2.41, elf/rtld.c and elf/dl-tunables.c (GLIBC_TUNABLES,
 * LD_BIND_NOW).
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import { type CpuLevel, hwcapsTunable, levelOf } from '../cpu-features.ts';
import { UnexecError } from '../errors.ts';
import type { ProcessMemory } from '../linux/memory.ts';

const AT_IGNORE = 1n;
const WORD = 8;
/** Of a vector that is longer we read no end: argument and environment strings are limited to 6 MiB. */
const MOST_WORDS = 1 << 20;

export interface LoaderVariables {
  /** The whole environment, `NAME=VALUE` each. */
  readonly env: readonly string[];
  /** What to do when the loader has read them. */
  readonly afterwards: readonly Afterwards[];
}

/** A variable that is the program's is cut to the value that it was given; another one goes. Sizes in bytes. */
interface Afterwards {
  readonly name: string;
  /** Of `NAME=VALUE` as it was given. */
  readonly kept: number | undefined;
  /** Of `NAME=VALUE` with ours. */
  readonly size: number;
}

/**
 * The environment with which libc chooses code for a CPU level, and binds every function at the start: later its binder
 * would save registers with the XSAVE of the CPU that it has been started on.
 */
export function loaderVariables(env: readonly string[], level: CpuLevel): LoaderVariables {
  const features = levelOf(level)?.features;
  if (features === undefined) return { env, afterwards: [] };
  const given = (name: string): string | undefined => env.findLast(entry => entry.startsWith(`${name}=`));
  const tunables = given('GLIBC_TUNABLES');
  const bindNow = given('LD_BIND_NOW');
  const ours = [
    `${tunables ?? 'GLIBC_TUNABLES='}${separator(tunables)}${hwcaps(tunables, hwcapsTunable(features))}`,
    // Any value but none at all binds everything.
    ...(bindNow === undefined || bindNow === 'LD_BIND_NOW=' ? ['LD_BIND_NOW=1'] : []),
  ];
  const nameOf = (entry: string): string => entry.slice(0, entry.indexOf('='));
  const isGoing = (entry: string): boolean => given(nameOf(entry)) === undefined;
  // Entries of the auxiliary vector are pairs.
  if (ours.filter(isGoing).length % 2 === 1) ours.push(FILLER);
  const afterwards = ours.map(entry => {
    const own = given(nameOf(entry));
    const kept = own === undefined ? undefined : Buffer.byteLength(own);
    return { name: nameOf(entry), kept, size: Buffer.byteLength(entry) };
  });
  const names = new Set(afterwards.map(({ name }) => name));
  return { env: [...env.filter(entry => !names.has(nameOf(entry))), ...ours], afterwards };
}

const FILLER = 'UNEXEC_FILLER=';

const separator = (tunables: string | undefined): string =>
  tunables === undefined || tunables.endsWith('=') || tunables.endsWith(':') ? '' : ':';

/** The last setting of a tunable counts: what the program was given of this one comes with ours. */
function hwcaps(tunables: string | undefined, ours: string): string {
  const given = [...(tunables ?? '').matchAll(/glibc\.cpu\.hwcaps=([^:]*)/g)].at(-1)?.[1];
  return `glibc.cpu.hwcaps=${given === undefined || given === '' ? '' : `${given},`}${ours}`;
}

/**
 * Puts those that will go behind all others: the shell that becomes the program sorts its environment as it likes.
 * To be called before the program's first instruction.
 *
 * @param stack address of argc
 * @returns what is to be erased, as the kernel has put it there: glibc 2.36 makes a copy of its tunables
 */
export function sortVariables(
  memory: ProcessMemory,
  stack: bigint,
  variables: LoaderVariables,
): readonly Range[] {
  const { at, entries } = readEnvironment(memory, stack);
  const going = entries.filter(entry => isGoing(memory, entry, variables));
  writeWords(memory, at, [...entries.filter(entry => !going.includes(entry)), ...going]);
  return additions(memory, entries, variables);
}

/**
 * Takes the variables away.
 *
 * @param ranges what `sortVariables` gave
 * @throws UnexecError `VARIABLES_GONE`
 */
export function hideVariables(
  memory: ProcessMemory,
  stack: bigint,
  variables: LoaderVariables,
  ranges: readonly Range[],
): void {
  const { at, entries } = readEnvironment(memory, stack);
  const count = variables.afterwards.filter(({ kept }) => kept === undefined).length;
  const going = entries.slice(entries.length - count);
  if (!going.every(entry => isGoing(memory, entry, variables))) {
    throw new UnexecError(
      'VARIABLES_GONE',
      `the environment at 0x${at.toString(16)} does not end with the ${count} variables that were put there`,
    );
  }
  for (const { start, size } of [...additions(memory, entries, variables), ...ranges]) {
    memory.write(start, new Uint8Array(size));
  }
  const pairs = Array.from({ length: count / 2 }, () => [AT_IGNORE, 0n]).flat();
  writeWords(memory, at + BigInt((entries.length - count) * WORD), [0n, ...pairs]);
}

/** Bytes of the process. */
export interface Range {
  readonly start: bigint;
  readonly size: number;
}

/** What is ours of these strings: all, or what we have added. */
const additions = (memory: ProcessMemory, entries: readonly bigint[], variables: LoaderVariables): Range[] =>
  entries.flatMap(entry => {
    const variable = variableAt(memory, entry, variables);
    if (variable === undefined) return [];
    const kept = variable.kept ?? 0;
    return [{ start: entry + BigInt(kept), size: variable.size - kept }];
  });

function isGoing(memory: ProcessMemory, entry: bigint, variables: LoaderVariables): boolean {
  const variable = variableAt(memory, entry, variables);
  return variable !== undefined && variable.kept === undefined;
}

/** Which of our variables a string is. */
function variableAt(
  memory: ProcessMemory,
  address: bigint,
  { afterwards }: LoaderVariables,
): Afterwards | undefined {
  return afterwards.find(({ name }) => {
    const expected = Buffer.from(`${name}=`);
    return Buffer.from(memory.bytes(address, expected.length)).equals(expected);
  });
}

/** The pointers of the vector, and where it is. */
function readEnvironment(memory: ProcessMemory, stack: bigint): { at: bigint; entries: bigint[] } {
  const word = (address: bigint): bigint => viewOf(memory.bytes(address, WORD)).getBigUint64(0, true);
  const at = stack + BigInt(WORD) * (word(stack) + 2n);
  const entries: bigint[] = [];
  for (;;) {
    const entry = word(at + BigInt(entries.length * WORD));
    if (entry === 0n || entries.length === MOST_WORDS) return { at, entries };
    entries.push(entry);
  }
}

function writeWords(memory: ProcessMemory, address: bigint, words: readonly bigint[]): void {
  const bytes = new Uint8Array(words.length * WORD);
  const view = viewOf(bytes);
  for (const [i, word] of words.entries()) view.setBigUint64(i * WORD, word, true);
  memory.write(address, bytes);
}
