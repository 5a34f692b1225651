/**
 * Writes a Mach-O file and signs it ad hoc: everything but the signature first, then a hash of every page
 * as it is in the file. An unsigned executable for arm64 is killed at its start, and a signature that no
 * longer fits is worse than none. What a signature grants (entitlements) and demands (requirements) is
 * kept; what only its owner can sign again (CMS), and the hardened runtime, are not. Facts:
 * kern/cs_blobs.h (xnu-11417).
 *
 * @module
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { wholeContents } from '../../formats/contents.ts';
import {
  CPU_TYPE,
  CSSLOT,
  encodeSignature,
  findBlob,
  findBlobBySlot,
  findCommand,
  findSegment,
  hashPages,
  LC,
  layoutMachO,
  linkedit_data_command,
  type MachOFile,
  MH,
  newCommand,
  planSignature,
  readCodeSignature,
  type SignatureFacts,
  type SignaturePlan,
  setBlob,
  writeMachO,
} from '../../formats/macho/index.ts';
import { writeAll } from '../chunk-writer.ts';
import { FileSource } from '../file-source.ts';

export const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** Bytes of load command that a signature needs where the file has none yet; 0 where it has, or needs none. */
export const signatureRoom = (file: MachOFile): number =>
  needsSignature(file) && !isSigned(file) ? linkedit_data_command.size : 0;

/** The kernel of arm64 machines starts nothing that is unsigned; for x86_64 what was unsigned stays so. */
const needsSignature = ({ header }: MachOFile): boolean => header.cputype === CPU_TYPE.CPU_TYPE_ARM64;

const isSigned = (file: MachOFile): boolean => findCommand(file, LC.LC_CODE_SIGNATURE) !== undefined;

/** What of the present signature goes into a new one. `name` identifies the program where nothing else does. */
export function signatureFacts(file: MachOFile, name: string): Omit<SignatureFacts, 'codeLimit'> | undefined {
  if (!isSigned(file) && !needsSignature(file)) return undefined;
  const blob = findBlob(file, 'code-signature');
  const present = blob && readCodeSignature(wholeContents(blob.contents));
  const slot = (type: number): Uint8Array | undefined => present && findBlobBySlot(present, type);
  const external = [CSSLOT.CSSLOT_INFOSLOT, CSSLOT.CSSLOT_RESOURCEDIR].flatMap(type => {
    const hash = present?.codeDirectory.specialHashes.get(type);
    return hash === undefined ? [] : [[type, hash] as const];
  });
  return {
    identifier: present?.codeDirectory.identifier ?? name,
    execSegLimit: findSegment(file, '__TEXT')?.filesize ?? 0,
    mainBinary: file.header.filetype === MH.MH_EXECUTE,
    requirements: slot(CSSLOT.CSSLOT_REQUIREMENTS),
    entitlements: slot(CSSLOT.CSSLOT_ENTITLEMENTS),
    entitlementsDer: slot(CSSLOT.CSSLOT_DER_ENTITLEMENTS),
    externalHashes: new Map(external),
  };
}

/**
 * Lays the file out and writes all of it that has contents here; external contents are in `path` already.
 * `signature` undefined: the file stays unsigned.
 *
 * @param path the file that `handle` has open
 * @returns bytes of the file
 */
export async function writeSigned(
  file: MachOFile,
  handle: FileHandle,
  path: string,
  signature: Omit<SignatureFacts, 'codeLimit'> | undefined,
): Promise<number> {
  const plan = signature && planSignatureOf(file, signature);
  const layout = layoutMachO(file);
  for (const { offset, bytes } of writeMachO(layout)) await writeAll(handle, bytes, offset);
  await handle.truncate(layout.size);
  if (plan !== undefined) await writeAll(handle, signed(plan, path), plan.facts.codeLimit);
  return layout.size;
}

/** Room for the signature at the end of the file, whose size follows from where it begins. */
function planSignatureOf(file: MachOFile, facts: Omit<SignatureFacts, 'codeLimit'>): SignaturePlan {
  if (!isSigned(file)) {
    const nowhere = { dataoff: 0, datasize: 0 };
    file.commands.push(newCommand(LC.LC_CODE_SIGNATURE, linkedit_data_command, nowhere));
  }
  // What is of no bytes has no place of its own: a byte stands for the signature.
  setBlob(file, 'code-signature', new Uint8Array(1));
  const codeLimit = layoutMachO(file).linkedit.get('code-signature')?.offset ?? 0;
  const plan = planSignature({ ...facts, codeLimit });
  setBlob(file, 'code-signature', new Uint8Array(plan.size));
  return plan;
}

function signed(plan: SignaturePlan, path: string): Uint8Array {
  const source = new FileSource(path);
  try {
    const hashes = hashPages(source, plan.facts.codeLimit, plan.pageSize, sha256);
    return encodeSignature(plan, hashes, sha256);
  } finally {
    source.close();
  }
}
