/**
 * The command line: what it says, and what is wrong with it.
 *
 * @module
 */
import { Command, CommanderError } from 'commander';
import { type FreezeOptions, VERSION } from '../unexec/index.ts';
import { UsageError } from './errors.ts';
import { helpText } from './help.ts';
import { type Chosen, freezeOptions } from './options.ts';

/** How the command itself behaves. */
export interface Manner {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
}

export type Request =
  | {
      readonly type: 'freeze';
      readonly program: string;
      readonly target: string;
      readonly options: FreezeOptions;
    }
  /** `--help` or `--version`: text for stdout. */
  | { readonly type: 'text'; readonly text: string };

const DESCRIPTION =
  'Freezes an initialised program into an executable. Starting the executable continues the program from ' +
  'there, with new arguments, environment and terminal.';

/**
 * Parses arguments (without node and script). What comes after the first `--` belongs to the program.
 *
 * @throws UsageError
 */
export function parseCommandLine(argv: readonly string[], env: NodeJS.ProcessEnv): Request {
  const { own, args } = splitAtDashes(argv);
  const chosen: Chosen = {};
  let text = '';
  const command = new Command('unexec')
    .usage('[options] <running-image> <out-binary> [-- args...]')
    .description(DESCRIPTION)
    .argument('<running-image>', 'the program to be started and frozen: a path, or a name in PATH')
    .argument('<out-binary>', 'the executable to be written')
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .option('--json', "one JSON object on stdout; the program's own stdout goes to stderr")
    .option('-q, --quiet', 'no summary; errors only')
    .option('-v, --verbose', 'list regions and restore steps; causes of errors')
    .addHelpText('after', helpText())
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: out => (text += out), writeErr: () => {}, getOutHelpWidth: () => 100 });
  for (const option of freezeOptions(chosen, env)) command.addOption(option);
  try {
    command.parse([...own], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { type: 'text', text };
    throw usageError(error);
  }
  const [program = '', target = ''] = command.args;
  return { type: 'freeze', program, target, options: { ...chosen, args } };
}

/** Read apart from the rest: it also says how a wrong command line is reported. */
export function mannerOf(argv: readonly string[]): Manner {
  const { own } = splitAtDashes(argv);
  const has = (long: string, short: RegExp): boolean => own.some(word => word === long || short.test(word));
  return {
    json: own.includes('--json'),
    quiet: has('--quiet', /^-v*qv*$/),
    verbose: has('--verbose', /^-q*vq*$/),
  };
}

function splitAtDashes(argv: readonly string[]): { own: readonly string[]; args: readonly string[] } {
  const dashes = argv.indexOf('--');
  return dashes < 0 ? { own: argv, args: [] } : { own: argv.slice(0, dashes), args: argv.slice(dashes + 1) };
}

function usageError({ code, message }: CommanderError): UsageError {
  const what = message.replace(/^error: /, '');
  if (code === 'commander.excessArguments' || code === 'commander.unknownOption') {
    return new UsageError(what, "the program's own arguments go after -- ; unexec --help tells the options");
  }
  return new UsageError(what);
}
