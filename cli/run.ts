/**
 * One run of the command: from arguments to an exit status.
 *
 * @module
 */
import { type Manner, mannerOf, printJson, stderrStyle, tellLines } from './context.ts';
import { errorJson, factsOf, renderError } from './errors.ts';
import { EXIT, exitCodeOf, exitCodeOfSignal } from './exit-codes.ts';
import { invocationOf } from './program.ts';
import { handleSignals } from './signals.ts';

/** Runs the command; the result is its exit status. */
export async function runCommand(argv: readonly string[]): Promise<number> {
  const manner = mannerOf(argv);
  const interruption = handleSignals();
  try {
    const invocation = invocationOf(argv, process.env);
    if (invocation.type === 'run') return await invocation.run({ manner, signal: interruption.signal });
    process.stdout.write(invocation.text);
    return EXIT.OK;
  } catch (error) {
    const signal = await interruption.came();
    const told = signal === undefined ? error : interruption.signal.reason;
    const exitCode = signal === undefined ? exitCodeOf(factsOf(error).code) : exitCodeOfSignal(signal);
    tell(told, exitCode, manner);
    return exitCode;
  } finally {
    interruption.stop();
  }
}

function tell(error: unknown, exitCode: number, { json, verbose }: Manner): void {
  if (json) printJson(errorJson(error, exitCode));
  else tellLines(renderError(error, stderrStyle(), verbose));
}
