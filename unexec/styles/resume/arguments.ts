/**
 * The arguments and environment of the second life: kept when the new process's stack goes, and shown
 * to the program in every way in which it can look. Facts: execve(2), environ(7).
 *
 * @module
 */
import type { Arch, ProcessImage, RegisterName } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { type DataRef, SLOT, type Slot } from '../../restorer/steps.ts';
import { registerOffset } from './signal-frame.ts';
import { NR } from './system-calls.ts';
import { ARGUMENTS_SIZE, type Window } from './window.ts';

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_FIXED_ANONYMOUS = 0x32;

/** The first three argument registers of a function. */
const ARGUMENT_REGISTERS = {
  x86_64: ['rdi', 'rsi', 'rdx'],
  aarch64: ['x0', 'x1', 'x2'],
} as const satisfies Record<Arch, readonly RegisterName[]>;

/** Where argc, argv and envp of the second life are. */
export interface Arguments {
  readonly argv: Slot;
  readonly envp: Slot;
  readonly argStart: Slot;
  readonly envStart: Slot;
  readonly envEnd: Slot;
}

/** Copies argument vector, environment and their strings out of the new process's stack. */
export function keepArguments(program: RestoreProgram, window: Window): Arguments {
  const slot = (n: number): Slot => ({ slot: n });
  const length = program.slot();
  const delta = program.slot();
  program.operation('SET', 'size of the arguments', [slot(SLOT.STRINGS_END), 0, slot(SLOT.SP)], {
    into: length,
  });
  program.operation('AT_MOST', 'the arguments are too long', [length, ARGUMENTS_SIZE]);
  program.syscall('room for the arguments', NR.mmap, [
    window.arguments,
    length,
    PROT_READ_WRITE,
    MAP_PRIVATE_FIXED_ANONYMOUS,
    -1,
    0,
  ]);
  program.operation('COPY', 'arguments', [window.arguments, slot(SLOT.SP), length]);
  program.operation('SET', 'distance', [window.arguments, 0, slot(SLOT.SP)], { into: delta });
  for (const moved of [SLOT.ARGV, SLOT.ENVP, SLOT.AUXV, SLOT.ARG_START, SLOT.ENV_START, SLOT.ENV_END]) {
    program.operation('SET', 'move a pointer', [slot(moved), delta, 0], { into: slot(moved) });
  }
  program.operation('RELOCATE', 'move the vectors', [slot(SLOT.ARGV), delta, slot(SLOT.AUXV)]);
  return {
    argv: slot(SLOT.ARGV),
    envp: slot(SLOT.ENVP),
    argStart: slot(SLOT.ARG_START),
    envStart: slot(SLOT.ENV_START),
    envEnd: slot(SLOT.ENV_END),
  };
}

/** What the program sees of its new arguments, by whichever way it can look. */
export function passArguments(
  program: RestoreProgram,
  image: ProcessImage,
  given: Arguments,
  mainFrame: DataRef | undefined,
): void {
  const argc: Slot = { slot: SLOT.ARGC };
  for (const { address, holds } of image.environment) {
    const value = { argv: given.argv, envp: given.envp, 'argv[0]': given.argStart }[holds];
    program.operation('STORE', `new ${holds}`, [address, value]);
  }
  if (image.request !== undefined) {
    program.operation('STORE', 'argc', [image.request, argc]);
    program.operation('STORE', 'argv', [image.request + 8n, given.argv]);
    program.operation('STORE', 'envp', [image.request + 16n, given.envp]);
  }
  if (mainFrame === undefined) return;
  const register = (name: RegisterName): DataRef => ({
    ...mainFrame,
    offset: mainFrame.offset + registerOffset(name),
  });
  if (image.atMain) {
    const [first, second, third] = ARGUMENT_REGISTERS[image.arch];
    program.operation('STORE', 'argc', [register(first), argc]);
    program.operation('STORE', 'argv', [register(second), given.argv]);
    program.operation('STORE', 'envp', [register(third), given.envp]);
  }
}
