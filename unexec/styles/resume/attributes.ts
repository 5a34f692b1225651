/**
 * Steps for what the program had set for its process as a whole: resource limits, attributes, files of /proc.
 * Facts: getrlimit(2), prctl(2), personality(2), membarrier(2), proc(5).
 *
 * @module
 */
import { viewOf } from '../../../formats/struct.ts';
import type { ProcessImage } from '../../image.ts';
import { O } from '../../linux/open-flags.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { LARGEST_RESULT } from '../../restorer/steps.ts';
import { wantedDescriptors } from './opening.ts';
import { AT_FDCWD, NR } from './system-calls.ts';

const RLIMIT_NOFILE = 7;
/** Every usual limit of open files is above this. */
const USUAL_FILES = 200;

/**
 * Raises the number of open files as far as the image needs it (with a descriptor of its own above
 * all, and so many more meanwhile), where the caller's limit is lower. `limitSteps` sets what the program had set.
 */
export function raiseFileLimit(program: RestoreProgram, image: ProcessImage, meanwhile: number): void {
  const needed = Math.max(0, ...wantedDescriptors(image)) + 2 + meanwhile;
  if (needed <= USUAL_FILES) return;
  const limit = program.writable(new Uint8Array(16));
  const soft = program.slot();
  program.syscall('limit of open files', NR.prlimit64, [0, RLIMIT_NOFILE, 0, limit]);
  program.operation('LOAD', 'limit of open files', [limit, 0], { into: soft });
  program.unless('AT_MOST', 'enough open files', [needed, soft], () => {
    program.operation('STORE', 'more open files', [limit, needed]);
    program.syscall(`${needed} open files (ulimit -n)`, NR.prlimit64, [0, RLIMIT_NOFILE, limit, 0]);
  });
}

/** Limits as the program had set them: the soft ones as far as the caller's hard ones allow it. */
export function limitSteps(program: RestoreProgram, image: ProcessImage): void {
  for (const { name, resource, soft, hard } of image.limits) {
    const limit = program.writable(new Uint8Array(16));
    program.syscall(name, NR.prlimit64, [0, resource, 0, limit]);
    program.operation('STORE', name, [limit, soft]);
    program.syscall(name, NR.prlimit64, [0, resource, limit, 0], { bestEffort: true });
    if (hard === undefined) continue;
    const both = new Uint8Array(16);
    viewOf(both).setBigUint64(0, soft, true);
    viewOf(both).setBigUint64(8, hard, true);
    program.syscall(name, NR.prlimit64, [0, resource, program.data(both), 0], { bestEffort: true });
  }
}

/** What the caller may not have (a lower oom_score_adj) is left as the caller has it. */
export function attributeSteps(program: RestoreProgram, image: ProcessImage): void {
  for (const { name, value } of image.settings) {
    const path = `/proc/self/${name}`;
    const file = program.slot();
    program.syscall(`open ${path}`, NR.openat, [AT_FDCWD, program.string(path), O.WRONLY, 0], {
      bestEffort: true,
      into: file,
    });
    program.when('AT_MOST', `${path} is open`, [file, LARGEST_RESULT], () => {
      const text = program.data(Buffer.from(value), 1);
      program.syscall(`write ${path}`, NR.write, [file, text, value.length], { bestEffort: true });
      program.syscall(`close ${path}`, NR.close, [file]);
    });
  }
  for (const { name, call, args } of image.attributes) {
    // Without its permission a thread cannot even be given its registers.
    program.syscall(name, NR[call], args, { bestEffort: call !== 'arch_prctl' });
  }
}
