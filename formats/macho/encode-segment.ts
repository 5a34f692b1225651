/**
 * An LC_SEGMENT_64 with its sections as bytes. Each value is checked against its field: `setUint32` would
 * silently write an offset beyond 4 GiB as a small one.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { viewOf } from '../struct.ts';
import type { MachOSection, SegmentCommand } from './model.ts';
import { encodeName } from './names.ts';
import { LE, section_64, segment_command_64 } from './structs.ts';

/** @throws FormatError `MACHO_TOO_LARGE`, `MACHO_BAD_NAME` */
export function encodeSegment(segment: SegmentCommand): Uint8Array {
  const { segname, sections } = segment;
  const what = `segment ${JSON.stringify(segname)}`;
  const cmdsize = segment_command_64.size + sections.length * section_64.size;
  const bytes = new Uint8Array(cmdsize);
  const view = viewOf(bytes);
  const command: segment_command_64 = {
    cmd: segment.cmd,
    cmdsize,
    segname: encodeName(segname),
    vmaddr: u64(what, 'vmaddr', segment.vmaddr),
    vmsize: u64(what, 'vmsize', segment.vmsize),
    fileoff: offset(what, 'fileoff', segment.fileoff),
    filesize: offset(what, 'filesize', segment.filesize),
    maxprot: segment.maxprot,
    initprot: segment.initprot,
    nsects: sections.length,
    flags: segment.flags,
  };
  segment_command_64.write(view, 0, command, LE);
  for (const [i, section] of sections.entries()) {
    section_64.write(view, segment_command_64.size + i * section_64.size, sectionOf(section), LE);
  }
  return bytes;
}

function sectionOf(section: MachOSection): section_64 {
  const what = `section ${section.segname},${section.sectname}`;
  return {
    ...section,
    sectname: encodeName(section.sectname),
    segname: encodeName(section.segname),
    addr: u64(what, 'addr', section.addr),
    size: u64(what, 'size', section.size),
    offset: u32(what, 'offset', section.offset),
    reloff: u32(what, 'reloff', section.reloff),
  };
}

function u32(what: string, field: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff) return value;
  throw tooLarge(what, field, value, 'below 4 GiB, as its 32 bits hold');
}

function u64(what: string, field: string, value: bigint): bigint {
  if (value >= 0n && value < 2n ** 64n) return value;
  throw tooLarge(what, field, value, 'below 2^64');
}

function offset(what: string, field: string, value: number): bigint {
  if (Number.isSafeInteger(value) && value >= 0) return BigInt(value);
  throw tooLarge(what, field, value, 'a number of bytes');
}

const tooLarge = (what: string, field: string, value: number | bigint, expected: string): FormatError =>
  new FormatError('MACHO_TOO_LARGE', `Mach-O: ${field} of ${what} is ${hex(value)}, expected ${expected}`, {
    value,
  });
