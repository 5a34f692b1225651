/**
 * `prepare`: a Mach-O program gets the reserve in which its zone allocator will keep the heap, so that the
 * heap is part of the program's own image, slides with it, and can be dumped. As passes, top to bottom.
 *
 * @module
 */
import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { wholeContents } from '../formats/contents.ts';
import { findSegment, relayLinkedit } from '../formats/macho/index.ts';
import { UnexecError } from './errors.ts';
import { addReserve, type ReserveMode } from './macho/add-reserve.ts';
import { openExecutable } from './macho/executable.ts';
import { findReserve, type Reserve, reserveFields } from './macho/reserve.ts';
import { signatureFacts, signatureRoom, writeSigned } from './macho/write-signed.ts';
import { openTarget } from './target-file.ts';
import { verifyWritten } from './verify-written.ts';
import { RESERVE_UNIT } from './zones/reserve.ts';

export interface PrepareOptions {
  /** Bytes of address space for the heap; rounded up to 16 KiB. They take no room in the file. */
  readonly reserve: number;
  /** Extends the last writable segment even where the header has room for a new one. */
  readonly extend?: boolean;
  readonly signal?: AbortSignal;
}

export interface PrepareReport {
  readonly input: string;
  /** Absolute path of the written file. */
  readonly target: string;
  /** A segment of its own, or the last writable one made longer. */
  readonly mode: ReserveMode;
  /** Name of the segment that holds the reserve. */
  readonly segment: string;
  /** Where the reserve begins, before any slide. */
  readonly address: bigint;
  /** Bytes. */
  readonly reserve: number;
  readonly signed: boolean;
  /** The program has unexec's runtime, and knows its reserve now. */
  readonly runtime: boolean;
  readonly remarks: readonly string[];
}

/** Far more than a heap needs, and less than the address space that is left for the rest. */
const LARGEST_RESERVE = 2 ** 36;

/**
 * Writes `target`, which is `input` with a reserve; both may be the same path.
 *
 * @throws UnexecError with a stable `code`; FormatError when the input is malformed
 */
export async function prepare(
  input: string,
  target: string,
  options: PrepareOptions,
): Promise<PrepareReport> {
  const size = checkedSize(options.reserve);
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

    // 2. The reserve, and where it is told to the runtime.
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
      remarks: remarksOn(reserve),
    };
  } catch (error) {
    throw output.explain(error);
  } finally {
    await output.abandon();
    close();
  }
}

function checkedSize(reserve: number): number {
  if (Number.isFinite(reserve) && reserve > 0 && reserve <= LARGEST_RESERVE) {
    return Math.max(2, Math.ceil(reserve / RESERVE_UNIT)) * RESERVE_UNIT;
  }
  throw new UnexecError(
    'BAD_RESERVE',
    `a reserve of ${reserve} bytes, expected more than 0 and at most ${LARGEST_RESERVE}`,
    { hint: 'as much as the heap may grow to, such as --reserve 256M: what is not used costs nothing' },
  );
}

/** Writes where the reserve is into the segment's contents, which are small enough to be read for it. */
function fillReserve(reserve: Reserve, base: bigint, size: number): void {
  const { at, bytes } = reserveFields(reserve, base, size);
  const contents = wholeContents(reserve.segment.contents ?? new Uint8Array()).slice();
  contents.set(bytes, at);
  reserve.segment.contents = contents;
}

const alreadyPrepared = (path: string): UnexecError =>
  new UnexecError('RESERVE_EXISTS', `${path} has a reserve already`, {
    path,
    hint: 'prepare the program as the linker wrote it, with the size that it needs',
  });

const remarksOn = (reserve: Reserve | undefined): string[] =>
  reserve === undefined
    ? ["the program does not contain unexec's runtime (unexec/runtime), so nothing will use the reserve"]
    : [];
