/**
 * Attaches to a process, makes its threads call, and is killed after so many calls; run in a process of its own.
 *
 * @module
 */

import { ARCHITECTURE } from '../../unexec/linux/arch.ts';
import { findSyscallInstruction } from '../../unexec/linux/borrow.ts';
import { ProcessMemory } from '../../unexec/linux/memory.ts';
import { parseSmaps, readProc } from '../../unexec/linux/proc.ts';
import { nameRegions } from '../../unexec/linux/regions.ts';
import { RemoteThread } from '../../unexec/linux/remote.ts';
import { seizeProcess } from '../../unexec/linux/seize.ts';
import { Tracee } from '../../unexec/linux/tracee.ts';
import { undoInterruption } from '../../unexec/linux/undo-interruption.ts';
import { findWayBack } from '../../unexec/linux/way-back.ts';

const [pid = 0, calls = 0, which = 0] = process.argv.slice(2).map(Number);
const tracee = new Tracee(pid, undefined);
seizeProcess(pid, tracee);
await tracee.stopAll(() => true);
undoInterruption(tracee);
const memory = new ProcessMemory(pid);
const regions = nameRegions(parseSmaps(readProc(`/proc/${pid}/smaps`)), []);
const tids = [...tracee.threads.keys()];
const pointers = tids.map(tid => ARCHITECTURE.stackPointer(ARCHITECTURE.getRegisters(tid)));
const wayBack = findWayBack(regions, pointers, memory);
if (wayBack === undefined) throw new Error('there is no way back');
const thread = new RemoteThread(
  tids[which % tids.length] ?? pid,
  findSyscallInstruction(regions, memory),
  wayBack,
);
memory.write(wayBack.scratch, new Uint8Array(256).fill(0xee));
for (let i = 0; i < calls; i++) thread.call('sigaltstack', 0, wayBack.scratch);
process.stdout.write('calling\n');
process.kill(process.pid, 'SIGKILL');
// Not before it is gone.
for (;;);
