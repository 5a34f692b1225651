/**
 * `npm run torture -- --count N [--seed S] [--program perl|python|threads] [--at POINT]`: freezes the
 * torture programs at N random moments, two at a time, and prints each failure with how to repeat it.
 * Exit status 1 when there was one.
 *
 * @module
 */
import { fork } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { sandbox } from '../support/sandbox.ts';
import { TORTURE_NAMES, type TortureName, tortureProgram } from './programs.ts';
import { expectedOf, Moments, seededRandom, type TortureResult, tortureAt } from './torture.ts';

/** What one process is to do. */
interface Share {
  readonly program: TortureName;
  readonly count: number;
  readonly seed: number;
  /** Always this moment, instead of random ones. */
  readonly at: string | undefined;
}

export interface TortureSummary {
  readonly counts: Readonly<Record<TortureResult['outcome'], number>>;
  readonly failures: readonly (TortureResult & { readonly program: TortureName })[];
}

type Report = { readonly program: TortureName } & TortureResult;

/** Spreads the moments over the programs and over as many processes as there are processors. */
export async function torture(
  request: {
    readonly programs: readonly TortureName[];
    readonly count: number;
    readonly seed: number;
    readonly at?: string;
  },
  onResult: (report: Report) => void = () => {},
): Promise<TortureSummary> {
  const lanes = Math.max(1, Math.min(availableParallelism(), 8));
  const shares = request.programs.flatMap((program, p) =>
    Array.from({ length: lanes }, (_, lane): Share => {
      const part = p * lanes + lane;
      const parts = request.programs.length * lanes;
      const count =
        Math.floor(((part + 1) * request.count) / parts) - Math.floor((part * request.count) / parts);
      return { program, count, seed: request.seed + part * 7919, at: request.at };
    }),
  );
  const counts = { same: 0, ended: 0, failed: 0 };
  const failures: Report[] = [];
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      for (let share = shares.shift(); share !== undefined; share = shares.shift()) {
        await inChild(share, report => {
          counts[report.outcome]++;
          if (report.outcome === 'failed') failures.push(report);
          onResult(report);
        });
      }
    }),
  );
  return { counts, failures };
}

/** How to repeat a failure. */
export const repeatWith = ({ program, at }: Report): string =>
  `npm run torture -- --program ${program} --at ${at} --count 20`;

async function inChild(share: Share, onResult: (report: Report) => void): Promise<void> {
  const child = fork(fileURLToPath(import.meta.url), [JSON.stringify(share)], {
    env: { ...process.env, UNEXEC_TORTURE_SHARE: '1' },
  });
  child.on('message', message => onResult({ program: share.program, ...(message as TortureResult) }));
  await new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (status, signal) =>
      status === 0 ? resolve() : reject(new Error(`torture process: ${signal ?? `status ${status}`}`)),
    );
  });
}

async function doShare(share: Share): Promise<void> {
  const directory = sandbox('torture');
  mkdirSync(join(directory, 'program'));
  const program = tortureProgram(share.program, join(directory, 'program'));
  const expected = await expectedOf(program, directory);
  const moments = new Moments(seededRandom(share.seed), expected);
  for (let i = 0; i < share.count; i++) {
    const result = await tortureAt(program, share.at ?? moments.next(), expected, directory);
    moments.learn(result);
    process.send?.(result);
  }
  process.disconnect?.();
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '300' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      program: { type: 'string' },
      at: { type: 'string' },
    },
  });
  const programs = TORTURE_NAMES.filter(name => values.program === undefined || name === values.program);
  if (programs.length === 0) throw new Error(`--program is one of ${TORTURE_NAMES.join(', ')}`);
  const seed = Number(values.seed);
  process.stdout.write(`seed ${seed}\n`);
  const startedAt = performance.now();
  let done = 0;
  const summary = await torture(
    {
      programs,
      count: Number(values.count),
      seed,
      ...(values.at === undefined ? {} : { at: values.at }),
    },
    report => {
      done++;
      if (report.outcome === 'failed')
        process.stdout.write(
          `FAILED ${report.program} at ${report.at}: ${report.detail}\n  again: ${repeatWith(report)}\n`,
        );
      if (done % 100 === 0) process.stdout.write(`${done} done\n`);
    },
  );
  const { same, ended, failed } = summary.counts;
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  process.stdout.write(
    `${same} same, ${ended} ended before, ${failed} failed in ${seconds} s (seed ${seed})\n`,
  );
  process.exitCode = failed === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.env['UNEXEC_TORTURE_SHARE'] === '1') await doShare(JSON.parse(process.argv[2] ?? '{}'));
  else await main();
}
