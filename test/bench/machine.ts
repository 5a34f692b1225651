/**
 * The machine that figures come from. Facts: proc(5), Documentation/admin-guide/mm/transhuge.rst.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

export interface Machine {
  readonly kernel: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  /** When the kernel gives anonymous memory huge pages: `always`, `madvise` or `never`. */
  readonly hugePages: string;
  readonly hypervisor: boolean;
  /** Load average of the last minute, when the benchmark began. */
  readonly load: number;
  readonly node: string;
}

export function describeMachine(): Machine {
  const [cpu] = cpus();
  return {
    kernel: release(),
    cpu: cpu?.model ?? 'unknown',
    cores: cpus().length,
    memoryBytes: totalmem(),
    hugePages: chosen(readOr('/sys/kernel/mm/transparent_hugepage/enabled', '[unknown]')),
    hypervisor: / hypervisor( |$)/m.test(readOr('/proc/cpuinfo', '')),
    load: loadavg()[0] ?? 0,
    node: process.version,
  };
}

/** The bracketed word of `always [madvise] never`. */
const chosen = (text: string): string => /\[(\w+)\]/.exec(text)?.[1] ?? 'unknown';

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

/** Bytes that can be used without swapping (MemAvailable). */
export function availableMemory(): number {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(readOr('/proc/meminfo', ''))?.[1];
  return Number(kib ?? 0) * 1024;
}
