import { INITPROT, SECTION, SEGMENT, SEGMENT_FLAGS } from '../../../support/macho/edit.ts';
import {
  type Edit,
  header32,
  sdk,
  section32,
  section64,
  segment32,
  segment64,
  testBreakages,
  testSound,
} from '../support/verify.ts';

const [R, RW, RX, RWX] = [1, 3, 5, 7];

const renamed =
  (name: string, by: string): Edit =>
  file => {
    const at = file.segment(name) + SEGMENT.segname;
    file.bytes.fill(0, at, at + 16);
    file.bytes.set(new TextEncoder().encode(by), at);
  };

testBreakages([
  [
    'a place beyond the end of the file',
    'strict',
    'MACHO_SEGMENT_PAST_END',
    'chained',
    segment64('__PAGEZERO', SEGMENT.fileoff, 0x1000_0000),
  ],
  [
    'more bytes than memory',
    'error',
    'MACHO_SEGMENT_FILESIZE',
    'chained',
    segment64('__DATA', SEGMENT.vmsize, 0x800),
  ],
  [
    'a segment around the end of memory',
    'error',
    'MACHO_SEGMENT_WRAPS',
    'chained',
    file => file.view.setBigUint64(file.segment('__LINKEDIT') + SEGMENT.vmaddr, 0xffff_ffff_ffff_f000n, true),
    segment64('__LINKEDIT', SEGMENT.vmsize, 0x2000),
  ],
  [
    'a permission that is none',
    'error',
    'MACHO_SEGMENT_PROTECTION',
    'chained',
    segment32('__DATA', INITPROT, 11),
  ],
  [
    'writable code',
    'error',
    'MACHO_SEGMENT_PROTECTION',
    'chained',
    segment32('__TEXT', INITPROT, RWX),
    segment32('__TEXT', SEGMENT.maxprot, RWX),
  ],
  [
    'executable data of the newest SDK',
    'error',
    'MACHO_SEGMENT_PROTECTION',
    'chained',
    sdk(26),
    segment32('__DATA', INITPROT, RWX),
    segment32('__DATA', SEGMENT.maxprot, RWX),
  ],
  [
    'executable data on arm64',
    'error',
    'MACHO_SEGMENT_PROTECTION',
    'arm',
    segment32('__DATA', INITPROT, RWX),
    segment32('__DATA', SEGMENT.maxprot, RWX),
  ],
  [
    'a writable __LINKEDIT of the newest SDK',
    'error',
    'MACHO_SEGMENT_PROTECTION',
    'chained',
    sdk(26),
    segment32('__LINKEDIT', INITPROT, RW),
    segment32('__LINKEDIT', SEGMENT.maxprot, RW),
  ],
  [
    'a writable __LINKEDIT of a library',
    'error',
    'MACHO_SEGMENT_PROTECTION',
    'dylib',
    segment32('__LINKEDIT', INITPROT, RW),
    segment32('__LINKEDIT', SEGMENT.maxprot, RW),
  ],
  [
    'more permissions than there may be',
    'strict',
    'MACHO_SEGMENT_PROTECTION',
    'chained',
    segment32('__DATA', SEGMENT.maxprot, R),
  ],
  [
    'constant data that is not read-only, of the newest SDK',
    'error',
    'MACHO_READ_ONLY',
    'chained',
    sdk(26),
    segment32('__DATA_CONST', SEGMENT_FLAGS, 0),
  ],
  [
    'constant data that is not read-only, of SDK 15.4',
    'error',
    'MACHO_READ_ONLY',
    'chained',
    sdk(15, 4),
    segment32('__DATA_CONST', SEGMENT_FLAGS, 0),
  ],
  [
    'two segments to be made read-only',
    'error',
    'MACHO_READ_ONLY',
    'chained',
    segment32('__DATA', SEGMENT_FLAGS, 0x10),
  ],
  ['no __TEXT', 'error', 'MACHO_TEXT', 'chained', renamed('__TEXT', '__CODE')],
  [
    'load commands that are not in __TEXT',
    'error',
    'MACHO_TEXT',
    'chained',
    segment64('__TEXT', SEGMENT.filesize, 0x100),
  ],
  [
    'a __TEXT that does not begin with the file',
    'error',
    'MACHO_TEXT',
    'chained',
    segment64('__TEXT', SEGMENT.fileoff, 0x1000),
  ],
  [
    'segments that share memory',
    'error',
    'MACHO_SEGMENT_OVERLAP',
    'chained',
    segment64('__TEXT', SEGMENT.vmsize, n => n + 0x1000),
  ],
  [
    'segments that share bytes',
    'error',
    'MACHO_SEGMENT_OVERLAP',
    'chained',
    segment64('__DATA', SEGMENT.fileoff, 0),
  ],
  [
    'two segments of a name, of the newest SDK',
    'error',
    'MACHO_SEGMENT_NAME',
    'chained',
    sdk(26),
    renamed('__DATA_CONST', '__DATA'),
  ],
  [
    'segments that are not in the order of memory, of the newest SDK',
    'error',
    'MACHO_SEGMENT_ORDER',
    'chained',
    sdk(26),
    segment64('__DATA_CONST', SEGMENT.vmaddr, n => n + 0x200_0000),
  ],
  [
    'segments that are not in the order of the file, of a library',
    'error',
    'MACHO_SEGMENT_ORDER',
    'dylib',
    segment64('__DATA_CONST', SEGMENT.fileoff, n => n + 0x1008),
  ],
  ['no __LINKEDIT', 'error', 'MACHO_NO_LINKEDIT', 'chained', renamed('__LINKEDIT', '__LINKED')],
  [
    'a segment behind __LINKEDIT',
    'strict',
    'MACHO_LINKEDIT_LAST',
    'chained',
    renamed('__DATA', '__LINKEDIX'),
    renamed('__LINKEDIT', '__LAST'),
    renamed('__LINKEDIX', '__LINKEDIT'),
  ],
  [
    'a segment off the pages of the file',
    'error',
    'MACHO_SEGMENT_PAGE',
    'chained',
    segment64('__DATA', SEGMENT.fileoff, n => n + 0x10),
  ],
  [
    'a segment off the pages of memory',
    'error',
    'MACHO_SEGMENT_PAGE',
    'chained',
    segment64('__LINKEDIT', SEGMENT.vmaddr, n => n + 0x100),
  ],
  [
    'a segment off the larger pages of arm64',
    'error',
    'MACHO_SEGMENT_PAGE',
    'arm',
    segment64('__LINKEDIT', SEGMENT.vmaddr, n => n + 0x1000),
  ],
  [
    'two segments on one page',
    'error',
    'MACHO_SEGMENT_PAGE',
    'chained',
    segment64('__LINKEDIT', SEGMENT.vmaddr, n => n - 0x800),
    file =>
      file.set64(
        file.segment('__DATA') + SEGMENT.vmsize,
        file.u64(file.segment('__LINKEDIT') + SEGMENT.vmaddr) -
          file.u64(file.segment('__DATA') + SEGMENT.vmaddr) -
          0x100,
      ),
  ],
  [
    'zeros of a segment that are other bytes of the file',
    'error',
    'MACHO_SEGMENT_TAIL',
    'chained',
    segment64('__DATA', SEGMENT.filesize, 8),
    section64('__data', SECTION.size, 8),
    section32('__data', SECTION.offset, n => n),
  ],
  [
    'a header in a segment that cannot be run',
    'error',
    'MACHO_HEADER_SEGMENT',
    'info',
    segment32('__TEXT', INITPROT, R),
    sdk(10, 14),
  ],
  [
    'no page zero on arm64',
    'error',
    'MACHO_PAGE_ZERO',
    'arm',
    segment64('__PAGEZERO', SEGMENT.vmsize, 0x4000),
  ],
  [
    'a page zero that can be read',
    'error',
    'MACHO_PAGE_ZERO',
    'info',
    segment32('__PAGEZERO', SEGMENT.maxprot, R),
  ],
  [
    'a page zero of less than a page',
    'error',
    'MACHO_PAGE_ZERO',
    'chained',
    segment64('__PAGEZERO', SEGMENT.vmsize, 0x800),
  ],
]);

testSound(
  'a writable __LINKEDIT of an executable before SDK 26',
  'info',
  segment32('__LINKEDIT', INITPROT, RW),
  segment32('__LINKEDIT', SEGMENT.maxprot, RW),
);
testSound(
  'an executable __LINKEDIT that is older than the rule',
  'info',
  sdk(15),
  segment32('__LINKEDIT', INITPROT, RX),
  segment32('__LINKEDIT', SEGMENT.maxprot, RX),
);
testSound(
  'a file whose flags say more than needed',
  'info',
  header32(24, was => was | 0x0100_0000),
);

testBreakages([
  [
    'a section that begins before its segment',
    'error',
    'MACHO_SECTION_RANGE',
    'chained',
    section64('__data', SECTION.addr, 0x1_0000_0000),
  ],
  [
    'a section that ends after its segment',
    'error',
    'MACHO_SECTION_RANGE',
    'chained',
    section64('__bss', SECTION.size, 0x10_0000),
  ],
  [
    'a section that ends after its segment, before SDK 11',
    'strict',
    'MACHO_SECTION_RANGE',
    'info',
    sdk(10, 15),
    section64('__bss', SECTION.size, 0x10_0000),
  ],
  [
    'a section at another offset than its segment',
    'strict',
    'MACHO_SECTION_OFFSET',
    'chained',
    section32('__data', SECTION.offset, n => n + 8),
  ],
  [
    'a section with more bytes than its segment',
    'strict',
    'MACHO_SECTION_OFFSET',
    'chained',
    section64('__data', SECTION.size, 0x2000),
  ],
  [
    'sections that share memory',
    'strict',
    'MACHO_SECTION_OVERLAP',
    'chained',
    section64('__data', SECTION.size, n => n + 0x100),
  ],
  [
    'a section off its alignment',
    'strict',
    'MACHO_SECTION_ALIGN',
    'chained',
    section32('__cstring', SECTION.align, 12),
  ],
  [
    'a section of another segment',
    'strict',
    'MACHO_SECTION_NAME',
    'chained',
    file => file.bytes.set(new TextEncoder().encode('__DATAX'), file.section('__data') + 16),
  ],
  [
    'zeros that are other bytes of the file',
    'error',
    'MACHO_ZEROFILL',
    'chained',
    section32('__data', SECTION.flags, 1),
  ],
  [
    'half a thread-local variable',
    'error',
    'MACHO_THREAD_LOCALS',
    'chained',
    section64('__thread_vars', SECTION.size, n => n - 8),
  ],
  [
    'a thread-local variable with the key of a process',
    'strict',
    'MACHO_THREAD_LOCALS',
    'info',
    file => file.set64(file.u32(file.section('__thread_vars') + SECTION.offset) + 8, 7),
  ],
  [
    'relocations over the load commands',
    'strict',
    'MACHO_SECTION_RELOCATIONS',
    'chained',
    section32('__data', 60, 3),
  ],
  [
    'relocations beyond the end of the file',
    'strict',
    'MACHO_SECTION_RELOCATIONS',
    'object',
    section32('__text', 56, 0xfff_fff0),
  ],
]);

testSound(
  'constant data that is not read-only, before SDK 15.4',
  'chained',
  sdk(15, 3),
  segment32('__DATA_CONST', SEGMENT_FLAGS, 0),
);
