/**
 * Variables of a Mach-O file by name, with the underscore that C puts before it or without.
 *
 * @module
 */
import {
  isInSection,
  type MachOFile,
  type MachOSymbol,
  readSymbols,
  sectionsOf,
  segmentsOf,
  VM_PROT,
} from '../../formats/macho/index.ts';
import type { ScratchSymbol, ScratchSymbols } from './symbols.ts';

/** @throws FormatError for a damaged symbol table */
export function machoScratchSymbols(file: MachOFile): ScratchSymbols {
  const symbols = readSymbols(file).filter(symbol => isInSection(symbol) && symbol.name !== '');
  const sorted = symbols.toSorted((a, b) => (a.value < b.value ? -1 : a.value > b.value ? 1 : 0));
  const indexes = new Map<string, number[]>();
  for (const [i, { name }] of sorted.entries()) {
    const list = indexes.get(name);
    if (list === undefined) indexes.set(name, [i]);
    else list.push(i);
  }
  const named = (name: string): ScratchSymbol[] | undefined =>
    indexes.get(name)?.flatMap(i => {
      const symbol = sorted[i];
      const next = sorted.slice(i + 1).find(({ value }) => value > (symbol?.value ?? 0n));
      return symbol === undefined ? [] : [describe(file, symbol, next)];
    });
  return { hasTable: symbols.length > 0, named: name => named(`_${name}`) ?? named(name) ?? [] };
}

function describe(file: MachOFile, symbol: MachOSymbol, next: MachOSymbol | undefined): ScratchSymbol {
  const { name, value: address } = symbol;
  const section = sectionsOf(file)[symbol.section - 1];
  if (section === undefined) return { name, address, size: undefined, room: 0, notData: 'in no section' };
  const room = Number(section.addr + section.size - address);
  const size = next !== undefined && next.section === symbol.section ? Number(next.value - address) : room;
  const segment = segmentsOf(file).find(({ sections }) => sections.includes(section));
  const isWritable = segment !== undefined && (segment.initprot & VM_PROT.VM_PROT_WRITE) !== 0;
  const isThreadLocal = section.sectname.startsWith('__thread');
  const notData = isThreadLocal
    ? 'thread-local'
    : isWritable
      ? undefined
      : `in ${section.segname},${section.sectname}, which is not writable`;
  return { name, address, size: size > 0 ? size : undefined, room, notData };
}
