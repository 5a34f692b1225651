/**
 * The symbol that an address belongs to, for messages.
 *
 * @module
 */

export interface NamedAddress {
  readonly name: string;
  readonly value: bigint;
}

/**
 * Finds the last symbol at or before an address of a file. `readTable` gives the file's symbols ascending, and is
 * called once a file: a report names hundreds of places.
 */
export function symbolFinder<F extends object>(
  readTable: (file: F) => readonly NamedAddress[],
): (file: F, address: bigint) => NamedAddress | undefined {
  const tables = new WeakMap<F, readonly NamedAddress[]>();
  return (file, address) => {
    const table = tables.get(file) ?? readTable(file);
    tables.set(file, table);
    let low = 0;
    let high = table.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((table[middle]?.value ?? 0n) <= address) low = middle + 1;
      else high = middle;
    }
    return table[low - 1];
  };
}
