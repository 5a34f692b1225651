/**
 * Chained fixups, what __LINKEDIT holds of them: where on each page of each segment the chain of fixups
 * begins, and the imports. The chains themselves are in the segments: chained-pointers.ts. `mach-o/fixup-chains.h`
 * of dyld-1378; the checks are those of its `MachOAnalyzer::validChainedFixupsInfo`.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { nameOf } from '../names.ts';
import { checkRange } from '../source.ts';
import { array, u16, u32, viewOf } from '../struct.ts';
import { type ChainedImport, decodeImports, type EncodedImports, importSize } from './chained-imports.ts';
import { DYLD_CHAINED_IMPORT, DYLD_CHAINED_PTR } from './constants.ts';
import { dyld_chained_fixups_header, dyld_chained_starts_in_segment, LE } from './structs.ts';

/** The chains of one segment. */
export interface SegmentStarts {
  /** Bytes from the mach header to the segment: its vmaddr less that of __TEXT. */
  readonly segmentOffset: bigint;
  /** 0x1000 or 0x4000. */
  readonly pageSize: number;
  /** Of each page, the offset of its first fixup; DYLD_CHAINED_PTR_START_NONE. */
  readonly pageStarts: Uint16Array;
}

export interface ChainedFixups extends EncodedImports {
  /** DYLD_CHAINED_PTR_64 or DYLD_CHAINED_PTR_64_OFFSET; undefined where no segment has chains. */
  readonly pointerFormat: number | undefined;
  /** 32-bit files only, else 0; kept. */
  readonly maxValidPointer: number;
  /** One for each segment of the file, undefined for one without fixups. */
  readonly segments: readonly (SegmentStarts | undefined)[];
}

/** The same as read: the imports are decoded too. */
export interface ReadChainedFixups extends ChainedFixups {
  readonly imports: ChainedImport[];
}

const MAX_PAGES = 0xffff;
const PAGE_SIZES: readonly number[] = [0x1000, 0x4000];

/**
 * @throws FormatError `MACHO_ARM64E` for its pointer formats; `MACHO_BAD_CHAINED_FIXUPS` for other formats, and
 *   what is out of bounds or inconsistent; `MACHO_BAD_IMPORTS`
 */
export function readChainedFixups(blob: Uint8Array): ReadChainedFixups {
  const view = viewOf(blob);
  checkPart('dyld_chained_fixups_header', blob, 0, dyld_chained_fixups_header.size);
  const header = dyld_chained_fixups_header.read(view, 0, LE);
  if (header.fixups_version !== 0) throw bad('fixups_version', header.fixups_version, '0');
  // 1 is zlib, which no linker has ever written.
  if (header.symbols_format !== 0) throw bad('symbols_format', header.symbols_format, '0, not compressed');

  const importsSize = header.imports_count * importSize(header.imports_format);
  checkPart('imports_offset', blob, header.imports_offset, importsSize);
  checkPart('symbols_offset', blob, header.symbols_offset, 0);
  const encoded = {
    importsFormat: header.imports_format,
    importsBytes: blob.subarray(header.imports_offset, header.imports_offset + importsSize),
    symbolsBytes: blob.subarray(header.symbols_offset),
  };
  const starts = readStarts(blob, header.starts_offset);
  return { ...encoded, ...starts, imports: decodeImports(encoded) };
}

/**
 * The blob of these fixups, padded to 8 bytes. There must be one of `segments` for each segment of the file,
 * __LINKEDIT included: dyld compares the numbers.
 *
 * @throws FormatError `MACHO_BAD_CHAINED_FIXUPS` for page sizes that differ, more pages than a segment can
 *   have, or a pointer format that is not supported
 */
export function encodeChainedFixups(fixups: ChainedFixups): Uint8Array {
  const { segments, importsFormat, importsBytes, symbolsBytes } = fixups;
  const pointerFormat = checkEncodable(fixups);
  const starts_offset = align(dyld_chained_fixups_header.size, 8);
  let end = starts_offset + 4 + 4 * segments.length;
  const places = segments.map(segment => {
    if (!segment) return undefined;
    const at = align(end, 8);
    const size = dyld_chained_starts_in_segment.size + 2 * segment.pageStarts.length;
    end = at + size;
    return { segment, at, size };
  });
  const imports_offset = align(
    end,
    importsFormat === DYLD_CHAINED_IMPORT.DYLD_CHAINED_IMPORT_ADDEND64 ? 8 : 4,
  );
  const symbols_offset = imports_offset + importsBytes.length;
  const blob = new Uint8Array(align(symbols_offset + symbolsBytes.length, 8));
  const view = viewOf(blob);
  const header = {
    fixups_version: 0,
    starts_offset,
    imports_offset,
    symbols_offset,
    imports_count: importsBytes.length / importSize(importsFormat),
    imports_format: importsFormat,
    symbols_format: 0,
  };
  dyld_chained_fixups_header.write(view, 0, header, LE);
  u32.set(view, starts_offset, segments.length, LE);
  for (const [i, place] of places.entries()) {
    if (!place) continue;
    const { segment, at, size } = place;
    u32.set(view, starts_offset + 4 + 4 * i, at - starts_offset, LE);
    const starts = {
      size,
      page_size: segment.pageSize,
      pointer_format: pointerFormat,
      segment_offset: segment.segmentOffset,
      max_valid_pointer: fixups.maxValidPointer,
      page_count: segment.pageStarts.length,
    };
    dyld_chained_starts_in_segment.write(view, at, starts, LE);
    for (const [page, start] of segment.pageStarts.entries()) {
      u16.set(view, at + dyld_chained_starts_in_segment.size + 2 * page, start, LE);
    }
  }
  blob.set(importsBytes, imports_offset);
  blob.set(symbolsBytes, symbols_offset);
  return blob;
}

/** dyld_chained_starts_in_image, and what it points to. */
function readStarts(
  blob: Uint8Array,
  at: number,
): Pick<ChainedFixups, 'pointerFormat' | 'maxValidPointer' | 'segments'> {
  const view = viewOf(blob);
  checkPart('starts_offset', blob, at, 4);
  const seg_count = view.getUint32(at, LE);
  checkPart('seg_count', blob, at + 4, 4 * seg_count);
  let pointerFormat: number | undefined;
  let maxValidPointer = 0;
  // What the page starts of hostile segments that share their bytes may take: each has bytes of its own.
  let left = blob.length;
  const offsets = array(u32, seg_count).get(view, at + 4, LE);
  const segments = offsets.map(offset => {
    if (offset === 0) return undefined;
    const { size, starts, pageStarts } = readSegmentStarts(blob, at + offset);
    left -= size;
    if (left < 0) throw bad('seg_info_offset', hex(offset), 'segments that do not share their starts');
    if (pointerFormat !== undefined && starts.pointer_format !== pointerFormat) {
      const expected = `${nameOf(DYLD_CHAINED_PTR, pointerFormat)} as in other segments`;
      throw bad('pointer_format', nameOf(DYLD_CHAINED_PTR, starts.pointer_format), expected);
    }
    pointerFormat = starts.pointer_format;
    maxValidPointer = starts.max_valid_pointer;
    return { segmentOffset: starts.segment_offset, pageSize: starts.page_size, pageStarts };
  });
  return { pointerFormat, maxValidPointer, segments };
}

function readSegmentStarts(
  blob: Uint8Array,
  at: number,
): { size: number; starts: dyld_chained_starts_in_segment; pageStarts: Uint16Array } {
  const fixed = dyld_chained_starts_in_segment.size;
  checkPart('seg_info_offset', blob, at, fixed);
  const view = viewOf(blob);
  const starts = dyld_chained_starts_in_segment.read(view, at, LE);
  checkPointerFormat(starts.pointer_format);
  if (!PAGE_SIZES.includes(starts.page_size)) {
    throw bad('page_size', hex(starts.page_size), '0x1000 or 0x4000');
  }
  const size = fixed + 2 * starts.page_count;
  if (starts.size < size) throw bad('size', starts.size, `at least ${size} for ${starts.page_count} pages`);
  checkPart('page_count', blob, at, size);
  const pageStarts = Uint16Array.from({ length: starts.page_count }, (_, page) =>
    view.getUint16(at + fixed + 2 * page, LE),
  );
  return { size, starts, pageStarts };
}

/** @returns the pointer format, of no matter where no segment has chains */
function checkEncodable({ pointerFormat, segments }: ChainedFixups): number {
  const present = segments.filter(segment => segment !== undefined);
  const [first] = present;
  if (!first) return pointerFormat ?? 0;
  if (pointerFormat === undefined) throw bad('pointer_format', 'undefined', 'one of DYLD_CHAINED_PTR_*');
  checkPointerFormat(pointerFormat);
  for (const { pageSize, pageStarts } of present) {
    if (pageSize !== first.pageSize || !PAGE_SIZES.includes(pageSize)) {
      throw bad('page_size', hex(pageSize), '0x1000 or 0x4000, the same in all segments');
    }
    if (pageStarts.length > MAX_PAGES) {
      throw bad('page_count', pageStarts.length, `at most ${MAX_PAGES}: split the segment`);
    }
  }
  return pointerFormat;
}

/** @throws FormatError `MACHO_ARM64E`, `MACHO_BAD_CHAINED_FIXUPS` */
function checkPointerFormat(format: number): void {
  const { DYLD_CHAINED_PTR_64, DYLD_CHAINED_PTR_64_OFFSET } = DYLD_CHAINED_PTR;
  if (format === DYLD_CHAINED_PTR_64 || format === DYLD_CHAINED_PTR_64_OFFSET) return;
  const name = nameOf(DYLD_CHAINED_PTR, format);
  const expected = 'DYLD_CHAINED_PTR_64 or DYLD_CHAINED_PTR_64_OFFSET';
  if (name.includes('ARM64E')) {
    const message = `Mach-O: pointer_format is ${name}, pointers signed by arm64e, expected ${expected}`;
    throw new FormatError('MACHO_ARM64E', message, { value: format });
  }
  throw bad('pointer_format', name, expected);
}

function checkPart(field: string, blob: Uint8Array, offset: number, size: number): void {
  try {
    checkRange(blob.length, offset, size);
  } catch {
    throw bad(field, `${hex(size)} bytes at ${hex(offset)}`, `to stay within ${hex(blob.length)} bytes`);
  }
}

const bad = (field: string, value: number | string, expected: string): FormatError =>
  new FormatError(
    'MACHO_BAD_CHAINED_FIXUPS',
    `Mach-O: ${field} of the chained fixups is ${value}, expected ${expected}`,
    { value },
  );

const align = (offset: number, unit: number): number => Math.ceil(offset / unit) * unit;
