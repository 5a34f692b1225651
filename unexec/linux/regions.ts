/**
 * The regions of a process from its smaps, named by kind. Facts: proc(5) (maps, smaps).
 *
 * @module
 */
import { statSync } from 'node:fs';
import type { Reason } from '../errors.ts';
import type { Module, Region, RegionKind } from '../image.ts';
import type { Mapping } from './proc.ts';

/** Regions in the order of their addresses. What the kernel maps by itself is told by `kind`. */
export function nameRegions(mappings: readonly Mapping[], modules: readonly Module[]): Region[] {
  return mappings.map(mapping => ({
    start: mapping.start,
    size: Number(mapping.end - mapping.start),
    read: mapping.permissions[0] === 'r',
    write: mapping.permissions[1] === 'w',
    execute: mapping.permissions[2] === 'x',
    shared: mapping.permissions[3] === 's',
    offset: mapping.offset,
    device: mapping.device,
    inode: mapping.inode,
    name: mapping.name,
    kind: kindOf(mapping, modules),
    flags: mapping.flags,
    ...sizeOfSharedFile(mapping),
    ...(locksOnFault(mapping) ? { lockedOnFault: true } : {}),
    ...(mapping.protectionKey === undefined ? {} : { protectionKey: mapping.protectionKey }),
  }));
}

/** Marks what maps a file that is named after the process: /tmp/hsperfdata_USER/PID of Java, removed at its end. */
export function markOwnFiles(regions: readonly Region[], pid: number): Region[] {
  const isOwn = ({ shared, inode, name }: Region): boolean =>
    shared && inode !== 0 && name.endsWith(`/${pid}`);
  return regions.map(region => (isOwn(region) ? { ...region, ownFile: true } : region));
}

/** A shared mapping of a file that exists leads to that file again, which must not be shorter then. */
function sizeOfSharedFile({ permissions, inode, name }: Mapping): { fileSize?: number } {
  if (permissions[3] !== 's' || inode === 0) return {};
  const size = statSync(name, { throwIfNoEntry: false })?.size;
  return size === undefined ? {} : { fileSize: size };
}

/** Locking makes all pages resident; where some are not, they are locked when they come (MLOCK_ONFAULT). */
const locksOnFault = ({ flags, populated, start, end }: Mapping): boolean =>
  flags.has('lo') && populated < Number(end - start);

function kindOf(mapping: Mapping, modules: readonly Module[]): RegionKind {
  switch (mapping.name) {
    case '[heap]':
      return 'heap';
    case '[stack]':
      return 'stack';
    case '[vdso]':
      return 'vdso';
    case '[vsyscall]':
      return 'vsyscall';
  }
  if (mapping.name.startsWith('[vvar')) return 'vvar';
  if (mapping.permissions[3] === 's') return 'shared';
  const inModule = modules.some(
    module =>
      module.start <= mapping.start &&
      mapping.start < module.end &&
      (mapping.inode === 0 || mapping.name === module.path),
  );
  if (inModule) return mapping.permissions[1] === 'w' ? 'module-data' : 'module-text';
  return mapping.inode === 0 ? 'anonymous' : 'file';
}

/** Mappings that no new process can have again. */
export function refuseRegions(regions: readonly Region[]): Reason[] {
  return regions.flatMap(region => {
    if (region.kind === 'vvar' || region.kind === 'vdso' || region.kind === 'vsyscall') return [];
    const found = UNSUPPORTED.find(({ is }) => is(region));
    if (found === undefined) return [];
    const where = `0x${region.start.toString(16)} (${region.name || 'anonymous'})`;
    const remedy = found.remedy ?? 'unmap it before the freeze point';
    return [{ code: found.code, what: `the mapping at ${where} is ${found.noun}`, remedy }];
  });
}

interface Unsupported {
  readonly code: string;
  readonly noun: string;
  readonly remedy?: string;
  is(region: Region): boolean;
}

const UNSUPPORTED: readonly Unsupported[] = [
  {
    code: 'SYSV_MEMORY',
    noun: 'a System V shared memory segment',
    remedy: 'detach it (shmdt) before the freeze point, or share memory by a file or MAP_ANONYMOUS',
    is: ({ name }) => name.startsWith('/SYSV'),
  },
  {
    code: 'KERNEL_RING',
    noun: 'a ring shared with the kernel',
    is: ({ name }) => name.startsWith('/[aio]') || name.startsWith('anon_inode:[io_uring]'),
  },
  {
    code: 'SECRET_MEMORY',
    noun: 'secret memory (memfd_secret), which nobody else can read',
    is: ({ name }) => name.startsWith('/secretmem'),
  },
  {
    code: 'TAGGED_MEMORY',
    noun: 'memory with tags (MTE)',
    remedy: 'start the program without them: GLIBC_TUNABLES=glibc.mem.tagging=0',
    is: ({ flags }) => flags.has('mt'),
  },
  {
    code: 'DEVICE_MEMORY',
    noun: 'memory of a device or of the kernel',
    is: ({ name, flags }) => name.startsWith('anon_inode:') || flags.has('io') || flags.has('pf'),
  },
  {
    code: 'SHADOW_STACK',
    noun: 'a shadow stack',
    remedy: 'start the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off (--env)',
    is: ({ flags }) => flags.has('ss'),
  },
  {
    code: 'HUGE_PAGES',
    noun: 'made of huge pages (MAP_HUGETLB)',
    remedy: 'have the program use transparent huge pages (madvise with MADV_HUGEPAGE)',
    is: ({ flags }) => flags.has('ht'),
  },
  {
    code: 'MEMORY_KEYS',
    noun: 'protected by a memory key (pkey_mprotect)',
    remedy: 'choose a freeze point before pkey_mprotect, or run the program on a CPU without protection keys',
    // Memory that may only be executed has a key by itself.
    is: ({ protectionKey, read }) => protectionKey !== undefined && protectionKey !== 0 && read,
  },
];

/**
 * Shared memory that no other process finds by a name: MAP_ANONYMOUS, memfd, a file that was deleted or that
 * belongs to this life.
 */
export const isMemoryFile = ({ shared, inode, name, ownFile }: Region): boolean =>
  shared &&
  inode !== 0 &&
  (ownFile === true ||
    name.startsWith('/dev/zero') ||
    name.startsWith('/memfd:') ||
    name.endsWith(' (deleted)'));
