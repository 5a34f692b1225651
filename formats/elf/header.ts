/**
 * The ELF header in both directions: what a file says of itself, and what is written for a model. Only
 * ELF64 and little-endian files are supported. gABI 4.1, "ELF Header".
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import type { ByteSource } from '../source.ts';
import { viewOf } from '../struct.ts';
import { EI, ELFCLASS, ELFDATA, EV } from './constants.ts';
import type { Counts } from './counts.ts';
import type { ElfHeader } from './model.ts';
import { Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr, LE } from './structs.ts';

const MAGIC = [0x7f, 0x45, 0x4c, 0x46] as const;

/** The header of a file, once it is clear that it is one that we read. */
export function readHeader(source: ByteSource): Elf64_Ehdr {
  const ident = source.read(0, Math.min(source.size, EI.EI_PAD));
  if (MAGIC.some((byte, i) => ident[i] !== byte)) {
    const found = [...ident.subarray(0, 4)].map(byte => byte.toString(16).padStart(2, '0')).join(' ');
    const message = `ELF: the file begins with ${found || 'nothing'}, expected 7f 45 4c 46`;
    throw new FormatError('ELF_BAD_MAGIC', message, { offset: 0, value: found });
  }
  // The class comes before the size: a small ELF32 file is ELF32, not a truncated ELF64.
  const { EI_CLASS, EI_DATA, EI_VERSION } = EI;
  const { ELFCLASS64 } = ELFCLASS;
  const { ELFDATA2LSB } = ELFDATA;
  const byte = (at: number): number => ident[at] ?? 0;
  if (byte(EI_CLASS) !== ELFCLASS64) {
    throw badField(
      'ELF_UNSUPPORTED_CLASS',
      'EI_CLASS',
      EI_CLASS,
      byte(EI_CLASS),
      `${ELFCLASS64} (ELFCLASS64)`,
    );
  }
  if (byte(EI_DATA) !== ELFDATA2LSB) {
    throw badField('ELF_UNSUPPORTED_DATA', 'EI_DATA', EI_DATA, byte(EI_DATA), `${ELFDATA2LSB} (ELFDATA2LSB)`);
  }
  if (byte(EI_VERSION) !== EV.EV_CURRENT) {
    throw badField('ELF_BAD_VERSION', 'EI_VERSION', EI_VERSION, byte(EI_VERSION), `${EV.EV_CURRENT}`);
  }
  if (source.size < Elf64_Ehdr.size) {
    const message = `ELF: the file has ${hex(source.size)} bytes, expected ${hex(Elf64_Ehdr.size)} for the ELF header`;
    throw new FormatError('ELF_TRUNCATED', message, { offset: 0, value: source.size });
  }
  const ehdr = Elf64_Ehdr.read(viewOf(source.read(0, Elf64_Ehdr.size)), 0, LE);
  checkHeader(ehdr);
  return ehdr;
}

function checkHeader(ehdr: Elf64_Ehdr): void {
  const { e_version, e_phoff, e_phentsize, e_phnum, e_shoff, e_shentsize, e_shnum } = ehdr;
  if (e_version !== EV.EV_CURRENT) {
    throw badHeader('ELF_BAD_VERSION', 'e_version', e_version, `${EV.EV_CURRENT}`);
  }
  if (e_phnum !== 0 && e_phentsize !== Elf64_Phdr.size) {
    throw badHeader('ELF_BAD_PHENTSIZE', 'e_phentsize', e_phentsize, `${Elf64_Phdr.size}`);
  }
  if (e_phnum !== 0 && e_phoff === 0n) {
    throw badHeader('ELF_BAD_PHOFF', 'e_phoff', 0, `the offset of ${e_phnum} program headers`);
  }
  // With an e_shoff there is a section 0 at least, even where e_shnum is 0.
  if (e_shoff !== 0n && e_shentsize !== Elf64_Shdr.size) {
    throw badHeader('ELF_BAD_SHENTSIZE', 'e_shentsize', e_shentsize, `${Elf64_Shdr.size}`);
  }
  if (e_shnum !== 0 && e_shoff === 0n) {
    throw badHeader('ELF_BAD_SHOFF', 'e_shoff', 0, `the offset of ${e_shnum} section headers`);
  }
}

/** What the header says of the whole file. */
export const modelHeader = (ehdr: Elf64_Ehdr): ElfHeader => ({
  type: ehdr.e_type,
  machine: ehdr.e_machine,
  entry: ehdr.e_entry,
  flags: ehdr.e_flags,
  osabi: ehdr.e_ident[EI.EI_OSABI] ?? 0,
  abiVersion: ehdr.e_ident[EI.EI_ABIVERSION] ?? 0,
  asRead: ehdr,
});

/** The header of a file whose tables are at these offsets; `counts` as they go into the header. */
export function layoutHeader(header: ElfHeader, phoff: number, shoff: number, counts: Counts): Elf64_Ehdr {
  const { type, machine, entry, flags, osabi, abiVersion, asRead } = header;
  const ident = asRead ? asRead.e_ident.slice() : new Uint8Array(16);
  ident.set(MAGIC);
  ident[EI.EI_CLASS] = ELFCLASS.ELFCLASS64;
  ident[EI.EI_DATA] = ELFDATA.ELFDATA2LSB;
  ident[EI.EI_VERSION] = EV.EV_CURRENT;
  ident[EI.EI_OSABI] = osabi;
  ident[EI.EI_ABIVERSION] = abiVersion;
  const { e_phnum, e_shnum, e_shstrndx } = counts;
  return {
    e_ident: ident,
    e_type: type,
    e_machine: machine,
    e_version: EV.EV_CURRENT,
    e_entry: entry,
    e_phoff: BigInt(phoff),
    e_shoff: BigInt(shoff),
    e_flags: flags,
    e_ehsize: asRead?.e_ehsize ?? Elf64_Ehdr.size,
    e_phentsize: e_phnum > 0 ? Elf64_Phdr.size : (asRead?.e_phentsize ?? 0),
    e_phnum,
    e_shentsize: shoff > 0 ? Elf64_Shdr.size : (asRead?.e_shentsize ?? 0),
    e_shnum,
    e_shstrndx,
  };
}

/** The error of a header field: its name, place and value, and what it should be. */
export const badHeader = (
  code: string,
  field: keyof typeof Elf64_Ehdr.offsets,
  value: number | string,
  expected: string,
): FormatError => badField(code, field, Elf64_Ehdr.offsets[field], value, expected);

const badField = (
  code: string,
  field: string,
  offset: number,
  value: number | string,
  expected: string,
): FormatError =>
  new FormatError(code, `ELF: ${field} is ${value} at ${hex(offset)}, expected ${expected}`, {
    offset,
    value,
  });
