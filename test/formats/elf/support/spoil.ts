/**
 * Sets single fields of an ELF file in memory, right or wrong.
 *
 * @module
 */
import { Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr } from '../../../../formats/elf/structs.ts';
import { viewOf } from '../../../../formats/struct.ts';

/** Changes bytes in place, or gives others instead. */
export type Spoil = (bytes: Uint8Array) => Uint8Array | undefined;

/** A spoiled copy. */
export function spoiled(bytes: Uint8Array, ...spoils: readonly Spoil[]): Uint8Array {
  return spoils.reduce<Uint8Array>((copy, spoil) => spoil(copy) ?? copy, bytes.slice());
}

/** Only the first `size` bytes; from the end where negative. */
export const cut =
  (size: number): Spoil =>
  bytes =>
    bytes.slice(0, size);

export const setByte =
  (at: number, value: number): Spoil =>
  bytes => {
    bytes[at] = value;
    return undefined;
  };

export const setHeader =
  (fields: Partial<Elf64_Ehdr>): Spoil =>
  bytes => {
    Elf64_Ehdr.write(viewOf(bytes), 0, { ...headerOf(bytes), ...fields }, true);
    return undefined;
  };

/** Fields of the header of section `index`. */
export const setSection =
  (index: number, fields: Partial<Elf64_Shdr>): Spoil =>
  bytes => {
    const at = Number(headerOf(bytes).e_shoff) + index * Elf64_Shdr.size;
    Elf64_Shdr.write(viewOf(bytes), at, { ...Elf64_Shdr.read(viewOf(bytes), at, true), ...fields }, true);
    return undefined;
  };

/** Fields of program header `index`. */
export const setSegment =
  (index: number, fields: Partial<Elf64_Phdr>): Spoil =>
  bytes => {
    const at = Number(headerOf(bytes).e_phoff) + index * Elf64_Phdr.size;
    Elf64_Phdr.write(viewOf(bytes), at, { ...Elf64_Phdr.read(viewOf(bytes), at, true), ...fields }, true);
    return undefined;
  };

export const headerOf = (bytes: Uint8Array): Elf64_Ehdr => Elf64_Ehdr.read(viewOf(bytes), 0, true);
