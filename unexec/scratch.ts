/**
 * `--scratch SYMBOL[+OFFSET][:SIZE]`: variables that mean nothing in another life (a time, a random seed, a
 * cache of addresses). They are zero in the image, and what they hold needs no explanation.
 *
 * Symbols are those of the executable or library: of .symtab and .dynsym, or of a Mach-O file's symbol table,
 * whose entries have no sizes: there a symbol ends where the next one begins.
 *
 * @module
 */
import { hex } from '../formats/errors.ts';
import { UnexecError } from './errors.ts';
import type { ScratchSymbol, ScratchSymbols } from './scratch/symbols.ts';

export { elfScratchSymbols } from './scratch/elf-symbols.ts';
export { machoScratchSymbols } from './scratch/macho-symbols.ts';
export type { ScratchSymbol, ScratchSymbols } from './scratch/symbols.ts';
export { withoutScratch } from './scratch/zeroed-memory.ts';

/** What one `--scratch` asks for. */
export interface ScratchRequest {
  /** As it was given, for messages. */
  readonly text: string;
  readonly symbol: string;
  /** Bytes from the symbol. */
  readonly offset: number;
  /** Bytes; undefined: to the symbol's end. */
  readonly size: number | undefined;
}

/** Memory that is zero in the image; addresses are those of the file, without slide. */
export interface ScratchRange {
  readonly address: bigint;
  /** Bytes. */
  readonly size: number;
  /** The symbol, with an offset if there is one. */
  readonly name: string;
}

/** @throws UnexecError `BAD_SCRATCH` */
export function parseScratch(text: string): ScratchRequest {
  const [, symbol = '', offset, size] =
    /^([^+:]+)(?:\+(\d+|0x[\da-f]+))?(?::(\d+|0x[\da-f]+))?$/i.exec(text) ?? [];
  const request = {
    text,
    symbol,
    offset: Number(offset ?? 0),
    size: size === undefined ? undefined : Number(size),
  };
  const isSound = Number.isSafeInteger(request.offset) && Number.isSafeInteger(request.size ?? 1);
  if (symbol !== '' && isSound && request.size !== 0) return request;
  throw new UnexecError(
    'BAD_SCRATCH',
    `--scratch ${text}: expected SYMBOL, SYMBOL+OFFSET, SYMBOL:SIZE or SYMBOL+OFFSET:SIZE, in bytes`,
    { hint: 'for example --scratch seed, or --scratch state+16:8' },
  );
}

/**
 * Where the requested memory is: sorted, those that overlap joined.
 *
 * @throws UnexecError `SCRATCH_NOT_FOUND`, `SCRATCH_AMBIGUOUS`, `SCRATCH_NOT_DATA`, `SCRATCH_SIZE_NEEDED`,
 *   `SCRATCH_BEYOND_END`
 */
export function resolveScratch(requests: readonly ScratchRequest[], symbols: ScratchSymbols): ScratchRange[] {
  const ranges = requests.map(request => resolveOne(request, symbols));
  const joined: ScratchRange[] = [];
  for (const range of ranges.sort((a, b) => (a.address < b.address ? -1 : 1))) {
    const last = joined.at(-1);
    const end = last === undefined ? -1n : last.address + BigInt(last.size);
    if (last === undefined || range.address >= end) {
      joined.push(range);
      continue;
    }
    const size = Math.max(last.size, Number(range.address - last.address) + range.size);
    const name = last.name === range.name ? last.name : `${last.name}, ${range.name}`;
    joined[joined.length - 1] = { address: last.address, size, name };
  }
  return joined;
}

function resolveOne({ text, symbol, offset, size }: ScratchRequest, symbols: ScratchSymbols): ScratchRange {
  const found = oneSymbol(text, symbol, symbols);
  const fault = (code: string, message: string, hint: string): UnexecError =>
    new UnexecError(code, `--scratch ${text}: ${message}`, { hint });
  if (found.notData !== undefined) {
    throw fault('SCRATCH_NOT_DATA', `${found.name} is ${found.notData}`, 'name a variable');
  }
  const wanted = size ?? (found.size === undefined ? 0 : found.size - offset);
  if (found.size === undefined && size === undefined) {
    throw fault(
      'SCRATCH_SIZE_NEEDED',
      `the file does not say how large ${found.name} is`,
      'add it: SYMBOL:BYTES',
    );
  }
  if (wanted <= 0 || offset + wanted > found.room) {
    const room = size === undefined ? (found.size ?? 0) : found.room;
    const message = `bytes ${offset} to ${offset + Math.max(wanted, 1)} of ${found.name}, of which there are ${room}`;
    throw fault('SCRATCH_BEYOND_END', message, 'check offset and size');
  }
  const name = offset === 0 ? found.name : `${found.name}+${hex(offset)}`;
  return { address: found.address + BigInt(offset), size: wanted, name };
}

function oneSymbol(text: string, name: string, symbols: ScratchSymbols): ScratchSymbol {
  const found = symbols.named(name);
  const [first] = found;
  if (first === undefined) {
    const hint = symbols.hasTable
      ? 'nm FILE lists the symbols'
      : 'the file is stripped: give the one with its symbols';
    throw new UnexecError('SCRATCH_NOT_FOUND', `--scratch ${text}: no symbol ${name}`, { hint });
  }
  if (found.every(({ address }) => address === first.address)) return first;
  const places = found.map(({ address }) => hex(address)).join(', ');
  throw new UnexecError(
    'SCRATCH_AMBIGUOUS',
    `--scratch ${text}: there are ${found.length} symbols ${name}, at ${places}`,
    { hint: 'name another symbol with an offset to the one that is meant' },
  );
}

/** Zeroes what of these bytes, which are at `address` of the file, is scratch. */
export function clearScratch(bytes: Uint8Array, address: bigint, scratch: readonly ScratchRange[]): void {
  for (const { start, end } of scratchWithin(address, bytes.length, scratch)) bytes.fill(0, start, end);
}

/** Scratch as stretches of a range of the file, in bytes from its first: what a comparison has to skip. */
export function scratchWithin(
  address: bigint,
  size: number,
  scratch: readonly ScratchRange[],
): { readonly start: number; readonly end: number }[] {
  return scratch.flatMap(range => {
    const start = Math.max(0, Number(range.address - address));
    const end = Math.min(size, Number(range.address - address) + range.size);
    return end > start ? [{ start, end }] : [];
  });
}
