/**
 * Rules about symbol tables. gABI 4.1, "Symbol Table"; elfutils 0.188, src/elflint.c, check_symtab().
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { ET, SHF, SHN, SHT, STB, STT } from '../constants.ts';
import { type ElfFile, type ElfSection, sectionSize } from '../model.ts';
import { type ElfSymbol, readSymbols } from '../symbols.ts';
import {
  error,
  hasFlag,
  nameOfSection,
  type Rule,
  sectionEnd,
  sectionsOf,
  strict,
  type VerifyElfOptions,
} from './rule.ts';

/** A table of a hostile file breaks a rule with each of its symbols: these are enough to say so. */
const MOST = 20;

function* tables(file: ElfFile, options: VerifyElfOptions): Iterable<Finding> {
  for (const { section, index } of sectionsOf(file, [SHT.SHT_SYMTAB, SHT.SHT_DYNSYM])) {
    if (sectionSize(section) === 0) continue;
    let told = 0;
    for (const found of table(file, section, index, options)) {
      yield found;
      if (++told === MOST) return;
    }
  }
}

function* table(
  file: ElfFile,
  section: ElfSection,
  index: number,
  options: VerifyElfOptions,
): Iterable<Finding> {
  const name = nameOfSection(section, index);
  const symbols = readSymbols(file, section);
  yield* nullSymbol(symbols, name);
  yield* localsFirst(symbols, section, name);
  for (const [i, symbol] of symbols.entries()) {
    if (i === 0) continue;
    const says = `symbol ${i} (${JSON.stringify(symbol.name)}) of ${name}`;
    yield* kind(symbol, says);
    yield* place(file, symbol, says, options);
  }
}

/** gABI: symbol 0 is all zeros. */
function* nullSymbol([zero]: readonly ElfSymbol[], name: string): Iterable<Finding> {
  if (zero === undefined) return;
  const { value, size, type, bind, sectionIndex } = zero;
  if (value === 0n && zero.name === '' && size + type + bind + sectionIndex === 0) return;
  yield strict('ELF_SYMBOL_ZERO', `symbol 0 of ${name} has fields that are not zero, expected none`);
}

/** gABI: local symbols precede the others, and sh_info is the index of the first that is not local. */
function* localsFirst(symbols: readonly ElfSymbol[], { info }: ElfSection, name: string): Iterable<Finding> {
  const wrong = symbols.findIndex(({ bind }, i) => (bind === STB.STB_LOCAL) !== i < info);
  if (wrong < 0 && info <= symbols.length) return;
  const first = symbols.findIndex(({ bind }) => bind !== STB.STB_LOCAL);
  const expected = first < 0 ? symbols.length : first;
  yield strict(
    'ELF_SYMBOL_ORDER',
    `sh_info of ${name} is ${info} and symbol ${wrong} is on the wrong side of it, expected local symbols first and sh_info ${expected}`,
  );
}

/** gABI and glibc's elf.h: values of binding and type that exist. */
function* kind({ type, bind }: ElfSymbol, says: string): Iterable<Finding> {
  if (!KINDS.has(type))
    yield strict('ELF_SYMBOL_TYPE', `${says} is of type ${type}, expected an STT_* value`);
  if (!BINDS.has(bind))
    yield strict('ELF_SYMBOL_BIND', `${says} has binding ${bind}, expected an STB_* value`);
}

const KINDS: ReadonlySet<number> = new Set(Object.values(STT));
const BINDS: ReadonlySet<number> = new Set(Object.values(STB));

/** Where a symbol is: a section that exists, and a value within it. */
function* place(
  file: ElfFile,
  symbol: ElfSymbol,
  says: string,
  { mapsItself = false }: VerifyElfOptions,
): Iterable<Finding> {
  const { sectionIndex, extended, value, size, type } = symbol;
  if (!extended && sectionIndex >= SHN.SHN_LORESERVE) return;
  if (sectionIndex === SHN.SHN_UNDEF) return;
  const section = file.sections[sectionIndex];
  if (section === undefined) {
    yield strict(
      'ELF_SYMBOL_SECTION',
      `st_shndx of ${says} is ${sectionIndex}, expected one of ${file.sections.length} sections`,
    );
    return;
  }
  if (file.header.type === ET.ET_REL) {
    const end = value + BigInt(size);
    const limit = BigInt(sectionSize(section));
    if (end <= limit || hasFlag(section.flags, SHF.SHF_MERGE)) return;
    yield strict(
      'ELF_SYMBOL_VALUE',
      `${says} ends at ${hex(end)} of its section, expected at most ${hex(limit)}`,
    );
  } else if (type === STT.STT_TLS && !hasFlag(section.flags, SHF.SHF_TLS)) {
    // Its value counts from the start of PT_TLS: ld.so would take it from anywhere.
    yield error('ELF_SYMBOL_TLS', `${says} is thread-local, expected its section to have SHF_TLS`);
  } else if (size > 0 && (type === STT.STT_FUNC || type === STT.STT_OBJECT)) {
    // Symbols without a size are marks, which linkers put behind what they mark the end of. In the memory of a
    // process, one may begin in data and end in bss.
    if (mapsItself) return;
    if (value >= section.address && value + BigInt(size) <= sectionEnd(section)) return;
    yield strict(
      'ELF_SYMBOL_VALUE',
      `${says} is ${hex(size)} bytes at ${hex(value)}, expected within its section, ${hex(section.address)} to ${hex(sectionEnd(section))}`,
      { address: value },
    );
  }
}

export const SYMBOL_RULES: readonly Rule[] = [tables];
