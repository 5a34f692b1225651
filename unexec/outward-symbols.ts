/**
 * Addresses outside of an image as what a dynamic loader can find again: a symbol of a library, its version,
 * and an addend. What no symbol names is refused, with the name of what is nearest.
 *
 * An address is that of a function only at its start, and of data anywhere inside it. A name is given only if
 * a loader that looks it up finds this very address: not where another module in front has the same name (a
 * program's own malloc, data that the program has copied), and not by a version that is private to a release
 * of a library. glibc chooses implementations of strlen and others by IFUNC: those have no exported names, but
 * are known where some module has had the loader bind one.
 *
 * Scope order: gABI 4.1, "Shared Object Dependencies" (breadth first by DT_NEEDED, the program first).
 * Matching of versions: glibc 2.36, elf/dl-lookup.c (check_match).
 *
 * @module
 */
import { STT } from '../formats/elf/index.ts';
import { hex } from '../formats/errors.ts';
import type { MemoryReader, Module } from './image.ts';
import { type ExportedSymbol, exportsOf, type ModuleExports } from './outward/exports.ts';
import { NearestSymbols } from './outward/nearest.ts';
import { functionAround, symbolsAt } from './outward/symbols-at.ts';

export { mappedModules } from './outward/mapped-modules.ts';

/** What a relocation against a symbol says. */
export interface FoundSymbol {
  readonly kind: 'symbol';
  /** DT_SONAME of the library that DT_NEEDED and vn_file have to name. */
  readonly library: string;
  readonly symbol: string;
  /** vna_name; undefined: the library has no versions. */
  readonly version: string | undefined;
  /** Bytes from the symbol to the address. */
  readonly addend: number;
  /** STT_*; of an IFUNC's result STT_FUNC. */
  readonly type: number;
  /** Bytes of the symbol. */
  readonly size: number;
  readonly module: Module;
}

/** Why an address cannot be found by name. */
export type OutwardRefusal =
  /** It is in no module: a stack, memory of another allocator, the vdso. */
  | 'no-module'
  /** The module's file is gone or another one. */
  | 'unreadable-module'
  /** Nothing that is exported is there. */
  | 'not-exported'
  /** Inside an exported function. */
  | 'within-function'
  /** The function that chooses an implementation, not the implementation. */
  | 'ifunc'
  /** The name leads to another module. */
  | 'interposed'
  /** The only names have versions like GLIBC_PRIVATE. */
  | 'private-version';

export interface RefusedAddress {
  readonly kind: 'refused';
  readonly why: OutwardRefusal;
  readonly module: Module | undefined;
  /** A sentence with module, nearest symbol and reason. */
  readonly message: string;
}

export type OutwardAddress = FoundSymbol | RefusedAddress;

export interface OutwardAddresses {
  /** For each address, the index of its answer. */
  readonly answerOf: Uint32Array;
  readonly answers: readonly OutwardAddress[];
}

export class OutwardSymbols {
  /** In the order in which a loader looks names up. */
  readonly #scope: readonly ModuleExports[];
  readonly #byAddress: readonly ModuleExports[];
  /** The places where a name is defined, in scope order. */
  readonly #definitions = new Map<string, { of: ModuleExports; symbol: ExportedSymbol }[]>();
  readonly #implementations: ReadonlyMap<number, Implementation>;
  readonly #nearest = new NearestSymbols();
  readonly #answers = new Map<number, OutwardAddress>();

  /** @param modules the program first, as `mappedModules` and a `ProcessImage` have them */
  constructor(modules: readonly Module[], memory: MemoryReader) {
    const all = modules.map(exportsOf);
    this.#scope = scopeOrder(all);
    this.#byAddress = all.toSorted((a, b) => (a.module.start < b.module.start ? -1 : 1));
    for (const of of this.#scope) {
      for (const symbol of of.symbols) {
        const list = this.#definitions.get(symbol.name);
        if (list === undefined) this.#definitions.set(symbol.name, [{ of, symbol }]);
        else list.push({ of, symbol });
      }
    }
    this.#implementations = this.#readImplementations(memory);
  }

  /** Answers for many addresses, of which most are alike. */
  resolveAll(addresses: Iterable<number>): OutwardAddresses {
    const answers: OutwardAddress[] = [];
    const indexes = new Map<number, number>();
    const answerOf: number[] = [];
    for (const address of addresses) {
      let index = indexes.get(address);
      if (index === undefined) {
        index = answers.push(this.resolve(address)) - 1;
        indexes.set(address, index);
      }
      answerOf.push(index);
    }
    return { answerOf: Uint32Array.from(answerOf), answers };
  }

  /** What is at an address of the process, which is below 2^48. */
  resolve(address: number): OutwardAddress {
    const known = this.#answers.get(address);
    if (known !== undefined) return known;
    const answer = this.#resolve(address);
    this.#answers.set(address, answer);
    return answer;
  }

  #resolve(address: number): OutwardAddress {
    const of = this.#moduleAt(address);
    if (of === undefined) {
      return refused('no-module', undefined, `${hex(address)} is in no program or library`);
    }
    if (of.unreadable !== undefined) {
      return refused('unreadable-module', of.module, `${this.#place(of, address)}: ${of.unreadable}`);
    }
    const implementation = this.#implementations.get(address);
    if (implementation !== undefined) {
      const { symbol, version, library } = implementation;
      const { module } = of;
      return { kind: 'symbol', library, symbol, version, addend: 0, type: STT.STT_FUNC, size: 0, module };
    }
    const candidates = symbolsAt(of.symbols, address);
    const usable = candidates.filter(symbol => !isPrivate(symbol) && symbol.type !== STT.STT_GNU_IFUNC);
    const symbol = usable.find(candidate => this.#isFound(of, candidate));
    if (symbol === undefined) return this.#refuse(of, address, candidates, usable);
    return {
      kind: 'symbol',
      library: this.#libraryOf(of, symbol),
      symbol: symbol.name,
      version: symbol.version,
      addend: address - symbol.start,
      type: symbol.type,
      size: symbol.size,
      module: of.module,
    };
  }

  /** Data that the program has copied is to be looked for in the library that it came from. */
  #libraryOf(of: ModuleExports, symbol: ExportedSymbol): string {
    if (symbol.copiedFrom !== undefined) return symbol.copiedFrom;
    if (of !== this.#scope[0]) return of.library;
    const original = this.#definitions.get(symbol.name)?.find(definition => definition.of !== of);
    return original?.of.library ?? of.library;
  }

  #refuse(
    of: ModuleExports,
    address: number,
    candidates: readonly ExportedSymbol[],
    usable: readonly ExportedSymbol[],
  ): RefusedAddress {
    const place = this.#place(of, address);
    const [hidden] = usable;
    if (hidden !== undefined) {
      const other = this.#lookUp(hidden.name, hidden.version)?.of.library ?? 'another module';
      return refused('interposed', of.module, `${place}: the name ${hidden.name} leads to ${other}`);
    }
    const chooser = candidates.find(({ type }) => type === STT.STT_GNU_IFUNC);
    if (chooser !== undefined) {
      const what = `it is the function that chooses an implementation of ${chooser.name} (IFUNC)`;
      return refused('ifunc', of.module, `${place}: ${what}`);
    }
    const [inner] = candidates;
    if (inner !== undefined) {
      const what = `${inner.name} has the version ${inner.version ?? ''}, which is for the library's own parts`;
      return refused('private-version', of.module, `${place}: ${what}`);
    }
    const around = functionAround(of.symbols, address);
    if (around !== undefined) {
      return refused('within-function', of.module, `${place}: it is inside a function, ${around.name}`);
    }
    return refused('not-exported', of.module, `${place}, which the library does not export`);
  }

  #place(of: ModuleExports, address: number): string {
    const nearest = this.#nearest.find(of.module, address);
    const inModule = `${of.library}+${hex(address - Number(of.module.start))}`;
    if (nearest === undefined) return inModule;
    const { name, offset } = nearest;
    return `${inModule} (${name}${offset === 0 ? '' : `+${hex(offset)}`})`;
  }

  #moduleAt(address: number): ModuleExports | undefined {
    let low = 0;
    let high = this.#byAddress.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (Number(this.#byAddress[middle]?.module.start ?? 0n) <= address) low = middle + 1;
      else high = middle;
    }
    const found = this.#byAddress[low - 1];
    return found !== undefined && address < Number(found.module.end) ? found : undefined;
  }

  /** Whether a loader that looks for this symbol finds it here. */
  #isFound(of: ModuleExports, symbol: ExportedSymbol): boolean {
    const first = this.#lookUp(symbol.name, symbol.version);
    return first?.of === of && first.symbol.start === symbol.start;
  }

  #lookUp(name: string, version: string | undefined) {
    return this.#definitions.get(name)?.find(({ symbol }) => {
      // What has no version, as a program's own symbols, is taken for any.
      if (symbol.version === undefined) return true;
      return version === undefined ? symbol.isDefault : symbol.version === version;
    });
  }

  /** What IFUNCs have chosen, by address: read from the words that the loader has bound to them. */
  #readImplementations(memory: MemoryReader): Map<number, Implementation> {
    const found = new Map<number, Implementation>();
    const bytes = new Uint8Array(8);
    const word = new DataView(bytes.buffer);
    for (const { bound } of this.#scope) {
      for (const { address, symbol, version, addend } of bound) {
        const first = this.#lookUp(symbol, version);
        if (first?.symbol.type !== STT.STT_GNU_IFUNC) continue;
        memory.read(address, bytes);
        const value = Number(word.getBigUint64(0, true) - addend);
        // Not bound yet: it leads into the module's own PLT.
        const { start, end } = first.of.module;
        if (value < Number(start) || value >= Number(end) || found.has(value)) continue;
        found.set(value, { symbol, version: first.symbol.version, library: first.of.library });
      }
    }
    return found;
  }
}

interface Implementation {
  readonly symbol: string;
  readonly version: string | undefined;
  readonly library: string;
}

const refused = (why: OutwardRefusal, module: Module | undefined, message: string): RefusedAddress => ({
  kind: 'refused',
  why,
  module,
  message,
});

/** The program, what it needs, what that needs; then what was opened later. */
function scopeOrder(all: readonly ModuleExports[]): ModuleExports[] {
  const byName = new Map(all.map(of => [of.library, of]));
  const order = new Set<ModuleExports>(all.slice(0, 1));
  for (const { needed } of order) {
    for (const name of needed) {
      const of = byName.get(name);
      if (of !== undefined) order.add(of);
    }
  }
  for (const of of all) order.add(of);
  return [...order];
}

const isPrivate = ({ version }: ExportedSymbol): boolean => version?.endsWith('_PRIVATE') === true;
