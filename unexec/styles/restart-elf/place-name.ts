/**
 * Names of places in an ELF program, for messages: the symbol with an offset where there is one near enough,
 * else the section.
 *
 * @module
 */

import { type ElfFile, PF, PT, readSymbols, SHF, SHN, STT, sectionSize } from '../../../formats/elf/index.ts';
import { hex } from '../../../formats/errors.ts';
import { type NamedAddress, symbolFinder } from '../restart/symbol-before.ts';

/** `table+0x8 (.bss)`, for an address of the file. */
export function nameOfPlace(file: ElfFile, address: bigint): string {
  const section = file.sections.find(
    candidate =>
      (candidate.flags & SHF.SHF_ALLOC) !== 0 &&
      (candidate.flags & SHF.SHF_TLS) === 0 &&
      address >= candidate.address &&
      address < candidate.address + BigInt(sectionSize(candidate)),
  );
  const where = section?.name ?? segmentName(file, address);
  const symbol = symbolBefore(file, address);
  if (symbol === undefined || section === undefined || symbol.value < section.address) {
    return `${hex(address)} (${where})`;
  }
  const offset = address - symbol.value;
  return `${symbol.name}${offset === 0n ? '' : `+${hex(offset)}`} (${where})`;
}

function segmentName(file: ElfFile, address: bigint): string {
  const index = file.segments.findIndex(
    ({ type, address: start, memorySize }) =>
      type === PT.PT_LOAD && address >= start && address < start + BigInt(memorySize),
  );
  const segment = file.segments[index];
  if (segment === undefined) return 'nowhere';
  return `segment ${index}, ${(segment.flags & PF.PF_W) === 0 ? 'read-only' : 'writable'}`;
}

const NAMED: ReadonlySet<number> = new Set([STT.STT_OBJECT, STT.STT_FUNC, STT.STT_NOTYPE]);

function readTable(file: ElfFile): NamedAddress[] {
  const symtab =
    file.sections.find(({ name }) => name === '.symtab') ??
    file.sections.find(({ name }) => name === '.dynsym');
  if (symtab === undefined) return [];
  return readSymbols(file, symtab)
    .filter(
      ({ type, name, sectionIndex, value }) =>
        NAMED.has(type) && name !== '' && sectionIndex !== SHN.SHN_UNDEF && value !== 0n,
    )
    .sort((a, b) => (a.value < b.value ? -1 : 1));
}

const symbolBefore = symbolFinder(readTable);
