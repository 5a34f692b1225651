/**
 * The regions of a core, and where their contents come from: the core itself, and for what it leaves out the files
 * that were mapped. The kernel lists every mapping; gdb leaves out those without contents of their own, which
 * NT_FILE still tells. Facts: core(5) (coredump_filter), vma_dump_size() of Linux 6.1, `linux-tdep.c` of gdb 13.
 *
 * @module
 */
import { PF, PT } from '../../formats/elf/index.ts';
import type { Reason } from '../errors.ts';
import { type Assumption, endOf, type Module, PAGE, type Region, type RegionKind } from '../image.ts';
import type { MemoryStretch } from '../sources/stretch-memory.ts';
import type { HereFile, HereFiles } from './files.ts';
import type { MappedFile } from './mapped-files.ts';
import { type KnownPlaces, nameRegions } from './name-regions.ts';
import type { OpenElfCore } from './open-core.ts';
import { corePieces, type Piece } from './pieces.ts';
import { VSYSCALL } from './possible.ts';

export interface CoreRegions {
  readonly regions: readonly Region[];
  /** Contents, by address. */
  readonly stretches: readonly MemoryStretch[];
  readonly refusals: readonly Reason[];
  readonly assumptions: readonly Assumption[];
}

/** 16 bytes on the stack. */
const AT_RANDOM = 25;
export function coreRegions(
  open: OpenElfCore,
  mapped: readonly MappedFile[],
  modules: readonly Module[],
  files: HereFiles,
  places: KnownPlaces,
): CoreRegions {
  const inodes = inodesOf(mapped);
  const regions: Region[] = [];
  const stretches: MemoryStretch[] = [];
  const refusals: Reason[] = [];
  const assumptions: Assumption[] = [];
  const told = new Set<string>();
  const leavesUntouched = open.writer === 'kernel' && hasPrivateMemory(open);
  let untouched = 0;
  for (const piece of corePieces(open, mapped)) {
    const region = regionOf(piece, modules, files, places, inodes);
    regions.push(region);
    if (piece.present > 0)
      stretches.push({ ...region, size: piece.present, stored: piece.present, fill: piece.fill });
    const missing = region.size - piece.present;
    if (missing === 0 || isKernels(region)) continue;
    const here = piece.file && files.find(piece.file.path);
    if (piece.file === undefined && region.read && leavesUntouched) {
      untouched += missing;
      continue;
    }
    const reason = missingReason(piece, region, here, files, modules, open);
    if (reason !== undefined) refusals.push(reason);
    if (reason !== undefined || piece.file === undefined || here === undefined) continue;
    stretches.push(fromFile(region, piece, here));
    if (piece.flags === undefined && !modules.some(module => contains(module, region))) {
      assumptions.push({ what: `how ${piece.file.path} was mapped`, assumed: 'private and read-only' });
    }
    if (!modules.some(module => contains(module, region)) && !told.has(here.path)) {
      told.add(here.path);
      assumptions.push({ what: `what was in ${here.path}`, assumed: 'what is in it now' });
    }
  }
  if (untouched > 0) {
    const what = `what was in ${untouched} bytes of memory that are not in the core (MADV_DONTDUMP, or never touched)`;
    assumptions.push({ what, assumed: 'zero' });
  }
  return { regions: nameRegions(regions, places), stretches, refusals, assumptions };
}

/** The kernel leaves out memory that was never touched; all private memory, where coredump_filter says so. */
const hasPrivateMemory = ({ core, auxv }: OpenElfCore): boolean => {
  const onStack = auxv.get(AT_RANDOM) ?? 0n;
  return core.memory.some(
    ({ address, contents }) => address <= onStack && onStack < address + BigInt(contents.size),
  );
};

function regionOf(
  piece: Piece,
  modules: readonly Module[],
  files: HereFiles,
  { vdso }: KnownPlaces,
  inodes: ReadonlyMap<MappedFile, number>,
): Region {
  const { start, size, file } = piece;
  const flags = piece.flags ?? flagsInFile(piece, files);
  const write = (flags & PF.PF_W) !== 0;
  const shared = file !== undefined && isSharedMemory(file.path);
  const place = { start, size };
  return {
    ...place,
    read: (flags & PF.PF_R) !== 0,
    write,
    execute: (flags & PF.PF_X) !== 0,
    shared,
    offset: file === undefined ? 0 : file.offset + Number(start - file.start),
    device: '00:00',
    inode: (file && inodes.get(file)) ?? 0,
    name: file?.path ?? '',
    kind: kindOf(place, modules, file, { write, shared, vdso }),
    flags: new Set(),
  };
}

/** Of what gdb leaves out, the file says how it is mapped; of a file that is no module, nothing does. */
function flagsInFile({ start, file }: Piece, files: HereFiles): number {
  if (file === undefined) return PF.PF_R;
  const offset = file.offset + Number(start - file.start);
  const segment = files
    .find(file.path)
    ?.elf?.segments.find(
      ({ type, offset: from, fileSize }) =>
        type === PT.PT_LOAD && from - (from % PAGE) <= offset && offset < from + fileSize,
    );
  return segment?.flags ?? PF.PF_R;
}

/** MAP_SHARED | MAP_ANONYMOUS and memfd: the only mappings whose name tells that they are shared. */
const isSharedMemory = (path: string): boolean => path.startsWith('/dev/zero') || path.startsWith('/memfd:');

const contains = (module: Module, { start }: { readonly start: bigint }): boolean =>
  module.start <= start && start < module.end;

function kindOf(
  place: { readonly start: bigint; readonly size: number },
  modules: readonly Module[],
  file: MappedFile | undefined,
  { write, shared, vdso }: { readonly write: boolean; readonly shared: boolean; readonly vdso: bigint },
): RegionKind {
  if (place.start === VSYSCALL) return 'vsyscall';
  if (vdso !== 0n && place.start <= vdso && vdso < endOf(place)) return 'vdso';
  if (shared) return 'shared';
  if (modules.some(module => contains(module, place))) return write ? 'module-data' : 'module-text';
  return file === undefined ? 'anonymous' : 'file';
}

const isKernels = ({ kind }: Region): boolean => kind === 'vdso' || kind === 'vvar' || kind === 'vsyscall';

/** One number a file; shared memory without a name is another one wherever its offsets do not go on. */
function inodesOf(mapped: readonly MappedFile[]): Map<MappedFile, number> {
  const numbers = new Map<MappedFile, number>();
  const byPath = new Map<string, number>();
  let next = 1;
  for (const [i, file] of mapped.entries()) {
    const before = mapped[i - 1];
    const goesOn =
      before?.path === file.path &&
      before.end === file.start &&
      before.offset + Number(before.end - before.start) === file.offset;
    const known = isSharedMemory(file.path)
      ? goesOn
        ? numbers.get(before)
        : undefined
      : byPath.get(file.path);
    const number = known ?? next++;
    numbers.set(file, number);
    byPath.set(file.path, number);
  }
  return numbers;
}

/** Why what the core lacks of a region cannot be had. */
function missingReason(
  { file, flags }: Piece,
  region: Region,
  here: HereFile | undefined,
  files: HereFiles,
  modules: readonly Module[],
  { writer }: OpenElfCore,
): Reason | undefined {
  const at = `0x${region.start.toString(16)}`;
  if (file === undefined) {
    // Guard pages and reserved address space hold nothing, and are told so. Our own cores are sparse.
    if (!region.read || writer === 'unexec') return undefined;
    return {
      code: 'CORE_MEMORY_MISSING',
      what: `${region.size} bytes of memory at ${at} are not in the core`,
      remedy:
        'take it again with all private memory: echo 0x3f > /proc/PID/coredump_filter; and without MADV_DONTDUMP',
    };
  }
  if (isSharedMemory(file.path) || file.path.startsWith('/SYSV')) {
    return {
      code: 'CORE_MEMORY_MISSING',
      what: `the shared memory at ${at} (${file.path}) is not in the core`,
      remedy: 'take it again with shared memory: echo 0x3f > /proc/PID/coredump_filter',
    };
  }
  if (region.write && flags !== undefined && !modules.some(module => contains(module, region))) {
    return {
      code: 'CORE_SHARED_UNKNOWN',
      what: `${file.path} is mapped at ${at} to be written to, and the core does not say whether others see that`,
      remedy: 'freeze the live process instead: unexec PID, or unexec --as core PID',
    };
  }
  if (here !== undefined && region.offset < Math.ceil(here.source.size / PAGE) * PAGE) return undefined;
  if (here !== undefined && region.offset === 0) return undefined;
  return {
    code: 'CORE_FILE_MISSING',
    what:
      here === undefined
        ? `${region.size} bytes at ${at} are not in the core, and their file ${files.placeOf(file.path)} is not here`
        : `${here.path} is shorter than when it was mapped: ${here.source.size} bytes, expected more than ${region.offset}`,
    remedy: 'name the directory that has the files of that machine: --sysroot DIRECTORY',
  };
}

/** The rest of a region, from its file; beyond the end of that is nothing. */
function fromFile(region: Region, { present, size }: Piece, { source }: HereFile): MemoryStretch {
  const offset = region.offset + present;
  return {
    ...region,
    start: region.start + BigInt(present),
    size: size - present,
    stored: Math.max(0, Math.min(size - present, source.size - offset)),
    fill: (into, bytes) => bytes.set(source.read(offset + into, bytes.length)),
  };
}
