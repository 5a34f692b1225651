/**
 * What a command has of its surroundings: how it is to behave, and where its words go.
 *
 * @module
 */
import { ProgressLine } from './progress.ts';
import { type Style, styleFor } from './render.ts';

/** How the command itself behaves. */
export interface Manner {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
}

export interface Context {
  readonly manner: Manner;
  /** Aborted when a signal ends the command. */
  readonly signal: AbortSignal;
}

/** Long flags that say how a command behaves, and what combines the short ones. */
const LONG: ReadonlySet<string> = new Set(['--json', '--quiet', '--verbose']);
const SHORT = /^-[qv]+$/;

/** Whether a word says how the command behaves: such words may stand before the command's name. */
export const isMannerWord = (word: string): boolean => LONG.has(word) || SHORT.test(word);

/** Read apart from the rest: it also says how a wrong command line is reported. */
export function mannerOf(argv: readonly string[]): Manner {
  const { own } = splitAtDashes(argv);
  const has = (long: string, short: string): boolean =>
    own.some(word => word === long || (SHORT.test(word) && word.includes(short)));
  return { json: own.includes('--json'), quiet: has('--quiet', 'q'), verbose: has('--verbose', 'v') };
}

/** The words before the first `--`, and those behind it. */
export function splitAtDashes(argv: readonly string[]): {
  own: readonly string[];
  args: readonly string[];
} {
  const dashes = argv.indexOf('--');
  return dashes < 0 ? { own: argv, args: [] } : { own: argv.slice(0, dashes), args: argv.slice(dashes + 1) };
}

/** A line of progress on the terminal, or nothing where none is wanted. */
export const progressLine = ({ json, quiet }: Manner, verb = 'writing'): ProgressLine =>
  new ProgressLine(quiet || json ? { write() {} } : process.stderr, verb);

/** How text looks on stderr, and on stdout. */
export const stderrStyle = (): Style => styleFor(process.stderr, process.env);
export const stdoutStyle = (): Style => styleFor(process.stdout, process.env);

/** Lines about what the command did, on stderr. */
export function tellLines(lines: readonly string[]): void {
  process.stderr.write(`${lines.join('\n')}\n`);
}

/** Lines that are what the command is for, on stdout. */
export function printLines(lines: readonly string[]): void {
  if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
}

/** The one object of `--json`, on stdout. Addresses are hexadecimal: they are beyond what JSON's numbers hold. */
export function printJson(value: object): void {
  const text = JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'bigint' ? `0x${BigInt.asUintN(64, item).toString(16)}` : item,
  );
  process.stdout.write(`${text}\n`);
}
