/**
 * The runs of a Mach-O program that a dump is made of: one, or two whose pointers can be told from numbers
 * because they lie at different addresses. From cores, or from a program that is started here, twice.
 *
 * @module
 */
import { closeSync, openSync, statSync } from 'node:fs';
import { MH_FLAGS } from '../../formats/macho/index.ts';
import { UnexecError } from '../errors.ts';
import type { FreezeOptions } from '../freeze.ts';
import { freezePointText, parseFreezePoint } from '../freeze-point.ts';
import type { MemoryImage } from '../image.ts';
import { syscall } from '../linux/libc.ts';
import { O } from '../linux/open-flags.ts';
import { launchOptions } from './launch-options.ts';
import { openLiveMachO } from './live-macho.ts';
import { type FoundExecutable, isMachOCore, openMachOCore } from './macho-core.ts';

/** A run of a Mach-O program, stopped. */
export interface MachORun {
  readonly image: MemoryImage;
  readonly executable: FoundExecutable;
  /** `core`, or the freeze point that was reached. */
  readonly freezePoint: string;
  /** Undefined where the source does not tell. */
  readonly threads: number | undefined;
  close(): void;
}

export interface MachORuns {
  readonly first: MachORun;
  readonly second: MachORun | undefined;
  /** What a user should know of how they came about. */
  readonly remarks: readonly string[];
  close(): void;
}

export interface MachOSource
  extends Pick<FreezeOptions, 'args' | 'at' | 'env' | 'keepEnv' | 'stdio' | 'signal'> {
  readonly exe?: string;
  readonly compare?: string;
  readonly strict?: boolean;
}

/**
 * @param source a Mach-O core, or the program that maps a Mach-O executable
 * @throws UnexecError as `openMachOCore` and `openLiveMachO`; `COMPARE_NEEDS_CORE`
 */
export async function openMachORuns(source: string, options: MachOSource): Promise<MachORuns> {
  if (isFile(source) && isMachOCore(source)) return coreRuns(source, options);
  if (options.compare !== undefined) {
    throw new UnexecError('COMPARE_NEEDS_CORE', `--compare is for cores, and ${source} is none`, {
      hint: 'a program is run twice anyway, and the two runs are compared',
    });
  }
  return liveRuns(source, options);
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

function coreRuns(source: string, { exe, compare }: MachOSource): MachORuns {
  const first = coreRun(source, exe);
  try {
    const second = compare === undefined ? undefined : coreRun(compare, exe ?? first.executable.path);
    return runs(first, second, []);
  } catch (error) {
    first.close();
    throw error;
  }
}

function coreRun(path: string, exe: string | undefined): MachORun {
  const { image, executable, threads, close } = openMachOCore(path, exe);
  return { image, executable, freezePoint: 'core', threads: threads.length, close };
}

async function liveRuns(program: string, options: MachOSource): Promise<MachORuns> {
  const first = await liveRun(program, options);
  const isPie = (first.executable.file.header.flags & MH_FLAGS.MH_PIE) !== 0;
  if (!isPie) return runs(first, undefined, []);
  const second = await secondRun(program, options).catch((error: unknown) => {
    if (options.strict !== true && error instanceof UnexecError) return error;
    first.close();
    throw error;
  });
  if (second instanceof UnexecError) {
    return runs(first, undefined, [`a second run, to compare with, failed: ${second.message}`]);
  }
  if (second.executable.slide !== first.executable.slide) return runs(first, second, []);
  second.close();
  return runs(first, undefined, ['two runs lay at the same address, so they cannot be compared']);
}

async function liveRun(program: string, options: MachOSource): Promise<MachORun> {
  const point = parseFreezePoint(options.at ?? 'auto');
  const live = await openLiveMachO(program, point, launchOptions(options), options.exe);
  const { image, executable, reached } = live;
  const freezePoint = point.type === 'auto' ? reached.point : freezePointText(point);
  return { image, executable, freezePoint, threads: undefined, close: () => live.release() };
}

/**
 * The same again, for the comparison only: nobody sees what it writes, and it reads nothing. Its standard input
 * stays open, so a program that is frozen when it waits for input waits.
 */
async function secondRun(program: string, options: MachOSource): Promise<MachORun> {
  const ends = new Uint8Array(8);
  syscall('pipe2', ends, O.CLOEXEC);
  const view = new DataView(ends.buffer);
  const [reader, writer] = [view.getInt32(0, true), view.getInt32(4, true)];
  const nowhere = openSync('/dev/null', 'w');
  const closeAll = (): void => {
    for (const fd of [reader, writer, nowhere]) closeSync(fd);
  };
  try {
    const run = await liveRun(program, { ...options, stdio: [reader, nowhere, nowhere] });
    const close = (): void => {
      run.close();
      closeAll();
    };
    return { ...run, close };
  } catch (error) {
    closeAll();
    throw error;
  }
}

const runs = (first: MachORun, second: MachORun | undefined, remarks: readonly string[]): MachORuns => ({
  first,
  second,
  remarks,
  close: () => {
    first.close();
    second?.close();
  },
});
