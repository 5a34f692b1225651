/**
 * The C structs of 64-bit Mach-O, declared once. From `mach-o/loader.h`, `mach-o/nlist.h` and
 * `mach-o/fat.h` of cctools-1035, `mach-o/fixup-chains.h` of dyld-1378, `kern/cs_blobs.h` of xnu-11417.
 * Reading and writing pass `LE`, but for fat headers and code signatures, which are big-endian everywhere.
 * Signed fields that hold bits or numbers without a sign (cputype, protections) are unsigned here.
 *
 * @module
 */
import { array, bytes, struct, u8, u16, u32, u64, type Value } from '../struct.ts';

/** The byte order of the files that we read and write, as the `le` argument of a struct. */
export const LE = true;
/** The byte order of fat headers and code signatures. */
export const BE = false;

export const mach_header_64 = struct({
  magic: u32,
  cputype: u32,
  cpusubtype: u32,
  filetype: u32,
  ncmds: u32,
  sizeofcmds: u32,
  flags: u32,
  reserved: u32,
});
export type mach_header_64 = Value<typeof mach_header_64>;

export const fat_header = struct({ magic: u32, nfat_arch: u32 });
export type fat_header = Value<typeof fat_header>;

/** `align` is a power of two. */
export const fat_arch = struct({ cputype: u32, cpusubtype: u32, offset: u32, size: u32, align: u32 });
export type fat_arch = Value<typeof fat_arch>;

export const fat_arch_64 = struct({
  cputype: u32,
  cpusubtype: u32,
  offset: u64,
  size: u64,
  align: u32,
  reserved: u32,
});
export type fat_arch_64 = Value<typeof fat_arch_64>;

/** How every load command begins; `cmdsize` counts these fields too. */
export const load_command = struct({ cmd: u32, cmdsize: u32 });
export type load_command = Value<typeof load_command>;

export const segment_command_64 = struct({
  cmd: u32,
  cmdsize: u32,
  segname: bytes(16),
  vmaddr: u64,
  vmsize: u64,
  fileoff: u64,
  filesize: u64,
  maxprot: u32,
  initprot: u32,
  nsects: u32,
  flags: u32,
});
export type segment_command_64 = Value<typeof segment_command_64>;

/** `align` is a power of two. */
export const section_64 = struct({
  sectname: bytes(16),
  segname: bytes(16),
  addr: u64,
  size: u64,
  offset: u32,
  align: u32,
  reloff: u32,
  nreloc: u32,
  flags: u32,
  reserved1: u32,
  reserved2: u32,
  reserved3: u32,
});
export type section_64 = Value<typeof section_64>;

export const symtab_command = struct({
  cmd: u32,
  cmdsize: u32,
  symoff: u32,
  nsyms: u32,
  stroff: u32,
  strsize: u32,
});
export type symtab_command = Value<typeof symtab_command>;

export const dysymtab_command = struct({
  cmd: u32,
  cmdsize: u32,
  ilocalsym: u32,
  nlocalsym: u32,
  iextdefsym: u32,
  nextdefsym: u32,
  iundefsym: u32,
  nundefsym: u32,
  tocoff: u32,
  ntoc: u32,
  modtaboff: u32,
  nmodtab: u32,
  extrefsymoff: u32,
  nextrefsyms: u32,
  indirectsymoff: u32,
  nindirectsyms: u32,
  extreloff: u32,
  nextrel: u32,
  locreloff: u32,
  nlocrel: u32,
});
export type dysymtab_command = Value<typeof dysymtab_command>;

export const twolevel_hints_command = struct({ cmd: u32, cmdsize: u32, offset: u32, nhints: u32 });
export type twolevel_hints_command = Value<typeof twolevel_hints_command>;

export const dyld_info_command = struct({
  cmd: u32,
  cmdsize: u32,
  rebase_off: u32,
  rebase_size: u32,
  bind_off: u32,
  bind_size: u32,
  weak_bind_off: u32,
  weak_bind_size: u32,
  lazy_bind_off: u32,
  lazy_bind_size: u32,
  export_off: u32,
  export_size: u32,
});
export type dyld_info_command = Value<typeof dyld_info_command>;

/** LC_CODE_SIGNATURE, LC_FUNCTION_STARTS, LC_DYLD_CHAINED_FIXUPS and others: a blob of __LINKEDIT. */
export const linkedit_data_command = struct({ cmd: u32, cmdsize: u32, dataoff: u32, datasize: u32 });
export type linkedit_data_command = Value<typeof linkedit_data_command>;

/** LC_LOAD_DYLIB, LC_ID_DYLIB and the like; `name` is the offset of the path within the command. */
export const dylib_command = struct({
  cmd: u32,
  cmdsize: u32,
  name: u32,
  timestamp: u32,
  current_version: u32,
  compatibility_version: u32,
});
export type dylib_command = Value<typeof dylib_command>;

/** The other form of LC_LOAD_DYLIB: `marker` is DYLIB_USE_MARKER (macOS 15). */
export const dylib_use_command = struct({
  cmd: u32,
  cmdsize: u32,
  nameoff: u32,
  marker: u32,
  current_version: u32,
  compat_version: u32,
  flags: u32,
});
export type dylib_use_command = Value<typeof dylib_use_command>;

/** LC_LOAD_DYLINKER, LC_ID_DYLINKER, LC_DYLD_ENVIRONMENT; `name` is an offset within the command. */
export const dylinker_command = struct({ cmd: u32, cmdsize: u32, name: u32 });
export type dylinker_command = Value<typeof dylinker_command>;

/** `path` is an offset within the command. */
export const rpath_command = struct({ cmd: u32, cmdsize: u32, path: u32 });
export type rpath_command = Value<typeof rpath_command>;

export const uuid_command = struct({ cmd: u32, cmdsize: u32, uuid: bytes(16) });
export type uuid_command = Value<typeof uuid_command>;

/** Followed by `ntools` build_tool_version. Versions are X.Y.Z as xxxx.yy.zz, 16, 8 and 8 bits. */
export const build_version_command = struct({
  cmd: u32,
  cmdsize: u32,
  platform: u32,
  minos: u32,
  sdk: u32,
  ntools: u32,
});
export type build_version_command = Value<typeof build_version_command>;

export const build_tool_version = struct({ tool: u32, version: u32 });
export type build_tool_version = Value<typeof build_tool_version>;

/** LC_VERSION_MIN_MACOSX and the like. */
export const version_min_command = struct({ cmd: u32, cmdsize: u32, version: u32, sdk: u32 });
export type version_min_command = Value<typeof version_min_command>;

/** LC_MAIN; `entryoff` counts from the header of the image. */
export const entry_point_command = struct({ cmd: u32, cmdsize: u32, entryoff: u64, stacksize: u64 });
export type entry_point_command = Value<typeof entry_point_command>;

export const source_version_command = struct({ cmd: u32, cmdsize: u32, version: u64 });
export type source_version_command = Value<typeof source_version_command>;

export const encryption_info_command_64 = struct({
  cmd: u32,
  cmdsize: u32,
  cryptoff: u32,
  cryptsize: u32,
  cryptid: u32,
  pad: u32,
});
export type encryption_info_command_64 = Value<typeof encryption_info_command_64>;

/** LC_NOTE; `data_owner` need not end with a NUL. */
export const note_command = struct({ cmd: u32, cmdsize: u32, data_owner: bytes(16), offset: u64, size: u64 });
export type note_command = Value<typeof note_command>;

/** What follows `cmd` and `cmdsize` of LC_THREAD and LC_UNIXTHREAD, once or more: `count` u32s of state. */
export const thread_flavor = struct({ flavor: u32, count: u32 });
export type thread_flavor = Value<typeof thread_flavor>;

/** Tables of these are read and written by symbols.ts, which has a loop of its own. */
export const nlist_64 = struct({ n_strx: u32, n_type: u8, n_sect: u8, n_desc: u16, n_value: u64 });
export type nlist_64 = Value<typeof nlist_64>;

/** `offset` counts from the header of the image. */
export const data_in_code_entry = struct({ offset: u32, length: u16, kind: u16 });
export type data_in_code_entry = Value<typeof data_in_code_entry>;

export const dyld_chained_fixups_header = struct({
  fixups_version: u32,
  starts_offset: u32,
  imports_offset: u32,
  symbols_offset: u32,
  imports_count: u32,
  imports_format: u32,
  symbols_format: u32,
});
export type dyld_chained_fixups_header = Value<typeof dyld_chained_fixups_header>;

/** Followed by `page_count` u16 page_start; C pads the struct to 24 bytes, the file does not. */
export const dyld_chained_starts_in_segment = struct({
  size: u32,
  page_size: u16,
  pointer_format: u16,
  segment_offset: u64,
  max_valid_pointer: u32,
  page_count: u16,
});
export type dyld_chained_starts_in_segment = Value<typeof dyld_chained_starts_in_segment>;

/** x86_THREAD_STATE64, 42 u32s. */
export const x86_thread_state64 = struct({
  rax: u64,
  rbx: u64,
  rcx: u64,
  rdx: u64,
  rdi: u64,
  rsi: u64,
  rbp: u64,
  rsp: u64,
  r8: u64,
  r9: u64,
  r10: u64,
  r11: u64,
  r12: u64,
  r13: u64,
  r14: u64,
  r15: u64,
  rip: u64,
  rflags: u64,
  cs: u64,
  fs: u64,
  gs: u64,
});
export type x86_thread_state64 = Value<typeof x86_thread_state64>;

/** x86_EXCEPTION_STATE64, 4 u32s. */
export const x86_exception_state64 = struct({ trapno: u16, cpu: u16, err: u32, faultvaddr: u64 });
export type x86_exception_state64 = Value<typeof x86_exception_state64>;

/** ARM_THREAD_STATE64, 68 u32s. */
export const arm_thread_state64 = struct({
  x: array(u64, 29),
  fp: u64,
  lr: u64,
  sp: u64,
  pc: u64,
  cpsr: u32,
  pad: u32,
});
export type arm_thread_state64 = Value<typeof arm_thread_state64>;

/** ARM_EXCEPTION_STATE64, 4 u32s. */
export const arm_exception_state64 = struct({ far: u64, esr: u32, exception: u32 });
export type arm_exception_state64 = Value<typeof arm_exception_state64>;

/** How every blob of a code signature begins. Big-endian, as the three that follow. */
export const CS_GenericBlob = struct({ magic: u32, length: u32 });
export type CS_GenericBlob = Value<typeof CS_GenericBlob>;

/** Followed by `count` CS_BlobIndex. */
export const CS_SuperBlob = struct({ magic: u32, length: u32, count: u32 });
export type CS_SuperBlob = Value<typeof CS_SuperBlob>;

/** `offset` counts from the super blob. */
export const CS_BlobIndex = struct({ type: u32, offset: u32 });
export type CS_BlobIndex = Value<typeof CS_BlobIndex>;

/** The fields up to version CS_SUPPORTSEXECSEG; older versions end before, newer ones go on. */
export const CS_CodeDirectory = struct({
  magic: u32,
  length: u32,
  version: u32,
  flags: u32,
  hashOffset: u32,
  identOffset: u32,
  nSpecialSlots: u32,
  nCodeSlots: u32,
  codeLimit: u32,
  hashSize: u8,
  hashType: u8,
  platform: u8,
  /** A power of two; 0: no pages, one hash of everything. */
  pageSize: u8,
  spare2: u32,
  /** CS_SUPPORTSSCATTER. */
  scatterOffset: u32,
  /** CS_SUPPORTSTEAMID. */
  teamOffset: u32,
  /** CS_SUPPORTSCODELIMIT64. */
  spare3: u32,
  codeLimit64: u64,
  /** CS_SUPPORTSEXECSEG. */
  execSegBase: u64,
  execSegLimit: u64,
  execSegFlags: u64,
});
export type CS_CodeDirectory = Value<typeof CS_CodeDirectory>;
