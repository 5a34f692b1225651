/**
 * The runs of a program that a dump is made of: one, or two whose pointers can be told from numbers because
 * they lie at different addresses. From cores, or from a program that is started here, twice.
 *
 * @module
 */
import { statSync } from 'node:fs';
import { type ElfFile, ET } from '../../formats/elf/index.ts';
import { type MachOFile, MH_FLAGS } from '../../formats/macho/index.ts';
import { UnexecError } from '../errors.ts';
import type { FreezeOptions } from '../freeze.ts';
import { freezePointText, parseFreezePoint } from '../freeze-point.ts';
import type { MemoryImage } from '../image.ts';
import { type RememberedStdio, rememberStdio } from '../linux/like-descriptors.ts';
import { runFacts } from '../linux/run-facts.ts';
import { ARCH } from '../linux/this-machine.ts';
import type { RunFacts } from '../pointers/diagnose.ts';
import { launchOptions } from './launch-options.ts';
import { openLiveElf } from './live-elf.ts';
import { isMachOFile, openLiveMachO } from './live-macho.ts';
import { isMachOCore, openMachOCore } from './macho-core.ts';

/** The executable that runs in a process; `slide` is what is added to the addresses of its file. */
export type RunExecutable =
  | { readonly format: 'macho'; readonly path: string; readonly file: MachOFile; readonly slide: bigint }
  | { readonly format: 'elf'; readonly path: string; readonly file: ElfFile; readonly slide: bigint };

/** A run of a program, stopped. */
export interface ProgramRun {
  readonly image: MemoryImage;
  readonly executable: RunExecutable;
  /** `core`, or the freeze point that was reached. */
  readonly freezePoint: string;
  /** Undefined where the source does not tell. */
  readonly threads: number | undefined;
  /** What is known of the process beside its memory; undefined for a core. */
  readonly facts?: RunFacts;
  close(): void;
}

export interface ProgramRuns {
  readonly first: ProgramRun;
  readonly second: ProgramRun | undefined;
  /** Where three were asked for. */
  readonly third: ProgramRun | undefined;
  /** What a user should know of how they came about. */
  readonly remarks: readonly string[];
  close(): void;
}

export interface RunSource
  extends Pick<FreezeOptions, 'args' | 'at' | 'env' | 'keepEnv' | 'stdio' | 'signal'> {
  readonly exe?: string;
  readonly compare?: string;
  readonly strict?: boolean;
  /** How often a program is run, to be compared with itself: 2 (default), or 3 to settle coincidences. */
  readonly runs?: 2 | 3;
}

/**
 * @param source a Mach-O core; an ELF program, or what emulates one; or what maps a Mach-O executable
 * @throws UnexecError as `openMachOCore`, `openLiveMachO` and `openLiveElf`; `COMPARE_NEEDS_CORE`
 */
export async function openRuns(source: string, options: RunSource): Promise<ProgramRuns> {
  if (isFile(source) && isMachOCore(source)) return coreRuns(source, options);
  if (options.compare !== undefined) {
    throw new UnexecError('COMPARE_NEEDS_CORE', `--compare is for cores, and ${source} is none`, {
      hint: 'a program is run twice anyway, and the two runs are compared',
    });
  }
  return liveRuns(source, options);
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

function coreRuns(source: string, { exe, compare }: RunSource): ProgramRuns {
  const first = coreRun(source, exe);
  try {
    const second = compare === undefined ? undefined : coreRun(compare, exe ?? first.executable.path);
    return runs(first, second, []);
  } catch (error) {
    first.close();
    throw error;
  }
}

function coreRun(path: string, exe: string | undefined): ProgramRun {
  const { image, executable, threads, close } = openMachOCore(path, exe);
  return {
    image,
    executable: { ...executable, format: 'macho' },
    freezePoint: 'core',
    threads: threads.length,
    close,
  };
}

async function liveRuns(program: string, options: RunSource): Promise<ProgramRuns> {
  const remembered = rememberStdio(options.stdio ?? [0, 1, 2]);
  const first = await liveRun(program, options);
  if (first.executable.format === 'macho' && isFixed(first.executable)) return runs(first, undefined, []);
  const second = await secondRun(program, options, remembered, first.freezePoint).catch((error: unknown) => {
    if (options.strict !== true && error instanceof UnexecError) return error;
    first.close();
    throw error;
  });
  if (second instanceof UnexecError) {
    return runs(first, undefined, [`a second run, to compare with, failed: ${second.message}`]);
  }
  if (second.executable.slide !== first.executable.slide || isFixed(first.executable)) {
    if (options.runs !== 3) return runs(first, second, []);
    const third = await thirdRun(program, options, remembered, [first, second]);
    return third instanceof UnexecError
      ? runs(first, second, [`a third run, to settle coincidences, failed: ${third.message}`])
      : runs(first, second, [], third);
  }
  second.close();
  return runs(first, undefined, ['two runs lay at the same address, so they cannot be compared']);
}

/** It has to lie at another address than the first one. */
async function thirdRun(
  program: string,
  options: RunSource,
  remembered: RememberedStdio,
  [first, second]: readonly [ProgramRun, ProgramRun],
): Promise<ProgramRun | UnexecError> {
  try {
    const third = await secondRun(program, options, remembered, first.freezePoint);
    if (third.executable.slide !== first.executable.slide || isFixed(first.executable)) return third;
    third.close();
    return new UnexecError('SAME_ADDRESSES', 'it lay at the same address as the first one');
  } catch (error) {
    if (options.strict !== true && error instanceof UnexecError) return error;
    first.close();
    second.close();
    throw error;
  }
}

/** Linked to its address. An ELF program's libraries move all the same, so a comparison tells pointers to them. */
const isFixed = (executable: RunExecutable): boolean =>
  executable.format === 'macho'
    ? (executable.file.header.flags & MH_FLAGS.MH_PIE) === 0
    : executable.file.header.type === ET.ET_EXEC;

async function liveRun(program: string, options: RunSource): Promise<ProgramRun> {
  const point = parseFreezePoint(options.at ?? 'auto');
  const words = [...(options.exe === undefined ? [program, ...(options.args ?? [])] : [options.exe])];
  const isDarwin = words.some(isMachOFile);
  const open = isDarwin ? openLiveMachO : openLiveElf;
  const live = await open(program, point, launchOptions(options), options.exe);
  const { image, reached } = live;
  const freezePoint = point.type === 'auto' ? reached.point : freezePointText(point);
  return {
    image,
    executable: executableOf(live),
    freezePoint,
    threads: undefined,
    facts: factsOf(live),
    close: () => live.release(),
  };
}

type Live = Awaited<ReturnType<typeof openLiveMachO>> | Awaited<ReturnType<typeof openLiveElf>>;

/** An emulator's random bytes are not those of the program that it runs. */
function factsOf({ pid, image, guestBase }: Live): RunFacts {
  const { random, ...facts } = runFacts(pid, image.memory);
  return random === undefined || guestBase !== 0n || image.arch !== ARCH ? facts : { ...facts, random };
}

function executableOf({ executable }: Live): RunExecutable {
  const { path, file, slide } = executable;
  return 'commands' in file ? { format: 'macho', path, file, slide } : { format: 'elf', path, file, slide };
}

/** The same again, for the comparison only: nobody sees what it writes, and nobody answers what it asks. */
async function secondRun(
  program: string,
  options: RunSource,
  remembered: RememberedStdio,
  reached: string,
): Promise<ProgramRun> {
  const { type } = parseFreezePoint(options.at ?? 'auto');
  const like = remembered.open(type === 'input' || type === 'auto');
  try {
    const run = await liveRun(program, { ...options, stdio: like.stdio });
    if (run.freezePoint !== reached) {
      run.close();
      throw new UnexecError(
        'SECOND_RUN_DIFFERS',
        `it reached ${run.freezePoint}, and the first one ${reached}`,
        {
          hint: 'say which one is meant: --at',
        },
      );
    }
    const close = (): void => {
      run.close();
      like.close();
    };
    return { ...run, close };
  } catch (error) {
    like.close();
    throw error;
  }
}

const runs = (
  first: ProgramRun,
  second: ProgramRun | undefined,
  remarks: readonly string[],
  third?: ProgramRun,
): ProgramRuns => ({
  first,
  second,
  third,
  remarks,
  close: () => {
    for (const run of [first, second, third]) run?.close();
  },
});
