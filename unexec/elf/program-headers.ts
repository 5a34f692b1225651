/**
 * More program headers for an ELF program: linkers leave no room, so the table moves into a page of its own
 * behind all that is loaded, and has room there.
 *
 * Its distance from the first PT_LOAD is the same in the file and in memory: kernels before 5.18 compute
 * AT_PHDR as the address at which offset 0 would be plus e_phoff (Linux 5.17, fs/binfmt_elf.c,
 * create_elf_tables()), and so does glibc's start code for static programs (csu/libc-start.c, __ehdr_start).
 * No header goes away, and no byte that the linker placed moves.
 *
 * @module
 */

import { contentsSize, sliceContents } from '../../formats/contents.ts';
import { Elf64_Phdr, type ElfFile, type ElfSegment, newSegment, PF, PT } from '../../formats/elf/index.ts';
import { hex } from '../../formats/errors.ts';
import { UnexecError } from '../errors.ts';
import {
  alignmentOf,
  borderUnit,
  endOfFile,
  endOfMemory,
  loadsOf,
  mappableOffset,
  roundUp,
} from './address-space.ts';

/** Bytes that the moved table has, if that leaves room for as many headers as a dump adds. */
export const TABLE_ROOM = 0x1000;
const SPARE_HEADERS = 8;

/** What p_vaddr of the first PT_LOAD is ahead of its p_offset, and of the program headers. */
export function displacementOf(file: ElfFile): bigint {
  const [first] = loadsOf(file);
  return first === undefined ? 0n : first.address - BigInt(first.offset);
}

/** The PT_LOAD that has nothing but the program headers, where they have been moved; undefined where not. */
export const movedHeaders = (file: ElfFile): ElfSegment | undefined =>
  file.segments.find(
    ({ type, offset, flags }) =>
      type === PT.PT_LOAD && offset !== 0 && offset === file.phoff && flags === PF.PF_R,
  );

/**
 * Moves the program headers into a PT_LOAD of their own, which is returned; where they have one already,
 * nothing changes.
 *
 * @throws UnexecError `ELF_UNALIGNED` where no page of the file can be mapped there
 */
export function moveProgramHeaders(file: ElfFile): ElfSegment {
  const moved = movedHeaders(file);
  if (moved) return moved;
  const displacement = displacementOf(file);
  const unit = borderUnit(file);
  if (displacement % BigInt(unit) !== 0n) {
    throw new UnexecError(
      'ELF_UNALIGNED',
      `p_vaddr of the first PT_LOAD is ${hex(displacement)} ahead of its p_offset, expected a multiple of ${hex(unit)}`,
      { hint: 'link the program without -N and -n' },
    );
  }
  const behindFile = BigInt(endOfFile(file)) + displacement;
  const memory = endOfMemory(file);
  const address = roundUp(memory > behindFile ? memory : behindFile, unit);
  const needed = (file.segments.length + SPARE_HEADERS) * Elf64_Phdr.size;
  const size = Number(roundUp(BigInt(needed), TABLE_ROOM));
  file.phoff = Number(address - displacement);
  const segment = newSegment({
    type: PT.PT_LOAD,
    flags: PF.PF_R,
    offset: file.phoff,
    address,
    physicalAddress: physicalAddressOf(file, address),
    fileSize: size,
    memorySize: size,
    align: alignmentOf(file),
  });
  insertLoad(file, segment);
  return segment;
}

export interface LoadOptions {
  /** PF_*. */
  readonly flags: number;
  /** Bytes in memory. */
  readonly memorySize: number;
  /** Bytes in the file, at its end. Default: none. */
  readonly fileSize?: number;
  /** What the address is a multiple of, beside the size of a page. */
  readonly unit?: number;
}

/**
 * Adds a PT_LOAD behind all others, once the table has been moved. What it loads is the caller's to give, as
 * sections at its offset or as kept bytes.
 *
 * @throws UnexecError `NO_HEADER_ROOM`
 */
export function addLoadSegment(
  file: ElfFile,
  { flags, memorySize, fileSize = 0, unit = 1 }: LoadOptions,
): ElfSegment {
  checkTableRoom(file, movedHeaders(file));
  const address = roundUp(endOfMemory(file), Math.max(unit, borderUnit(file)));
  const segment = newSegment({
    type: PT.PT_LOAD,
    flags,
    offset: mappableOffset(file, address, endOfFile(file)),
    address,
    physicalAddress: physicalAddressOf(file, address),
    fileSize,
    memorySize,
    align: alignmentOf(file),
  });
  insertLoad(file, segment);
  return segment;
}

/**
 * Adds a PT_LOAD at an address behind all others. Where the table has not been moved, `moveProgramHeaders` is to
 * follow.
 *
 * @throws UnexecError `NO_HEADER_ROOM`
 */
export function addLoadAt(
  file: ElfFile,
  {
    flags,
    address,
    memorySize,
  }: { readonly flags: number; readonly address: bigint; readonly memorySize: number },
): ElfSegment {
  const table = movedHeaders(file);
  if (table !== undefined) checkTableRoom(file, table);
  const segment = newSegment({
    type: PT.PT_LOAD,
    flags,
    offset: mappableOffset(file, address, endOfFile(file)),
    address,
    physicalAddress: physicalAddressOf(file, address),
    fileSize: 0,
    memorySize,
    align: alignmentOf(file),
  });
  insertLoad(file, segment);
  return segment;
}

/** For one more header. */
function checkTableRoom(file: ElfFile, table: ElfSegment | undefined): void {
  const needed = (file.segments.length + 1) * Elf64_Phdr.size;
  if (table !== undefined && needed <= table.fileSize) return;
  throw new UnexecError(
    'NO_HEADER_ROOM',
    `${file.segments.length + 1} program headers take ${hex(needed)} bytes, and there is room for ${hex(table?.fileSize ?? 0)}`,
    { hint: 'prepare the program as the linker wrote it' },
  );
}

/** Loaders want PT_LOADs in order of address; this one has the highest. */
function insertLoad(file: ElfFile, segment: ElfSegment): void {
  const last = file.segments.findLastIndex(({ type }) => type === PT.PT_LOAD);
  file.segments.splice(last + 1, 0, segment);
  clearRoom(file);
  const own = file.segments.find(({ type }) => type === PT.PT_PHDR);
  if (!own) return;
  own.offset = file.phoff ?? 0;
  own.address = BigInt(own.offset) + displacementOf(file);
  own.physicalAddress = physicalAddressOf(file, own.address);
  own.fileSize = file.segments.length * Elf64_Phdr.size;
  own.memorySize = own.fileSize;
}

/** What was room behind the table, and was read as bytes of no section, becomes the table. */
function clearRoom(file: ElfFile): void {
  const start = file.phoff ?? 0;
  const end = start + file.segments.length * Elf64_Phdr.size;
  file.kept = file.kept.flatMap(part => {
    const size = contentsSize(part.contents);
    if (part.offset < start || part.offset >= end) return [part];
    if (part.offset + size <= end) return [];
    const taken = end - part.offset;
    return [{ ...part, offset: end, contents: sliceContents(part.contents, taken, size - taken) }];
  });
}

/** As far from p_vaddr as it is in the other segments. */
function physicalAddressOf(file: ElfFile, address: bigint): bigint {
  const [first] = loadsOf(file);
  return first === undefined ? address : address - first.address + first.physicalAddress;
}
