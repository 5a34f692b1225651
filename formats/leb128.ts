/**
 * LEB128, the variable-length integers of Mach-O's `__LINKEDIT`: seven bits a byte, lowest first, the top
 * bit set in all bytes but the last. DWARF 5, section 7.6; at most 64 bits and ten bytes, as dyld's
 * `read_uleb128` has it.
 *
 * The one place that imports `@webassemblyjs/leb128`, which checks nothing that matters here (1.14.1): it
 * decodes a truncated number as if zeros followed, drops the bits above 64, encodes 2^32 as 0, and has no
 * encoder for a negative or unsigned 64-bit number. So the bounds are checked before every call and the end
 * after it. It takes 75 ns and more a call; numbers of one byte, most of those in a stream of opcodes, do not
 * need it.
 *
 * @module
 */
import { decodeInt64, decodeUInt32, decodeUInt64, encodeI32, encodeU32 } from '@webassemblyjs/leb128';
import { FormatError, hex } from './errors.ts';

/** A number, and the offset of the byte after it. */
export interface Leb<T> {
  readonly value: T;
  readonly next: number;
}

/** Bytes that a number of 64 bits takes at most. */
export const MAX_LEB_SIZE = 10;

/** Most bytes whose value fits 32 bits for certain. */
const MAX_SIZE_OF_32 = 4;
const MAX_U32 = 0xffff_ffff;
const MAX_U64 = 2n ** 64n - 1n;
const MAX_I64 = 2n ** 63n - 1n;

/**
 * The unsigned number at `at`, for sizes and offsets.
 *
 * @throws FormatError `LEB128_TRUNCATED`; `LEB128_RANGE` for more than 2^53 - 1
 */
export function readUleb(bytes: Uint8Array, at: number): Leb<number> {
  const first = bytes[at];
  if (first !== undefined && first < 0x80) return { value: first, next: at + 1 };
  const size = sizeAt(bytes, at);
  if (size <= MAX_SIZE_OF_32) return ended(decodeUInt32(bytes, at), at, size);
  const { value, next } = readUleb64(bytes, at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw outOfRange(at, value, 'at most 2^53 - 1');
  return { value: Number(value), next };
}

/**
 * The unsigned number at `at`, up to 64 bits: addresses, and what is added to one modulo 2^64.
 *
 * @throws FormatError `LEB128_TRUNCATED`; `LEB128_RANGE` for more than 64 bits
 */
export function readUleb64(bytes: Uint8Array, at: number): Leb<bigint> {
  const size = sizeAt(bytes, at);
  const last = bytes[at + size - 1] ?? 0;
  if (size === MAX_LEB_SIZE && last > 1) throw outOfRange(at, hex(last), 'a tenth byte of at most 1');
  const { value, next } = ended(decodeUInt64(bytes, at), at, size);
  return { value: (BigInt(value.high >>> 0) << 32n) | BigInt(value.low >>> 0), next };
}

/**
 * The signed number at `at`, up to 64 bits.
 *
 * @throws FormatError `LEB128_TRUNCATED`; `LEB128_RANGE` for more than 64 bits
 */
export function readSleb(bytes: Uint8Array, at: number): Leb<bigint> {
  const size = sizeAt(bytes, at);
  const last = bytes[at + size - 1] ?? 0;
  if (size === MAX_LEB_SIZE && last !== 0 && last !== 0x7f) {
    throw outOfRange(at, hex(last), 'a tenth byte of 0 or 0x7f');
  }
  const { value, next } = ended(decodeInt64(bytes, at), at, size);
  return { value: (BigInt(value.high) << 32n) | BigInt(value.low >>> 0), next };
}

/** @throws FormatError `LEB128_RANGE` for a negative number, a fraction, or more than 64 bits */
export function encodeUleb(value: number | bigint): Uint8Array {
  if (typeof value === 'number' && value >= 0 && value <= MAX_U32 && Number.isInteger(value)) {
    return value < 0x80 ? Uint8Array.of(value) : encodeU32(value);
  }
  const whole = wholeOf(value);
  if (whole < 0n || whole > MAX_U64) throw outOfRange(undefined, whole, '0 to 2^64 - 1');
  return encodeSliced(whole, MAX_U32, rest => encodeU32(rest));
}

/** @throws FormatError `LEB128_RANGE` for a fraction, or more than 64 bits with the sign */
export function encodeSleb(value: number | bigint): Uint8Array {
  const whole = wholeOf(value);
  if (whole < -MAX_I64 - 1n || whole > MAX_I64) throw outOfRange(undefined, whole, '-2^63 to 2^63 - 1');
  return encodeSliced(whole, 0x7fff_ffff, rest => encodeI32(rest));
}

/**
 * Writes an unsigned number at `at`, where `MAX_LEB_SIZE` bytes are free.
 *
 * @returns the offset of the byte after it
 * @throws FormatError `LEB128_RANGE` as `encodeUleb`
 */
export function writeUleb(bytes: Uint8Array, at: number, value: number): number {
  if (value >= 0 && value < 0x80) {
    bytes[at] = value;
    return at + 1;
  }
  const encoded = encodeUleb(value);
  bytes.set(encoded, at);
  return at + encoded.length;
}

/** Bytes that `encodeUleb` makes of a number. */
export function ulebSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

/** Bytes of the number at `at`. */
function sizeAt(bytes: Uint8Array, at: number): number {
  for (let size = 1; size <= MAX_LEB_SIZE; size++) {
    const byte = bytes[at + size - 1];
    if (byte === undefined) {
      const message = `LEB128: the number at ${hex(at)} goes on at the end, ${hex(bytes.length)}, expected its last byte before`;
      throw new FormatError('LEB128_TRUNCATED', message, { offset: at });
    }
    if (byte < 0x80) return size;
  }
  throw outOfRange(at, `${MAX_LEB_SIZE} bytes and more`, `at most ${MAX_LEB_SIZE} bytes`);
}

/** What the package decoded, if it took the bytes that it should. */
function ended<T>(decoded: { value: T; nextIndex: number }, at: number, size: number): Leb<T> {
  if (decoded.nextIndex === at + size) return { value: decoded.value, next: decoded.nextIndex };
  const message = `LEB128: the number at ${hex(at)} was read to ${hex(decoded.nextIndex)}, expected to ${hex(at + size)}`;
  throw new FormatError('LEB128_TRUNCATED', message, { offset: at });
}

function wholeOf(value: number | bigint): bigint {
  if (typeof value === 'bigint') return value;
  if (Number.isSafeInteger(value)) return BigInt(value);
  throw outOfRange(undefined, String(value), 'a whole number');
}

/**
 * A number of any size with an encoder for 32 bits: slices of 28 bits are four bytes each, and a bit set
 * above the slice makes the encoder write all four, each with the mark that more follow.
 */
function encodeSliced(value: bigint, most: number, encodeRest: (rest: number) => Uint8Array): Uint8Array {
  const encoded: number[] = [];
  let rest = value;
  while (rest > BigInt(most) || rest < -BigInt(most) - 1n) {
    encoded.push(...encodeU32(Number(rest & 0xfff_ffffn) + 0x1000_0000).subarray(0, 4));
    rest >>= 28n;
  }
  encoded.push(...encodeRest(Number(rest)));
  return Uint8Array.from(encoded);
}

function outOfRange(at: number | undefined, value: bigint | string, expected: string): FormatError {
  const where = at === undefined ? '' : ` at ${hex(at)}`;
  const message = `LEB128: the number${where} is ${value}, expected ${expected}`;
  return new FormatError('LEB128_RANGE', message, at === undefined ? { value } : { offset: at, value });
}
