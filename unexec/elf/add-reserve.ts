/**
 * Gives an ELF program its reserve: a zero-fill PT_LOAD behind all others, with a section `.unexec.heap`, and
 * the program headers in a page before it.
 *
 * @module
 */
import { type ElfFile, EM, ET, findSection, newSection, PF, SHF, SHT } from '../../formats/elf/index.ts';
import { hex } from '../../formats/errors.ts';
import { UnexecError } from '../errors.ts';
import { RESERVE_UNIT } from '../zones/reserve.ts';
import { endOfMemory, loadsOf } from './address-space.ts';
import { makeDynamicRoom } from './move-dynamic.ts';
import { addLoadSegment, movedHeaders, moveProgramHeaders } from './program-headers.ts';
import { describeSection, placeSectionTables } from './section-tables.ts';

export const HEAP_SECTION = '.unexec.heap';

/** Where addresses of programs end: with four levels of page tables, and with 48 bits. */
const END_X86 = 0x7fff_ffff_f000n;
const END_ARM = 0x1_0000_0000_0000n;
/** What libraries, the stack and everything that is mapped later find there at the least. */
const ROOM_FOR_OTHERS = 2n ** 40n;

/** Whether the file has a reserve, be there a runtime for it or not. */
export const hasReserve = (file: ElfFile): boolean =>
  findSection(file, HEAP_SECTION) !== undefined || movedHeaders(file) !== undefined;

/**
 * Adds `size` bytes (a multiple of 16 KiB) to the file in memory.
 *
 * @returns where they begin
 * @throws UnexecError `NO_ADDRESS_SPACE`, `ELF_UNALIGNED`
 */
export function addReserve(file: ElfFile, size: number): bigint {
  moveProgramHeaders(file);
  makeDynamicRoom(file);
  const segment = addLoadSegment(file, { flags: PF.PF_R | PF.PF_W, memorySize: size, unit: RESERVE_UNIT });
  checkRoom(file);
  describeSection(
    file,
    newSection({
      name: HEAP_SECTION,
      type: SHT.SHT_NOBITS,
      flags: SHF.SHF_ALLOC | SHF.SHF_WRITE,
      address: segment.address,
      offset: segment.offset,
      size,
      align: RESERVE_UNIT,
    }),
  );
  placeSectionTables(file);
  return segment.address;
}

/** A kernel puts position-independent programs at two thirds of the address space (ELF_ET_DYN_BASE). */
function checkRoom(file: ElfFile): void {
  const { type, machine } = file.header;
  const end = machine === EM.EM_AARCH64 ? END_ARM : END_X86;
  const first = loadsOf(file)[0]?.address ?? 0n;
  const begins = type === ET.ET_EXEC ? first : (end / 3n) * 2n;
  const ends = begins + endOfMemory(file) - first;
  const limit = end - ROOM_FOR_OTHERS;
  if (ends <= limit) return;
  throw new UnexecError(
    'NO_ADDRESS_SPACE',
    `the program takes ${hex(begins)} to ${hex(ends)} with the reserve, expected to end before ${hex(limit)}`,
    { hint: 'take a smaller --reserve, or link the program at a lower address' },
  );
}
