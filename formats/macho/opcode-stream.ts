/**
 * The streams of bytes that `__LINKEDIT` is made of: an opcode and its small operand share a byte, larger
 * operands follow as LEB128, names as NUL-terminated strings. `OpcodeReader` and `OpcodeWriter` are mirrored.
 * mach-o/loader.h of the macOS 14 SDK, "The dyld_info_command"; dyld 1378, `MachOLoaded`, `RebaseOpcodes.cpp`.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import {
  encodeSleb,
  encodeUleb,
  MAX_LEB_SIZE,
  readSleb,
  readUleb,
  readUleb64,
  writeUleb,
} from '../leb128.ts';

export const OPCODE_MASK = 0xf0;
export const IMMEDIATE_MASK = 0x0f;

/** Bytes of a pointer in the 64-bit files that this project reads. */
export const POINTER_SIZE = 8;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const encoder = new TextEncoder();

/** Reads a stream from front to back; `at` is the offset of what comes next. */
export class OpcodeReader {
  at: number;
  readonly #bytes: Uint8Array;
  /** For errors: `the rebase opcodes`. */
  readonly #what: string;
  readonly #code: string;

  constructor(what: string, code: string, bytes: Uint8Array, at = 0) {
    this.#what = what;
    this.#code = code;
    this.#bytes = bytes;
    this.at = at;
  }

  get atEnd(): boolean {
    return this.at >= this.#bytes.length;
  }

  /** @throws FormatError with the code given at the end of the stream */
  byte(): number {
    const byte = this.#bytes[this.at];
    if (byte === undefined) {
      throw this.fault(
        this.at,
        `end at ${hex(this.#bytes.length)}, expected another byte`,
        this.#bytes.length,
      );
    }
    this.at++;
    return byte;
  }

  /** @throws FormatError `LEB128_TRUNCATED`, `LEB128_RANGE` */
  uleb(): number {
    const { value, next } = readUleb(this.#bytes, this.at);
    this.at = next;
    return value;
  }

  /** @throws FormatError `LEB128_TRUNCATED`, `LEB128_RANGE` */
  uleb64(): bigint {
    const { value, next } = readUleb64(this.#bytes, this.at);
    this.at = next;
    return value;
  }

  /**
   * What an opcode adds to an address, modulo 2^64: linkers step back with a number just below it.
   *
   * @throws FormatError `LEB128_TRUNCATED`, `LEB128_RANGE`; the code given for more than 2^53 either way
   */
  delta(): number {
    const at = this.at;
    const first = this.#bytes[at];
    if (first !== undefined && first < 0x80) {
      this.at++;
      return first;
    }
    const delta = Number(BigInt.asIntN(64, this.uleb64()));
    if (Number.isSafeInteger(delta)) return delta;
    throw this.fault(at, `add ${delta} to an address, expected less than 2^53`, delta);
  }

  /** @throws FormatError `LEB128_TRUNCATED`, `LEB128_RANGE` */
  sleb(): bigint {
    const { value, next } = readSleb(this.#bytes, this.at);
    this.at = next;
    return value;
  }

  /** @throws FormatError with the code given where the stream ends before the NUL */
  string(): string {
    return decoder.decode(this.stringBytes());
  }

  /**
   * The bytes of a string without its NUL, a view.
   *
   * @throws FormatError with the code given where the stream ends before the NUL
   */
  stringBytes(): Uint8Array {
    const end = this.#bytes.indexOf(0, this.at);
    if (end < 0) throw this.fault(this.at, 'hold a string that does not end, expected a NUL', this.at);
    const bytes = this.#bytes.subarray(this.at, end);
    this.at = end + 1;
    return bytes;
  }

  /** `Mach-O: the rebase opcodes at 0x12 <sentence>`. */
  fault(at: number, sentence: string, value: number | bigint | string): FormatError {
    return new FormatError(this.#code, `Mach-O: ${this.#what} at ${hex(at)} ${sentence}`, {
      offset: at,
      value,
    });
  }
}

/** Writes a stream from front to back into bytes that grow. */
export class OpcodeWriter {
  #bytes = new Uint8Array(256);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#size++] = value;
  }

  /** @throws FormatError `LEB128_RANGE` */
  uleb(value: number): void {
    this.#reserve(MAX_LEB_SIZE);
    this.#size = writeUleb(this.#bytes, this.#size, value);
  }

  /** An opcode with one unsigned operand. */
  opcode(opcode: number, operand: number): void {
    this.byte(opcode);
    this.uleb(operand);
  }

  /** @throws FormatError `LEB128_RANGE` */
  uleb64(value: bigint): void {
    this.bytes(encodeUleb(value));
  }

  /** @throws FormatError `LEB128_RANGE` */
  sleb(value: bigint): void {
    this.bytes(encodeSleb(value));
  }

  /** @throws FormatError `MACHO_BAD_NAME` for a string with a NUL in it */
  string(text: string): void {
    if (text.includes('\0')) {
      const message = `Mach-O: a name is ${JSON.stringify(text)}, expected no NUL in it`;
      throw new FormatError('MACHO_BAD_NAME', message, { value: text });
    }
    this.bytes(encoder.encode(text));
    this.byte(0);
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#size);
    this.#size += bytes.length;
  }

  /** All that was written, then zeros up to a multiple of `align`. */
  finish(align: number): Uint8Array {
    const out = new Uint8Array(Math.ceil(this.#size / align) * align);
    out.set(this.#bytes.subarray(0, this.#size));
    return out;
  }

  #reserve(more: number): void {
    if (this.#size + more <= this.#bytes.length) return;
    const grown = new Uint8Array(2 * (this.#size + more));
    grown.set(this.#bytes.subarray(0, this.#size));
    this.#bytes = grown;
  }
}
