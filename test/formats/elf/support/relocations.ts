/**
 * The relocations of a file as we read them and as readelf does, to be compared.
 *
 * @module
 */
import { readDynamicRelocations } from '../../../../formats/elf/dynamic-relocations.ts';
import type { ElfFile } from '../../../../formats/elf/model.ts';
import { relocationsOf } from '../../../../formats/elf/relocations.ts';
import { output } from './tools.ts';

/** For RELR, only the address. The addend is as readelf has it: of symbol 0 unsigned. */
export interface JudgedRelocation {
  readonly offset: bigint;
  readonly type?: number;
  readonly symbol?: number;
  readonly addend?: bigint;
}

/** What a loader sees, in the order of addresses of the places that they change. */
export function ourRelocations(file: ElfFile): JudgedRelocation[] {
  const { relr, rela, jmprel } = readDynamicRelocations(file);
  const all: JudgedRelocation[] = [...relr].map(offset => ({ offset }));
  for (const table of [rela, jmprel]) for (const relocation of relocationsOf(table)) all.push(relocation);
  return all.sort(byPlace);
}

/** What `readelf -r` lists. */
export function theirRelocations(path: string): JudgedRelocation[] {
  const all: JudgedRelocation[] = [];
  for (const line of output('readelf', ['-rW', path]).split('\n')) {
    const [, offset = '', info, rest = ''] = /^([0-9a-f]{16})(?: {2}([0-9a-f]{16}) (.*))?$/.exec(line) ?? [];
    if (offset === '') continue;
    if (info === undefined) all.push({ offset: BigInt(`0x${offset}`) });
    else all.push({ offset: BigInt(`0x${offset}`), ...halves(info), addend: addendOf(rest) });
  }
  return all.sort(byPlace);
}

const halves = (info: string): { symbol: number; type: number } => ({
  symbol: Number.parseInt(info.slice(0, 8), 16),
  type: Number.parseInt(info.slice(8), 16),
});

/** `R_X86_64_RELATIVE    1260`, `… printf@GLIBC_2.2.5 + 0`, `… name - 4`, `… *ABS*+0x1000 - 4`, or none for 0. */
function addendOf(rest: string): bigint {
  const [, sign = '', digits] = /(?:^\S+ +| ([+-]) )([0-9a-f]+)$/.exec(rest.trimEnd()) ?? [];
  if (digits === undefined) return 0n;
  const value = BigInt(`0x${digits}`);
  return BigInt.asIntN(64, sign === '-' ? -value : value);
}

/** By offset; in objects, where several sections have the same ones, by symbol then. */
export const byPlace = (a: JudgedRelocation, b: JudgedRelocation): number =>
  a.offset < b.offset ? -1 : a.offset > b.offset ? 1 : (a.symbol ?? 0) - (b.symbol ?? 0);
