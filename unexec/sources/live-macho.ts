/**
 * A Mach-O program that runs on Linux as a source: under whatever maps it there, be it a loader, Darling, or an
 * emulator with a loader of another machine in it.
 *
 * @module
 */
import { existsSync, statSync } from 'node:fs';
import { CPU_TYPE, isMachO, type MachOFile, MH_FLAGS } from '../../formats/macho/index.ts';
import { UnexecError } from '../errors.ts';
import { FileSource } from '../file-source.ts';
import type { FreezePoint } from '../freeze-point.ts';
import type { MemoryImage } from '../image.ts';
import { openExecutable } from '../macho/executable.ts';
import { type FoundMachO, findMachO } from '../macho/find-executable.ts';
import { samplePointers, slidesOf } from '../macho/fixed-pointers.ts';
import { guestImage } from './guest-image.ts';
import type { LaunchOptions } from './launch.ts';
import { type LiveMemory, openLive } from './live-memory.ts';
import type { FoundExecutable } from './macho-core.ts';

export interface LiveMachO {
  readonly pid: number;
  readonly reached: LiveMemory['reached'];
  /** With the addresses that the Mach-O program sees; valid until `release`. */
  readonly image: MemoryImage;
  readonly executable: FoundExecutable;
  /** What an emulator adds to the program's addresses to get those of the process (qemu: guest_base). */
  readonly guestBase: bigint;
  /** Kills the process, or lets it go on by itself, and closes the executable. */
  release(how?: 'kill' | 'let-go'): void;
}

/**
 * Starts a program that runs a Mach-O executable, and stops it at its freeze point.
 *
 * @param exe path of the executable; default: the first of the program and its arguments that is a Mach-O file
 * @throws UnexecError `EXECUTABLE_NEEDED`, those of `openExecutable`, `openLive` and `findMachO`
 */
export async function openLiveMachO(
  program: string,
  point: FreezePoint,
  options: LaunchOptions,
  exe: string = machoAmong([program, ...options.args]),
): Promise<LiveMachO> {
  const opened = openExecutable(exe);
  let live: LiveMemory | undefined;
  try {
    live = await openLive(program, point, options);
    const { file } = opened;
    const placed = findMachO(live.image, file);
    const guestBase = guestBaseOf(live.image, file, placed);
    const running = live;
    return {
      pid: live.pid,
      reached: live.reached,
      image: guestImage(
        live.image,
        file.header.cputype === CPU_TYPE.CPU_TYPE_ARM64 ? 'aarch64' : 'x86_64',
        guestBase,
      ),
      executable: {
        path: opened.path,
        file,
        address: placed.address - guestBase,
        slide: placed.slide - guestBase,
      },
      guestBase,
      release: how => {
        running.release(how);
        opened.close();
      },
    };
  } catch (error) {
    live?.release();
    opened.close();
    throw error;
  }
}

/** Which of these words of a command line is a Mach-O file. */
function machoAmong(words: readonly string[]): string {
  const found = words.find(isMachOFile);
  if (found !== undefined) return found;
  throw new UnexecError(
    'EXECUTABLE_NEEDED',
    `none of the files in «${words.join(' ')}» is a Mach-O executable`,
    {
      hint: 'give the executable: --exe FILE',
    },
  );
}

/** Whether a path leads to a Mach-O file, fat ones included. */
export function isMachOFile(path: string): boolean {
  if (!existsSync(path) || !statSync(path).isFile()) return false;
  const source = new FileSource(path);
  try {
    return isMachO(source.read(0, Math.min(4, source.size)));
  } finally {
    source.close();
  }
}

/**
 * Pointers hold the addresses that the program sees. Where they were moved by another amount than the memory
 * that they are in, an emulator adds the difference.
 */
function guestBaseOf({ memory }: MemoryImage, file: MachOFile, { slide: displacement }: FoundMachO): bigint {
  const pointers = samplePointers(file);
  if (pointers.length === 0 && (file.header.flags & MH_FLAGS.MH_PIE) === 0) return displacement;
  const slides = slidesOf(memory, pointers, displacement);
  if (slides.has(displacement)) return 0n;
  const [slide, count] = [...slides].sort((a, b) => b[1] - a[1])[0] ?? [displacement, 0];
  return count * 2 > pointers.length ? displacement - slide : 0n;
}
