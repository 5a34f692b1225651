/**
 * What a program has set for its process as a whole: resource limits, attributes that have system calls of
 * their own, and files of /proc. Facts: getrlimit(2), prctl(2), personality(2), membarrier(2), proc(5) (limits,
 * personality, oom_score_adj, coredump_filter); linux/prctl.h, asm-generic/resource.h, linux/membarrier.h of
 * Linux 6.1, asm/prctl.h.
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { ProcessAttribute, ProcessSetting, ResourceLimit } from '../image.ts';
import type { ProcessMemory } from './memory.ts';
import { readProc } from './proc.ts';
import type { RemoteThread } from './remote.ts';
import { ARCH } from './this-machine.ts';

/** Rows of /proc/PID/limits. */
const RESOURCES: ReadonlyMap<string, number> = new Map([
  ['Max cpu time', 0],
  ['Max file size', 1],
  ['Max data size', 2],
  ['Max stack size', 3],
  ['Max core file size', 4],
  ['Max resident set', 5],
  ['Max processes', 6],
  ['Max open files', 7],
  ['Max locked memory', 8],
  ['Max address space', 9],
  ['Max file locks', 10],
  ['Max pending signals', 11],
  ['Max msgqueue size', 12],
  ['Max nice priority', 13],
  ['Max realtime priority', 14],
  ['Max realtime timeout', 15],
]);
const INFINITY = 0xffff_ffff_ffff_ffffn;

interface Attribute {
  readonly name: string;
  readonly set: number;
  readonly get: number;
  /** The value that a new process has. */
  readonly usual: number;
  /** The call stores the value rather than returning it. */
  readonly stores?: boolean;
}

/** In the order in which they are set again: memory that may be executed is mapped by then. */
const ATTRIBUTES: readonly Attribute[] = [
  { name: 'PR_SET_PDEATHSIG', set: 1, get: 2, usual: 0, stores: true },
  { name: 'PR_SET_TSC', set: 26, get: 25, usual: 1, stores: true },
  { name: 'PR_SET_CHILD_SUBREAPER', set: 36, get: 37, usual: 0, stores: true },
  { name: 'PR_SET_NO_NEW_PRIVS', set: 38, get: 39, usual: 0 },
  { name: 'PR_SET_THP_DISABLE', set: 41, get: 42, usual: 0 },
  { name: 'PR_SET_TAGGED_ADDR_CTRL', set: 55, get: 56, usual: 0 },
  { name: 'PR_SET_IO_FLUSHER', set: 57, get: 58, usual: 0 },
  { name: 'PR_SET_MEMORY_MERGE', set: 67, get: 68, usual: 0 },
  { name: 'PR_SET_MDWE', set: 65, get: 66, usual: 0 },
  // Last, as it takes /proc/self away.
  { name: 'PR_SET_DUMPABLE', set: 4, get: 3, usual: 1 },
];

/** Attributes that are not what a new process has. `scratch`: memory of the process, 8 bytes. */
export function captureAttributes(
  pid: number,
  main: RemoteThread,
  memory: Pick<ProcessMemory, 'bytes'>,
  scratch: bigint,
): ProcessAttribute[] {
  return [
    ...registeredBarriers(main),
    ...largeRegisters(main, memory, scratch),
    ...personality(pid),
    ...ATTRIBUTES.flatMap(({ name, set, get, usual, stores }): ProcessAttribute[] => {
      const result = Number(main.call('prctl', get, stores === true ? scratch : 0n, 0, 0, 0));
      if (result < 0) return [];
      const value = stores === true ? viewOf(memory.bytes(scratch, 4)).getInt32(0, true) : result;
      return value === usual ? [] : [{ name, call: 'prctl', args: [set, value, 0, 0, 0] }];
    }),
  ];
}

/** Commands of membarrier(2), a bit each. */
const MEMBARRIER = {
  GET_REGISTRATIONS: 1 << 9,
  PRIVATE_EXPEDITED: 1 << 4,
  PRIVATE_EXPEDITED_SYNC_CORE: 1 << 6,
};

/**
 * Without its registration a barrier fails, where programs have no other way. Linux tells of registrations
 * from 6.3 on; before, the process gets those that programs use.
 */
function registeredBarriers(main: RemoteThread): ProcessAttribute[] {
  const told = Number(main.call('membarrier', MEMBARRIER.GET_REGISTRATIONS, 0, 0));
  const registered = told < 0 ? MEMBARRIER.PRIVATE_EXPEDITED | MEMBARRIER.PRIVATE_EXPEDITED_SYNC_CORE : told;
  return Array.from({ length: 31 }, (_, bit) => 1 << bit)
    .filter(command => (registered & command) !== 0)
    .map(command => ({ name: 'registration of membarrier', call: 'membarrier', args: [command, 0, 0] }));
}

const ARCH_GET_XCOMP_PERM = 0x1022;
const ARCH_REQ_XCOMP_PERM = 0x1023;
/** The state component of AMX tiles, which a process must ask for. */
const TILE_DATA = 18;

/** Registers that are only had on request (Documentation/arch/x86/xstate.rst); kernels before 5.16 have none. */
function largeRegisters(
  main: RemoteThread,
  memory: Pick<ProcessMemory, 'bytes'>,
  scratch: bigint,
): ProcessAttribute[] {
  if (ARCH !== 'x86_64' || main.call('arch_prctl', ARCH_GET_XCOMP_PERM, scratch) < 0n) return [];
  const permitted = viewOf(memory.bytes(scratch, 8)).getBigUint64(0, true);
  return (permitted & (1n << BigInt(TILE_DATA))) === 0n
    ? []
    : [{ name: 'permission for AMX tiles', call: 'arch_prctl', args: [ARCH_REQ_XCOMP_PERM, TILE_DATA] }];
}

function personality(pid: number): ProcessAttribute[] {
  const own = readProc(`/proc/${pid}/personality`);
  if (own === readProc('/proc/self/personality')) return [];
  return [{ name: 'personality', call: 'personality', args: [Number.parseInt(own, 16)] }];
}

/** Files of /proc/self in which a process says how it wants to be treated. */
const SETTINGS = ['oom_score_adj', 'coredump_filter'] as const;

/** Those that differ from ours. */
export function captureSettings(pid: number): ProcessSetting[] {
  return SETTINGS.flatMap(name => {
    const value = settingOf(pid, name);
    if (value === undefined || value === settingOf('self', name)) return [];
    // Masks are told in hexadecimal without a mark, and taken as C writes numbers.
    return [{ name, value: name === 'coredump_filter' ? `0x${value}` : value }];
  });
}

function settingOf(pid: number | 'self', name: (typeof SETTINGS)[number]): string | undefined {
  try {
    return readProc(`/proc/${pid}/${name}`).trim();
  } catch {
    return undefined; // a kernel without it
  }
}

/** Limits that differ from ours, which the process was started with. */
export function captureLimits(pid: number): ResourceLimit[] {
  const inherited = parseLimits(readProc('/proc/self/limits'));
  return parseLimits(readProc(`/proc/${pid}/limits`)).flatMap(limit => {
    const ours = inherited.find(({ resource }) => resource === limit.resource);
    const hard = limit.hard === ours?.hard ? undefined : limit.hard;
    return limit.soft === ours?.soft && hard === undefined ? [] : [{ ...limit, hard }];
  });
}

function parseLimits(text: string): { name: string; resource: number; soft: bigint; hard: bigint }[] {
  return text.split('\n').flatMap(line => {
    const [, name = '', soft = '', hard = ''] =
      /^(.+?)\s{2,}(\d+|unlimited)\s+(\d+|unlimited)/.exec(line) ?? [];
    const resource = RESOURCES.get(name);
    if (resource === undefined) return [];
    return [{ name, resource, soft: amount(soft), hard: amount(hard) }];
  });
}

const amount = (text: string): bigint => (text === 'unlimited' ? INFINITY : BigInt(text));
