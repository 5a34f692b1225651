/**
 * `@webassemblyjs/leb128` 1.14 as its source has it: the package ships no types. Only formats/leb128.ts may
 * import it.
 */
declare module '@webassemblyjs/leb128' {
  /** A 64-bit integer of `@xtuc/long`: two signed halves. */
  interface Long {
    readonly low: number;
    readonly high: number;
  }

  interface Decoded<T> {
    readonly value: T;
    /** The byte after the number; beyond the end where the number is truncated. */
    readonly nextIndex: number;
  }

  export function decodeUInt32(bytes: Uint8Array, index: number): Decoded<number>;
  export function decodeUInt64(bytes: Uint8Array, index: number): Decoded<Long>;
  export function decodeInt64(bytes: Uint8Array, index: number): Decoded<Long>;
  /** Of the low 32 bits, whatever else the number has. */
  export function encodeU32(value: number): Uint8Array;
  /** Of the low 32 bits, whatever else the number has. */
  export function encodeI32(value: number): Uint8Array;
}
