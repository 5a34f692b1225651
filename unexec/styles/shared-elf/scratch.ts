/**
 * Variables that the user gives up: caches, seeds, times. They are zero in the new file, and may differ.
 *
 * @module
 */
import { type ElfSymbol, readSymbols, SHT } from '../../../formats/elf/index.ts';
import { UnexecError } from '../../errors.ts';
import type { Scratch } from './compare-runs.ts';
import { type LibraryFile, writableAt } from './library-file.ts';

/**
 * The memory of these variables.
 *
 * @throws UnexecError `SCRATCH_NOT_FOUND`
 */
export function findScratch(library: LibraryFile, names: readonly string[]): Scratch[] {
  const { file, path } = library;
  const table = file.sections.find(({ type }) => type === SHT.SHT_SYMTAB);
  const symbols: readonly ElfSymbol[] = table === undefined ? library.symbols : readSymbols(file, table);
  return names.flatMap(name => {
    const found = symbols.filter(
      symbol =>
        symbol.name === name && symbol.size > 0 && writableAt(library, symbol.value)?.isLoaders === false,
    );
    if (found.length > 0) return found.map(({ value, size }) => ({ address: value, size }));
    throw new UnexecError('SCRATCH_NOT_FOUND', `${path} has no variable ${name} that could be written to`, {
      path,
      hint: `its variables: nm ${path} | grep -i ' [bd] '`,
    });
  });
}
