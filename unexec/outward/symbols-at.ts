/**
 * Exported symbols by address.
 *
 * @module
 */
import { STT } from '../../formats/elf/index.ts';
import type { ExportedSymbol } from './exports.ts';

/** What can be named at an address: what starts there, else data around it or ending there; the best first. */
export function symbolsAt(symbols: readonly ExportedSymbol[], address: number): ExportedSymbol[] {
  const before = symbolsBefore(symbols, address);
  const exact = before.filter(({ start }) => start === address);
  const isData = ({ type }: ExportedSymbol): boolean => type === STT.STT_OBJECT;
  const around = before.filter(symbol => isData(symbol) && address < symbol.start + symbol.size);
  const ending = before.filter(
    symbol => isData(symbol) && symbol.size > 0 && address === symbol.start + symbol.size,
  );
  const found = exact.length > 0 ? exact : around.length > 0 ? around : ending;
  return found.sort(
    (a, b) => a.size - b.size || Number(b.isDefault) - Number(a.isDefault) || underscores(a) - underscores(b),
  );
}

/** `puts` rather than `_IO_puts`. */
const underscores = ({ name }: ExportedSymbol): number => name.length - name.replace(/^_+/, '').length;

/** How far back symbols are looked at that may reach up to an address: data lies in data. */
const MOST_BEFORE = 64;

function symbolsBefore(symbols: readonly ExportedSymbol[], address: number): ExportedSymbol[] {
  let low = 0;
  let high = symbols.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((symbols[middle]?.start ?? 0) <= address) low = middle + 1;
    else high = middle;
  }
  return symbols.slice(Math.max(0, low - MOST_BEFORE), low);
}

/** The exported function in the middle of which an address is. */
export function functionAround(
  symbols: readonly ExportedSymbol[],
  address: number,
): ExportedSymbol | undefined {
  return symbolsBefore(symbols, address).findLast(
    ({ type, start, size }) => type === STT.STT_FUNC && address > start && address < start + size,
  );
}
