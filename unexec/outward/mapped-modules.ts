/**
 * The ELF files that are mapped in any memory image: a process of Linux, or what an emulator shows of one.
 * Each begins with its ELF header in the first of its mappings, and is named by its path.
 *
 * @module
 */
import type { MemoryImage, Module } from '../image.ts';
import { moduleAt } from '../linux/modules.ts';

/** Modules by address; the one with this path first: the program. */
export function mappedModules(
  { regions, memory }: Pick<MemoryImage, 'regions' | 'memory'>,
  program: string,
): Module[] {
  const bytes = (address: bigint, length: number): Uint8Array => {
    const into = new Uint8Array(length);
    memory.read(address, into);
    return into;
  };
  const found = regions
    .filter(({ name, read, size }) => read && size > 0 && name.startsWith('/'))
    .flatMap(({ start, name }) => moduleAt({ start, name }, { bytes }) ?? []);
  // A file's later mappings are no modules, whatever they begin with.
  const modules = found.filter(
    ({ start }, i) => !found.some((other, k) => k < i && other.start <= start && start < other.end),
  );
  const isProgram = ({ path }: Module): boolean => path === program;
  return [...modules.filter(isProgram), ...modules.filter(module => !isProgram(module))];
}
