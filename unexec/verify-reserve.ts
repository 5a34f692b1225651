/**
 * Whether a Mach-O file that `prepare` or the `restart` style has written is what it says about itself: its
 * reserve, the zone in it, and the notes.
 *
 * @module
 */
import { readNotes as readRecords } from '../formats/elf/index.ts';
import { FormatError, hex } from '../formats/errors.ts';
import type { Finding } from '../formats/finding.ts';
import {
  atAddress,
  CPU_TYPE,
  contentsSize,
  type MachOFile,
  MH,
  readContents,
  readNotes,
  type SegmentCommand,
  segmentsOf,
} from '../formats/macho/index.ts';
import { UnexecError } from './errors.ts';
import { findReserve, type Reserve } from './macho/reserve.ts';
import { NOTE } from './manifest.ts';
import { NOTE_OWNER } from './styles/restart-macho/notes.ts';
import { decodeZones } from './zones/note.ts';
import {
  NOTES_OFFSET,
  NOTES_ROOM,
  readZoneHeader,
  type StartedZone,
  unexec_zone_header,
} from './zones/reserve.ts';

export interface VerifiedReserve {
  /** A reserve that is empty, or one with a zone in it. */
  readonly state: 'none' | 'prepared' | 'dumped';
  readonly findings: readonly Finding[];
}

/** What is wrong with a file that unexec wrote, by its own words; nothing for a file of others. */
export function verifyReserve(file: MachOFile): VerifiedReserve {
  // A core has all of it as well, and is none of ours.
  if (file.header.filetype !== MH.MH_EXECUTE) return { state: 'none', findings: [] };
  try {
    const reserve = findReserve(file);
    if (reserve?.base === undefined) return { state: 'none', findings: [] };
    const { base } = reserve;
    const segment = segmentsOf(file).find(
      ({ vmaddr, vmsize }) => base >= vmaddr && base + BigInt(reserve.size) <= vmaddr + vmsize,
    );
    if (segment === undefined) {
      const end = hex(base + BigInt(reserve.size));
      return {
        state: 'prepared',
        findings: [wrong(`the reserve is ${hex(base)} to ${end}, expected within a segment`)],
      };
    }
    const zone = readZone(file, reserve, base);
    if (zone === undefined) return { state: 'prepared', findings: [] };
    const faults = [...beyondZone(segment, base, zone), ...noteFaults(file, segment, base, zone)];
    return { state: 'dumped', findings: faults.map(wrong) };
  } catch (error) {
    if (!(error instanceof FormatError) && !(error instanceof UnexecError)) throw error;
    return { state: 'prepared', findings: [wrong(error.message)] };
  }
}

const wrong = (what: string): Finding => ({
  code: 'UNEXEC_IMAGE',
  severity: 'error',
  message: `unexec: the image is wrong: ${what}`,
});

/** Without bytes in the file, the reserve is of zeros: nothing has been started. */
function readZone(file: MachOFile, reserve: Reserve, base: bigint): StartedZone | undefined {
  const contents = atAddress(file, base);
  if (contents === undefined || contentsSize(contents) < unexec_zone_header.size) return undefined;
  return readZoneHeader(readContents(contents, 0, unexec_zone_header.size), reserve.size);
}

/** Bytes read at once. */
const CHUNK = 1 << 20;

/** Beyond the high-water mark everything is zero: the allocator relies on it. */
function* beyondZone(segment: SegmentCommand, base: bigint, { highWater }: StartedZone): Iterable<string> {
  const { contents, vmaddr } = segment;
  if (contents === undefined) return;
  const end = contentsSize(contents);
  for (let at = Number(base - vmaddr) + highWater; at < end; at += CHUNK) {
    const found = readContents(contents, at, Math.min(CHUNK, end - at)).findIndex(byte => byte !== 0);
    if (found < 0) continue;
    yield `there are bytes at ${hex(vmaddr + BigInt(at + found))}, expected zeros beyond the high-water mark of the zone`;
    return;
  }
}

/** The notes behind the zone's header, and the LC_NOTE that leads to them. */
function* noteFaults(
  file: MachOFile,
  segment: SegmentCommand,
  base: bigint,
  zone: StartedZone,
): Iterable<string> {
  const place = base + BigInt(NOTES_OFFSET);
  const contents = atAddress(file, place);
  if (contents === undefined || contentsSize(contents) < NOTES_ROOM) {
    yield 'it has no notes';
    return;
  }
  const records = readRecords(readContents(contents, 0, NOTES_ROOM), 8).filter(
    ({ owner }) => owner === NOTE_OWNER,
  );
  const manifest = records.find(({ type }) => type === NOTE.MANIFEST);
  const zones = records.find(({ type }) => type === NOTE.ZONES);
  // A program that is in its first life has started its zone, but has not been dumped.
  if (zone.generation === 0 && manifest === undefined) return;
  if (manifest === undefined) yield 'it has no manifest';
  else yield* manifestFaults(file, manifest.desc, zone);
  if (zones === undefined) yield 'it has no zone note';
  else if (decodeZones(zones.desc).length === 0) yield 'its zone note is empty';
  const offset = segment.fileoff + Number(place - segment.vmaddr);
  for (const note of readNotes(file)) {
    if (note.owner !== NOTE_OWNER || note.offset === offset) continue;
    yield `LC_NOTE leads to ${hex(note.offset)}, expected the notes at ${hex(offset)}`;
  }
}

function* manifestFaults({ header }: MachOFile, desc: Uint8Array, zone: StartedZone): Iterable<string> {
  const { style, arch, generation } = decode(desc);
  const expected = header.cputype === CPU_TYPE.CPU_TYPE_ARM64 ? 'aarch64' : 'x86_64';
  if (style !== 'restart') yield `the style in its manifest is ${JSON.stringify(style)}, expected "restart"`;
  if (arch !== expected)
    yield `the machine in its manifest is ${JSON.stringify(arch)}, expected "${expected}"`;
  if (generation !== zone.generation) {
    yield `the generation in its manifest is ${JSON.stringify(generation)}, expected ${zone.generation} as the zone has`;
  }
}

/** A damaged manifest may be anything. */
function decode(desc: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(desc));
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch (cause) {
    throw new FormatError('MANIFEST_MALFORMED', `manifest: ${String(cause)}, expected JSON in UTF-8`);
  }
}
