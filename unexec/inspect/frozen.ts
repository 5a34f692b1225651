/**
 * What a file that unexec wrote says about itself, style by style.
 *
 * @module
 */
import type { ByteSource, ImageDescription } from '../../formats/describe/index.ts';
import { type ElfFile, type ElfSection, hasFileBytes, SHF } from '../../formats/elf/index.ts';
import type { BackingFile } from '../backing-file.ts';
import { UnexecError } from '../errors.ts';
import { MANIFEST_VERSION } from '../manifest.ts';
import { backingFiles } from '../manifest-files.ts';
import type { MallocZone } from '../zones.ts';
import type { Fields } from './fields.ts';
import { freshInLibrary, freshInProcess, freshInProgram } from './fresh.ts';
import type {
  FrozenFacts,
  FrozenLibrary,
  FrozenProcess,
  FrozenProgram,
  InspectedFile,
  InspectedStep,
  InspectedSymbol,
  InspectedThread,
  InspectedZone,
} from './model.ts';
import type { OurNotes } from './notes.ts';
import { loadedRegions, processRegions, sumByKind } from './regions.ts';
import { readSteps } from './steps.ts';

/** A frozen file, however it was read. */
export interface FrozenFile {
  readonly path: string;
  readonly source: ByteSource;
  readonly image: ImageDescription;
  readonly notes: OurNotes;
  readonly libraries: readonly string[];
  /** Where it is ELF. */
  readonly elf: ElfFile | undefined;
}

/**
 * @throws FormatError `MANIFEST_MALFORMED`, `STEPS_MALFORMED`; UnexecError `MANIFEST_VERSION` for what a newer version
 *   wrote
 */
export function inspectFrozen(file: FrozenFile, withSteps: boolean) {
  const { manifest } = file.notes;
  const version = manifest.whole('version');
  const style = manifest.text('style');
  if (version === MANIFEST_VERSION) {
    if (style === 'resume' && file.elf !== undefined) return frozenProcess(file, file.elf, withSteps);
    if (style === 'restart') return frozenProgram(file);
    if (style === 'shared') return frozenLibrary(file);
  }
  const message = `the manifest of ${file.path} has version ${version} and style '${style}', expected version ${MANIFEST_VERSION} and a style that is known here`;
  const hint = 'inspect it with the version of unexec that wrote the file';
  throw new UnexecError('MANIFEST_VERSION', message, { path: file.path, hint });
}

function frozenProcess(file: FrozenFile, elf: ElfFile, withSteps: boolean): FrozenProcess {
  const { notes, image } = file;
  const { manifest } = notes;
  const place = manifest.object('steps');
  const steps = readSteps(elf, place.bigAddress('address'), place.whole('size'));
  const descriptors = manifest
    .objects('descriptors')
    .map(item => ({ fds: item.wholes('fds'), what: item.text('what') }));
  const regions = processRegions(manifest, mappedFiles(steps), memoryObjects(elf.sections));
  const files = backingFiles(manifest);
  const kernel = manifest.object('kernel');
  const cpu = manifest.object('cpu');
  return {
    style: 'resume',
    ...factsOf(manifest, notes.zones),
    regions,
    regionKinds: sumByKind(regions),
    fresh: freshInProcess(steps, descriptors, regions, files),
    files: files.map(inspectedFile),
    compressed: manifest.has('compressed') ? manifest.whole('compressed') : null,
    orStart: manifest.has('orStart') ? startOf(manifest.object('orStart')) : null,
    argv: manifest.texts('argv'),
    freezePoint: manifest.text('freezePoint'),
    kernel: {
      sysname: kernel.text('sysname'),
      release: kernel.text('release'),
      version: kernel.text('version'),
      machine: kernel.text('machine'),
    },
    cpu: {
      features: cpu.texts('features'),
      xcr0: cpu.address('xcr0'),
      level: cpu.text('level'),
      by: cpu.textOrNull('by'),
    },
    cwd: manifest.text('cwd'),
    modules: manifest.objects('modules').map(item => ({
      path: item.text('path'),
      start: item.address('start'),
      buildId: item.text('buildId'),
    })),
    threads: manifest.objects('threads').map(item => threadOf(item, image)),
    descriptors,
    restoreProgram: {
      address: place.address('address'),
      count: steps.length,
      steps: withSteps ? steps : null,
    },
  };
}

const inspectedFile = ({ path, leastSize, knownBy }: BackingFile): InspectedFile => ({
  path,
  leastSize,
  buildId: knownBy.type === 'build-id' ? Buffer.from(knownBy.id).toString('hex') : null,
  changed:
    knownBy.type === 'time'
      ? new Date(Number(knownBy.mtime.seconds * 1000n + knownBy.mtime.nanoseconds / 1_000_000n)).toISOString()
      : null,
});

const startOf = (start: Fields) => ({ program: start.text('program'), argv: start.texts('argv') });

function threadOf(thread: Fields, image: ImageDescription): InspectedThread {
  return {
    tid: thread.whole('tid'),
    name: thread.text('name'),
    at: thread.address('pc'),
    symbol: symbolIn(image, thread.bigAddress('pc')),
    stackPointer: thread.address('sp'),
  };
}

/** The symbol that an address is in. @throws FormatError for a symbol table that makes no sense */
export function symbolIn(image: ImageDescription, address: bigint): InspectedSymbol | null {
  const place = image.symbolAt(address);
  return place === undefined ? null : { name: place.symbol.name, offset: place.into };
}

/** Files that the restore program opens to map them. */
function mappedFiles(steps: readonly InspectedStep[]): Set<string> {
  return new Set(
    steps.flatMap(({ call, name }) => {
      const [, path] = /^open (.*) to map it$/s.exec(name) ?? [];
      return call === 'openat' && path !== undefined ? [path] : [];
    }),
  );
}

const OBJECT = '.unexec.file.';

/** Bytes of the memory files in the image, by their names. */
function memoryObjects(sections: readonly ElfSection[]): Map<string, number> {
  const objects = new Map<string, number>();
  for (const section of sections) {
    const { name, size, flags } = section;
    if (!name.startsWith(OBJECT) || (flags & SHF.SHF_ALLOC) !== 0 || !hasFileBytes(section)) continue;
    const key = name.slice(OBJECT.length);
    objects.set(key, (objects.get(key) ?? 0) + (size ?? 0));
  }
  return objects;
}

function frozenProgram(file: FrozenFile): FrozenProgram {
  const { manifest, zones } = file.notes;
  const pointers = manifest.object('pointers');
  const regions = loadedRegions(file.image, zones, file.source);
  return {
    style: 'restart',
    ...factsOf(manifest, zones),
    regions,
    regionKinds: sumByKind(regions),
    fresh: freshInProgram(file.libraries),
    argv: manifest.texts('argv'),
    freezePoint: manifest.text('freezePoint'),
    generation: manifest.whole('generation'),
    pointers: { found: pointers.text('found'), count: pointers.whole('count') },
  };
}

function frozenLibrary(file: FrozenFile): FrozenLibrary {
  const { manifest, zones } = file.notes;
  const blocks = manifest.object('blocks');
  const pointers = manifest.object('pointers');
  const regions = loadedRegions(file.image, zones, file.source);
  return {
    style: 'shared',
    ...factsOf(manifest, zones),
    regions,
    regionKinds: sumByKind(regions),
    fresh: freshInLibrary(file.libraries),
    initialiser: manifest.textOrNull('initialiser'),
    order: manifest.text('order'),
    blocks: {
      address: blocks.address('address'),
      count: blocks.whole('count'),
      bytes: blocks.whole('bytes'),
    },
    pointers: {
      relative: pointers.whole('relative'),
      symbolic: pointers.whole('symbolic'),
      relocations: pointers.text('relocations'),
    },
    rerouted: manifest.texts('rerouted'),
  };
}

const factsOf = (
  manifest: Fields,
  zones: readonly MallocZone[],
): Pick<FrozenFacts, 'tool' | 'program' | 'frozenAt' | 'zones'> => ({
  tool: manifest.text('tool'),
  program: manifest.text('program'),
  frozenAt: manifest.text('frozenAt'),
  zones: zones.map(zoneOf),
});

const zoneOf = ({ kind, base, size, used, highWater, pageSize, isDefault }: MallocZone): InspectedZone => ({
  kind,
  address: `0x${base.toString(16)}`,
  size,
  used: used ?? null,
  highWater,
  pageSize,
  isDefault,
});
