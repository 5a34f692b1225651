/**
 * What the new file imports: what the library did, what its pointers to other libraries need, and a version that
 * says that its loader must know compact relocations (glibc 2.36, which refuses DT_RELR without it, and which
 * older ones refuse by that name).
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import {
  DT,
  dynamicStrings,
  type ImportedSymbols,
  importSymbols,
  type NewImport,
  readImportTables,
  SHN,
} from '../../../formats/elf/index.ts';
import type { ReadRun } from './bound-words.ts';
import type { ComparedRuns, OutwardWord } from './compare-runs.ts';
import type { LibraryFile } from './library-file.ts';

/** The symbol, and what is added, that a word leading out of the library stands for. */
export interface OutwardTarget {
  /** Index among the dynamic symbols of the new file. */
  readonly symbol: number;
  readonly name: string;
  readonly addend: bigint;
}

export interface Imports {
  readonly imported: ImportedSymbols;
  /** The tables are other ones than the library's. */
  readonly changed: boolean;
  /** By value of the word in the first run. */
  readonly targets: ReadonlyMap<bigint, OutwardTarget>;
  /** Libraries that have to be loaded, and were not named: offsets of their names in the new dynstr. */
  readonly needed: readonly number[];
}

const LIBC = 'libc.so.6';
const RELR_VERSION = 'GLIBC_ABI_DT_RELR';

/** Undefined where no symbol says what a word leads to. */
export function outwardSymbol(
  library: LibraryFile,
  run: ReadRun,
  { value, module }: Pick<OutwardWord, 'value' | 'module'>,
):
  | { readonly known: number; readonly addend: number }
  | { readonly wanted: NewImport; readonly addend: number }
  | undefined {
  const known = run.importOf.get(value);
  if (known !== undefined) return { known, addend: 0 };
  const original = run.run.replaced.get(value);
  if (module === undefined && original === undefined) return undefined;
  const found = run.symbols.resolve(Number(original ?? value));
  if (found.kind === 'refused') return undefined;
  const { symbol: name, type, version, addend } = found;
  // What the library defines itself is found by its own name, wherever it leads.
  if (library.symbols.some(symbol => symbol.name === name && symbol.sectionIndex !== SHN.SHN_UNDEF)) {
    return undefined;
  }
  const wanted = version === undefined ? undefined : { library: found.library, version };
  return { wanted: { name, type, wanted }, addend };
}

/** The imports for all words that lead out; each of them has a symbol. */
export function planImports(library: LibraryFile, { a, outward }: ComparedRuns, compact: boolean): Imports {
  const found = new Map<bigint, NonNullable<ReturnType<typeof outwardSymbol>>>();
  for (const word of outward) {
    if (found.has(word.value)) continue;
    const symbol = outwardSymbol(library, a, word);
    if (symbol !== undefined) found.set(word.value, symbol);
  }
  const news = [...found].flatMap(([value, symbol]) => ('wanted' in symbol ? [{ value, ...symbol }] : []));
  const imported = importSymbols(
    readImportTables(library.file),
    news.map(({ wanted }) => wanted),
    compact ? [{ library: LIBC, version: RELR_VERSION }] : [],
  );
  const renumbered = (symbol: number): number =>
    symbol >= imported.inserted.at ? symbol + imported.inserted.count : symbol;
  const targets = new Map<bigint, OutwardTarget>();
  for (const [value, symbol] of found) {
    if ('wanted' in symbol) continue;
    const name = library.symbols[symbol.known]?.name ?? '';
    targets.set(value, { symbol: renumbered(symbol.known), name, addend: BigInt(symbol.addend) });
  }
  for (const [i, { value, wanted, addend }] of news.entries()) {
    targets.set(value, { symbol: imported.indices[i] ?? 0, name: wanted.name, addend: BigInt(addend) });
  }
  const named = new Set(dynamicStrings(library.file, DT.DT_NEEDED));
  const needed = [...imported.libraries].filter(([name]) => !named.has(name)).map(([, offset]) => offset);
  const changed = news.length > 0 || (compact && !hasRelrVersion(library));
  return { imported, changed, targets, needed };
}

const hasRelrVersion = ({ file }: LibraryFile): boolean =>
  readImportTables(file).needs.some(({ versions }) => versions.some(({ name }) => name === RELR_VERSION));

/** Whether the C library of this run takes compact relocations, and the library asks for that C library. */
export function takesCompact(library: LibraryFile, { run }: ReadRun): boolean {
  if (library.relr.length > 0) return true;
  if (!dynamicStrings(library.file, DT.DT_NEEDED).includes(LIBC)) return false;
  const libc = run.view.modules.find(({ path }) => path.endsWith(`/${LIBC}`));
  return libc !== undefined && readFileSync(libc.path).includes(`\0${RELR_VERSION}\0`);
}
