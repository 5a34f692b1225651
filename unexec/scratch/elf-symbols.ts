/**
 * Variables of an ELF file by name. GNU ld appends the version to the name of data that a program has copied
 * from a library (`stdout@GLIBC_2.2.5` in .symtab): both forms are taken.
 *
 * @module
 */
import {
  type ElfFile,
  type ElfSymbol,
  PF,
  PT,
  readDynamicSymbols,
  readSymbols,
  SHN,
  SHT,
  STT,
} from '../../formats/elf/index.ts';
import type { ScratchSymbol, ScratchSymbols } from './symbols.ts';

/** @throws FormatError for damaged symbol tables */
export function elfScratchSymbols(file: ElfFile): ScratchSymbols {
  const symtab = file.sections.find(({ type }) => type === SHT.SHT_SYMTAB);
  const tables = [symtab === undefined ? [] : readSymbols(file, symtab), readDynamicSymbols(file)];
  const byName = new Map<string, ElfSymbol[]>();
  for (const symbol of tables.flat()) {
    if (symbol.name === '' || symbol.sectionIndex === SHN.SHN_UNDEF) continue;
    if (symbol.type === STT.STT_FILE || symbol.type === STT.STT_SECTION) continue;
    for (const name of new Set([symbol.name, symbol.name.replace(/@.*/, '')])) {
      const list = byName.get(name);
      if (list === undefined) byName.set(name, [symbol]);
      else list.push(symbol);
    }
  }
  return {
    hasTable: symtab !== undefined,
    named: name => (byName.get(name) ?? []).map(symbol => describe(file, symbol)),
  };
}

function describe(file: ElfFile, { name, value, size, type, sectionIndex }: ElfSymbol): ScratchSymbol {
  const segment = file.segments.find(
    ({ type, address, memorySize }) =>
      type === PT.PT_LOAD && value >= address && value < address + BigInt(memorySize),
  );
  const isWritable = segment !== undefined && (segment.flags & PF.PF_W) !== 0;
  const room = segment === undefined ? 0 : Number(segment.address - value) + segment.memorySize;
  const notData =
    type === STT.STT_TLS
      ? 'thread-local'
      : type === STT.STT_FUNC || type === STT.STT_GNU_IFUNC
        ? 'a function'
        : sectionIndex === SHN.SHN_ABS
          ? 'a constant'
          : isWritable
            ? undefined
            : 'not in writable memory';
  return { name, address: value, size: size === 0 ? undefined : size, room, notData };
}
