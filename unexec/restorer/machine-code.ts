/**
 * The restorer of each architecture, and how it wants to be loaded.
 *
 * @module
 */
import type { Arch } from '../machine-state.ts';
import { RESTORER_AARCH64 } from './aarch64.ts';
import { RESTORER_X86_64 } from './x86_64.ts';

export interface Restorer {
  readonly code: Uint8Array;
  /** Where its data must be, from the start of the file in memory. */
  readonly dataDistance: number;
  /**
   * Of its parts, in memory and in the file: the largest pages that a kernel of the architecture may have.
   * Images have pages of 4 KiB all the same, but the restorer must be loaded to say so.
   */
  readonly alignment: number;
}

/** Offset of the code, after the ELF header and program headers. */
export const CODE_OFFSET = 0x400;

/** Offset of a handler of signals in the code for aarch64, which stores where it returns to in SLOT.TRAMPOLINE. */
export const HANDLER_OFFSET = CODE_OFFSET + 4;

export const RESTORERS: Readonly<Record<Arch, Restorer>> = {
  x86_64: { code: RESTORER_X86_64, dataDistance: 0x1000, alignment: 0x1000 },
  aarch64: { code: RESTORER_AARCH64, dataDistance: 0x1_0000, alignment: 0x1_0000 },
};
