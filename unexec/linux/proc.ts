/**
 * What /proc/PID says, parsed: smaps, status, stat, auxv, links. Facts: proc(5),
 * Documentation/filesystems/proc.rst of Linux 6.1.
 *
 * @module
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { UnexecError } from '../errors.ts';

/** A file of /proc as text. @throws UnexecError `PROCESS_GONE`, `PROC_UNREADABLE` */
export function readProc(path: string): string {
  return readProcBytes(path).toString('latin1');
}

export function readProcBytes(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw procError(path, cause);
  }
}

export function readProcLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch (cause) {
    throw procError(path, cause);
  }
}

function procError(path: string, cause: unknown): UnexecError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
  return code === 'ENOENT' || code === 'ESRCH'
    ? new UnexecError('PROCESS_GONE', `${path} is gone: the process has ended, or /proc is not mounted`, {
        cause,
      })
    : new UnexecError('PROC_UNREADABLE', `${path} cannot be read: ${code}`, {
        cause,
        hint: 'the process must belong to you, and be dumpable (see ptrace(2), "Ptrace access mode checking")',
      });
}

/** Numbered entries of a /proc directory (`task`, `fd`), sorted. */
export function readProcNumbers(path: string): number[] {
  try {
    return readdirSync(path)
      .map(Number)
      .sort((a, b) => a - b);
  } catch (cause) {
    throw procError(path, cause);
  }
}

/** One entry of /proc/PID/smaps. */
export interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
  /** `rwxp` */
  readonly permissions: string;
  readonly offset: number;
  readonly device: string;
  readonly inode: number;
  readonly name: string;
  /** Resident and swapped bytes; 0 means never touched (for private anonymous memory). */
  readonly populated: number;
  /** Where the CPU has protection keys. */
  readonly protectionKey?: number;
  readonly flags: ReadonlySet<string>;
}

const HEADER = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) (\S+) (\d+) *(.*)$/;

/** Parses /proc/PID/smaps. */
export function parseSmaps(text: string): Mapping[] {
  const mappings: Mapping[] = [];
  let populated = 0;
  let protectionKey: number | undefined;
  let header: RegExpExecArray | undefined;
  for (const line of text.split('\n')) {
    const match = HEADER.exec(line);
    if (match !== null) {
      header = match;
      populated = 0;
      protectionKey = undefined;
    } else if (line.startsWith('Rss:') || line.startsWith('Swap:')) {
      populated += Number.parseInt(line.slice(line.indexOf(':') + 1), 10) * 1024;
    } else if (line.startsWith('ProtectionKey:')) {
      protectionKey = Number(line.slice('ProtectionKey:'.length));
    } else if (line.startsWith('VmFlags:') && header !== undefined) {
      const [, start = '', end = '', permissions = '', offset = '', device = '', inode = '', name = ''] =
        header;
      mappings.push({
        start: BigInt(`0x${start}`),
        end: BigInt(`0x${end}`),
        permissions,
        offset: Number.parseInt(offset, 16),
        device,
        inode: Number(inode),
        name: unescapeOctal(name),
        populated,
        ...(protectionKey === undefined ? {} : { protectionKey }),
        flags: new Set(line.slice('VmFlags:'.length).trim().split(/\s+/)),
      });
      header = undefined;
    }
  }
  return mappings;
}

/** /proc escapes a newline in a path as `\012`. Paths stay byte strings (latin1) until here. */
const unescapeOctal = (name: string): string =>
  Buffer.from(name.replaceAll('\\012', '\n'), 'latin1').toString();

/** /proc/PID/status as a map of its lines. */
export function readStatus(pid: number, tid = pid): ReadonlyMap<string, string> {
  const entries = readProc(`/proc/${pid}/task/${tid}/status`)
    .split('\n')
    .map(line => line.split(':\t', 2));
  return new Map(entries.map(([key = '', value = '']) => [key, value]));
}

/** Fields of /proc/PID/stat by their number in proc(5) (the first one is 1). */
export function readStat(pid: number): (field: number) => bigint {
  const text = readProc(`/proc/${pid}/stat`);
  // comm, the second field, may hold spaces and parentheses: count from behind its last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return field => BigInt(fields[field - 3] ?? '0');
}

/** State of a thread, one letter (proc(5): R, S, D, T, t, Z, …); `X` when there is none any more. */
export function threadState(pid: number, tid = pid): string {
  try {
    const stat = readProc(`/proc/${pid}/task/${tid}/stat`);
    return stat[stat.lastIndexOf(')') + 2] ?? 'X';
  } catch (error) {
    if (error instanceof UnexecError && error.code === 'PROCESS_GONE') return 'X';
    throw error;
  }
}

/** Pairs of the auxiliary vector. */
export function readAuxv(pid: number): {
  readonly bytes: Uint8Array;
  readonly values: ReadonlyMap<number, bigint>;
} {
  const bytes = new Uint8Array(readProcBytes(`/proc/${pid}/auxv`));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Map<number, bigint>();
  for (let at = 0; at + 16 <= bytes.length; at += 16) {
    values.set(Number(view.getBigUint64(at, true)), view.getBigUint64(at + 8, true));
  }
  return { bytes, values };
}

/** Pids of the children of all threads. */
export function readChildren(pid: number): number[] {
  return readProcNumbers(`/proc/${pid}/task`).flatMap(tid =>
    readProc(`/proc/${pid}/task/${tid}/children`)
      .split(' ')
      .filter(word => word !== '' && word !== '\n')
      .map(Number),
  );
}
