/**
 * An ELF core, opened: its notes and segments, and what of it other passes ask for. Who wrote it is told by what it
 * has and lacks, and counts only where the same note means different things.
 *
 * @module
 */
import { statSync } from 'node:fs';
import {
  type ElfCore,
  type ElfCoreMemory,
  EM,
  FormatError,
  NT,
  PF,
  readElf,
  readElfCore,
} from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { UnexecError } from '../errors.ts';
import { type FileSource, openRegularFile } from '../file-source.ts';
import type { Arch } from '../image.ts';
import { type MemoryStretch, StretchMemory } from '../sources/stretch-memory.ts';
import { requirePossible } from './possible.ts';

export interface OpenElfCore {
  readonly path: string;
  readonly core: ElfCore;
  readonly arch: Arch;
  readonly writer: CoreWriter;
  /** ISO 8601: when the file was last written to. */
  readonly writtenAt: string;
  /** What is in the core, nothing else. */
  readonly memory: CoreReader;
  /** Values of the auxiliary vector by AT_*. */
  readonly auxv: ReadonlyMap<number, bigint>;
  close(): void;
}

/** `gdb` writes the cores of gcore. */
export type CoreWriter = 'kernel' | 'gdb' | 'qemu-user' | 'unexec';

/** Memory with the reads that most of us need. Bytes that are nowhere are zero. */
export class CoreReader extends StretchMemory {
  bytes(address: bigint, length: number): Uint8Array {
    const into = new Uint8Array(length);
    this.read(address, into);
    return into;
  }

  word(address: bigint): bigint {
    return viewOf(this.bytes(address, 8)).getBigUint64(0, true);
  }

  word32(address: bigint): number {
    return viewOf(this.bytes(address, 4)).getUint32(0, true);
  }
}

const ELF_HEADER_SIZE = 64;
const ELF_MAGIC = 0x464c457f;
const ET_CORE = 4;
const E_TYPE = 16;

/** Whether a file is an ELF core, by its first bytes; what cannot be read is none. */
export function isElfCore(path: string): boolean {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return false;
  let source: FileSource;
  try {
    source = openRegularFile(path);
  } catch {
    return false; // its own reader says why
  }
  try {
    if (source.size < ELF_HEADER_SIZE) return false;
    const header = viewOf(source.read(0, ELF_HEADER_SIZE));
    return header.getUint32(0, true) === ELF_MAGIC && header.getUint16(E_TYPE, true) === ET_CORE;
  } finally {
    source.close();
  }
}

/**
 * Opens a core, until `close`.
 *
 * @throws UnexecError `FILE_UNREADABLE`, `CORE_TRUNCATED`, `CORE_WITHOUT_THREADS`, `CORE_IMPOSSIBLE`; FormatError for a malformed file
 */
export function openElfCore(path: string): OpenElfCore {
  const source = openRegularFile(path);
  try {
    const core = parse(source, path);
    if (core.threads.length === 0) {
      const message = `the core ${path} has no thread (NT_PRSTATUS), expected one or more`;
      throw new UnexecError('CORE_WITHOUT_THREADS', message, { path });
    }
    requirePossible(core, path);
    return {
      path,
      core,
      arch: core.machine === EM.EM_AARCH64 ? 'aarch64' : 'x86_64',
      writer: writerOf(core),
      writtenAt: statSync(path).mtime.toISOString(),
      memory: new CoreReader(core.memory.map(stretchOf)),
      auxv: auxvOf(core.auxv ?? new Uint8Array()),
      close: () => source.close(),
    };
  } catch (error) {
    source.close();
    throw error;
  }
}

function parse(source: FileSource, path: string): ElfCore {
  try {
    return readElfCore(readElf(source));
  } catch (cause) {
    if (!(cause instanceof FormatError) || cause.code !== 'ELF_TRUNCATED') throw cause;
    throw new UnexecError('CORE_TRUNCATED', `the core ${path} is cut off: ${cause.message}`, {
      path,
      cause,
      hint: 'take it again, where there is room for it (ulimit -c unlimited; the disk)',
    });
  }
}

function writerOf({ notes, threads, files, signalInfo }: ElfCore): CoreWriter {
  if (notes.some(({ owner }) => owner === 'unexec')) return 'unexec';
  if (notes.some(({ owner }) => owner === 'GDB')) return 'gdb';
  const hasVectors = threads.some(({ notes }) => notes.some(({ type }) => type === NT.NT_PRFPREG));
  if (files === undefined && !hasVectors) return 'qemu-user';
  // The kernel always says of which signal the process died.
  return signalInfo === undefined ? 'gdb' : 'kernel';
}

function stretchOf({ address, size, flags, contents }: ElfCoreMemory): MemoryStretch {
  return {
    start: address,
    size,
    read: (flags & PF.PF_R) !== 0,
    write: (flags & PF.PF_W) !== 0,
    execute: (flags & PF.PF_X) !== 0,
    shared: false,
    inode: 0,
    name: '',
    stored: contents.size,
    fill: (offset, into) => into.set(contents.read(offset, into.length)),
  };
}

/** Pairs up to AT_NULL. */
function auxvOf(bytes: Uint8Array): Map<number, bigint> {
  const view = viewOf(bytes);
  const values = new Map<number, bigint>();
  for (let at = 0; at + 16 <= bytes.length; at += 16) {
    const type = Number(view.getBigUint64(at, true));
    if (type === 0) break;
    values.set(type, view.getBigUint64(at + 8, true));
  }
  return values;
}
