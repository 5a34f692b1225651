/**
 * The libraries that are linked into a static program, the C library first of all. What a loader would make
 * anew at every start, they keep in the program's own variables: thread-local storage, streams, the auxiliary
 * vector. So their variables come from the file and their constructors run again, as Emacs did it with
 * lastfile.c: the runtime is the last object before the libraries, and says where it ends.
 *
 * GNU ld, gold and lld lay .data, .bss and .init_array out in the order of the objects; what has a priority in
 * .init_array comes first, and priorities up to 100 are the implementation's (GCC manual, "constructor").
 *
 * @module
 */
import {
  DT,
  type ElfFile,
  type ElfSection,
  findSegment,
  PT,
  readDynamic,
  SHF,
  sectionSize,
} from '../../../formats/elf/index.ts';
import { hex } from '../../../formats/errors.ts';
import { viewOf } from '../../../formats/struct.ts';
import { CHUNK } from '../../chunk-writer.ts';
import type { Reserve } from '../../elf/reserve.ts';
import { UnexecError } from '../../errors.ts';
import { isWithin } from '../../stretches.ts';
import { type StartedZone, unexec_reserve } from '../../zones/reserve.ts';
import type { Run } from '../restart/found-pointers.ts';
import type { AddressStretch, DumpedSegment } from './territory.ts';

/** Where a static program ends, and its libraries begin. Addresses of the file. */
export interface ProgramEnds {
  readonly lastData: bigint;
  readonly lastBss: bigint;
  /** The function that is the last of the program's constructors. */
  readonly lastStart: bigint;
}

/** Whether the program has its libraries in itself: no loader is asked for, and no library. */
export const isStatic = (file: ElfFile): boolean =>
  findSegment(file, PT.PT_INTERP) === undefined && readDynamic(file).every(({ tag }) => tag !== DT.DT_NEEDED);

/**
 * What the runtime says of a static program.
 *
 * @param targetOf reads a pointer from memory: address → address that it leads to, both of the file
 * @throws UnexecError `STATIC_WITHOUT_RUNTIME`, `STATIC_WITHOUT_SECTIONS`
 */
export function programEnds(
  file: ElfFile,
  path: string,
  reserve: Reserve | undefined,
  targetOf: (address: bigint) => bigint,
): ProgramEnds {
  if (reserve === undefined) {
    throw new UnexecError(
      'STATIC_WITHOUT_RUNTIME',
      `${path} is static, and nothing says where its libraries begin`,
      {
        path,
        hint: "link unexec's runtime as the last object before the libraries, and prepare the program; or link it dynamically",
      },
    );
  }
  const { offsets } = unexec_reserve;
  const at = (offset: number): bigint => targetOf(reserve.address + BigInt(offset));
  const ends = {
    lastData: at(offsets.last_data),
    lastBss: at(offsets.last_bss),
    lastStart: at(offsets.last_start),
  };
  for (const address of [ends.lastData, ends.lastBss]) {
    if (sectionAt(file, address) !== undefined) continue;
    throw new UnexecError(
      'STATIC_WITHOUT_SECTIONS',
      `${path} is static, and no section has ${hex(address)}, where its libraries begin`,
      { path, hint: 'keep the section headers: strip(1) does, sstrip does not' },
    );
  }
  return ends;
}

/** The libraries' variables: behind the program's own in .data and .bss, and in sections of their own. */
export function librariesStretches(file: ElfFile, { lastData, lastBss }: ProgramEnds): AddressStretch[] {
  const shared = new Set([sectionAt(file, lastData), sectionAt(file, lastBss)]);
  return file.sections.filter(hasVariables).flatMap(section => {
    const end = section.address + BigInt(sectionSize(section));
    if (section.name.startsWith('__libc_')) return [{ start: section.address, end }];
    if (!shared.has(section)) return [];
    const ends = [lastData, lastBss].filter(address => address >= section.address && address < end);
    return ends.map(start => ({ start, end }));
  });
}

const hasVariables = ({ flags }: ElfSection): boolean =>
  (flags & SHF.SHF_ALLOC) !== 0 && (flags & SHF.SHF_WRITE) !== 0 && (flags & SHF.SHF_TLS) === 0;

const sectionAt = (file: ElfFile, address: bigint): ElfSection | undefined =>
  file.sections.find(
    section =>
      hasVariables(section) &&
      address >= section.address &&
      address < section.address + BigInt(sectionSize(section)),
  );

/** The C library's own blocks (buffers of streams, locales) are less than this; so is what nobody needs. */
const LIBRARIES_BYTES = 16_384;

/**
 * Refuses a static program whose variables all count as its libraries' because the runtime is not the last of
 * its objects: then none of those that are dumped leads to the heap, which its next life would miss.
 *
 * @param dumped the segments with their dumped words
 * @throws UnexecError `RUNTIME_NOT_LAST`
 */
export function refuseEarlyRuntime(
  path: string,
  { image, slide }: Run,
  dumped: readonly DumpedSegment[],
  base: bigint,
  zone: StartedZone,
): void {
  if (zone.used < LIBRARIES_BYTES) return;
  const first = base + slide;
  const end = first + BigInt(zone.highWater);
  for (const { segment, size, kept } of dumped) {
    if (base >= segment.address && base < segment.address + BigInt(segment.memorySize)) continue;
    const chunk = new Uint8Array(CHUNK);
    const words = viewOf(chunk);
    for (let start = 0; start < size; start += CHUNK) {
      const length = Math.min(CHUNK, size - start);
      image.memory.read(segment.address + slide + BigInt(start), chunk.subarray(0, length));
      for (let at = 0; at + 8 <= length; at += 8) {
        const value = words.getBigUint64(at, true);
        if (value >= first && value < end && !isWithin(kept, start + at)) return;
      }
    }
  }
  throw new UnexecError(
    'RUNTIME_NOT_LAST',
    `${path} is static, and no variable before the end of unexec's runtime leads to its heap of ${zone.used} bytes: its own variables lie behind that, and would begin anew as its libraries' do`,
    { path, hint: "link unexec's runtime as the last object before the libraries" },
  );
}
