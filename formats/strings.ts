/**
 * String tables: NUL-terminated names, found by their offset. ELF (SHT_STRTAB; gABI 4.1, "String Table") and
 * Mach-O (LC_SYMTAB) have the same. Reading is bounded, because a hostile table can make every one of a
 * million offsets a megabyte long.
 *
 * Names are UTF-8; bytes that are not decode to U+FFFD and are never written back from the text.
 *
 * @module
 */
import { FormatError, hex } from './errors.ts';
import { ELF, type Format } from './parts.ts';

/** Up to here a table of pure ASCII is decoded once and cut up, which is ten times faster. */
const WHOLE_TABLE = 64 * 1024 * 1024;

/** Strings shorter than this are free; of the longer ones, a table pays for BUDGET_FACTOR times its size. */
const SHORT = 256;
const BUDGET_FACTOR = 16;
const BUDGET_FLOOR = 64 * 1024;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();

/** Reads names from a string table. */
export class StringTable {
  readonly #bytes: Uint8Array;
  readonly #format: Format;
  /** The whole table, where each byte is one character. */
  readonly #text: string | undefined;
  /** Long names by their offset: each pays once. */
  readonly #long = new Map<number, string>();
  #budget: number;

  /** `format`: whose table it is, for errors. */
  constructor(bytes: Uint8Array, format: Format = ELF) {
    this.#bytes = bytes;
    this.#format = format;
    this.#text = bytes.length <= WHOLE_TABLE && isAscii(bytes) ? decoder.decode(bytes) : undefined;
    this.#budget = BUDGET_FLOOR + BUDGET_FACTOR * bytes.length;
  }

  /**
   * The name that begins at `offset`. Offset 0 of an empty table is the empty name.
   *
   * @throws FormatError `ELF_BAD_STRING`, `MACHO_BAD_STRING`: outside of the table, unterminated, or names that overlap so
   *   much that together they are far larger than the table
   */
  at(offset: number): string {
    const name = this.find(offset);
    if (name !== undefined) return name;
    throw new FormatError(
      `${this.#format.code}_BAD_STRING`,
      `${this.#format.name}: no terminated string at ${hex(offset)} of a string table of ${hex(this.#bytes.length)} bytes`,
      { value: offset },
    );
  }

  /** The same, but undefined outside of the table and where a string is unterminated. */
  find(offset: number): string | undefined {
    if (offset >= this.#bytes.length) return offset === 0 ? '' : undefined;
    const known = this.#long.get(offset);
    if (known !== undefined) return known;
    const end = this.#text?.indexOf('\0', offset) ?? this.#bytes.indexOf(0, offset);
    if (end < 0) return undefined;
    if (end - offset > SHORT) this.#spend(end - offset);
    const name = this.#text?.slice(offset, end) ?? decoder.decode(this.#bytes.subarray(offset, end));
    if (end - offset > SHORT) this.#long.set(offset, name);
    return name;
  }

  #spend(length: number): void {
    this.#budget -= length;
    if (this.#budget >= 0) return;
    const size = this.#bytes.length;
    throw new FormatError(
      `${this.#format.code}_BAD_STRING`,
      `${this.#format.name}: the names in a string table of ${hex(size)} bytes overlap, expected at most ${BUDGET_FACTOR} times its size`,
      { value: size },
    );
  }
}

/** Builds a string table; each name is stored once. */
export class StringTableBuilder {
  #bytes: Uint8Array;
  #size: number;
  readonly #offsets = new Map<string, number>();
  readonly #format: Format;

  /** `initial`: a table to extend, whose names keep their offsets. */
  constructor(initial: Uint8Array = new Uint8Array(1), format: Format = ELF) {
    this.#format = format;
    // A table ends with the end of its last name.
    const needsEnd = initial.length === 0 || initial[initial.length - 1] !== 0;
    this.#size = initial.length + (needsEnd ? 1 : 0);
    this.#bytes = new Uint8Array(Math.max(256, 2 * this.#size));
    this.#bytes.set(initial);
    for (let at = 0; at < this.#size; ) {
      const end = this.#bytes.indexOf(0, at);
      const name = decoder.decode(this.#bytes.subarray(at, end));
      if (!this.#offsets.has(name) && !name.includes('\ufffd')) this.#offsets.set(name, at);
      at = end + 1;
    }
  }

  /**
   * The offset of this name, which is added unless it is there.
   *
   * @throws FormatError `ELF_BAD_STRING`, `MACHO_BAD_STRING` for a name with a NUL in it
   */
  add(name: string): number {
    const known = this.#offsets.get(name);
    if (known !== undefined) return known;
    if (name.includes('\0')) {
      const { code, name: format } = this.#format;
      throw new FormatError(
        `${code}_BAD_STRING`,
        `${format}: the name ${JSON.stringify(name)} contains a NUL`,
      );
    }
    const offset = this.#size;
    // Three bytes of UTF-8 at most for each UTF-16 unit, and the NUL.
    this.#reserve(offset + 3 * name.length + 1);
    this.#size = offset + encoder.encodeInto(name, this.#bytes.subarray(offset)).written + 1;
    this.#offsets.set(name, offset);
    return offset;
  }

  /** The table so far. */
  bytes(): Uint8Array {
    return this.#bytes.slice(0, this.#size);
  }

  #reserve(size: number): void {
    if (size <= this.#bytes.length) return;
    const grown = new Uint8Array(2 * size);
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

function isAscii(bytes: Uint8Array): boolean {
  // An index: three times as fast here as an iterator, and tables have megabytes.
  for (let i = 0; i < bytes.length; i++) if ((bytes[i] ?? 0) >= 0x80) return false;
  return true;
}
