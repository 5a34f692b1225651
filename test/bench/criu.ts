/**
 * CRIU, where one is installed and works here: `criu check` decides. CRIU 3.17 (Debian 12) does not know
 * the vDSO area of kernels from 6.13 on and refuses to do anything.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { compileTo } from '../support/compile.ts';
import { ROOT } from '../support/sandbox.ts';
import { type Env, lastLine, sizes, timed, withStopped } from './dumps.ts';
import type { DumpResult } from './measurements.ts';

export type Criu = { readonly program: string; readonly goOn: string } | { readonly none: string };

/** The criu of the PATH, when it works. */
export function findCriu(directory: string): Criu {
  const { error, status, stdout, stderr } = spawnSync('criu', ['check'], { encoding: 'utf8' });
  if (error !== undefined) return { none: 'criu is not installed' };
  if (status !== 0) {
    return { none: `criu check fails here: ${lastLine(stderr) ?? lastLine(stdout) ?? `status ${status}`}` };
  }
  const goOn = join(directory, 'criu-go-on');
  compileTo(goOn, join(ROOT, 'test/bench/criu-go-on.c'), ['-static']);
  return { program: '/usr/sbin/criu', goOn };
}

export interface CriuDump {
  readonly dump: DumpResult;
  /** Restores, goes on and waits for the end. */
  readonly words: readonly string[] | undefined;
}

/** Dumps a stopped program; its pid has to stay free until the last restore. */
export async function criuDump(
  criu: Criu,
  words: readonly string[],
  directory: string,
  env: Env,
): Promise<CriuDump> {
  if ('none' in criu) return { dump: criu, words: undefined };
  mkdirSync(directory);
  const images = ['--images-dir', directory];
  const milliseconds = await withStopped(words, env, pid =>
    timed([criu.program, 'dump', ...images, '--tree', `${pid}`]),
  );
  if (typeof milliseconds === 'string') return { dump: { none: milliseconds }, words: undefined };
  return {
    dump: { milliseconds, ...sizes([directory]) },
    words: [criu.program, 'restore', ...images, '--action-script', criu.goOn],
  };
}
