/**
 * Which files a process had mapped, and where: NT_FILE tells; of a core without it (qemu-user) the executable and
 * the dynamic linker's list of what it has loaded. Facts: link.h (`struct r_debug`, `struct link_map`), gABI
 * chapter 5 (base address).
 *
 * @module
 */
import {
  DT,
  type ElfFile,
  type ElfSegment,
  findSegment,
  PT,
  segmentContents,
} from '../../formats/elf/index.ts';
import { UnexecError } from '../errors.ts';
import { PAGE, PAGE_BIG } from '../image.ts';
import type { CoreReader, OpenElfCore } from './open-core.ts';

/** A stretch of a file in memory. */
export interface MappedFile {
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  /** In the file, bytes. */
  readonly offset: number;
  /** As the core has it, of the machine where it was made. */
  readonly path: string;
}

/** Finds the file of a path of the core, with its headers read; undefined: there is none. */
export type OpenByPath = (path: string) => ElfFile | undefined;

const AT_PHDR = 3;
const AT_BASE = 7;
const AT_ENTRY = 9;
/** No process has more libraries; a damaged list may be a circle. */
const MOST_LIBRARIES = 4096;
const LONGEST_PATH = 4096;

/** The mapped files, by address. */
export function mappedFiles(
  open: OpenElfCore,
  exe: string | undefined,
  openByPath: OpenByPath,
): MappedFile[] {
  const { files } = open.core;
  if (files !== undefined) {
    return files
      .map(({ start, end, offset, path }) => ({ start, end, offset: Number(offset), path }))
      .sort((a, b) => (a.start < b.start ? -1 : 1));
  }
  const program = exe === undefined ? undefined : openByPath(exe);
  if (exe === undefined || program === undefined) {
    throw new UnexecError(
      'EXECUTABLE_NEEDED',
      `the core ${open.path} does not say which files were mapped (NT_FILE)`,
      {
        path: open.path,
        hint: exe === undefined ? 'give its program: --exe FILE' : `${exe} cannot be read`,
      },
    );
  }
  const bias = biasOf(open, program);
  const loaded = [...linker(open, program), ...loadedLibraries(open.memory, program, bias)];
  const libraries = [...new Map(loaded.map(library => [library.bias, library])).values()].flatMap(
    ({ bias, path }) => {
      const file = openByPath(path);
      return file === undefined ? missingLibrary(path) : segmentsInMemory(file, bias, path);
    },
  );
  const all = [...segmentsInMemory(program, bias, exe), ...libraries];
  return all.sort((a, b) => (a.start < b.start ? -1 : 1));
}

function missingLibrary(path: string): never {
  throw new UnexecError('CORE_FILE_MISSING', `${path} was loaded in the process, and is not here`, {
    path,
    hint: 'name the directory that was its root: --sysroot DIRECTORY',
  });
}

/** Where the kernel put the program: it says where the program's headers are, and its entry. */
function biasOf({ auxv, path }: OpenElfCore, program: ElfFile): bigint {
  const entry = auxv.get(AT_ENTRY);
  const phdr = auxv.get(AT_PHDR);
  const first = program.segments.find(({ type }) => type === PT.PT_LOAD);
  if (entry === undefined || phdr === undefined || first === undefined) {
    throw new UnexecError(
      'CORE_WITHOUT_AUXV',
      `the core ${path} does not say where its program was (NT_AUXV)`,
      { path },
    );
  }
  const bias = entry - program.header.entry;
  if (phdr === bias + first.address - BigInt(first.offset) + BigInt(program.phoff ?? 0)) return bias;
  throw new UnexecError(
    'CORE_FILE_DIFFERS',
    `the core ${path} has another program: its headers are at 0x${phdr.toString(16)} and its entry at 0x${entry.toString(16)}, which fit no load address of this one`,
    { path, hint: 'give the program that ran: --exe FILE' },
  );
}

/** What of a file its PT_LOADs map, in whole pages. */
function segmentsInMemory(file: ElfFile, bias: bigint, path: string): MappedFile[] {
  return file.segments
    .filter(({ type, fileSize }) => type === PT.PT_LOAD && fileSize > 0)
    .map(({ address, offset, fileSize }) => {
      const into = Number(address % PAGE_BIG);
      const start = bias + address - BigInt(into);
      const size = Math.ceil((into + fileSize) / PAGE) * PAGE;
      return { start, end: start + BigInt(size), offset: offset - into, path };
    });
}

/** A library, and what is added to its addresses. */
interface Loaded {
  readonly bias: bigint;
  readonly path: string;
}

/** The dynamic linker, whose own entry in its list takes its name from the program's text. */
function linker({ auxv }: OpenElfCore, program: ElfFile): Loaded[] {
  const bias = auxv.get(AT_BASE) ?? 0n;
  const interp = findSegment(program, PT.PT_INTERP);
  if (bias === 0n || interp === undefined || interp.fileSize > LONGEST_PATH) return [];
  const [path = ''] = new TextDecoder().decode(segmentContents(program, interp)).split('\0');
  return [{ bias, path }];
}

/** `struct link_map` after `struct link_map`, from the program's DT_DEBUG. */
function loadedLibraries(memory: CoreReader, program: ElfFile, bias: bigint): Loaded[] {
  const dynamic = findSegment(program, PT.PT_DYNAMIC);
  if (dynamic === undefined) return [];
  const debug = debugOf(memory, dynamic, bias);
  const found: Loaded[] = [];
  let map = debug === 0n ? 0n : memory.word(debug + 8n);
  for (let i = 0; map !== 0n && i < MOST_LIBRARIES; i++) {
    const path = text(memory, memory.word(map + 8n));
    // The program is the one without a name; the vdso has one, but no path.
    if (path.startsWith('/')) found.push({ bias: memory.word(map), path });
    map = memory.word(map + 24n);
  }
  return found;
}

function debugOf(memory: CoreReader, dynamic: ElfSegment, bias: bigint): bigint {
  const start = bias + dynamic.address;
  for (let at = 0; at + 16 <= Math.min(dynamic.memorySize, 1 << 16); at += 16) {
    const tag = memory.word(start + BigInt(at));
    if (tag === BigInt(DT.DT_NULL)) break;
    if (tag === BigInt(DT.DT_DEBUG)) return memory.word(start + BigInt(at) + 8n);
  }
  return 0n;
}

function text(memory: CoreReader, address: bigint): string {
  const bytes = memory.bytes(address, LONGEST_PATH);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(bytes.subarray(0, Math.max(0, end)));
}
