/**
 * Ad-hoc signatures, which vouch for nothing but that the file is as it was written; arm64 Macs run no program
 * without one. What `codesign --sign -` writes: a code directory, requirements, entitlements, and an empty place
 * for the certificate's signature. `kern/cs_blobs.h` of xnu-11417; `CodeDirectory::Builder` of Security-61439.
 *
 * In two steps, as the file has to hold the size of its signature before its pages can be hashed.
 *
 * @module
 */
import { FormatError } from '../errors.ts';
import { viewOf } from '../struct.ts';
import { HASH_SIZE, type Sha256 } from './code-signature.ts';
import { CS, CS_EXECSEG, CS_HASHTYPE, CS_SUPPORTS, CSMAGIC, CSSLOT } from './constants.ts';
import { BE, CS_BlobIndex, CS_CodeDirectory, CS_GenericBlob, CS_SuperBlob } from './structs.ts';

export interface SignatureFacts {
  /** Usually the name of the file. */
  readonly identifier: string;
  /** Where the signature begins in the file: all bytes before are signed. */
  readonly codeLimit: number;
  /** filesize of __TEXT, which begins with the file. */
  readonly execSegLimit: number;
  /** An executable, not a library. */
  readonly mainBinary: boolean;
  /** Whole blobs of another signature that are kept: CSSLOT_REQUIREMENTS, CSSLOT_ENTITLEMENTS, ..._DER_... */
  readonly requirements?: Uint8Array | undefined;
  readonly entitlements?: Uint8Array | undefined;
  readonly entitlementsDer?: Uint8Array | undefined;
  /** Hashes of what is outside of the signature and goes on to be so: CSSLOT_INFOSLOT, CSSLOT_RESOURCEDIR. */
  readonly externalHashes?: ReadonlyMap<number, Uint8Array> | undefined;
}

export interface SignaturePlan {
  /** Bytes of the signature, a multiple of 16: datasize of LC_CODE_SIGNATURE. */
  readonly size: number;
  /** Pages of the file to be hashed. */
  readonly nCodeSlots: number;
  /** Bytes of a page. The kernel takes 4 KiB on machines with larger ones too. */
  readonly pageSize: number;
  readonly facts: SignatureFacts;
}

const PAGE_SHIFT = 12;
const PAGE_SIZE = 2 ** PAGE_SHIFT;
const MAX_U32 = 0xffff_ffff;
const ALIGNMENT = 16;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * How large the signature of a file is.
 *
 * @throws FormatError `MACHO_BAD_SIGNATURE` for more pages than a code directory can count, and blobs that are none
 */
export function planSignature(facts: SignatureFacts): SignaturePlan {
  if (facts.identifier.includes('\0'))
    throw bad('the identifier', JSON.stringify(facts.identifier), 'no NUL in it');
  for (const [slot, hash] of facts.externalHashes ?? []) {
    if (hash.length !== HASH_SIZE)
      throw bad(`the hash of slot ${slot}`, `${hash.length} bytes`, `${HASH_SIZE}`);
    if (slot !== CSSLOT.CSSLOT_INFOSLOT && slot !== CSSLOT.CSSLOT_RESOURCEDIR) {
      throw bad('the slot of an external hash', slot, 'CSSLOT_INFOSLOT or CSSLOT_RESOURCEDIR');
    }
  }
  const nCodeSlots = Math.ceil(facts.codeLimit / PAGE_SIZE);
  const blobs = blobsOf(facts);
  const size = superBlobSize(directorySize(facts, nCodeSlots), blobs);
  if (size > MAX_U32) throw bad('the size', size, 'less than 4 GiB');
  return { size: Math.ceil(size / ALIGNMENT) * ALIGNMENT, nCodeSlots, pageSize: PAGE_SIZE, facts };
}

/**
 * The signature, `plan.size` bytes. `pageHashes` are 32 bytes for each page of the file, which is otherwise
 * finished: `hashPages` computes them.
 *
 * @throws FormatError `MACHO_BAD_SIGNATURE` for another number of hashes than planned
 */
export function encodeSignature(plan: SignaturePlan, pageHashes: Uint8Array, sha256: Sha256): Uint8Array {
  if (pageHashes.length !== plan.nCodeSlots * HASH_SIZE) {
    throw bad('the size of the hashes', pageHashes.length, `${plan.nCodeSlots * HASH_SIZE}`);
  }
  const others = blobsOf(plan.facts);
  const directory = encodeDirectory(plan, others, pageHashes, sha256);
  const blobs: Blob[] = [{ type: CSSLOT.CSSLOT_CODEDIRECTORY, bytes: directory }, ...others];

  const out = new Uint8Array(plan.size);
  const view = viewOf(out);
  const length = superBlobSize(directory.length, others);
  const header = { magic: CSMAGIC.CSMAGIC_EMBEDDED_SIGNATURE, length, count: blobs.length };
  CS_SuperBlob.write(view, 0, header, BE);
  let at = CS_SuperBlob.size + blobs.length * CS_BlobIndex.size;
  for (const [i, { type, bytes }] of blobs.entries()) {
    CS_BlobIndex.write(view, CS_SuperBlob.size + i * CS_BlobIndex.size, { type, offset: at }, BE);
    out.set(bytes, at);
    at += bytes.length;
  }
  return out;
}

interface Blob {
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** All blobs but the code directory, ascending. */
function blobsOf({ requirements, entitlements, entitlementsDer }: SignatureFacts): Blob[] {
  const { CSMAGIC_REQUIREMENTS, CSMAGIC_EMBEDDED_ENTITLEMENTS, CSMAGIC_EMBEDDED_DER_ENTITLEMENTS } = CSMAGIC;
  const blobs: Blob[] = [
    {
      type: CSSLOT.CSSLOT_REQUIREMENTS,
      bytes: checked(requirements, CSMAGIC_REQUIREMENTS) ?? NO_REQUIREMENTS,
    },
  ];
  const xml = checked(entitlements, CSMAGIC_EMBEDDED_ENTITLEMENTS);
  if (xml) blobs.push({ type: CSSLOT.CSSLOT_ENTITLEMENTS, bytes: xml });
  const der = checked(entitlementsDer, CSMAGIC_EMBEDDED_DER_ENTITLEMENTS);
  if (der) blobs.push({ type: CSSLOT.CSSLOT_DER_ENTITLEMENTS, bytes: der });
  blobs.push({ type: CSSLOT.CSSLOT_SIGNATURESLOT, bytes: NO_CMS });
  return blobs;
}

/** A set of no requirements: magic, length, count. */
const NO_REQUIREMENTS = CS_SuperBlob.encode(
  { magic: CSMAGIC.CSMAGIC_REQUIREMENTS, length: CS_SuperBlob.size, count: 0 },
  BE,
);
/** The place of the certificate's signature, empty. */
const NO_CMS = CS_GenericBlob.encode({ magic: CSMAGIC.CSMAGIC_BLOBWRAPPER, length: CS_GenericBlob.size }, BE);

/** A blob that was given, if it is one. */
function checked(bytes: Uint8Array | undefined, magic: number): Uint8Array | undefined {
  if (!bytes) return undefined;
  const header = bytes.length >= CS_GenericBlob.size ? CS_GenericBlob.read(viewOf(bytes), 0, BE) : undefined;
  if (header?.magic === magic && header.length === bytes.length) return bytes;
  throw bad(
    'a blob',
    `of ${bytes.length} bytes, magic ${header?.magic.toString(16)}`,
    `magic ${magic.toString(16)}`,
  );
}

const superBlobSize = (directory: number, others: readonly Blob[]): number =>
  others.reduce(
    (sum, { bytes }) => sum + CS_BlobIndex.size + bytes.length,
    CS_SuperBlob.size + CS_BlobIndex.size + directory,
  );

const specialSlots = (facts: SignatureFacts): number =>
  Math.max(
    0,
    ...(facts.externalHashes?.keys() ?? []),
    ...blobsOf(facts).flatMap(({ type }) => (type === CSSLOT.CSSLOT_SIGNATURESLOT ? [] : [type])),
  );

const identifierBytes = ({ identifier }: SignatureFacts): Uint8Array => encoder.encode(`${identifier}\0`);

const directorySize = (facts: SignatureFacts, nCodeSlots: number): number =>
  CS_CodeDirectory.size + identifierBytes(facts).length + (specialSlots(facts) + nCodeSlots) * HASH_SIZE;

function encodeDirectory(
  { facts, nCodeSlots }: SignaturePlan,
  blobs: readonly Blob[],
  pageHashes: Uint8Array,
  sha256: Sha256,
): Uint8Array {
  const identifier = identifierBytes(facts);
  const nSpecialSlots = specialSlots(facts);
  const hashOffset = CS_CodeDirectory.size + identifier.length + nSpecialSlots * HASH_SIZE;
  const out = new Uint8Array(directorySize(facts, nCodeSlots));
  const fields: CS_CodeDirectory = {
    magic: CSMAGIC.CSMAGIC_CODEDIRECTORY,
    length: out.length,
    version: CS_SUPPORTS.CS_SUPPORTSEXECSEG,
    flags: CS.CS_ADHOC,
    hashOffset,
    identOffset: CS_CodeDirectory.size,
    nSpecialSlots,
    nCodeSlots,
    codeLimit: Math.min(facts.codeLimit, MAX_U32),
    hashSize: HASH_SIZE,
    hashType: CS_HASHTYPE.CS_HASHTYPE_SHA256,
    platform: 0,
    pageSize: PAGE_SHIFT,
    spare2: 0,
    scatterOffset: 0,
    teamOffset: 0,
    spare3: 0,
    codeLimit64: facts.codeLimit > MAX_U32 ? BigInt(facts.codeLimit) : 0n,
    execSegBase: 0n,
    execSegLimit: BigInt(facts.execSegLimit),
    execSegFlags: BigInt(execSegFlags(facts)),
  };
  CS_CodeDirectory.write(viewOf(out), 0, fields, BE);
  out.set(identifier, CS_CodeDirectory.size);
  const special = new Map(facts.externalHashes);
  for (const { type, bytes } of blobs) if (type <= nSpecialSlots) special.set(type, sha256(bytes));
  for (const [slot, hash] of special) out.set(hash, hashOffset - slot * HASH_SIZE);
  out.set(pageHashes, hashOffset);
  return out;
}

/**
 * The entitlement that the kernel asks the code directory about. Not `com.apple.security.get-task-allow`, its name
 * on macOS: codesign(1) sets no flag for that (seen in Node's own executable).
 */
const ALLOWS_UNSIGNED = /<key>get-task-allow<\/key>\s*<true\s*\/>/;

function execSegFlags({ mainBinary, entitlements }: SignatureFacts): number {
  if (!mainBinary) return 0;
  const xml = decoder.decode(entitlements?.subarray(CS_GenericBlob.size));
  const allows = ALLOWS_UNSIGNED.test(xml) ? CS_EXECSEG.CS_EXECSEG_ALLOW_UNSIGNED : 0;
  return CS_EXECSEG.CS_EXECSEG_MAIN_BINARY | allows;
}

const bad = (what: string, value: number | string, expected: string): FormatError =>
  new FormatError(
    'MACHO_BAD_SIGNATURE',
    `Mach-O: ${what} of a code signature is ${value}, expected ${expected}`,
    {
      value,
    },
  );
