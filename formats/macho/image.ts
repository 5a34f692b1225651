/**
 * What load commands say about an image as a whole: its UUID, where it starts, for which system it was
 * built, which libraries it uses. `mach-o/loader.h` of cctools-1035.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { viewOf } from '../struct.ts';
import { commandString, fields } from './commands.ts';
import { ARM_FLAVOR, CPU_TYPE, DYLIB_USE_MARKER, LC, PLATFORM, X86_FLAVOR } from './constants.ts';
import { findCommand, findCommands, findSegment } from './find.ts';
import type { MachOFile, OtherCommand } from './model.ts';
import {
  arm_thread_state64,
  build_version_command,
  dylib_command,
  dylib_use_command,
  entry_point_command,
  LE,
  load_command,
  rpath_command,
  thread_flavor,
  uuid_command,
  version_min_command,
  x86_thread_state64,
} from './structs.ts';

/** LC_UUID as 32 digits of lower-case hexadecimal; undefined where the file has none. */
export function readUuid(file: MachOFile): string | undefined {
  const command = findCommand(file, LC.LC_UUID);
  return (
    command &&
    [...fields(command, uuid_command).uuid].map(byte => byte.toString(16).padStart(2, '0')).join('')
  );
}

/** Where an executable starts, before any slide. */
export interface Entry {
  readonly address: bigint;
  /** LC_MAIN: a function that dyld calls, `main`. LC_UNIXTHREAD: where the kernel lets the thread begin. */
  readonly cmd: typeof LC.LC_MAIN | typeof LC.LC_UNIXTHREAD;
}

/**
 * The entry of an executable; undefined where no command gives one.
 *
 * @throws FormatError `MACHO_BAD_COMMAND`
 */
export function readEntry(file: MachOFile): Entry | undefined {
  const main = findCommand(file, LC.LC_MAIN);
  if (main) {
    const header = findSegment(file, '__TEXT')?.vmaddr ?? 0n;
    return { address: header + fields(main, entry_point_command).entryoff, cmd: LC.LC_MAIN };
  }
  const thread = findCommand(file, LC.LC_UNIXTHREAD);
  if (!thread) return undefined;
  const address = programCounter(file, thread);
  return address === undefined ? undefined : { address, cmd: LC.LC_UNIXTHREAD };
}

/** A thread's registers: one flavor of LC_THREAD or LC_UNIXTHREAD. */
export interface ThreadState {
  /** x86_THREAD_STATE64, ARM_THREAD_STATE64, … */
  readonly flavor: number;
  /** A view of the command's bytes. */
  readonly state: Uint8Array;
}

/**
 * The flavors of state that a thread command has, in order.
 *
 * @throws FormatError `MACHO_BAD_COMMAND` where one ends after the command does
 */
export function readThreadStates({ bytes }: OtherCommand): ThreadState[] {
  const view = viewOf(bytes);
  const states: ThreadState[] = [];
  let at = load_command.size;
  while (bytes.length - at >= thread_flavor.size) {
    const { flavor, count } = thread_flavor.read(view, at, LE);
    const start = at + thread_flavor.size;
    // A command's size is a multiple of 8, a state's one of 4: what is left may be no state.
    if (flavor === 0 && count === 0) break;
    if (4 * count > bytes.length - start) {
      throw new FormatError(
        'MACHO_BAD_COMMAND',
        `Mach-O: a thread state of flavor ${flavor} is ${hex(4 * count)} bytes, expected at most the ${hex(bytes.length - start)} that its command has left`,
        { value: count },
      );
    }
    states.push({ flavor, state: bytes.subarray(start, start + 4 * count) });
    at = start + 4 * count;
  }
  return states;
}

/** `16.4.1`, from xxxx.yy.zz; the last part only where it is not 0. */
export const versionName = (version: number): string => {
  const [x, y, z] = [version >>> 16, (version >>> 8) & 0xff, version & 0xff];
  return z === 0 ? `${x}.${y}` : `${x}.${y}.${z}`;
};

/** What LC_BUILD_VERSION or LC_VERSION_MIN_MACOSX says; versions are xxxx.yy.zz in 16, 8 and 8 bits. */
export interface BuildVersion {
  /** PLATFORM_*. */
  readonly platform: number;
  /** The oldest system that it runs on. */
  readonly minos: number;
  /** The SDK it was built with, by which dyld judges it; 0: not known. */
  readonly sdk: number;
}

/** For which system the file was built; undefined where no command says so. */
export function readBuildVersion(file: MachOFile): BuildVersion | undefined {
  const build = findCommand(file, LC.LC_BUILD_VERSION);
  if (build) {
    const { platform, minos, sdk } = fields(build, build_version_command);
    return { platform, minos, sdk };
  }
  const min = findCommand(file, LC.LC_VERSION_MIN_MACOSX);
  if (!min) return undefined;
  const { version, sdk } = fields(min, version_min_command);
  return { platform: PLATFORM.PLATFORM_MACOS, minos: version, sdk };
}

/** A library that an image uses, or (LC_ID_DYLIB) is. */
export interface Dylib {
  /** `/usr/lib/libSystem.B.dylib`, `@rpath/libx.dylib`. */
  readonly path: string;
  /** LC_LOAD_DYLIB, LC_LOAD_WEAK_DYLIB, LC_REEXPORT_DYLIB, LC_LAZY_LOAD_DYLIB, LC_LOAD_UPWARD_DYLIB, LC_ID_DYLIB. */
  readonly cmd: number;
  /** xxxx.yy.zz in 16, 8 and 8 bits. */
  readonly currentVersion: number;
  readonly compatibilityVersion: number;
  /** DYLIB_USE_*, for commands in that form. */
  readonly flags: number;
}

/** The libraries in the order that library ordinals have: ordinal 1 is at 0. */
export const readDylibs = (file: MachOFile): Dylib[] =>
  findCommands(
    file,
    LC.LC_LOAD_DYLIB,
    LC.LC_LOAD_WEAK_DYLIB,
    LC.LC_REEXPORT_DYLIB,
    LC.LC_LAZY_LOAD_DYLIB,
    LC.LC_LOAD_UPWARD_DYLIB,
  ).map(dylibOf);

/** What a library is called by those that were linked with it (LC_ID_DYLIB). */
export function readDylibId(file: MachOFile): Dylib | undefined {
  const command = findCommand(file, LC.LC_ID_DYLIB);
  return command && dylibOf(command);
}

/** LC_RPATH, in order. */
export const readRpaths = (file: MachOFile): string[] =>
  findCommands(file, LC.LC_RPATH).map(command => commandString(command, fields(command, rpath_command).path));

function dylibOf(command: OtherCommand): Dylib {
  const dylib = fields(command, dylib_command);
  const isUse = dylib.timestamp === DYLIB_USE_MARKER && command.bytes.length >= dylib_use_command.size;
  return {
    path: commandString(command, dylib.name),
    cmd: command.cmd,
    currentVersion: dylib.current_version,
    compatibilityVersion: dylib.compatibility_version,
    flags: isUse ? fields(command, dylib_use_command).flags : 0,
  };
}

function programCounter({ header }: MachOFile, thread: OtherCommand): bigint | undefined {
  for (const { flavor, state } of readThreadStates(thread)) {
    const isX86 = header.cputype === CPU_TYPE.CPU_TYPE_X86_64;
    if (isX86 && flavor === X86_FLAVOR.x86_THREAD_STATE64 && state.length >= x86_thread_state64.size) {
      return x86_thread_state64.read(viewOf(state), 0, LE).rip;
    }
    if (!isX86 && flavor === ARM_FLAVOR.ARM_THREAD_STATE64 && state.length >= arm_thread_state64.size) {
      return arm_thread_state64.read(viewOf(state), 0, LE).pc;
    }
  }
  return undefined;
}
