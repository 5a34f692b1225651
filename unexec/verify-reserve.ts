/**
 * Whether a file that `prepare` or the `restart` style has written is what it says about itself: its reserve,
 * the zone in it, and the notes.
 *
 * @module
 */
import { type Contents, contentsSize, readContents } from '../formats/contents.ts';
import {
  type ElfFile,
  type ElfNote,
  EM,
  atAddress as elfAtAddress,
  elfNotes,
  isProgram,
  PT,
  readNotes as readRecords,
} from '../formats/elf/index.ts';
import { FormatError, hex } from '../formats/errors.ts';
import type { Finding } from '../formats/finding.ts';
import {
  CPU_TYPE,
  type MachOFile,
  MH,
  atAddress as machoAtAddress,
  readNotes,
  segmentsOf,
} from '../formats/macho/index.ts';
import { findReserve as findElfReserve } from './elf/reserve.ts';
import { UnexecError } from './errors.ts';
import { findReserve as findMachOReserve } from './macho/reserve.ts';
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

/** What a format says of a file that may have a reserve. */
interface ReserveView {
  /** As it is in a manifest. */
  readonly arch: string;
  readonly find: () => { readonly base: bigint | undefined; readonly size: number } | undefined;
  /** What the file has from an address on, to the end of its segment's bytes. */
  readonly at: (address: bigint) => Contents | undefined;
  /** The notes of ours. */
  readonly records: (base: bigint) => readonly ElfNote[];
  /** What else may be wrong, once it is clear that the program was dumped. */
  readonly more: (base: bigint) => Iterable<string>;
}

const NONE: VerifiedReserve = { state: 'none', findings: [] };

/** What is wrong with a Mach-O file that unexec wrote, by its own words; nothing for a file of others. */
export function verifyMachOReserve(file: MachOFile): VerifiedReserve {
  // A core has all of it as well, and is none of ours.
  if (file.header.filetype !== MH.MH_EXECUTE) return NONE;
  const at = (address: bigint): Contents | undefined => machoAtAddress(file, address);
  return verify({
    arch: file.header.cputype === CPU_TYPE.CPU_TYPE_ARM64 ? 'aarch64' : 'x86_64',
    find: () => findMachOReserve(file),
    at,
    records: base => {
      const contents = at(base + BigInt(NOTES_OFFSET));
      if (contents === undefined || contentsSize(contents) < NOTES_ROOM) return [];
      return readRecords(readContents(contents, 0, NOTES_ROOM), 8);
    },
    more: base => strayNotes(file, base),
  });
}

/** The same for an ELF program; frozen ones (style `resume`) have no reserve of their own. */
export function verifyElfReserve(file: ElfFile): VerifiedReserve {
  if (!isProgram(file)) return NONE;
  return verify({
    arch: file.header.machine === EM.EM_AARCH64 ? 'aarch64' : 'x86_64',
    find: () => loadedReserve(file),
    at: address => elfAtAddress(file, address),
    records: () => elfNotes(file),
    more: () => [],
  });
}

/** The reserve, which a segment has in memory. */
function loadedReserve(file: ElfFile): ReturnType<typeof findElfReserve> {
  const reserve = findElfReserve(file);
  if (reserve?.base === undefined) return reserve;
  const { base } = reserve;
  const end = base + BigInt(reserve.size);
  const isLoaded = file.segments.some(
    ({ type, address, memorySize }) =>
      type === PT.PT_LOAD && base >= address && end <= address + BigInt(memorySize),
  );
  if (isLoaded) return reserve;
  const message = `the reserve is ${hex(base)} to ${hex(end)}, expected within a PT_LOAD`;
  throw new UnexecError('RESERVE_DAMAGED', message);
}

function verify(view: ReserveView): VerifiedReserve {
  try {
    const reserve = view.find();
    if (reserve?.base === undefined) return NONE;
    const { base, size } = reserve;
    const zone = readZone(view, base, size);
    if (zone === undefined) return { state: 'prepared', findings: [] };
    const faults = [...beyondZone(view, base, zone), ...noteFaults(view, base, zone), ...view.more(base)];
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
function readZone({ at }: ReserveView, base: bigint, size: number): StartedZone | undefined {
  const contents = at(base);
  if (contents === undefined || contentsSize(contents) < unexec_zone_header.size) return undefined;
  return readZoneHeader(readContents(contents, 0, unexec_zone_header.size), size);
}

/** Bytes read at once. */
const CHUNK = 1 << 20;

/** Beyond the high-water mark everything is zero: the allocator relies on it. */
function* beyondZone({ at }: ReserveView, base: bigint, { size, highWater }: StartedZone): Iterable<string> {
  const start = base + BigInt(highWater);
  const contents = at(start);
  if (contents === undefined) return;
  const length = Math.min(contentsSize(contents), size - highWater);
  for (let done = 0; done < length; done += CHUNK) {
    const bytes = readContents(contents, done, Math.min(CHUNK, length - done));
    const found = bytes.findIndex(byte => byte !== 0);
    if (found < 0) continue;
    const where = hex(start + BigInt(done + found));
    yield `there are bytes at ${where}, expected zeros beyond the high-water mark of the zone`;
    return;
  }
}

/** A program whose zone was started before it was written into a file says where it comes from. */
function* noteFaults(view: ReserveView, base: bigint, zone: StartedZone): Iterable<string> {
  const records = view.records(base).filter(({ owner }) => owner === NOTE_OWNER);
  const manifest = records.find(({ type }) => type === NOTE.MANIFEST);
  const zones = records.find(({ type }) => type === NOTE.ZONES);
  if (manifest === undefined) yield 'it has no manifest';
  else yield* manifestFaults(view, manifest.desc, zone);
  if (zones === undefined) yield 'it has no zone note';
  else if (decodeZones(zones.desc).length === 0) yield 'its zone note is empty';
}

function* manifestFaults(view: ReserveView, desc: Uint8Array, zone: StartedZone): Iterable<string> {
  const { style, arch, generation } = decode(desc);
  if (style !== 'restart' && style !== 'shared') {
    yield `the style in its manifest is ${JSON.stringify(style)}, expected "restart" or "shared"`;
  }
  if (arch !== view.arch) {
    yield `the machine in its manifest is ${JSON.stringify(arch)}, expected "${view.arch}"`;
  }
  if (generation !== zone.generation) {
    yield `the generation in its manifest is ${JSON.stringify(generation)}, expected ${zone.generation} as the zone has`;
  }
}

/** The LC_NOTE of ours leads to the notes, behind the header of the zone. */
function* strayNotes(file: MachOFile, base: bigint): Iterable<string> {
  const place = base + BigInt(NOTES_OFFSET);
  const segment = segmentsOf(file).find(({ vmaddr, vmsize }) => place >= vmaddr && place < vmaddr + vmsize);
  const offset = segment && segment.fileoff + Number(place - segment.vmaddr);
  for (const note of readNotes(file)) {
    if (note.owner !== NOTE_OWNER || note.offset === offset) continue;
    yield `LC_NOTE leads to ${hex(note.offset)}, expected the notes at ${hex(offset ?? 0)}`;
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
