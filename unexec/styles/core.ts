/**
 * An ELF core of a process: what debuggers read, in the notes that the kernel writes, all memory that the process has of
 * its own and of its files, and in a note of ours all else that is known of it. Pages that are zero are holes.
 * Facts: core(5), fs/binfmt_elf.c of Linux 6.1.
 *
 * @module
 */
import type { FileHandle } from 'node:fs/promises';
import {
  type CoreMappedFile,
  type CoreProcess,
  type ElfNote,
  EM,
  encodeMappedFiles,
  encodeProcess,
  encodeStatus,
  layoutElf,
  type NewCoreMemory,
  NT,
  newElfCore,
  PF,
  readElf,
  readElfCore,
  writeElf,
} from '../../formats/elf/index.ts';
import { writeAll } from '../chunk-writer.ts';
import { UnexecError } from '../errors.ts';
import { FileSource } from '../file-source.ts';
import {
  ARM_REGISTER_NAMES,
  endOf,
  type MachineState,
  PAGE,
  type ProcessImage,
  type Region,
  type Thread,
  X86_REGISTER_NAMES,
} from '../image.ts';
import { isMemoryFile } from '../linux/regions.ts';
import { NOTE } from '../manifest.ts';
import { encodeState } from '../process-state.ts';
import { isStored, mergeRanges, type Span, storeSpans } from './resume/contents.ts';
import { isPrivate } from './resume/mappings.ts';
import type { Progress } from './resume.ts';

export interface WrittenCore {
  /** Bytes of the file, holes included. */
  readonly fileSize: number;
  /** Bytes of pages in the file. */
  readonly storedBytes: number;
}

/** Stretches of untouched pages from here on get a segment without bytes, rather than a hole: 64 MiB. */
const LONG_GAP = 16384;
/** The legacy part of the XSAVE area is `struct user_fpregs_struct`. */
const FXSAVE_SIZE = 512;

/** Writes a core; after this the process is no longer needed. */
export async function storeCore(
  image: ProcessImage,
  file: FileHandle,
  progress: Progress,
): Promise<WrittenCore> {
  const parts = image.regions.filter(isTold).flatMap(region => segmentsOf(image, region));
  const elf = newElfCore({
    machine: machineOf(image),
    memory: parts.map(({ segment }) => segment),
    notes: notesOf(image),
  });
  const layout = layoutElf(elf);
  for (const { offset, bytes } of writeElf(layout)) await writeAll(file, bytes, offset);

  const placed = parts.map(
    ({ region, segment }, i): Span => ({
      region,
      address: segment.address,
      size: segment.fileSize,
      fileOffset: elf.segments[i + 1]?.offset ?? 0,
    }),
  );
  const spans = placed.filter(({ region, size }) => size > 0 && region.kind !== 'vdso');
  const total = spans.reduce((sum, { size }) => sum + size, 0);
  const stored = await storeSpans(image, spans, file, done => progress(done, total));
  const vdso = placed.find(({ region }) => region.kind === 'vdso');
  if (vdso !== undefined && image.vdso !== undefined) await writeAll(file, image.vdso.bytes, vdso.fileOffset);

  const fileSize = placed.reduce(
    (end, { fileOffset, size }) => Math.max(end, fileOffset + size),
    layout.size,
  );
  await file.truncate(fileSize);
  const pages = stored.flatMap(({ runs }) => runs).reduce((sum, { count }) => sum + count, 0);
  return { fileSize, storedBytes: pages * PAGE };
}

/**
 * Reads a core back with our own reader.
 *
 * @throws UnexecError `VERIFY_FAILED`
 */
export function verifyCore(path: string, image: ProcessImage): void {
  const source = new FileSource(path);
  try {
    const core = readElfCore(readElf(source));
    const told = image.regions.filter(isTold);
    const bytes = core.memory.reduce((sum, { size }) => sum + size, 0);
    const expected = told.reduce((sum, { size }) => sum + size, 0);
    if (core.threads.length === image.threads.length && bytes === expected) return;
    throw new UnexecError(
      'VERIFY_FAILED',
      `the written core has ${core.threads.length} threads and ${bytes} bytes of memory, expected ${image.threads.length} and ${expected}`,
      { path, hint: 'this is a fault of unexec: please report it' },
    );
  } finally {
    source.close();
  }
}

const machineOf = ({ arch }: ProcessImage): number => (arch === 'x86_64' ? EM.EM_X86_64 : EM.EM_AARCH64);

/** What the kernel keeps for itself there is of no use elsewhere. */
const isTold = ({ kind }: Region): boolean => kind !== 'vvar' && kind !== 'vsyscall';

interface Part {
  readonly region: Region;
  readonly segment: NewCoreMemory;
}

/** One segment a region; more of one that is large and mostly untouched. */
function segmentsOf(image: ProcessImage, region: Region): Part[] {
  const flags = (region.read ? PF.PF_R : 0) | (region.write ? PF.PF_W : 0) | (region.execute ? PF.PF_X : 0);
  const part = (first: number, end: number, hasBytes: boolean): Part[] =>
    end === first
      ? []
      : [
          {
            region,
            segment: {
              address: region.start + BigInt(first * PAGE),
              size: (end - first) * PAGE,
              flags,
              fileSize: hasBytes ? (end - first) * PAGE : 0,
            },
          },
        ];
  const pages = region.size / PAGE;
  if (region.kind === 'vdso') return part(0, pages, image.vdso !== undefined);
  if (!hasContents(region)) return part(0, pages, false);
  const parts: Part[] = [];
  let end = 0;
  for (const range of mergeRanges(image.memory.touched(region), LONG_GAP)) {
    const near = range.first - end <= LONG_GAP;
    if (!near) parts.push(...part(end, range.first, false));
    const last = range.first + range.count;
    const stop = pages - last <= LONG_GAP ? pages : last;
    parts.push(...part(near ? end : range.first, stop, true));
    end = stop;
  }
  return [...parts, ...part(end, pages, false)];
}

/** Shared memory with a name is the file's. */
const hasContents = (region: Region): boolean =>
  isPrivate(region) ? isStored(region) : isMemoryFile(region);

/** In the order of the kernel: the first thread, then the process, then what else there is of the thread. */
function notesOf(image: ProcessImage): ElfNote[] {
  const [main, ...others] = image.threads;
  const core = (type: number, desc: Uint8Array): ElfNote => ({ owner: 'CORE', type, desc });
  return [
    ...(main === undefined ? [] : [statusNote(image, main)]),
    core(NT.NT_PRPSINFO, encodeProcess(processOf(image), 'T')),
    core(NT.NT_AUXV, image.auxv),
    core(NT.NT_FILE, encodeMappedFiles(mappedFiles(image), PAGE)),
    ...(main === undefined ? [] : registerNotes(stateOf(main))),
    ...others.flatMap(thread => [statusNote(image, thread), ...registerNotes(stateOf(thread))]),
    { owner: 'unexec', type: NOTE.STATE, desc: encodeState(image) },
  ];
}

/** As it stood, for debuggers; the state with which it goes on is in our own note. */
const stateOf = ({ machine, stood }: Thread): MachineState => stood ?? machine;

function statusNote(image: ProcessImage, thread: Thread): ElfNote {
  const state = stateOf(thread);
  const { ppid, pgrp, sid } = processOf(image);
  const status = {
    // It dies of none.
    signal: 0,
    tid: thread.tid,
    ...{ ppid, pgrp, sid },
    pending: 0n,
    held: thread.signalMask,
    registers:
      state.arch === 'x86_64'
        ? X86_REGISTER_NAMES.map(name => state.registers[name])
        : ARM_REGISTER_NAMES.map(name => state.registers[name]),
  };
  return { owner: 'CORE', type: NT.NT_PRSTATUS, desc: encodeStatus(status, machineOf(image)) };
}

function registerNotes(state: MachineState): ElfNote[] {
  const note = (owner: string, type: number, desc: Uint8Array): ElfNote[] =>
    desc.length === 0 ? [] : [{ owner, type, desc }];
  if (state.arch === 'x86_64') {
    return [
      ...note('CORE', NT.NT_PRFPREG, state.xstate.subarray(0, FXSAVE_SIZE)),
      ...(state.xstate.length > FXSAVE_SIZE ? note('LINUX', NT.NT_X86_XSTATE, state.xstate) : []),
    ];
  }
  const tls = new Uint8Array(8);
  new DataView(tls.buffer).setBigUint64(0, state.threadPointer, true);
  return [
    ...note('CORE', NT.NT_PRFPREG, state.fpsimd),
    ...note('LINUX', NT.NT_ARM_TLS, tls),
    ...note('LINUX', NT.NT_ARM_SVE, state.sve ?? new Uint8Array()),
  ];
}

function processOf({ origin, threads }: ProcessImage): CoreProcess {
  return {
    pid: origin.pid,
    ...(origin.ids ?? { ppid: 0, pgrp: 0, sid: 0, uid: 0, gid: 0 }),
    name: threads[0]?.name ?? '',
    arguments: origin.argv.join(' '),
  };
}

function mappedFiles({ regions }: ProcessImage): CoreMappedFile[] {
  return regions
    .filter(({ inode, name }) => inode !== 0 && name.startsWith('/'))
    .map(region => ({
      start: region.start,
      end: endOf(region),
      offset: BigInt(region.offset),
      path: region.name,
    }));
}
