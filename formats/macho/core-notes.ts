/**
 * What the LC_NOTEs of a core say: the images that were loaded and where, how many bits an address has, which
 * binary is the main one. lldb writes some of them, xnu's kernel only `addrable bits`, so nobody may count on
 * any. `ObjectFileMachO.cpp` of LLVM 19, and the comment on LC_NOTE there; `osfmk/kern/kern_coredump.h` of
 * xnu-11417 for `main bin spec`.
 *
 * @module
 */
import { FormatError, hex, toNumber } from '../errors.ts';
import { type ByteSource, checkRange } from '../source.ts';
import { bytes, struct, u32, u64, viewOf } from '../struct.ts';
import { LE } from './structs.ts';

/** Owners of the notes that are read here. */
export const CORE_NOTE = {
  ALL_IMAGE_INFOS: 'all image infos',
  ADDRABLE_BITS: 'addrable bits',
  MAIN_BIN_SPEC: 'main bin spec',
  LOAD_BINARY: 'load binary',
  PROCESS_METADATA: 'process metadata',
} as const;

/** An image of `all image infos`. */
export interface CoreImage {
  /** Undefined where the core does not tell. */
  readonly path: string | undefined;
  /** 32 digits of lower-case hexadecimal; undefined where all its bytes are zero. */
  readonly uuid: string | undefined;
  /** Address of its header; undefined where the core does not tell. */
  readonly loadAddress: bigint | undefined;
  readonly segments: readonly { readonly name: string; readonly address: bigint }[];
  /** It had code on some thread's stack. */
  readonly executing: boolean;
}

/** `main bin spec`, and `load binary`, which has a name as well. */
export interface CoreBinary {
  readonly type: number | undefined;
  /** 32 digits of lower-case hexadecimal. */
  readonly uuid: string | undefined;
  /** Address of its header; undefined where the core does not tell, as is the slide. */
  readonly address: bigint | undefined;
  readonly slide: bigint | undefined;
  readonly name: string | undefined;
}

/** How many bits of an address count; what is above are tags or signatures. */
export interface AddressableBits {
  readonly low: number;
  readonly high: number;
}

const image_infos_header = struct({
  version: u32,
  imgcount: u32,
  entries_fileoff: u64,
  entries_size: u32,
  unused: u32,
});
const image_entry = struct({
  filepath_offset: u64,
  uuid: bytes(16),
  load_address: u64,
  seg_addrs_offset: u64,
  segment_count: u32,
  executing: u32,
});
const segment_vmaddr = struct({ segname: bytes(16), vmaddr: u64, unused: u64 });
const addressable_bits_v3 = struct({ version: u32, bits: u32, unused: u64 });
const addressable_bits_v4 = struct({ version: u32, low: u32, high: u32, unused: u32 });
const main_bin_spec_v1 = struct({
  version: u32,
  type: u32,
  address: u64,
  uuid: bytes(16),
  log2_pagesize: u32,
  unused: u32,
});
const main_bin_spec_v2 = struct({
  version: u32,
  type: u32,
  address: u64,
  slide: u64,
  uuid: bytes(16),
  log2_pagesize: u32,
  platform: u32,
});
const load_binary = struct({ version: u32, uuid: bytes(16), address: u64, slide: u64 });

const UNKNOWN = 0xffff_ffff_ffff_ffffn;
/** PATH_MAX of Darwin. */
const MAX_PATH = 1024;
/** A million images: no process has as many. */
const MAX_TABLE = 1 << 26;

/**
 * The list of images. `core` is the whole file: the note holds offsets into it.
 *
 * @throws FormatError `MACHO_BAD_NOTE`, `OUT_OF_RANGE`
 */
export function readAllImageInfos(note: Uint8Array, core: ByteSource): CoreImage[] {
  const header = readStruct(CORE_NOTE.ALL_IMAGE_INFOS, image_infos_header, note);
  const { entries_size: size, imgcount } = header;
  if (imgcount === 0) return [];
  if (size < image_entry.size) {
    throw badNote(
      CORE_NOTE.ALL_IMAGE_INFOS,
      `entries_size is ${size}, expected at least ${image_entry.size}`,
    );
  }
  const entries = readTable(core, header.entries_fileoff, imgcount, size);
  // Images may name the same million segments each: all of them together have a bound, too.
  let left = Math.min(core.size, MAX_TABLE);
  return Array.from({ length: imgcount }, (_, i) => {
    const entry = image_entry.read(entries, i * size, LE);
    const segments = entry.seg_addrs_offset === UNKNOWN ? 0 : entry.segment_count;
    left -= segments * segment_vmaddr.size;
    if (left < 0) throw badNote(CORE_NOTE.ALL_IMAGE_INFOS, 'it lists more segments than the file can have');
    const table = readTable(core, entry.seg_addrs_offset, segments, segment_vmaddr.size);
    return {
      path: entry.filepath_offset === UNKNOWN ? undefined : readString(core, entry.filepath_offset),
      uuid: uuidOf(entry.uuid),
      loadAddress: known(entry.load_address),
      segments: Array.from({ length: segments }, (_, j) => {
        const { segname, vmaddr } = segment_vmaddr.read(table, j * segment_vmaddr.size, LE);
        return { name: nameOf(segname), address: vmaddr };
      }),
      executing: entry.executing !== 0,
    };
  });
}

/** @throws FormatError `MACHO_BAD_NOTE` */
export function readAddressableBits(note: Uint8Array): AddressableBits {
  const owner = CORE_NOTE.ADDRABLE_BITS;
  const { version, bits } = readStruct(owner, addressable_bits_v3, note);
  if (version === 3) return { low: bits, high: bits };
  if (version !== 4) throw badNote(owner, `its version is ${version}, expected 3 or 4`);
  const { low, high } = readStruct(owner, addressable_bits_v4, note);
  return { low, high };
}

/** @throws FormatError `MACHO_BAD_NOTE` */
export function readMainBinSpec(note: Uint8Array): CoreBinary {
  const owner = CORE_NOTE.MAIN_BIN_SPEC;
  const { version, type, address, uuid } = readStruct(owner, main_bin_spec_v1, note);
  const common = { type, address: known(address), name: undefined };
  if (version === 1) return { ...common, uuid: uuidOf(uuid), slide: undefined };
  if (version !== 2) throw badNote(owner, `its version is ${version}, expected 1 or 2`);
  const spec = readStruct(owner, main_bin_spec_v2, note);
  return { ...common, uuid: uuidOf(spec.uuid), slide: known(spec.slide) };
}

/** @throws FormatError `MACHO_BAD_NOTE` */
export function readLoadBinary(note: Uint8Array): CoreBinary {
  const { version, uuid, address, slide } = readStruct(CORE_NOTE.LOAD_BINARY, load_binary, note);
  if (version !== 1) throw badNote(CORE_NOTE.LOAD_BINARY, `its version is ${version}, expected 1`);
  const name = nameOf(note.subarray(load_binary.size));
  return { type: undefined, uuid: uuidOf(uuid), address: known(address), slide: known(slide), name };
}

export const encodeAddressableBits = ({ low, high }: AddressableBits): Uint8Array =>
  addressable_bits_v4.encode({ version: 4, low, high, unused: 0 }, LE);

export function encodeLoadBinary({ uuid, address, slide, name = '' }: CoreBinary): Uint8Array {
  const text = new TextEncoder().encode(`${name}\0`);
  const note = new Uint8Array(load_binary.size + text.length);
  const fields = { version: 1, uuid: uuidBytes(uuid), address: address ?? UNKNOWN, slide: slide ?? UNKNOWN };
  load_binary.write(viewOf(note), 0, fields, LE);
  note.set(text, load_binary.size);
  return note;
}

/** Bytes that `encodeAllImageInfos` gives. */
export const allImageInfosSize = (images: readonly CoreImage[]): number =>
  images.reduce(
    (size, { path, segments }) =>
      size + image_entry.size + segments.length * segment_vmaddr.size + pathBytes(path).length,
    image_infos_header.size,
  );

/** The list of images, for a note that begins at `offset` in the core. */
export function encodeAllImageInfos(images: readonly CoreImage[], offset: number): Uint8Array {
  const note = new Uint8Array(allImageInfosSize(images));
  const view = viewOf(note);
  const header = {
    version: 1,
    imgcount: images.length,
    entries_fileoff: BigInt(offset + image_infos_header.size),
    entries_size: image_entry.size,
    unused: 0,
  };
  image_infos_header.write(view, 0, header, LE);
  let at = image_infos_header.size + images.length * image_entry.size;
  for (const [i, image] of images.entries()) {
    const path = pathBytes(image.path);
    const entry = {
      filepath_offset: image.path === undefined ? UNKNOWN : BigInt(offset + at),
      uuid: uuidBytes(image.uuid),
      load_address: image.loadAddress ?? UNKNOWN,
      seg_addrs_offset: image.segments.length === 0 ? UNKNOWN : BigInt(offset + at + path.length),
      segment_count: image.segments.length,
      executing: image.executing ? 1 : 0,
    };
    image_entry.write(view, image_infos_header.size + i * image_entry.size, entry, LE);
    note.set(path, at);
    at += path.length;
    for (const { name, address } of image.segments) {
      const segname = new TextEncoder().encode(name);
      segment_vmaddr.write(view, at, { segname, vmaddr: address, unused: 0n }, LE);
      at += segment_vmaddr.size;
    }
  }
  return note;
}

const pathBytes = (path: string | undefined): Uint8Array =>
  path === undefined ? new Uint8Array(0) : new TextEncoder().encode(`${path}\0`);

const known = (address: bigint): bigint | undefined => (address === UNKNOWN ? undefined : address);

const uuidOf = (uuid: Uint8Array): string | undefined =>
  uuid.every(byte => byte === 0)
    ? undefined
    : [...uuid].map(byte => byte.toString(16).padStart(2, '0')).join('');

const uuidBytes = (uuid = ''): Uint8Array =>
  Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(uuid.slice(2 * i, 2 * i + 2), 16) || 0);

const nameOf = (name: Uint8Array): string => new TextDecoder().decode(name).split('\0', 1)[0] ?? '';

function readStruct<T>(
  owner: string,
  of: { readonly size: number; read(view: DataView, at: number, le: boolean): T },
  note: Uint8Array,
): T {
  if (note.length >= of.size) return of.read(viewOf(note), 0, LE);
  throw badNote(owner, `it has ${note.length} bytes, expected at least ${of.size}`);
}

function readTable(core: ByteSource, offset: bigint, count: number, size: number): DataView {
  if (count === 0) return viewOf(new Uint8Array(0));
  const at = toNumber('Mach-O: offset of a table of the image list', offset);
  checkRange(core.size, at, count * size);
  if (count * size <= MAX_TABLE) return viewOf(core.read(at, count * size));
  throw badNote(
    CORE_NOTE.ALL_IMAGE_INFOS,
    `a table at ${hex(at)} has ${hex(count * size)} bytes, expected at most ${hex(MAX_TABLE)}`,
  );
}

function readString(core: ByteSource, offset: bigint): string {
  const at = toNumber('Mach-O: offset of the path of an image', offset);
  if (at >= core.size)
    throw badNote(CORE_NOTE.ALL_IMAGE_INFOS, `a path is at ${hex(at)}, expected it within the file`);
  return nameOf(core.read(at, Math.min(MAX_PATH, core.size - at)));
}

const badNote = (owner: string, what: string): FormatError =>
  new FormatError('MACHO_BAD_NOTE', `Mach-O: LC_NOTE '${owner}': ${what}`);
