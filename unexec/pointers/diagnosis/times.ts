/**
 * Times and numbers of processes: what a program asks the system for, and gets another answer each time.
 *
 * @module
 */
import type { MemoryReader } from '../../image.ts';
import type { UnexplainedWord } from '../compare.ts';
import { type Diagnose, type DiagnosisInput, differingHalves, type TimeSpan } from './facts.ts';

const UNITS: readonly (readonly [name: string, nanoseconds: bigint])[] = [
  ['seconds', 1_000_000_000n],
  ['milliseconds', 1_000_000n],
  ['microseconds', 1000n],
  ['nanoseconds', 1n],
];
const [[, SECOND] = ['', 0n]] = UNITS;
/** Clocks are read before and after they are compared with. */
const SLACK = 2n * SECOND;
/** Less than that many units since the clock's zero is any small number. */
const LEAST = 1000n;

export const times: Diagnose = function* (input, open) {
  for (const word of open) {
    const text = timeOf(input, word) ?? fractionOf(input, word);
    if (text !== undefined) yield [word, { kind: 'time', text }];
  }
};

/** A whole word in any unit, or half of one in seconds. */
function timeOf({ runs }: DiagnosisInput, word: UnexplainedWord): string | undefined {
  if (runs === undefined) return undefined;
  const halves = differingHalves(word);
  for (const clock of ['realtime', 'monotonic'] as const) {
    const spans = runs.map(facts => facts[clock]);
    const inSpans = (values: readonly bigint[], unit: bigint): boolean =>
      values.every((value, i) => value >= LEAST && isWithin(value * unit, spans[i], unit));
    const unit = UNITS.find(([, nanoseconds]) => inSpans([word.value1, word.value2], nanoseconds));
    if (unit !== undefined) return `the time when the program ran (${clock}, in ${unit[0]})`;
    if (halves.length > 0 && halves.every(values => inSpans(values, SECOND))) {
      return `the time when the program ran (${clock}, in seconds of 32 bits)`;
    }
  }
  return undefined;
}

const isWithin = (time: bigint, span: TimeSpan | undefined, unit: bigint): boolean =>
  span !== undefined && time + unit + SLACK > span.from && time < span.to + SLACK;

/** The second word of a timespec or timeval, whose first one may be equal in both runs. */
function fractionOf(
  { runs, image }: DiagnosisInput,
  { range, offset, value1, value2 }: UnexplainedWord,
): string | undefined {
  if (runs === undefined || offset < 8 || value1 >= SECOND || value2 >= SECOND) return undefined;
  const at = BigInt(offset) - 8n;
  const before = [wordAt(image.a.memory, range.start1 + at), wordAt(image.b.memory, range.start2 + at)];
  for (const clock of ['realtime', 'monotonic'] as const) {
    const isTime = before.every(
      (value, i) => value >= LEAST && isWithin(value * SECOND, runs[i]?.[clock], SECOND),
    );
    if (isTime) return `the time when the program ran (${clock}: a fraction of the second before it)`;
  }
  return undefined;
}

export const processIds: Diagnose = function* ({ runs }, open) {
  if (runs === undefined) return;
  const [{ ids: first = [] }, { ids: second = [] }] = runs;
  for (const word of open) {
    const halves = differingHalves(word);
    const isId = ([a, b]: [bigint, bigint]): boolean =>
      first.some((id, i) => BigInt(id) === a && BigInt(second[i] ?? -1) === b);
    if (halves.length === 0 || !halves.every(isId)) continue;
    const isProcess = halves.some(([a]) => a === BigInt(first[0] ?? -1));
    const text = `the number of the ${isProcess ? 'process (getpid)' : 'thread, the parent or the session (gettid, getppid, getsid)'}`;
    yield [word, { kind: 'process-id', text }];
  }
};

function wordAt(memory: MemoryReader, address: bigint): bigint {
  const bytes = new Uint8Array(8);
  memory.read(address, bytes);
  return new DataView(bytes.buffer).getBigUint64(0, true);
}
