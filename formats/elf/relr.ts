/**
 * Compact relative relocations (SHT_RELR, DT_RELR): addresses of words to which the load address is added.
 * An even entry is the address of one; an odd one a bitmap of which of the next 63 words follow. gABI, 2022
 * ("Relative relocation table"); the encoder is that of lld and GNU ld, so its output is theirs.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { viewOf } from '../struct.ts';
import { LE } from './structs.ts';

const WORD = 8;
/** Words that one bitmap stands for. */
const BITS = 63;
const HALF = 2 ** 32;

/** A table's bytes can stand for 63 times as many: half a gigabyte of addresses is the most that is decoded. */
const MOST = 2 ** 26;

/** How this machine keeps a BigUint64Array: halves of it are numbers, which are ten times as fast. */
const HOST_LE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
const LOW = HOST_LE ? 0 : 4;
const HIGH = 4 - LOW;

/**
 * The addresses in the order of the table, which is ascending in all that linkers write.
 *
 * @throws FormatError `ELF_BAD_RELR`
 */
export function decodeRelr(bytes: Uint8Array): BigUint64Array {
  if (bytes.length % WORD !== 0) {
    throw bad(`has ${hex(bytes.length)} bytes, expected a multiple of ${WORD}`, bytes.length);
  }
  const view = viewOf(bytes);
  const count = countRelr(view);
  if (count > MOST) throw bad(`stands for ${count} addresses, expected at most ${MOST}`, count);
  const addresses = new BigUint64Array(count);
  const into = new DataView(addresses.buffer);
  let next = 0;
  const add = (low: number, high: number): void => {
    into.setUint32(next + LOW, low, HOST_LE);
    into.setUint32(next + HIGH, high + (low >= HALF ? 1 : 0), HOST_LE);
    next += WORD;
  };
  /** Halves of the address of the first word after the last entry's; before the first entry, none. */
  let low = 0;
  let high = -1;
  for (let at = 0; at < bytes.length; at += WORD) {
    const entryLow = view.getUint32(at, LE);
    const entryHigh = view.getUint32(at + 4, LE);
    if ((entryLow & 1) === 0) {
      add(entryLow, entryHigh);
      [low, high] = [entryLow + WORD, entryHigh];
    } else if (high < 0) {
      throw bad('begins with a bitmap, expected an address', entryLow);
    } else {
      // Bit 0 is the mark of a bitmap, so bit i stands for word i - 1.
      addWords(entryLow >>> 1, low, high, add);
      addWords(entryHigh, low + 31 * WORD, high, add);
      low += BITS * WORD;
    }
    if (low >= HALF) [low, high] = [low - HALF, high + 1];
    if (high >= HALF) throw bad(`goes on past the end of the address space at byte ${hex(at)}`, at);
  }
  return addresses;
}

/** Adds the words whose bits are set; the first one is at `low`, which may be a little more than a half holds. */
function addWords(bits: number, low: number, high: number, add: (low: number, high: number) => void): void {
  for (let rest = bits, at = low; rest !== 0; rest >>>= 1, at += WORD) if ((rest & 1) !== 0) add(at, high);
}

/** How many addresses a table stands for. */
function countRelr(view: DataView): number {
  let count = 0;
  for (let at = 0; at < view.byteLength; at += WORD) {
    const low = view.getUint32(at, LE);
    count += (low & 1) === 0 ? 1 : bitCount(low) - 1 + bitCount(view.getUint32(at + 4, LE));
  }
  return count;
}

/** Set bits of 32: added in pairs, then in fours, in bytes, and the bytes by a multiplication. */
function bitCount(bits: number): number {
  const pairs = bits - ((bits >>> 1) & 0x5555_5555);
  const fours = (pairs & 0x3333_3333) + ((pairs >>> 2) & 0x3333_3333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

/**
 * Contents of an SHT_RELR section.
 *
 * @param addresses ascending, even, each once
 * @throws FormatError `ELF_BAD_RELR`
 */
export function encodeRelr(addresses: BigUint64Array): Uint8Array {
  const from = new DataView(addresses.buffer, addresses.byteOffset, addresses.byteLength);
  // An entry never stands for less than one address.
  const bytes = new Uint8Array(addresses.length * WORD);
  const view = viewOf(bytes);
  const end = addresses.byteLength;
  let at = 0;
  for (let i = 0; i < end; ) {
    let low = from.getUint32(i + LOW, HOST_LE);
    const high = from.getUint32(i + HIGH, HOST_LE);
    checkAddress(from, i);
    view.setUint32(at, low, LE);
    view.setUint32(at + 4, high, LE);
    at += WORD;
    i += WORD;
    for (low += WORD; ; low += WORD * BITS) {
      let bitsLow = 1;
      let bitsHigh = 0;
      for (; i < end; i += WORD) {
        // Exact where it is small, and otherwise large all the same.
        const ahead =
          (from.getUint32(i + HIGH, HOST_LE) - high) * HALF + from.getUint32(i + LOW, HOST_LE) - low;
        if (ahead < 0 || ahead >= WORD * BITS || ahead % WORD !== 0) break;
        checkAddress(from, i);
        const bit = ahead / WORD + 1;
        if (bit < 32) bitsLow |= 1 << bit;
        else bitsHigh |= 1 << (bit - 32);
      }
      if (bitsLow === 1 && bitsHigh === 0) break;
      view.setUint32(at, bitsLow, LE);
      view.setUint32(at + 4, bitsHigh, LE);
      at += WORD;
    }
  }
  return bytes.slice(0, at);
}

/** Whether the address at byte `i` can come next. */
function checkAddress(from: DataView, i: number): void {
  const low = from.getUint32(i + LOW, HOST_LE);
  const high = from.getUint32(i + HIGH, HOST_LE);
  if ((low & 1) !== 0) {
    const address = from.getBigUint64(i, HOST_LE);
    throw bad(`cannot hold ${hex(address)}, expected even addresses`, address);
  }
  if (i === 0) return;
  const lowBefore = from.getUint32(i - WORD + LOW, HOST_LE);
  const highBefore = from.getUint32(i - WORD + HIGH, HOST_LE);
  if (high > highBefore || (high === highBefore && low > lowBefore)) return;
  const [address, before] = [from.getBigUint64(i, HOST_LE), from.getBigUint64(i - WORD, HOST_LE)];
  throw bad(`cannot hold ${hex(address)} after ${hex(before)}, expected ascending addresses`, address);
}

const bad = (why: string, value: number | bigint): FormatError =>
  new FormatError('ELF_BAD_RELR', `ELF: a DT_RELR table ${why}`, { value });
