/**
 * Words in which a dynamic loader keeps how long it took (glibc's ld.so does, for LD_DEBUG=statistics): no symbol tells
 * where they are, and no option turns them off. They are found by an experiment: a small program is started twice as
 * the frozen one was, and what differs in the loader's variables when main is called is a time.
 *
 * @module
 */
import { type Module, PAGE, PAGE_BIG } from '../image.ts';
import { ProcessMemory } from '../linux/memory.ts';
import { findModules } from '../linux/modules.ts';
import { parseSmaps, readAuxv, readProc } from '../linux/proc.ts';
import { DEFAULT_PATH, launch } from './launch.ts';
import { runToFreezePoint } from './run-to-freeze-point.ts';

const PROGRAM = '/bin/true';
const AT_BASE = 7;
const AT_ENTRY = 9;
const WORD = 8;

/** Addresses of such words in a process that has these modules; none where its loader is another one. */
export async function loaderClocks(modules: readonly Module[]): Promise<bigint[]> {
  const [first, second] = [await loaderAtMain(), await loaderAtMain()];
  const own = modules.find(({ path }) => path === first?.path);
  if (first === undefined || second === undefined || own === undefined) return [];
  const words: bigint[] = [];
  for (const [offset, bytes] of first.variables) {
    const other = second.variables.get(offset);
    if (other === undefined) continue;
    for (let at = 0; at < bytes.length; at += WORD) {
      if (bytes.compare(other, at, at + WORD, at, at + WORD) !== 0)
        words.push(own.start + offset + BigInt(at));
    }
  }
  return words;
}

interface Loader {
  readonly path: string;
  /** By their distance from the loader's start: its mappings that it has written to. */
  readonly variables: ReadonlyMap<bigint, Buffer>;
}

async function loaderAtMain(): Promise<Loader | undefined> {
  const nothing = { args: [], env: [`PATH=${DEFAULT_PATH}`], keepEnv: false };
  const tracee = await launch(PROGRAM, { ...nothing, stdio: [0, 1, 2], fixed: true });
  const memory = new ProcessMemory(tracee.pid);
  try {
    await runToFreezePoint(tracee, { type: 'main' }, true);
    const { values } = readAuxv(tracee.pid);
    const mappings = parseSmaps(readProc(`/proc/${tracee.pid}/smaps`));
    const base = values.get(AT_BASE);
    const loader = findModules(mappings, memory, values.get(AT_ENTRY) ?? 0n).find(
      ({ start }) => start === base,
    );
    if (loader === undefined) return undefined;
    const changed = mappings.flatMap(({ start, end, name, inode }) => {
      if (name !== loader.path) return [];
      const region = { start, size: Number(end - start), name, inode, ...PRIVATE };
      return [...memory.changed(region)].map(({ first, count }): [bigint, Buffer] => {
        const address = start + BigInt(first) * PAGE_BIG;
        return [address - loader.start, Buffer.from(memory.bytes(address, count * PAGE))];
      });
    });
    return { path: loader.path, variables: new Map(changed) };
  } finally {
    memory.close();
    tracee.kill();
  }
}

const PRIVATE = { read: true, write: false, execute: false, shared: false } as const;
