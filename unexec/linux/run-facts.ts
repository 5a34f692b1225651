/**
 * What of a run's words can be recognised: when it ran, its numbers, the random bytes that the kernel gave
 * it. Facts: proc(5) (auxv, stat, uptime), getauxval(3) (AT_RANDOM).
 *
 * @module
 */
import { AT } from '../../formats/elf/index.ts';
import type { MemoryReader } from '../image.ts';
import type { RunFacts } from '../pointers/diagnose.ts';
import { readAuxv, readProc, readProcNumbers, readStat } from './proc.ts';

/** Fields of /proc/PID/stat. */
const FIELD = { ppid: 4, pgrp: 5, session: 6, starttime: 22 };
/** starttime counts in USER_HZ, which is 100 on all machines. */
const TICK = 10_000_000n;
const SECOND = 1_000_000_000n;

/** Facts of a process that stands still. Its auxiliary vector is its own only where no emulator runs it. */
export function runFacts(pid: number, memory: MemoryReader): RunFacts {
  const stat = readStat(pid);
  const uptime = BigInt(Math.round(Number(readProc('/proc/uptime').split(' ')[0]) * 1000)) * 1_000_000n;
  const age = uptime - stat(FIELD.starttime) * TICK;
  const realtime = BigInt(Date.now()) * 1_000_000n;
  const monotonic = process.hrtime.bigint();
  const threads = readProcNumbers(`/proc/${pid}/task`).filter(tid => tid !== pid);
  return {
    realtime: { from: realtime - age - SECOND, to: realtime },
    monotonic: { from: monotonic - age - SECOND, to: monotonic },
    ids: [pid, ...threads, ...[FIELD.ppid, FIELD.pgrp, FIELD.session].map(field => Number(stat(field)))],
    ...randomOf(pid, memory),
  };
}

function randomOf(pid: number, memory: MemoryReader): Pick<RunFacts, 'random'> {
  const address = readAuxv(pid).values.get(AT.AT_RANDOM);
  if (address === undefined) return {};
  const random = new Uint8Array(16);
  memory.read(address, random);
  return { random };
}
