/**
 * Chained fixups in the format that Apple's linker writes for macOS 12 and later, DYLD_CHAINED_PTR_64_OFFSET (6):
 * targets are distances from the mach header. lld knows DYLD_CHAINED_PTR_64 (2) only, so its output is
 * written again with the other format, and signed again.
 *
 * @module
 */
import { basename } from 'node:path';
import { wholeContents } from '../../../formats/contents.ts';
import {
  DYLD_CHAINED_PTR,
  encodeChainedFixups,
  findBlob,
  findSegment,
  linkChain,
  readChainedFixups,
  readChains,
  readMachO,
  segmentsOf,
  setBlob,
  writeChainedRebase,
} from '../../../formats/macho/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { FileSource } from '../../../unexec/file-source.ts';
import { signatureFacts, writeSigned } from '../../../unexec/macho/write-signed.ts';
import { openTarget } from '../../../unexec/target-file.ts';

/** Writes the file again, in place. */
export async function useOffsetFormat(path: string): Promise<void> {
  const source = new FileSource(path);
  const target = await openTarget(path);
  try {
    const file = readMachO(source);
    const blob = findBlob(file, 'chained-fixups');
    if (blob === undefined) throw new Error(`${path} has no chained fixups`);
    const fixups = readChainedFixups(wholeContents(blob.contents));
    const base = Number(findSegment(file, '__TEXT')?.vmaddr ?? 0n);
    for (const [index, segment] of segmentsOf(file).entries()) {
      const starts = fixups.segments[index];
      if (starts === undefined) continue;
      const contents = wholeContents(segment.contents ?? new Uint8Array()).slice();
      const { offsets, targets, high8, binds } = readChains(starts, contents);
      for (const [i, offset] of offsets.entries()) {
        writeChainedRebase(viewOf(contents), offset, (targets[i] ?? 0) - base, high8[i] ?? 0);
      }
      const all = [...offsets, ...binds.map(({ offset }) => offset)].sort((a, b) => a - b);
      for (let at = 0; at < contents.length; at += starts.pageSize) {
        const inPage = all.filter(offset => offset >= at && offset < at + starts.pageSize);
        linkChain(contents.subarray(at, at + starts.pageSize), inPage, 0, inPage.length, at);
      }
      segment.contents = contents;
    }
    const pointerFormat = DYLD_CHAINED_PTR.DYLD_CHAINED_PTR_64_OFFSET;
    setBlob(file, 'chained-fixups', encodeChainedFixups({ ...fixups, pointerFormat }));
    const signature = signatureFacts(file, basename(path));
    await writeSigned(file, target.handle, target.temporaryPath, signature);
    await target.commit();
  } finally {
    await target.abandon();
    source.close();
  }
}
