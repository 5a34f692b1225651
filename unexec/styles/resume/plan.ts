/**
 * The restore program of an image, top to bottom. Its order has reasons: what can fail without harm
 * comes before the old process is unmapped; the vdso and the break are set while their places are free;
 * what outlives an execve(2) and cannot be put back (terminal modes, signals that are ignored, umask,
 * attributes) comes behind the last point of return, once all files are open; timers and pending signals
 * come last, with all signals blocked throughout.
 *
 * @module
 */
import type { CompressedBlock } from '../../compressed-memory.ts';
import type { Left } from '../../file-pages.ts';
import type { ProcessImage, Region } from '../../image.ts';
import { O } from '../../linux/open-flags.ts';
import { RestoreProgram } from '../../restorer/program.ts';
import type { Slot } from '../../restorer/steps.ts';
import type { TouchedPages } from '../../touched-pages.ts';
import { setAddresses } from './address-layout.ts';
import { adviceSteps } from './advice.ts';
import { keepArguments, passArguments } from './arguments.ts';
import { requireArmMachine } from './arm-machine.ts';
import { attributeSteps, limitSteps, raiseFileLimit } from './attributes.ts';
import { type Blocks, blockSteps, chooseBlocks, trimSteps } from './bulk.ts';
import type { StoredObject, StoredSpan } from './contents.ts';
import { cpuNeeds, requireCpu } from './cpu.ts';
import { decompressSteps, writtenAtStart } from './decompress-steps.ts';
import { discardableRegions, fillDiscardable } from './discarded-memory.ts';
import { timerSteps } from './event-files.ts';
import { type NormalStart, planFallback } from './fallback.ts';
import { fileSteps, stdioSteps, takeDescriptors } from './files.ts';
import { isPrivate, mappingSteps, objectKey, planMappings, sharedMappingSteps } from './mappings.ts';
import { type MemoryObject, memoryObjectSteps } from './memory-files.ts';
import { wantedDescriptors } from './opening.ts';
import { pendingOfProcess } from './pending-signals.ts';
import { posixTimerSteps } from './posix-timers.ts';
import { signalFrame } from './signal-frame.ts';
import { AT_FDCWD, NR, STAT } from './system-calls.ts';
import { createThreads, mainThread, releaseThreads, threadPrograms } from './threads.ts';
import { unmapEverything } from './unmap.ts';
import { trampolineSteps } from './vdso/aarch64.ts';
import { keepVdso, placeVdso } from './vdso.ts';
import type { Window } from './window.ts';

const O_RDONLY_CLOEXEC = 0o2000000;
const O_RDWR_CLOEXEC = 0o2000002;
const SIG_SETMASK = 2;
const SEEK_END = 2;
const F_DUPFD_CLOEXEC = 1030;
const ALL_SIGNALS = new Uint8Array(8).fill(0xff);

/** Kernel features that may be left out, for kernels that lack them and for tests of that case. */
export interface KernelFeatures {
  /** The kernel's vdso, mapped at the old address. Without it: system calls. */
  readonly vdso: boolean;
  /** PR_SET_MM_MAP. Without it: brk(2) only, and /proc/self/cmdline keeps showing the restorer's. */
  readonly mmMap: boolean;
  readonly rseq: boolean;
  /** PR_TIMER_CREATE_RESTORE_IDS. Without it: timers are made until one has the wanted id. */
  readonly timerIds: boolean;
  /** The new process's vdso can be unmapped. Without it, it stays where it is, beside the old one. */
  readonly unmapVdso: boolean;
}

export interface PlanOptions {
  /** The frozen working directory, or the caller's. */
  readonly cwd: 'frozen' | 'caller';
  readonly features: KernelFeatures;
  /** What a training run touched. */
  readonly touched: readonly TouchedPages[];
  /** What is started where the image cannot go on; undefined: nothing. */
  readonly orStart: NormalStart | undefined;
}

export interface StoredContents {
  readonly spans: readonly StoredSpan[];
  /** Regions of which pages are left in their files. */
  readonly left: Left;
  /** Contents of the spans; undefined: they are where the spans say. */
  readonly compressed: readonly CompressedBlock[] | undefined;
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
  const program = new RestoreProgram(image.arch);
  const self = program.slot();
  const go = program.writable(new Uint8Array(4), 4);
  const fallback = planFallback(program, image, options.orStart);

  program.syscall('block signals', NR.rt_sigprocmask, [SIG_SETMASK, program.data(ALL_SIGNALS), 0, 8]);
  if (image.arch === 'aarch64') requireArmMachine(program, image);
  else requireCpu(program, cpuNeeds(image));
  raiseFileLimit(program, image, fallback.descriptors);
  fallback.keepDescriptors();
  openSelf(program, image, self, contents.fileSize);
  const stdio = takeDescriptors(program, image, self);
  const given = keepArguments(program, window);
  const objects = makeObjects(program, image, contents.objects, self);
  const vdso = keepVdso(program, image, window, options.features.vdso);
  const stays = unmapEverything(program, window, options.features.unmapVdso);
  // From here on nothing of the new process is left but the window, its files and its identity.
  placeVdso(program, image, window, contents.vdsoOffset, { ...vdso, stays }, self);
  setAddresses(program, image, given, options.features.mmMap);
  const blocks = privateMemory(program, image, window, contents, options.touched, self);
  sharedMappingSteps(program, image, objects);
  trimSteps(program, blocks, image.regions);
  trampolineSteps(program);
  adviceSteps(program, image);
  if (options.cwd === 'frozen' && image.cwd !== undefined) {
    program.syscall(`working directory ${image.cwd} (see --cwd caller)`, NR.chdir, [
      program.string(image.cwd),
    ]);
  }
  fileSteps(program, image, objects, stdio);
  fallback.giveUp();
  program.syscall('close the image', NR.close, [self]);
  stdioSteps(program, image);
  for (const { signal, action } of image.signals) {
    program.syscall(`action of signal ${signal}`, NR.rt_sigaction, [signal, program.data(action), 0, 8]);
  }
  if (image.umask !== undefined) program.syscall('umask', NR.umask, [image.umask]);
  attributeSteps(program, image);
  const frames = image.threads.map(thread => signalFrame(program, thread));
  passArguments(program, image, given, frames[0]);
  const threads = createThreads(program, image, frames);
  const [main] = image.threads;
  const [mainFrame] = frames;
  if (main !== undefined && mainFrame !== undefined) {
    threads.set(main.tid, mainThread(program, image, main, mainFrame, options.features));
    limitSteps(program, image);
    timerSteps(program, image);
    posixTimerSteps(program, image, threads, options.features.timerIds);
    pendingOfProcess(program, image);
    releaseThreads(program, image, go);
    program.operation('SIGRETURN', `registers of thread ${main.tid}`, [mainFrame]);
  }
  threadPrograms(program, image, frames, go, options.features);
  fallback.addSteps();
  return program;
}

/** Private memory: mapped from the image's own file, read in, decompressed, or mapped from other files. */
function privateMemory(
  program: RestoreProgram,
  image: ProcessImage,
  window: Window,
  { spans, left, compressed }: StoredContents,
  touched: readonly TouchedPages[],
  self: Slot,
): Blocks {
  const isWhole = ({ region }: { readonly region: Region }): boolean => !left.has(region);
  const whole = spans.filter(isWhole);
  if (compressed !== undefined) {
    const blocks = chooseBlocks(image.regions, whole, writtenAtStart(whole));
    blockSteps(program, blocks, [], self);
    const mappings = planMappings(image, spans, blocks, new Set(image.regions), left);
    mappingSteps(program, image, mappings, [], self);
    decompressSteps(program, window, spans, compressed, self);
    return blocks;
  }
  const blocks = chooseBlocks(image.regions, whole, touched.filter(isWhole));
  blockSteps(program, blocks, whole, self);
  const discardable = discardableRegions(image);
  const mappings = planMappings(image, spans, blocks, discardable, left);
  mappingSteps(program, image, mappings, spans, self);
  fillDiscardable(program, discardable, spans, blocks, self);
  return blocks;
}

/** The image's own file, at a number above all that the image wants. */
function openSelf(program: RestoreProgram, image: ProcessImage, self: Slot, fileSize: number): void {
  const path = program.string('/proc/self/exe');
  const wanted = wantedDescriptors(image);
  const opened = wanted.length === 0 ? self : program.slot();
  program.syscall(
    'open /proc/self/exe (is /proc mounted?)',
    NR.openat,
    [AT_FDCWD, path, O_RDONLY_CLOEXEC, 0],
    {
      into: opened,
    },
  );
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

/** Memory objects: those of descriptors and those that only mappings refer to, and mapped files. */
function makeObjects(
  program: RestoreProgram,
  image: ProcessImage,
  stored: readonly StoredObject[],
  self: Slot,
): ReadonlyMap<string, MemoryObject> {
  const objects = new Map<string, MemoryObject>();
  for (const object of stored) {
    objects.set(object.key, { slot: memoryObjectSteps(program, image, object, self), object });
  }
  for (const region of image.regions) {
    if (isPrivate(region) || objects.has(objectKey(region))) continue;
    const slot = program.slot();
    const access = region.flags.has('mw') || region.write ? O_RDWR_CLOEXEC : O_RDONLY_CLOEXEC;
    // A pipe of that name would have us wait, with all signals blocked.
    const flags = access | O.NONBLOCK;
    program.syscall(
      `open ${region.name} to map it`,
      NR.openat,
      [AT_FDCWD, program.string(region.name), flags, 0],
      {
        into: slot,
      },
    );
    notShorter(program, image, region, slot);
    objects.set(objectKey(region), { slot, object: undefined });
  }
  return objects;
}

/** Beyond the end of its file a mapping has no memory (SIGBUS): the file must be as long as it was. */
function notShorter(program: RestoreProgram, image: ProcessImage, region: Region, slot: Slot): void {
  const sizes = image.regions.flatMap(other =>
    objectKey(other) === objectKey(region) && other.fileSize !== undefined ? [other.fileSize] : [],
  );
  if (sizes.length === 0) return;
  const fields = STAT[program.arch];
  const stat = program.writable(new Uint8Array(fields.size));
  const size = program.slot();
  program.syscall(`look at ${region.name}`, NR.fstat, [slot, stat]);
  program.operation('LOAD', `size of ${region.name}`, [stat, fields.st_size], { into: size });
  program.operation('AT_MOST', `${region.name}, which is mapped, is shorter than it was`, [
    Math.max(...sizes),
    size,
  ]);
}
