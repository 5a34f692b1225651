/**
 * Initialisers that already ran: what they made is in the image, so in the next life they must not run again,
 * but for the runtime's `start`, which is made for it. Programs of old libcs and static ones walk their lists
 * by symbols rather than by the dynamic section, so the lists cannot be made shorter: every entry that must
 * not run becomes `start`, which does its work once in a life, or else `_init`, which the start files leave empty.
 * Of a static program's libraries, whose variables begin anew, the initialisers run again.
 * Facts: glibc 2.36, csu/libc-start.c (call_init) and 2.31, csu/elf-init.c (__libc_csu_init); gABI 4.1,
 * "Initialization and Termination Functions".
 *
 * @module
 */
import { DT, type ElfFile, readDynamic, readSymbols, SHT } from '../../../formats/elf/index.ts';
import type { AddressStretch } from './territory.ts';

/** The lists of functions that run before main. */
export function initialiserLists(file: ElfFile): AddressStretch[] {
  const dynamic = readDynamic(file);
  const value = (tag: number): bigint | undefined => dynamic.find(entry => entry.tag === tag)?.value;
  const lists = [
    [value(DT.DT_PREINIT_ARRAY), value(DT.DT_PREINIT_ARRAYSZ)],
    [value(DT.DT_INIT_ARRAY), value(DT.DT_INIT_ARRAYSZ)],
  ].flatMap(([start, size]) =>
    start === undefined || size === undefined ? [] : [{ start, end: start + size }],
  );
  if (lists.length > 0 || dynamic.length > 0) return lists;
  // A static program: the sections say it.
  return file.sections
    .filter(({ type }) => type === SHT.SHT_INIT_ARRAY || type === SHT.SHT_PREINIT_ARRAY)
    .map(({ address, size }) => ({ start: address, end: address + BigInt(size) }));
}

export interface SettledInitialisers {
  /** Address of an entry → the function that it calls now. */
  readonly redirected: ReadonlyMap<bigint, bigint>;
  /** Entries that no longer run. */
  readonly dropped: number;
}

/** The runtime's own constructors; undefined where the program has no runtime. */
export interface RuntimeStarts {
  readonly start: bigint | undefined;
  readonly lastStart: bigint | undefined;
  readonly hasLibraries: boolean;
}

/**
 * @param runtime `start` runs in every life, `lastStart` does nothing; what of a static program (`hasLibraries`)
 *   is not between them is a library's
 * @param targetOf what an entry of a list calls
 */
export function settleInitialisers(
  file: ElfFile,
  runtime: RuntimeStarts,
  targetOf: (address: bigint) => bigint,
): SettledInitialisers {
  const { start, lastStart, hasLibraries } = runtime;
  const harmless = new Set(crtFunctions(file));
  const instead = start ?? readDynamic(file).find(({ tag }) => tag === DT.DT_INIT)?.value ?? [...harmless][0];
  const redirected = new Map<bigint, bigint>();
  if (instead === undefined) return { redirected, dropped: 0 };
  for (const list of initialiserLists(file)) {
    const entries = entriesOf(list, targetOf);
    for (const [address, target] of hasLibraries ? ofProgram(entries, runtime) : entries) {
      if ([0n, start, lastStart, instead].includes(target) || harmless.has(target)) continue;
      redirected.set(address, instead);
    }
  }
  return { redirected, dropped: redirected.size };
}

const WORD = 8n;

type Entry = readonly [address: bigint, target: bigint];

function entriesOf({ start, end }: AddressStretch, targetOf: (address: bigint) => bigint): Entry[] {
  const entries: Entry[] = [];
  for (let address = start; address + WORD <= end; address += WORD)
    entries.push([address, targetOf(address)]);
  return entries;
}

/** A list in which neither is has no entry of a library: those for before everything else are programs' only. */
function ofProgram(entries: readonly Entry[], { start, lastStart }: RuntimeStarts): readonly Entry[] {
  const first = entries.findIndex(([, target]) => target === start);
  const last = entries.findIndex(([, target]) => target === lastStart);
  return entries.slice(Math.max(0, first), last < 0 ? entries.length : last + 1);
}

/**
 * What start files and libgcc put into the lists: it does nothing a second time, or (`init_have_lse_atomics` of
 * AArch64) asks what the machine of this life can do.
 */
const EVERY_LIFE: ReadonlySet<string> = new Set([
  'frame_dummy',
  '_init',
  'init_cacheinfo',
  'init_have_lse_atomics',
]);

function crtFunctions(file: ElfFile): bigint[] {
  const symtab = file.sections.find(({ type }) => type === SHT.SHT_SYMTAB);
  if (symtab === undefined) return [];
  return readSymbols(file, symtab)
    .filter(({ name }) => EVERY_LIFE.has(name))
    .map(({ value }) => value);
}
