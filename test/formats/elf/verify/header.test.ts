import { ET, SHT } from '../../../../formats/elf/constants.ts';
import { setByte, setHeader } from '../support/spoil.ts';
import { section, testBreakages } from '../support/verify.ts';

testBreakages([
  ['a wrong size of the header', 'strict', 'ELF_EHSIZE', 'pie', setHeader({ e_ehsize: 60 })],
  ['padding of e_ident in a library', 'error', 'ELF_IDENT_PADDING', 'library', setByte(12, 1)],
  ['padding of e_ident in a program', 'strict', 'ELF_IDENT_PADDING', 'static', setByte(15, 1)],
  ['another system of a library', 'error', 'ELF_OSABI', 'library', setByte(7, 9)],
  ['another ABI version of a library', 'error', 'ELF_OSABI', 'library', setByte(8, 1)],
  ['a type that is none', 'error', 'ELF_TYPE', 'pie', setHeader({ e_type: 0xfe00 })],
  ['no type', 'error', 'ELF_TYPE', 'object', setHeader({ e_type: ET.ET_NONE })],
  [
    'segments of an object',
    'strict',
    'ELF_PHNUM',
    'object',
    bytes => {
      const phoff = bytes.length + 8 - (bytes.length % 8);
      const longer = new Uint8Array(phoff + 56);
      longer.set(bytes);
      return setHeader({ e_phnum: 1, e_phoff: BigInt(phoff), e_phentsize: 56 })(longer) ?? longer;
    },
  ],
  ['flags of the processor', 'strict', 'ELF_FLAGS', 'pie', setHeader({ e_flags: 0x10 })],
  [
    'section headers at an odd place',
    'strict',
    'ELF_SHOFF',
    'pie',
    bytes => {
      const longer = new Uint8Array(bytes.length + 1);
      const shoff = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0x28, true));
      longer.set(bytes.subarray(0, shoff));
      longer.set(bytes.subarray(shoff), shoff + 1);
      return setHeader({ e_shoff: BigInt(shoff + 1) })(longer) ?? longer;
    },
  ],
  [
    'program headers at an odd place',
    'strict',
    'ELF_PHOFF',
    'pie',
    bytes => {
      bytes.copyWithin(65, 64, 64 + 56 * 14);
      return setHeader({ e_phoff: 65n })(bytes);
    },
  ],
  [
    'names in no string table',
    'strict',
    'ELF_SHSTRNDX',
    'pie',
    section('.shstrtab', { sh_type: SHT.SHT_PROGBITS }),
  ],
]);
