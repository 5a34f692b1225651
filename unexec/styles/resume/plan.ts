/**
 * The restore program of an image, top to bottom. Its order has reasons: what can fail without harm
 * comes before the old process is unmapped; the vdso and the break are set while their places are free;
 * timers and pending signals come last, with all signals blocked throughout.
 * Facts: arch_prctl(2), prctl(2) (PR_SET_MM_MAP), brk(2), munmap(2).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { KernelIdentity, ProcessImage } from '../../image.ts';
import { RestoreProgram } from '../../restorer/program.ts';
import { type DataRef, SLOT, type Slot } from '../../restorer/steps.ts';
import type { TouchedPages } from '../../touched-pages.ts';
import { blockSteps, chooseBlocks, trimSteps } from './bulk.ts';
import type { StoredObject, StoredSpan } from './contents.ts';
import { requireCpu } from './cpu.ts';
import { fileSteps, type MemoryObject, memoryObjectSteps, timerSteps, wantedDescriptors } from './files.ts';
import { isPrivate, mappingSteps, objectKey, planMappings, sharedMappingSteps } from './mappings.ts';
import { NR } from './system-calls.ts';
import {
  createThreads,
  mainThread,
  registerOffset,
  releaseThreads,
  signalFrame,
  threadPrograms,
} from './threads.ts';
import { ARGUMENTS_SIZE, type Window } from './window.ts';

const O_RDONLY_CLOEXEC = 0o2000000;
const O_RDWR_CLOEXEC = 0o2000002;
const SIG_SETMASK = 2;
const SEEK_END = 2;
const F_DUPFD_CLOEXEC = 1030;
const ARCH_MAP_VDSO_64 = 0x2003;
const PR_SET_MM = 35;
const PR_SET_MM_MAP = 14;
const PROT_READ_WRITE = 3;
const PROT_READ_EXEC = 5;
const MAP_PRIVATE_FIXED = 0x12;
const MAP_PRIVATE_FIXED_ANONYMOUS = 0x32;
const SIGWINCH = 28;
const LARGEST_RESULT = 0xffff_ffff_ffff_f000n;
/** TASK_SIZE with 4-level page tables, less the guard page. */
const ADDRESS_END = 0x7fff_ffff_f000n;
/** struct utsname: six fields of 65 bytes; release, version and machine are the third to fifth. */
const UTSNAME = { size: 390, release: 130, compared: 195, field: 65 } as const;
const PRCTL_MM_MAP_SIZE = 104;
const ALL_SIGNALS = new Uint8Array(8).fill(0xff);

/** Kernel features that may be left out, for kernels that lack them and for tests of that case. */
export interface KernelFeatures {
  /** The kernel's vdso, mapped at the old address. Without it: system calls. */
  readonly vdso: boolean;
  /** PR_SET_MM_MAP. Without it: brk(2) only, and /proc/self/cmdline keeps showing the restorer's. */
  readonly mmMap: boolean;
  readonly rseq: boolean;
}

export interface PlanOptions {
  /** The frozen working directory, or the caller's. */
  readonly cwd: 'frozen' | 'caller';
  readonly features: KernelFeatures;
  /** What a training run touched. */
  readonly touched: readonly TouchedPages[];
}

export interface StoredContents {
  readonly spans: readonly StoredSpan[];
  readonly objects: readonly StoredObject[];
  /** The system-call vdso, where the process has a vdso at all. */
  readonly vdsoOffset: number | undefined;
  /** Least size of the file, bytes. */
  readonly fileSize: number;
}

/** Plans the restore program. */
export function planResume(
  image: ProcessImage,
  window: Window,
  contents: StoredContents,
  options: PlanOptions,
): RestoreProgram {
  const program = new RestoreProgram();
  const self = program.slot();
  const go = program.data(new Uint8Array(4));

  program.syscall('block signals', NR.rt_sigprocmask, [SIG_SETMASK, program.data(ALL_SIGNALS), 0, 8]);
  requireCpu(program, image.origin.cpu);
  openSelf(program, image, self, contents.fileSize);
  const given = keepArguments(program, window);
  const objects = makeObjects(program, image, contents.objects, self);
  unmapEverything(program, window);
  // From here on nothing of the new process is left but the window, its files and its identity.
  placeVdso(program, image, contents.vdsoOffset, options.features.vdso, self);
  setAddresses(program, image, given, options.features.mmMap);
  const blocks = chooseBlocks(image.regions, contents.spans, options.touched);
  blockSteps(program, blocks, contents.spans, self);
  mappingSteps(program, image, planMappings(image, contents.spans, blocks), contents.spans, self);
  sharedMappingSteps(program, image, objects);
  trimSteps(program, blocks, image.regions);
  closeUnnamed(program, image, objects);
  for (const { signal, action } of image.signals) {
    program.syscall(`action of signal ${signal}`, NR.rt_sigaction, [signal, program.data(action), 0, 8]);
  }
  fileSteps(program, image, self, objects);
  program.syscall('close the image', NR.close, [self]);
  if (options.cwd === 'frozen') {
    program.syscall(`working directory ${image.cwd} (see --cwd caller)`, NR.chdir, [
      program.string(image.cwd),
    ]);
  }
  program.syscall('umask', NR.umask, [image.umask]);
  const frames = image.threads.map(thread => signalFrame(program, thread));
  passArguments(program, image, given, frames[0]);
  createThreads(program, image);
  const [main] = image.threads;
  const [mainFrame] = frames;
  if (main !== undefined && mainFrame !== undefined) {
    mainThread(program, main, options.features);
    timerSteps(program, image);
    pendingSignals(program, image);
    releaseThreads(program, image, go);
    program.operation('SIGRETURN', `registers of thread ${main.tid}`, [mainFrame]);
  }
  threadPrograms(program, image, frames, go, options.features);
  return program;
}

/** The image's own file, at a number above all that the image wants. */
function openSelf(program: RestoreProgram, image: ProcessImage, self: Slot, fileSize: number): void {
  const path = program.string('/proc/self/exe');
  const wanted = wantedDescriptors(image);
  const opened = wanted.length === 0 ? self : program.slot();
  program.syscall('open /proc/self/exe (is /proc mounted?)', NR.open, [path, O_RDONLY_CLOEXEC, 0], {
    into: opened,
  });
  if (wanted.length > 0) {
    program.syscall(
      'a high descriptor (ulimit -n)',
      NR.fcntl,
      [opened, F_DUPFD_CLOEXEC, Math.max(...wanted) + 1],
      {
        into: self,
      },
    );
    program.syscall('close the low descriptor', NR.close, [opened]);
  }
  const size = program.slot();
  program.syscall('size of the image', NR.lseek, [self, 0, SEEK_END], { into: size });
  program.operation('AT_MOST', 'the image was cut off', [fileSize, size]);
}

/** Where argc, argv and envp of the second life are. */
interface Arguments {
  readonly argv: Slot;
  readonly envp: Slot;
  readonly argStart: Slot;
  readonly envStart: Slot;
  readonly envEnd: Slot;
}

/** Copies argument vector, environment and their strings out of the new process's stack. */
function keepArguments(program: RestoreProgram, window: Window): Arguments {
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

/** Memory objects: those of descriptors and those that only mappings refer to, and mapped files. */
function makeObjects(
  program: RestoreProgram,
  image: ProcessImage,
  stored: readonly StoredObject[],
  self: Slot,
): ReadonlyMap<string, MemoryObject> {
  const objects = new Map<string, MemoryObject>();
  for (const object of stored) {
    objects.set(object.key, { slot: memoryObjectSteps(program, object.name, object, self), object });
  }
  for (const region of image.regions) {
    if (isPrivate(region) || objects.has(objectKey(region))) continue;
    const slot = program.slot();
    const flags = region.flags.has('mw') || region.write ? O_RDWR_CLOEXEC : O_RDONLY_CLOEXEC;
    program.syscall(`open ${region.name} to map it`, NR.open, [program.string(region.name), flags, 0], {
      into: slot,
    });
    objects.set(objectKey(region), { slot, object: undefined });
  }
  return objects;
}

/** Objects that no descriptor refers to were only needed for their mappings. */
function closeUnnamed(
  program: RestoreProgram,
  image: ProcessImage,
  objects: ReadonlyMap<string, MemoryObject>,
): void {
  const named = new Set(image.files.flatMap(({ what }) => (what.type === 'memory' ? [`${what.inode}`] : [])));
  for (const [key, { slot }] of objects) {
    if (!named.has(key)) program.syscall('close a mapped file', NR.close, [slot]);
  }
}

function unmapEverything(program: RestoreProgram, window: Window): void {
  if (window.start > 0n) program.syscall('unmap what is below', NR.munmap, [0, window.start]);
  program.syscall('unmap what is above', NR.munmap, [window.end, ADDRESS_END - window.end]);
}

/**
 * The kernel's own vdso at the old address, where it is the same kernel and maps it there; else the one
 * that makes system calls.
 */
function placeVdso(
  program: RestoreProgram,
  image: ProcessImage,
  fileOffset: number | undefined,
  useKernels: boolean,
  self: Slot,
): void {
  const { vdso } = image;
  if (vdso === undefined || fileOffset === undefined) return;
  const mapped = program.slot();
  program.operation('SET', 'no vdso yet', [0, 0, 1], { into: mapped });
  if (useKernels) {
    const found = program.data(new Uint8Array(UTSNAME.size));
    const expected = program.data(kernelNames(image.origin.kernel));
    program.syscall('name of the kernel', NR.uname, [found]);
    program.when(
      'COMPARE',
      'same kernel',
      [{ ...found, offset: UTSNAME.release }, expected, UTSNAME.compared],
      () => {
        // Refused without CONFIG_CHECKPOINT_RESTORE.
        program.syscall('map the vdso', NR.arch_prctl, [ARCH_MAP_VDSO_64, vdso.vvarStart], {
          bestEffort: true,
          into: mapped,
        });
      },
    );
  }
  program.unless('AT_MOST', 'vdso mapped', [mapped, LARGEST_RESULT], () => {
    program.syscall('map the system-call vdso', NR.mmap, [
      vdso.start,
      vdso.size,
      PROT_READ_EXEC,
      MAP_PRIVATE_FIXED,
      self,
      fileOffset,
    ]);
  });
}

/** release, version and machine as uname(2) stores them. */
function kernelNames({ release, version, machine }: KernelIdentity): Uint8Array {
  const names = new Uint8Array(UTSNAME.compared);
  for (const [i, text] of [release, version, machine].entries()) {
    names.set(Buffer.from(text).subarray(0, UTSNAME.field - 1), i * UTSNAME.field);
  }
  return names;
}

/** brk, and what /proc/self shows of the process: best effort, as it may need a capability one day. */
function setAddresses(
  program: RestoreProgram,
  image: ProcessImage,
  given: Arguments,
  available: boolean,
): void {
  const { layout } = image;
  const result = program.slot();
  program.operation('SET', 'not set', [0, 0, 1], { into: result });
  if (available) {
    const map = new Uint8Array(PRCTL_MM_MAP_SIZE);
    const view = viewOf(map);
    const fixed = [
      layout.startCode,
      layout.endCode,
      layout.startData,
      layout.endData,
      layout.startBrk,
      layout.brk,
      layout.startStack,
    ];
    for (const [i, value] of fixed.entries()) view.setBigUint64(i * 8, value, true);
    view.setUint32(96, image.auxv.length, true);
    view.setUint32(100, 0xffff_ffff, true); // exe_fd: none
    const ref = program.data(map);
    const field = (index: number): DataRef => ({ ...ref, offset: index * 8 });
    program.operation('STORE', 'arg_start', [field(7), given.argStart]);
    program.operation('STORE', 'arg_end', [field(8), given.envStart]);
    program.operation('STORE', 'env_start', [field(9), given.envStart]);
    program.operation('STORE', 'env_end', [field(10), given.envEnd]);
    program.operation('STORE', 'auxv', [field(11), program.data(image.auxv)]);
    program.syscall(
      'set the address layout',
      NR.prctl,
      [PR_SET_MM, PR_SET_MM_MAP, ref, PRCTL_MM_MAP_SIZE, 0],
      {
        bestEffort: true,
        into: result,
      },
    );
  }
  // Nothing is mapped yet: the break moves freely, and the heap is mapped over it.
  program.unless('AT_MOST', 'address layout set', [result, LARGEST_RESULT], () => {
    program.syscall('set the break', NR.brk, [layout.brk], { bestEffort: true });
  });
}

/** What the program sees of its new arguments, by whichever way it can look. */
function passArguments(
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
  const register = (name: 'rdi' | 'rsi' | 'rdx' | 'rax'): DataRef => ({
    ...mainFrame,
    offset: mainFrame.offset + registerOffset(name),
  });
  if (image.atMain) {
    program.operation('STORE', 'argc', [register('rdi'), argc]);
    program.operation('STORE', 'argv', [register('rsi'), given.argv]);
    program.operation('STORE', 'envp', [register('rdx'), given.envp]);
  }
}

function pendingSignals(program: RestoreProgram, image: ProcessImage): void {
  const hasTerminal = image.files.some(({ what }) => what.type === 'stdio' && what.termios !== undefined);
  if (!hasTerminal && image.pendingSignals.length === 0) return;
  const pid = program.slot();
  program.syscall('process id', NR.getpid, [], { into: pid });
  for (const info of image.pendingSignals) {
    const signal = viewOf(info).getInt32(0, true);
    program.syscall(`pending signal ${signal}`, NR.rt_sigqueueinfo, [pid, signal, program.data(info)]);
  }
  // The new terminal may have another size.
  if (hasTerminal) program.syscall('SIGWINCH', NR.kill, [pid, SIGWINCH], { bestEffort: true });
}
