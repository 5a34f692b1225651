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
  }));
}

/** A shared mapping of a file that exists leads to that file again, which must not be shorter then. */
function sizeOfSharedFile({ permissions, inode, name }: Mapping): { fileSize?: number } {
  if (permissions[3] !== 's' || inode === 0) return {};
  const size = statSync(name, { throwIfNoEntry: false })?.size;
  return size === undefined ? {} : { fileSize: size };
}

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
    const what = unsupported(region);
    if (what === undefined) return [];
    return [
      {
        code: 'REGION_UNSUPPORTED',
        what: `the mapping at 0x${region.start.toString(16)} (${region.name || 'anonymous'}) is ${what}`,
        remedy: 'unmap it before the freeze point',
      },
    ];
  });
}

function unsupported(region: Region): string | undefined {
  if (region.kind === 'vvar' || region.kind === 'vdso' || region.kind === 'vsyscall') return undefined;
  if (region.name.startsWith('/SYSV')) return 'a System V shared memory segment';
  if (region.name.startsWith('/[aio]') || region.name.startsWith('anon_inode:[io_uring]')) {
    return 'a ring shared with the kernel';
  }
  if (region.flags.has('io') || region.flags.has('pf')) return 'device memory';
  if (region.flags.has('ss'))
    return 'a shadow stack (start the program with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off)';
  if (region.flags.has('ht')) return 'made of huge pages (MAP_HUGETLB)';
  return undefined;
}

/** Shared memory without a name in the file system: MAP_ANONYMOUS, memfd, a file that was deleted. */
export const isMemoryFile = ({ shared, inode, name }: Region): boolean =>
  shared &&
  inode !== 0 &&
  (name.startsWith('/dev/zero') || name.startsWith('/memfd:') || name.endsWith(' (deleted)'));
