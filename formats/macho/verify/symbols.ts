/**
 * Rules about symbols and exports. dyld-1378, mach_o/NListSymbolTable.cpp and ExportsTrie.cpp (valid); cctools-1035,
 * libstuff/checkout.c, and LLVM 19, lib/Object/MachOObjectFile.cpp, for indices that tools follow.
 *
 * @module
 */
import { contentsSize, readContents, wholeContents } from '../../contents.ts';
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { viewOf } from '../../struct.ts';
import { EXPORT_SYMBOL_FLAGS_KIND, EXPORT_SYMBOL_FLAGS_KIND_MASK, INDIRECT_SYMBOL, S } from '../constants.ts';
import { decodeDataInCode } from '../data-in-code.ts';
import { decodeExports, isReexport } from '../exports-trie.ts';
import { sectionsOf, sectionType } from '../find.ts';
import { decodeFunctionStarts } from '../function-starts.ts';
import { readDylibs } from '../image.ts';
import { findBlob } from '../linkedit.ts';
import type { LinkeditKind, MachOSection } from '../model.ts';
import { LE } from '../structs.ts';
import { isInSection, type MachOSymbol, readSymbols } from '../symbols.ts';
import { error, few, imageRange, nameOfSection, type Rule, type Subject, strict } from './rule.ts';

/** mach-o/nlist.h: n_sect counts the sections from 1; n_value is an address of that section. */
function* sections({ file, text }: Subject): Iterable<Finding> {
  yield* few(sectionFaults(readSymbols(file), sectionsOf(file), text?.vmaddr));
}

function* sectionFaults(
  symbols: readonly MachOSymbol[],
  sections: readonly MachOSection[],
  header: bigint | undefined,
): Iterable<Finding> {
  for (const [index, symbol] of symbols.entries()) {
    if (!isInSection(symbol)) continue;
    const { name, section: n_sect, value } = symbol;
    const section = sections[n_sect - 1];
    if (section === undefined) {
      const says = `n_sect of symbol ${index} (${JSON.stringify(name)})`;
      yield error('MACHO_SYMBOL_SECTION', `${says} is ${n_sect}, expected 1 to ${sections.length}`, {
        address: value,
      });
      continue;
    }
    const end = section.addr + section.size;
    // Names of a section's end are of it; that of the header is of whatever comes first.
    if ((value >= section.addr && value <= end) || value === header) continue;
    yield strict(
      'MACHO_SYMBOL_SECTION',
      `symbol ${index} (${JSON.stringify(name)}) is at ${hex(value)}, expected ${hex(section.addr)} to ${hex(end)} of ${nameOfSection(section)}`,
      { address: value },
    );
  }
}

/** mach-o/nlist.h: names are "null-terminated strings"; nm(1) and strip(1) read on to the NUL. */
function* strings({ file }: Subject): Iterable<Finding> {
  const blob = findBlob(file, 'strings');
  const size = blob === undefined ? 0 : contentsSize(blob.contents);
  if (blob === undefined || size === 0) return;
  const [last] = readContents(blob.contents, size - 1, 1);
  if (last === 0) return;
  const offset = (blob.offset ?? 0) + size - 1;
  yield strict(
    'MACHO_STRINGS_END',
    `the string table ends with ${hex(last ?? 0)} at ${hex(offset)}, expected the NUL of its last string`,
    { offset },
  );
}

/** Each is the index of a symbol, or says that there is none. */
function* indirectSymbols({ file }: Subject): Iterable<Finding> {
  const blob = findBlob(file, 'indirect-symbols');
  if (blob === undefined) return;
  const view = viewOf(wholeContents(blob.contents));
  const nsyms = readSymbols(file).length;
  yield* few(indirectFaults(view, nsyms, blob.offset ?? 0));
  const count = view.byteLength / 4;
  for (const section of sectionsOf(file)) {
    const used = indirectCount(sectionType(section), section.size, section.reserved2);
    if (used === 0 || section.reserved1 + used <= count) continue;
    yield strict(
      'MACHO_INDIRECT_SYMBOLS',
      `${nameOfSection(section)} has indirect symbols ${section.reserved1} to ${section.reserved1 + used - 1}, expected less than ${count}`,
      { address: section.addr },
    );
  }
}

function* indirectFaults(view: DataView, nsyms: number, offset: number): Iterable<Finding> {
  for (let at = 0; at + 4 <= view.byteLength; at += 4) {
    const index = view.getUint32(at, LE);
    if (index < nsyms || (index & ~SPECIAL) === 0) continue;
    yield error(
      'MACHO_INDIRECT_SYMBOLS',
      `indirect symbol ${at / 4} is symbol ${hex(index)}, expected less than ${nsyms}`,
      {
        offset: offset + at,
      },
    );
  }
}

const SPECIAL = INDIRECT_SYMBOL.INDIRECT_SYMBOL_LOCAL | INDIRECT_SYMBOL.INDIRECT_SYMBOL_ABS;

/** How many a section takes: one a pointer, or one a stub of reserved2 bytes. */
function indirectCount(type: number, size: bigint, stubSize: number): number {
  switch (type) {
    case S.S_NON_LAZY_SYMBOL_POINTERS:
    case S.S_LAZY_SYMBOL_POINTERS:
    case S.S_LAZY_DYLIB_SYMBOL_POINTERS:
    case S.S_THREAD_LOCAL_VARIABLE_POINTERS:
      return Number(size / 8n);
    case S.S_SYMBOL_STUBS:
      return stubSize === 0 ? 0 : Number(size) / stubSize;
    default:
      return 0;
  }
}

const TRIES: readonly LinkeditKind[] = ['export', 'exports-trie'];

/** Exports lead into the image, or to a library that there is. */
function* exported({ file, segments, text }: Subject): Iterable<Finding> {
  const libraries = readDylibs(file).length;
  const [, end] = imageRange(segments);
  const size = end - (text?.vmaddr ?? 0n);
  for (const kind of TRIES) {
    const blob = findBlob(file, kind);
    if (blob === undefined) continue;
    yield* few(exportFaults(wholeContents(blob.contents), libraries, size));
  }
}

function* exportFaults(blob: Uint8Array, libraries: number, size: bigint): Iterable<Finding> {
  for (const symbol of decodeExports(blob)) {
    const name = JSON.stringify(symbol.symbol);
    if (isReexport(symbol)) {
      if (symbol.libOrdinal >= -3 && symbol.libOrdinal <= libraries) continue;
      yield error(
        'MACHO_EXPORT',
        `${name} is exported from library ${symbol.libOrdinal}, expected at most ${libraries}`,
      );
      continue;
    }
    const kind = symbol.flags & EXPORT_SYMBOL_FLAGS_KIND_MASK;
    if (kind === EXPORT_SYMBOL_FLAGS_KIND.EXPORT_SYMBOL_FLAGS_KIND_ABSOLUTE) continue;
    if (symbol.offset <= size) continue;
    yield strict(
      'MACHO_EXPORT',
      `${name} is exported at ${hex(symbol.offset)} of the image, expected at most ${hex(size)}`,
    );
  }
}

/** Addresses in the order of the list, all within __TEXT. */
function* functionStarts({ file, text }: Subject): Iterable<Finding> {
  const blob = findBlob(file, 'function-starts');
  if (blob === undefined || text === undefined) return;
  const starts = decodeFunctionStarts(wholeContents(blob.contents));
  const last = starts.at(-1) ?? 0;
  if (BigInt(last) <= text.vmsize) return;
  yield strict(
    'MACHO_FUNCTION_STARTS',
    `the last function begins at ${hex(last)} of the image, expected within the ${hex(text.vmsize)} of __TEXT`,
  );
}

/** Offsets from the header, ascending. */
function* dataInCode({ file, text }: Subject): Iterable<Finding> {
  const blob = findBlob(file, 'data-in-code');
  if (blob === undefined || text === undefined) return;
  const entries = decodeDataInCode(wholeContents(blob.contents));
  for (const [i, { offset, length }] of entries.entries()) {
    if (offset + length <= text.filesize) continue;
    yield strict(
      'MACHO_DATA_IN_CODE',
      `data in code ${i} ends at ${hex(offset + length)}, expected within the ${hex(text.filesize)} bytes of __TEXT`,
      {
        offset,
      },
    );
    return;
  }
}

export const SYMBOL_RULES: readonly Rule[] = [
  sections,
  strings,
  indirectSymbols,
  exported,
  functionStarts,
  dataInCode,
];
