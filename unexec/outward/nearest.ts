/**
 * The symbol before an address, for messages: of the full table where the module is not stripped.
 *
 * @module
 */
import { Elf64_Sym } from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';
import type { Module } from '../image.ts';
import { isKeptSymbol, type RawSymbols, rawSymbols } from '../module-symbols.ts';

export interface NearestSymbol {
  readonly name: string;
  /** Bytes from the symbol to the address. */
  readonly offset: number;
}

/** Tables are decoded when a module is asked for the first time. */
export class NearestSymbols {
  readonly #tables = new Map<Module, Table | undefined>();

  find(module: Module, address: number): NearestSymbol | undefined {
    if (!this.#tables.has(module)) this.#tables.set(module, tableOf(module));
    const table = this.#tables.get(module);
    if (table === undefined) return undefined;
    let low = 0;
    let high = table.starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((table.starts[middle] ?? 0) <= address) low = middle + 1;
      else high = middle;
    }
    const start = table.starts[low - 1];
    const name = start === undefined ? '' : nameAt(table.raw, table.names[low - 1] ?? 0);
    return start === undefined || name === '' ? undefined : { name, offset: address - start };
  }
}

interface Table {
  /** Addresses in the process, ascending, and st_name of each. */
  readonly starts: Float64Array;
  readonly names: Uint32Array;
  readonly raw: RawSymbols;
}

function tableOf(module: Module): Table | undefined {
  const raw = rawSymbols(module, 'all');
  if (raw === undefined) return undefined;
  const view = viewOf(raw.symtab);
  const found: { start: number; name: number }[] = [];
  for (let at = 0; at + Elf64_Sym.size <= raw.symtab.length; at += Elf64_Sym.size) {
    if (!isKeptSymbol(view, at)) continue;
    const value = view.getBigUint64(at + Elf64_Sym.offsets.st_value, true);
    found.push({
      start: Number(value + module.bias),
      name: view.getUint32(at + Elf64_Sym.offsets.st_name, true),
    });
  }
  found.sort((a, b) => a.start - b.start);
  return {
    starts: Float64Array.from(found, ({ start }) => start),
    names: Uint32Array.from(found, ({ name }) => name),
    raw,
  };
}

function nameAt({ strtab }: RawSymbols, at: number): string {
  const end = strtab.indexOf(0, at);
  return Buffer.from(strtab.subarray(at, end < 0 ? undefined : end)).toString();
}
