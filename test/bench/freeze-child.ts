/**
 * The tool in a process of its own, so that its memory can be told: `node freeze-child.js JSON`, where
 * JSON is a `FreezeJob`. Prints a `FreezeResult` as JSON.
 *
 * @module
 */
import { openSync, readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { freeze } from '../../unexec/freeze.ts';
import type { FreezeResult } from './measurements.ts';

export interface FreezeJob {
  readonly words: readonly string[];
  readonly target: string;
  /** `NAME=VALUE` each. */
  readonly env: readonly string[];
  readonly train: boolean;
  readonly thin?: boolean;
  readonly compress?: boolean;
}

/** Path of the compiled program. */
export const FREEZE_CHILD: string = fileURLToPath(import.meta.url);

if (process.argv[1] === FREEZE_CHILD) {
  const job: FreezeJob = JSON.parse(process.argv[2] ?? '');
  process.stdout.write(JSON.stringify(await freezeJob(job)));
}

async function freezeJob({ words, target, env, train, thin, compress }: FreezeJob): Promise<FreezeResult> {
  const [program = '', ...args] = words;
  const nothing = openSync('/dev/null', 'r+');
  const { milliseconds, storedBytes, fileSize } = await freeze(program, target, {
    args,
    env,
    at: 'stop',
    stdio: [nothing, nothing, nothing],
    thin: thin ?? false,
    compress: compress ?? false,
    ...(train ? { train: { args: [] } } : {}),
  });
  return {
    milliseconds: {
      total: milliseconds.total - milliseconds.toFreezePoint,
      stopped: milliseconds.stopped,
      contents: milliseconds.contents,
    },
    storedBytes,
    fileSize,
    diskBytes: statSync(target).blocks * 512,
    peakMemory: peakMemory(),
  };
}

/** VmHWM, proc(5): the largest resident set that we had. */
function peakMemory(): number {
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return Number(kib) * 1024;
}
