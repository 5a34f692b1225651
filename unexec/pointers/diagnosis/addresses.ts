/**
 * What programs make of addresses: hashes that are shifted addresses, halves of them, tables whose entries are
 * placed by them, pointers to another place each time.
 *
 * @module
 */
import type { UnexplainedWord } from '../compare.ts';
import type { PairedModule } from '../ranges.ts';
import { type Diagnose, type DiagnosisInput, differingHalves, HALF, Places, shiftsOf } from './facts.ts';

/** Everything moves by whole pages: an address moves exactly, however many of these bits are dropped. */
const MOST_BITS = 12n;
/** Multiples of what moved by less than this come about by chance. */
const TELLING = 2n ** 20n;
const MOST_FACTOR = 1024n;
/** As many words that differ by the same are not so by chance. */
const ALIKE = 4;

export const addressHashes: Diagnose = function* (input, open) {
  const shifts = [...shiftsOf(input)];
  const differences = new Map<bigint, UnexplainedWord[]>();
  for (const word of open) {
    const text = shiftedAddress(word, shifts);
    if (text !== undefined) {
      yield [word, { kind: 'address-hash', text }];
      continue;
    }
    const difference = BigInt.asUintN(64, word.value2 - word.value1);
    if (BigInt.asIntN(64, difference) > HALF || BigInt.asIntN(64, difference) < -HALF) {
      const alike = differences.get(difference);
      if (alike === undefined) differences.set(difference, [word]);
      else alike.push(word);
    }
  }
  for (const words of differences.values()) {
    if (words.length < ALIKE) continue;
    const text = `${words.length} words differ by the same amount: hashes of addresses, or of a time`;
    for (const word of words) yield [word, { kind: 'address-hash', text }];
  }
};

function shiftedAddress(
  { value1, value2 }: UnexplainedWord,
  shifts: readonly (readonly [bigint, readonly PairedModule[]])[],
): string | undefined {
  const difference = value2 - value1;
  const halves = differingHalves({ value1, value2 });
  for (const [shift, places] of shifts) {
    const factor = difference / shift;
    const isTelling = shift >= TELLING || shift <= -TELLING;
    if (isTelling && factor > 1n && factor <= MOST_FACTOR && factor * shift === difference) {
      return `${factor} times an address of ${nameAmong(places, value1 / factor)}: a hash`;
    }
    for (let bits = 0n; bits <= MOST_BITS; bits++) {
      const moved = shift >> bits;
      const address = `an address of ${nameAmong(places, value1 << bits)}${shifted(bits)}`;
      if (difference === -moved) return `${address}, negated`;
      // Without a shift it would be a pointer.
      if (bits > 0n && difference === moved) return `${address}: a hash`;
      const low = BigInt.asUintN(32, moved);
      const isHalf = ([a, b]: [bigint, bigint]): boolean => BigInt.asUintN(32, b - a) === low;
      if (low !== 0n && halves.length > 0 && halves.every(isHalf)) return `32 bits of ${address}: a hash`;
    }
  }
  return undefined;
}

/** Of several that moved alike: the one in which the address lies. */
function nameAmong(places: readonly PairedModule[], address: bigint): string {
  const around = places.find(({ start1, size }) => address >= start1 && address < start1 + BigInt(size));
  return (around ?? places[0])?.name ?? 'something';
}

const shifted = (bits: bigint): string => (bits === 0n ? '' : ` >> ${bits}`);

/** Blocks that hold the same pointers in another order. */
export const reorderedTables: Diagnose = function* (input, open) {
  const { blockOf } = input;
  if (blockOf === undefined) return;
  const places = new Places(input);
  const groups = new Map<number, UnexplainedWord[]>();
  for (const word of open) {
    const block = blockOf(word.range.start1 + BigInt(word.offset));
    if (block === undefined) continue;
    const group = groups.get(block);
    if (group === undefined) groups.set(block, [word]);
    else group.push(word);
  }
  for (const words of groups.values()) {
    const first = targetsOf(places, 0, words);
    const second = targetsOf(places, 1, words);
    if (first.length < 2 || first.join() !== second.join()) continue;
    const text = `in a table that has the same ${first.length} pointers in another order: placed by their addresses (an eq-table)`;
    for (const word of words) yield [word, { kind: 'reordered', text }];
  }
};

function targetsOf(places: Places, run: 0 | 1, words: readonly UnexplainedWord[]): string[] {
  return words
    .flatMap(({ value1, value2 }) => {
      const place = places.find(run, run === 0 ? value1 : value2);
      return place === undefined ? [] : [`${place.index}+${place.offset}`];
    })
    .sort();
}

export const otherTargets: Diagnose = function* (input: DiagnosisInput, open) {
  const places = new Places(input);
  for (const word of open) {
    const first = places.find(0, word.value1);
    const second = places.find(1, word.value2);
    if (first?.index === undefined || first.index !== second?.index) continue;
    const isStack = first.name.startsWith('[stack');
    yield [
      word,
      isStack
        ? { kind: 'stack', text: 'an address of the stack' }
        : { kind: 'other-target', text: `a pointer to another place of ${first.name} each time` },
    ];
  }
};
