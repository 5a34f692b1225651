/**
 * What cannot be frozen of a library, each with where it is and what it is: variables by their symbols, words of
 * blocks by the variable that leads to them.
 *
 * @module
 */
import { type ElfSymbol, readSymbols, SHT, STT } from '../../../formats/elf/index.ts';
import { type Reason, UnexecError } from '../../errors.ts';
import type { LibraryRun } from '../../sources/load-library.ts';
import type { ComparedRuns, OutwardWord } from './compare-runs.ts';
import { outwardSymbol } from './imports.ts';
import type { LibraryFile } from './library-file.ts';
import { changedThreadLocals } from './thread-local.ts';

/** A variable of the library, by its symbol. */
export type VariableNamer = (address: bigint) => string;

const MOST_REASONS = 50;

/** Names addresses of the file. */
export function variableNamer({ file, symbols }: LibraryFile): VariableNamer {
  const table = file.sections.find(({ type }) => type === SHT.SHT_SYMTAB);
  const all: readonly ElfSymbol[] = table === undefined ? symbols : readSymbols(file, table);
  const objects = all.filter(
    ({ type, name, sectionIndex }) => type === STT.STT_OBJECT && name !== '' && sectionIndex !== 0,
  );
  return address => {
    const symbol = objects.find(
      ({ value, size }) => address >= value && address < value + BigInt(Math.max(size, 1)),
    );
    if (symbol === undefined) return `0x${address.toString(16)}`;
    const into = address - symbol.value;
    return into === 0n ? symbol.name : `${symbol.name}+0x${into.toString(16)}`;
  };
}

/**
 * Refuses what no file can hold, all reasons at once.
 *
 * @throws UnexecError `CANNOT_BE_KEPT`
 */
export function refuseWords(library: LibraryFile, compared: ComparedRuns): void {
  const nameOf = variableNamer(library);
  const where = (at: number): string => placeName(compared, nameOf, at);
  const hex = (value: bigint): string => `0x${value.toString(16)}`;
  const reasons = changedThreadLocals(library, compared.a);
  for (const { at, value1, value2, why } of compared.unexplained) {
    reasons.push({
      code: 'WORD_UNEXPLAINED',
      what: `${where(at)} ${why}: ${hex(value1)} and ${hex(value2)}`,
      remedy:
        'have the initialiser do the same each time, or give the variable up: --scratch SYMBOL; if a number was stored over a part of a pointer: --clear-remains',
    });
  }
  const named = new Map<bigint, boolean>();
  for (const word of compared.outward) {
    const known = named.get(word.value) ?? outwardSymbol(library, compared.a, word) !== undefined;
    named.set(word.value, known);
    if (known) continue;
    reasons.push({
      code: word.module === undefined ? 'POINTER_OUT' : 'POINTER_WITHOUT_SYMBOL',
      what: `${where(word.at)} leads to ${targetName(compared, word)}`,
      remedy:
        word.module === undefined
          ? 'clear it at the end of the initialiser, or give the variable up: --scratch SYMBOL'
          : 'let the library use an exported symbol of that module',
    });
  }
  refuse(library.path, reasons, compared.unexplainedCount - compared.unexplained.length);
}

/** Refuses what the initialiser has left behind in the process. @throws UnexecError `CANNOT_BE_KEPT` */
export function refuseLeftovers(path: string, { threads, descriptors }: LibraryRun): void {
  const reasons = descriptors.map(({ fd, to }) => ({
    code: 'DESCRIPTOR_LEFT',
    what: `the initialiser has left descriptor ${fd} open (${to})`,
    remedy: 'close it before it returns',
  }));
  if (threads > 0) {
    reasons.push({
      code: 'THREADS_LEFT',
      what: `the initialiser has left ${threads} thread${threads === 1 ? '' : 's'} running`,
      remedy: 'join them before it returns, and start them where they are needed',
    });
  }
  refuse(path, reasons, 0);
}

function refuse(path: string, reasons: readonly Reason[], unlisted: number): void {
  if (reasons.length === 0) return;
  const count = reasons.length + unlisted;
  throw new UnexecError(
    'CANNOT_BE_KEPT',
    `${path} cannot be frozen as it is, for ${count} reason${count === 1 ? '' : 's'}`,
    { path, reasons: reasons.slice(0, MOST_REASONS) },
  );
}

function placeName({ a, pairs }: ComparedRuns, nameOf: VariableNamer, at: number): string {
  const { start, end, bias } = a.run.library;
  const address = BigInt(at);
  if (address >= start && address < end) return nameOf(address - bias);
  let number = pairs.numberAt(at);
  if (number < 0) return 'a word';
  const { a: block, size } = pairs.extent(number);
  let root = 0;
  // Back along the words that led there, to a variable.
  for (let steps = 0; number >= 0 && steps <= pairs.count; steps++) {
    root = pairs.foundAt[number] ?? 0;
    number = root === 0 ? -1 : pairs.numberAt(root);
  }
  const by = root === 0 ? 'what the initialiser returned' : nameOf(BigInt(root) - bias);
  return `offset ${at - block} of a block of ${size} bytes behind ${by}`;
}

function targetName({ a }: ComparedRuns, { value, module, name }: OutwardWord): string {
  if (module === undefined) return name;
  const found = a.symbols.resolve(Number(value));
  return found.kind === 'refused' ? found.message : `${found.symbol} of ${found.library}`;
}
