/**
 * A program made from nothing, without any toolchain: two instructions, a word of data, two symbols.
 *
 * @module
 */
import {
  CPU_SUBTYPE_X86_64,
  CPU_TYPE,
  dysymtab_command,
  encodeSymbols,
  entry_point_command,
  LC,
  linkedit_data_command,
  type MachOFile,
  MH,
  MH_FLAGS,
  N,
  N_MASK,
  newCommand,
  newMachO,
  newSection,
  newSegment,
  newSymbol,
  S,
  S_ATTR,
  setBlob,
  symtab_command,
  uuid_command,
  VM_PROT,
} from '../../../../formats/macho/index.ts';

export const BASE = 0x1_0000_0000n;
const PAGE = 0x1000;
/** mov eax, 42; ret */
export const CODE: Uint8Array = Uint8Array.of(0xb8, 42, 0, 0, 0, 0xc3);
export const UUID = '000102030405060708090a0b0c0d0e0f';

/** A new model each time. Its first section is at 0xff0: the room before it is free for commands. */
export function tiny(): MachOFile {
  const file = newMachO({
    cputype: CPU_TYPE.CPU_TYPE_X86_64,
    cpusubtype: CPU_SUBTYPE_X86_64.CPU_SUBTYPE_X86_64_ALL,
    filetype: MH.MH_EXECUTE,
    flags: MH_FLAGS.MH_NOUNDEFS | MH_FLAGS.MH_DYLDLINK | MH_FLAGS.MH_TWOLEVEL | MH_FLAGS.MH_PIE,
  });
  const text = new Uint8Array(PAGE);
  text.set(CODE, 0xff0);
  const data = new Uint8Array(PAGE);
  data.set([1, 2, 3, 4, 5, 6, 7, 8]);
  const readExecute = VM_PROT.VM_PROT_READ | VM_PROT.VM_PROT_EXECUTE;
  const readWrite = VM_PROT.VM_PROT_READ | VM_PROT.VM_PROT_WRITE;
  const code = newSection({
    sectname: '__text',
    segname: '__TEXT',
    addr: BASE + 0xff0n,
    size: BigInt(CODE.length),
    offset: 0xff0,
    flags: S.S_REGULAR | S_ATTR.S_ATTR_PURE_INSTRUCTIONS,
  });
  const words = newSection({
    sectname: '__data',
    segname: '__DATA',
    addr: BASE + 0x1000n,
    size: 8n,
    offset: PAGE,
    align: 3,
  });
  const zeros = newSection({
    sectname: '__bss',
    segname: '__DATA',
    addr: BASE + 0x2000n,
    size: 0x1000n,
    flags: S.S_ZEROFILL,
  });
  file.commands = [
    newSegment({ segname: '__PAGEZERO', vmsize: BASE }),
    newSegment({
      segname: '__TEXT',
      vmaddr: BASE,
      vmsize: BigInt(PAGE),
      filesize: PAGE,
      maxprot: readExecute,
      initprot: readExecute,
      sections: [code],
      contents: text,
    }),
    newSegment({
      segname: '__DATA',
      vmaddr: BASE + 0x1000n,
      vmsize: 0x2000n,
      fileoff: PAGE,
      filesize: PAGE,
      maxprot: readWrite,
      initprot: readWrite,
      sections: [words, zeros],
      contents: data,
    }),
    newSegment({
      segname: '__LINKEDIT',
      vmaddr: BASE + 0x3000n,
      fileoff: 2 * PAGE,
      maxprot: VM_PROT.VM_PROT_READ,
      initprot: VM_PROT.VM_PROT_READ,
    }),
    newCommand(LC.LC_FUNCTION_STARTS, linkedit_data_command, { dataoff: 0, datasize: 0 }),
    newCommand(LC.LC_DATA_IN_CODE, linkedit_data_command, { dataoff: 0, datasize: 0 }),
    newCommand(LC.LC_SYMTAB, symtab_command, { symoff: 0, nsyms: 0, stroff: 0, strsize: 0 }),
    newCommand(LC.LC_DYSYMTAB, dysymtab_command, { ...NO_DYSYMTAB, nextdefsym: 2 }),
    newCommand(LC.LC_UUID, uuid_command, { uuid: Uint8Array.from({ length: 16 }, (_, i) => i) }),
    newCommand(LC.LC_MAIN, entry_point_command, { entryoff: 0xff0n, stacksize: 0n }),
  ];
  const { symbols, strings } = encodeSymbols(SYMBOLS);
  setBlob(file, 'symbols', symbols);
  setBlob(file, 'strings', strings);
  // 0xff0, and no more; the layout rounds it up.
  setBlob(file, 'function-starts', Uint8Array.of(0xf0, 0x1f, 0));
  setBlob(file, 'data-in-code', new Uint8Array(0));
  return file;
}

export const SYMBOLS = [
  newSymbol({ name: '_main', value: BASE + 0xff0n, type: N.N_SECT | N_MASK.N_EXT, section: 1 }),
  newSymbol({ name: '_word', value: BASE + 0x1000n, type: N.N_SECT | N_MASK.N_EXT, section: 2 }),
];

const NO_DYSYMTAB = {
  ilocalsym: 0,
  nlocalsym: 0,
  iextdefsym: 0,
  nextdefsym: 0,
  iundefsym: 2,
  nundefsym: 0,
  tocoff: 0,
  ntoc: 0,
  modtaboff: 0,
  nmodtab: 0,
  extrefsymoff: 0,
  nextrefsyms: 0,
  indirectsymoff: 0,
  nindirectsyms: 0,
  extreloff: 0,
  nextrel: 0,
  locreloff: 0,
  nlocrel: 0,
};
