/**
 * What kind of file an ELF file is, in words.
 *
 * @module
 */
import { nameOf } from '../names.ts';
import { ET } from './constants.ts';
import type { ElfFile } from './model.ts';
import { isDebugFile, isProgram } from './verify/index.ts';

/** `executable`, `position-independent executable`, `shared library`, `relocatable`, `core`, `debug file`. */
export function kindOfElf(file: ElfFile): string {
  const { type } = file.header;
  if (isDebugFile(file)) return 'debug file';
  switch (type) {
    case ET.ET_EXEC:
      return 'executable';
    case ET.ET_DYN:
      return isProgram(file) ? 'position-independent executable' : 'shared library';
    case ET.ET_REL:
      return 'relocatable';
    case ET.ET_CORE:
      return 'core';
    default:
      return `file of type ${nameOf(ET, type)}`;
  }
}
