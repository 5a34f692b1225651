/**
 * The constants of 64-bit Mach-O, one table a family, under their C names. From `mach-o/loader.h`,
 * `mach-o/nlist.h`, `mach-o/stab.h` and `mach-o/fat.h` of cctools-1035, `mach/machine.h`,
 * `mach/vm_prot.h`, `mach/i386/thread_status.h`, `mach/arm/thread_status.h` and `kern/cs_blobs.h` of
 * xnu-11417, `mach-o/fixup-chains.h` of dyld-1378. Left out: what only 32-bit files have, and second
 * names of the same value. `nameOf` and `flagNames` (formats/names.ts) turn values back into names.
 *
 * @module
 */

/** mach_header.magic, as a little-endian number; CIGAM is the other byte order. */
export const MH_MAGICS = {
  MH_MAGIC: 0xfeedface,
  MH_CIGAM: 0xcefaedfe,
  MH_MAGIC_64: 0xfeedfacf,
  MH_CIGAM_64: 0xcffaedfe,
} as const;

/** fat_header.magic. Fat headers are big-endian on every machine. */
export const FAT = {
  FAT_MAGIC: 0xcafebabe,
  FAT_MAGIC_64: 0xcafebabf,
} as const;

/** cputype. */
export const CPU_TYPE = {
  CPU_TYPE_I386: 7,
  CPU_TYPE_ARM: 12,
  CPU_TYPE_POWERPC: 18,
  CPU_TYPE_X86_64: 0x0100_0007,
  CPU_TYPE_ARM64: 0x0100_000c,
  CPU_TYPE_POWERPC64: 0x0100_0012,
  CPU_TYPE_ARM64_32: 0x0200_000c,
} as const;

/** The bits of cpusubtype that are features (CPU_SUBTYPE_LIB64, the arm64e ABI version). */
export const CPU_SUBTYPE_MASK = 0xff00_0000;

/** cpusubtype of CPU_TYPE_X86_64, without CPU_SUBTYPE_MASK. */
export const CPU_SUBTYPE_X86_64 = {
  CPU_SUBTYPE_X86_64_ALL: 3,
  CPU_SUBTYPE_X86_64_H: 8,
} as const;

/** cpusubtype of CPU_TYPE_ARM64, without CPU_SUBTYPE_MASK. */
export const CPU_SUBTYPE_ARM64 = {
  CPU_SUBTYPE_ARM64_ALL: 0,
  CPU_SUBTYPE_ARM64_V8: 1,
  CPU_SUBTYPE_ARM64E: 2,
} as const;

/** mach_header.filetype. */
export const MH = {
  MH_OBJECT: 1,
  MH_EXECUTE: 2,
  MH_FVMLIB: 3,
  MH_CORE: 4,
  MH_PRELOAD: 5,
  MH_DYLIB: 6,
  MH_DYLINKER: 7,
  MH_BUNDLE: 8,
  MH_DYLIB_STUB: 9,
  MH_DSYM: 10,
  MH_KEXT_BUNDLE: 11,
  MH_FILESET: 12,
  MH_GPU_EXECUTE: 13,
  MH_GPU_DYLIB: 14,
} as const;

/** mach_header.flags. */
export const MH_FLAGS = {
  MH_NOUNDEFS: 0x1,
  MH_INCRLINK: 0x2,
  MH_DYLDLINK: 0x4,
  MH_BINDATLOAD: 0x8,
  MH_PREBOUND: 0x10,
  MH_SPLIT_SEGS: 0x20,
  MH_LAZY_INIT: 0x40,
  MH_TWOLEVEL: 0x80,
  MH_FORCE_FLAT: 0x100,
  MH_NOMULTIDEFS: 0x200,
  MH_NOFIXPREBINDING: 0x400,
  MH_PREBINDABLE: 0x800,
  MH_ALLMODSBOUND: 0x1000,
  MH_SUBSECTIONS_VIA_SYMBOLS: 0x2000,
  MH_CANONICAL: 0x4000,
  MH_WEAK_DEFINES: 0x8000,
  MH_BINDS_TO_WEAK: 0x1_0000,
  MH_ALLOW_STACK_EXECUTION: 0x2_0000,
  MH_ROOT_SAFE: 0x4_0000,
  MH_SETUID_SAFE: 0x8_0000,
  MH_NO_REEXPORTED_DYLIBS: 0x10_0000,
  MH_PIE: 0x20_0000,
  MH_DEAD_STRIPPABLE_DYLIB: 0x40_0000,
  MH_HAS_TLV_DESCRIPTORS: 0x80_0000,
  MH_NO_HEAP_EXECUTION: 0x100_0000,
  MH_APP_EXTENSION_SAFE: 0x200_0000,
  MH_NLIST_OUTOFSYNC_WITH_DYLDINFO: 0x400_0000,
  MH_SIM_SUPPORT: 0x800_0000,
  MH_IMPLICIT_PAGEZERO: 0x1000_0000,
  MH_DYLIB_IN_CACHE: 0x8000_0000,
} as const;

/** Bit of `cmd`: the dynamic linker refuses a file with such a command that it does not know. */
export const LC_REQ_DYLD = 0x8000_0000;

/** load_command.cmd. */
export const LC = {
  LC_SEGMENT: 0x1,
  LC_SYMTAB: 0x2,
  LC_SYMSEG: 0x3,
  LC_THREAD: 0x4,
  LC_UNIXTHREAD: 0x5,
  LC_LOADFVMLIB: 0x6,
  LC_IDFVMLIB: 0x7,
  LC_IDENT: 0x8,
  LC_FVMFILE: 0x9,
  LC_PREPAGE: 0xa,
  LC_DYSYMTAB: 0xb,
  LC_LOAD_DYLIB: 0xc,
  LC_ID_DYLIB: 0xd,
  LC_LOAD_DYLINKER: 0xe,
  LC_ID_DYLINKER: 0xf,
  LC_PREBOUND_DYLIB: 0x10,
  LC_ROUTINES: 0x11,
  LC_SUB_FRAMEWORK: 0x12,
  LC_SUB_UMBRELLA: 0x13,
  LC_SUB_CLIENT: 0x14,
  LC_SUB_LIBRARY: 0x15,
  LC_TWOLEVEL_HINTS: 0x16,
  LC_PREBIND_CKSUM: 0x17,
  LC_LOAD_WEAK_DYLIB: 0x8000_0018,
  LC_SEGMENT_64: 0x19,
  LC_ROUTINES_64: 0x1a,
  LC_UUID: 0x1b,
  LC_RPATH: 0x8000_001c,
  LC_CODE_SIGNATURE: 0x1d,
  LC_SEGMENT_SPLIT_INFO: 0x1e,
  LC_REEXPORT_DYLIB: 0x8000_001f,
  LC_LAZY_LOAD_DYLIB: 0x20,
  LC_ENCRYPTION_INFO: 0x21,
  LC_DYLD_INFO: 0x22,
  LC_DYLD_INFO_ONLY: 0x8000_0022,
  LC_LOAD_UPWARD_DYLIB: 0x8000_0023,
  LC_VERSION_MIN_MACOSX: 0x24,
  LC_VERSION_MIN_IPHONEOS: 0x25,
  LC_FUNCTION_STARTS: 0x26,
  LC_DYLD_ENVIRONMENT: 0x27,
  LC_MAIN: 0x8000_0028,
  LC_DATA_IN_CODE: 0x29,
  LC_SOURCE_VERSION: 0x2a,
  LC_DYLIB_CODE_SIGN_DRS: 0x2b,
  LC_ENCRYPTION_INFO_64: 0x2c,
  LC_LINKER_OPTION: 0x2d,
  LC_LINKER_OPTIMIZATION_HINT: 0x2e,
  LC_VERSION_MIN_TVOS: 0x2f,
  LC_VERSION_MIN_WATCHOS: 0x30,
  LC_NOTE: 0x31,
  LC_BUILD_VERSION: 0x32,
  LC_DYLD_EXPORTS_TRIE: 0x8000_0033,
  LC_DYLD_CHAINED_FIXUPS: 0x8000_0034,
  LC_FILESET_ENTRY: 0x8000_0035,
  LC_ATOM_INFO: 0x36,
  LC_FUNCTION_VARIANTS: 0x37,
  LC_FUNCTION_VARIANT_FIXUPS: 0x38,
  LC_TARGET_TRIPLE: 0x39,
} as const;

/** segment_command_64.maxprot and initprot. */
export const VM_PROT = {
  VM_PROT_READ: 1,
  VM_PROT_WRITE: 2,
  VM_PROT_EXECUTE: 4,
} as const;

/** segment_command_64.flags. */
export const SG = {
  SG_HIGHVM: 0x1,
  SG_FVMLIB: 0x2,
  SG_NORELOC: 0x4,
  SG_PROTECTED_VERSION_1: 0x8,
  SG_READ_ONLY: 0x10,
} as const;

/** The bits of section_64.flags that are the type. */
export const SECTION_TYPE = 0xff;

/** section_64.flags & SECTION_TYPE. */
export const S = {
  S_REGULAR: 0x0,
  S_ZEROFILL: 0x1,
  S_CSTRING_LITERALS: 0x2,
  S_4BYTE_LITERALS: 0x3,
  S_8BYTE_LITERALS: 0x4,
  S_LITERAL_POINTERS: 0x5,
  S_NON_LAZY_SYMBOL_POINTERS: 0x6,
  S_LAZY_SYMBOL_POINTERS: 0x7,
  S_SYMBOL_STUBS: 0x8,
  S_MOD_INIT_FUNC_POINTERS: 0x9,
  S_MOD_TERM_FUNC_POINTERS: 0xa,
  S_COALESCED: 0xb,
  S_GB_ZEROFILL: 0xc,
  S_INTERPOSING: 0xd,
  S_16BYTE_LITERALS: 0xe,
  S_DTRACE_DOF: 0xf,
  S_LAZY_DYLIB_SYMBOL_POINTERS: 0x10,
  S_THREAD_LOCAL_REGULAR: 0x11,
  S_THREAD_LOCAL_ZEROFILL: 0x12,
  S_THREAD_LOCAL_VARIABLES: 0x13,
  S_THREAD_LOCAL_VARIABLE_POINTERS: 0x14,
  S_THREAD_LOCAL_INIT_FUNCTION_POINTERS: 0x15,
  S_INIT_FUNC_OFFSETS: 0x16,
} as const;

/** The other bits of section_64.flags. */
export const S_ATTR = {
  S_ATTR_LOC_RELOC: 0x100,
  S_ATTR_EXT_RELOC: 0x200,
  S_ATTR_SOME_INSTRUCTIONS: 0x400,
  S_ATTR_DEBUG: 0x200_0000,
  S_ATTR_SELF_MODIFYING_CODE: 0x400_0000,
  S_ATTR_LIVE_SUPPORT: 0x800_0000,
  S_ATTR_NO_DEAD_STRIP: 0x1000_0000,
  S_ATTR_STRIP_STATIC_SYMS: 0x2000_0000,
  S_ATTR_NO_TOC: 0x4000_0000,
  S_ATTR_PURE_INSTRUCTIONS: 0x8000_0000,
} as const;

/** nlist_64.n_type: its masks. With any bit of N_STAB the whole field is one value of STAB. */
export const N_MASK = {
  N_EXT: 0x01,
  N_TYPE: 0x0e,
  N_PEXT: 0x10,
  N_STAB: 0xe0,
} as const;

/** nlist_64.n_type & N_TYPE. */
export const N = {
  N_UNDF: 0x0,
  N_ABS: 0x2,
  N_INDR: 0xa,
  N_PBUD: 0xc,
  N_SECT: 0xe,
} as const;

/** nlist_64.n_type of symbols for debuggers. */
export const STAB = {
  N_GSYM: 0x20,
  N_FNAME: 0x22,
  N_FUN: 0x24,
  N_STSYM: 0x26,
  N_LCSYM: 0x28,
  N_BNSYM: 0x2e,
  N_PC: 0x30,
  N_AST: 0x32,
  N_OPT: 0x3c,
  N_RSYM: 0x40,
  N_SLINE: 0x44,
  N_ENSYM: 0x4e,
  N_SSYM: 0x60,
  N_SO: 0x64,
  N_OSO: 0x66,
  N_LIB: 0x68,
  N_LSYM: 0x80,
  N_BINCL: 0x82,
  N_SOL: 0x84,
  N_PARAMS: 0x86,
  N_VERSION: 0x88,
  N_OLEVEL: 0x8a,
  N_PSYM: 0xa0,
  N_EINCL: 0xa2,
  N_ENTRY: 0xa4,
  N_LBRAC: 0xc0,
  N_EXCL: 0xc2,
  N_RBRAC: 0xe0,
  N_BCOMM: 0xe2,
  N_ECOMM: 0xe4,
  N_ECOML: 0xe8,
  N_LENG: 0xfe,
} as const;

/** nlist_64.n_desc, the bits of a symbol that is defined. */
export const N_DESC = {
  N_ARM_THUMB_DEF: 0x8,
  REFERENCED_DYNAMICALLY: 0x10,
  N_NO_DEAD_STRIP: 0x20,
  N_WEAK_REF: 0x40,
  N_WEAK_DEF: 0x80,
  N_SYMBOL_RESOLVER: 0x100,
  N_ALT_ENTRY: 0x200,
  N_COLD_FUNC: 0x400,
} as const;

/** The library of an undefined symbol, n_desc >> 8, where it is no index of a dylib. */
export const LIBRARY_ORDINAL = {
  SELF_LIBRARY_ORDINAL: 0x0,
  DYNAMIC_LOOKUP_ORDINAL: 0xfe,
  EXECUTABLE_ORDINAL: 0xff,
} as const;

/** nlist_64.n_sect of a symbol in no section; sections are counted from 1 across all segments. */
export const NO_SECT = 0;

/** Entries of the indirect symbol table that are no index of a symbol. */
export const INDIRECT_SYMBOL = {
  INDIRECT_SYMBOL_ABS: 0x4000_0000,
  INDIRECT_SYMBOL_LOCAL: 0x8000_0000,
} as const;

/** build_version_command.platform. */
export const PLATFORM = {
  PLATFORM_UNKNOWN: 0,
  PLATFORM_MACOS: 1,
  PLATFORM_IOS: 2,
  PLATFORM_TVOS: 3,
  PLATFORM_WATCHOS: 4,
  PLATFORM_BRIDGEOS: 5,
  PLATFORM_MACCATALYST: 6,
  PLATFORM_IOSSIMULATOR: 7,
  PLATFORM_TVOSSIMULATOR: 8,
  PLATFORM_WATCHOSSIMULATOR: 9,
  PLATFORM_DRIVERKIT: 10,
  PLATFORM_VISIONOS: 11,
  PLATFORM_VISIONOSSIMULATOR: 12,
  PLATFORM_FIRMWARE: 13,
  PLATFORM_SEPOS: 14,
} as const;

/** build_tool_version.tool. */
export const TOOL = {
  TOOL_CLANG: 1,
  TOOL_SWIFT: 2,
  TOOL_LD: 3,
  TOOL_LLD: 4,
} as const;

/** dylib_use_command.marker, in the place of a dylib's timestamp. */
export const DYLIB_USE_MARKER = 0x1a74_1800;

/** dylib_use_command.flags. */
export const DYLIB_USE = {
  DYLIB_USE_WEAK_LINK: 0x1,
  DYLIB_USE_REEXPORT: 0x2,
  DYLIB_USE_UPWARD: 0x4,
  DYLIB_USE_DELAYED_INIT: 0x8,
} as const;

/** Types of rebases. */
export const REBASE_TYPE = {
  REBASE_TYPE_POINTER: 1,
  REBASE_TYPE_TEXT_ABSOLUTE32: 2,
  REBASE_TYPE_TEXT_PCREL32: 3,
} as const;

/** The high four bits of a rebase opcode. */
export const REBASE_OPCODE = {
  REBASE_OPCODE_DONE: 0x00,
  REBASE_OPCODE_SET_TYPE_IMM: 0x10,
  REBASE_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB: 0x20,
  REBASE_OPCODE_ADD_ADDR_ULEB: 0x30,
  REBASE_OPCODE_ADD_ADDR_IMM_SCALED: 0x40,
  REBASE_OPCODE_DO_REBASE_IMM_TIMES: 0x50,
  REBASE_OPCODE_DO_REBASE_ULEB_TIMES: 0x60,
  REBASE_OPCODE_DO_REBASE_ADD_ADDR_ULEB: 0x70,
  REBASE_OPCODE_DO_REBASE_ULEB_TIMES_SKIPPING_ULEB: 0x80,
} as const;

/** Types of binds. */
export const BIND_TYPE = {
  BIND_TYPE_POINTER: 1,
  BIND_TYPE_TEXT_ABSOLUTE32: 2,
  BIND_TYPE_TEXT_PCREL32: 3,
} as const;

/** Library ordinals of binds that are no index of a dylib. */
export const BIND_SPECIAL_DYLIB = {
  BIND_SPECIAL_DYLIB_SELF: 0,
  BIND_SPECIAL_DYLIB_MAIN_EXECUTABLE: -1,
  BIND_SPECIAL_DYLIB_FLAT_LOOKUP: -2,
  BIND_SPECIAL_DYLIB_WEAK_LOOKUP: -3,
} as const;

/** Flags of the symbol of a bind. */
export const BIND_SYMBOL_FLAGS = {
  BIND_SYMBOL_FLAGS_WEAK_IMPORT: 0x1,
  BIND_SYMBOL_FLAGS_NON_WEAK_DEFINITION: 0x8,
} as const;

/** The high four bits of a bind opcode. */
export const BIND_OPCODE = {
  BIND_OPCODE_DONE: 0x00,
  BIND_OPCODE_SET_DYLIB_ORDINAL_IMM: 0x10,
  BIND_OPCODE_SET_DYLIB_ORDINAL_ULEB: 0x20,
  BIND_OPCODE_SET_DYLIB_SPECIAL_IMM: 0x30,
  BIND_OPCODE_SET_SYMBOL_TRAILING_FLAGS_IMM: 0x40,
  BIND_OPCODE_SET_TYPE_IMM: 0x50,
  BIND_OPCODE_SET_ADDEND_SLEB: 0x60,
  BIND_OPCODE_SET_SEGMENT_AND_OFFSET_ULEB: 0x70,
  BIND_OPCODE_ADD_ADDR_ULEB: 0x80,
  BIND_OPCODE_DO_BIND: 0x90,
  BIND_OPCODE_DO_BIND_ADD_ADDR_ULEB: 0xa0,
  BIND_OPCODE_DO_BIND_ADD_ADDR_IMM_SCALED: 0xb0,
  BIND_OPCODE_DO_BIND_ULEB_TIMES_SKIPPING_ULEB: 0xc0,
  BIND_OPCODE_THREADED: 0xd0,
} as const;

/** The bits of an export's flags that are its kind. */
export const EXPORT_SYMBOL_FLAGS_KIND_MASK = 0x3;

/** flags & EXPORT_SYMBOL_FLAGS_KIND_MASK. */
export const EXPORT_SYMBOL_FLAGS_KIND = {
  EXPORT_SYMBOL_FLAGS_KIND_REGULAR: 0,
  EXPORT_SYMBOL_FLAGS_KIND_THREAD_LOCAL: 1,
  EXPORT_SYMBOL_FLAGS_KIND_ABSOLUTE: 2,
} as const;

/** The other bits of an export's flags. */
export const EXPORT_SYMBOL_FLAGS = {
  EXPORT_SYMBOL_FLAGS_WEAK_DEFINITION: 0x04,
  EXPORT_SYMBOL_FLAGS_REEXPORT: 0x08,
  EXPORT_SYMBOL_FLAGS_STUB_AND_RESOLVER: 0x10,
  EXPORT_SYMBOL_FLAGS_STATIC_RESOLVER: 0x20,
} as const;

/** data_in_code_entry.kind. */
export const DICE_KIND = {
  DICE_KIND_DATA: 1,
  DICE_KIND_JUMP_TABLE8: 2,
  DICE_KIND_JUMP_TABLE16: 3,
  DICE_KIND_JUMP_TABLE32: 4,
  DICE_KIND_ABS_JUMP_TABLE32: 5,
} as const;

/** dyld_chained_starts_in_segment.pointer_format. */
export const DYLD_CHAINED_PTR = {
  DYLD_CHAINED_PTR_ARM64E: 1,
  DYLD_CHAINED_PTR_64: 2,
  DYLD_CHAINED_PTR_32: 3,
  DYLD_CHAINED_PTR_32_CACHE: 4,
  DYLD_CHAINED_PTR_32_FIRMWARE: 5,
  DYLD_CHAINED_PTR_64_OFFSET: 6,
  DYLD_CHAINED_PTR_ARM64E_KERNEL: 7,
  DYLD_CHAINED_PTR_64_KERNEL_CACHE: 8,
  DYLD_CHAINED_PTR_ARM64E_USERLAND: 9,
  DYLD_CHAINED_PTR_ARM64E_FIRMWARE: 10,
  DYLD_CHAINED_PTR_X86_64_KERNEL_CACHE: 11,
  DYLD_CHAINED_PTR_ARM64E_USERLAND24: 12,
  DYLD_CHAINED_PTR_ARM64E_SHARED_CACHE: 13,
  DYLD_CHAINED_PTR_ARM64E_SEGMENTED: 14,
} as const;

/** dyld_chained_starts_in_segment.page_start[]: no fixup on this page, or several starts (32-bit only). */
export const DYLD_CHAINED_PTR_START = {
  DYLD_CHAINED_PTR_START_NONE: 0xffff,
  DYLD_CHAINED_PTR_START_MULTI: 0x8000,
} as const;

/** dyld_chained_fixups_header.imports_format. */
export const DYLD_CHAINED_IMPORT = {
  DYLD_CHAINED_IMPORT: 1,
  DYLD_CHAINED_IMPORT_ADDEND: 2,
  DYLD_CHAINED_IMPORT_ADDEND64: 3,
} as const;

/** Flavors of x86-64 thread states; 7, 8 and 9 wrap the others in a header of their own. */
export const X86_FLAVOR = {
  x86_THREAD_STATE64: 4,
  x86_FLOAT_STATE64: 5,
  x86_EXCEPTION_STATE64: 6,
  x86_THREAD_STATE: 7,
  x86_FLOAT_STATE: 8,
  x86_EXCEPTION_STATE: 9,
} as const;

/** Flavors of arm64 thread states. */
export const ARM_FLAVOR = {
  ARM_THREAD_STATE: 1,
  ARM_THREAD_STATE64: 6,
  ARM_EXCEPTION_STATE64: 7,
  ARM_NEON_STATE64: 17,
} as const;

/** The magic of each kind of blob in a code signature; big-endian. */
export const CSMAGIC = {
  CSMAGIC_REQUIREMENT: 0xfade_0c00,
  CSMAGIC_REQUIREMENTS: 0xfade_0c01,
  CSMAGIC_CODEDIRECTORY: 0xfade_0c02,
  CSMAGIC_EMBEDDED_SIGNATURE: 0xfade_0cc0,
  CSMAGIC_DETACHED_SIGNATURE: 0xfade_0cc1,
  CSMAGIC_BLOBWRAPPER: 0xfade_0b01,
  CSMAGIC_EMBEDDED_SIGNATURE_OLD: 0xfade_0b02,
  CSMAGIC_EMBEDDED_ENTITLEMENTS: 0xfade_7171,
  CSMAGIC_EMBEDDED_DER_ENTITLEMENTS: 0xfade_7172,
  CSMAGIC_EMBEDDED_LAUNCH_CONSTRAINT: 0xfade_8181,
} as const;

/** CS_BlobIndex.type, and the special slots of a CodeDirectory. */
export const CSSLOT = {
  CSSLOT_CODEDIRECTORY: 0,
  CSSLOT_INFOSLOT: 1,
  CSSLOT_REQUIREMENTS: 2,
  CSSLOT_RESOURCEDIR: 3,
  CSSLOT_APPLICATION: 4,
  CSSLOT_ENTITLEMENTS: 5,
  CSSLOT_REP_SPECIFIC: 6,
  CSSLOT_DER_ENTITLEMENTS: 7,
  CSSLOT_LAUNCH_CONSTRAINT_SELF: 8,
  CSSLOT_LAUNCH_CONSTRAINT_PARENT: 9,
  CSSLOT_LAUNCH_CONSTRAINT_RESPONSIBLE: 10,
  CSSLOT_LIBRARY_CONSTRAINT: 11,
  CSSLOT_ALTERNATE_CODEDIRECTORIES: 0x1000,
  CSSLOT_SIGNATURESLOT: 0x1_0000,
  CSSLOT_IDENTIFICATIONSLOT: 0x1_0001,
  CSSLOT_TICKETSLOT: 0x1_0002,
} as const;

/** CS_CodeDirectory.version: the first one that has the fields named. */
export const CS_SUPPORTS = {
  CS_SUPPORTSSCATTER: 0x2_0100,
  CS_SUPPORTSTEAMID: 0x2_0200,
  CS_SUPPORTSCODELIMIT64: 0x2_0300,
  CS_SUPPORTSEXECSEG: 0x2_0400,
  CS_SUPPORTSRUNTIME: 0x2_0500,
  CS_SUPPORTSLINKAGE: 0x2_0600,
} as const;

/** CS_CodeDirectory.hashType. */
export const CS_HASHTYPE = {
  CS_HASHTYPE_SHA1: 1,
  CS_HASHTYPE_SHA256: 2,
  CS_HASHTYPE_SHA256_TRUNCATED: 3,
  CS_HASHTYPE_SHA384: 4,
} as const;

/** CS_CodeDirectory.flags. */
export const CS = {
  CS_VALID: 0x1,
  CS_ADHOC: 0x2,
  CS_GET_TASK_ALLOW: 0x4,
  CS_INSTALLER: 0x8,
  CS_FORCED_LV: 0x10,
  CS_INVALID_ALLOWED: 0x20,
  CS_HARD: 0x100,
  CS_KILL: 0x200,
  CS_CHECK_EXPIRATION: 0x400,
  CS_RESTRICT: 0x800,
  CS_ENFORCEMENT: 0x1000,
  CS_REQUIRE_LV: 0x2000,
  CS_ENTITLEMENTS_VALIDATED: 0x4000,
  CS_NVRAM_UNRESTRICTED: 0x8000,
  CS_RUNTIME: 0x1_0000,
  CS_LINKER_SIGNED: 0x2_0000,
} as const;

/** CS_CodeDirectory.execSegFlags. */
export const CS_EXECSEG = {
  CS_EXECSEG_MAIN_BINARY: 0x1,
  CS_EXECSEG_ALLOW_UNSIGNED: 0x10,
  CS_EXECSEG_DEBUGGER: 0x20,
  CS_EXECSEG_JIT: 0x40,
  CS_EXECSEG_SKIP_LV: 0x80,
  CS_EXECSEG_CAN_LOAD_CDHASH: 0x100,
  CS_EXECSEG_CAN_EXEC_CDHASH: 0x200,
} as const;
