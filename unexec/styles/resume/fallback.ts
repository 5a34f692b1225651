/**
 * The normal start of the program, where its image cannot go on (`--or-start`). Up to its last point of return the
 * restore program changes nothing that a new program would notice and that is not put back here: execve(2) resets
 * memory, signal handlers, break and vdso, and closes what is marked so; descriptors, signal mask and the limit of open
 * files are saved before they are touched. What it cannot undo (terminal modes, ignored signals, umask,
 * attributes, threads) comes later, and what fails then ends it, as without a fallback.
 *
 * Facts: execve(2), fcntl(2), chdir(2), getrlimit(2).
 *
 * @module
 */
import type { ProcessImage } from '../../image.ts';
import { ERRNO } from '../../linux/errno.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { type DataRef, LARGEST_RESULT, SLOT, type Slot, type StepArgument } from '../../restorer/steps.ts';
import { wantedDescriptors } from './opening.ts';
import { NR } from './system-calls.ts';

const F_GETFD = 1;
const F_DUPFD_CLOEXEC = 1030;
const RLIMIT_NOFILE = 7;
const SIG_BLOCK = 0;
const SIG_SETMASK = 2;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const POINTER = 8;
const LABEL = 'normal start';
/** As a shell says it: not found, and found but not started. */
const STATUS = { NOT_FOUND: 127, NOT_STARTED: 126 } as const;

/** How a program is started where its image cannot go on. */
export interface NormalStart {
  /** Absolute path. */
  readonly program: string;
  /** What comes before the new arguments. */
  readonly argv: readonly string[];
  /** `NAME=VALUE` each, behind the environment of the caller: what that sets, counts. */
  readonly env: readonly string[];
  /** Undefined: that of the caller, in which the image stays, too. */
  readonly cwd: string | undefined;
}

export interface Fallback {
  /** How many descriptors it takes meanwhile. */
  readonly descriptors: number;
  /** Before descriptors are replaced: keeps those of the caller. */
  readonly keepDescriptors: () => void;
  /** The last point of return: from here on a failure ends the process. */
  readonly giveUp: () => void;
  /** The steps of the start itself, to come behind the end of the program. */
  readonly addSteps: () => void;
}

const NO_FALLBACK: Fallback = { descriptors: 0, keepDescriptors() {}, giveUp() {}, addSteps() {} };

/** To be called before any other step. Without a `start`, a failure ends the process from the beginning. */
export function planFallback(
  program: RestoreProgram,
  image: ProcessImage,
  start: NormalStart | undefined,
): Fallback {
  if (start === undefined) return NO_FALLBACK;
  const prefix = keepPrefix(program);
  const mask = program.writable(new Uint8Array(8));
  const limit = program.writable(new Uint8Array(16));
  setPrefix(program, `unexec: ${start.program} is started anew, as it cannot be resumed: `);
  program.operation('SET', 'fall back to a normal start', [{ label: LABEL }, 0, 0], {
    into: { slot: SLOT.FALLBACK },
  });
  program.syscall('signal mask of the caller', NR.rt_sigprocmask, [SIG_BLOCK, 0, mask, 8]);
  program.syscall('limit of open files', NR.prlimit64, [0, RLIMIT_NOFILE, 0, limit]);
  const descriptors = [0, 1, 2, ...wantedDescriptors(image)];
  const kept = program.writable(new Uint8Array(descriptors.length * 8));
  return {
    descriptors: descriptors.length,
    keepDescriptors: () => keepDescriptors(program, descriptors, kept),
    giveUp() {
      program.operation('SET', 'no way back from here', [0, 0, 0], { into: { slot: SLOT.FALLBACK } });
      prefix.putBack();
      const word = program.slot();
      for (const [i] of descriptors.entries()) {
        program.operation('LOAD', 'kept descriptor', [kept, i * 8], { into: word });
        program.syscall('close a kept descriptor', NR.close, [word], { bestEffort: true });
      }
    },
    addSteps() {
      program.labelNext(LABEL);
      setPrefix(program, `unexec: cannot start ${start.program} either: `);
      putBackDescriptors(program, descriptors, kept);
      if (start.cwd !== undefined) {
        program.syscall(`directory ${start.cwd}`, NR.chdir, [program.string(start.cwd)]);
      }
      program.syscall('limit of open files', NR.prlimit64, [0, RLIMIT_NOFILE, limit, 0], {
        bestEffort: true,
      });
      const argv = argumentVector(program, start.argv);
      const envp = environmentVector(program, start.env);
      program.syscall('signal mask of the caller', NR.rt_sigprocmask, [SIG_SETMASK, mask, 0, 8]);
      execute(program, start.program, argv, envp);
    },
  };
}

/** What the line of a failure begins with, to be put back later. */
function keepPrefix(program: RestoreProgram): { readonly putBack: () => void } {
  const slots = [SLOT.PREFIX, SLOT.PREFIX_LENGTH].map(slot => ({ from: { slot }, kept: program.slot() }));
  for (const { from, kept } of slots) {
    program.operation('SET', 'keep the prefix', [from, 0, 0], { into: kept });
  }
  return {
    putBack() {
      for (const { from, kept } of slots) {
        program.operation('SET', 'the prefix as it was', [kept, 0, 0], { into: from });
      }
    },
  };
}

function setPrefix(program: RestoreProgram, text: string): void {
  program.operation('SET', 'prefix', [program.string(text), 0, 0], { into: { slot: SLOT.PREFIX } });
  program.operation('SET', 'length of the prefix', [Buffer.byteLength(text), 0, 0], {
    into: { slot: SLOT.PREFIX_LENGTH },
  });
}

/**
 * A word each: 0 while the descriptor is as the caller left it, an error where it was closed, else the number of its
 * duplicate. None of them was to be closed on exec, as this process has just been exec'ed.
 */
function keepDescriptors(program: RestoreProgram, descriptors: readonly number[], kept: DataRef): void {
  const above = Math.max(...descriptors) + 1;
  const found = program.slot();
  for (const [i, fd] of descriptors.entries()) {
    program.syscall(`is descriptor ${fd} open`, NR.fcntl, [fd, F_GETFD, 0], {
      into: found,
      bestEffort: true,
    });
    program.when('AT_MOST', 'it is', [found, LARGEST_RESULT], () => {
      program.syscall(`keep descriptor ${fd} (ulimit -n)`, NR.fcntl, [fd, F_DUPFD_CLOEXEC, above], {
        into: found,
      });
    });
    program.operation('STORE', `kept descriptor ${fd}`, [{ ...kept, offset: i * 8 }, found]);
  }
}

function putBackDescriptors(program: RestoreProgram, descriptors: readonly number[], kept: DataRef): void {
  const word = program.slot();
  for (const [i, fd] of descriptors.entries()) {
    program.operation('LOAD', `kept descriptor ${fd}`, [kept, i * 8], { into: word });
    program.when('AT_MOST', 'it was looked at', [1, word], () => {
      program.when(
        'AT_MOST',
        'it was open',
        [word, LARGEST_RESULT],
        () => program.syscall(`descriptor ${fd} as it was`, NR.dup3, [word, fd, 0], { bestEffort: true }),
        () => program.syscall(`close descriptor ${fd}`, NR.close, [fd], { bestEffort: true }),
      );
    });
  }
}

/** These strings, and the new arguments behind argv[0]. */
function argumentVector(program: RestoreProgram, argv: readonly string[]): Slot {
  const argc: Slot = { slot: SLOT.ARGC };
  const bytes = program.slot();
  program.operation('SET', 'arguments', [argc, argc, 0], { into: bytes });
  program.operation('SET', 'arguments', [bytes, bytes, 0], { into: bytes });
  program.operation('SET', 'arguments', [bytes, bytes, 0], { into: bytes });
  const { vector, end } = newVector(program, bytes, argv.length);
  append(program, end, argv);
  // As many as argc: argv[0] is left out, and the zero at the end comes with them.
  const from = program.slot();
  program.operation('SET', 'new arguments', [{ slot: SLOT.ARGV }, POINTER, 0], { into: from });
  program.operation('SET', 'new arguments', [end, argv.length * POINTER, 0], { into: end });
  program.when('AT_MOST', 'there is an argv[0]', [1, argc], () => {
    program.operation('COPY', 'new arguments', [end, from, bytes]);
  });
  return vector;
}

/** The environment of the caller, and these strings. */
function environmentVector(program: RestoreProgram, env: readonly string[]): StepArgument {
  const envp: Slot = { slot: SLOT.ENVP };
  if (env.length === 0) return envp;
  const bytes = program.slot();
  // The auxiliary vector follows the zero behind the environment.
  program.operation('SET', 'environment', [{ slot: SLOT.AUXV }, 0, envp], { into: bytes });
  const { vector, end } = newVector(program, bytes, env.length);
  program.operation('COPY', 'environment of the caller', [vector, envp, bytes]);
  program.operation('SET', 'end of the environment', [vector, bytes, POINTER], { into: end });
  append(program, end, env);
  return vector;
}

/** Zeros, for as many bytes and pointers, and for one more. */
function newVector(program: RestoreProgram, bytes: Slot, pointers: number): { vector: Slot; end: Slot } {
  const size = program.slot();
  const vector = program.slot();
  const end = program.slot();
  program.operation('SET', 'size of a vector', [bytes, (pointers + 1) * POINTER, 0], { into: size });
  const map = [0, size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0];
  program.syscall('room for a vector', NR.mmap, map, { into: vector });
  program.operation('SET', 'end of the vector', [vector, 0, 0], { into: end });
  return { vector, end };
}

/** Stores the addresses of strings one after the other. */
function append(program: RestoreProgram, end: Slot, strings: readonly string[]): void {
  if (strings.length === 0) return;
  const pointers = program.data(new Uint8Array(strings.length * POINTER));
  for (const [i, text] of strings.entries()) {
    program.pointer({ ...pointers, offset: i * POINTER }, program.string(text));
  }
  program.operation('COPY', 'strings', [end, pointers, strings.length * POINTER]);
}

function execute(program: RestoreProgram, path: string, argv: StepArgument, envp: StepArgument): void {
  const result = program.slot();
  const status: Slot = { slot: SLOT.EXIT_STATUS };
  const notFound = BigInt.asUintN(64, BigInt(-ERRNO.ENOENT));
  program.syscall(`execve ${path}`, NR.execve, [program.string(path), argv, envp], {
    into: result,
    bestEffort: true,
  });
  program.operation('SET', 'exit status', [STATUS.NOT_STARTED, 0, 0], { into: status });
  program.when('AT_MOST', 'not found', [notFound, result], () => {
    program.when('AT_MOST', 'not found', [result, notFound], () => {
      program.operation('SET', 'exit status', [STATUS.NOT_FOUND, 0, 0], { into: status });
    });
  });
  program.operation('FAIL', 'execve', [result]);
}
