/**
 * The `shared` style for ELF: the library's file again, with its variables and all that they lead to as they are
 * in memory, and a relocation for every pointer. Any loader opens it, anywhere and as often as it likes, and
 * finds it initialised.
 *
 * @module
 */
import { basename } from 'node:path';
import { SHN } from '../../formats/elf/index.ts';
import { encodeManifest, MANIFEST_VERSION, NOTE, type SharedManifest } from '../manifest.ts';
import { symbolsNamed } from '../module-symbols.ts';
import { elfScratchSymbols, parseScratch, resolveScratch } from '../scratch.ts';
import type { LibraryRun } from '../sources/load-library.ts';
import type { TargetFile } from '../target-file.ts';
import { VERSION } from '../version.ts';
import { encodeZones } from '../zones/note.ts';
import { layOutBlocks } from './shared-elf/block-layout.ts';
import { compareRuns } from './shared-elf/compare-runs.ts';
import { dumpBytes, fillWords, patcher } from './shared-elf/dumped-bytes.ts';
import { planImports, takesCompact } from './shared-elf/imports.ts';
import type { LibraryFile } from './shared-elf/library-file.ts';
import { placesOf } from './shared-elf/places.ts';
import { refuseLeftovers, refuseWords } from './shared-elf/refusals.ts';
import { planRelocations } from './shared-elf/relocation-plan.ts';
import { type RootUse, usesByRoot, usesOfSymbols } from './shared-elf/roots.ts';
import { addSegments, writeLibrary } from './shared-elf/write-library.ts';

export interface SharedInput {
  /** The library that was loaded; its file is changed. */
  readonly library: LibraryFile;
  /** Two runs that did the same, at different addresses. */
  readonly runs: { readonly a: LibraryRun; readonly b: LibraryRun };
  /** Name of the function that was called. */
  readonly init: string | undefined;
  /** Variables that may be zeroed, as `--scratch` takes them. */
  readonly scratch: readonly string[];
  /**
   * Clears what pointers have left above smaller numbers; otherwise it is refused. Then blocks stay at their places
   * within pages, because some of these words cannot be told from pointers.
   */
  readonly clearRemains: boolean;
  /** Relative relocations: compact ones where the C library takes them (default), or never. */
  readonly relocations: 'relr' | 'rela' | undefined;
}

export interface SharedWritten {
  /** Bytes of the file, holes included. */
  readonly size: number;
  readonly blocks: { readonly count: number; readonly bytes: number };
  readonly pointers: {
    /** Words of the dump that lead into the library or its blocks. */
    readonly inward: number;
    /** Words of it that lead to what other libraries export. */
    readonly outward: number;
    /** Words that led to memory that had been freed, and are zero now. */
    readonly dangling: number;
    /** Words whose upper bytes were left of a pointer, and have been cleared on request. */
    readonly remains: number;
  };
  /** All relocations of the file, the linker's own too. */
  readonly relocations: { readonly relative: number; readonly symbolic: number; readonly compact: boolean };
  /** Imports that leave blocks of the image alone. */
  readonly rerouted: readonly string[];
  /** Variables that most bytes hang on, largest first. */
  readonly roots: readonly RootUse[];
  /** What most words outside of the library lead to. */
  readonly symbols: readonly { readonly name: string; readonly words: number }[];
  /** It imports functions of libstdc++ that may free the text of a std::string, there and not through a stub. */
  readonly growsStrings: boolean;
}

/** Variables and symbols in a report. */
const LISTED = 20;

const STRING_FUNCTION =
  /^_ZNSt7__cxx1112basic_stringI.*(_M_(mutate|append|assign|replace\w*)|reserve|resize|push_back)/;

/**
 * Writes the new library into the open target; the caller commits it.
 *
 * @throws UnexecError `CANNOT_BE_KEPT` with all reasons; those of the passes
 */
export async function writeShared(input: SharedInput, target: TargetFile): Promise<SharedWritten> {
  const { library, runs, init } = input;
  const { path } = library;

  // 1. What the initialiser has left in the process.
  refuseLeftovers(path, runs.a);

  // 2. Its variables and the blocks that they lead to, compared in both runs.
  const scratch = resolveScratch(input.scratch.map(parseScratch), elfScratchSymbols(library.file));
  const compared = compareRuns(library, runs, { scratch, clearRemains: input.clearRemains });
  refuseWords(library, compared);

  // 3. What it imports, and the order of the blocks. From here on everything has its address in the new file.
  const order = input.clearRemains ? 'address' : 'depth-first';
  const layout = layOutBlocks(compared.pairs, order);
  const compact = input.relocations !== 'rela' && takesCompact(library, compared.a);
  const imports = planImports(library, compared, compact);
  const bytes = dumpBytes(library, compared, layout, scratch);
  const segments = addSegments(library, layout.size);
  const places = placesOf(compared, layout, segments);

  // 4. The relocations, and every word as it is before them.
  const relocations = planRelocations(library, compared, places, imports);
  const patch = patcher(library, bytes, segments.heap.address);
  for (const { at, bytes: kept } of compared.remains) {
    patch.clear(places.placeOf(at) + BigInt(kept), 8 - kept);
  }
  fillWords(patch, relocations.relative, [
    ...compared.zeroed.map(places.placeOf),
    ...relocations.symbolic.map(({ offset }) => offset),
  ]);

  // 5. The notes, and the file.
  const used = Array.from({ length: compared.pairs.count }, (_, i) => compared.pairs.extent(i).size);
  const blocks = { count: used.length, bytes: used.reduce((sum, size) => sum + size, 0) };
  const manifest: SharedManifest = {
    version: MANIFEST_VERSION,
    tool: VERSION,
    style: 'shared',
    arch: 'x86_64',
    program: basename(path),
    initialiser: init ?? null,
    frozenAt: new Date().toISOString(),
    order,
    blocks: { address: `0x${segments.heap.address.toString(16)}`, ...blocks },
    pointers: {
      found: 'comparison',
      relative: compared.inward.length,
      symbolic: compared.outward.length,
      relocations: compact ? 'relr' : 'rela',
    },
    rerouted: relocations.rerouted,
  };
  const zone = {
    kind: 'frozen' as const,
    base: segments.heap.address,
    size: layout.size,
    used: blocks.bytes,
    highWater: layout.size,
    pageSize: 4096,
    isDefault: false,
  };
  const size = await writeLibrary(
    {
      library,
      segments,
      bytes,
      relocations,
      imports,
      compact,
      initialiser: initialiserOf(runs.a, init),
      notes: [
        { type: NOTE.MANIFEST, desc: encodeManifest(manifest) },
        { type: NOTE.ZONES, desc: encodeZones([zone]) },
      ],
    },
    target.handle,
  );
  return {
    size,
    blocks,
    pointers: {
      inward: compared.inward.length,
      outward: compared.outward.length,
      dangling: compared.dangling,
      remains: compared.remains.length,
    },
    relocations: {
      relative: relocations.relative.length,
      symbolic: relocations.symbolic.length,
      compact,
    },
    rerouted: relocations.rerouted,
    roots: usesByRoot(library, compared, LISTED),
    symbols: usesOfSymbols(compared, imports.targets, LISTED),
    growsStrings: library.symbols.some(
      ({ name, sectionIndex }) => sectionIndex === SHN.SHN_UNDEF && STRING_FUNCTION.test(name),
    ),
  };
}

/** Its address in the file. */
function initialiserOf({ library }: LibraryRun, init: string | undefined): bigint | undefined {
  if (init === undefined) return undefined;
  const [symbol] = symbolsNamed(library, [init], 'dynamic');
  return symbol === undefined ? undefined : symbol.address - library.bias;
}
