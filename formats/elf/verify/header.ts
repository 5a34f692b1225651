/**
 * Rules about the ELF header beyond those without which nothing can be read. gABI 4.1, "ELF Header"; glibc
 * 2.36, elf/dl-load.c, open_verify(); Linux 6.1, fs/binfmt_elf.c, load_elf_binary().
 *
 * @module
 */
import { hex } from '../../errors.ts';
import type { Finding } from '../../finding.ts';
import { EI, ELFOSABI, EM, ET, SHT } from '../constants.ts';
import type { ElfFile } from '../model.ts';
import { Elf64_Ehdr } from '../structs.ts';
import { error, isProgram, type Rule, strict } from './rule.ts';

/** gABI: e_ehsize is the header's size; Linux and ld.so do not look at it, libelf does. */
function* headerSize({ header: { asRead } }: ElfFile): Iterable<Finding> {
  if (!asRead || asRead.e_ehsize === Elf64_Ehdr.size) return;
  const offset = Elf64_Ehdr.offsets.e_ehsize;
  yield strict('ELF_EHSIZE', `e_ehsize is ${asRead.e_ehsize}, expected ${Elf64_Ehdr.size}`, { offset });
}

/** open_verify(): "nonzero padding in e_ident". The kernel does not look at it. */
function* identPadding(file: ElfFile): Iterable<Finding> {
  const padding = file.header.asRead?.e_ident.subarray(EI.EI_PAD) ?? new Uint8Array(0);
  const at = padding.findIndex(byte => byte !== 0);
  if (at < 0) return;
  const say = isLibrary(file) ? error : strict;
  yield say('ELF_IDENT_PADDING', `e_ident[${EI.EI_PAD + at}] is ${padding[at]}, expected 0`, {
    offset: EI.EI_PAD + at,
  });
}

/** VALID_ELF_OSABI, VALID_ELF_ABIVERSION of glibc: "ELF file OS ABI invalid", "ELF file ABI version invalid". */
function* osabi(file: ElfFile): Iterable<Finding> {
  const { osabi, abiVersion, machine } = file.header;
  if (!isLibrary(file) || (machine !== EM.EM_X86_64 && machine !== EM.EM_AARCH64)) return;
  if (osabi !== ELFOSABI.ELFOSABI_NONE && osabi !== ELFOSABI.ELFOSABI_GNU) {
    yield error(
      'ELF_OSABI',
      `e_ident[EI_OSABI] is ${osabi}, expected ELFOSABI_NONE or ELFOSABI_GNU for ld.so`,
      {
        offset: EI.EI_OSABI,
      },
    );
  }
  // LIBC_ABI_MAX of 2.36 is 4 (LIBC_ABI_ABSOLUTE is 3, DT_RELR 4 as of 2.36).
  if (abiVersion !== 0 && (osabi !== ELFOSABI.ELFOSABI_GNU || abiVersion > 4)) {
    yield error(
      'ELF_OSABI',
      `e_ident[EI_ABIVERSION] is ${abiVersion}, expected 0, or up to 4 with ELFOSABI_GNU`,
      {
        offset: EI.EI_ABIVERSION,
      },
    );
  }
}

/** load_elf_binary() starts ET_EXEC and ET_DYN; open_verify(): "only ET_DYN and ET_EXEC can be loaded". */
function* type({ header: { type } }: ElfFile): Iterable<Finding> {
  if (type >= ET.ET_REL && type <= ET.ET_CORE) return;
  yield error('ELF_TYPE', `e_type is ${hex(type)}, expected ET_REL, ET_EXEC, ET_DYN or ET_CORE`, {
    offset: Elf64_Ehdr.offsets.e_type,
  });
}

/** gABI, "Program Header": for executables, shared objects and cores; elflint demands that of objects. */
function* objectSegments({ header, segments }: ElfFile): Iterable<Finding> {
  if (header.type !== ET.ET_REL || segments.length === 0) return;
  yield strict('ELF_PHNUM', `e_phnum is ${segments.length}, expected 0 in an object`, {
    offset: Elf64_Ehdr.offsets.e_phnum,
  });
}

/** psABI of x86-64, 4.1.1, and of AArch64, 5.2: "there are no processor-specific flags". */
function* flags({ header: { machine, flags } }: ElfFile): Iterable<Finding> {
  if (flags === 0 || (machine !== EM.EM_X86_64 && machine !== EM.EM_AARCH64)) return;
  yield strict('ELF_FLAGS', `e_flags is ${hex(flags)}, expected 0 for this machine`, {
    offset: Elf64_Ehdr.offsets.e_flags,
  });
}

/** gABI: the tables hold 64-bit fields, which libelf reads in place. */
function* tables({ phoff, shoff, segments, sections }: ElfFile): Iterable<Finding> {
  const all = [
    ['ELF_PHOFF', 'e_phoff', phoff ?? 0, segments.length],
    ['ELF_SHOFF', 'e_shoff', shoff ?? 0, sections.length],
  ] as const;
  for (const [code, field, offset, count] of all) {
    if (count === 0 || offset % 8 === 0) continue;
    yield strict(code, `${field} is ${hex(offset)}, expected a multiple of 8`, {
      offset: Elf64_Ehdr.offsets[field],
    });
  }
}

/** gABI: e_shstrndx is the index of a string table, which libelf and binutils demand. */
function* names({ shstrndx = 0, sections }: ElfFile): Iterable<Finding> {
  const section = sections[shstrndx];
  if (shstrndx === 0 || section === undefined || section.type === SHT.SHT_STRTAB) return;
  yield strict('ELF_SHSTRNDX', `e_shstrndx is ${shstrndx}, expected a section of type SHT_STRTAB`, {
    offset: Elf64_Ehdr.offsets.e_shstrndx,
  });
}

export const HEADER_RULES: readonly Rule[] = [
  headerSize,
  identPadding,
  osabi,
  type,
  objectSegments,
  flags,
  tables,
  names,
];

/** What ld.so opens by itself, rather than being given by the kernel. */
const isLibrary = (file: ElfFile): boolean => file.header.type === ET.ET_DYN && !isProgram(file);
