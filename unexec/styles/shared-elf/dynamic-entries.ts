/**
 * The dynamic section of a frozen library: new tables, and no initialisers. They have run, and what they did is in
 * the dump. Destructors (DT_FINI, DT_FINI_ARRAY) run at the end of each life.
 *
 * @module
 */
import { DT, Elf64_Dyn, type ElfDynamic, LE } from '../../../formats/elf/index.ts';
import { viewOf } from '../../../formats/struct.ts';
import { UnexecError } from '../../errors.ts';

const INITIALISERS: ReadonlySet<number> = new Set([DT.DT_INIT, DT.DT_INIT_ARRAY, DT.DT_INIT_ARRAYSZ]);

/**
 * The entries without initialisers, with these values: in place of those that there are, else behind them.
 *
 * @param room bytes of the section
 * @throws UnexecError `NO_DYNAMIC_ROOM`
 */
export function encodeDynamic(
  entries: readonly ElfDynamic[],
  set: readonly ElfDynamic[],
  room: number,
): Uint8Array {
  const values = new Map(set.map(({ tag, value }) => [tag, value]));
  const kept = entries
    .filter(({ tag }) => !INITIALISERS.has(tag))
    .map(({ tag, value }) => ({ tag, value: values.get(tag) ?? value }));
  const known = new Set(kept.map(({ tag }) => tag));
  const all = [...kept, ...set.filter(({ tag }) => !known.has(tag))];
  const needed = (all.length + 1) * Elf64_Dyn.size;
  if (needed > room) {
    throw new UnexecError('NO_DYNAMIC_ROOM', `the dynamic section needs ${needed} bytes, and has ${room}`, {
      hint: 'link the library with GNU ld, which leaves some entries free',
    });
  }
  const bytes = new Uint8Array(room);
  const view = viewOf(bytes);
  for (const [i, { tag, value }] of all.entries()) {
    Elf64_Dyn.write(view, i * Elf64_Dyn.size, { d_tag: BigInt(tag), d_un: value }, LE);
  }
  return bytes;
}
