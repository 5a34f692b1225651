/**
 * The tables of the new file that a loader reads, and what the dynamic section says of them: notes, relocations, and
 * symbols where more are imported.
 *
 * @module
 */
import {
  DT,
  type ElfSection,
  encodeImportTables,
  encodeNotes,
  encodeRela,
  encodeRelr,
  relaTableOf,
  SHT,
} from '../../../formats/elf/index.ts';
import type { LibraryContents } from './write-library.ts';

/** A table in the read-only segment, with the section that describes it. */
export interface NewTable {
  readonly section: Partial<ElfSection> & Pick<ElfSection, 'name' | 'type'>;
  readonly contents: Uint8Array;
  /** DT_*: the entry that holds its address. */
  readonly tag: number | undefined;
}

/** The tables, and what the dynamic section says beside their addresses. */
export function planTables(
  contents: Pick<LibraryContents, 'library' | 'relocations' | 'imports' | 'compact' | 'notes'>,
): {
  tables: NewTable[];
  changes: Map<number, bigint | undefined>;
} {
  const { library, relocations, imports, compact } = contents;
  const { types, dynamic } = library;
  const isCompact = ({ place }: { readonly place: bigint }): boolean => compact && place % 8n === 0n;
  const relr = encodeRelr(BigUint64Array.from(relocations.relative.filter(isCompact), ({ place }) => place));
  const relative = relocations.relative.filter(word => !isCompact(word));
  const rela = encodeRela(
    relaTableOf([
      ...relative.map(({ place, target }) => ({
        offset: place,
        type: types.relative,
        addend: BigInt.asIntN(64, target),
      })),
      ...relocations.symbolic,
    ]),
  );
  const notes = encodeNotes(
    contents.notes.map(({ type, desc }) => ({ owner: 'unexec', type, desc })),
    4,
  );
  const has = (tag: number): boolean => dynamic.some(entry => entry.tag === tag);
  const changes = new Map<number, bigint | undefined>([
    // They have run, and what they did is in the dump. Destructors run at the end of each life.
    [DT.DT_INIT, undefined],
    [DT.DT_INIT_ARRAY, undefined],
    [DT.DT_INIT_ARRAYSZ, undefined],
  ]);
  const tables: NewTable[] = [
    { section: { name: '.note.unexec', type: SHT.SHT_NOTE, align: 4 }, contents: notes, tag: undefined },
  ];
  if (relr.length > 0 || has(DT.DT_RELR)) {
    const section = { name: '.relr.dyn', type: SHT.SHT_RELR, align: 8, entsize: 8 };
    tables.push({ section, contents: relr, tag: DT.DT_RELR });
    changes.set(DT.DT_RELRSZ, BigInt(relr.length)).set(DT.DT_RELRENT, 8n);
  }
  if (rela.length > 0 || has(DT.DT_RELA)) {
    const link = Math.max(
      0,
      library.file.sections.findIndex(({ type }) => type === SHT.SHT_DYNSYM),
    );
    const section = { name: '.rela.dyn', type: SHT.SHT_RELA, align: 8, entsize: 24, link };
    tables.push({ section, contents: rela, tag: DT.DT_RELA });
    changes.set(DT.DT_RELASZ, BigInt(rela.length)).set(DT.DT_RELAENT, 24n);
    changes.set(DT.DT_RELACOUNT, relative.length > 0 ? BigInt(relative.length) : undefined);
  }
  if (imports.changed) {
    const encoded = encodeImportTables(imports.imported.tables);
    for (const { tag, type, info, align, contents: bytes } of encoded.tables) {
      const section = { name: NAMES.get(type) ?? '', type, align, ...(info === undefined ? {} : { info }) };
      tables.push({ section, contents: bytes, tag });
    }
    for (const [tag, value] of encoded.values) changes.set(tag, value);
  }
  return { tables, changes };
}

/** Sections of tables that a library may not have had. */
const NAMES: ReadonlyMap<number, string> = new Map([
  [SHT.SHT_GNU_versym, '.gnu.version'],
  [SHT.SHT_GNU_verneed, '.gnu.version_r'],
]);
