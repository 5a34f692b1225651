/**
 * Has every module of a process call malloc and realloc of x86_64.S in place of the C library's: the words to which
 * the loader has bound their imports are overwritten, those of the C library itself too. Where a library brings a
 * malloc of its own, everything stays as it is.
 *
 * To be done when ld.so has relocated everything and called no constructor yet: it then calls `_dl_debug_state`
 * (link.h, `struct r_debug`, RT_CONSISTENT), which is there for debuggers.
 *
 * @module
 */
import {
  FormatError,
  readDynamicRelocations,
  readDynamicSymbols,
  readElf,
  relocationsOf,
} from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { FileSource } from '../file-source.ts';
import type { Module } from '../image.ts';
import { findSyscallInstruction } from '../linux/borrow.ts';
import { Breakpoints } from '../linux/breakpoints.ts';
import { ProcessMemory } from '../linux/memory.ts';
import { findModules } from '../linux/modules.ts';
import { parseSmaps, readAuxv, readProc } from '../linux/proc.ts';
import { nameRegions } from '../linux/regions.ts';
import { RemoteThread } from '../linux/remote.ts';
import { SIGNAL } from '../linux/stop.ts';
import type { Tracee } from '../linux/tracee.ts';
import { symbolsNamed } from '../module-symbols.ts';
import { ZEROED_X86_64 } from './x86_64.ts';

/** Where the functions of x86_64.S are, and what they call. */
const OFFSETS = { malloc: 0x00, realloc: 0x20, calloc: 0xc0, free: 0xc8 } as const;
const PROT_READ_EXEC = 5;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const PAGE = 4096;
const AT_ENTRY = 9;
const AT_BASE = 7;

/** Address of a function that is called now → the one of the C library whose place it has taken. */
export type Replaced = ReadonlyMap<bigint, bigint>;

/**
 * Runs a process that stands in its exec stop to where its libraries are relocated, and replaces the functions.
 * A process that ends before is left to whoever looks at it next. Empty where nothing could be replaced.
 */
export async function replaceAllocations(tracee: Tracee): Promise<Replaced> {
  const memory = new ProcessMemory(tracee.pid);
  const breakpoints = new Breakpoints(memory);
  try {
    const notify = notifyFunction(tracee.pid, memory);
    if (notify === undefined) return new Map();
    breakpoints.insert(notify);
    tracee.resume(tracee.pid, 'run');
    for (;;) {
      const stop = await tracee.next();
      if (stop === undefined) continue;
      if (stop.type === 'exiting' || stop.type === 'ended') return new Map();
      const isHit = stop.type === 'signal' && stop.signal === SIGNAL.SIGTRAP;
      if (isHit && breakpoints.hit(stop.tid) !== undefined) {
        const replaced = replaceIn(tracee.pid, memory);
        if (replaced.size > 0) return replaced;
        breakpoints.stepOver(stop.tid, notify);
      }
      tracee.resume(stop.tid, 'run', stop.type === 'signal' && !isHit ? stop.signal : 0);
    }
  } finally {
    if (tracee.stopped && tracee.threads.size > 0) breakpoints.removeAll();
    memory.close();
  }
}

/** By which ld.so tells debuggers that libraries have been loaded. */
function notifyFunction(pid: number, memory: ProcessMemory): bigint | undefined {
  const base = readAuxv(pid).values.get(AT_BASE);
  const loader = modulesOf(pid, memory).find(({ start }) => start === base);
  return loader && symbolsNamed(loader, ['_dl_debug_state'], 'dynamic')[0]?.address;
}

function modulesOf(pid: number, memory: ProcessMemory): Module[] {
  const mappings = parseSmaps(readProc(`/proc/${pid}/smaps`));
  return findModules(mappings, memory, readAuxv(pid).values.get(AT_ENTRY) ?? 0n);
}

function replaceIn(pid: number, memory: ProcessMemory): Map<bigint, bigint> {
  const modules = modulesOf(pid, memory);
  const libc = modules.find(({ path }) => path.endsWith('/libc.so.6'));
  if (libc === undefined) return new Map();
  const names = ['malloc', 'realloc', 'calloc', 'free'] as const;
  const own = new Map(symbolsNamed(libc, names, 'dynamic').map(({ name, address }) => [name, address]));
  const words = modules.flatMap(module => boundWords(module, memory, own));
  if (words.length === 0 || names.some(name => !own.has(name))) return new Map();

  const code = mapCode(pid, memory);
  const bytes = new Uint8Array(PAGE);
  bytes.set(ZEROED_X86_64);
  for (const name of ['calloc', 'free'] as const) {
    viewOf(bytes).setBigUint64(OFFSETS[name], own.get(name) ?? 0n, true);
  }
  memory.write(code, bytes);
  const replaced = new Map<bigint, bigint>();
  const word = new Uint8Array(8);
  for (const { address, name } of words) {
    const replacement = code + BigInt(OFFSETS[name]);
    viewOf(word).setBigUint64(0, replacement, true);
    memory.write(address, word);
    replaced.set(replacement, own.get(name) ?? 0n);
  }
  return replaced;
}

/** Words of a module that the loader has bound to malloc or realloc of the C library. */
function boundWords(
  { path, bias }: Module,
  memory: ProcessMemory,
  own: ReadonlyMap<string, bigint>,
): { readonly address: bigint; readonly name: 'malloc' | 'realloc' }[] {
  let source: FileSource;
  try {
    source = new FileSource(path);
  } catch {
    return []; // a file that is gone: it calls the C library's own
  }
  try {
    const file = readElf(source);
    const symbols = readDynamicSymbols(file);
    const { rela, jmprel } = readDynamicRelocations(file);
    return [...relocationsOf(rela), ...relocationsOf(jmprel)].flatMap(({ offset, symbol }) => {
      const name = symbol === 0 ? undefined : symbols[symbol]?.name;
      if (name !== 'malloc' && name !== 'realloc') return [];
      const address = bias + offset;
      const value = viewOf(memory.bytes(address, 8)).getBigUint64(0, true);
      return value === own.get(name) ? [{ address, name }] : [];
    });
  } catch (error) {
    if (error instanceof FormatError) return [];
    throw error;
  } finally {
    source.close();
  }
}

function mapCode(pid: number, memory: ProcessMemory): bigint {
  const regions = nameRegions(parseSmaps(readProc(`/proc/${pid}/smaps`)), []);
  const remote = new RemoteThread(pid, findSyscallInstruction(regions, memory));
  const code = remote.call('mmap', 0, PAGE, PROT_READ_EXEC, MAP_PRIVATE_ANONYMOUS, -1, 0);
  remote.end();
  return code;
}
