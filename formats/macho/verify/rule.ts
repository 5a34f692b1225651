/**
 * What a rule is made of: a function from a file, and what is known of it, to findings.
 *
 * @module
 */
import { readContents } from '../../contents.ts';
import { FormatError } from '../../errors.ts';
import type { Finding, Place, Severity } from '../../finding.ts';
import type { Sha256 } from '../code-signature.ts';
import { CPU_SUBTYPE_ARM64, CPU_SUBTYPE_MASK, CPU_TYPE, MH, MH_FLAGS } from '../constants.ts';
import { findSegment, segmentsOf } from '../find.ts';
import { pageSizeOf } from '../header.ts';
import type { MachOFile, MachOSection, SegmentCommand } from '../model.ts';
import { epochOf } from './sdk.ts';

/** The file, and what several rules ask of it. */
export interface Subject {
  readonly file: MachOFile;
  readonly segments: readonly SegmentCommand[];
  readonly text: SegmentCommand | undefined;
  readonly linkedit: SegmentCommand | undefined;
  /** Bytes of the file, or of the slice. */
  readonly size: number;
  readonly pageSize: number;
  readonly epoch: number;
  readonly isArm: boolean;
  /** MH_EXECUTE. */
  readonly isExecutable: boolean;
  /** What dyld loads; not objects, static executables and what belongs to kernels. */
  readonly isDyldManaged: boolean;
  readonly sha256: Sha256;
}

export type Rule = (subject: Subject) => Iterable<Finding>;

export function subjectOf(file: MachOFile, sha256: Sha256): Subject {
  const { filetype, flags, cputype } = file.header;
  const isExecutable = filetype === MH.MH_EXECUTE;
  return {
    file,
    segments: segmentsOf(file),
    text: findSegment(file, '__TEXT'),
    linkedit: findSegment(file, '__LINKEDIT'),
    size: file.source?.size ?? 0,
    pageSize: pageSizeOf(file.header),
    epoch: epochOf(file),
    isArm: cputype === CPU_TYPE.CPU_TYPE_ARM64,
    isExecutable,
    isDyldManaged:
      filetype === MH.MH_DYLIB ||
      filetype === MH.MH_BUNDLE ||
      (isExecutable && (flags & MH_FLAGS.MH_DYLDLINK) !== 0),
    sha256,
  };
}

export const error = (code: string, message: string, place: Place = {}): Finding =>
  finding('error', code, message, place);

export const strict = (code: string, message: string, place: Place = {}): Finding =>
  finding('strict', code, message, place);

const finding = (severity: Severity, code: string, message: string, place: Place): Finding => ({
  code,
  severity,
  message: `Mach-O: ${message}`,
  ...place,
});

/** The findings of a rule; what it cannot read is a finding, too. */
export function findingsOf(rule: Rule, subject: Subject): Finding[] {
  const findings: Finding[] = [];
  try {
    for (const found of rule(subject)) findings.push(found);
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    const { code, message, offset } = cause;
    // Pointers of arm64e are sound where they are at home; what they are made of is not known here.
    if (code === 'MACHO_ARM64E' && isArm64e(subject)) return findings;
    findings.push({ code, severity: 'error', message, ...(offset === undefined ? {} : { offset }) });
  }
  return findings;
}

const isArm64e = ({ file: { header }, isArm }: Subject): boolean =>
  isArm && (header.cpusubtype & ~CPU_SUBTYPE_MASK) === CPU_SUBTYPE_ARM64.CPU_SUBTYPE_ARM64E;

export const endOf = ({ vmaddr, vmsize }: SegmentCommand): bigint => vmaddr + vmsize;
export const fileEndOf = ({ fileoff, filesize }: SegmentCommand): number => fileoff + filesize;

/** The addresses of the image, from its header to its end; __PAGEZERO is none of it. */
export function imageRange(segments: readonly SegmentCommand[]): readonly [low: bigint, high: bigint] {
  let low = 2n ** 64n;
  let high = 0n;
  for (const segment of segments) {
    if (segment.vmsize === 0n || segment.segname === '__PAGEZERO') continue;
    if (segment.vmaddr < low) low = segment.vmaddr;
    if (endOf(segment) > high) high = endOf(segment);
  }
  return [low, high];
}

/** Whether an address is one of the image: of a segment but __PAGEZERO, or its end, where many arrays end. */
export function imageTest(segments: readonly SegmentCommand[]): (address: bigint) => boolean {
  const mapped = segments.filter(({ vmsize, segname }) => vmsize > 0n && segname !== '__PAGEZERO');
  const holds = (segment: SegmentCommand, address: bigint): boolean =>
    address >= segment.vmaddr && address <= endOf(segment);
  // Pointers that follow each other mostly lead to the same segment.
  let last = mapped[0];
  return address => {
    if (last !== undefined && holds(last, address)) return true;
    last = mapped.find(segment => holds(segment, address));
    return last !== undefined;
  };
}

export const nameOfSegment = ({ segname }: SegmentCommand): string => `segment ${JSON.stringify(segname)}`;
export const nameOfSection = ({ segname, sectname }: MachOSection): string =>
  `section ${JSON.stringify(`${segname},${sectname}`)}`;

export const placeOf = ({ fileoff, vmaddr }: SegmentCommand): Place => ({ offset: fileoff, address: vmaddr });

export const placeOfSection = ({ offset, addr }: MachOSection): Place => ({ offset, address: addr });

/** So many bytes into a segment. */
export const placeIn = ({ fileoff, vmaddr }: SegmentCommand, offset: number): Place => ({
  offset: fileoff + offset,
  address: vmaddr + BigInt(offset),
});

export const isAligned = (value: bigint | number, unit: number): boolean =>
  typeof value === 'bigint' ? value % BigInt(unit) === 0n : value % unit === 0;

export const roundUp = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** The sections of all segments, with these. */
export function* sectionsIn(
  segments: readonly SegmentCommand[],
): Iterable<readonly [SegmentCommand, MachOSection]> {
  for (const segment of segments) for (const section of segment.sections) yield [segment, section];
}

/** More of a section than any linker makes, of pointers that are looked at one by one. */
const MOST_BYTES = 1 << 22;

/** The bytes that the segment has for a section, the first 4 MiB of them; none where they are not all in the file. */
export function bytesOf(segment: SegmentCommand, section: MachOSection): Uint8Array {
  const from = section.addr - segment.vmaddr;
  const isInFile = from >= 0n && from + section.size <= BigInt(segment.filesize);
  if (!isInFile || segment.contents === undefined) return new Uint8Array(0);
  return readContents(segment.contents, Number(from), Math.min(Number(section.size), MOST_BYTES));
}

/** A table that is wrong is wrong many times: these are enough to say so. */
export const MOST = 20;

/** At most `MOST` of these. */
export function* few(findings: Iterable<Finding>): Iterable<Finding> {
  let told = 0;
  for (const found of findings) {
    yield found;
    if (++told === MOST) return;
  }
}
