/**
 * Names of places in a Mach-O program, for messages: the symbol with an offset where there is one near
 * enough, else segment and section.
 *
 * @module
 */
import { hex } from '../../../formats/errors.ts';
import {
  findBlob,
  type MachOFile,
  N,
  N_MASK,
  readSymbols,
  segmentsOf,
} from '../../../formats/macho/index.ts';
import { type NamedAddress, symbolFinder } from '../restart/symbol-before.ts';

/** `_table+0x8 (__DATA,__bss)`, for an address of the file. */
export function nameOfPlace(file: MachOFile, address: bigint): string {
  const segment = segmentsOf(file).find(
    ({ vmaddr, vmsize }) => address >= vmaddr && address < vmaddr + vmsize,
  );
  const section = segment?.sections.find(({ addr, size }) => address >= addr && address < addr + size);
  const where =
    section === undefined ? (segment?.segname ?? 'nowhere') : `${section.segname},${section.sectname}`;
  const symbol = symbolBefore(file, address);
  if (symbol === undefined || section === undefined || symbol.value < section.addr)
    return `${hex(address)} (${where})`;
  const offset = address - symbol.value;
  return `${symbol.name}${offset === 0n ? '' : `+${hex(offset)}`} (${where})`;
}

function readTable(file: MachOFile): NamedAddress[] {
  if (findBlob(file, 'symbols') === undefined) return [];
  return readSymbols(file)
    .filter(
      ({ type, name }) => (type & N_MASK.N_STAB) === 0 && (type & N_MASK.N_TYPE) === N.N_SECT && name !== '',
    )
    .map(({ name, value }) => ({ name, value }))
    .sort((a, b) => (a.value < b.value ? -1 : 1));
}

const symbolBefore = symbolFinder(readTable);
