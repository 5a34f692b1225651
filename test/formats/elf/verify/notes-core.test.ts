import { PT } from '../../../../formats/elf/constants.ts';
import { cut, setSegment } from '../support/spoil.ts';
import { contents, segment, testBreakages, word } from '../support/verify.ts';

testBreakages([
  [
    'a note that ends beyond its section',
    'error',
    'ELF_BAD_NOTE',
    'pie',
    word('.note.gnu.build-id', 4, 0x1000),
  ],
  [
    'a property that ends beyond its note',
    'strict',
    'ELF_PROPERTY',
    'pie',
    word('.note.gnu.property', 20, 0x100),
  ],
  ['half a property', 'strict', 'ELF_PROPERTY', 'pie', contents('.note.gnu.property', 4, 4)],
]);

/** Segment 0 is the PT_NOTE, which begins with an NT_PRSTATUS. */
testBreakages([
  ['a core without notes', 'strict', 'ELF_CORE_NOTES', 'core', segment(PT.PT_NOTE, { p_type: PT.PT_NULL })],
  ['a core without threads', 'error', 'ELF_CORE_THREADS', 'core', segment(PT.PT_NOTE, { p_filesz: 0n })],
  [
    'a thread of another machine',
    'error',
    'ELF_CORE_THREADS',
    'core',
    bytes => {
      new DataView(bytes.buffer, bytes.byteOffset).setUint16(18, 183, true);
      return undefined;
    },
  ],
  ['a core that is cut off', 'error', 'ELF_SEGMENT_PAST_END', 'core', cut(-1)],
  [
    'more bytes in a core than memory',
    'error',
    'ELF_LOAD_FILESZ',
    'core',
    segment(PT.PT_LOAD, { p_memsz: 1n }),
  ],
  ['memory of a core that descends', 'strict', 'ELF_LOAD_ORDER', 'core', setSegment(2, { p_vaddr: 0x1000n })],
]);
