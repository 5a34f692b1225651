import test from 'ava';
import { readNotes } from '../../../../formats/elf/index.ts';
import { NOTE, type RestartManifest } from '../../../../unexec/manifest.ts';
import { encodeReserveNotes } from '../../../../unexec/styles/restart-macho/notes.ts';
import { decodeZones } from '../../../../unexec/zones/note.ts';
import { NOTES_ROOM } from '../../../../unexec/zones/reserve.ts';
import type { MallocZone } from '../../../../unexec/zones.ts';

const manifest: RestartManifest = {
  version: 1,
  tool: '1.2.3',
  style: 'restart',
  arch: 'x86_64',
  program: 'world',
  argv: ['world', '3'],
  freezePoint: 'core',
  frozenAt: '2026-01-02T03:04:05Z',
  generation: 2,
  pointers: { found: 'scan', count: 12 },
};
const zone: MallocZone = {
  kind: 'reserve',
  base: 0x1_0000_8000n,
  size: 0x10_0000,
  used: 0x1234,
  highWater: 0x9000,
  pageSize: 4096,
  isDefault: true,
};

/** What the notes say: the manifest, and the zones. */
function read(bytes: Uint8Array) {
  const notes = readNotes(bytes, 8).filter(({ owner }) => owner === 'unexec');
  const payload = (type: number): Uint8Array =>
    notes.find(note => note.type === type)?.desc ?? new Uint8Array();
  return {
    said: JSON.parse(new TextDecoder().decode(payload(NOTE.MANIFEST))),
    zones: decodeZones(payload(NOTE.ZONES)),
  };
}

const long = 'x'.repeat(NOTES_ROOM);
const manifests: readonly (readonly [
  what: string,
  given: Partial<RestartManifest>,
  said: Partial<RestartManifest>,
])[] = [
  ['all of it', {}, {}],
  ['without arguments that are too long', { argv: ['world', long] }, { argv: [] }],
  ['without arguments that are too many', { argv: Array.from({ length: 3000 }, () => 'x') }, { argv: [] }],
  ['with a freeze point that was cut', { freezePoint: long }, { argv: [], freezePoint: long.slice(0, 500) }],
  [
    'with letters that take six bytes',
    { program: '\u0001'.repeat(5000), freezePoint: '\u0001'.repeat(5000) },
    { argv: [], program: '\u0001'.repeat(500), freezePoint: '\u0001'.repeat(500) },
  ],
];
for (const [what, given, said] of manifests)
  test(`encodeReserveNotes() tells the zones and the manifest, ${what}`, t => {
    const bytes = encodeReserveNotes({ ...manifest, ...given }, [zone]);
    t.is(bytes.length, NOTES_ROOM);
    t.deepEqual(read(bytes), { said: { ...manifest, ...said }, zones: [zone] });
  });
