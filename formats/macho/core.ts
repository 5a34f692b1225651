/**
 * MH_CORE: the memory and the threads of a process. `readCore` takes those of xnu's kernel and of lldb, which
 * differ in order, in the flavors of thread states, and in what their notes tell; `newCore` gives a model to
 * be laid out, whose memory the caller writes. `mach-o/loader.h` of cctools-1035, `bsd/kern/kern_core.c` of
 * xnu-11417, `ObjectFileMachO.cpp` of LLVM 19.
 *
 * @module
 */
import type { Contents } from '../contents.ts';
import { FormatError, hex, toNumber } from '../errors.ts';
import { nameOf } from '../names.ts';
import { type ByteSource, SourceSlice } from '../source.ts';
import { LC, MH } from './constants.ts';
import {
  type AddressableBits,
  CORE_NOTE,
  type CoreBinary,
  type CoreImage,
  readAddressableBits,
  readAllImageInfos,
  readLoadBinary,
  readMainBinSpec,
} from './core-notes.ts';
import { type CoreThread, encodeThread, readThread } from './core-threads.ts';
import { findCommands, segmentsOf } from './find.ts';
import type { ThreadState } from './image.ts';
import { type MachOFile, newMachO, newSegment } from './model.ts';
import { noteCommand, readNotes } from './notes.ts';
import { mach_header_64, note_command, segment_command_64 } from './structs.ts';

export interface MachOCore {
  /** CPU_TYPE_*, CPU_SUBTYPE_*. */
  readonly cputype: number;
  readonly cpusubtype: number;
  /** By address, without overlaps. */
  readonly memory: readonly CoreMemory[];
  /** In their order; the kernel puts the one that crashed first. */
  readonly threads: readonly CoreThread[];
  readonly notes: readonly CoreNote[];
  /** Images by `all image infos`; undefined where the core has no list. */
  readonly images: readonly CoreImage[] | undefined;
  /** Binaries by `main bin spec` and `load binary`. */
  readonly binaries: readonly CoreBinary[];
  readonly addressableBits: AddressableBits | undefined;
  /** Thread ids by `process metadata`, one a thread. */
  readonly threadIds: readonly number[] | undefined;
}

/** A stretch of memory. */
export interface CoreMemory {
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
  /** VM_PROT_*. */
  readonly protection: number;
  /** What is in the file, at most `size` bytes; the rest is zero. */
  readonly contents: Contents | undefined;
}

export interface CoreNote {
  /** `data_owner`: 16 bytes that need not end in NUL. */
  readonly owner: string;
  readonly contents: ByteSource;
}

/**
 * A core from its model.
 *
 * @throws FormatError `MACHO_NOT_A_CORE`, `MACHO_BAD_THREAD`, `MACHO_BAD_NOTE`, `MACHO_OVERLAP` where two
 *   segments have the same address, `MACHO_BAD_SEGMENT`, `OUT_OF_RANGE`
 */
export function readCore(file: MachOFile): MachOCore {
  const { cputype, cpusubtype, filetype } = file.header;
  if (filetype !== MH.MH_CORE) {
    const offset = mach_header_64.offsets.filetype;
    const message = `Mach-O: filetype is ${nameOf(MH, filetype)} at ${hex(offset)}, expected MH_CORE`;
    throw new FormatError('MACHO_NOT_A_CORE', message, { offset, value: filetype });
  }
  const notes = readNotes(file).map(note => ({
    owner: note.owner,
    contents: stretchOf(file, note.offset, note.size),
  }));
  const of = (owner: string): Uint8Array[] =>
    notes
      .filter(note => note.owner === owner)
      .map(note => note.contents.read(0, Math.min(note.contents.size, MAX_NOTE)));
  const [imageList] = of(CORE_NOTE.ALL_IMAGE_INFOS);
  const [bits] = of(CORE_NOTE.ADDRABLE_BITS);
  const [metadata] = of(CORE_NOTE.PROCESS_METADATA);
  return {
    cputype,
    cpusubtype,
    memory: readMemory(file),
    threads: findCommands(file, LC.LC_THREAD).map(command => readThread(command, cputype)),
    notes,
    images: imageList && file.source && readAllImageInfos(imageList, file.source),
    binaries: [
      ...of(CORE_NOTE.MAIN_BIN_SPEC).map(readMainBinSpec),
      ...of(CORE_NOTE.LOAD_BINARY).map(readLoadBinary),
    ],
    addressableBits: bits && readAddressableBits(bits),
    threadIds: metadata && readThreadIds(metadata),
  };
}

/** No note that is read here is larger; others are read by whoever knows them. */
const MAX_NOTE = 1 << 20;

/** What a new core is made of. */
export interface CoreParts {
  readonly cputype: number;
  readonly cpusubtype: number;
  readonly memory: readonly Pick<CoreMemory, 'address' | 'size' | 'protection'>[];
  readonly threads: readonly (readonly ThreadState[])[];
  readonly notes: readonly NewNote[];
  /** The kernel's: segments, notes, threads; or lldb's: notes, threads, segments (default). */
  readonly order?: 'xnu' | 'lldb';
}

/** A note; what it says may depend on where in the file it is. */
export interface NewNote {
  readonly owner: string;
  readonly size: number;
  at(offset: number): Uint8Array;
}

/** A note of these bytes. */
export const newNote = (owner: string, bytes: Uint8Array): NewNote => ({
  owner,
  size: bytes.length,
  at: () => bytes,
});

/** Page size of every Mac that wrote cores first, and offsets that both kernels can map. */
const ALIGN = 0x4000;

/**
 * A core as a model, every offset set. Contents of its segments are external: the caller writes `filesize` bytes at
 * `fileoff` of each.
 */
export function newCore(parts: CoreParts): MachOFile {
  const { cputype, cpusubtype, memory, threads, notes } = parts;
  const threadCommands = threads.map(encodeThread);
  const commandsSize =
    memory.length * segment_command_64.size +
    notes.length * note_command.size +
    threadCommands.reduce((size, { bytes }) => size + bytes.length, 0);
  let offset = mach_header_64.size + commandsSize;

  const placed = notes.map(({ owner, size, at }) => {
    offset = roundUp(offset, 16);
    const place = { owner, offset, contents: at(offset) };
    offset += size;
    return place;
  });
  const noteCommands = placed.map(({ owner, offset, contents }) =>
    noteCommand({ owner, offset, size: contents.length }),
  );
  const segments = memory.map(({ address, size, protection }) => {
    offset = roundUp(offset, ALIGN);
    const segment = newSegment({
      segname: '',
      vmaddr: address,
      vmsize: BigInt(size),
      fileoff: offset,
      filesize: size,
      maxprot: protection,
      initprot: protection,
    });
    offset += size;
    return segment;
  });
  const others = [...noteCommands, ...threadCommands];
  return {
    ...newMachO({ cputype, cpusubtype, filetype: MH.MH_CORE }),
    commands: parts.order === 'xnu' ? [...segments, ...others] : [...others, ...segments],
    kept: placed.map(({ offset, contents }) => ({ offset, contents })),
  };
}

const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

function readMemory(file: MachOFile): CoreMemory[] {
  const memory = segmentsOf(file)
    .filter(({ vmsize }) => vmsize > 0n)
    .map(segment => {
      const { vmaddr, vmsize, fileoff, filesize, initprot } = segment;
      const size = toNumber('Mach-O: vmsize of a segment', vmsize);
      if (filesize > size) {
        const message = `Mach-O: filesize of a segment is ${hex(filesize)}, expected at most its vmsize of ${hex(size)}`;
        throw new FormatError('MACHO_BAD_SEGMENT', message, { offset: fileoff, value: filesize });
      }
      const contents = filesize === 0 ? undefined : (segment.contents ?? stretchOf(file, fileoff, filesize));
      return { address: vmaddr, size, protection: initprot, contents };
    })
    .sort((a, b) => (a.address < b.address ? -1 : 1));
  for (const [i, { address, size }] of memory.entries()) {
    const end = address + BigInt(size);
    const next = memory[i + 1]?.address ?? 2n ** 64n;
    if (end <= next) continue;
    const message = `Mach-O: a segment of ${hex(size)} bytes is at ${hex(address)}, expected it to end at ${hex(next)}, where the next one begins`;
    throw new FormatError('MACHO_OVERLAP', message, { value: address });
  }
  return memory;
}

/** A stretch of the file that was read. */
function stretchOf({ source }: MachOFile, offset: number, size: number): SourceSlice {
  if (source) return new SourceSlice(source, offset, size);
  const message = `Mach-O: ${hex(size)} bytes at ${hex(offset)} are in a file that was not read`;
  throw new FormatError('MACHO_EXTERNAL', message, { offset });
}

/** What is no such list says nothing. */
function readThreadIds(metadata: Uint8Array): number[] | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder().decode(metadata));
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null || !('threads' in parsed)) return undefined;
  if (!Array.isArray(parsed.threads)) return undefined;
  return parsed.threads.map(thread => {
    const id: unknown = typeof thread === 'object' && thread !== null ? thread.thread_id : undefined;
    return typeof id === 'number' ? id : 0;
  });
}
