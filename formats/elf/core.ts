/**
 * ET_CORE: the memory and the threads of a process of Linux. `readElfCore` takes those of the kernel, of gdb's gcore
 * and of qemu-user, which differ in what they leave out; `newElfCore` gives a model to be laid out, whose memory
 * the caller writes. `fs/binfmt_elf.c` of Linux 6.1, `gcore.c` of gdb 13, `linux-user/elfload.c` of qemu 7.2.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { nameOf } from '../names.ts';
import type { SourceSlice } from '../source.ts';
import { ET, NT, PN_XNUM, PT } from './constants.ts';
import {
  type CoreMappedFile,
  type CoreProcess,
  type CoreStatus,
  readMappedFiles,
  readProcess,
  readStatus,
  readXsaveLayout,
  type XsaveComponent,
} from './core-notes.ts';
import { segmentSource } from './find.ts';
import { type ElfFile, newElf, newSegment } from './model.ts';
import { type ElfNote, elfNotes, encodeNotes } from './notes.ts';
import { Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr } from './structs.ts';

export interface ElfCore {
  /** EM_*. */
  readonly machine: number;
  /** PT_LOADs by address, without overlaps. */
  readonly memory: readonly ElfCoreMemory[];
  /** In their order; the one that the core is about is the first. */
  readonly threads: readonly ElfCoreThread[];
  readonly process: CoreProcess | undefined;
  /** siginfo_t of the signal that the process died of. */
  readonly signalInfo: Uint8Array | undefined;
  /** The auxiliary vector. */
  readonly auxv: Uint8Array | undefined;
  /** NT_FILE, in its order; qemu-user has none. */
  readonly files: readonly CoreMappedFile[] | undefined;
  /** NT_X86_XSAVE_LAYOUT; Linux 6.12 and later. */
  readonly xsaveLayout: readonly XsaveComponent[] | undefined;
  /** Every note, in the order of the file, the threads' too. */
  readonly notes: readonly ElfNote[];
}

/** A stretch of memory with one protection. */
export interface ElfCoreMemory {
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
  /** PF_*. */
  readonly flags: number;
  /** The first bytes of the stretch; what it has beyond them is not in the core, or was zero. */
  readonly contents: SourceSlice;
}

export interface ElfCoreThread extends CoreStatus {
  /** Its other notes: NT_PRFPREG of owner `CORE`, NT_X86_XSTATE, NT_ARM_TLS, … of `LINUX`. */
  readonly notes: readonly ElfNote[];
}

/** The descriptor of a thread's note of this type. */
export const threadNote = (thread: ElfCoreThread, type: number): Uint8Array | undefined =>
  thread.notes.find(note => note.type === type)?.desc;

/**
 * A core from its model.
 *
 * @throws FormatError `ELF_NOT_A_CORE`, `ELF_TRUNCATED` where the file ends before its memory does, `ELF_OVERLAP` where
 *   two segments have the same address, `ELF_BAD_SEGMENT`, `ELF_BAD_NOTE`, `ELF_BAD_CORE_NOTE`, `ELF_UNSUPPORTED_MACHINE`
 */
export function readElfCore(file: ElfFile): ElfCore {
  const { type, machine } = file.header;
  if (type !== ET.ET_CORE) {
    const message = `ELF: e_type is ${nameOf(ET, type)}, expected ET_CORE`;
    throw new FormatError('ELF_NOT_A_CORE', message, { offset: Elf64_Ehdr.offsets.e_type, value: type });
  }
  const memory = readMemory(file);
  const notes = elfNotes(file);
  const first = (owner: string, type: number): Uint8Array | undefined =>
    notes.find(note => note.owner === owner && note.type === type)?.desc;
  const process = first('CORE', NT.NT_PRPSINFO);
  const files = first('CORE', NT.NT_FILE);
  const layout = first('LINUX', NT.NT_X86_XSAVE_LAYOUT);
  return {
    machine,
    memory,
    threads: readThreads(notes, machine),
    process: process && readProcess(process),
    signalInfo: first('CORE', NT.NT_SIGINFO),
    auxv: first('CORE', NT.NT_AUXV),
    files: files && readMappedFiles(files),
    xsaveLayout: layout && readXsaveLayout(layout),
    notes,
  };
}

/** What a new core is made of. */
export interface ElfCoreParts {
  /** EM_*. */
  readonly machine: number;
  /** By address; `fileSize` bytes of each, from its start, will be in the file. */
  readonly memory: readonly NewCoreMemory[];
  /** Each NT_PRSTATUS before its thread's other notes. */
  readonly notes: readonly ElfNote[];
}

export interface NewCoreMemory extends Omit<ElfCoreMemory, 'contents'> {
  readonly fileSize: number;
}

/** Offsets in the file and addresses are the same within a page, so that debuggers can map it. */
const ALIGN = 4096;
const NOTE_ALIGN = 4;

/**
 * A core as a model, every offset set: headers, notes, memory. Contents of its PT_LOADs are external: the caller writes
 * `fileSize` bytes at `offset` of each, and may leave holes. The file ends where the last of them does.
 */
export function newElfCore({ machine, memory, notes }: ElfCoreParts): ElfFile {
  const noteBytes = encodeNotes(notes, NOTE_ALIGN);
  const count = memory.length + 1;
  const phoff = Elf64_Ehdr.size;
  // Only section 0 can say that there are more than 65,534 segments.
  const counted = count >= PN_XNUM;
  const shoff = phoff + count * Elf64_Phdr.size;
  const noteOffset = shoff + (counted ? Elf64_Shdr.size : 0);
  const note = newSegment({
    type: PT.PT_NOTE,
    flags: 0,
    offset: noteOffset,
    fileSize: noteBytes.length,
    align: NOTE_ALIGN,
  });

  let offset = noteOffset + noteBytes.length;
  const loads = memory.map(({ address, size, flags, fileSize }) => {
    offset = Math.ceil(offset / ALIGN) * ALIGN;
    const load = newSegment({
      type: PT.PT_LOAD,
      flags,
      offset,
      address,
      physicalAddress: 0n,
      fileSize,
      memorySize: size,
      align: ALIGN,
    });
    offset += fileSize;
    return load;
  });
  const file = newElf({ type: ET.ET_CORE, machine });
  return {
    ...file,
    segments: [note, ...loads],
    phoff,
    shoff: counted ? shoff : undefined,
    kept: [{ offset: noteOffset, contents: noteBytes }],
  };
}

function readMemory(file: ElfFile): ElfCoreMemory[] {
  const memory = file.segments
    .filter(({ type, memorySize }) => type === PT.PT_LOAD && memorySize > 0)
    .map(segment => {
      const { address, memorySize, fileSize, flags } = segment;
      if (fileSize > memorySize) {
        const message = `ELF: p_filesz of a segment is ${hex(fileSize)}, expected at most its p_memsz of ${hex(memorySize)}`;
        throw new FormatError('ELF_BAD_SEGMENT', message, { offset: segment.offset, value: fileSize });
      }
      return { address, size: memorySize, flags, contents: contentsOf(file, segment) };
    })
    .sort((a, b) => (a.address < b.address ? -1 : 1));
  for (const [i, { address, size }] of memory.entries()) {
    const next = memory[i + 1]?.address ?? 2n ** 64n;
    if (address + BigInt(size) <= next) continue;
    const message = `ELF: a segment of ${hex(size)} bytes is at ${hex(address)}, expected it to end at ${hex(next)}, where the next one begins`;
    throw new FormatError('ELF_OVERLAP', message, { value: address });
  }
  return memory;
}

/** A segment without bytes in the file may claim to be past its end. */
const contentsOf = (file: ElfFile, segment: ElfFile['segments'][number]): SourceSlice =>
  segmentSource(file, segment.fileSize === 0 ? { ...segment, offset: 0 } : segment);

/** Notes of owner `LINUX` that are about the process. */
const OF_PROCESS: ReadonlySet<number> = new Set([NT.NT_X86_XSAVE_LAYOUT, NT.NT_VMCOREDD]);

/** What follows an NT_PRSTATUS, but for what is about the process, is of its thread. */
function readThreads(notes: readonly ElfNote[], machine: number): ElfCoreThread[] {
  const threads: (CoreStatus & { notes: ElfNote[] })[] = [];
  for (const note of notes) {
    if (note.owner === 'CORE' && note.type === NT.NT_PRSTATUS) {
      threads.push({ ...readStatus(note.desc, machine), notes: [] });
    } else if (
      (note.owner === 'LINUX' && !OF_PROCESS.has(note.type)) ||
      (note.owner === 'CORE' && note.type === NT.NT_PRFPREG)
    ) {
      threads.at(-1)?.notes.push(note);
    }
  }
  return threads;
}
