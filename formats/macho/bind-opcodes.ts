/**
 * Bind opcodes: which slots of an image get the addresses of symbols of other images. Three streams of one
 * shape: binds when the image is loaded; weak ones, where every image must take the same definition; and lazy
 * ones, of functions that are bound when they are first called. mach-o/loader.h of the macOS 14 SDK, "The
 * following are used to encode binding information"; the checks are those of dyld 1378, `BindOpcodes.cpp`.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { BIND_OPCODE, BIND_SPECIAL_DYLIB, BIND_SYMBOL_FLAGS, BIND_TYPE } from './constants.ts';
import { IMMEDIATE_MASK, OPCODE_MASK, OpcodeReader, OpcodeWriter, POINTER_SIZE } from './opcode-stream.ts';
import type { FixupSegment } from './rebase-opcodes.ts';

export type BindKind = 'bind' | 'weak' | 'lazy';

/** A slot that gets the address of a symbol. */
export interface Bind {
  /** Index among the segments of the file. */
  readonly segment: number;
  /** Bytes from the start of the segment. */
  readonly offset: number;
  /** BIND_TYPE_*: always a pointer in 64-bit files. */
  readonly type: number;
  readonly symbol: string;
  /** Which dylib has the symbol, from 1; BIND_SPECIAL_DYLIB_*; of weak binds always ..._WEAK_LOOKUP. */
  readonly libOrdinal: number;
  /** Added to the address of the symbol. */
  readonly addend: bigint;
  /** BIND_SYMBOL_FLAGS_*. */
  readonly flags: number;
}

export interface Binds {
  /** In the order of the stream. */
  readonly binds: Bind[];
  /** Weak streams: symbols that this image defines for all others, weak as their definitions may be. */
  readonly strong: string[];
}

/** More binds than this are refused: the largest programs have a hundredth of it. */
const MAX_BINDS = 2 ** 22;
/** The segments that four bits can name, and the steps. */
const MAX_IMMEDIATE = 15;

/**
 * What the stream binds.
 *
 * @throws FormatError `MACHO_BAD_BIND`: an opcode or type that is unknown, a slot outside of its segment, no
 *   symbol or library, or more binds than a program has; `MACHO_ARM64E` for threaded binds; `LEB128_*`
 */
export function decodeBinds(blob: Uint8Array, kind: BindKind, segments: readonly FixupSegment[]): Binds {
  const reader = new OpcodeReader(`the opcodes of ${NAMES[kind]}`, 'MACHO_BAD_BIND', blob);
  const lastOffsets = segments.map(({ vmsize }) => Number(vmsize) - POINTER_SIZE);
  const binds: Bind[] = [];
  const strong: string[] = [];
  let type: number = kind === 'lazy' ? BIND_TYPE.BIND_TYPE_POINTER : 0;
  let symbol: string | undefined;
  let flags = 0;
  let addend = 0n;
  let libOrdinal: number | undefined =
    kind === 'weak' ? BIND_SPECIAL_DYLIB.BIND_SPECIAL_DYLIB_WEAK_LOOKUP : undefined;
  let segment = -1;
  let offset = 0;

  const setOrdinal = (at: number, ordinal: number): void => {
    if (kind === 'weak') throw reader.fault(at, 'name a library, expected none in weak binds', ordinal);
    libOrdinal = ordinal;
  };
  const bind = (at: number, count: number, skip: number): void => {
    if (type !== BIND_TYPE.BIND_TYPE_POINTER) {
      throw reader.fault(at, `bind with type ${type}, expected BIND_TYPE_POINTER`, type);
    }
    if (symbol === undefined) throw reader.fault(at, 'bind without a symbol, expected one to be set', at);
    if (libOrdinal === undefined) {
      throw reader.fault(at, 'bind without a library, expected one to be set', at);
    }
    const last = lastOffsets[segment];
    if (last === undefined) throw reader.fault(at, 'bind without a segment, expected one to be set', at);
    if (count > MAX_BINDS - binds.length) {
      throw reader.fault(at, `bind ${count} slots more, expected at most ${MAX_BINDS} altogether`, count);
    }
    for (let i = 0; i < count; i++) {
      if (offset < 0 || offset > last) {
        throw reader.fault(at, `bind the slot ${offset}, expected at most ${last}`, offset);
      }
      binds.push({ segment, offset, type, symbol, libOrdinal, addend, flags });
      offset += skip + POINTER_SIZE;
    }
  };

  for (let done = false; !done && !reader.atEnd; ) {
    const at = reader.at;
    const byte = reader.byte();
    const immediate = byte & IMMEDIATE_MASK;
    switch (byte & OPCODE_MASK) {
      case BIND_OPCODE.BIND_OPCODE_DONE:
        done = kind !== 'lazy';
        // The program says where in the stream a lazy bind begins: each has an end of its own, and nothing of
        // those before.
        symbol = undefined;
        libOrdinal = undefined;
        segment = -1;
        addend = 0n;
        break;
      case BIND_OPCODE.BIND_OPCODE_SET_DYLIB_ORDINAL_IMM:
        setOrdinal(at, immediate);
        break;
      case BIND_OPCODE.BIND_OPCODE_SET_DYLIB_ORDINAL_ULEB:
        setOrdinal(at, reader.uleb());
        break;
      case BIND_OPCODE.BIND_OPCODE_SET_DYLIB_SPECIAL_IMM:
        // The low four bits of a negative number.
        setOrdinal(at, immediate === 0 ? 0 : immediate - 16);
        break;
      case BIND_OPCODE.BIND_OPCODE_SET_SYMBOL_TRAILING_FLAGS_IMM:
        symbol = reader.string();
        flags = immediate;
        if (kind === 'weak' && isStrong(flags)) strong.push(symbol);
        break;
      case BIND_OPCODE.BIND_OPCODE_SET_TYPE_IMM:
        type = immediate;
        break;
      case BIND_OPCODE.BIND_OPCODE_SET_ADDEND_SLEB:
        addend = reader.sleb();
        break;
      case BIND_OPCODE.BIND_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB:
        if (immediate >= segments.length) {
          throw reader.fault(
            at,
            `name segment ${immediate}, expected less than ${segments.length}`,
            immediate,
          );
        }
        segment = immediate;
        offset = reader.uleb();
        break;
      case BIND_OPCODE.BIND_OPCODE_ADD_ADDR_ULEB:
        offset += reader.delta();
        break;
      case BIND_OPCODE.BIND_OPCODE_DO_BIND:
        bind(at, 1, 0);
        break;
      case BIND_OPCODE.BIND_OPCODE_DO_BIND_ADD_ADDR_ULEB:
        bind(at, 1, reader.delta());
        break;
      case BIND_OPCODE.BIND_OPCODE_DO_BIND_ADD_ADDR_IMM_SCALED:
        bind(at, 1, immediate * POINTER_SIZE);
        break;
      case BIND_OPCODE.BIND_OPCODE_DO_BIND_ULEB_TIMES_SKIPPING_ULEB: {
        const count = reader.uleb();
        bind(at, count, reader.delta());
        break;
      }
      case BIND_OPCODE.BIND_OPCODE_THREADED:
        throw new FormatError(
          'MACHO_ARM64E',
          `Mach-O: the opcodes of ${NAMES[kind]} at ${hex(at)} have BIND_OPCODE_THREADED, which is for arm64e, expected x86_64 or arm64`,
          { offset: at, value: byte },
        );
      default:
        throw reader.fault(at, `have the opcode ${hex(byte)}, expected one of BIND_OPCODE_*`, byte);
    }
  }
  return { binds, strong };
}

/**
 * A stream that binds the same, in the order given; no bytes for nothing. Padded to 8 bytes. A program finds
 * its lazy binds by their offset in the stream, which changes with those before: then `__stub_helper` has to
 * change too, so that a lazy stream is better kept as it is.
 *
 * @throws FormatError `MACHO_BAD_BIND` for a segment beyond 15, a type, library or flags that a stream cannot
 *   name; `MACHO_BAD_NAME`, `LEB128_RANGE`
 */
export function encodeBinds({ binds, strong }: Binds, kind: BindKind): Uint8Array {
  const writer = new OpcodeWriter();
  if (kind === 'weak') for (const symbol of strong) writeSymbol(writer, symbol, STRONG);
  let state = START;
  for (const [i, bind] of binds.entries()) {
    check(bind);
    if (kind === 'lazy') state = START;
    if (kind !== 'lazy' && state.type !== bind.type) {
      writer.byte(BIND_OPCODE.BIND_OPCODE_SET_TYPE_IMM | bind.type);
    }
    if (state.segment !== bind.segment || state.offset !== bind.offset) {
      const opcode = BIND_OPCODE.BIND_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB;
      writer.opcode(opcode | bind.segment, bind.offset);
    }
    if (kind !== 'weak' && state.libOrdinal !== bind.libOrdinal) writeOrdinal(writer, bind.libOrdinal);
    if (state.symbol !== bind.symbol || state.flags !== bind.flags) {
      writeSymbol(writer, bind.symbol, bind.flags);
    }
    if (state.addend !== bind.addend) {
      writer.byte(BIND_OPCODE.BIND_OPCODE_SET_ADDEND_SLEB);
      writer.sleb(bind.addend);
    }
    const gap = kind === 'lazy' ? 0 : gapBetween(bind, binds[i + 1]);
    writeBind(writer, gap);
    state = { ...bind, offset: bind.offset + POINTER_SIZE + gap };
    if (kind === 'lazy') writer.byte(BIND_OPCODE.BIND_OPCODE_DONE);
  }
  if (writer.size > 0 && kind !== 'lazy') writer.byte(BIND_OPCODE.BIND_OPCODE_DONE);
  return writer.finish(POINTER_SIZE);
}

const NAMES = { bind: 'binds', weak: 'weak binds', lazy: 'lazy binds' } as const;

const STRONG = BIND_SYMBOL_FLAGS.BIND_SYMBOL_FLAGS_NON_WEAK_DEFINITION;

const isStrong = (flags: number): boolean => (flags & STRONG) !== 0;

/** What a reader's state is at the start of a stream; values that no bind has where nothing is set. */
const START: Bind = {
  segment: -1,
  offset: 0,
  type: 0,
  symbol: '',
  libOrdinal: Number.NaN,
  addend: 0n,
  flags: -1,
};

function check({ segment, type, libOrdinal, flags }: Bind): void {
  const fault = (field: string, value: number, expected: string): FormatError =>
    new FormatError('MACHO_BAD_BIND', `Mach-O: ${field} of a bind is ${value}, expected ${expected}`, {
      value,
    });
  if (segment < 0 || segment > MAX_IMMEDIATE) throw fault('segment', segment, '0 to 15');
  if (type !== BIND_TYPE.BIND_TYPE_POINTER) throw fault('type', type, 'BIND_TYPE_POINTER');
  if (flags < 0 || flags > MAX_IMMEDIATE) throw fault('flags', flags, '0 to 15');
  if (libOrdinal < -MAX_IMMEDIATE) throw fault('libOrdinal', libOrdinal, 'at least -15');
}

function writeSymbol(writer: OpcodeWriter, symbol: string, flags: number): void {
  writer.byte(BIND_OPCODE.BIND_OPCODE_SET_SYMBOL_TRAILING_FLAGS_IMM | flags);
  writer.string(symbol);
}

function writeOrdinal(writer: OpcodeWriter, ordinal: number): void {
  if (ordinal <= 0) {
    writer.byte(BIND_OPCODE.BIND_OPCODE_SET_DYLIB_SPECIAL_IMM | (ordinal & IMMEDIATE_MASK));
  } else if (ordinal <= MAX_IMMEDIATE) {
    writer.byte(BIND_OPCODE.BIND_OPCODE_SET_DYLIB_ORDINAL_IMM | ordinal);
  } else {
    writer.opcode(BIND_OPCODE.BIND_OPCODE_SET_DYLIB_ORDINAL_ULEB, ordinal);
  }
}

/** Bytes from the end of this slot to the next one, where one opcode can bind and step there; else 0. */
function gapBetween(bind: Bind, next: Bind | undefined): number {
  if (next?.segment !== bind.segment) return 0;
  return Math.max(0, next.offset - bind.offset - POINTER_SIZE);
}

/** Binds, and steps over `gap` bytes after the slot. */
function writeBind(writer: OpcodeWriter, gap: number): void {
  const words = gap / POINTER_SIZE;
  if (gap === 0) writer.byte(BIND_OPCODE.BIND_OPCODE_DO_BIND);
  else if (Number.isInteger(words) && words <= MAX_IMMEDIATE) {
    writer.byte(BIND_OPCODE.BIND_OPCODE_DO_BIND_ADD_ADDR_IMM_SCALED | words);
  } else writer.opcode(BIND_OPCODE.BIND_OPCODE_DO_BIND_ADD_ADDR_ULEB, gap);
}
