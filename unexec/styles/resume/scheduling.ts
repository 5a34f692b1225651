/**
 * Steps for how a thread is scheduled, made by itself. What the caller may not choose (a lower nice value,
 * real-time policies) or the machine does not have (a CPU) stays as it is.
 * Facts: sched_setattr(2), sched_setaffinity(2), ioprio_set(2), prctl(2) (PR_SET_TIMERSLACK).
 *
 * @module
 */
import type { Scheduling } from '../../image.ts';
import type { RestoreProgram } from '../../restorer/program.ts';
import { NR } from './system-calls.ts';

const PR_SET_TIMERSLACK = 29;
const IOPRIO_WHO_PROCESS = 1;

export function schedulingSteps(program: RestoreProgram, scheduling: Scheduling): void {
  const { attributes, affinity, ioPriority, timerSlack } = scheduling;
  const options = { bestEffort: true };
  if (affinity !== undefined) {
    const cpus = program.data(affinity);
    program.syscall('CPUs of the thread', NR.sched_setaffinity, [0, affinity.length, cpus], options);
  }
  if (attributes !== undefined) {
    program.syscall('priority of the thread', NR.sched_setattr, [0, program.data(attributes), 0], options);
  }
  if (ioPriority !== undefined) {
    program.syscall('I/O priority', NR.ioprio_set, [IOPRIO_WHO_PROCESS, 0, ioPriority], options);
  }
  if (timerSlack !== undefined) {
    program.syscall('timer slack', NR.prctl, [PR_SET_TIMERSLACK, timerSlack, 0, 0, 0], options);
  }
}
