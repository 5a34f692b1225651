/**
 * The options that are about the freeze: one entry an option, with what it says to `freeze`. A new one
 * is a new entry here; help, parsing and the README's test follow.
 *
 * @module
 */
import { InvalidArgumentError, Option } from 'commander';
import {
  type FreezeOptions,
  type KernelFeatures,
  parseFreezePoint,
  UnexecError,
} from '../../unexec/index.ts';
import { splitWords } from '../words.ts';

/** What options say, until all have been read. */
export type Chosen = { -readonly [K in keyof FreezeOptions]: FreezeOptions[K] };

/** Gives an option's part of `FreezeOptions`, from its text and from what was chosen before it. */
type Parse = (text: string, chosen: Readonly<Chosen>, env: NodeJS.ProcessEnv) => Chosen;

interface FreezeOption {
  readonly flags: string;
  readonly description: string;
  readonly parse: Parse;
}

const FREEZE_OPTIONS: readonly FreezeOption[] = [
  {
    flags: '--at <point>',
    description: 'freeze point, see below (default: auto)',
    parse: text => ({ at: freezePoint(text) }),
  },
  {
    flags: '--env <NAME[=VALUE]>',
    description: 'give the program a variable, or ours of that name; repeatable',
    parse: (text, { env = [] }, ours) => ({ env: [...env, variable(text, ours)] }),
  },
  {
    flags: '--keep-env',
    description: 'give the program our whole environment; it will be in the file',
    parse: () => ({ keepEnv: true }),
  },
  {
    flags: '--drop-fd <n>',
    description: 'leave a descriptor out; repeatable, or a list with commas',
    parse: (text, { dropFds = [] }) => ({ dropFds: [...dropFds, ...descriptors(text)] }),
  },
  {
    flags: '--hangup-sockets',
    description: 'connected sockets are hung up in the image, not refused',
    parse: () => ({ hangupSockets: true }),
  },
  {
    flags: '--cwd <which>',
    description: "working directory at each start: frozen (default), or the caller's",
    parse: text => ({ cwd: oneOf(text, { frozen: 'frozen', caller: 'caller' }) }),
  },
  {
    flags: '--symbols <which>',
    description: 'symbols kept for debuggers: all (default), program or none',
    parse: text => ({ symbols: oneOf(text, { all: 'all', program: 'program', none: 'none' }) }),
  },
  {
    flags: '--train <args>',
    description: 'run the result once with these arguments, and lay it out for what that touches',
    parse: text => ({ train: { args: splitWords(text) } }),
  },
  {
    flags: '--leave-running',
    description: 'the program goes on after the freeze; otherwise it is killed',
    parse: () => ({ leaveRunning: true }),
  },
  {
    flags: '--avoid <features>',
    description: 'kernel features not to rely on: vdso, mm-map, rseq; a list with commas',
    parse: (text, { avoid = [] }) => ({ avoid: [...avoid, ...text.split(',').map(feature)] }),
  },
];

/** commander's options; each that is met adds to `chosen`. */
export const freezeOptions = (chosen: Chosen, env: NodeJS.ProcessEnv): Option[] =>
  FREEZE_OPTIONS.map(({ flags, description, parse }) => {
    const option = new Option(flags, description).argParser(text => {
      Object.assign(chosen, parse(text, chosen, env));
    });
    // commander hands the preset of an option without an argument to its parser.
    return option.required ? option : option.preset('');
  });

function freezePoint(text: string): string {
  try {
    parseFreezePoint(text);
    return text;
  } catch (error) {
    if (!(error instanceof UnexecError)) throw error;
    throw new InvalidArgumentError(error.hint ?? error.message);
  }
}

function variable(text: string, env: NodeJS.ProcessEnv): string {
  const equals = text.indexOf('=');
  if (equals === 0 || text === '') throw new InvalidArgumentError('A variable needs a name.');
  if (equals > 0) return text;
  const value = env[text];
  if (value === undefined) throw new InvalidArgumentError(`${text} is not set in our environment.`);
  return `${text}=${value}`;
}

function descriptors(text: string): number[] {
  return text.split(',').map(word => {
    if (!/^\d{1,9}$/.test(word)) throw new InvalidArgumentError(`'${word}' is no descriptor number.`);
    return Number(word);
  });
}

const feature = (text: string): keyof KernelFeatures =>
  oneOf(text, { vdso: 'vdso', 'mm-map': 'mmMap', rseq: 'rseq' });

function oneOf<T>(text: string, values: Readonly<Record<string, T>>): T {
  const value = Object.hasOwn(values, text) ? values[text] : undefined;
  if (value === undefined) {
    throw new InvalidArgumentError(`Allowed choices are ${Object.keys(values).join(', ')}.`);
  }
  return value;
}
