/*
 * The rules for what __LINKEDIT holds: every blob inside it, aligned, without overlap (dyld-1378
 * Image::validLinkedit), and in the one order that codesign and strip accept, gaps no longer than
 * rounding makes them, the last ending at the end of the file (cctools-1035, libstuff/checkout.c). The
 * payload of an LC_NOTE is not among them and has to be elsewhere.
 */
#include "loader.h"
#include <string.h>

struct blob { const char *what; uint64_t offset, size, align; };
struct blobs { struct blob list[64]; unsigned count; };

static void collect(const struct image *, struct blobs *);
static void add_data(const struct image *, struct blobs *, uint32_t command, const char *what, uint64_t align);
static void check_order(const struct image *, const struct blobs *);
static void check_notes(const struct image *);

static void add(struct blobs *blobs, const char *what, uint64_t offset, uint64_t size, uint64_t align)
{
    if (size != 0) blobs->list[blobs->count++] = (struct blob){what, offset, size, align};
}

void check_linkedit(const struct image *image)
{
    const struct dysymtab_command *dysymtab = image->dysymtab;
    if ((image->info || image->chained) && (dysymtab->nlocrel != 0 || dysymtab->nextrel != 0))
        fail("LC_DYSYMTAB: %u relocations beside fixups", dysymtab->nlocrel + dysymtab->nextrel);
    struct blobs blobs = {0};
    collect(image, &blobs);
    const struct segment_command_64 *linkedit = image->linkedit;
    for (unsigned i = 0; i < blobs.count; i++) {
        const struct blob *b = &blobs.list[i];
        if (b->offset < linkedit->fileoff || b->offset + b->size > linkedit->fileoff + linkedit->filesize)
            fail("%s: 0x%lx bytes at 0x%lx are not inside __LINKEDIT", b->what, b->size, b->offset);
        if (b->offset % b->align != 0) fail("%s: offset 0x%lx is not %lu-aligned", b->what, b->offset, b->align);
    }
    if (linkedit->fileoff + linkedit->filesize != image->size)
        fail("__LINKEDIT ends at 0x%lx, not at the end of the file, 0x%lx", linkedit->fileoff + linkedit->filesize,
             image->size);
    if (linkedit->fileoff > 0xffffffff) fail("__LINKEDIT starts at 0x%lx, above 4 GiB", linkedit->fileoff);
    check_order(image, &blobs);
    check_notes(image);
}

/* In the canonical order. */
static void collect(const struct image *image, struct blobs *blobs)
{
    const struct symtab_command *symtab = image->symtab;
    const struct dysymtab_command *dysymtab = image->dysymtab;
    const struct dyld_info_command *info = image->info;
    if (info) {
        add(blobs, "rebase opcodes", info->rebase_off, info->rebase_size, 8);
        add(blobs, "bind opcodes", info->bind_off, info->bind_size, 8);
        add(blobs, "weak bind opcodes", info->weak_bind_off, info->weak_bind_size, 8);
        add(blobs, "lazy bind opcodes", info->lazy_bind_off, info->lazy_bind_size, 8);
        add(blobs, "export trie", info->export_off, info->export_size, 8);
    }
    add_data(image, blobs, LC_DYLD_CHAINED_FIXUPS, "chained fixups", 8);
    add_data(image, blobs, LC_DYLD_EXPORTS_TRIE, "exports trie", 8);
    add(blobs, "local relocations", dysymtab->locreloff, dysymtab->nlocrel * 8ul, 8);
    add_data(image, blobs, LC_SEGMENT_SPLIT_INFO, "segment split info", 8);
    add_data(image, blobs, LC_FUNCTION_STARTS, "function starts", 8);
    add_data(image, blobs, LC_DATA_IN_CODE, "data in code", 8);
    add_data(image, blobs, LC_ATOM_INFO, "atom info", 8);
    add_data(image, blobs, LC_DYLIB_CODE_SIGN_DRS, "code signing requirements", 8);
    add_data(image, blobs, LC_LINKER_OPTIMIZATION_HINT, "linker optimization hints", 8);
    add(blobs, "symbol table", symtab->symoff, symtab->nsyms * sizeof(struct nlist_64), 8);
    add(blobs, "external relocations", dysymtab->extreloff, dysymtab->nextrel * 8ul, 8);
    add(blobs, "indirect symbol table", dysymtab->indirectsymoff, dysymtab->nindirectsyms * 4ul, 4);
    add(blobs, "string table", symtab->stroff, symtab->strsize, 1);
    add_data(image, blobs, LC_CODE_SIGNATURE, "code signature", 16);
}

#define FOR_EACH_COMMAND(image, command) \
    for (const struct load_command *command = (const void *)((image)->header + 1), \
                                   *last = (const void *)((const uint8_t *)command + (image)->header->sizeofcmds); \
         command < last; command = (const void *)((const uint8_t *)command + command->cmdsize))

static void add_data(const struct image *image, struct blobs *blobs, uint32_t cmd, const char *what, uint64_t align)
{
    FOR_EACH_COMMAND(image, command) {
        const struct linkedit_data_command *data = (const void *)command;
        if (command->cmd == cmd) add(blobs, what, data->dataoff, data->datasize, align);
    }
}

static void check_order(const struct image *image, const struct blobs *blobs)
{
    uint64_t end = image->linkedit->fileoff;
    for (unsigned i = 0; i < blobs->count; i++) {
        const struct blob *b = &blobs->list[i];
        if (b->offset < end)
            fail("%s: offset 0x%lx lies before 0x%lx, the end of what comes before it in the order that codesign "
                 "demands", b->what, b->offset, end);
        if (b->offset - end >= 16) fail("%s: 0x%lx bytes lie unused before it", b->what, b->offset - end);
        end = b->offset + b->size;
    }
    uint64_t last = image->linkedit->fileoff + image->linkedit->filesize;
    if (last - end >= 16) fail("__LINKEDIT: 0x%lx bytes lie unused at its end", last - end);
}

static void check_notes(const struct image *image)
{
    FOR_EACH_COMMAND(image, command) {
        const struct note_command *note = (const void *)command;
        if (command->cmd != LC_NOTE) continue;
        if (note->offset > image->size || note->size > image->size - note->offset)
            fail("LC_NOTE %.16s: 0x%lx bytes at 0x%lx are not in the file", note->data_owner, note->size, note->offset);
        if (note->size != 0 && note->offset + note->size > image->linkedit->fileoff)
            fail("LC_NOTE %.16s: its payload is in __LINKEDIT", note->data_owner);
    }
}
