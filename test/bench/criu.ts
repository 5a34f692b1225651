/**
 * CRIU, where one is installed and works here: `criu check` decides. CRIU 3.17 (Debian 12) does not know
 * the vDSO area of kernels from 6.13 on and refuses to do anything.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { compileTo } from '../support/compile.ts';
import { ROOT } from '../support/sandbox.ts';
import { type Env, sizes, timed, withStopped } from './dumps.ts';
import type { DumpResult } from './measurements.ts';
import type { TimedCommand } from './timer.ts';

export type Criu = { readonly program: string; readonly goOn: string } | { readonly none: string };

const PROGRAMS = ['/usr/local/sbin/criu', '/usr/sbin/criu', '/usr/bin/criu'];

/** The criu of this machine, when it works. */
export function findCriu(directory: string): Criu {
  const program = PROGRAMS.find(path => existsSync(path));
  if (program === undefined) return { none: 'criu is not installed' };
  const { status, stdout, stderr } = spawnSync(program, ['check'], { encoding: 'utf8' });
  if (status !== 0) {
    return { none: `criu check fails here: ${firstError(`${stderr}\n${stdout}`) ?? `status ${status}`}` };
  }
  const goOn = join(directory, 'criu-go-on');
  compileTo(goOn, join(ROOT, 'test/bench/criu-go-on.c'), ['-static']);
  return { program, goOn };
}

/** The first complaint; that a helper process ended is none. */
const firstError = (text: string): string | undefined =>
  text.split('\n').find(line => line.startsWith('Error') && !line.includes('exited, status='));

export interface CriuDump {
  readonly dump: DumpResult;
  /** Restores, goes on and waits for the end. */
  readonly restore: TimedCommand | { readonly none: string };
}

/** Dumps a stopped program and restores it once; its pid has to stay free until the last restore. */
export async function criuDump(
  criu: Criu,
  words: readonly string[],
  directory: string,
  env: Env,
): Promise<CriuDump> {
  if ('none' in criu) return { dump: criu, restore: criu };
  mkdirSync(directory);
  const images = ['--images-dir', directory];
  const dumped = await withStopped(words, env, pid =>
    timed([criu.program, 'dump', ...images, '--tree', `${pid}`]),
  );
  if (typeof dumped === 'string') return { dump: { none: dumped }, restore: { none: 'it was not dumped' } };
  const restore = [criu.program, 'restore', ...images, '--action-script', criu.goOn];
  const restored = timed(restore);
  return {
    dump: { milliseconds: dumped, ...sizes([directory]) },
    restore: typeof restored === 'string' ? { none: restored } : { words: restore },
  };
}
