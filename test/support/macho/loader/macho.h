/*
 * The structures and constants of Mach-O that the loader reads. Names and layouts are those of
 * <mach-o/loader.h>, <mach-o/nlist.h>, <mach-o/fixup-chains.h>, <mach-o/fat.h> (cctools-1035, dyld-1378).
 */
#pragma once
#include <stdint.h>

#define MH_MAGIC_64 0xfeedfacfu
#define FAT_MAGIC 0xcafebabeu
#define FAT_MAGIC_64 0xcafebabfu
#define CPU_TYPE_X86_64 0x01000007u
#define CPU_TYPE_ARM64 0x0100000cu
#define MH_EXECUTE 2u
#define MH_CORE 4u
#define MH_DYLDLINK 0x4u
#define MH_PIE 0x200000u

#define LC_REQ_DYLD 0x80000000u
enum {
    LC_SYMTAB = 0x2, LC_THREAD = 0x4, LC_UNIXTHREAD = 0x5, LC_DYSYMTAB = 0xb, LC_LOAD_DYLIB = 0xc,
    LC_LOAD_DYLINKER = 0xe, LC_TWOLEVEL_HINTS = 0x16, LC_SEGMENT_64 = 0x19, LC_UUID = 0x1b,
    LC_CODE_SIGNATURE = 0x1d, LC_SEGMENT_SPLIT_INFO = 0x1e, LC_DYLD_INFO = 0x22, LC_LAZY_LOAD_DYLIB = 0x20,
    LC_VERSION_MIN_MACOSX = 0x24, LC_FUNCTION_STARTS = 0x26, LC_DYLD_ENVIRONMENT = 0x27,
    LC_DATA_IN_CODE = 0x29, LC_SOURCE_VERSION = 0x2a, LC_DYLIB_CODE_SIGN_DRS = 0x2b,
    LC_ENCRYPTION_INFO_64 = 0x2c, LC_LINKER_OPTIMIZATION_HINT = 0x2e, LC_NOTE = 0x31,
    LC_BUILD_VERSION = 0x32, LC_ATOM_INFO = 0x36,
};
#define LC_LOAD_WEAK_DYLIB (0x18u | LC_REQ_DYLD)
#define LC_RPATH (0x1cu | LC_REQ_DYLD)
#define LC_REEXPORT_DYLIB (0x1fu | LC_REQ_DYLD)
#define LC_DYLD_INFO_ONLY (0x22u | LC_REQ_DYLD)
#define LC_LOAD_UPWARD_DYLIB (0x23u | LC_REQ_DYLD)
#define LC_MAIN (0x28u | LC_REQ_DYLD)
#define LC_DYLD_EXPORTS_TRIE (0x33u | LC_REQ_DYLD)
#define LC_DYLD_CHAINED_FIXUPS (0x34u | LC_REQ_DYLD)

#define VM_PROT_READ 1
#define VM_PROT_WRITE 2
#define VM_PROT_EXECUTE 4
#define SG_READ_ONLY 0x10u

#define SECTION_TYPE 0xffu
enum {
    S_ZEROFILL = 1, S_NON_LAZY_SYMBOL_POINTERS = 6, S_LAZY_SYMBOL_POINTERS = 7, S_MOD_INIT_FUNC_POINTERS = 9,
    S_GB_ZEROFILL = 0xc, S_THREAD_LOCAL_REGULAR = 0x11, S_THREAD_LOCAL_ZEROFILL = 0x12,
    S_THREAD_LOCAL_VARIABLES = 0x13, S_INIT_FUNC_OFFSETS = 0x16,
};

#define N_STAB 0xe0
#define N_TYPE 0x0e
#define N_SECT 0x0e
#define N_EXT 0x01

struct fat_header { uint32_t magic, nfat_arch; };
struct fat_arch { uint32_t cputype, cpusubtype, offset, size, align; };
struct fat_arch_64 { uint32_t cputype, cpusubtype; uint64_t offset, size; uint32_t align, reserved; };

struct mach_header_64 { uint32_t magic, cputype, cpusubtype, filetype, ncmds, sizeofcmds, flags, reserved; };
struct load_command { uint32_t cmd, cmdsize; };
struct segment_command_64 {
    uint32_t cmd, cmdsize;
    char segname[16];
    uint64_t vmaddr, vmsize, fileoff, filesize;
    int32_t maxprot, initprot;
    uint32_t nsects, flags;
};
struct section_64 {
    char sectname[16], segname[16];
    uint64_t addr, size;
    uint32_t offset, align, reloff, nreloc, flags, reserved1, reserved2, reserved3;
};
struct symtab_command { uint32_t cmd, cmdsize, symoff, nsyms, stroff, strsize; };
struct dysymtab_command {
    uint32_t cmd, cmdsize, ilocalsym, nlocalsym, iextdefsym, nextdefsym, iundefsym, nundefsym, tocoff, ntoc,
        modtaboff, nmodtab, extrefsymoff, nextrefsyms, indirectsymoff, nindirectsyms, extreloff, nextrel,
        locreloff, nlocrel;
};
struct dyld_info_command {
    uint32_t cmd, cmdsize, rebase_off, rebase_size, bind_off, bind_size, weak_bind_off, weak_bind_size,
        lazy_bind_off, lazy_bind_size, export_off, export_size;
};
struct linkedit_data_command { uint32_t cmd, cmdsize, dataoff, datasize; };
struct twolevel_hints_command { uint32_t cmd, cmdsize, offset, nhints; };
struct entry_point_command { uint32_t cmd, cmdsize; uint64_t entryoff, stacksize; };
struct uuid_command { uint32_t cmd, cmdsize; uint8_t uuid[16]; };
struct build_version_command { uint32_t cmd, cmdsize, platform, minos, sdk, ntools; };
struct version_min_command { uint32_t cmd, cmdsize, version, sdk; };
struct dylib_command { uint32_t cmd, cmdsize, name, timestamp, current_version, compatibility_version; };
struct note_command { uint32_t cmd, cmdsize; char data_owner[16]; uint64_t offset, size; };
struct nlist_64 { uint32_t n_strx; uint8_t n_type, n_sect; uint16_t n_desc; uint64_t n_value; };

struct dyld_chained_fixups_header {
    uint32_t fixups_version, starts_offset, imports_offset, symbols_offset, imports_count, imports_format,
        symbols_format;
};
/* page_start[] lies behind at offset 22: the struct is padded to 24 by C. */
struct __attribute__((packed)) dyld_chained_starts_in_segment {
    uint32_t size;
    uint16_t page_size, pointer_format;
    uint64_t segment_offset;
    uint32_t max_valid_pointer;
    uint16_t page_count;
};
#define DYLD_CHAINED_PTR_64 2
#define DYLD_CHAINED_PTR_64_OFFSET 6
#define DYLD_CHAINED_PTR_START_NONE 0xffff

struct tlv_descriptor { void *thunk; unsigned long key, offset; };
