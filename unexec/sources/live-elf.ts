/**
 * An ELF program that runs on Linux as a source of the restart style: natively, or under an emulator of another
 * machine. Only its memory is read; no system call is made in it.
 *
 * @module
 */
import { realpathSync } from 'node:fs';
import { type ElfFile, EM, PT, readElf } from '../../formats/elf/index.ts';
import { fixedWords, slideOfWords } from '../elf/fixed-words.ts';
import { UnexecError } from '../errors.ts';
import { FileSource } from '../file-source.ts';
import type { FreezePoint } from '../freeze-point.ts';
import type { MemoryImage } from '../image.ts';
import { guestImage } from './guest-image.ts';
import type { LaunchOptions } from './launch.ts';
import { type LiveMemory, openLive } from './live-memory.ts';

export interface LiveElf {
  readonly pid: number;
  readonly reached: LiveMemory['reached'];
  /** By the addresses that the program sees; valid until `release`. */
  readonly image: MemoryImage;
  readonly executable: {
    readonly path: string;
    /** Contents can be read until `release`. */
    readonly file: ElfFile;
    /** What is added to the file's addresses. */
    readonly slide: bigint;
  };
  /** What an emulator adds to the program's addresses to get those of the process (qemu: guest_base). */
  readonly guestBase: bigint;
  release(): void;
}

/**
 * Starts a program and stops it at its freeze point.
 *
 * @param exe path of the executable, where `program` is an emulator that runs it
 * @throws UnexecError `EXECUTABLE_NOT_MAPPED`, and those of `openLive`; FormatError
 */
export async function openLiveElf(
  program: string,
  point: FreezePoint,
  options: LaunchOptions,
  exe: string | undefined,
): Promise<LiveElf> {
  const live = await openLive(program, point, options);
  let source: FileSource | undefined;
  try {
    const path = realpathSync(exe ?? `/proc/${live.pid}/exe`);
    source = new FileSource(path);
    const file = readElf(source);
    const displacement = displacementOf(live.image, file, path);
    // Pointers that were moved by another amount than the memory that they are in: an emulator's base.
    const slide = slideOfWords(live.image.memory, fixedWords(file), displacement) ?? displacement;
    const guestBase = displacement - slide;
    const opened = source;
    return {
      pid: live.pid,
      reached: live.reached,
      image: guestImage(live.image, file.header.machine === EM.EM_AARCH64 ? 'aarch64' : 'x86_64', guestBase),
      executable: { path, file, slide },
      guestBase,
      release: () => {
        live.release();
        opened.close();
      },
    };
  } catch (error) {
    live.release();
    source?.close();
    throw error;
  }
}

/** Where the file is mapped, less its own addresses. */
function displacementOf({ regions }: MemoryImage, file: ElfFile, path: string): bigint {
  const first = file.segments.find(({ type }) => type === PT.PT_LOAD);
  const mapped = regions.find(({ name }) => name === path);
  if (first === undefined || mapped === undefined) {
    throw new UnexecError('EXECUTABLE_NOT_MAPPED', `no memory of the process is a mapping of ${path}`, {
      path,
      hint: 'give the executable that runs in it: --exe FILE',
    });
  }
  // The lowest mapping is that of the first segment, from the start of its page on.
  return mapped.start - (first.address - (first.address % PAGE));
}

const PAGE = 4096n;
