/*
 * Reads the load commands. What is checked here is checked by dyld's UnsafeHeader (validLoadCommands,
 * "cmdsize exact per command, unknown LC_REQ_DYLD command = error", dyld-1378 mach_o/UnsafeHeader.cpp)
 * or by xnu's parse_machfile (bsd/kern/mach_loader.c): sizes, alignment, duplicates.
 */
#include "loader.h"
#include <string.h>

static void check_size(const struct load_command *, unsigned index);
static void read_command(struct image *, const struct load_command *, unsigned index);
static void add_segment(struct image *, const struct segment_command_64 *);
static void add_dylib(struct image *, const struct dylib_command *);
static void check_header(const struct image *);

void read_commands(struct image *image)
{
    const struct mach_header_64 *header = image->header;
    check_header(image);
    const uint8_t *at = image->file + sizeof *header, *end = at + header->sizeofcmds;
    for (unsigned i = 0; i < header->ncmds; i++) {
        const struct load_command *command = (const void *)at;
        if ((size_t)(end - at) < sizeof *command || command->cmdsize > (size_t)(end - at))
            fail("load command %u lies beyond sizeofcmds 0x%x", i, header->sizeofcmds);
        if (command->cmdsize < sizeof *command || command->cmdsize % 8 != 0)
            fail("load command %u (0x%x): cmdsize %u is not a multiple of 8", i, command->cmd, command->cmdsize);
        check_size(command, i);
        read_command(image, command, i);
        at += command->cmdsize;
    }
    if (at != end)
        fail("sizeofcmds is 0x%x, the %u load commands take 0x%lx", header->sizeofcmds, header->ncmds,
             (unsigned long)(at - image->file - sizeof *header));
    if (!image->text || !image->linkedit) fail("a segment __TEXT or __LINKEDIT is missing");
    if (!image->entry) fail("LC_MAIN is missing (LC_UNIXTHREAD is not supported)");
    if (!image->symtab || !image->dysymtab) fail("LC_SYMTAB or LC_DYSYMTAB is missing");
    if (image->info && image->chained) fail("both LC_DYLD_INFO and LC_DYLD_CHAINED_FIXUPS are there");
    if (image->sdk >= 0x1a0000 && !image->uuid) fail("LC_UUID is missing, which SDK 26 demands");
}

static void check_header(const struct image *image)
{
    const struct mach_header_64 *header = image->header;
    if (header->filetype != MH_EXECUTE) fail("filetype %u is not MH_EXECUTE", header->filetype);
    if (!(header->flags & MH_DYLDLINK)) fail("flags 0x%x lack MH_DYLDLINK", header->flags);
    if (HOST_CPU == CPU_TYPE_ARM64 && !(header->flags & MH_PIE))
        fail("flags 0x%x lack MH_PIE, which xnu demands on arm64", header->flags);
    if (header->sizeofcmds > image->size - sizeof *header)
        fail("sizeofcmds 0x%x is more than the file has", header->sizeofcmds);
}

static void check_size(const struct load_command *command, unsigned index)
{
    size_t want = 0;
    switch (command->cmd) {
    case LC_SEGMENT_64:
        want = sizeof(struct segment_command_64);
        if (command->cmdsize >= want)
            want += ((const struct segment_command_64 *)command)->nsects * sizeof(struct section_64);
        break;
    case LC_BUILD_VERSION:
        want = sizeof(struct build_version_command);
        if (command->cmdsize >= want) want += ((const struct build_version_command *)command)->ntools * 8;
        break;
    case LC_SYMTAB: want = sizeof(struct symtab_command); break;
    case LC_DYSYMTAB: want = sizeof(struct dysymtab_command); break;
    case LC_DYLD_INFO:
    case LC_DYLD_INFO_ONLY: want = sizeof(struct dyld_info_command); break;
    case LC_UUID: want = sizeof(struct uuid_command); break;
    case LC_MAIN: want = sizeof(struct entry_point_command); break;
    case LC_NOTE: want = sizeof(struct note_command); break;
    case LC_TWOLEVEL_HINTS: case LC_VERSION_MIN_MACOSX: case LC_SOURCE_VERSION: case LC_CODE_SIGNATURE:
    case LC_SEGMENT_SPLIT_INFO: case LC_FUNCTION_STARTS: case LC_DATA_IN_CODE: case LC_DYLIB_CODE_SIGN_DRS:
    case LC_LINKER_OPTIMIZATION_HINT: case LC_ATOM_INFO: case LC_DYLD_EXPORTS_TRIE:
    case LC_DYLD_CHAINED_FIXUPS: want = sizeof(struct linkedit_data_command); break;
    case LC_ENCRYPTION_INFO_64: want = 24; break;
    case LC_LOAD_DYLIB: case LC_LOAD_WEAK_DYLIB: case LC_REEXPORT_DYLIB: case LC_LAZY_LOAD_DYLIB:
    case LC_LOAD_UPWARD_DYLIB:
        if (command->cmdsize > sizeof(struct dylib_command)) return;
        want = sizeof(struct dylib_command) + 8;
        break;
    case LC_LOAD_DYLINKER: case LC_RPATH: case LC_DYLD_ENVIRONMENT: case LC_UNIXTHREAD: return;
    default:
        if (command->cmd & LC_REQ_DYLD) fail("load command %u: 0x%x is unknown, but required", index, command->cmd);
        return;
    }
    if (command->cmdsize != want)
        fail("load command %u (0x%x): cmdsize is %u, want %lu", index, command->cmd, command->cmdsize, want);
}

#define ONCE(field, command, index) \
    do { \
        if (field) fail("load command %u (0x%x) is there twice", index, (command)->cmd); \
        field = (const void *)(command); \
    } while (0)

static void read_command(struct image *image, const struct load_command *command, unsigned index)
{
    switch (command->cmd) {
    case LC_SEGMENT_64: add_segment(image, (const void *)command); break;
    case LC_SYMTAB: ONCE(image->symtab, command, index); break;
    case LC_DYSYMTAB: ONCE(image->dysymtab, command, index); break;
    case LC_DYLD_INFO:
    case LC_DYLD_INFO_ONLY: ONCE(image->info, command, index); break;
    case LC_DYLD_CHAINED_FIXUPS: ONCE(image->chained, command, index); break;
    case LC_DYLD_EXPORTS_TRIE: ONCE(image->trie, command, index); break;
    case LC_CODE_SIGNATURE: ONCE(image->signature, command, index); break;
    case LC_MAIN: ONCE(image->entry, command, index); break;
    case LC_UUID: ONCE(image->uuid, command, index); break;
    case LC_BUILD_VERSION: image->sdk = ((const struct build_version_command *)command)->sdk; break;
    case LC_VERSION_MIN_MACOSX: image->sdk = ((const struct version_min_command *)command)->sdk; break;
    case LC_LOAD_DYLIB: case LC_LOAD_WEAK_DYLIB: case LC_REEXPORT_DYLIB: case LC_LAZY_LOAD_DYLIB:
    case LC_LOAD_UPWARD_DYLIB: add_dylib(image, (const void *)command); break;
    default: break;
    }
}

static void add_segment(struct image *image, const struct segment_command_64 *segment)
{
    if (image->nsegments == MAX_SEGMENTS) fail("more than %d segments", MAX_SEGMENTS);
    image->segments[image->nsegments++] = segment;
    if (strncmp(segment->segname, "__TEXT", 16) == 0) image->text = segment;
    if (strncmp(segment->segname, "__LINKEDIT", 16) == 0) image->linkedit = segment;
}

static void add_dylib(struct image *image, const struct dylib_command *dylib)
{
    if (image->ndylibs == MAX_DYLIBS) fail("more than %d dylibs", MAX_DYLIBS);
    const char *name = (const char *)dylib + dylib->name;
    if (dylib->name < sizeof *dylib || dylib->name >= dylib->cmdsize ||
        memchr(name, 0, dylib->cmdsize - dylib->name) == NULL)
        fail("LC_LOAD_DYLIB: its name is not inside the command");
    for (unsigned i = 0; i < image->ndylibs; i++)
        if (strcmp(image->dylibs[i], name) == 0) fail("LC_LOAD_DYLIB: %s is there twice", name);
    image->dylibs[image->ndylibs++] = name;
}
