/**
 * The command line: which command it is for.
 *
 * @module
 */
import type { Invocation } from './command.ts';
import { FREEZE } from './commands/freeze.ts';
import { COMMANDS } from './commands/index.ts';
import { isMannerWord } from './context.ts';

/**
 * What the arguments (without node and script) ask for. The first word names the command; where it names
 * none, a program is to be frozen. `--json`, `--quiet` and `--verbose` may come before the name.
 *
 * @throws UsageError
 */
export function invocationOf(argv: readonly string[], env: NodeJS.ProcessEnv): Invocation {
  const at = argv.findIndex(word => !isMannerWord(word));
  const named = COMMANDS.find(({ name }) => name === argv[at]);
  if (named === undefined) return FREEZE.invoke(argv, env);
  return named.invoke([...argv.slice(0, at), ...argv.slice(at + 1)], env);
}
