/** The structs have the sizes that loader.h, nlist.h, fixup-chains.h and cs_blobs.h give them. */
import test from 'ava';
import * as constants from '../../../formats/macho/constants.ts';
import * as structs from '../../../formats/macho/structs.ts';

/** sizeof in C; what ends in an array of one element or has padding at its end is without it. */
const SIZES: Record<string, number> = {
  mach_header_64: 32,
  fat_header: 8,
  fat_arch: 20,
  fat_arch_64: 32,
  load_command: 8,
  segment_command_64: 72,
  section_64: 80,
  symtab_command: 24,
  dysymtab_command: 80,
  twolevel_hints_command: 16,
  dyld_info_command: 48,
  linkedit_data_command: 16,
  dylib_command: 24,
  dylib_use_command: 28,
  dylinker_command: 12,
  rpath_command: 12,
  uuid_command: 24,
  build_version_command: 24,
  build_tool_version: 8,
  version_min_command: 16,
  entry_point_command: 24,
  source_version_command: 16,
  encryption_info_command_64: 24,
  note_command: 40,
  thread_flavor: 8,
  nlist_64: 16,
  data_in_code_entry: 8,
  dyld_chained_fixups_header: 28,
  dyld_chained_starts_in_segment: 22,
  x86_thread_state64: 168,
  x86_exception_state64: 16,
  arm_thread_state64: 272,
  arm_exception_state64: 16,
  CS_GenericBlob: 8,
  CS_SuperBlob: 12,
  CS_BlobIndex: 8,
  CS_CodeDirectory: 88,
};

test('structs have their sizes', t => {
  const sizes = Object.entries(structs).flatMap(([name, value]) =>
    typeof value === 'object' ? [[name, value.size]] : [],
  );
  t.deepEqual(Object.fromEntries(sizes), SIZES);
});

test('constants of a family have values of their own, and one bit each where they are flags', t => {
  const FLAGS = new Set(
    ['MH_FLAGS', 'VM_PROT', 'SG', 'S_ATTR', 'N_DESC', 'INDIRECT_SYMBOL', 'DYLIB_USE'].concat([
      'BIND_SYMBOL_FLAGS',
      'EXPORT_SYMBOL_FLAGS',
      'CS',
      'CS_EXECSEG',
    ]),
  );
  for (const [family, table] of Object.entries(constants)) {
    if (typeof table !== 'object') continue;
    const values = Object.values(table);
    t.is(new Set(values).size, values.length, family);
    if (!FLAGS.has(family)) continue;
    for (const value of values) t.is(BigInt(value) & (BigInt(value) - 1n), 0n, `${family} ${value}`);
  }
});
