/**
 * Dumping a program into an executable that starts initialised, as a list of passes. The process is one that
 * we start, or of Mach-O in a core; on Linux a Mach-O program is started through whatever maps it there.
 *
 * @module
 */
import type { FreezeOptions } from './freeze.ts';
import { rememberTerminal } from './linux/caller-terminal.ts';
import {
  elfScratchSymbols,
  machoScratchSymbols,
  parseScratch,
  resolveScratch,
  type ScratchRange,
  type ScratchSymbols,
  withoutScratch,
} from './scratch.ts';
import { openRuns, type ProgramRun, type ProgramRuns, type RunSource } from './sources/open-runs.ts';
import { OWN_HEAP_SECTION } from './styles/restart-elf/own-heap.ts';
import { writeRestartElf } from './styles/restart-elf.ts';
import { type RestartWritten, writeRestart } from './styles/restart-macho.ts';
import { openTarget, type TargetFile } from './target-file.ts';
import { verifyWritten } from './verify-written.ts';
import { VERSION } from './version.ts';

/** What can be said about a dump; of the options of a freeze, those that are about starting the program. */
export interface RestartOptions extends RunSource, Pick<FreezeOptions, 'onProgress'> {
  /** The executable, where another program runs it (an emulator, a loader). A core may name it itself. */
  readonly exe?: string;
  /** A core of another run that did the same: pointers are then known, not guessed. */
  readonly compare?: string;
  /** Refuses words of which it is not certain what they are. */
  readonly strict?: boolean;
  /** The report tells of all pointers and blocks, too (`map`): a second or two for millions of them. */
  readonly details?: boolean;
  /** Variables that are zero in the next life: `SYMBOL`, `SYMBOL+OFFSET:SIZE` (`parseScratch`). */
  readonly scratch?: readonly string[];
}

export interface RestartReport extends RestartWritten {
  /** The executable that ran. */
  readonly program: string;
  /** Absolute path of the written file. */
  readonly target: string;
  readonly arch: 'x86_64' | 'aarch64';
  /** `core`, or the freeze point that was reached. */
  readonly freezePoint: string;
  /** By how much the runs that were looked at had slid. */
  readonly slides: readonly bigint[];
  /** What was given up as scratch, by address. */
  readonly scratch: readonly ScratchRange[];
  readonly remarks: readonly string[];
}

/**
 * Writes `target`: the executable that runs in `source`, with its state.
 *
 * @param source the program, what emulates or loads it (`options.args` name it then), or a Mach-O core of it
 * @throws UnexecError with a stable `code`; FormatError for malformed files
 */
export async function restart(
  source: string,
  target: string,
  options: RestartOptions = {},
): Promise<RestartReport> {
  const requests = (options.scratch ?? []).map(parseScratch);
  const output = await openTarget(target);
  // Elsewhere there are cores only, and no FFI.
  const restoreTerminal =
    process.platform === 'linux' ? rememberTerminal(options.stdio ?? [0, 1, 2]) : () => {};
  let runs: ProgramRuns | undefined;
  try {
    // 1. The process, and another run of it to compare with.
    runs = await openRuns(source, options);
    const { first, second, third } = runs;
    const scratch = requests.length === 0 ? [] : resolveScratch(requests, symbolsOf(first));

    // 2. The new file, whole; of Mach-O signed, too.
    const written = await writeStyle(runs, options, scratch, output);

    // 3. It is held to the rules of its format before it becomes the target.
    verifyWritten(output.temporaryPath, first.executable.path);
    options.signal?.throwIfAborted();
    await output.commit();
    return {
      ...written,
      program: first.executable.path,
      target: output.path,
      arch: first.image.arch,
      freezePoint: first.freezePoint,
      slides: [first, second, third].flatMap(run => (run === undefined ? [] : [run.executable.slide])),
      scratch,
      remarks: [...runs.remarks, ...remarksOn(first, written), ...remarksOnScratch(scratch)],
    };
  } catch (error) {
    throw output.explain(error);
  } finally {
    runs?.close();
    restoreTerminal();
    await output.abandon();
  }
}

/** The style of the executable's format. */
async function writeStyle(
  { first, second, third }: ProgramRuns,
  options: RestartOptions,
  scratch: readonly ScratchRange[],
  output: TargetFile,
): Promise<RestartWritten> {
  const runOf = ({ image, executable: { slide }, facts }: ProgramRun) => ({
    image: withoutScratch(image, scratch, slide),
    slide,
    facts,
  });
  const input = {
    path: first.executable.path,
    first: runOf(first),
    second: second && { ...runOf(second), again: third && runOf(third) },
    strict: options.strict ?? false,
    details: options.details ?? false,
    manifest: {
      tool: VERSION,
      argv: options.args ?? [],
      freezePoint: first.freezePoint,
      frozenAt: new Date().toISOString(),
    },
    onProgress: (done: number, total: number): void => {
      options.signal?.throwIfAborted();
      options.onProgress?.(done, total);
    },
  };
  const { executable } = first;
  return executable.format === 'macho'
    ? writeRestart({ ...input, file: executable.file }, output)
    : writeRestartElf({ ...input, file: executable.file }, output);
}

const symbolsOf = ({ executable }: ProgramRun): ScratchSymbols =>
  executable.format === 'macho' ? machoScratchSymbols(executable.file) : elfScratchSymbols(executable.file);

function remarksOn(
  { threads = 1 }: ProgramRun,
  { segments, pointers, zone, dropped }: RestartWritten,
): string[] {
  const { nulled, left, doubtful, unexplained } = pointers;
  const remarks: string[] = [];
  const remark = (count: number, noun: string, one: string, many: string): void => {
    if (count > 0) remarks.push(count === 1 ? `1 ${noun} ${one}` : `${count} ${noun}s ${many}`);
  };
  remark(threads - 1, 'other thread', 'ends with this life', 'end with this life');
  if (segments.some(({ name }) => name === OWN_HEAP_SECTION))
    remarks.push('the brk heap is kept where it was; the next life gets more memory elsewhere');
  else if (zone === undefined) remarks.push('no zone was started, so only variables are kept, and no heap');
  else if (!zone.isDefault) remarks.push('malloc does not allocate in the zone: what it gave is not kept');
  remark(dropped, 'constructor', 'has run and will not run again', 'have run and will not run again');
  const out = 'out of the program (stack, libraries, other heaps)';
  remark(nulled, 'word', `leads ${out} and becomes a null pointer`, `lead ${out} and become null pointers`);
  remark(left, 'word', `seems to lead ${out} and stays as it is`, `seem to lead ${out} and stay as they are`);
  remark(doubtful, 'word', 'that looks like a pointer is doubtful', 'that look like pointers are doubtful');
  remark(
    unexplained,
    'word',
    'differs between two runs and is no pointer',
    'differ between two runs and are no pointers',
  );
  return remarks;
}

function remarksOnScratch(scratch: readonly ScratchRange[]): string[] {
  if (scratch.length === 0) return [];
  const bytes = scratch.reduce((sum, { size }) => sum + size, 0);
  return [`${bytes} bytes are scratch, and zero: ${scratch.map(({ name }) => name).join(', ')}`];
}
