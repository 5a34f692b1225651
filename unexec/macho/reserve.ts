/**
 * The reserve of a Mach-O program: where its `struct unexec_reserve` is, and what it says.
 *
 * @module
 */
import { type MachOFile, type SegmentCommand, segmentsOf, VM_PROT } from '../../formats/macho/index.ts';
import { type FoundReserve, findReserveIn } from '../zones/find-reserve.ts';

export type Reserve = FoundReserve<SegmentCommand>;

/**
 * The reserve of a program; undefined where the program has no runtime.
 *
 * @throws UnexecError `RESERVE_AMBIGUOUS` for more than one, `RESERVE_DAMAGED` for one that makes no sense
 */
export function findReserve(file: MachOFile): Reserve | undefined {
  const writable = segmentsOf(file).filter(({ initprot }) => (initprot & VM_PROT.VM_PROT_WRITE) !== 0);
  return findReserveIn(
    writable.map(segment => ({
      segment,
      address: segment.vmaddr,
      contents: segment.contents ?? new Uint8Array(),
    })),
  );
}
