/**
 * What every real library must stand when it is frozen: a program that knows it by its own header gets the same of
 * it as of the live one, in instances at different addresses, with its memory changed, freed, and given back.
 *
 * @module
 */
import { copyFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import test from 'ava';
import type { SharedOptions, SharedReport } from '../../unexec/shared.ts';
import { compileTo } from './compile.ts';
import { compileLibrary, directory, freezeTo } from './frozen-library.ts';
import { type Outcome, run } from './run.ts';
import { ROOT } from './sandbox.ts';

export interface RealLibrary {
  readonly name: string;
  /** In test/fixtures/shared: the initialiser without arguments, linked with the library. */
  readonly source: string;
  /** In test/fixtures/shared: a program that opens the library that it is given, twice, and prints what it does. */
  readonly host: string;
  /** Where the library's own header is. */
  readonly include: string;
  /** What its initialiser reads: there, under the same names, in `directory` until the library is frozen. */
  readonly reads: readonly string[];
  /** What the library is made of beside its initialiser. */
  readonly flags: readonly string[];
  readonly options: SharedOptions;
  /** So many blocks its initialiser allocates, or more. */
  readonly leastBlocks: number;
  /** How the output of the program begins. */
  readonly says: RegExp;
}

const STARTS = 10;

/** Registers the tests of a library. */
export function realLibraryTests(subject: RealLibrary): void {
  const { name, source, host, include, reads, flags, options, leastBlocks, says } = subject;
  const program = join(directory, `use-${name}`);
  let library: string;
  let report: SharedReport;
  let live: Outcome;

  test.before(async () => {
    for (const file of reads) copyFileSync(file, join(directory, basename(file)));
    compileTo(program, join(ROOT, 'test/fixtures/shared', host), [include]);
    library = compileLibrary(`test/fixtures/shared/${source}`, [include, ...flags], name);
    live = await run(program, { args: [library] });
    report = await freezeTo(library, { init: 'urf_init', ...options });
    for (const file of reads) rmSync(join(directory, basename(file)));
  });

  test(`${name} says the same frozen as initialised, in every instance`, async t => {
    t.like(live, { status: 0, signal: null });
    t.regex(live.stdout, says);
    const lines = live.stdout.split('\n').slice(0, -1);
    t.deepEqual(lines.slice(0, lines.length / 2), lines.slice(lines.length / 2));
    const frozen = await run(program, { args: [report.target] });
    t.like(frozen, { stdout: live.stdout, status: 0, signal: null });
    const places = frozen.stderr.trim().split('\n');
    t.is(places.length, 2, frozen.stderr);
    t.not(places[0], places[1]);
  });

  test(`${name} needs none of the files that its initialiser reads, once it is frozen`, async t => {
    t.true(report.blocks.count >= leastBlocks, String(report.blocks.count));
    const unloaded = await run(program, { args: [library] });
    t.not(unloaded.stdout, live.stdout);
    t.like(await run(program, { args: [report.target] }), { stdout: live.stdout, status: 0 });
  });

  test(`${name} is opened ${STARTS} times, each time at other addresses`, async t => {
    const places = new Set<string>();
    for (let i = 0; i < STARTS; i++) {
      const { stdout, stderr, status } = await run(program, { args: [report.target] });
      t.is(status, 0, stderr);
      t.is(stdout, live.stdout);
      for (const place of stderr.trim().split('\n')) places.add(place);
    }
    t.is(places.size, 2 * STARTS);
  });
}
