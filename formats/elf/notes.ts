/**
 * Notes: records with an owner, a type that only the owner understands, and bytes. In PT_NOTE segments
 * and SHT_NOTE sections. gABI 4.1, "Note Section"; with 8-byte alignment (.note.gnu.property) as binutils
 * and Linux have it: the header stays 12 bytes, description and next note begin at multiples of 8.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { viewOf } from '../struct.ts';
import { NT_GNU, PT, SHT } from './constants.ts';
import { sectionContents, segmentContents } from './find.ts';
import type { ElfFile } from './model.ts';
import { Elf64_Nhdr, LE } from './structs.ts';

export interface ElfNote {
  /** `GNU`, `CORE`, `unexec`, …, without the NUL. */
  readonly owner: string;
  /** NT_*, in the owner's numbering. */
  readonly type: number;
  /** A view of the bytes that were read. */
  readonly desc: Uint8Array;
}

/** A note, and where it was. */
export interface FoundNote extends ElfNote {
  /** Offset of `desc` in the bytes that were read. */
  readonly descOffset: number;
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/**
 * The notes in these bytes. `align` is p_align or sh_addralign: 8, and 4 for everything else, as readers
 * have it (Linux wrote 0 and 1 in cores). Fewer bytes than a note has, at the end, are padding.
 *
 * @throws FormatError `ELF_BAD_NOTE` where a note ends after the bytes do
 */
export function readNotes(bytes: Uint8Array, align: number): FoundNote[] {
  const unit = unitOf(align);
  const view = viewOf(bytes);
  const notes: FoundNote[] = [];
  for (let at = 0; bytes.length - at >= Elf64_Nhdr.size; ) {
    const { n_namesz, n_descsz, n_type } = Elf64_Nhdr.read(view, at, LE);
    const name = at + Elf64_Nhdr.size;
    const desc = padded(name + n_namesz, unit);
    if (desc + n_descsz > bytes.length && (n_descsz > 0 || name + n_namesz > bytes.length)) {
      throw new FormatError(
        'ELF_BAD_NOTE',
        `ELF: a note at ${hex(at)} has n_namesz ${hex(n_namesz)} and n_descsz ${hex(n_descsz)}, expected them within ${hex(bytes.length)} bytes`,
        { offset: at, value: n_descsz },
      );
    }
    const [owner = ''] = decoder.decode(bytes.subarray(name, name + n_namesz)).split('\0', 1);
    notes.push({ owner, type: n_type, desc: bytes.subarray(desc, desc + n_descsz), descOffset: desc });
    at = padded(desc + n_descsz, unit);
  }
  return notes;
}

/** Notes as bytes, padded at the end too, for a section or segment of this alignment. */
export function encodeNotes(notes: readonly ElfNote[], align: number): Uint8Array {
  const unit = unitOf(align);
  const owners = notes.map(({ owner }) => encoder.encode(owner === '' ? '' : `${owner}\0`));
  let size = 0;
  const places = notes.map(({ desc }, i) => {
    const at = size;
    const descOffset = padded(at + Elf64_Nhdr.size + (owners[i]?.length ?? 0), unit);
    size = padded(descOffset + desc.length, unit);
    return { at, descOffset };
  });

  const bytes = new Uint8Array(size);
  for (const [i, { at, descOffset }] of places.entries()) {
    const note = notes[i];
    const owner = owners[i];
    if (!note || !owner) continue;
    const nhdr = { n_namesz: owner.length, n_descsz: note.desc.length, n_type: note.type };
    Elf64_Nhdr.write(viewOf(bytes), at, nhdr, LE);
    bytes.set(owner, at + Elf64_Nhdr.size);
    bytes.set(note.desc, descOffset);
  }
  return bytes;
}

/**
 * All notes of a file that was read: those of its PT_NOTE segments, or of its SHT_NOTE sections where it has no
 * segments (`.o`).
 *
 * @throws FormatError `ELF_BAD_NOTE`, `ELF_TRUNCATED`
 */
export function elfNotes(file: ElfFile): ElfNote[] {
  const notes: ElfNote[] = [];
  let left = file.source?.size ?? Number.POSITIVE_INFINITY;
  const add = (bytes: Uint8Array, align: number): void => {
    // A hostile file can have 65,000 segments that are all the same megabytes.
    left -= bytes.length;
    if (left < 0) {
      throw new FormatError('ELF_BAD_NOTE', 'ELF: the notes hold more bytes than the file, expected fewer');
    }
    for (const note of readNotes(bytes, align)) notes.push(note);
  };
  for (const segment of file.segments) {
    if (segment.type === PT.PT_NOTE) add(segmentContents(file, segment), segment.align);
  }
  if (file.segments.length > 0) return notes;
  for (const section of file.sections) {
    if (section.type === SHT.SHT_NOTE) add(sectionContents(section), section.align);
  }
  return notes;
}

/** The build id in lower-case hexadecimal; undefined where the file has none. */
export function readBuildId(file: ElfFile): string | undefined {
  const note = elfNotes(file).find(({ owner, type }) => owner === 'GNU' && type === NT_GNU.NT_GNU_BUILD_ID);
  return note && [...note.desc].map(byte => byte.toString(16).padStart(2, '0')).join('');
}

const unitOf = (align: number): number => (align === 8 ? 8 : 4);

/** Rounded up to a multiple of `unit`. Not with `&`: a note may claim 2^32 bytes. */
const padded = (offset: number, unit: number): number => Math.ceil(offset / unit) * unit;
