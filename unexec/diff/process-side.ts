/**
 * A process that stands as one side of a comparison. It is described as if it were frozen now, and goes on when the side
 * is closed.
 *
 * @module
 */
import { Elf64_Sym } from '../../formats/elf/index.ts';
import { viewOf } from '../../formats/struct.ts';
import { NOTHING_LEFT } from '../file-pages.ts';
import { type MemoryReader, type MemoryRegion, type Module, PAGE, type ProcessImage } from '../image.ts';
import { Fields } from '../inspect/fields.ts';
import { resumeManifest } from '../manifest.ts';
import { isKeptSymbol, rawSymbols } from '../module-symbols.ts';
import type { Source } from '../sources/source.ts';
import { neededFeatures } from '../styles/resume/cpu.ts';
import { VERSION } from '../version.ts';
import { frozenAreas, frozenFacts } from './frozen.ts';
import type { Side, SymbolSpan } from './side.ts';
import { findAuxv, splitStack } from './stack.ts';

export function processSide(source: Source): Side {
  const { image } = source;
  const { origin } = image;
  const memory = inAnyStretch(image.memory);
  const manifest = manifestOf(image);
  const inodes = new Map(image.regions.map(({ start, inode }) => [start, inode]));
  const areas = frozenAreas(manifest).map(area => ({ ...area, inode: inodes.get(area.start) ?? 0 }));
  const vector = findAuxv(areas, memory);
  return {
    told: {
      ...{ source: 'process', path: origin.program, pid: origin.pid, kind: 'process', arch: image.arch },
      frozenAt: null,
      size: null,
    },
    arch: image.arch,
    areas: splitStack(areas, vector),
    memory,
    symbols: () => symbolsOf(image.modules),
    facts: frozenFacts(manifest, vector, memory),
    manifest,
    steps: undefined,
    file: undefined,
    close: async () => {
      source.letGo();
      await source.release();
    },
  };
}

/** Its manifest, were it frozen now. */
const manifestOf = (image: ProcessImage): Fields =>
  new Fields(
    JSON.parse(
      JSON.stringify(
        resumeManifest(image, {
          tool: VERSION,
          needs: { features: neededFeatures(image.origin.cpu), xcr0: image.origin.cpu.xcr0 },
          stored: new Map(),
          left: NOTHING_LEFT,
          blocks: undefined,
          orStart: undefined,
          steps: { address: 0n, size: 0 },
        }),
      ),
    ),
  );

/** A process tells of whole pages what has been touched; the areas of a stack are cut within one. */
const inAnyStretch = (memory: MemoryReader): MemoryReader => ({
  read: (address, into) => memory.read(address, into),
  touched(region: MemoryRegion) {
    const isWhole = region.start % BigInt(PAGE) === 0n && region.size % PAGE === 0;
    return isWhole ? memory.touched(region) : [{ first: 0, count: Math.ceil(region.size / PAGE) }];
  },
});

/** The symbols of all modules, by address. */
function symbolsOf(modules: readonly Module[]): SymbolSpan[] {
  const spans = modules.flatMap((module, i) => symbolsOfModule(module, i === 0));
  return spans.sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
}

function symbolsOfModule(module: Module, isProgram: boolean): SymbolSpan[] {
  const raw = rawSymbols(module, isProgram ? 'all' : 'dynamic');
  if (raw === undefined) return [];
  const view = viewOf(raw.symtab);
  const names = Buffer.from(raw.strtab.buffer, raw.strtab.byteOffset, raw.strtab.byteLength);
  const spans: SymbolSpan[] = [];
  for (let at = 0; at + Elf64_Sym.size <= raw.symtab.length; at += Elf64_Sym.size) {
    if (!isKeptSymbol(view, at)) continue;
    const { st_name, st_value, st_size } = Elf64_Sym.read(view, at, true);
    const end = names.indexOf(0, st_name);
    const name = names.toString('utf8', st_name, end < 0 ? names.length : end);
    spans.push({ name, address: st_value + module.bias, size: Number(st_size) });
  }
  return spans;
}
