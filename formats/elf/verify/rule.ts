/**
 * What a rule is made of: a function from a file to findings.
 *
 * @module
 */
import { FormatError } from '../../errors.ts';
import type { Finding, Place, Severity } from '../../finding.ts';
import { DF_1, DT, EM, ET, PT, SHF, SHT } from '../constants.ts';
import { readDynamic } from '../dynamic.ts';
import { type ElfFile, type ElfSection, type ElfSegment, sectionSize } from '../model.ts';

export interface VerifyElfOptions {
  /**
   * The program maps memory by itself when it starts, as a frozen one does: allocated sections may describe what
   * no PT_LOAD loads.
   */
  readonly mapsItself?: boolean;
}

/** A rule, or several about the same thing. */
export type Rule = (file: ElfFile, options: VerifyElfOptions) => Iterable<Finding>;

export const error = (code: string, message: string, place: Place = {}): Finding =>
  finding('error', code, message, place);

export const strict = (code: string, message: string, place: Place = {}): Finding =>
  finding('strict', code, message, place);

export const finding = (severity: Severity, code: string, message: string, place: Place): Finding => ({
  code,
  severity,
  message: `ELF: ${message}`,
  ...place,
});

/** The findings of a rule; what it cannot read is a finding, too. */
export function findingsOf(rule: Rule, file: ElfFile, options: VerifyElfOptions): Finding[] {
  const findings: Finding[] = [];
  try {
    for (const found of rule(file, options)) findings.push(found);
  } catch (cause) {
    if (!(cause instanceof FormatError)) throw cause;
    const { code, message, offset } = cause;
    findings.push({ code, severity: 'error', message, ...(offset === undefined ? {} : { offset }) });
  }
  return findings;
}

/** The pages that a kernel for this machine maps. Those of AArch64 are 4 KiB here, as most are. */
export const PAGE = 0x1000;

export const isPowerOfTwo = (value: number): boolean => value > 0 && Number.isInteger(Math.log2(value));

export const endOf = ({ address, memorySize }: ElfSegment): bigint => address + BigInt(memorySize);

/** The PT_LOAD segments with their indices in the table. */
export const loads = (file: ElfFile): { segment: ElfSegment; index: number }[] =>
  file.segments
    .map((segment, index) => ({ segment, index }))
    .filter(({ segment }) => segment.type === PT.PT_LOAD);

/** The PT_LOAD that has `size` bytes of memory at this address. */
export const loadAt = (file: ElfFile, address: bigint, size: number): ElfSegment | undefined =>
  file.segments.find(
    segment =>
      segment.type === PT.PT_LOAD && address >= segment.address && address + BigInt(size) <= endOf(segment),
  );

/** Finds the PT_LOAD of an address in few steps, for loops over many addresses. */
export function loadIndex(file: ElfFile): (address: bigint, size: number) => ElfSegment | undefined {
  const sorted = loads(file)
    .map(({ segment }) => segment)
    .filter(({ memorySize }) => memorySize > 0)
    .sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  return (address, size) => {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((sorted[middle]?.address ?? 0n) <= address) low = middle + 1;
      else high = middle;
    }
    const segment = sorted[low - 1];
    return segment !== undefined && address + BigInt(size) <= endOf(segment) ? segment : undefined;
  };
}

/**
 * The sections of these types with their indices. No more of them than the file has bytes: those of a hostile
 * file can all have the same ones.
 */
export function sectionsOf(
  file: ElfFile,
  types: readonly number[],
): { section: ElfSection; index: number }[] {
  let left = file.source?.size ?? Number.POSITIVE_INFINITY;
  return file.sections
    .map((section, index) => ({ section, index }))
    .filter(({ section }) => {
      if (!types.includes(section.type)) return false;
      left -= sectionSize(section);
      return left >= 0;
    });
}

/** How findings call a section: its index and its name. */
export const nameOfSection = (section: ElfSection, index: number): string =>
  `section ${index} (${JSON.stringify(section.name)})`;

export const isAllocated = ({ flags }: ElfSection): boolean => hasFlag(flags, SHF.SHF_ALLOC);

/** sh_flags may be wider than what `&` takes. */
export const hasFlag = (flags: number, flag: number): boolean => Math.floor(flags / flag) % 2 === 1;

/** Where a section ends in memory. */
export const sectionEnd = (section: ElfSection): bigint => section.address + BigInt(sectionSize(section));

/** Executables and shared objects: what a kernel or ld.so maps. */
export const isLoadable = ({ header: { type } }: ElfFile): boolean =>
  type === ET.ET_EXEC || type === ET.ET_DYN;

export const isX86 = ({ header: { machine } }: ElfFile): boolean => machine === EM.EM_X86_64;
export const isArm = ({ header: { machine } }: ElfFile): boolean => machine === EM.EM_AARCH64;

/**
 * What `objcopy --only-keep-debug` leaves: headers of a file whose contents are elsewhere, even those of its code,
 * all of it. The rules of loaders are not for it.
 */
export function isDebugFile(file: ElfFile): boolean {
  const code = file.sections.filter(
    section => isAllocated(section) && hasFlag(section.flags, SHF.SHF_EXECINSTR),
  );
  return code.length > 0 && code.every(({ type }) => type === SHT.SHT_NOBITS);
}

/** Whether the kernel starts this file rather than ld.so loading it: ET_EXEC, or position-independent. */
export const isProgram = (file: ElfFile): boolean =>
  file.header.type === ET.ET_EXEC ||
  (file.header.type === ET.ET_DYN &&
    (file.segments.some(({ type }) => type === PT.PT_INTERP) || isStaticPie(file)));

function isStaticPie(file: ElfFile): boolean {
  try {
    return readDynamic(file).some(
      ({ tag, value }) => tag === DT.DT_FLAGS_1 && (value & BigInt(DF_1.DF_1_PIE)) !== 0n,
    );
  } catch (cause) {
    // What is wrong with the dynamic section is told by its own rules.
    if (cause instanceof FormatError) return false;
    throw cause;
  }
}
