/**
 * What the loader says it spends on relocations (ld.so(8), LD_DEBUG=statistics). It counts what is loaded before
 * main, so a program is linked with the library.
 *
 * @module
 */
import { join } from 'node:path';
import { compileTo } from '../support/compile.ts';
import { directory } from '../support/frozen-library.ts';
import { PATH, run } from '../support/run.ts';
import { ROOT } from '../support/sandbox.ts';

export interface LoaderTime {
  /** Processor cycles from the loader's start to the program's. */
  readonly total: number;
  /** How many of them went into relocations, page faults of the relocated words included. */
  readonly relocation: number;
}

/** Path of a program that does nothing and needs `library`. */
export function linkWith(library: string, name: string): string {
  const program = join(directory, name);
  const flags = ['-Wl,--no-as-needed', library];
  compileTo(program, join(ROOT, 'test/fixtures/shared/linked.c'), flags);
  return program;
}

export async function timeInLoader(program: string): Promise<LoaderTime> {
  const { stderr, status } = await run(program, { env: { PATH, LD_DEBUG: 'statistics' } });
  const cycles = (what: string): number => {
    const found = new RegExp(`${what}: (\\d+) cycles`).exec(stderr)?.[1];
    if (status !== 0 || found === undefined) throw new Error(`${program}: ${status}\n${stderr}`);
    return Number(found);
  };
  return {
    total: cycles('total startup time in dynamic loader'),
    relocation: cycles('time needed for relocation'),
  };
}
