/**
 * The reserve of a Mach-O program: where its `struct unexec_reserve` is, and what it says.
 *
 * @module
 */
import { hex } from '../../formats/errors.ts';
import { type MachOFile, type SegmentCommand, segmentsOf, VM_PROT } from '../../formats/macho/index.ts';
import { UnexecError } from '../errors.ts';
import { type FoundReserve, findReserveIn } from '../zones/find-reserve.ts';

export type Reserve = FoundReserve<SegmentCommand>;

/**
 * The reserve of a program; undefined where the program has no runtime.
 *
 * @throws UnexecError `RESERVE_AMBIGUOUS` for more than one, `RESERVE_DAMAGED` for one that makes no sense, or that
 *   is not the end of a writable segment
 */
export function findReserve(file: MachOFile): Reserve | undefined {
  const writable = segmentsOf(file).filter(({ initprot }) => (initprot & VM_PROT.VM_PROT_WRITE) !== 0);
  const reserve = findReserveIn(
    writable.map(segment => ({
      segment,
      address: segment.vmaddr,
      contents: segment.contents ?? new Uint8Array(),
    })),
  );
  if (reserve?.base !== undefined) checkPlace(reserve, reserve.base, writable);
  return reserve;
}

/** Whatever follows the zone's high-water mark is taken for zeros: there must be nothing else. */
function checkPlace({ address, size }: Reserve, base: bigint, writable: readonly SegmentCommand[]): void {
  const end = base + BigInt(size);
  const holds = ({ vmaddr, vmsize }: SegmentCommand): boolean => base >= vmaddr && end === vmaddr + vmsize;
  if (writable.some(segment => segment.segname !== '__LINKEDIT' && holds(segment))) return;
  throw new UnexecError(
    'RESERVE_DAMAGED',
    `struct unexec_reserve at ${hex(address)} says that the reserve is ${hex(base)} to ${hex(end)}, expected the end of a writable segment`,
    { hint: 'prepare the program again, as the linker wrote it' },
  );
}
