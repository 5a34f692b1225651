import { LC } from '../../../../formats/macho/constants.ts';
import { INITPROT, SEGMENT } from '../../../support/macho/edit.ts';
import {
  blob,
  command32,
  type Edit,
  replaced,
  sdk,
  segment32,
  segment64,
  testBreakages,
  testSound,
} from '../support/verify.ts';

const {
  LC_DYSYMTAB,
  LC_SYMTAB,
  LC_FUNCTION_STARTS,
  LC_DYLD_CHAINED_FIXUPS,
  LC_DYLD_EXPORTS_TRIE,
  LC_DATA_IN_CODE,
} = LC;
const INFO = LC.LC_DYLD_INFO_ONLY;
/** Fields of their commands. */
const DATA = { offset: 8, size: 12 };
const SYMTAB = { symoff: 8, nsyms: 12, stroff: 16, strsize: 20 };
const DYSYMTAB = { nlocalsym: 12, nundefsym: 28, indirectsymoff: 56, locreloff: 72, nlocrel: 76 };
const INFO_REBASE = { offset: 8, size: 12 };

const longer: Edit = file => {
  file.append(16);
};

testBreakages([
  [
    'parts that overlap',
    'error',
    'MACHO_LINKEDIT_OVERLAP',
    'chained',
    command32(LC_SYMTAB, SYMTAB.symoff, n => n - 16),
  ],
  [
    'a part before __LINKEDIT',
    'error',
    'MACHO_LINKEDIT_OVERLAP',
    'chained',
    command32(LC_FUNCTION_STARTS, DATA.offset, 0x100),
  ],
  [
    'a part beyond __LINKEDIT',
    'error',
    'MACHO_LINKEDIT_PAST_END',
    'chained',
    segment64('__LINKEDIT', SEGMENT.filesize, n => n - 8),
  ],
  [
    'a part off its alignment',
    'error',
    'MACHO_LINKEDIT_ALIGN',
    'chained',
    command32(LC_FUNCTION_STARTS, DATA.offset, n => n + 4),
  ],
  [
    'a part off its alignment, before SDK 10.14',
    'strict',
    'MACHO_LINKEDIT_ALIGN',
    'info',
    sdk(10, 13),
    command32(LC_FUNCTION_STARTS, DATA.offset, n => n + 4),
  ],
  [
    'two encodings of fixups',
    'error',
    'MACHO_FIXUP_ENCODING',
    'info',
    replaced(LC_DATA_IN_CODE, LC_DYLD_CHAINED_FIXUPS),
  ],
  [
    'relocations beside chained fixups',
    'error',
    'MACHO_FIXUP_ENCODING',
    'chained',
    command32(LC_DYSYMTAB, DYSYMTAB.nlocrel, 1),
    file =>
      file.set32(
        file.command(LC_DYSYMTAB) + DYSYMTAB.locreloff,
        file.u32(file.command(LC_SYMTAB) + SYMTAB.stroff),
      ),
  ],
  [
    'groups of symbols that do not meet',
    'error',
    'MACHO_SYMBOL_GROUPS',
    'chained',
    command32(LC_DYSYMTAB, DYSYMTAB.nlocalsym, n => n + 1),
  ],
  [
    'symbols that are in no group',
    'error',
    'MACHO_SYMBOL_GROUPS',
    'chained',
    command32(LC_DYSYMTAB, DYSYMTAB.nundefsym, n => n - 1),
  ],
  ['parts in an order that tools refuse', 'strict', 'MACHO_LINKEDIT_ORDER', 'chained', swap],
  [
    'a gap in __LINKEDIT',
    'strict',
    'MACHO_LINKEDIT_ORDER',
    'chained',
    command32(LC_DYLD_EXPORTS_TRIE, DATA.size, n => n - 8),
  ],
  ['a file that goes on behind __LINKEDIT', 'strict', 'MACHO_LINKEDIT_END', 'chained', longer],
  [
    'a __LINKEDIT that goes on behind its parts',
    'strict',
    'MACHO_LINKEDIT_END',
    'chained',
    longer,
    segment64('__LINKEDIT', SEGMENT.filesize, n => n + 16),
    segment64('__LINKEDIT', SEGMENT.vmsize, n => n + 16),
  ],
]);

/** Symbols and strings, where strip(1) expects them the other way round. */
function swap(file: Parameters<Edit>[0]): void {
  const at = file.command(LC_SYMTAB);
  const indirect = file.command(LC_DYSYMTAB) + DYSYMTAB.indirectsymoff;
  const [start, strsize] = [file.u32(at + SYMTAB.symoff), file.u32(at + SYMTAB.strsize)];
  const end = file.u32(at + SYMTAB.stroff) + strsize;
  const size = file.u32(at + SYMTAB.stroff) - start;
  const strings = file.bytes.slice(end - strsize, end);
  file.bytes.copyWithin(end - size, start, start + size);
  file.bytes.set(strings, start);
  file.set32(at + SYMTAB.stroff, start);
  file.set32(at + SYMTAB.symoff, end - size);
  file.add32(indirect, end - size - start);
}

testBreakages([
  [
    'a rebase in code',
    'error',
    'MACHO_FIXUP_SEGMENT',
    'info',
    blob(INFO, INFO_REBASE.offset, 0, 0x11, 0x21, 0x10, 0x51, 0),
  ],
  [
    'a rebase in no segment',
    'error',
    'MACHO_BAD_REBASE',
    'info',
    blob(INFO, INFO_REBASE.offset, 0, 0x11, 0x2f, 0x10, 0x51, 0),
  ],
  ['opcodes that end long before their end', 'error', 'MACHO_REBASE_PADDING', 'info', behindDone(0)],
  ['bytes of anything behind the end of opcodes', 'error', 'MACHO_REBASE_PADDING', 'info', behindDone(0x51)],
  [
    'a word that is rebased twice',
    'error',
    'MACHO_REBASE_TWICE',
    'info',
    blob(INFO, INFO_REBASE.offset, 0, 0x11, 0x23, 0, 0x51, 0x23, 0, 0x51, 0),
  ],
  [
    'rebased words that overlap',
    'error',
    'MACHO_REBASE_TWICE',
    'info',
    blob(INFO, INFO_REBASE.offset, 0, 0x11, 0x23, 0, 0x51, 0x23, 4, 0x51, 0),
  ],
  [
    'a rebased word that leads to no segment',
    'strict',
    'MACHO_FIXUP_TARGET',
    'info',
    // The address of malloc, which is 0 until it is bound.
    blob(INFO, INFO_REBASE.offset, 0, 0x11, 0x22, 0, 0x51, 0),
  ],
  ['a bind from a library that is not linked', 'error', 'MACHO_BIND_LIBRARY', 'info', setOrdinal(0x10 | 9)],
  [
    'binds in what cannot be written',
    'error',
    'MACHO_FIXUP_SEGMENT',
    'info',
    segment32('__DATA_CONST', INITPROT, 1),
  ],
]);

testSound('a rebase in code, before SDK 10.15', 'info', sdk(10, 14), segment32('__DATA_CONST', INITPROT, 1));

/** The rebase opcodes take in the binds, of which nothing is left but this byte. */
function behindDone(byte: number): Edit {
  return file => {
    const at = file.command(INFO);
    const start = file.u32(at + 8);
    const end = file.u32(at + 16) + file.u32(at + 20);
    file.bytes.fill(byte, start, end);
    file.bytes.set([0x11, 0x22, 0x00, 0x51, 0x00], start);
    file.set32(at + 12, end - start);
    file.set32(at + 16, 0);
    file.set32(at + 20, 0);
  };
}

function setOrdinal(opcode: number): Edit {
  return file => {
    const at = file.command(INFO);
    const start = file.u32(at + 16);
    const found = file.bytes.subarray(start, start + file.u32(at + 20)).indexOf(0x11);
    if (found < 0) throw new Error('the binds name no library 1');
    file.bytes[start + found] = opcode;
  };
}

/** dyld_chained_fixups_header: starts_offset at 4; imports_offset at 8. */
function starts(file: Parameters<Edit>[0]): number {
  const at = file.u32(file.command(LC_DYLD_CHAINED_FIXUPS) + DATA.offset);
  return at + file.u32(at + 4);
}

/** dyld_chained_starts_in_segment of a segment that has one: page_size 4, segment_offset 8, page_count 20. */
function startsOf(file: Parameters<Edit>[0], which: number): number {
  const at = starts(file);
  const offsets = Array.from({ length: file.u32(at) }, (_, i) => file.u32(at + 4 + 4 * i)).filter(n => n > 0);
  const offset = offsets[which];
  if (offset === undefined) throw new Error(`there are chains in ${offsets.length} segments`);
  return at + offset;
}

const set16 = (file: Parameters<Edit>[0], at: number, value: number): void =>
  file.view.setUint16(at, value, true);

testBreakages([
  [
    'a table of fewer segments than there are',
    'error',
    'MACHO_CHAINED_SEGMENTS',
    'chained',
    file => file.add32(starts(file), -1),
  ],
  [
    'chains of another segment',
    'error',
    'MACHO_CHAINED_STARTS',
    'chained',
    file => file.add64(startsOf(file, 0) + 8, 0x1000),
  ],
  [
    'chains of pages that differ in size',
    'error',
    'MACHO_CHAINED_STARTS',
    'chained',
    file => set16(file, startsOf(file, 1) + 4, 0x4000),
  ],
  [
    'chains of more pages than the file has',
    'error',
    'MACHO_CHAINED_PAGES',
    'chained',
    file => file.set64(file.segment('__DATA') + SEGMENT.filesize, 0),
  ],
  [
    'chains in what cannot be written',
    'error',
    'MACHO_FIXUP_SEGMENT',
    'chained',
    segment32('__DATA_CONST', INITPROT, 1),
  ],
  [
    'chains of another format',
    'error',
    'MACHO_BAD_CHAINED_FIXUPS',
    'chained',
    file => set16(file, startsOf(file, 0) + 6, 3),
  ],
  [
    'chains of pointers that only arm64e has',
    'error',
    'MACHO_ARM64E',
    'chained',
    file => set16(file, startsOf(file, 0) + 6, 1),
  ],
  [
    'a bind with bits that have to be zeros',
    'error',
    'MACHO_CHAINED_RESERVED',
    'chained',
    firstWord((low, high) => [low, (high | 0x8000_0001) >>> 0]),
  ],
  [
    'a chained pointer with bits that have to be zeros',
    'error',
    'MACHO_CHAINED_RESERVED',
    'chained',
    firstWord((_, high) => [0x4000, (high & 0x7ff8_0000) | 0x1001]),
  ],
  [
    'a chain that leaves its page',
    'error',
    'MACHO_BAD_CHAIN',
    'chained',
    file => set16(file, startsOf(file, 0) + 22, 0xffc),
  ],
  [
    'an import from a library that is not linked',
    'error',
    'MACHO_BIND_LIBRARY',
    'chained',
    file => {
      const at = file.u32(file.command(LC_DYLD_CHAINED_FIXUPS) + DATA.offset);
      file.bytes[at + file.u32(at + 8)] = 9;
    },
  ],
  [
    'a bind of an import that is not there',
    'error',
    'MACHO_CHAINED_IMPORTS',
    'chained',
    firstWord((_, high) => [0xff_ffff, high | 0x8000_0000]),
  ],
  [
    'a pointer that leads out of the image',
    'strict',
    'MACHO_FIXUP_TARGET',
    'chained',
    firstWord((_, high) => [0xffff_fff0, (high & 0x7fff_fff0) | 0xf]),
  ],
]);

/** Changes the first word of the first chain, without its distance to the next. */
function firstWord(change: (low: number, high: number) => readonly [number, number]): Edit {
  return file => {
    const table = startsOf(file, 0);
    const start = file.view.getUint16(table + 22, true);
    const at = file.u64(file.segment('__DATA_CONST') + SEGMENT.fileoff) + start;
    const [low, high] = change(file.u32(at), file.u32(at + 4));
    file.set32(at, low);
    file.set32(at + 4, high >>> 0);
  };
}
