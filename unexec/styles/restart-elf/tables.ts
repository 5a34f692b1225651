/**
 * The tables of the new file that the loader reads, in a read-only segment behind everything else, and the
 * words of the dynamic section that lead to them. What the program says of itself is there too.
 *
 * @module
 */
import {
  DT,
  type ElfFile,
  type ElfSegment,
  encodeNotes,
  encodeRela,
  encodeRelr,
  findSegment,
  PF,
  PT,
  readDynamic,
  SHT,
} from '../../../formats/elf/index.ts';
import { addLoadSegment, moveProgramHeaders } from '../../elf/program-headers.ts';
import { UnexecError } from '../../errors.ts';
import { encodeManifest, NOTE, type RestartManifest } from '../../manifest.ts';
import { encodeZones } from '../../zones/note.ts';
import type { MallocZone } from '../../zones.ts';
import type { NewTable, PlacedTable } from './place-parts.ts';
import type { RelocationPlan } from './relocation-plan.ts';

export interface TablesPlan {
  readonly segment: ElfSegment;
  readonly tables: readonly PlacedTable[];
  /** Words of the dynamic section: address, and what stands there. */
  readonly dynamicWords: readonly { readonly address: bigint; readonly value: bigint }[];
}

const NOTES = '.note.unexec';
const ALIGN = 8;
/** LLVM up to 14 reads all notes as if they were aligned like this. */
const NOTE_ALIGN = 4;

/** @throws UnexecError `NO_DYNAMIC_ROOM` where the dynamic section has no spare entry for a table that is new */
export function planTables(
  file: ElfFile,
  { rela, relr, relativeCount }: RelocationPlan,
  manifest: RestartManifest,
  zones: readonly MallocZone[],
): TablesPlan {
  const isDynamic = readDynamic(file).length > 0;
  const notes = encodeNotes(
    [
      { owner: 'unexec', type: NOTE.MANIFEST, desc: encodeManifest(manifest) },
      { owner: 'unexec', type: NOTE.ZONES, desc: encodeZones(zones) },
    ],
    NOTE_ALIGN,
  );
  const wanted: NewTable[] = [
    { section: { name: NOTES, type: SHT.SHT_NOTE, align: NOTE_ALIGN }, contents: notes },
  ];
  const symbols = file.sections.findIndex(({ type }) => type === SHT.SHT_DYNSYM);
  const link = { link: Math.max(0, symbols), align: ALIGN };
  if (isDynamic && rela.length > 0) {
    const section = { name: '.rela.dyn', type: SHT.SHT_RELA, entsize: 24, ...link };
    wanted.push({ section, contents: encodeRela(rela) });
  }
  if (isDynamic && relr !== undefined && relr.length > 0) {
    const section = { name: '.relr.dyn', type: SHT.SHT_RELR, entsize: 8, align: ALIGN };
    wanted.push({ section, contents: encodeRelr(relr) });
  }

  const segment = tablesSegment(file);
  let address = segment.address;
  const tables = wanted.map(table => {
    const placed = { ...table, address };
    address += BigInt(Math.ceil(table.contents.length / ALIGN) * ALIGN);
    return placed;
  });
  segment.fileSize = Number(address - segment.address);
  segment.memorySize = segment.fileSize;
  return { segment, tables, dynamicWords: isDynamic ? dynamicWords(file, tables, relativeCount) : [] };
}

/** The segment of an earlier dump, if it is the last one and can grow; or a new one behind all others. */
function tablesSegment(file: ElfFile): ElfSegment {
  const loads = file.segments.filter(({ type }) => type === PT.PT_LOAD);
  const notes = file.sections.find(({ name }) => name === NOTES);
  const present = notes && loads.find(({ address }) => address === notes.address);
  if (present !== undefined && loads.every(({ address }) => address <= present.address)) return present;
  moveProgramHeaders(file);
  return addLoadSegment(file, { flags: PF.PF_R, memorySize: 0 });
}

/** What the dynamic section says of these tables; new entries take the place of the spare ones at its end. */
function dynamicWords(
  file: ElfFile,
  tables: readonly PlacedTable[],
  relativeCount: number,
): { address: bigint; value: bigint }[] {
  const segment = findSegment(file, PT.PT_DYNAMIC);
  const entries = readDynamic(file);
  if (segment === undefined) return [];
  const wanted = new Map<number, bigint>();
  const table = (name: string): PlacedTable | undefined =>
    tables.find(({ section }) => section.name === name);
  const rela = table('.rela.dyn');
  if (rela !== undefined) {
    wanted.set(DT.DT_RELA, rela.address);
    wanted.set(DT.DT_RELASZ, BigInt(rela.contents.length));
    wanted.set(DT.DT_RELAENT, 24n);
  } else if (entries.some(({ tag }) => tag === DT.DT_RELA)) {
    wanted.set(DT.DT_RELASZ, 0n);
  }
  if (entries.some(({ tag }) => tag === DT.DT_RELACOUNT)) wanted.set(DT.DT_RELACOUNT, BigInt(relativeCount));
  const relr = table('.relr.dyn');
  if (relr !== undefined) {
    wanted.set(DT.DT_RELR, relr.address);
    wanted.set(DT.DT_RELRSZ, BigInt(relr.contents.length));
    wanted.set(DT.DT_RELRENT, 8n);
  } else if (entries.some(({ tag }) => tag === DT.DT_RELR)) {
    wanted.set(DT.DT_RELRSZ, 0n);
  }

  const words: { address: bigint; value: bigint }[] = [];
  const at = (index: number): bigint => segment.address + BigInt(index * 16);
  let next = entries.length;
  // The last entry must stay DT_NULL.
  const room = Math.floor(segment.memorySize / 16) - 1;
  for (const [tag, value] of wanted) {
    const index = entries.findIndex(entry => entry.tag === tag);
    if (index >= 0) {
      words.push({ address: at(index) + 8n, value });
      continue;
    }
    if (next >= room) {
      throw new UnexecError(
        'NO_DYNAMIC_ROOM',
        `the dynamic section has room for ${room} entries, expected more for new tables`,
        {
          hint: 'link the program with -Wl,-z,spare-dynamic-tags=8 or with GNU ld, which leaves some spare',
        },
      );
    }
    words.push({ address: at(next), value: BigInt(tag) }, { address: at(next) + 8n, value });
    next++;
  }
  return words;
}
