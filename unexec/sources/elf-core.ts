/**
 * An ELF core as a source: a process image from what the kernel, gcore or qemu-user has written down of a process. What
 * a core leaves out of memory comes from the files that were mapped; what it does not say of the process is
 * found in the C library's own structures where they tell it, assumed where a new process can do without it (and
 * told, by name), and refused where going on would be wrong.
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import { coreModules, HereFiles } from '../elf-core/files.ts';
import { glibcBreak, glibcThreads } from '../elf-core/glibc-threads.ts';
import { addressLayout } from '../elf-core/layout.ts';
import { type MappedFile, mappedFiles } from '../elf-core/mapped-files.ts';
import { CoreReader, isElfCore, type OpenElfCore, openElfCore } from '../elf-core/open-core.ts';
import { coreRegions } from '../elf-core/regions.ts';
import { startOfStack } from '../elf-core/start-of-stack.ts';
import { coreThreads } from '../elf-core/threads.ts';
import { coreVdso } from '../elf-core/vdso.ts';
import { findEnvironment } from '../environment.ts';
import { type Reason, UnexecError } from '../errors.ts';
import {
  type Assumption,
  type OpenFile,
  type ProcessImage,
  type Region,
  stackPointer,
  threadPointer,
} from '../image.ts';
import { refuseRegions } from '../linux/regions.ts';
import { ARCH, cpuFeatures } from '../linux/this-machine.ts';
import { NOTE } from '../manifest.ts';
import { decodeState, forgedState } from '../process-state.ts';
import { findZones, type MallocZone, refineRegionKinds } from '../zones.ts';
import type { Opening, Source } from './source.ts';

export { isElfCore };

/** Where a core's files are, where not at the paths that it names. */
export interface CoreFiles {
  /** The program. */
  readonly exe?: string;
  /** The directory that was `/` when the core was made. */
  readonly sysroot?: string;
}

const AT_ENTRY = 9;
const AT_SYSINFO_EHDR = 33;

/**
 * @throws UnexecError `NOT_FOR_A_CORE`, `CORE_TRUNCATED`, `CORE_IMPOSSIBLE`, `CORE_WITHOUT_THREADS`, `CORE_WITHOUT_AUXV`,
 *   `EXECUTABLE_NEEDED`, `CORE_FILE_DIFFERS`, `CORE_FILE_MISSING`; FormatError for a malformed file. What cannot be kept is in the image's
 *   refusals.
 */
export async function elfCore(path: string, { options, say }: Opening): Promise<Source> {
  say('capturing');
  const stoppedAt = performance.now();
  const open = openElfCore(path);
  let files: HereFiles | undefined;
  let isOpen = true;
  const release = async (): Promise<void> => {
    if (!isOpen) return;
    isOpen = false;
    files?.close();
    open.close();
  };
  try {
    const state = ownState(open);
    refuseOptions(path, options, state !== undefined);
    return {
      image:
        state ??
        assembled(open, options, opened => {
          files = opened;
        }),
      reached: 'core',
      stoppedAt,
      goesOn: false,
      letGo: () => {
        void release();
        return undefined;
      },
      release,
      ...(state === undefined ? {} : { explain: (error: unknown) => forgedState(path, error) }),
    };
  } catch (error) {
    await release();
    throw error;
  }
}

/** What our own cores say of the process: all of it. */
function ownState({ core, memory }: OpenElfCore): ProcessImage | undefined {
  const note = core.notes.find(({ owner, type }) => owner === 'unexec' && type === NOTE.STATE);
  return note && decodeState(note.desc, memory);
}

/** Of everybody else's. `opened` gets the files, which stay open as long as the source. */
function assembled(open: OpenElfCore, options: CoreFiles, opened: (files: HereFiles) => void): ProcessImage {
  const entry = open.auxv.get(AT_ENTRY);
  if (entry === undefined) {
    const { path } = open;
    throw new UnexecError('CORE_WITHOUT_AUXV', `the core ${path} has no auxiliary vector (NT_AUXV)`, {
      path,
    });
  }
  const program = programOf(open, entry, options.exe);
  const files = new HereFiles(options.sysroot, given(program, options.exe));
  opened(files);
  const mapped = mappedFiles(open, options.exe, file => files.find(file)?.elf);
  return imageOf(open, mapped, files, program ?? mapped[0]?.path ?? open.path, entry);
}

/** What is about starting a program, stopping it, or state that no core has. */
function refuseOptions(path: string, options: Opening['options'], saysAll: boolean): void {
  const given: readonly (readonly [string, boolean])[] = [
    ['arguments', (options.args ?? []).length > 0],
    ['at', options.at !== undefined],
    ['env', (options.env ?? []).length > 0 || options.keepEnv === true],
    ['dropFds', (options.dropFds ?? []).length > 0],
    ['hangupSockets', options.hangupSockets === true],
    ['cwd', options.cwd === 'frozen' && !saysAll],
    ['leaveRunning', options.leaveRunning === true],
    ['thin', options.thin === true],
    ['orStart', options.orStart === true],
    ['reproducible', options.reproducible === true],
    ['cpu', options.cpu !== undefined],
  ];
  const names = given.filter(([, is]) => is).map(([name]) => name);
  if (names.length === 0) return;
  throw new UnexecError('NOT_FOR_A_CORE', `${path} is a core, which has no use for: ${names.join(', ')}`, {
    path,
  });
}

/** Path of the program: the file that is mapped where it was entered. */
function programOf({ core }: OpenElfCore, entry: bigint, exe: string | undefined): string | undefined {
  return core.files?.find(({ start, end }) => start <= entry && entry < end)?.path ?? exe;
}

const given = (program: string | undefined, exe: string | undefined): Map<string, string> =>
  new Map(program === undefined || exe === undefined ? [] : [[program, exe]]);

function imageOf(
  open: OpenElfCore,
  mapped: readonly MappedFile[],
  files: HereFiles,
  program: string,
  entry: bigint,
): ProcessImage {
  const modules = coreModules(open, mapped, files, entry);
  const stack = startOfStack(open);
  const vdsoStart = open.auxv.get(AT_SYSINFO_EHDR) ?? 0n;
  const brk = glibcBreak(modules, open.memory);
  const places = { startStack: stack.address, brk, vdso: vdsoStart };
  const found = coreRegions(open, mapped, modules, files, places);
  const memory = new CoreReader(found.stretches);

  const threads = coreThreads(open, found.regions, memory, glibcThreads(open.arch, modules, memory));
  const layout = addressLayout(files.find(program)?.elf, modules[0], found.regions, places);
  const zones = findZones({
    regions: found.regions,
    modules,
    threads: threads.threads.map(thread => ({
      stackPointer: stackPointer(thread),
      threadPointer: threadPointer(thread),
    })),
    layout,
    memory,
  });
  const regions = refineRegionKinds(withGuards(open, found.regions, zones), zones);
  const { vdso, kernel } = coreVdso(open.arch, regions, memory);
  const [main] = threads.threads;
  return {
    arch: open.arch,
    origin: {
      program,
      argv: stack.argv,
      pid: main?.tid ?? 0,
      freezePoint: 'core',
      frozenAt: open.writtenAt,
      kernel,
      // Of the other architecture we know nothing.
      cpu: main?.machine.arch === ARCH ? cpuFeatures(main.machine) : { flags: [], xcr0: 3n },
    },
    regions,
    modules,
    threads: threads.threads,
    files: STDIO,
    pendingSignals: [],
    signals: [],
    timers: [],
    posixTimers: [],
    layout,
    auxv: open.core.auxv ?? new Uint8Array(),
    vdso,
    zones,
    request: undefined,
    atMain: false,
    environment: findEnvironment({ regions, modules, layout, memory }, false),
    limits: [],
    attributes: [],
    settings: [],
    guards: [],
    locksNewMemory: false,
    umask: undefined,
    cwd: undefined,
    refusals: [...refuseCrash(open), ...threads.refusals, ...found.refusals, ...refuseRegions(regions)],
    assumptions: [
      ...PROCESS_STATE,
      ...threads.assumptions,
      ...found.assumptions,
      ...(brk === 0n ? [{ what: 'the program break', assumed: 'the end of the program' }] : []),
      ...(hasSigning(open) ? [{ what: 'keys of pointer authentication', assumed: 'nothing is signed' }] : []),
      ...(open.writer === 'gdb'
        ? [{ what: 'which read-only memory was inaccessible', assumed: 'guards of stacks' }]
        : []),
    ],
    memory,
  };
}

const AT_HWCAP = 16;
/** HWCAP_PACA of asm/hwcap.h (aarch64). */
const PACA = 1n << 30n;

const hasSigning = ({ arch, auxv }: OpenElfCore): boolean =>
  arch === 'aarch64' && ((auxv.get(AT_HWCAP) ?? 0n) & PACA) !== 0n;

const STDIO: readonly OpenFile[] = ([0, 1, 2] as const).map(fd => ({
  descriptors: [{ fd, closeOnExec: false }],
  flags: 2,
  position: 0n,
  what: { type: 'stdio', like: fd, sameDescription: true, termios: undefined },
  locks: [],
  signalOwner: undefined,
}));

/** No core of anybody else has any of these. */
const PROCESS_STATE: readonly Assumption[] = [
  { what: 'descriptors', assumed: "0 to 2 as the new process's, no others" },
  { what: 'signal handlers', assumed: 'none' },
  { what: 'alternate signal stacks', assumed: 'none' },
  { what: 'timers', assumed: 'none' },
  { what: 'working directory and umask', assumed: "the caller's" },
  { what: 'resource limits, priorities and prctl(2) settings', assumed: "the new process's" },
  { what: 'madvise(2) settings', assumed: 'none' },
  { what: 'the CPU', assumed: "this machine's" },
];

/** gdb writes what is inaccessible as read-only: of a thread's stack it is known where that begins. */
function withGuards(
  { writer }: OpenElfCore,
  regions: readonly Region[],
  zones: readonly MallocZone[],
): Region[] {
  const stacks = new Set(zones.flatMap(({ kind, base }) => (kind === 'thread-stack' ? [base] : [])));
  return regions.map(region =>
    writer === 'gdb' && stacks.has(region.start) && !region.write && !region.execute
      ? { ...region, read: false }
      : region,
  );
}

const SIGNALS: ReadonlyMap<number, string> = new Map([
  [4, 'SIGILL'],
  [5, 'SIGTRAP'],
  [6, 'SIGABRT'],
  [7, 'SIGBUS'],
  [8, 'SIGFPE'],
  [11, 'SIGSEGV'],
  [31, 'SIGSYS'],
]);

/** siginfo_t: si_signo, si_errno, si_code, padding, then the sender's pid where somebody sent it. */
function refuseCrash({ core }: OpenElfCore): Reason[] {
  if (core.signalInfo === undefined || core.signalInfo.length < 32) return [];
  const info = viewOf(core.signalInfo);
  const [signal, code, sender] = [info.getInt32(0, true), info.getInt32(8, true), info.getInt32(16, true)];
  const name = SIGNALS.get(signal);
  const isFault = code > 0;
  const isAbort = name === 'SIGABRT' && sender === core.process?.pid;
  if (name === undefined || (!isFault && !isAbort)) return [];
  return [
    {
      code: 'CORE_OF_A_CRASH',
      what: `the process died of ${name}${isAbort ? ', which it sent itself (abort)' : ''}: it would die of it again`,
      remedy: 'take a core of the process while it is well: gcore PID, unexec --as core PID, or kill -QUIT',
    },
  ];
}
