/**
 * Names for numbers: the constant tables of the formats (`export const PT = { PT_LOAD: 1, … }`) read
 * backwards. An unknown value keeps its number, in hexadecimal, so that nothing is hidden.
 *
 * @module
 */
import { hex } from './errors.ts';

/** A family of constants: C name to value. */
export type ConstantTable = Readonly<Record<string, number>>;

/** The C name of a value: `PT_LOAD`, or `0x6474e5ff` where the table has none. The first name wins. */
export function nameOf(table: ConstantTable, value: number | bigint): string {
  // A bigint beyond 2^53 rounds, perhaps to a value of the table.
  const exact = BigInt(Number(value)) === BigInt(value);
  return (exact ? reversed(table).get(Number(value)) : undefined) ?? hex(value);
}

/**
 * The C names of the bits that are set, in the order of the table: `PF_R|PF_X`. Bits without a name
 * follow as one hexadecimal number; no bits at all are `0`. Every constant of the table is one bit.
 */
export function flagNames(table: ConstantTable, bits: number | bigint): string {
  let rest = BigInt(bits);
  const names: string[] = [];
  for (const [name, bit] of Object.entries(table)) {
    const mask = BigInt(bit);
    if (mask === 0n || (rest & mask) !== mask) continue;
    names.push(name);
    rest &= ~mask;
  }
  if (rest !== 0n || names.length === 0) names.push(rest === 0n ? '0' : hex(rest));
  return names.join('|');
}

const cache = new WeakMap<ConstantTable, Map<number, string>>();

function reversed(table: ConstantTable): Map<number, string> {
  const known = cache.get(table);
  if (known) return known;
  const names = new Map<number, string>();
  for (const [name, value] of Object.entries(table)) if (!names.has(value)) names.set(value, name);
  cache.set(table, names);
  return names;
}
