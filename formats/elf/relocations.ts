/**
 * Relocations with addends (SHT_RELA, DT_RELA, DT_JMPREL), as columns: a dumped program has millions of
 * them. gABI 4.1, "Relocation"; which types a dynamic loader applies: the psABIs of x86-64 and AArch64, and
 * glibc 2.36, sysdeps/x86_64/dl-machine.h and sysdeps/aarch64/dl-machine.h.
 *
 * Elf64_Rel, where the addend is in the relocated word, is used by neither machine, and refused by name.
 *
 * @module
 */
import { FormatError, hex } from '../errors.ts';
import { viewOf } from '../struct.ts';
import { EM, R_AARCH64, R_X86_64 } from './constants.ts';
import { Elf64_Rela, LE } from './structs.ts';

/** Relocations in order; number `i` is at index `i` of each column. */
export interface RelaTable {
  readonly length: number;
  /** r_offset: an address in a linked file, an offset into the section in an object. */
  readonly offsets: BigUint64Array;
  /** R_X86_64_*, R_AARCH64_*: the low half of r_info. */
  readonly types: Uint32Array;
  /** Index in the symbol table: the high half of r_info. */
  readonly symbols: Uint32Array;
  /** r_addend. */
  readonly addends: BigInt64Array;
}

/** One relocation. */
export interface ElfRelocation {
  readonly offset: bigint;
  readonly type: number;
  readonly symbol: number;
  readonly addend: bigint;
}

/** `length` relocations of type 0 (NONE), to be filled. */
export const newRelaTable = (length: number): RelaTable => ({
  length,
  offsets: new BigUint64Array(length),
  types: new Uint32Array(length),
  symbols: new Uint32Array(length),
  addends: new BigInt64Array(length),
});

/** A table of these relocations; symbol and addend are 0 where not given. */
export function relaTableOf(
  relocations: readonly (Pick<ElfRelocation, 'offset' | 'type'> & Partial<ElfRelocation>)[],
): RelaTable {
  const table = newRelaTable(relocations.length);
  for (const [i, { offset, type, symbol = 0, addend = 0n }] of relocations.entries()) {
    table.offsets[i] = offset;
    table.types[i] = type;
    table.symbols[i] = symbol;
    table.addends[i] = addend;
  }
  return table;
}

/** Relocation `i` of a table. */
export const relocationAt = (table: RelaTable, i: number): ElfRelocation => ({
  offset: table.offsets[i] ?? 0n,
  type: table.types[i] ?? 0,
  symbol: table.symbols[i] ?? 0,
  addend: table.addends[i] ?? 0n,
});

/** The relocations of a table, one after the other. */
export function* relocationsOf(table: RelaTable): Generator<ElfRelocation, void> {
  for (let i = 0; i < table.length; i++) yield relocationAt(table, i);
}

/**
 * The relocations of an SHT_RELA section, or of DT_RELA or DT_JMPREL.
 *
 * @throws FormatError `ELF_BAD_RELOCATIONS` for a size that is no multiple of an entry's
 */
export function decodeRela(bytes: Uint8Array): RelaTable {
  const { size } = Elf64_Rela;
  if (bytes.length % size !== 0) {
    const message = `ELF: a relocation table has ${hex(bytes.length)} bytes, expected a multiple of ${size}`;
    throw new FormatError('ELF_BAD_RELOCATIONS', message, { value: bytes.length });
  }
  const table = newRelaTable(bytes.length / size);
  const view = viewOf(bytes);
  for (let i = 0, at = 0; i < table.length; i++, at += size) {
    table.offsets[i] = view.getBigUint64(at, LE);
    table.types[i] = view.getUint32(at + 8, LE);
    table.symbols[i] = view.getUint32(at + 12, LE);
    table.addends[i] = view.getBigInt64(at + 16, LE);
  }
  return table;
}

/** Contents of an SHT_RELA section. */
export function encodeRela(table: RelaTable): Uint8Array {
  const { size } = Elf64_Rela;
  const bytes = new Uint8Array(table.length * size);
  const view = viewOf(bytes);
  for (let i = 0, at = 0; i < table.length; i++, at += size) {
    view.setBigUint64(at, table.offsets[i] ?? 0n, LE);
    view.setUint32(at + 8, table.types[i] ?? 0, LE);
    view.setUint32(at + 12, table.symbols[i] ?? 0, LE);
    view.setBigInt64(at + 16, table.addends[i] ?? 0n, LE);
  }
  return bytes;
}

/** The relocations that a dynamic loader applies, by what they do: the types of one machine. */
export interface DynamicTypes {
  /** The word is symbol + addend. */
  readonly absolute: number;
  /** The word is load address + addend. */
  readonly relative: number;
  /** The word is what the function at load address + addend returns. */
  readonly irelative: number;
  /** As many bytes as the symbol has are copied from the library that defines it. */
  readonly copy: number;
  readonly globDat: number;
  readonly jumpSlot: number;
  readonly tlsModule: number;
  readonly tlsOffset: number;
  readonly tlsThreadOffset: number;
  readonly tlsDescriptor: number;
  /** How many bytes each type changes; 0: none, or as many as its symbol has. Other types end the process. */
  readonly sizes: ReadonlyMap<number, number>;
}

/**
 * The types of a machine (EM_*).
 *
 * @throws FormatError `ELF_UNSUPPORTED_MACHINE`
 */
export function dynamicTypes(machine: number): DynamicTypes {
  const types = DYNAMIC_TYPES.get(machine);
  if (types) return types;
  throw new FormatError(
    'ELF_UNSUPPORTED_MACHINE',
    `ELF: e_machine is ${machine}, expected ${EM.EM_X86_64} (EM_X86_64) or ${EM.EM_AARCH64} (EM_AARCH64)`,
    { value: machine },
  );
}

const X86_64: DynamicTypes = {
  absolute: R_X86_64.R_X86_64_64,
  relative: R_X86_64.R_X86_64_RELATIVE,
  irelative: R_X86_64.R_X86_64_IRELATIVE,
  copy: R_X86_64.R_X86_64_COPY,
  globDat: R_X86_64.R_X86_64_GLOB_DAT,
  jumpSlot: R_X86_64.R_X86_64_JUMP_SLOT,
  tlsModule: R_X86_64.R_X86_64_DTPMOD64,
  tlsOffset: R_X86_64.R_X86_64_DTPOFF64,
  tlsThreadOffset: R_X86_64.R_X86_64_TPOFF64,
  tlsDescriptor: R_X86_64.R_X86_64_TLSDESC,
  sizes: new Map<number, number>([
    [R_X86_64.R_X86_64_NONE, 0],
    [R_X86_64.R_X86_64_64, 8],
    [R_X86_64.R_X86_64_PC32, 4],
    [R_X86_64.R_X86_64_COPY, 0],
    [R_X86_64.R_X86_64_GLOB_DAT, 8],
    [R_X86_64.R_X86_64_JUMP_SLOT, 8],
    [R_X86_64.R_X86_64_RELATIVE, 8],
    [R_X86_64.R_X86_64_32, 4],
    [R_X86_64.R_X86_64_DTPMOD64, 8],
    [R_X86_64.R_X86_64_DTPOFF64, 8],
    [R_X86_64.R_X86_64_TPOFF64, 8],
    [R_X86_64.R_X86_64_SIZE32, 4],
    [R_X86_64.R_X86_64_SIZE64, 8],
    [R_X86_64.R_X86_64_TLSDESC, 16],
    [R_X86_64.R_X86_64_IRELATIVE, 8],
  ]),
};

const AARCH64: DynamicTypes = {
  absolute: R_AARCH64.R_AARCH64_ABS64,
  relative: R_AARCH64.R_AARCH64_RELATIVE,
  irelative: R_AARCH64.R_AARCH64_IRELATIVE,
  copy: R_AARCH64.R_AARCH64_COPY,
  globDat: R_AARCH64.R_AARCH64_GLOB_DAT,
  jumpSlot: R_AARCH64.R_AARCH64_JUMP_SLOT,
  tlsModule: R_AARCH64.R_AARCH64_TLS_DTPMOD,
  tlsOffset: R_AARCH64.R_AARCH64_TLS_DTPREL,
  tlsThreadOffset: R_AARCH64.R_AARCH64_TLS_TPREL,
  tlsDescriptor: R_AARCH64.R_AARCH64_TLSDESC,
  sizes: new Map<number, number>([
    [R_AARCH64.R_AARCH64_NONE, 0],
    [R_AARCH64.R_AARCH64_ABS64, 8],
    [R_AARCH64.R_AARCH64_COPY, 0],
    [R_AARCH64.R_AARCH64_GLOB_DAT, 8],
    [R_AARCH64.R_AARCH64_JUMP_SLOT, 8],
    [R_AARCH64.R_AARCH64_RELATIVE, 8],
    [R_AARCH64.R_AARCH64_TLS_DTPMOD, 8],
    [R_AARCH64.R_AARCH64_TLS_DTPREL, 8],
    [R_AARCH64.R_AARCH64_TLS_TPREL, 8],
    [R_AARCH64.R_AARCH64_TLSDESC, 16],
    [R_AARCH64.R_AARCH64_IRELATIVE, 8],
  ]),
};

const DYNAMIC_TYPES: ReadonlyMap<number, DynamicTypes> = new Map([
  [EM.EM_X86_64, X86_64],
  [EM.EM_AARCH64, AARCH64],
]);
