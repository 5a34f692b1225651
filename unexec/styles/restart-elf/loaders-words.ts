/**
 * The words of an ELF program that its relocations other than relative ones are about: pointers that the
 * loader looks up in libraries, and data that it copies from them. The program may have written over the
 * former.
 *
 * @module
 */
import {
  type DynamicRelocations,
  dynamicTypes,
  type ElfFile,
  type ElfSymbol,
  readDynamicSymbols,
  relocationsOf,
} from '../../../formats/elf/index.ts';
import type { Bound } from '../restart/bound-words.ts';
import type { AddressStretch } from './territory.ts';

/** A word that gets the address of a symbol. */
export interface SymbolWord extends Bound {
  /** Index of the symbol in .dynsym. */
  readonly symbolIndex: number;
  /** R_*. */
  readonly type: number;
}

export interface LoadersWords {
  readonly symbols: readonly SymbolWord[];
  /** What is the loader's, whatever the program does: copied data, words about thread-local storage, functions' results. */
  readonly others: readonly AddressStretch[];
}

const WORD = 8n;
const STB_WEAK = 2;

export function loadersWords(file: ElfFile, { rela, jmprel }: DynamicRelocations): LoadersWords {
  const types = dynamicTypes(file.header.machine);
  const names = readDynamicSymbols(file);
  const symbols: SymbolWord[] = [];
  const others: AddressStretch[] = [];
  for (const table of [rela, jmprel]) {
    for (const { offset, type, symbol, addend } of relocationsOf(table)) {
      const named: ElfSymbol | undefined = names[symbol];
      if (type === types.relative || type === 0) continue;
      const isPointer = type === types.absolute || type === types.globDat || type === types.jumpSlot;
      if (isPointer && named !== undefined && symbol !== 0) {
        symbols.push({
          address: offset,
          symbolIndex: symbol,
          symbol: named.name,
          libOrdinal: 0,
          addend: type === types.absolute ? addend : 0n,
          type,
          lazy: table === jmprel,
          weak: named.bind === STB_WEAK,
        });
        continue;
      }
      const size = type === types.copy ? BigInt(named?.size ?? 0) : BigInt(types.sizes.get(type) ?? 8);
      others.push({ start: offset, end: offset + (size === 0n ? WORD : size) });
    }
  }
  return { symbols, others };
}
