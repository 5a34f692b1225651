/**
 * How much sooner a resumed program is ready than one that starts by itself: medians of runs in turn. It is
 * logged with the test, and no claim of a test: machines are busy with other things.
 *
 * @module
 */
import type { ExecutionContext } from 'ava';

const RUNS = 5;

export interface Ways {
  /** Runs the program itself until it is ready. */
  readonly own: () => Promise<void>;
  /** Runs the image until it is. */
  readonly resumed: () => Promise<void>;
}

export async function logRatio(t: ExecutionContext, ready: string, { own, resumed }: Ways): Promise<void> {
  const times: { readonly own: number; readonly resumed: number }[] = [];
  for (let i = 0; i < RUNS; i++) {
    times.push({ own: await milliseconds(own), resumed: await milliseconds(resumed) });
  }
  const [first, second] = [median(times.map(time => time.own)), median(times.map(time => time.resumed))];
  t.log(
    `${ready}: own start ${first.toFixed(1)} ms, resumed ${second.toFixed(1)} ms, ${(first / second).toFixed(1)} : 1`,
  );
  t.true(first > 0 && second > 0);
}

async function milliseconds(run: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
