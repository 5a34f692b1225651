/*
 * The rules for symbols, as dyld-1378 (Image::validSymbolTable, validIndirectSymbolTable) and cctools-1035
 * (libstuff/checkout.c, strip) have them: every index and offset inside its table, sections by their
 * number.
 */
#include "loader.h"
#include <string.h>

#define INDIRECT_SYMBOL_LOCAL 0x80000000u
#define INDIRECT_SYMBOL_ABS 0x40000000u
#define S_SYMBOL_STUBS 8

static void check_range(const char *what, uint64_t first, uint64_t count, uint64_t all);
static void check_symbol(const struct image *, const struct nlist_64 *, unsigned index);
static void check_indirect(const struct image *);
static const struct section_64 *section_number(const struct image *, unsigned number);

void check_symbols(const struct image *image)
{
    const struct dysymtab_command *d = image->dysymtab;
    const struct symtab_command *symtab = image->symtab;
    check_range("local symbols", d->ilocalsym, d->nlocalsym, symtab->nsyms);
    check_range("defined symbols", d->iextdefsym, d->nextdefsym, symtab->nsyms);
    check_range("undefined symbols", d->iundefsym, d->nundefsym, symtab->nsyms);
    if (symtab->strsize != 0 && image->file[symtab->stroff + symtab->strsize - 1] != 0)
        fail("string table: the last string does not end");
    const struct nlist_64 *symbols = (const void *)(image->file + symtab->symoff);
    for (unsigned i = 0; i < symtab->nsyms; i++) check_symbol(image, &symbols[i], i);
    check_indirect(image);
}

static void check_range(const char *what, uint64_t first, uint64_t count, uint64_t all)
{
    if (count != 0 && first + count > all)
        fail("LC_DYSYMTAB: %s %lu to %lu, the table has %lu", what, first, first + count, all);
}

/* A symbol may be at the end of its section, as ___end is. */
static void check_symbol(const struct image *image, const struct nlist_64 *symbol, unsigned index)
{
    if (symbol->n_strx >= image->symtab->strsize)
        fail("symbol %u: n_strx 0x%x is beyond the strings", index, symbol->n_strx);
    if ((symbol->n_type & N_STAB) || (symbol->n_type & N_TYPE) != N_SECT) return;
    const struct section_64 *section = section_number(image, symbol->n_sect);
    if (section == NULL) fail("symbol %u: n_sect %u is no section", index, symbol->n_sect);
    bool header = symbol->n_value == image->text->vmaddr;
    if (!header && (symbol->n_value < section->addr || symbol->n_value > section->addr + section->size))
        fail("symbol %u: 0x%lx is not in its section, %.16s", index, symbol->n_value, section->sectname);
}

/* Counted from 1 over all segments. */
static const struct section_64 *section_number(const struct image *image, unsigned number)
{
    for (unsigned i = 0; i < image->nsegments && number != 0; i++) {
        if (number <= image->segments[i]->nsects) return &sections_of(image->segments[i])[number - 1];
        number -= image->segments[i]->nsects;
    }
    return NULL;
}

static void check_indirect(const struct image *image)
{
    const struct dysymtab_command *d = image->dysymtab;
    for (unsigned i = 0; i < d->nindirectsyms; i++) {
        uint32_t index;
        memcpy(&index, image->file + d->indirectsymoff + 4 * i, sizeof index);
        if (!(index & (INDIRECT_SYMBOL_LOCAL | INDIRECT_SYMBOL_ABS)) && index >= image->symtab->nsyms)
            fail("indirect symbol %u: is symbol %u of %u", i, index, image->symtab->nsyms);
    }
    for (unsigned number = 1; section_number(image, number) != NULL; number++) {
        const struct section_64 *section = section_number(image, number);
        uint32_t type = section->flags & SECTION_TYPE;
        bool stubs = type == S_SYMBOL_STUBS;
        if (!stubs && type != S_LAZY_SYMBOL_POINTERS && type != S_NON_LAZY_SYMBOL_POINTERS) continue;
        uint64_t size = stubs ? section->reserved2 : 8;
        if (size == 0 || section->reserved1 + section->size / size > d->nindirectsyms)
            fail("section %.16s: its indirect symbols from %u on are more than %u", section->sectname, section->reserved1,
                 d->nindirectsyms);
    }
}
