/**
 * Errors as people and programs read them: one line that says what, a list of reasons with their
 * remedies, a hint; or one JSON object with the same facts.
 *
 * @module
 */
import { FormatError, type Reason, UnexecError } from '../unexec/index.ts';
import { printable, type Style } from './render.ts';

/** What is told of an error, whatever class it has. */
export interface ErrorFacts {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
  readonly path: string | undefined;
  readonly reasons: readonly Reason[];
}

/** The command line is wrong. */
export class UsageError extends UnexecError {
  constructor(message: string, hint = 'unexec --help tells the options') {
    super('USAGE', message, { hint });
  }
}

/** The facts of anything that was thrown. What is none of our errors is a fault of ours: `INTERNAL`. */
export function factsOf(error: unknown): ErrorFacts {
  if (error instanceof UnexecError) {
    const { code, message, hint, path, reasons } = error;
    return { code, message, hint, path, reasons };
  }
  const code = error instanceof FormatError ? error.code : 'INTERNAL';
  const message = error instanceof Error ? error.message : String(error);
  const hint = 'this is a fault of unexec: please report it, with the output of --verbose';
  return { code, message, hint, path: undefined, reasons: [] };
}

/** Lines for stderr; `verbose` adds the code, the causes and, for faults of ours, the stack. */
export function renderError(error: unknown, style: Style, verbose: boolean): string[] {
  const { code, message, hint, reasons } = factsOf(error);
  const lines = [`${style.red('unexec:')} ${printable(message)}`];
  for (const { what, remedy } of reasons) {
    lines.push(`  - ${printable(what)}`, `    ${style.dim('remedy:')} ${printable(remedy)}`);
  }
  if (hint !== undefined) lines.push(`  ${style.yellow('hint:')} ${printable(hint)}`);
  if (!verbose) return lines;
  lines.push(`  ${style.dim('code:')} ${code}`);
  for (const cause of causesOf(error)) lines.push(`  ${style.dim('cause:')} ${printable(cause)}`);
  if (code === 'INTERNAL' && error instanceof Error) lines.push(...(error.stack ?? '').split('\n').slice(1));
  return lines;
}

function causesOf(error: unknown): string[] {
  const causes: string[] = [];
  let cause = error instanceof Error ? error.cause : undefined;
  // Bounded: a cause may lead back to itself.
  while (cause !== undefined && causes.length < 10) {
    causes.push(cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause));
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return causes;
}

/** The object of `--json`. */
export function errorJson(error: unknown, exitCode: number): object {
  const { code, message, hint, path, reasons } = factsOf(error);
  return { ok: false, exitCode, error: { code, message, hint, path, reasons } };
}
