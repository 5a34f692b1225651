/**
 * The `restart` style for ELF: the program's file again, with its writable segments as they are in memory,
 * its zone in the reserve, and a relocation for every pointer. The system's own loader starts it, and main
 * runs again and finds everything initialised.
 *
 * @module
 */
import { basename } from 'node:path';
import { DT, type ElfFile, readDynamic } from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { addImports } from '../elf/add-imports.ts';
import type { Reserve } from '../elf/reserve.ts';
import type { RestartManifest } from '../manifest.ts';
import type { TargetFile } from '../target-file.ts';
import { type StartedZone, unexec_reserve, unexec_zone_header } from '../zones/reserve.ts';
import { refuseDoubtful } from './restart/doubtful.ts';
import type { Patch } from './restart/dump-segment.ts';
import { type FoundPointers, findPointers, type PointerSearch, type Run } from './restart/found-pointers.ts';
import { settleOutward } from './restart/outward.ts';
import { settleInitialisers } from './restart-elf/initialisers.ts';
import type { SymbolWord } from './restart-elf/loaders-words.ts';
import { OutwardImports } from './restart-elf/outward-imports.ts';
import { addOwnHeap } from './restart-elf/own-heap.ts';
import { nameOfPlace } from './restart-elf/place-name.ts';
import { holds, type RestartProgram, rangesOf, readProgram } from './restart-elf/program.ts';
import { refuseHeap } from './restart-elf/refuse-heap.ts';
import { planRelocations } from './restart-elf/relocation-plan.ts';
import { refuseEarlyRuntime } from './restart-elf/static-libraries.ts';
import { planTables } from './restart-elf/tables.ts';
import { writeRestartFile } from './restart-elf/write-file.ts';

export interface RestartInput {
  /** The executable that was run; it is changed. */
  readonly file: ElfFile;
  /** Its path, for messages. */
  readonly path: string;
  readonly first: Run;
  /** Another run of it that did the same. */
  readonly second: Run | undefined;
  /** Refuse what is not certain. */
  readonly strict: boolean;
  /** Tell of pointers and blocks as a whole. */
  readonly details?: boolean;
  readonly manifest: Pick<RestartManifest, 'tool' | 'argv' | 'freezePoint' | 'frozenAt'>;
  readonly onProgress: (done: number, total: number) => void;
}

/** Writes the new executable into the open target; the caller commits it. */
export async function writeRestartElf(input: RestartInput, target: TargetFile) {
  const { first, path } = input;
  // Of a heap that is elsewhere in each run there is one.
  const second = addOwnHeap(input.file, first, path) ? undefined : input.second;

  // 1. What the file says and what is dumped of memory; the pointers in that, and those out of it.
  const original = readProgram(input.file, first, path);
  const search = {
    ranges: rangesOf(original),
    first,
    second,
    nameOf: (address: bigint) => nameOfPlace(original.file, address),
    details: input.details,
  };
  const { reserve: whole, zone: started } = original;
  if (original.ends !== undefined && whole?.base !== undefined && started !== undefined) {
    refuseEarlyRuntime(path, first, original.dumped, whole.base, started);
  }
  const found = findPointers(search);
  if (original.zone === undefined) refuseHeap(path, search, found, original.reserve?.base !== undefined);
  const { program, outward } = importOutward(original, search, found, path);
  const doubtful = [...found.remarks, ...outward.remarks];
  if (input.strict) refuseDoubtful(path, found, outward.lost, doubtful);
  const { file, present, reserve, zone, ends, dumped, isFixed, isKept, targetOf } = program;
  const slots: FoundPointers['slots'] = isFixed ? new Map() : found.slots;

  // 2. Which initialisers run again, and the relocations.
  const runtime = (offset: number) => reserve && targetOf(reserve.address + BigInt(offset));
  const initialisers = settleInitialisers(
    file,
    {
      start: runtime(unexec_reserve.offsets.start),
      lastStart: runtime(unexec_reserve.offsets.last_start),
      hasLibraries: ends !== undefined,
    },
    targetOf,
  );
  const added = [...outward.added].flatMap(([index, binds]) =>
    binds.map(({ offset, like }) => ({
      address: (file.segments[index]?.address ?? 0n) + BigInt(offset),
      symbolIndex: like.symbolIndex,
      addend: like.addend,
    })),
  );
  const relocations = planRelocations({
    file,
    present,
    usesRelr: readDynamic(file).some(({ tag }) => tag === DT.DT_RELR),
    dumped,
    found: slots,
    isKept,
    redirected: initialisers.redirected,
    added,
    targetOf,
  });

  // 3. The tables, and what the tool itself writes over memory.
  const generation = (zone?.generation ?? 0) + 1;
  const manifest: RestartManifest = {
    version: 1,
    style: 'restart',
    arch: first.image.arch,
    program: basename(input.path),
    generation,
    pointers: { found: found.method, count: found.counts.pointers },
    ...input.manifest,
  };
  const tables = planTables(file, relocations, manifest, zonesOf(reserve, zone));
  const patches = new Map<number, Patch[]>();
  const patch = (address: bigint, bytes: Uint8Array): void => {
    const own = dumped.find(({ segment }) => holds(segment, address));
    if (own === undefined) return;
    const offset = Number(address - own.segment.address);
    patches.set(own.index, [...(patches.get(own.index) ?? []), { offset, bytes }]);
  };
  for (const [address, target] of initialisers.redirected) patch(address, word(target));
  for (const { address, value } of tables.dynamicWords) patch(address, word(value));
  if (reserve?.base !== undefined && zone !== undefined) {
    patch(
      reserve.base + BigInt(unexec_zone_header.offsets.generation),
      word(BigInt(generation)).subarray(0, 4),
    );
  }

  // 4. The file, streamed.
  const written = await writeRestartFile(
    {
      file,
      first,
      dumped,
      found: slots,
      nulled: outward.nulled,
      patches,
      heap: dumped.find(({ segment }) => reserve?.base !== undefined && holds(segment, reserve.base))?.index,
      tables: tables.tables,
      tablesSegment: tables.segment,
      onProgress: input.onProgress,
    },
    target,
  );
  return {
    ...written,
    zone,
    pointers: {
      ...found.counts,
      method: found.method,
      bound: added.length,
      nulled: outward.lost.nulled,
      left: outward.lost.left,
    },
    dropped: initialisers.dropped,
    generation,
    doubtful,
    map: found.map,
  };
}

/**
 * Words that lead out of the program become imports where a symbol names what they lead to. New ones make the
 * program another one: its tables have moved, and its symbols have other numbers.
 */
function importOutward(program: RestartProgram, search: PointerSearch, found: FoundPointers, path: string) {
  const news = new OutwardImports(search.first, path);
  const settle = (get: (value: bigint) => SymbolWord | undefined) =>
    settleOutward(search, found, { get, describe: value => news.describe(value) });
  const { importOf } = program.bound;
  const outward = settle(value => importOf.get(value) ?? (program.ends ? undefined : news.wordFor(value)));
  if (news.imports.length === 0) return { program, outward };
  const { file, indices } = addImports(program.file, news.imports);
  const changed = readProgram(file, search.first, path, program.file);
  const settled = settle(value => {
    const present = changed.bound.importOf.get(value);
    const added = present === undefined ? news.wordFor(value) : undefined;
    return present ?? (added && { ...added, symbolIndex: indices[added.symbolIndex] ?? 0 });
  });
  return { program: changed, outward: settled };
}

const word = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  viewOf(bytes).setBigUint64(0, value, true);
  return bytes;
};

function zonesOf(reserve: Reserve | undefined, zone: StartedZone | undefined) {
  if (reserve?.base === undefined || zone === undefined) return [];
  const { size, used, highWater, pageSize, isDefault } = zone;
  return [{ kind: 'reserve' as const, base: reserve.base, size, used, highWater, pageSize, isDefault }];
}
