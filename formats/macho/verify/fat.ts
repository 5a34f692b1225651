/**
 * Rules about files of several architectures. xnu-11417, bsd/kern/mach_fat.c (fatfile_validate_fatarches);
 * cctools-1035, libstuff/ofile.c, for the alignment that lipo(1) and codesign(1) demand.
 *
 * @module
 */
import { contentsSize, readContents } from '../../contents.ts';
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { nameOf } from '../../names.ts';
import { viewOf } from '../../struct.ts';
import { CPU_TYPE } from '../constants.ts';
import type { FatFile } from '../fat.ts';
import { LE, mach_header_64 } from '../structs.ts';
import { error, strict } from './rule.ts';

/** MAXSECTALIGN of cctools. */
const MAX_ALIGN = 15;
const PAGE_ARM = 0x4000;
const PAGE = 0x1000;

/** What is wrong with the table of a fat file; each slice has rules of its own (`verifyMachO`). */
export function verifyFat(file: FatFile): Finding[] {
  return [...alignment(file), ...overlaps(file), ...machines(file)];
}

function* alignment({ architectures }: FatFile): Iterable<Finding> {
  for (const [index, { cputype, offset = 0, align }] of architectures.entries()) {
    const says = `offset of architecture ${index} (${nameOf(CPU_TYPE, cputype)}) is ${hex(offset)}`;
    const page = cputype === CPU_TYPE.CPU_TYPE_ARM64 ? PAGE_ARM : PAGE;
    if (offset % page !== 0) {
      // load_segment() of xnu adds it to the fileoff of segments, which has to be a page's.
      yield error('MACHO_FAT_ALIGN', `${says}, expected a multiple of the page ${hex(page)}`, { offset });
    } else if (align > MAX_ALIGN || offset % 2 ** align !== 0) {
      yield strict('MACHO_FAT_ALIGN', `${says}, expected a multiple of 2^${align}, at most 2^${MAX_ALIGN}`, {
        offset,
      });
    }
  }
}

/** fatfile_validate_fatarches: slices that overlap are LOAD_BADMACHO; so is one machine twice, for lipo(1). */
function* overlaps({ architectures }: FatFile): Iterable<Finding> {
  const sorted = architectures
    .map(({ offset = 0, contents, cputype }) => ({ offset, end: offset + contentsSize(contents), cputype }))
    .sort((a, b) => a.offset - b.offset);
  for (const [i, { offset, cputype }] of sorted.entries()) {
    const before = sorted[i - 1];
    if (before === undefined || offset >= before.end) continue;
    const [name, other] = [nameOf(CPU_TYPE, cputype), nameOf(CPU_TYPE, before.cputype)];
    yield error(
      'MACHO_FAT_OVERLAP',
      `the slice of ${name} begins at ${hex(offset)}, expected after that of ${other} at ${hex(before.end)}`,
      { offset },
    );
  }
  const seen = new Set<string>();
  for (const { cputype, cpusubtype } of architectures) {
    const key = `${nameOf(CPU_TYPE, cputype)} ${hex(cpusubtype >>> 0)}`;
    if (seen.has(key)) yield strict('MACHO_FAT_TWICE', `there are two slices of ${key}, expected one`);
    seen.add(key);
  }
}

/** The table says of each slice what its own header does. */
function* machines({ architectures }: FatFile): Iterable<Finding> {
  for (const [index, { cputype, cpusubtype, offset = 0, contents }] of architectures.entries()) {
    if (contentsSize(contents) < mach_header_64.size) continue;
    const header = mach_header_64.read(viewOf(readContents(contents, 0, mach_header_64.size)), 0, LE);
    if (header.cputype === cputype && header.cpusubtype === cpusubtype) continue;
    yield error(
      'MACHO_FAT_CPU',
      `architecture ${index} is ${nameOf(CPU_TYPE, cputype)} in the table and ${nameOf(CPU_TYPE, header.cputype)} in its slice, expected the same`,
      { offset },
    );
  }
}
