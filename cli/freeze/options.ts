/**
 * The options that are about the freeze: one entry an option, with what it says to `freeze`, `restart` or
 * `freezeLibrary`. A new one is a new entry here; help, parsing and the README's test follow.
 *
 * @module
 */
import { InvalidArgumentError, Option } from 'commander';
import {
  CPU_LEVELS,
  type FreezeOptions,
  type KernelFeatures,
  parseFreezePoint,
  type RestartOptions,
  type SharedOptions,
  UnexecError,
} from '../../unexec/index.ts';
import { UsageError } from '../errors.ts';
import { parseSize } from '../sizes.ts';
import { splitWords } from '../words.ts';

/** How what is written begins its later lives: where it was frozen, at main, or as a library that is opened. */
export type FreezeStyle = 'resume' | 'restart' | 'shared';

interface AllOptions extends FreezeOptions, RestartOptions, SharedOptions {
  readonly style?: FreezeStyle;
  readonly as?: 'program' | 'core';
  /** The process to be frozen. */
  readonly pid?: number;
}

/** What options say, until all have been read. */
export type Chosen = { -readonly [K in keyof AllOptions]: AllOptions[K] };

/** Gives an option's part of `FreezeOptions`, from its text and from what was chosen before it. */
type Parse = (text: string, chosen: Readonly<Chosen>, env: NodeJS.ProcessEnv) => Chosen;

interface FreezeOption {
  readonly flags: string;
  readonly description: string;
  /** The styles that understand it, where not all do. */
  readonly only?: readonly FreezeStyle[];
  readonly parse: Parse;
}

const FREEZE_OPTIONS: readonly FreezeOption[] = [
  {
    flags: '--style <style>',
    description:
      'resume (default): goes on from there; restart: begins again at main, with its state; shared: a library, initialised',
    parse: text => ({ style: oneOf(text, { resume: 'resume', restart: 'restart', shared: 'shared' }) }),
  },
  {
    flags: '--as <what>',
    description:
      'what is written: program (default), or core: an ELF core, for debuggers and to be frozen later',
    only: ['resume'],
    parse: text => ({ as: oneOf(text, { program: 'program', core: 'core' }) }),
  },
  {
    flags: '--at <point>',
    description: 'freeze point, see below (default: auto; of a process that runs: now)',
    only: ['resume', 'restart'],
    parse: text => ({ at: freezePoint(text) }),
  },
  {
    flags: '--pid <n>',
    description: 'the process that runs and is to be frozen, in place of <running-image>',
    only: ['resume'],
    parse: text => ({ pid: pidOf(text) }),
  },
  {
    flags: '--env <NAME[=VALUE]>',
    description: 'give the program a variable, or ours of that name; repeatable',
    parse: (text, { env = [] }, ours) => ({ env: [...env, variable(text, ours)] }),
  },
  {
    flags: '--keep-env',
    description: 'give the program our whole environment; it will be in the file',
    only: ['resume', 'restart'],
    parse: () => ({ keepEnv: true }),
  },
  {
    flags: '--drop-fd <n>',
    description: 'leave a descriptor out; repeatable, or a list with commas',
    only: ['resume'],
    parse: (text, { dropFds = [] }) => ({ dropFds: [...dropFds, ...descriptors(text)] }),
  },
  {
    flags: '--hangup-sockets',
    description: 'connected sockets are hung up in the image, not refused',
    only: ['resume'],
    parse: () => ({ hangupSockets: true }),
  },
  {
    flags: '--cwd <which>',
    description: "working directory at each start: frozen (default), or the caller's (default at main)",
    only: ['resume'],
    parse: text => ({ cwd: oneOf(text, { frozen: 'frozen', caller: 'caller' }) }),
  },
  {
    flags: '--symbols <which>',
    description: 'symbols kept for debuggers: all (default), program or none',
    only: ['resume'],
    parse: text => ({ symbols: oneOf(text, { all: 'all', program: 'program', none: 'none' }) }),
  },
  {
    flags: '--thin',
    description: 'leave unchanged pages of libraries and other mapped files in these files',
    only: ['resume'],
    parse: () => ({ thin: true }),
  },
  {
    flags: '--compress',
    description: 'store memory compressed: the smallest file, decompressed as a whole at each start',
    only: ['resume'],
    parse: () => ({ compress: true }),
  },
  {
    flags: '--train <args>',
    description: 'run the result once with these arguments, and lay it out for what that touches',
    only: ['resume'],
    parse: text => ({ train: { args: splitWords(text) } }),
  },
  {
    flags: '--or-start',
    description: 'where the result cannot resume, it starts the program normally, and says why',
    only: ['resume'],
    parse: () => ({ orStart: true }),
  },
  {
    flags: '--reproducible',
    description: 'the same program gives the same bytes: fixed addresses, canaries, ids and times',
    only: ['resume'],
    parse: () => ({ reproducible: true }),
  },
  {
    flags: '--leave-running',
    description: 'a program that was started goes on after the freeze; otherwise it is killed',
    only: ['resume'],
    parse: () => ({ leaveRunning: true }),
  },
  {
    flags: '--kill',
    description: 'a process that ran before is killed after the freeze; otherwise it goes on',
    only: ['resume'],
    parse: () => ({ leaveRunning: false }),
  },
  {
    flags: '--copy-limit <size>',
    description:
      'memory taken so that a process goes on before the file is written: 256M, 0 (default: half of what is there)',
    only: ['resume'],
    parse: text => ({ copyLimit: text === '0' ? 0 : parseSize(text) }),
  },
  {
    flags: '--cpu <level>',
    description:
      'start it so that its code is chosen for x86-64-v2, x86-64-v3 or x86-64-v4 (default: native, this CPU)',
    only: ['resume'],
    parse: text => ({ cpu: oneOf(text, Object.fromEntries(CPU_LEVELS.map(level => [level, level]))) }),
  },
  {
    flags: '--avoid <features>',
    description:
      'kernel features not to rely on: vdso, mm-map, rseq, timer-ids, unmap-vdso; a list with commas',
    only: ['resume'],
    parse: (text, { avoid = [] }) => ({ avoid: [...avoid, ...text.split(',').map(feature)] }),
  },
  {
    flags: '--exe <file>',
    description:
      'of a core, or of what runs in an emulator: the executable, where it is not named or elsewhere',
    only: ['resume', 'restart'],
    parse: text => ({ exe: text }),
  },
  {
    flags: '--sysroot <directory>',
    description: 'of a core: the root directory of its machine, for libraries that the core leaves out',
    only: ['resume'],
    parse: text => ({ sysroot: text }),
  },
  {
    flags: '--compare <core>',
    description: 'restart: a core of another run that did the same, to tell pointers from numbers',
    only: ['restart'],
    parse: text => ({ compare: text }),
  },
  {
    flags: '--strict',
    description: 'restart: refuse where it is not certain what a word is',
    only: ['restart'],
    parse: () => ({ strict: true }),
  },
  {
    flags: '--runs <count>',
    description:
      'restart: 2 (default), or 3: run a third time, which settles what two explain by coincidence',
    only: ['restart'],
    parse: text => ({ runs: oneOf(text, { '2': 2, '3': 3 }) }),
  },
  {
    flags: '--scratch <symbol>',
    description:
      'restart, shared: a variable that is zero in the next life: SYMBOL or SYMBOL+OFFSET:SIZE (repeatable)',
    only: ['restart', 'shared'],
    parse: (text, { scratch = [] }) => ({ scratch: [...scratch, text] }),
  },
  {
    flags: '--init <function>',
    description: 'shared: the function that initialises the library, without arguments',
    only: ['shared'],
    parse: text => ({ init: text }),
  },
  {
    flags: '--clear-remains',
    description: 'shared: where a number was stored over a part of a pointer, clear the rest of it',
    only: ['shared'],
    parse: () => ({ clearRemains: true }),
  },
];

/** What is about an image, or about reading a core: of no use for `--as core`. */
export const NOT_AS_CORE: readonly string[] = [
  '--cwd <which>',
  '--symbols <which>',
  '--train <args>',
  '--or-start',
  '--reproducible',
  '--thin',
  '--compress',
  '--avoid <features>',
  '--exe <file>',
  '--sysroot <directory>',
];

/** What says how a program is started, and means nothing for a process that runs. */
export const STARTING_ONLY: readonly string[] = ['--env <NAME[=VALUE]>', '--keep-env'];

/** commander's options; each that is met adds to `chosen`, and to `met`. */
export const freezeOptions = (
  chosen: Chosen,
  env: NodeJS.ProcessEnv,
  met: Pick<Set<string>, 'add'> = new Set<string>(),
): Option[] =>
  FREEZE_OPTIONS.map(({ flags, description, parse }) => {
    const option = new Option(flags, description).argParser(text => {
      met.add(flags);
      Object.assign(chosen, parse(text, chosen, env));
    });
    // commander hands the preset of an option without an argument to its parser.
    return option.required ? option : option.preset('');
  });

/** @throws UsageError for an option that the style does not understand */
export function checkStyle(style: FreezeStyle, met: ReadonlySet<string>): void {
  for (const { flags, only } of FREEZE_OPTIONS) {
    if (only === undefined || only.includes(style) || !met.has(flags)) continue;
    throw new UsageError(`${flags.split(' ')[0]} is for --style ${only.join(' and ')} only`);
  }
}

function pidOf(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new InvalidArgumentError(`'${text}' is no number of a process.`);
  return Number(text);
}

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
  oneOf(text, {
    vdso: 'vdso',
    'mm-map': 'mmMap',
    rseq: 'rseq',
    'timer-ids': 'timerIds',
    'unmap-vdso': 'unmapVdso',
  });

function oneOf<T>(text: string, values: Readonly<Record<string, T>>): T {
  const value = Object.hasOwn(values, text) ? values[text] : undefined;
  if (value === undefined) {
    throw new InvalidArgumentError(`Allowed choices are ${Object.keys(values).join(', ')}.`);
  }
  return value;
}
