/**
 * `prepare` for Mach-O, as passes, top to bottom.
 *
 * @module
 */
import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { wholeContents } from '../../formats/contents.ts';
import { findSegment, relayLinkedit } from '../../formats/macho/index.ts';
import {
  alreadyPrepared,
  type PrepareOptions,
  type PrepareReport,
  remarksOnRuntime,
} from '../prepare-report.ts';
import { openTarget } from '../target-file.ts';
import { verifyWritten } from '../verify-written.ts';
import { reserveFields } from '../zones/find-reserve.ts';
import { addReserve } from './add-reserve.ts';
import { openExecutable } from './executable.ts';
import { findReserve, type Reserve } from './reserve.ts';
import { putStartFirst } from './start-first.ts';
import { signatureFacts, signatureRoom, writeSigned } from './write-signed.ts';

/**
 * Writes `target`, which is `input` with a reserve of `size` bytes, a multiple of 16 KiB.
 *
 * @throws UnexecError with a stable `code`; FormatError when the input is malformed
 */
export async function prepareMachO(
  input: string,
  target: string,
  size: number,
  options: PrepareOptions,
): Promise<PrepareReport> {
  const { file, close } = openExecutable(input);
  const output = await openTarget(target, { mode: statSync(input).mode & 0o777 }).catch((error: unknown) => {
    close();
    throw error;
  });
  try {
    // 1. What is there: a signature whose grants are kept, a runtime that waits for its reserve.
    const signature = signatureFacts(file, basename(input));
    const reserve = findReserve(file);
    if (reserve?.base !== undefined) throw alreadyPrepared(input);

    // 2. The runtime's constructor first; the reserve, and where it is told to the runtime.
    if (reserve !== undefined) putStartFirst(file, reserve);
    const { mode, segment, base } = addReserve(file, size, options.extend ?? false, signatureRoom(file));
    if (reserve !== undefined) fillReserve(reserve, base, size);

    // 3. __LINKEDIT moves behind it and is laid out again; then the file is written, signed and verified.
    relayLinkedit(file, findSegment(file, '__LINKEDIT')?.fileoff ?? 0);
    await writeSigned(file, output.handle, output.temporaryPath, signature);
    verifyWritten(output.temporaryPath, input);
    options.signal?.throwIfAborted();
    await output.commit();
    return {
      input,
      target: output.path,
      mode,
      segment,
      address: base,
      reserve: size,
      signed: signature !== undefined,
      runtime: reserve !== undefined,
      remarks: remarksOnRuntime(reserve !== undefined),
    };
  } catch (error) {
    throw output.explain(error);
  } finally {
    await output.abandon();
    close();
  }
}

/** Writes where the reserve is into the segment's contents, which are small enough to be read for it. */
function fillReserve(reserve: Reserve, base: bigint, size: number): void {
  const { at, bytes } = reserveFields(reserve, base, size);
  const contents = wholeContents(reserve.segment.contents ?? new Uint8Array()).slice();
  contents.set(bytes, at);
  reserve.segment.contents = contents;
}
