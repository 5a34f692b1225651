/**
 * The notes of ours in a file: in the note segment of an ELF file, in the reserve of a Mach-O program.
 *
 * @module
 */
import { contentsSize, readContents } from '../../formats/contents.ts';
import { type ElfFile, type ElfNote, ET, elfNotes, readNotes } from '../../formats/elf/index.ts';
import { atAddress, type MachOFile, MH, readNotes as machoNotes } from '../../formats/macho/index.ts';
import { findReserve } from '../macho/reserve.ts';
import { NOTE } from '../manifest.ts';
import { NOTE_OWNER } from '../styles/restart-macho/notes.ts';
import { decodeZones } from '../zones/note.ts';
import { NOTES_OFFSET, NOTES_ROOM } from '../zones/reserve.ts';
import type { MallocZone } from '../zones.ts';
import { type Fields, manifestFields } from './fields.ts';

export interface OurNotes {
  readonly manifest: Fields;
  readonly zones: readonly MallocZone[];
}

/** @throws FormatError for notes that make no sense */
export const notesOfElf = (file: ElfFile): OurNotes | undefined =>
  // A core of a frozen program has its memory, and is none of ours.
  file.header.type === ET.ET_CORE ? undefined : decode(elfNotes(file));

/** @throws FormatError for notes that make no sense; UnexecError `RESERVE_…` for such a reserve */
export function notesOfMachO(file: MachOFile): OurNotes | undefined {
  if (file.header.filetype !== MH.MH_EXECUTE) return undefined;
  for (const { owner, offset, size } of machoNotes(file)) {
    if (owner !== NOTE_OWNER || file.source === undefined) continue;
    return decode(readNotes(file.source.read(offset, Math.min(size, NOTES_ROOM)), 8));
  }
  // The header may have had no room for a command that says where they are.
  const base = findReserve(file)?.base;
  const contents = base === undefined ? undefined : atAddress(file, base + BigInt(NOTES_OFFSET));
  if (contents === undefined || contentsSize(contents) < NOTES_ROOM) return undefined;
  return decode(readNotes(readContents(contents, 0, NOTES_ROOM), 8));
}

function decode(notes: readonly ElfNote[]): OurNotes | undefined {
  const ours = notes.filter(({ owner }) => owner === NOTE_OWNER);
  const manifest = ours.find(({ type }) => type === NOTE.MANIFEST);
  if (manifest === undefined) return undefined;
  const zones = ours.find(({ type }) => type === NOTE.ZONES);
  return { manifest: manifestFields(manifest.desc), zones: zones ? decodeZones(zones.desc) : [] };
}
