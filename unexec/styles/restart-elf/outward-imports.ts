/**
 * Pointers out of the program as symbols that it can import: of the libraries that the loader maps at every
 * start. What the program has opened by itself is not there in the next life before it opens it again.
 *
 * @module
 */
import type { NewImport } from '../../../formats/elf/index.ts';
import type { Module } from '../../image.ts';
import { exportsOf } from '../../outward/exports.ts';
import { type FoundSymbol, mappedModules, OutwardSymbols } from '../../outward-symbols.ts';
import type { Run } from '../restart/found-pointers.ts';
import type { SymbolWord } from './loaders-words.ts';

/** Libraries lie higher, and programs of Linux end there. */
const LOWEST = 2n ** 32n;
const HIGHEST = 2n ** 47n;
const STT_TLS = 6;

/** Imports that the program does not have yet, and what in memory they stand for. */
export class OutwardImports {
  /** In the order of their first use. */
  readonly imports: NewImport[] = [];
  readonly #first: Run;
  readonly #path: string;
  readonly #words = new Map<bigint, SymbolWord | undefined>();
  readonly #positions = new Map<string, number>();
  /** Libraries' tables are read when the first address is asked for. */
  #known: { readonly symbols: OutwardSymbols; readonly starting: ReadonlySet<Module> } | undefined;

  /** @param path of the executable */
  constructor(first: Run, path: string) {
    this.#first = first;
    this.#path = path;
  }

  /** A word with this value, as one that is bound; its `symbolIndex` is the position in `imports`. */
  wordFor(value: bigint): SymbolWord | undefined {
    if (!this.#words.has(value)) this.#words.set(value, this.#find(value));
    return this.#words.get(value);
  }

  /** What no import stands for: a place in a library, and why not. */
  describe(value: bigint): string | undefined {
    const found =
      value >= LOWEST && value < HIGHEST ? this.#known?.symbols.resolve(Number(value)) : undefined;
    if (found?.kind !== 'refused' || found.module === undefined) return undefined;
    return found.message;
  }

  #find(value: bigint): SymbolWord | undefined {
    if (value < LOWEST || value >= HIGHEST) return undefined;
    this.#known ??= this.#readLibraries();
    const found = this.#known.symbols.resolve(Number(value));
    if (found.kind === 'refused' || found.type === STT_TLS || !this.#known.starting.has(found.module)) {
      return undefined;
    }
    return {
      address: 0n,
      symbol: found.symbol,
      libOrdinal: 0,
      symbolIndex: this.#positionOf(found),
      addend: BigInt(found.addend),
      type: 0,
      weak: false,
      lazy: false,
    };
  }

  #positionOf({ symbol: name, version, library, type }: FoundSymbol): number {
    const key = `${name}@${version ?? ''}`;
    const position = this.#positions.get(key) ?? this.imports.length;
    if (position === this.imports.length) {
      const wanted = version === undefined ? undefined : { library, version };
      this.imports.push({ name, type, wanted });
      this.#positions.set(key, position);
    }
    return position;
  }

  #readLibraries() {
    const { image } = this.#first;
    const modules = mappedModules(image, this.#path);
    return { symbols: new OutwardSymbols(modules, image.memory), starting: mappedAtStart(modules) };
  }
}

/** The program, what it needs, and what that needs. */
function mappedAtStart(modules: readonly Module[]): Set<Module> {
  const all = modules.map(exportsOf);
  const names = new Set(all.slice(0, 1).map(({ library }) => library));
  for (const name of names) {
    for (const needed of all.find(({ library }) => library === name)?.needed ?? []) names.add(needed);
  }
  return new Set(all.filter(({ library }) => names.has(library)).map(({ module }) => module));
}
