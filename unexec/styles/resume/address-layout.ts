/**
 * The program break, and what /proc/self shows of arguments, environment and auxiliary vector.
 * Facts: prctl(2) (PR_SET_MM_MAP), struct prctl_mm_map (linux/prctl.h), brk(2).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { ProcessImage } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { type DataRef, LARGEST_RESULT } from '../../restorer/steps.ts';
import type { Arguments } from './arguments.ts';
import { NR } from './system-calls.ts';

const PR_SET_MM = 35;
const PR_SET_MM_MAP = 14;
const PRCTL_MM_MAP_SIZE = 104;

/** brk, and what /proc/self shows of the process: best effort, as it may need a capability one day. */
export function setAddresses(
  program: RestoreProgram,
  image: ProcessImage,
  given: Arguments,
  available: boolean,
): void {
  const { layout } = image;
  const result = program.slot();
  program.operation('SET', 'not set', [0, 0, 1], { into: result });
  if (available) {
    const map = new Uint8Array(PRCTL_MM_MAP_SIZE);
    const view = viewOf(map);
    const fixed = [
      layout.startCode,
      layout.endCode,
      layout.startData,
      layout.endData,
      layout.startBrk,
      layout.brk,
      layout.startStack,
    ];
    for (const [i, value] of fixed.entries()) view.setBigUint64(i * 8, value, true);
    view.setUint32(96, image.auxv.length, true);
    view.setUint32(100, 0xffff_ffff, true); // exe_fd: none
    const ref = program.writable(map);
    const field = (index: number): DataRef => ({ ...ref, offset: index * 8 });
    program.operation('STORE', 'arg_start', [field(7), given.argStart]);
    program.operation('STORE', 'arg_end', [field(8), given.envStart]);
    program.operation('STORE', 'env_start', [field(9), given.envStart]);
    program.operation('STORE', 'env_end', [field(10), given.envEnd]);
    program.pointer(field(11), program.data(image.auxv));
    program.syscall(
      'set the address layout',
      NR.prctl,
      [PR_SET_MM, PR_SET_MM_MAP, ref, PRCTL_MM_MAP_SIZE, 0],
      {
        bestEffort: true,
        into: result,
      },
    );
  }
  // Nothing is mapped yet: the break moves freely, and the heap is mapped over it.
  program.unless('AT_MOST', 'address layout set', [result, LARGEST_RESULT], () => {
    program.syscall('set the break', NR.brk, [layout.brk], { bestEffort: true });
  });
}
