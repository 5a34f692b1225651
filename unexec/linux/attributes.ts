/**
 * What a program has set for its process as a whole: resource limits and attributes of prctl(2).
 * Facts: getrlimit(2), prctl(2), proc(5) (limits); linux/prctl.h, asm-generic/resource.h of Linux 6.1.
 *
 * @module
 */
import { viewOf } from '../../formats/struct.ts';
import type { ProcessAttribute, ResourceLimit } from '../image.ts';
import type { ProcessMemory } from './memory.ts';
import { readProc } from './proc.ts';
import type { RemoteThread } from './remote.ts';

const SYS_prctl = 157;
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

const ATTRIBUTES: readonly Attribute[] = [
  { name: 'PR_SET_PDEATHSIG', set: 1, get: 2, usual: 0, stores: true },
  { name: 'PR_SET_DUMPABLE', set: 4, get: 3, usual: 1 },
  { name: 'PR_SET_TIMERSLACK', set: 29, get: 30, usual: 50_000 },
  { name: 'PR_SET_CHILD_SUBREAPER', set: 36, get: 37, usual: 0, stores: true },
  { name: 'PR_SET_NO_NEW_PRIVS', set: 38, get: 39, usual: 0 },
  { name: 'PR_SET_THP_DISABLE', set: 41, get: 42, usual: 0 },
];

/** Attributes that are not what a new process has. `scratch`: memory of the process, 8 bytes. */
export function captureAttributes(
  main: RemoteThread,
  memory: ProcessMemory,
  scratch: bigint,
): ProcessAttribute[] {
  return ATTRIBUTES.flatMap(({ name, set, get, usual, stores }) => {
    const result = Number(main.call(SYS_prctl, get, stores === true ? scratch : 0n, 0, 0, 0));
    if (result < 0) return [];
    const value = stores === true ? viewOf(memory.bytes(scratch, 4)).getInt32(0, true) : result;
    return value === usual ? [] : [{ name, option: set, value }];
  });
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
