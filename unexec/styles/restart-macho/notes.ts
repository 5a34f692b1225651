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

/** The notes, `NOTES_ROOM` bytes, zeros after the last one. What a manifest tells of arguments may be cut. */
export function encodeReserveNotes(manifest: RestartManifest, zones: readonly MallocZone[]): Uint8Array {
  const all = new Uint8Array(NOTES_ROOM);
  const encoded = encode(manifest, zones);
  all.set(encoded.length <= NOTES_ROOM ? encoded : encode({ ...manifest, argv: [] }, zones));
  return all;
}

function encode(manifest: RestartManifest, zones: readonly MallocZone[]): Uint8Array {
  const notes: ElfNote[] = [
    { owner: NOTE_OWNER, type: NOTE.MANIFEST, desc: encodeManifest(manifest) },
    { owner: NOTE_OWNER, type: NOTE.ZONES, desc: encodeZones(zones) },
  ];
  return encodeNotes(notes, 8);
}
