/**
 * The files that a core's process had mapped, as they are on this machine. What a core leaves out is read from them,
 * so each must be the one that was mapped: by its build-id, where the core has a copy of it; else by its headers,
 * or by where its segments are.
 *
 * @module
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import {
  Elf64_Phdr,
  type ElfFile,
  type ElfSegment,
  FormatError,
  PF,
  PT,
  readBuildId,
  readElf,
} from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { UnexecError } from '../errors.ts';
import { type FileSource, openRegularFile } from '../file-source.ts';
import { type Module, PAGE, PAGE_BIG } from '../image.ts';
import { moduleAt } from '../linux/modules.ts';
import type { MappedFile } from './mapped-files.ts';
import type { CoreReader, OpenElfCore } from './open-core.ts';

/** A file, open. */
export interface HereFile {
  /** On this machine. */
  readonly path: string;
  readonly source: FileSource;
  /** Undefined: it is no ELF file. */
  readonly elf: ElfFile | undefined;
}

/** Finds files by the paths of a core, and keeps them open until `close`. */
export class HereFiles {
  readonly #sysroot: string;
  readonly #given: ReadonlyMap<string, string>;
  readonly #open = new Map<string, HereFile | undefined>();

  /** @param given paths of the core -> where they are, before any search */
  constructor(sysroot: string | undefined, given: ReadonlyMap<string, string>) {
    this.#sysroot = sysroot ?? '/';
    this.#given = given;
  }

  /** Undefined where there is none, or none that may be read. */
  find(path: string): HereFile | undefined {
    if (!this.#open.has(path)) this.#open.set(path, this.#openFile(path));
    return this.#open.get(path);
  }

  /** Where the file of a path of the core would be. */
  placeOf(path: string): string {
    return this.#given.get(path) ?? join(this.#sysroot, path);
  }

  close(): void {
    for (const file of this.#open.values()) file?.source.close();
    this.#open.clear();
  }

  #openFile(path: string): HereFile | undefined {
    const place = this.placeOf(path);
    // Not a device: what is mapped of /dev/zero is in the core or nowhere.
    if (place.startsWith('/dev/') || !existsSync(place)) return undefined;
    try {
      const source = openRegularFile(place);
      return { path: place, source, elf: elfOf(source) };
    } catch (error) {
      if (error instanceof UnexecError) return undefined;
      throw error;
    }
  }
}

function elfOf(source: FileSource): ElfFile | undefined {
  try {
    return readElf(source);
  } catch (error) {
    if (error instanceof FormatError) return undefined;
    throw error;
  }
}

/**
 * The modules of a core, the program first: what was mapped from its beginning and is an ELF file.
 *
 * @throws UnexecError `CORE_FILE_DIFFERS` where a file is not the one that was mapped
 */
export function coreModules(
  open: OpenElfCore,
  mapped: readonly MappedFile[],
  files: HereFiles,
  entry: bigint,
): Module[] {
  const modules = mapped
    .filter(({ offset }) => offset === 0)
    .flatMap(first => {
      const here = files.find(first.path);
      const inCore = moduleAt({ start: first.start, name: first.path }, open.memory);
      if (here?.elf === undefined) return inCore === undefined ? [] : [inCore];
      const fromFile = moduleOf(first, here.elf);
      if (fromFile === undefined) return [];
      checkFile(open, first, here.path, here.elf, inCore);
      return [{ ...fromFile, path: here.path }];
    });
  const isProgram = ({ start, end }: Module): boolean => start <= entry && entry < end;
  return [...modules.filter(isProgram), ...modules.filter(module => !isProgram(module))];
}

const loadsOf = (elf: ElfFile): ElfSegment[] => elf.segments.filter(({ type }) => type === PT.PT_LOAD);

function moduleOf({ start, path }: MappedFile, elf: ElfFile): Module | undefined {
  const loads = loadsOf(elf);
  const [first] = loads;
  const last = loads.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const bias = start - (first.address - (first.address % PAGE_BIG));
  const end = bias + last.address + BigInt(last.memorySize);
  return { path, bias, start, end: roundUp(end), buildId: readBuildId(elf) ?? '' };
}

function checkFile(
  open: OpenElfCore,
  { start, path }: MappedFile,
  here: string,
  elf: ElfFile,
  inCore: Module | undefined,
): void {
  const found = readBuildId(elf) ?? '';
  const differs = (what: string): UnexecError =>
    new UnexecError('CORE_FILE_DIFFERS', `${here} is not the file that was mapped as ${path}: ${what}`, {
      path: here,
      hint: 'name the program as it was with --exe, and the directory that has its libraries with --sysroot',
    });
  if (inCore !== undefined && inCore.buildId !== '' && inCore.buildId !== found) {
    const its = found === '' ? 'none' : found;
    throw differs(`its build-id is ${its}, that of the core's copy is ${inCore.buildId}`);
  }
  if (inCore !== undefined && inCore.buildId === '' && !sameHeaders(open.memory, start, elf)) {
    throw differs("its program headers are not those of the core's copy");
  }
  const misplaced = inCore === undefined ? misplacedSegment(open, start, elf) : undefined;
  if (misplaced !== undefined) throw differs(misplaced);
}

/** For files without a build-id, or whose note is not in the core. */
function sameHeaders(memory: CoreReader, start: bigint, elf: ElfFile): boolean {
  const table = memory.bytes(start + BigInt(elf.phoff ?? 0), elf.segments.length * Elf64_Phdr.size);
  return elf.segments.every((segment, i) => {
    const { p_type, p_vaddr, p_filesz } = Elf64_Phdr.read(viewOf(table), i * Elf64_Phdr.size, true);
    return p_type === segment.type && p_vaddr === segment.address && p_filesz === BigInt(segment.fileSize);
  });
}

/** Where nothing of a file's headers is in the core, its writable segments must be where the core has such memory. */
function misplacedSegment({ core }: OpenElfCore, start: bigint, elf: ElfFile): string | undefined {
  const loads = loadsOf(elf);
  const [first] = loads;
  if (first === undefined) return undefined;
  const bias = start - (first.address - (first.address % PAGE_BIG));
  for (const { address, memorySize, flags } of loads) {
    if ((flags & PF.PF_W) === 0 || memorySize === 0) continue;
    const last = bias + address + BigInt(memorySize) - 1n;
    const region = core.memory.find(({ address: from, size }) => from <= last && last < from + BigInt(size));
    if (region !== undefined && (region.flags & PF.PF_W) !== 0) continue;
    return `it has a writable segment up to 0x${last.toString(16)}, where the core has no such memory`;
  }
  return undefined;
}

const roundUp = (address: bigint): bigint => ((address + PAGE_BIG - 1n) / PAGE_BIG) * PAGE_BIG;

/** Bytes of a file in memory: nothing beyond its last page. */
export const mappableSize = ({ source }: HereFile): number => Math.ceil(source.size / PAGE) * PAGE;
