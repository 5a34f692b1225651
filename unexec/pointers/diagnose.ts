/**
 * What words are that a comparison does not explain, where that can be told: the more is known of the runs,
 * the more of them. A diagnosis is for the user, who then changes the program or gives the variable up; the
 * words stay unexplained.
 *
 * @module
 */
import type { UnexplainedWord } from './compare.ts';
import { addressHashes, otherTargets, reorderedTables } from './diagnosis/addresses.ts';
import type { Diagnose, Diagnosis, DiagnosisInput } from './diagnosis/facts.ts';
import { canaries, mangledPointers } from './diagnosis/mangled.ts';
import { processIds, times } from './diagnosis/times.ts';

export type { Diagnosis, DiagnosisInput, DiagnosisKind, RunFacts, TimeSpan } from './diagnosis/facts.ts';

/** The surest first: each is asked about what those before it do not know. */
const ALL: readonly Diagnose[] = [
  canaries,
  mangledPointers,
  processIds,
  times,
  reorderedTables,
  otherTargets,
  addressHashes,
];

/** One diagnosis for each word, in their order. */
export function diagnose(input: DiagnosisInput): Diagnosis[] {
  const found = new Map<UnexplainedWord, Diagnosis>();
  for (const diagnoseSome of ALL) {
    const open = input.words.filter(word => !found.has(word));
    for (const [word, diagnosis] of diagnoseSome(input, open)) found.set(word, diagnosis);
  }
  return input.words.map(word => found.get(word) ?? byMagnitude(word));
}

/** Numbers below this that differ by less than that count something. */
const SMALL = 2n ** 40n;
const LITTLE = 2n ** 20n;

function byMagnitude({ value1, value2 }: UnexplainedWord): Diagnosis {
  const difference = value2 > value1 ? value2 - value1 : value1 - value2;
  if (value1 < SMALL && value2 < SMALL && difference < LITTLE) {
    return { kind: 'count', text: `a number that differs by ${difference}: the runs did not do the same` };
  }
  return { kind: 'random', text: 'another number each time: a random one (a hash seed), or made of one' };
}
