/**
 * Where a process keeps pointers to its arguments and environment, so that the second life sees its new
 * ones. The C library's `environ` is replaced only where that is safe:
 *
 * - it still points to the vector that the kernel made: then every copy of that pointer is replaced
 *   with it (perl compares its own copy at exit, and frees what it believes to have made);
 * - or to one that libc's setenv made (libc then remembers the same pointer beside it);
 * - otherwise the program keeps its environment by itself, and goes on with it.
 *
 * @module
 */
import { STT } from '../formats/elf/index.ts';
import { viewOf } from '../formats/struct.ts';
import {
  type AddressLayout,
  type EnvironmentWord,
  endOf,
  type MemoryReader,
  type Module,
  type Region,
} from './image.ts';
import { type ModuleSymbol, type SymbolTables, symbolsNamed } from './module-symbols.ts';
import { findWords } from './word-search.ts';

export interface EnvironmentView {
  readonly regions: readonly Region[];
  readonly modules: readonly Module[];
  readonly layout: AddressLayout;
  readonly memory: MemoryReader;
}

const ENVIRONMENT_NAMES: ReadonlySet<string> = new Set(['environ', '__environ', '_environ']);
/** Pointers that count only while `main` has not run: afterwards the program holds copies. */
const ARGUMENT_NAMES: ReadonlyMap<string, EnvironmentWord['holds']> = new Map([
  ['_dl_argv', 'argv'],
  ['__libc_argv', 'argv'],
  ['program_invocation_name', 'argv[0]'],
  ['__progname_full', 'argv[0]'],
]);

/** The words to be stored at each start. */
export function findEnvironment(view: EnvironmentView, atMain: boolean): EnvironmentWord[] {
  const symbols = libcSymbols(view.modules, [...ENVIRONMENT_NAMES, ...ARGUMENT_NAMES.keys()])
    .map(({ symbol }) => symbol)
    .filter(({ type }) => type === STT.STT_OBJECT);
  const named = symbols.flatMap(({ name, address }): EnvironmentWord[] => {
    const holds = atMain ? ARGUMENT_NAMES.get(name) : undefined;
    return holds === undefined ? [] : [{ address, holds }];
  });
  const variables = new Set(
    symbols.flatMap(({ name, address }) => (ENVIRONMENT_NAMES.has(name) ? [address] : [])),
  );
  const words = [...named, ...environmentWords(view, [...variables])].filter(({ address }) =>
    isWritable(view, address),
  );
  return [...new Map(words.map(word => [word.address, word])).values()];
}

interface LibcSymbol {
  readonly module: Module;
  readonly symbol: ModuleSymbol;
}

/** What modules export. A static program keeps its libc's symbols to itself, also where it has a table of exports. */
function libcSymbols(modules: readonly Module[], names: readonly string[]): LibcSymbol[] {
  const inTables = (module: Module, tables: SymbolTables): LibcSymbol[] =>
    symbolsNamed(module, names, tables).map(symbol => ({ module, symbol }));
  const exported = modules.flatMap(module => inTables(module, 'dynamic'));
  return exported.length > 0 ? exported : modules.slice(0, 1).flatMap(module => inTables(module, 'all'));
}

/**
 * What ld.so made read-only stays: its `_dl_argv` (PT_GNU_RELRO), of which it takes the program's name
 * for its own error messages, goes on pointing to the arguments of the first life on the stack.
 */
const isWritable = ({ regions }: EnvironmentView, address: bigint): boolean =>
  regions.some(region => region.write && region.start <= address && address < endOf(region));

function environmentWords(view: EnvironmentView, variables: readonly bigint[]): EnvironmentWord[] {
  const original = kernelVector(view);
  return variables.flatMap(variable => {
    const value = readWord(view.memory, variable);
    if (value === 0n) return []; // the copy of a module that nobody uses
    if (value === original) {
      const copies = findWords(view, original);
      return [...copies, variable].map(address => ({ address, holds: 'envp' as const }));
    }
    return isLibcs(view, variable, value) ? [{ address: variable, holds: 'envp' as const }] : [];
  });
}

/** Address of the first environment pointer on the stack of a new process: after argc, argv and 0. */
function kernelVector({ layout, memory }: EnvironmentView): bigint {
  const argc = readWord(memory, layout.startStack);
  return layout.startStack + 8n * (argc + 2n);
}

/**
 * setenv(3) remembers the vector that it made in a word of libc's own data; `environ` itself may lie in
 * the program's (a copy relocation). Other modules may have a setenv too (bash has), but not the
 * function that starts programs.
 */
function isLibcs({ regions, modules, memory }: EnvironmentView, variable: bigint, value: bigint): boolean {
  const libcs = libcSymbols(modules, ['__libc_start_main']).map(({ module }) => module);
  const data = regions.filter(
    region => region.write && libcs.some(libc => libc.start <= region.start && region.start < libc.end),
  );
  return findWords({ regions: data, memory }, value).some(address => address !== variable);
}

const readWord = (memory: MemoryReader, address: bigint): bigint => {
  const bytes = new Uint8Array(8);
  memory.read(address, bytes);
  return viewOf(bytes).getBigUint64(0, true);
};
