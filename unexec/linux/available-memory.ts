/**
 * How much memory there is for us, as the machine and our control groups have it. Facts: proc(5) (meminfo),
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const CGROUPS = '/sys/fs/cgroup';

/** Reads a file; undefined where there is none. */
export type ReadFile = (path: string) => string | undefined;

/** Bytes that can be taken without swapping, and without reaching a limit of a control group. */
export function availableMemory(read: ReadFile = readFile): number {
  const meminfo = read('/proc/meminfo') ?? '';
  const available = Number(/^MemAvailable:\s*(\d+) kB/m.exec(meminfo)?.[1] ?? 0) * 1024;
  return Math.max(0, Math.min(available, ...leftInGroups(read)));
}

/** Of our group and all above it, what is left of each limit. */
function leftInGroups(read: ReadFile): number[] {
  const left: number[] = [];
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [id, controllers = '', path = ''] = line.split(':');
    const version2 = id === '0';
    if (!version2 && !controllers.split(',').includes('memory')) continue;
    const [root, limitName, usedName] = version2
      ? [CGROUPS, 'memory.max', 'memory.current']
      : [`${CGROUPS}/memory`, 'memory.limit_in_bytes', 'memory.usage_in_bytes'];
    for (let group = path; group !== ''; group = group === '/' ? '' : dirname(group)) {
      const limit = Number(read(join(root, group, limitName)) ?? 'none');
      const used = Number(read(join(root, group, usedName)) ?? 'none');
      // `max`: no limit.
      if (Number.isFinite(limit) && Number.isFinite(used)) left.push(limit - used);
    }
  }
  return left;
}

function readFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

/** Bytes that the copy of a process may take, which others wait for to go on: half of what is available. */
export const memoryForCopy = (): number => availableMemory() / 2;
