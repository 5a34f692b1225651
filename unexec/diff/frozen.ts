/**
 * What a manifest says of a process, in the words of a comparison: of a frozen one, and of one that stands.
 *
 * @module
 */
import type { MemoryReader } from '../image.ts';
import type { Fields } from '../inspect/fields.ts';
import type { RunFacts } from '../pointers/diagnose.ts';
import type { Area } from './side.ts';
import type { Auxv } from './stack.ts';

/** Regions that the kernel makes anew in each process. */
const KERNELS: ReadonlySet<string> = new Set(['vdso', 'vvar']);
/** A run began at most so long before it was frozen, as far as its times are to be recognised: an hour. */
const LONGEST_RUN = 3_600_000_000_000n;
const SECOND = 1_000_000_000n;

/** The regions, but for [vsyscall], which is in every process at the same address and not in user space. */
export function frozenAreas(manifest: Fields): Area[] {
  let module = '';
  return manifest
    .objects('regions')
    .map(region => {
      const kind = region.text('kind');
      const path = region.text('name');
      const permissions = region.text('permissions');
      if (path !== '') module = path;
      return {
        start: region.bigAddress('start'),
        size: region.whole('size'),
        read: permissions[0] === 'r',
        write: permissions[1] === 'w',
        execute: permissions[2] === 'x',
        shared: permissions[3] === 's',
        name: path || (kind === 'module-data' ? `${module} bss` : kind),
        kind,
        inode: 0,
        leavesPages: region.has('inFile'),
        // What is shared is in a file of its own, or in a part of ours.
        isCompared: !KERNELS.has(kind) && permissions[3] !== 's',
      };
    })
    .filter(({ kind }) => kind !== 'vsyscall');
}

/** What the words of this run can be recognised by. */
export function frozenFacts(manifest: Fields, vector: Auxv | undefined, memory: MemoryReader): RunFacts {
  const frozenAt = BigInt(Date.parse(manifest.text('frozenAt')) || 0) * 1_000_000n;
  const random = new Uint8Array(16);
  if (vector !== undefined) memory.read(vector.random, random);
  return {
    realtime: { from: frozenAt - LONGEST_RUN, to: frozenAt + SECOND },
    ids: manifest.objects('threads').map(thread => thread.whole('tid')),
    ...(vector === undefined ? {} : { random }),
  };
}
