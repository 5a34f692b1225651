/**
 * Rules about code signatures: what the kernel checks before it runs a page, and codesign(1) when it verifies a
 * file. xnu-11417, bsd/kern/ubc_subr.c (cs_validate_csblob, cs_validate_codedirectory), bsd/kern/mach_loader.c
 * (load_code_signature, load_segment); Apple's kern/cs_blobs.h.
 *
 * @module
 */
import { wholeContents } from '../../contents.ts';
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { nameOf } from '../../names.ts';
import {
  type CodeDirectory,
  type CodeSignature,
  findBlobBySlot,
  readCodeSignature,
  verifyPages,
  verifySpecialSlots,
} from '../code-signature.ts';
import { CS_EXECSEG, CS_SUPPORTS, CSSLOT, MH } from '../constants.ts';
import { findBlob } from '../linkedit.ts';
import { error, few, fileEndOf, nameOfSegment, placeOf, type Rule, type Subject, strict } from './rule.ts';

/** sizeof(CS_CodeDirectory): "length < sizeof(*cd)" is EBADEXEC, whatever the version. */
const LEAST_DIRECTORY = 108;
/** PAGE_SHIFT_4K; the other page that a kernel takes is its own. */
const SMALL_PAGE = 0x1000;

/** AppleMobileFileIntegrity: arm64 kernels run nothing unsigned. */
function* signed({ file, isArm, isDyldManaged }: Subject): Iterable<Finding> {
  if (!isArm || !isDyldManaged || findBlob(file, 'code-signature') !== undefined) return;
  yield error(
    'MACHO_UNSIGNED',
    'there is no code signature, expected one on arm64: the kernel kills the program',
  );
}

/** Each page has the hash that the directory gives it. */
function* pages(subject: Subject): Iterable<Finding> {
  const signature = signatureOf(subject);
  if (signature === undefined || subject.file.source === undefined) return;
  const { codeDirectory } = signature;
  const size = codeDirectory.pageSize ?? codeDirectory.codeLimit;
  const wrong = verifyPages(codeDirectory, subject.file.source, subject.sha256);
  yield* few(
    wrong.map(page =>
      error(
        'MACHO_PAGE_HASH',
        `page ${page} of the signature has another hash than the file at ${hex(page * size)}, expected the same`,
        {
          offset: page * size,
        },
      ),
    ),
  );
}

/** Blobs of the signature have hashes as well: requirements, entitlements. */
function* specialSlots(subject: Subject): Iterable<Finding> {
  const signature = signatureOf(subject);
  if (signature === undefined) return;
  for (const slot of verifySpecialSlots(signature, subject.sha256)) {
    const what = findBlobBySlot(signature, slot) === undefined ? 'is missing' : 'has another hash';
    yield error(
      'MACHO_SPECIAL_SLOT',
      `${nameOf(CSSLOT, slot)} of the signature ${what}, expected the one that the code directory has`,
    );
  }
}

/** cs_validate_codedirectory: sizes; pages of 4 KiB or those of the machine. */
function* directory(subject: Subject): Iterable<Finding> {
  const signature = signatureOf(subject);
  if (signature === undefined) return;
  const { codeDirectory } = signature;
  const length = findBlobBySlot(signature, CSSLOT.CSSLOT_CODEDIRECTORY)?.length ?? LEAST_DIRECTORY;
  if (length < LEAST_DIRECTORY) {
    yield error(
      'MACHO_CODE_DIRECTORY',
      `the code directory has ${length} bytes, expected at least ${LEAST_DIRECTORY}`,
    );
  }
  const { pageSize } = codeDirectory;
  if (pageSize !== SMALL_PAGE && pageSize !== subject.pageSize) {
    yield error(
      'MACHO_CODE_DIRECTORY',
      `pageSize of the code directory is ${pageSize === undefined ? 'none' : hex(pageSize)}, expected ${hex(SMALL_PAGE)} or ${hex(subject.pageSize)}`,
    );
  }
  if (codeDirectory.identifier === '') {
    yield strict('MACHO_CODE_DIRECTORY', 'the identifier of the code directory is empty, expected a name');
  }
  yield* executableSegment(subject, codeDirectory);
}

/** cs_blobs.h: execSegBase and execSegLimit are the place of __TEXT; a program's flags say that it is one. */
function* executableSegment({ file, text }: Subject, directory: CodeDirectory): Iterable<Finding> {
  if (directory.version < CS_SUPPORTS.CS_SUPPORTSEXECSEG || text === undefined) return;
  const { execSegBase, execSegLimit, execSegFlags } = directory;
  if (execSegBase !== BigInt(text.fileoff) || execSegLimit !== BigInt(text.filesize)) {
    yield strict(
      'MACHO_EXECSEG',
      `the executable segment of the code directory is ${hex(execSegLimit)} bytes at ${hex(execSegBase)}, expected ${hex(text.filesize)} at ${hex(text.fileoff)} as __TEXT has`,
    );
  }
  const isMain = (execSegFlags & BigInt(CS_EXECSEG.CS_EXECSEG_MAIN_BINARY)) !== 0n;
  if (isMain === (file.header.filetype === MH.MH_EXECUTE)) return;
  yield strict(
    'MACHO_EXECSEG',
    `execSegFlags of the code directory are ${hex(execSegFlags)}, expected CS_EXECSEG_MAIN_BINARY in executables only`,
  );
}

/** What is signed is everything before the signature; load_segment: "section outside code signature". */
function* range(subject: Subject): Iterable<Finding> {
  const { file, segments, linkedit } = subject;
  const signature = signatureOf(subject);
  const start = findBlob(file, 'code-signature')?.offset ?? 0;
  if (signature === undefined) return;
  const { codeLimit } = signature.codeDirectory;
  if (codeLimit > start) {
    yield error(
      'MACHO_CODE_LIMIT',
      `codeLimit is ${hex(codeLimit)}, expected at most where the signature begins, ${hex(start)}`,
      { offset: start },
    );
  } else if (codeLimit < start) {
    yield strict(
      'MACHO_CODE_LIMIT',
      `codeLimit is ${hex(codeLimit)}, expected where the signature begins, ${hex(start)}`,
      { offset: codeLimit },
    );
  }
  for (const segment of segments) {
    if (segment === linkedit || segment.filesize === 0 || fileEndOf(segment) <= codeLimit) continue;
    yield error(
      'MACHO_CODE_LIMIT',
      `${nameOfSegment(segment)} ends at ${hex(fileEndOf(segment))}, expected within what is signed, ${hex(codeLimit)}`,
      placeOf(segment),
    );
  }
}

export const SIGNATURE_RULES: readonly Rule[] = [signed, directory, range, specialSlots, pages];

function signatureOf({ file }: Subject): CodeSignature | undefined {
  const blob = findBlob(file, 'code-signature');
  const bytes = blob && wholeContents(blob.contents);
  return bytes === undefined || bytes.length === 0 ? undefined : readCodeSignature(bytes);
}
