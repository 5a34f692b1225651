/**
 * Rules about what dyld calls before main. dyld-1378, mach_o/Image.cpp (validInitializers): "initializer … is not
 * in an executable segment".
 *
 * @module
 */
import { wholeContents } from '../../contents.ts';
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { viewOf } from '../../struct.ts';
import { decodeBinds } from '../bind-opcodes.ts';
import { readChainedFixups } from '../chained-fixups.ts';
import { readChains, targetAddress } from '../chained-pointers.ts';
import { S, VM_PROT } from '../constants.ts';
import { sectionType } from '../find.ts';
import { findBlob } from '../linkedit.ts';
import type { MachOSection, SegmentCommand } from '../model.ts';
import { POINTER_SIZE } from '../opcode-stream.ts';
import { LE } from '../structs.ts';
import {
  bytesOf,
  endOf,
  error,
  few,
  nameOfSection,
  placeOfSection,
  type Rule,
  type Subject,
  sectionsIn,
} from './rule.ts';

/** validInitializers: whole pointers at whole addresses, to code. */
function* pointers(subject: Subject): Iterable<Finding> {
  const { segments, size, isDyldManaged } = subject;
  if (!isDyldManaged) return;
  let budget = BigInt(size);
  for (const [segment, section] of sectionsIn(segments)) {
    const type = sectionType(section);
    if (type !== S.S_MOD_INIT_FUNC_POINTERS && type !== S.S_MOD_TERM_FUNC_POINTERS) continue;
    if (section.size % 8n !== 0n || section.addr % 8n !== 0n) {
      yield error(
        'MACHO_INITIALISERS',
        `${nameOfSection(section)} is ${hex(section.size)} bytes at ${hex(section.addr)}, expected multiples of 8`,
        placeOfSection(section),
      );
      continue;
    }
    budget -= section.size;
    if (budget < 0n) return;
    yield* few(pointerFaults(subject, segment, section));
  }
}

function* pointerFaults(subject: Subject, segment: SegmentCommand, section: MachOSection): Iterable<Finding> {
  const words = initialiserWords(bytesOf(segment, section));
  for (const [offset, target] of loadedWords(subject, segment, section)) {
    const index = (Number(segment.vmaddr - section.addr) + offset) / POINTER_SIZE;
    if (index in words) words[index] = target;
  }
  for (const [i, target] of words.entries()) {
    // What another library defines is not known here.
    if (target === undefined || isExecutableAddress(subject.segments, target)) continue;
    yield notCode(section, i, target, i * POINTER_SIZE);
  }
}

/** The words as the file has them. */
function initialiserWords(bytes: Uint8Array): (bigint | undefined)[] {
  const view = viewOf(bytes);
  return Array.from({ length: bytes.length / POINTER_SIZE }, (_, i) =>
    view.getBigUint64(i * POINTER_SIZE, LE),
  );
}

/** Words of the section as dyld has them, where it does not take them from the file: by offset in the segment. */
function* loadedWords(
  { file, segments, text }: Subject,
  segment: SegmentCommand,
  section: MachOSection,
): Iterable<readonly [number, bigint | undefined]> {
  const start = Number(section.addr - segment.vmaddr);
  const isIn = (offset: number): boolean => offset >= start && offset < start + Number(section.size);
  const blob = findBlob(file, 'chained-fixups');
  if (blob !== undefined) {
    const { segments: tables, pointerFormat = 0 } = readChainedFixups(wholeContents(blob.contents));
    const table = tables[segments.indexOf(segment)];
    if (table === undefined || segment.contents === undefined) return;
    const { offsets, targets, binds } = readChains(table, segment.contents);
    for (const [i, offset] of offsets.entries()) {
      if (isIn(offset)) yield [offset, targetAddress(pointerFormat, targets[i] ?? 0, text?.vmaddr ?? 0n)];
    }
    for (const { offset } of binds) if (isIn(offset)) yield [offset, undefined];
    return;
  }
  const binds = findBlob(file, 'bind');
  if (binds === undefined) return;
  for (const bind of decodeBinds(wholeContents(binds.contents), 'bind', segments).binds) {
    if (segments[bind.segment] === segment && isIn(bind.offset)) yield [bind.offset, undefined];
  }
}

/** validInitializers: offsets of functions from the header, in a section that nobody writes. */
function* offsets(subject: Subject): Iterable<Finding> {
  const { segments, size, isDyldManaged } = subject;
  if (!isDyldManaged) return;
  let budget = BigInt(size);
  for (const [segment, section] of sectionsIn(segments)) {
    if (sectionType(section) !== S.S_INIT_FUNC_OFFSETS) continue;
    budget -= section.size;
    if (budget < 0n) return;
    const name = nameOfSection(section);
    if ((segment.initprot & VM_PROT.VM_PROT_WRITE) !== 0) {
      yield error(
        'MACHO_INITIALISERS',
        `${name} is in a writable segment, expected a read-only one`,
        placeOfSection(section),
      );
    }
    if (section.size % 4n !== 0n || section.addr % 4n !== 0n) {
      yield error(
        'MACHO_INITIALISERS',
        `${name} is ${hex(section.size)} bytes at ${hex(section.addr)}, expected multiples of 4`,
        placeOfSection(section),
      );
      continue;
    }
    yield* few(offsetFaults(subject, segment, section));
  }
}

function* offsetFaults(
  { segments, text }: Subject,
  segment: SegmentCommand,
  section: MachOSection,
): Iterable<Finding> {
  const view = viewOf(bytesOf(segment, section));
  for (let at = 0; at + 4 <= view.byteLength; at += 4) {
    const target = (text?.vmaddr ?? 0n) + BigInt(view.getUint32(at, LE));
    if (!isExecutableAddress(segments, target)) yield notCode(section, at / 4, target, at);
  }
}

const notCode = (section: MachOSection, index: number, target: bigint, at: number): Finding =>
  error(
    'MACHO_INITIALISERS',
    `initialiser ${index} of ${nameOfSection(section)} is ${hex(target)}, expected an address of an executable segment`,
    { offset: section.offset + at, address: section.addr + BigInt(at) },
  );

const isExecutableAddress = (segments: readonly SegmentCommand[], address: bigint): boolean =>
  segments.some(
    segment =>
      (segment.initprot & VM_PROT.VM_PROT_EXECUTE) !== 0 &&
      address >= segment.vmaddr &&
      address < endOf(segment),
  );

export const INITIALISER_RULES: readonly Rule[] = [pointers, offsets];
