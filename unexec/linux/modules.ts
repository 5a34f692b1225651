/**
 * The ELF files that a process has mapped, found through their first page in memory: load bias, extent
 * (with bss, which is anonymous memory) and build-id. Facts: System V gABI chapter 5 (program loading).
 *
 * @module
 */

import { PT } from '../../formats/elf/constants.ts';
import { readNotes } from '../../formats/elf/notes.ts';
import { Elf64_Ehdr, Elf64_Phdr } from '../../formats/elf/structs.ts';
import { viewOf } from '../../formats/struct.ts';
import { type Module, PAGE_BIG } from '../image.ts';
import type { ProcessMemory } from './memory.ts';
import type { Mapping } from './proc.ts';

const ELF_MAGIC = 0x464c457f;
const NT_GNU_BUILD_ID = 3;
const LARGEST_MODULE = 2n ** 47n;

/** Modules in the order of their addresses, the one at `entry` (the program itself) first. */
export function findModules(mappings: readonly Mapping[], memory: ProcessMemory, entry: bigint): Module[] {
  const modules = mappings
    .filter(mapping => mapping.inode !== 0 && mapping.offset === 0 && mapping.permissions.startsWith('r'))
    .flatMap(mapping => moduleAt(mapping, memory) ?? []);
  const isProgram = (module: Module): boolean => module.start <= entry && entry < module.end;
  return [...modules.filter(isProgram), ...modules.filter(module => !isProgram(module))];
}

/** The module whose first mapping this is; undefined where it does not begin as one. */
export function moduleAt(
  mapping: Pick<Mapping, 'start' | 'name'>,
  memory: Pick<ProcessMemory, 'bytes'>,
): Module | undefined {
  const page = memory.bytes(mapping.start, 4096);
  const view = viewOf(page);
  if (view.getUint32(0, true) !== ELF_MAGIC) return undefined;
  const header = Elf64_Ehdr.read(view, 0, true);
  if (header.e_phentsize !== Elf64_Phdr.size || header.e_phoff > LARGEST_MODULE) return undefined;
  // Headers that have been moved (`prepare`) are as far behind the first byte in memory as in the file.
  const table = viewOf(memory.bytes(mapping.start + header.e_phoff, header.e_phnum * Elf64_Phdr.size));
  const segments = Array.from({ length: header.e_phnum }, (_, i) =>
    Elf64_Phdr.read(table, i * Elf64_Phdr.size, true),
  );
  const loads = segments.filter(segment => segment.p_type === PT.PT_LOAD);
  const first = loads[0];
  const last = loads.at(-1);
  // A module that is only read as data (ld.so --list, a JIT's symbol reader) has no text mapped.
  if (first === undefined || last === undefined) return undefined;
  const bias = mapping.start - (first.p_vaddr - (first.p_vaddr % PAGE_BIG));
  return {
    path: mapping.name,
    bias,
    start: mapping.start,
    end: roundUp(bias + last.p_vaddr + last.p_memsz),
    buildId: buildId(
      segments.filter(segment => segment.p_type === PT.PT_NOTE),
      bias,
      memory,
    ),
  };
}

function buildId(
  notes: readonly { p_vaddr: bigint; p_memsz: bigint; p_align: bigint }[],
  bias: bigint,
  memory: Pick<ProcessMemory, 'bytes'>,
): string {
  for (const segment of notes) {
    if (segment.p_memsz > 65536n) continue;
    const bytes = memory.bytes(bias + segment.p_vaddr, Number(segment.p_memsz));
    try {
      const id = readNotes(bytes, segment.p_align === 8n ? 8 : 4).find(
        note => note.owner === 'GNU' && note.type === NT_GNU_BUILD_ID,
      );
      if (id !== undefined) return Buffer.from(id.desc).toString('hex');
    } catch {
      // Notes that the program has overwritten say nothing about the file.
    }
  }
  return '';
}

const roundUp = (address: bigint): bigint => (address + PAGE_BIG - 1n) & ~(PAGE_BIG - 1n);
