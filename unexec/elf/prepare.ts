/**
 * `prepare` for ELF, as passes, top to bottom.
 *
 * @module
 */
import { statSync } from 'node:fs';
import { totalmem } from 'node:os';
import { patchAddress } from '../../formats/elf/index.ts';
import {
  alreadyPrepared,
  type PrepareOptions,
  type PrepareReport,
  remarksOnRuntime,
} from '../prepare-report.ts';
import { openTarget } from '../target-file.ts';
import { verifyWritten } from '../verify-written.ts';
import { reserveFields } from '../zones/find-reserve.ts';
import { addReserve, HEAP_SECTION, hasReserve } from './add-reserve.ts';
import { openElf } from './executable.ts';
import { findReserve } from './reserve.ts';
import { writeSparse } from './write-sparse.ts';

/**
 * Writes `target`, which is `input` with a reserve of `size` bytes, a multiple of 16 KiB.
 *
 * @throws UnexecError with a stable `code`; FormatError when the input is malformed
 */
export async function prepareElf(
  input: string,
  target: string,
  size: number,
  options: PrepareOptions,
): Promise<PrepareReport> {
  const { file, close } = openElf(input);
  const output = await openTarget(target, { mode: statSync(input).mode & 0o777 }).catch((error: unknown) => {
    close();
    throw error;
  });
  try {
    // 1. What is there: a runtime that waits for its reserve, or nothing that would use one.
    const reserve = findReserve(file);
    if (reserve?.base !== undefined || hasReserve(file)) throw alreadyPrepared(input);

    // 2. The reserve, and where it is told to the runtime.
    const base = addReserve(file, size);
    if (reserve !== undefined) {
      const { at, bytes } = reserveFields(reserve, base, size);
      patchAddress(file, reserve.segment.address + BigInt(at), bytes);
    }

    // 3. The file, with holes where the bss would be, and verified.
    await writeSparse(file, output.handle);
    verifyWritten(output.temporaryPath, input);
    options.signal?.throwIfAborted();
    await output.commit();
    return {
      input,
      target: output.path,
      mode: 'segment',
      segment: HEAP_SECTION,
      address: base,
      reserve: size,
      signed: false,
      runtime: reserve !== undefined,
      remarks: remarksOn(reserve !== undefined, size, options),
    };
  } catch (error) {
    throw output.explain(error);
  } finally {
    await output.abandon();
    close();
  }
}

function remarksOn(hasRuntime: boolean, size: number, { extend }: PrepareOptions): string[] {
  const remarks = remarksOnRuntime(hasRuntime);
  if (extend === true) remarks.push('there is always room for a segment in ELF: --extend changes nothing');
  if (size > totalmem()) {
    remarks.push(
      `the reserve is larger than the memory of this machine (${totalmem()} bytes): Linux starts such a program only with more swap, or with vm.overcommit_memory set to 1`,
    );
  }
  return remarks;
}
