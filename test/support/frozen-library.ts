/**
 * Libraries for tests: built once a test file, and frozen.
 *
 * @module
 */
import { basename, extname, join } from 'node:path';
import { freezeLibrary, type SharedOptions, type SharedReport } from '../../unexec/shared.ts';
import { compileTo } from './compile.ts';
import { compileFixture } from './fixtures.ts';
import { type Outcome, run } from './run.ts';
import { ROOT, sandbox } from './sandbox.ts';

export const directory: string = sandbox('shared');

const SHARED = ['-shared', '-fPIC'];
/** What keeps everything of libstdc++ within a library. */
export const OWN_CXX = ['-static-libstdc++', '-Wl,--exclude-libs,ALL'];

/** Path of the library made of a file of the repository. */
export function compileLibrary(source: string, flags: readonly string[] = [], name?: string): string {
  const output = join(directory, `lib${name ?? basename(source, extname(source))}.so`);
  compileTo(output, join(ROOT, source), [...SHARED, ...flags]);
  return output;
}

/** Freezes a library; beside it, with `urf-` before its name unless told otherwise. */
export const freezeTo = (
  library: string,
  options: SharedOptions,
  name = `urf-${basename(library)}`,
): Promise<SharedReport> => freezeLibrary(library, join(directory, name), options);

/** A program that opens a library in some way and says what it says (test/fixtures/shared/user.c). */
export const use = (how: string, library: string): Promise<Outcome> =>
  run(compileFixture('shared/user.c'), { args: [how, library] });

/** What it says, where all is well. */
export async function said(how: string, library: string): Promise<string[]> {
  const { stdout, stderr, status, signal } = await use(how, library);
  if (status !== 0) throw new Error(`${how} ${library}: ${signal ?? status}\n${stderr}${stdout}`);
  return stdout.trimEnd().split('\n');
}
