/**
 * What a command is: a name, how its words are read, and what it does then. Each has a file of its own in
 * commands/, and commands/index.ts is the list of them.
 *
 * @module
 */
import { CommanderError, Command as Parser } from 'commander';
import type { Context } from './context.ts';
import { UsageError } from './errors.ts';
import { table } from './render.ts';

/** `--help` or `--version`: text for stdout. */
export interface Text {
  readonly type: 'text';
  readonly text: string;
}

/** What a command line asks for. */
export type Invocation = Text | { readonly type: 'run'; run(context: Context): Promise<number> };

export interface Command {
  readonly name: string;
  /** For the list in `unexec --help`. */
  readonly summary: string;
  /** @throws UsageError */
  invoke(words: readonly string[], env: NodeJS.ProcessEnv): Invocation;
}

export interface CommandParts<R extends { readonly type: string }> {
  readonly name: string;
  readonly summary: string;
  /** @throws UsageError */
  parse(words: readonly string[], env: NodeJS.ProcessEnv): R | Text;
  /** Gives the exit status. */
  run(request: R, context: Context): Promise<number>;
}

/** A command from its parts, of which only these two functions know what the words mean. */
export const command = <R extends { readonly type: string }>(parts: CommandParts<R>): Command => ({
  name: parts.name,
  summary: parts.summary,
  invoke(words, env) {
    const request = parts.parse(words, env);
    if (isText(request)) return request;
    return { type: 'run', run: context => parts.run(request, context) };
  },
});

const isText = (request: { readonly type: string }): request is Text => request.type === 'text';

/** A parser with the options that every command has. */
export const newParser = (name: string, description: string, jsonHelp: string, quietHelp: string): Parser =>
  new Parser(name)
    .description(description)
    .helpOption('-h, --help', 'print this help')
    .option('--json', jsonHelp)
    .option('-q, --quiet', quietHelp)
    .allowExcessArguments(false);

/**
 * Reads the words. The result is the text that they ask for, if they do.
 *
 * @throws UsageError; `extraHint` is for words too many and options that do not exist
 */
export function readWords(
  parser: Parser,
  words: readonly string[],
  extraHint: string | undefined = undefined,
): Text | undefined {
  let text = '';
  parser
    .exitOverride()
    .configureOutput({ writeOut: out => (text += out), writeErr: () => {}, getOutHelpWidth: () => 100 });
  try {
    parser.parse([...words], { from: 'user' });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { type: 'text', text };
    throw usageError(error, parser.name(), extraHint);
  }
}

function usageError(
  { code, message }: CommanderError,
  name: string,
  extraHint: string | undefined,
): UsageError {
  const what = message.replace(/^error: /, '');
  const hint = `${name} --help tells the options`;
  if (
    extraHint !== undefined &&
    (code === 'commander.excessArguments' || code === 'commander.unknownOption')
  ) {
    return new UsageError(what, `${extraHint}; ${hint}`);
  }
  return new UsageError(what, hint);
}

/** A titled part of what `--help` tells after the options. */
export const helpSection = (title: string, lines: readonly string[]): string =>
  `\n${title}:\n${lines.map(line => `  ${line}`).join('\n')}\n`;

/** An example for `--help`: what it does, and how it is typed. */
export type Example = readonly [command: string, what: string];

export const examplesSection = (examples: readonly Example[]): string =>
  helpSection(
    'Examples',
    examples.flatMap(([command, what]) => [`# ${what}`, command]),
  );

export const exitSection = (meanings: readonly (readonly [number | string, string])[]): string =>
  helpSection('Exit status', table(meanings.map(([code, what]) => [`${code}`, what])));
