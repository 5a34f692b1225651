/**
 * Freezes and resumes programs one after the other, and says what came of each: what a program says without
 * interruption, and what it says in its two lives. As a command, it does so on the machine that it is started on,
 * an emulated one for example: `node freeze-jobs.js JOBS DIRECTORY`.
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { UnexecError } from '../../unexec/errors.ts';
import { type FreezeOptions, freeze } from '../../unexec/freeze.ts';
import { freezeProgram } from './freeze-program.ts';
import { type Outcome, run } from './run.ts';

export interface FreezeJob {
  readonly name: string;
  readonly program: string;
  /** Behind a directory of its own, where `ownDirectory` is not false. */
  readonly args?: readonly string[];
  readonly ownDirectory?: boolean;
  /** Where it is frozen at `main`, its second life is given its arguments again. */
  readonly options: Pick<FreezeOptions, 'at' | 'avoid' | 'env'>;
  /** At the program's stdin, in its uninterrupted run and in its second life. */
  readonly stdin?: string;
  /**
   * Started beforehand; frozen where it stands as soon as it has said this. It goes on, and `first` is what it says
   * to its end.
   */
  readonly attachedAfter?: string;
}

export interface JobOutcome {
  readonly name: string;
  /** Without interruption. */
  readonly whole: Outcome;
  /** What an attached program has said and how it ended, in its first life that went on. */
  readonly first: Outcome | undefined;
  /** What was said before the freeze. */
  readonly written: string;
  readonly second: Outcome | undefined;
  /** `CODE message`, and the reasons. */
  readonly error: string | undefined;
}

/** A job that takes longer has failed. */
const JOB_MILLISECONDS = 60_000;

/** Each job's files are in `directory`: its executable under the job's number. */
export async function doJobs(jobs: readonly FreezeJob[], directory: string): Promise<JobOutcome[]> {
  const outcomes: JobOutcome[] = [];
  for (const [i, job] of jobs.entries()) {
    console.log(`${(performance.now() / 1000).toFixed(1)} s: ${job.name}`);
    outcomes.push(await doJob(job, join(directory, String(i))));
  }
  return outcomes;
}

async function doJob(job: FreezeJob, path: string): Promise<JobOutcome> {
  const { name, program, stdin } = job;
  const input = stdin === undefined ? {} : { stdin };
  const argsFor = (life: string): readonly string[] => {
    if (job.ownDirectory === false) return job.args ?? [];
    mkdirSync(`${path}.${life}`);
    return [`${path}.${life}`, ...(job.args ?? [])];
  };
  const whole = await run(program, { args: argsFor('whole'), ...input });
  try {
    const args = argsFor('frozen');
    const options = { ...job.options, signal: AbortSignal.timeout(JOB_MILLISECONDS) };
    const frozen =
      job.attachedAfter === undefined
        ? { ...(await freezeProgram(program, path, { ...options, args })), first: undefined }
        : await freezeAttached(job.program, job.attachedAfter, path, args, options);
    const again = job.options.at === 'main' ? { args } : {};
    const second = await run(path, { ...input, ...again });
    return { name, whole, first: frozen.first, written: frozen.written, second, error: undefined };
  } catch (error) {
    return { name, whole, first: undefined, written: '', second: undefined, error: told(error) };
  }
}

async function freezeAttached(
  program: string,
  after: string,
  path: string,
  args: readonly string[],
  options: FreezeOptions,
): Promise<{ written: string; first: Outcome }> {
  const output = openSync(`${path}.written`, 'w+', 0o666);
  const child = spawn(program, args, { stdio: ['ignore', output, output] });
  const ended = new Promise<Pick<Outcome, 'status' | 'signal'>>(resolve => {
    child.on('close', (status, signal) => resolve({ status, signal }));
  });
  const said = (): string => readFileSync(`${path}.written`, 'utf8');
  try {
    while (!said().includes(after)) await new Promise(resolve => setTimeout(resolve, 20));
    await freeze({ pid: child.pid ?? -1 }, path, options);
    const written = said();
    return { written, first: { ...(await ended), stdout: said(), stderr: '' } };
  } finally {
    closeSync(output);
    child.kill('SIGKILL');
  }
}

function told(error: unknown): string {
  if (!(error instanceof UnexecError)) return error instanceof Error ? (error.stack ?? '') : String(error);
  const reasons = error.reasons.map(({ code, what }) => `\n  ${code} ${what}`);
  return `${error.code} ${error.message}${reasons.join('')}${error.code === 'INTERNAL' ? error.stack : ''}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , jobs = '', directory = ''] = process.argv;
  const outcomes = await doJobs(JSON.parse(readFileSync(jobs, 'utf8')), directory);
  writeFileSync(join(directory, 'outcomes.json'), JSON.stringify(outcomes));
}
