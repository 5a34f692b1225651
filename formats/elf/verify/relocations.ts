/**
 * Rules about relocations. Those of the dynamic section are applied by ld.so, which ends the process at a type
 * that it does not know and writes wherever r_offset says. glibc 2.36, sysdeps/x86_64/dl-machine.h,
 * sysdeps/aarch64/dl-machine.h and elf/do-rel.h; gABI 4.1, "Relocation"; the psABIs.
 *
 * @module
 */
import { hex, toNumber } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { type ConstantTable, nameOf } from '../../names.ts';
import { viewOf } from '../../struct.ts';
import { DF, DT, EM, ET, PF, R_AARCH64, R_X86_64, SHF, SHT } from '../constants.ts';
import { readDynamic, tableAt } from '../dynamic.ts';
import { readDynamicSymbols } from '../dynamic-symbols.ts';
import { sectionContents } from '../find.ts';
import { type ElfFile, type ElfSection, sectionSize } from '../model.ts';
import { dynamicTypes } from '../relocations.ts';
import { LE } from '../structs.ts';
import { error, hasFlag, loadIndex, nameOfSection, type Rule, sectionsOf, strict } from './rule.ts';

/** A table that is wrong is wrong many times: these are enough to say so. */
const MOST = 20;

interface Relocation {
  readonly index: number;
  readonly offset: bigint;
  readonly type: number;
  readonly symbol: number;
}

/** All types of a machine, for objects. */
const TYPES: ReadonlyMap<number, ConstantTable> = new Map<number, ConstantTable>([
  [EM.EM_X86_64, R_X86_64],
  [EM.EM_AARCH64, R_AARCH64],
]);

function* dynamicRelocations(file: ElfFile): Iterable<Finding> {
  if (!TYPES.has(file.header.machine)) return;
  const context: DynamicContext = {
    types: dynamicTypes(file.header.machine).sizes,
    symbols: readDynamicSymbols(file).length,
    loadAt: loadIndex(file),
    textRelocations: hasTextRelocations(file),
  };
  for (const [tag, sizeTag] of [
    [DT.DT_RELA, DT.DT_RELASZ],
    [DT.DT_JMPREL, DT.DT_PLTRELSZ],
  ] as const) {
    let told = 0;
    for (const relocation of dynamicTable(file, tag, sizeTag)) {
      for (const found of dynamicFaults(context, relocation, nameOf(DT, tag))) {
        yield found;
        if (++told === MOST) return;
      }
    }
  }
}

interface DynamicContext {
  readonly types: ReadonlyMap<number, number>;
  readonly symbols: number;
  readonly loadAt: ReturnType<typeof loadIndex>;
  readonly textRelocations: boolean;
}

function* dynamicFaults(
  { types, symbols, loadAt, textRelocations }: DynamicContext,
  { index, offset, type, symbol }: Relocation,
  table: string,
): Iterable<Finding> {
  const says = `relocation ${index} of ${table}`;
  const size = types.get(type);
  if (size === undefined) {
    yield error('ELF_RELOCATION_TYPE', `${says} is of type ${type}, expected one that ld.so knows`, {
      address: offset,
    });
  }
  if (symbol !== 0 && symbol >= symbols) {
    yield error('ELF_RELOCATION_SYMBOL', `${says} is for symbol ${symbol}, expected one of ${symbols}`, {
      address: offset,
    });
  }
  if (size === undefined || size === 0) return;
  const load = loadAt(offset, size);
  if (load === undefined) {
    yield error(
      'ELF_RELOCATION_ADDRESS',
      `${says} is at ${hex(offset)}, expected ${size} bytes of a PT_LOAD`,
      {
        address: offset,
      },
    );
  } else if ((load.flags & PF.PF_W) === 0 && !textRelocations) {
    yield error(
      'ELF_RELOCATION_READ_ONLY',
      `${says} is at ${hex(offset)} in a PT_LOAD without PF_W, expected DT_TEXTREL then`,
      { address: offset },
    );
  }
}

const hasTextRelocations = (file: ElfFile): boolean =>
  readDynamic(file).some(
    ({ tag, value }) =>
      tag === DT.DT_TEXTREL || (tag === DT.DT_FLAGS && (value & BigInt(DF.DF_TEXTREL)) !== 0n),
  );

/** do-rel.h applies the first DT_RELACOUNT of them as relative ones; elf_machine_rela_relative asserts that. */
function* relativeCount(file: ElfFile): Iterable<Finding> {
  const count = readDynamic(file).find(({ tag }) => tag === DT.DT_RELACOUNT)?.value;
  if (count === undefined || !TYPES.has(file.header.machine)) return;
  const { relative } = dynamicTypes(file.header.machine);
  let index = 0n;
  for (const { type, offset } of dynamicTable(file, DT.DT_RELA, DT.DT_RELASZ)) {
    if (index >= count) return;
    if (type !== relative) {
      yield error(
        'ELF_RELACOUNT',
        `DT_RELACOUNT is ${count}, expected at most ${index}: the next relocation is of type ${type}`,
        { address: offset },
      );
      return;
    }
    index++;
  }
  if (index < count) yield error('ELF_RELACOUNT', `DT_RELACOUNT is ${count}, expected at most ${index}`);
}

/** gABI (2022), DT_RELR: even words are addresses, odd ones bitmaps of the 63 words that follow. */
function* relativeWords(file: ElfFile): Iterable<Finding> {
  const entries = readDynamic(file);
  const table = tableAt(file, entries, DT.DT_RELR);
  const size = toNumber('ELF: DT_RELRSZ', entries.find(({ tag }) => tag === DT.DT_RELRSZ)?.value ?? 0n);
  if (table === undefined || size > table.size) return;
  const view = viewOf(table.read(0, size));
  const loadAt = loadIndex(file);
  let where: bigint | undefined;
  let told = 0;
  const fault = (address: bigint): Finding | undefined => {
    const load = loadAt(address, 8);
    if (load !== undefined && (load.flags & PF.PF_W) !== 0) return undefined;
    const message = `DT_RELR relocates ${hex(address)}, expected a word of a writable PT_LOAD`;
    return error('ELF_RELOCATION_ADDRESS', message, { address });
  };
  for (let at = 0; at + 8 <= size && told < MOST; at += 8) {
    const word = view.getBigUint64(at, LE);
    const addresses: bigint[] = [];
    if ((word & 1n) === 0n) {
      addresses.push(word);
      where = word + 8n;
    } else if (where === undefined) {
      yield error('ELF_RELR', 'DT_RELR begins with a bitmap, expected an address first');
      return;
    } else {
      for (let bit = 0n; bit < 63n; bit++) {
        if (((word >> (bit + 1n)) & 1n) !== 0n) addresses.push(where + bit * 8n);
      }
      where += 63n * 8n;
    }
    for (const address of addresses) {
      const found = fault(address);
      if (found === undefined) continue;
      yield found;
      if (++told === MOST) break;
    }
  }
}

/** Relocations of objects: within the section that they change, for a symbol that exists. */
function* objectRelocations(file: ElfFile): Iterable<Finding> {
  const types = TYPES.get(file.header.machine);
  if (file.header.type !== ET.ET_REL || types === undefined) return;
  const known: ReadonlySet<number> = new Set(Object.values(types));
  for (const { section, index } of sectionsOf(file, [SHT.SHT_RELA])) {
    const target = file.sections[section.info];
    const symbols = Math.floor(sectionSize(file.sections[section.link] ?? section) / 24);
    let told = 0;
    for (const relocation of relocationsIn(sectionContents(section))) {
      const says = `relocation ${relocation.index} of ${nameOfSection(section, index)}`;
      for (const found of objectFaults(relocation, target, symbols, known, says)) {
        yield found;
        told++;
      }
      if (told >= MOST) break;
    }
  }
}

function* objectFaults(
  { offset, type, symbol }: Relocation,
  target: ElfSection | undefined,
  symbols: number,
  known: ReadonlySet<number>,
  says: string,
): Iterable<Finding> {
  if (!known.has(type))
    yield strict('ELF_RELOCATION_TYPE', `${says} is of type ${type}, expected one of this machine`);
  if (symbol >= symbols && symbol !== 0) {
    yield strict('ELF_RELOCATION_SYMBOL', `${says} is for symbol ${symbol}, expected one of ${symbols}`);
  }
  // Of a compressed section, the place is one in what it holds.
  if (target === undefined || hasFlag(target.flags, SHF.SHF_COMPRESSED) || type === 0) return;
  if (offset >= BigInt(sectionSize(target))) {
    const size = hex(sectionSize(target));
    yield strict(
      'ELF_RELOCATION_ADDRESS',
      `r_offset of ${says} is ${hex(offset)}, expected less than ${size}`,
    );
  }
}

export const DYNAMIC_RELOCATION_RULES: readonly Rule[] = [dynamicRelocations, relativeCount, relativeWords];
export const OBJECT_RELOCATION_RULES: readonly Rule[] = [objectRelocations];

function* dynamicTable(file: ElfFile, tag: number, sizeTag: number): Iterable<Relocation> {
  const entries = readDynamic(file);
  const table = tableAt(file, entries, tag);
  const size = toNumber(
    'ELF: size of relocations',
    entries.find(entry => entry.tag === sizeTag)?.value ?? 0n,
  );
  // A table that goes beyond its segment is told by the rule about addresses.
  if (table !== undefined && size <= table.size) yield* relocationsIn(table.read(0, size));
}

function* relocationsIn(bytes: Uint8Array): Iterable<Relocation> {
  const view = viewOf(bytes);
  for (let at = 0; at + 24 <= bytes.length; at += 24) {
    yield {
      index: at / 24,
      offset: view.getBigUint64(at, LE),
      type: view.getUint32(at + 8, LE),
      symbol: view.getUint32(at + 12, LE),
    };
  }
}
