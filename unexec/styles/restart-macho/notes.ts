/**
 * What a restarted program says of itself: the manifest and the zone note, in the reserve behind the zone's
 * header, because codesign(1) and strip(1) want nothing foreign in __LINKEDIT. They are encoded as ELF's
 * notes are, with owner `unexec`; an LC_NOTE names the place where the header has room for one.
 *
 * @module
 */
import { type ElfNote, encodeNotes } from '../../../formats/elf/index.ts';
import { encodeManifest, NOTE, type RestartManifest } from '../../manifest.ts';
import { encodeZones } from '../../zones/note.ts';
import { NOTES_ROOM } from '../../zones/reserve.ts';
import type { MallocZone } from '../../zones.ts';

/** Owner of the LC_NOTE, and of the notes in it. */
export const NOTE_OWNER = 'unexec';

/**
 * The notes, `NOTES_ROOM` bytes, zeros after the last one. Arguments are left out where there is no room for them,
 * and names cut (a symbol of C++ may have thousands of letters).
 */
export function encodeReserveNotes(manifest: RestartManifest, zones: readonly MallocZone[]): Uint8Array {
  const all = new Uint8Array(NOTES_ROOM);
  const cut = (text: string): string => text.slice(0, MOST_LETTERS);
  const withoutArguments = { ...manifest, argv: [] };
  const short = {
    ...withoutArguments,
    program: cut(manifest.program),
    freezePoint: cut(manifest.freezePoint),
  };
  const encoded = [manifest, withoutArguments, short]
    .map(candidate => encode(candidate, zones))
    .find(({ length }) => length <= NOTES_ROOM);
  if (encoded !== undefined) all.set(encoded);
  return all;
}

/** JSON makes at most 6 bytes of one: two names of this length leave room for the rest. */
const MOST_LETTERS = 500;

function encode(manifest: RestartManifest, zones: readonly MallocZone[]): Uint8Array {
  const notes: ElfNote[] = [
    { owner: NOTE_OWNER, type: NOTE.MANIFEST, desc: encodeManifest(manifest) },
    { owner: NOTE_OWNER, type: NOTE.ZONES, desc: encodeZones(zones) },
  ];
  return encodeNotes(notes, 8);
}
