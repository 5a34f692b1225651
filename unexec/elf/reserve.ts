/**
 * The reserve of an ELF program: where its `struct unexec_reserve` is, and what it says. It is looked for in
 * what the writable segments load, so no section header is needed.
 *
 * @module
 */
import { type ElfFile, type ElfSegment, PF, PT, segmentSource } from '../../formats/elf/index.ts';
import { type FoundReserve, findReserveIn } from '../zones/find-reserve.ts';

export type Reserve = FoundReserve<ElfSegment>;

/**
 * The reserve of a program as it was read; undefined where the program has no runtime.
 *
 * @throws UnexecError `RESERVE_AMBIGUOUS` for more than one, `RESERVE_DAMAGED` for one that makes no sense;
 *   FormatError `ELF_TRUNCATED`
 */
export function findReserve(file: ElfFile): Reserve | undefined {
  const writable = file.segments.filter(
    ({ type, flags, fileSize }) => type === PT.PT_LOAD && (flags & PF.PF_W) !== 0 && fileSize > 0,
  );
  return findReserveIn(
    writable.map(segment => ({ segment, address: segment.address, contents: segmentSource(file, segment) })),
  );
}
