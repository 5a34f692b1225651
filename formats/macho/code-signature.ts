/**
 * Code signatures: a super blob of blobs, one of which, the code directory, has a hash of every page of the file
 * and of the other blobs. `kern/cs_blobs.h` and `bsd/kern/ubc_subr.c` (cs_validate_csblob) of xnu-11417.
 * Big-endian on every machine. Signatures of certificates (CMS) are kept as bytes and not judged.
 *
 * SHA-256 is a parameter: it comes from Node or from the browser.
 *
 * @module
 */
import { FormatError, hex, toNumber } from '../errors.ts';
import { nameOf } from '../names.ts';
import type { ByteSource } from '../source.ts';
import { viewOf } from '../struct.ts';
import { CS_HASHTYPE, CS_SUPPORTS, CSMAGIC, CSSLOT } from './constants.ts';
import { BE, CS_BlobIndex, CS_CodeDirectory, CS_GenericBlob, CS_SuperBlob } from './structs.ts';

/** The 32 bytes of the hash. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array;

/** A blob of a signature. */
export interface SignatureBlob {
  /** CSSLOT_*. */
  readonly type: number;
  /** The whole blob, magic and length included; a view. */
  readonly bytes: Uint8Array;
}

/** What a signature says about the file. */
export interface CodeDirectory {
  /** 0x20001 to 0x2f000; CS_SUPPORTS_* name those that brought fields. */
  readonly version: number;
  /** CS_*. */
  readonly flags: number;
  readonly identifier: string;
  /** The developer; undefined in an ad-hoc signature. */
  readonly teamId: string | undefined;
  readonly platform: number;
  /** Bytes of a page; undefined: one hash of everything. */
  readonly pageSize: number | undefined;
  /** Bytes of the file that are signed, from its start on. */
  readonly codeLimit: number;
  /** 32 bytes for each page, one after the other; a view. */
  readonly pageHashes: Uint8Array;
  /** The hashes of blobs and of other files, by CSSLOT_*; those of zeros, which are of nothing, left out. */
  readonly specialHashes: ReadonlyMap<number, Uint8Array>;
  /** Of the executable segment: its offset and size in the file, and CS_EXECSEG_*. All 0 in old signatures. */
  readonly execSegBase: bigint;
  readonly execSegLimit: bigint;
  readonly execSegFlags: bigint;
}

export interface CodeSignature {
  /** All blobs in their order; several code directories where some are for old systems. */
  readonly blobs: readonly SignatureBlob[];
  /** The one with SHA-256 hashes. */
  readonly codeDirectory: CodeDirectory;
}

export const HASH_SIZE = 32;

const LEAST_VERSION = 0x2_0001;
const MOST_VERSION = 0x2_f000;
/** xnu knows 4 KiB and the page of the machine; nothing larger than 64 KiB is one. */
const MOST_PAGE_SHIFT = 16;
/** Bytes of the file that are hashed at once, a multiple of every page size. */
const CHUNK = 2 ** 20;

const decoder = new TextDecoder();

/**
 * A code signature, the contents of LC_CODE_SIGNATURE. Bytes after the super blob are padding.
 *
 * @throws FormatError `MACHO_BAD_SIGNATURE` for what is out of bounds or inconsistent, and where no code
 *   directory has SHA-256 hashes
 */
export function readCodeSignature(blob: Uint8Array): CodeSignature {
  const superBlob = genericBlob('super blob', blob, 0, CSMAGIC.CSMAGIC_EMBEDDED_SIGNATURE);
  if (superBlob.length < CS_SuperBlob.size)
    throw bad('length of the super blob', superBlob.length, '12 or more');
  const { count } = CS_SuperBlob.read(viewOf(superBlob), 0, BE);
  if (count > (superBlob.length - CS_SuperBlob.size) / CS_BlobIndex.size) {
    throw bad('count of the super blob', count, `entries within ${hex(superBlob.length)} bytes`);
  }
  const blobs = Array.from({ length: count }, (_, i): SignatureBlob => {
    const index = CS_BlobIndex.read(viewOf(superBlob), CS_SuperBlob.size + i * CS_BlobIndex.size, BE);
    const name = nameOf(CSSLOT, index.type);
    return { type: index.type, bytes: genericBlob(name, superBlob, index.offset, undefined) };
  });
  const directories = blobs.filter(({ type }) => isDirectory(type));
  const modern = directories.find(({ bytes }) => hashTypeOf(bytes) === CS_HASHTYPE.CS_HASHTYPE_SHA256);
  if (!modern) {
    const types = directories.map(({ bytes }) => nameOf(CS_HASHTYPE, hashTypeOf(bytes) ?? 0));
    throw bad('hashType of the code directories', types.join(', ') || 'of none', 'CS_HASHTYPE_SHA256');
  }
  return { blobs, codeDirectory: readCodeDirectory(modern.bytes) };
}

/** The blob in a slot. */
export const findBlobBySlot = ({ blobs }: CodeSignature, type: number): Uint8Array | undefined =>
  blobs.find(blob => blob.type === type)?.bytes;

/**
 * The pages whose hash is another one: their indexes, ascending. `file` is the file from its header on, which in
 * a fat file is a slice.
 *
 * @throws FormatError `MACHO_BAD_SIGNATURE` where the file ends before what is signed does
 */
export function verifyPages(directory: CodeDirectory, file: ByteSource, sha256: Sha256): number[] {
  const { codeLimit, pageSize, pageHashes } = directory;
  const found = hashPages(file, codeLimit, pageSize, sha256);
  const wrong: number[] = [];
  for (let page = 0; page < pageHashes.length / HASH_SIZE; page++) {
    const range = [page * HASH_SIZE, (page + 1) * HASH_SIZE] as const;
    if (!equal(pageHashes.subarray(...range), found.subarray(...range))) wrong.push(page);
  }
  return wrong;
}

/**
 * The slots whose hash is another one, or is missing: CSSLOT_* ascending. Of `external` are those whose bytes are
 * elsewhere (CSSLOT_INFOSLOT: the Info.plist, CSSLOT_RESOURCEDIR); what is not given is not judged.
 */
export function verifySpecialSlots(
  { blobs, codeDirectory }: CodeSignature,
  sha256: Sha256,
  external: ReadonlyMap<number, Uint8Array> = new Map(),
): number[] {
  const hashed = new Map(external);
  for (const { type, bytes } of blobs) if (isSpecial(type)) hashed.set(type, bytes);
  const { specialHashes } = codeDirectory;
  const wrong = [...hashed].filter(([type, bytes]) => {
    const hash = specialHashes.get(type);
    return hash === undefined || !equal(hash, sha256(bytes));
  });
  // What a hash is of must be there, unless it is outside of the signature.
  const missing = [...specialHashes.keys()].filter(
    type => !hashed.has(type) && !EXTERNAL_SLOTS.includes(type),
  );
  return [...wrong.map(([type]) => type), ...missing].sort((a, b) => a - b);
}

/**
 * The hashes of the pages of the first `codeLimit` bytes, 32 bytes each; the last page may be short.
 *
 * @throws FormatError `MACHO_BAD_SIGNATURE` where the file ends before
 */
export function hashPages(
  file: ByteSource,
  codeLimit: number,
  pageSize: number | undefined,
  sha256: Sha256,
): Uint8Array {
  if (codeLimit > file.size)
    throw bad('codeLimit', hex(codeLimit), `at most the ${hex(file.size)} bytes of the file`);
  if (pageSize === undefined)
    return codeLimit > 0 ? sha256(file.read(0, codeLimit)).slice() : new Uint8Array();
  const hashes = new Uint8Array(Math.ceil(codeLimit / pageSize) * HASH_SIZE);
  let page = 0;
  for (let at = 0; at < codeLimit; at += CHUNK) {
    const chunk = file.read(at, Math.min(CHUNK, codeLimit - at));
    for (let start = 0; start < chunk.length; start += pageSize) {
      hashes.set(sha256(chunk.subarray(start, start + pageSize)), page * HASH_SIZE);
      page++;
    }
  }
  return hashes;
}

/** Slots of what is outside of the signature. */
const EXTERNAL_SLOTS: readonly number[] = [
  CSSLOT.CSSLOT_INFOSLOT,
  CSSLOT.CSSLOT_RESOURCEDIR,
  CSSLOT.CSSLOT_APPLICATION,
  CSSLOT.CSSLOT_REP_SPECIFIC,
];
const LAST_SPECIAL_SLOT = CSSLOT.CSSLOT_LIBRARY_CONSTRAINT;

const isSpecial = (type: number): boolean => type > 0 && type <= LAST_SPECIAL_SLOT;

const isDirectory = (type: number): boolean =>
  type === CSSLOT.CSSLOT_CODEDIRECTORY ||
  (type >= CSSLOT.CSSLOT_ALTERNATE_CODEDIRECTORIES && type < CSSLOT.CSSLOT_ALTERNATE_CODEDIRECTORIES + 5);

/** The bytes of a blob, from magic to the end that it says. */
function genericBlob(what: string, data: Uint8Array, at: number, magic: number | undefined): Uint8Array {
  if (at > data.length - CS_GenericBlob.size) {
    throw bad(`offset of ${what}`, hex(at), `a header within ${hex(data.length)} bytes`);
  }
  const header = CS_GenericBlob.read(viewOf(data), at, BE);
  if (magic !== undefined && header.magic !== magic) {
    throw bad(`magic of ${what}`, nameOf(CSMAGIC, header.magic), nameOf(CSMAGIC, magic));
  }
  if (header.length < CS_GenericBlob.size || header.length > data.length - at) {
    throw bad(`length of ${what}`, hex(header.length), `8 to ${hex(data.length - at)}`);
  }
  return data.subarray(at, at + header.length);
}

/** Undefined for what is too short to be a code directory. */
const hashTypeOf = (bytes: Uint8Array): number | undefined => bytes[CS_CodeDirectory.offsets.hashType];

/** Bytes of the fixed fields that a version has, of those that are read here. */
function fixedSize(version: number): number {
  const { offsets, size } = CS_CodeDirectory;
  if (version >= CS_SUPPORTS.CS_SUPPORTSEXECSEG) return size;
  if (version >= CS_SUPPORTS.CS_SUPPORTSCODELIMIT64) return offsets.execSegBase;
  if (version >= CS_SUPPORTS.CS_SUPPORTSTEAMID) return offsets.spare3;
  if (version >= CS_SUPPORTS.CS_SUPPORTSSCATTER) return offsets.teamOffset;
  return offsets.scatterOffset;
}

function readCodeDirectory(bytes: Uint8Array): CodeDirectory {
  // Fields that the version has not are 0.
  const fixed = new Uint8Array(CS_CodeDirectory.size);
  const version = bytes.length >= 12 ? viewOf(bytes).getUint32(8, BE) : 0;
  if (version < LEAST_VERSION || version > MOST_VERSION) {
    throw bad('version of the code directory', hex(version), `${hex(LEAST_VERSION)} to ${hex(MOST_VERSION)}`);
  }
  const size = fixedSize(version);
  if (bytes.length < size) throw bad('length of the code directory', bytes.length, `at least ${size}`);
  fixed.set(bytes.subarray(0, size));
  const fields = CS_CodeDirectory.read(viewOf(fixed), 0, BE);
  if (fields.magic !== CSMAGIC.CSMAGIC_CODEDIRECTORY) {
    throw bad('magic of the code directory', nameOf(CSMAGIC, fields.magic), 'CSMAGIC_CODEDIRECTORY');
  }
  if (fields.hashSize !== HASH_SIZE) throw bad('hashSize', fields.hashSize, `${HASH_SIZE} for SHA-256`);
  if (fields.scatterOffset !== 0)
    throw bad('scatterOffset', hex(fields.scatterOffset), '0, no scatter vector');
  if (fields.pageSize > MOST_PAGE_SHIFT) throw bad('pageSize', fields.pageSize, `at most ${MOST_PAGE_SHIFT}`);
  const pageSize = fields.pageSize === 0 ? undefined : 2 ** fields.pageSize;
  const codeLimit =
    fields.codeLimit64 > 0n ? toNumber('Mach-O: codeLimit64', fields.codeLimit64) : fields.codeLimit;
  const pages = pageSize === undefined ? Math.min(codeLimit, 1) : Math.ceil(codeLimit / pageSize);
  if (fields.nCodeSlots !== pages) {
    throw bad('nCodeSlots', fields.nCodeSlots, `${pages} for a codeLimit of ${hex(codeLimit)}`);
  }
  const { hashOffset, nSpecialSlots } = fields;
  if (hashOffset + pages * HASH_SIZE > bytes.length || nSpecialSlots * HASH_SIZE > hashOffset) {
    const slots = `${nSpecialSlots} and ${pages} hashes at ${hex(hashOffset)}`;
    throw bad('hashOffset', slots, `to stay within ${hex(bytes.length)} bytes`);
  }
  const special = Array.from({ length: nSpecialSlots }, (_, i) => {
    const at = hashOffset - (i + 1) * HASH_SIZE;
    return [i + 1, bytes.subarray(at, at + HASH_SIZE)] as const;
  });
  return {
    version,
    flags: fields.flags,
    identifier: stringAt(bytes, 'identOffset', fields.identOffset),
    teamId: fields.teamOffset === 0 ? undefined : stringAt(bytes, 'teamOffset', fields.teamOffset),
    platform: fields.platform,
    pageSize,
    codeLimit,
    pageHashes: bytes.subarray(hashOffset, hashOffset + pages * HASH_SIZE),
    specialHashes: new Map(special.filter(([, hash]) => hash.some(byte => byte !== 0))),
    execSegBase: fields.execSegBase,
    execSegLimit: fields.execSegLimit,
    execSegFlags: fields.execSegFlags,
  };
}

function stringAt(bytes: Uint8Array, field: string, offset: number): string {
  const end = offset < bytes.length ? bytes.indexOf(0, offset) : -1;
  if (end < 0) throw bad(field, hex(offset), `a terminated string within ${hex(bytes.length)} bytes`);
  return decoder.decode(bytes.subarray(offset, end));
}

const equal = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

const bad = (what: string, value: number | string, expected: string): FormatError =>
  new FormatError(
    'MACHO_BAD_SIGNATURE',
    `Mach-O: ${what} of the code signature is ${value}, expected ${expected}`,
    {
      value,
    },
  );
