/**
 * Imports of chained fixups: the symbols that bind words name by their index. `mach-o/fixup-chains.h` of
 * dyld-1378, `struct dyld_chained_import` and its two larger forms.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { viewOf } from '../struct.ts';
import { DYLD_CHAINED_IMPORT } from './constants.ts';
import { LE } from './structs.ts';

export interface ChainedImport {
  /** Which dylib has the symbol, from 1; BIND_SPECIAL_DYLIB_*, 0 or negative. */
  readonly libOrdinal: number;
  readonly weak: boolean;
  readonly symbol: string;
  /** Added to the address of the symbol, besides what the bind word itself adds. */
  readonly addend: bigint;
}

export interface EncodedImports {
  /** DYLD_CHAINED_IMPORT_*. */
  readonly importsFormat: number;
  readonly importsBytes: Uint8Array;
  readonly symbolsBytes: Uint8Array;
}

/** Bytes of one import, and of the alignment of their table. */
const IMPORT_SIZES: Readonly<Record<number, number>> = {
  [DYLD_CHAINED_IMPORT.DYLD_CHAINED_IMPORT]: 4,
  [DYLD_CHAINED_IMPORT.DYLD_CHAINED_IMPORT_ADDEND]: 8,
  [DYLD_CHAINED_IMPORT.DYLD_CHAINED_IMPORT_ADDEND64]: 16,
};

/** dyld 1378: more, and an ordinal would not fit a bind word. */
const MAX_IMPORTS = 0xff_fffe;
const MAX_SMALL_NAME_OFFSET = 2 ** 23 - 1;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();

/**
 * Bytes of one import of this format.
 *
 * @throws FormatError `MACHO_BAD_IMPORTS` for a format that is unknown
 */
export function importSize(importsFormat: number): number {
  const size = IMPORT_SIZES[importsFormat];
  if (size !== undefined) return size;
  throw new FormatError(
    'MACHO_BAD_IMPORTS',
    `Mach-O: imports_format is ${importsFormat}, expected one of DYLD_CHAINED_IMPORT_*`,
    { value: importsFormat },
  );
}

/**
 * The imports of a table, in order.
 *
 * @throws FormatError `MACHO_BAD_IMPORTS`: an unknown format, a name that is not in the symbols or does not
 *   end, names that overlap so much that they are far larger than the symbols
 */
export function decodeImports({
  importsFormat,
  importsBytes,
  symbolsBytes,
}: EncodedImports): ChainedImport[] {
  const size = importSize(importsFormat);
  const count = Math.floor(importsBytes.length / size);
  const view = viewOf(importsBytes);
  const names = new NamePool(symbolsBytes);
  return Array.from({ length: count }, (_, i) => {
    const at = i * size;
    const word = view.getUint32(at, LE);
    if (importsFormat === DYLD_CHAINED_IMPORT.DYLD_CHAINED_IMPORT_ADDEND64) {
      return {
        libOrdinal: signed(word & 0xffff, 16),
        weak: (word & 0x1_0000) !== 0,
        symbol: names.at(view.getUint32(at + 4, LE)),
        addend: view.getBigInt64(at + 8, LE),
      };
    }
    const hasAddend = importsFormat === DYLD_CHAINED_IMPORT.DYLD_CHAINED_IMPORT_ADDEND;
    return {
      libOrdinal: signed(word & 0xff, 8),
      weak: (word & 0x100) !== 0,
      symbol: names.at(word >>> 9),
      addend: hasAddend ? BigInt(view.getInt32(at + 4, LE)) : 0n,
    };
  });
}

/**
 * A table of these imports, in the smallest format that holds them all.
 *
 * @throws FormatError `MACHO_BAD_IMPORTS` for more than 0xfffffe, or what no format holds
 */
export function encodeImports(imports: readonly ChainedImport[]): EncodedImports {
  if (imports.length > MAX_IMPORTS) throw unencodable('imports', imports.length, `at most ${MAX_IMPORTS}`);
  const { offsets, symbolsBytes } = encodeNames(imports.map(({ symbol }) => symbol));
  const importsFormat = smallestFormat(imports, symbolsBytes.length);
  const size = importSize(importsFormat);
  const importsBytes = new Uint8Array(size * imports.length);
  const view = viewOf(importsBytes);
  for (const [i, { libOrdinal, weak, addend }] of imports.entries()) {
    const at = i * size;
    const name = offsets[i] ?? 0;
    if (importsFormat === DYLD_CHAINED_IMPORT.DYLD_CHAINED_IMPORT_ADDEND64) {
      view.setUint32(at, (libOrdinal & 0xffff) | (weak ? 0x1_0000 : 0), LE);
      view.setUint32(at + 4, name, LE);
      view.setBigInt64(at + 8, addend, LE);
      continue;
    }
    view.setUint32(at, (libOrdinal & 0xff) | (weak ? 0x100 : 0) | (name << 9), LE);
    if (importsFormat === DYLD_CHAINED_IMPORT.DYLD_CHAINED_IMPORT_ADDEND) {
      view.setInt32(at + 4, Number(addend), LE);
    }
  }
  return { importsFormat, importsBytes, symbolsBytes };
}

/** dyld takes the fifteen highest numbers as negative ones, the others as libraries. */
const signed = (ordinal: number, bits: number): number =>
  ordinal > 2 ** bits - 16 ? ordinal - 2 ** bits : ordinal;

function smallestFormat(imports: readonly ChainedImport[], symbolsSize: number): number {
  const holds = (bits: number) =>
    imports.every(({ libOrdinal }) => libOrdinal >= -15 && libOrdinal <= 2 ** bits - 16);
  if (!holds(16)) throw unencodable('the libOrdinal of an imported symbol', 'out of range', '-15 to 65520');
  const within = (bits: number) => imports.every(({ addend }) => addend === BigInt.asIntN(bits, addend));
  if (!within(64)) throw unencodable('the addend of an imported symbol', 'out of range', '64 bits');
  if (!holds(8) || !within(32) || symbolsSize > MAX_SMALL_NAME_OFFSET) {
    return DYLD_CHAINED_IMPORT.DYLD_CHAINED_IMPORT_ADDEND64;
  }
  return imports.every(({ addend }) => addend === 0n)
    ? DYLD_CHAINED_IMPORT.DYLD_CHAINED_IMPORT
    : DYLD_CHAINED_IMPORT.DYLD_CHAINED_IMPORT_ADDEND;
}

/** The names, each once; offset 0 is the empty name, as linkers have it. */
function encodeNames(names: readonly string[]): { offsets: number[]; symbolsBytes: Uint8Array } {
  const places = new Map<string, number>([['', 0]]);
  const parts: Uint8Array[] = [Uint8Array.of(0)];
  let size = 1;
  const offsets = names.map(name => {
    const known = places.get(name);
    if (known !== undefined) return known;
    if (name.includes('\0')) throw unencodable('a name', JSON.stringify(name), 'no NUL in it');
    const part = encoder.encode(`${name}\0`);
    const offset = size;
    places.set(name, offset);
    parts.push(part);
    size += part.length;
    return offset;
  });
  const symbolsBytes = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    symbolsBytes.set(part, at);
    at += part.length;
  }
  return { offsets, symbolsBytes };
}

const unencodable = (what: string, value: number | string, expected: string): FormatError =>
  new FormatError('MACHO_BAD_IMPORTS', `Mach-O: ${what} is ${value}, expected ${expected}`, { value });

/** Names by their offset. Bounded: in a hostile table all of a million names can be the same megabyte. */
class NamePool {
  readonly #bytes: Uint8Array;
  readonly #known = new Map<number, string>();
  #budget: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#budget = 64 * 1024 + 16 * bytes.length;
  }

  at(offset: number): string {
    const known = this.#known.get(offset);
    if (known !== undefined) return known;
    const end = offset < this.#bytes.length ? this.#bytes.indexOf(0, offset) : -1;
    if (end < 0) {
      throw new FormatError(
        'MACHO_BAD_IMPORTS',
        `Mach-O: name_offset of an import is ${hex(offset)}, expected a terminated name in the ${hex(this.#bytes.length)} bytes of symbols`,
        { value: offset },
      );
    }
    this.#budget -= end - offset;
    if (this.#budget < 0) {
      const message = 'Mach-O: the names of the imports overlap, expected each to have its place';
      throw new FormatError('MACHO_BAD_IMPORTS', message, { value: offset });
    }
    const name = decoder.decode(this.#bytes.subarray(offset, end));
    this.#known.set(offset, name);
    return name;
  }
}
