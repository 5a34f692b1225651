/**
 * What is known of two runs beside their memory, and how their words are looked at to tell what they are.
 *
 * @module
 */
import type { Arch, MemoryImage } from '../../image.ts';
import type { UnexplainedWord } from '../compare.ts';
import { moduleTable, type PairedModule, type PairedRange } from '../ranges.ts';

/** Nanoseconds, from a run's start to when it stood still. */
export interface TimeSpan {
  readonly from: bigint;
  readonly to: bigint;
}

/** Facts of one run; what is not known is left out, and then not recognised. */
export interface RunFacts {
  /** CLOCK_REALTIME. */
  readonly realtime?: TimeSpan;
  /** CLOCK_MONOTONIC. */
  readonly monotonic?: TimeSpan;
  /** Process and thread ids, in the same order in both runs. */
  readonly ids?: readonly number[];
  /** The 16 bytes that the kernel gave at AT_RANDOM: glibc takes canary and pointer guard from them. */
  readonly random?: Uint8Array;
}

export type DiagnosisKind =
  /** PTR_MANGLE: setjmp, atexit, … */
  | 'mangled'
  /** The stack protector's. */
  | 'canary'
  | 'time'
  | 'process-id'
  /** Computed from an address: a hash, a difference, half of one. */
  | 'address-hash'
  /** In a table whose entries are placed by their addresses: the same pointers, in another order. */
  | 'reordered'
  | 'stack'
  /** A pointer into the same memory both times, but not to the same place. */
  | 'other-target'
  /** A small number that differs a little. */
  | 'count'
  | 'random';

export interface Diagnosis {
  readonly kind: DiagnosisKind;
  /** A phrase: what it seems to be. */
  readonly text: string;
}

export interface DiagnosisInput {
  readonly arch: Arch;
  readonly words: readonly UnexplainedWord[];
  readonly ranges: readonly PairedRange[];
  readonly outside: readonly PairedModule[];
  readonly image: {
    readonly a: Pick<MemoryImage, 'memory'>;
    readonly b: Pick<MemoryImage, 'memory'>;
  };
  readonly runs?: readonly [RunFacts, RunFacts];
  /** Which block a word lies in, by its address in the first run; undefined: none, or not known. */
  readonly blockOf?: (address: bigint) => number | undefined;
}

/** Tells what some of the words are; those of which it does not know stay. */
export type Diagnose = (
  input: DiagnosisInput,
  open: readonly UnexplainedWord[],
) => Iterable<[UnexplainedWord, Diagnosis]>;

export const HALF = 0xffff_ffffn;
/** Addresses are below this; what is larger is a number, or scrambled. */
export const ADDRESS_END = 2n ** 48n;

/** Where an address lies in the first or second run. */
export class Places {
  readonly #names: readonly { readonly name: string; readonly starts: readonly [bigint, bigint] }[];
  readonly #tables: readonly [ReturnType<typeof moduleTable>, ReturnType<typeof moduleTable>];

  constructor({ ranges, outside }: Pick<DiagnosisInput, 'ranges' | 'outside'>) {
    const all = [...ranges, ...outside];
    this.#names = all.map(({ name, start1, start2 }) => ({ name, starts: [start1, start2] }));
    this.#tables = [
      moduleTable(all.map(({ name, start1, size }) => ({ name, start: start1, size }))),
      moduleTable(all.map(({ name, start2, size }) => ({ name, start: start2, size }))),
    ];
  }

  /** Index of range or module and the offset in it; undefined: nowhere. */
  find(
    run: 0 | 1,
    value: bigint,
  ): { readonly index: number; readonly name: string; readonly offset: bigint } | undefined {
    if (value >= ADDRESS_END) return undefined;
    const index = this.#tables[run].find(Number(value));
    const place = this.#names[index];
    return place && { index, name: place.name, offset: value - place.starts[run] };
  }
}

/** By how much everything moved that moved, with what moved so. */
export function shiftsOf({
  ranges,
  outside,
}: Pick<DiagnosisInput, 'ranges' | 'outside'>): Map<bigint, PairedModule[]> {
  const shifts = new Map<bigint, PairedModule[]>();
  for (const place of [...ranges, ...outside]) {
    const shift = place.start2 - place.start1;
    if (shift === 0n) continue;
    const alike = shifts.get(shift);
    if (alike === undefined) shifts.set(shift, [place]);
    else alike.push(place);
  }
  return shifts;
}

/** The halves of a word that differ, low first. */
export function differingHalves({
  value1,
  value2,
}: Pick<UnexplainedWord, 'value1' | 'value2'>): [bigint, bigint][] {
  const halves: [bigint, bigint][] = [
    [value1 & HALF, value2 & HALF],
    [value1 >> 32n, value2 >> 32n],
  ];
  return halves.filter(([a, b]) => a !== b);
}
