/*
 * Runs the constructors before main, as dyld-1378 does (Loader::findAndRunAllInitializers): pointers of
 * __mod_init_func, which fixups have made absolute, or 32-bit offsets from the header, __init_offsets.
 * Each has to lie in code of the program.
 */
#include "loader.h"
#include <string.h>

typedef void initialiser(int, char **, char **, char **, const void *);

static uint64_t initialiser_at(const struct image *, const struct section_64 *, uint64_t offset);

void run_initialisers(const struct image *image, int argc, char **argv, char **envp, char **apple)
{
    static const void *variables[5];
    for (unsigned i = 0; i < image->nsegments; i++)
        for (unsigned j = 0; j < image->segments[i]->nsects; j++) {
            const struct section_64 *section = &sections_of(image->segments[i])[j];
            uint32_t type = section->flags & SECTION_TYPE;
            if (type != S_MOD_INIT_FUNC_POINTERS && type != S_INIT_FUNC_OFFSETS) continue;
            unsigned entry = type == S_MOD_INIT_FUNC_POINTERS ? 8 : 4;
            if (section->size % entry != 0)
                fail("section %.16s: size 0x%lx is not a multiple of %u", section->sectname, section->size, entry);
            if (type == S_INIT_FUNC_OFFSETS && (image->segments[i]->initprot & VM_PROT_WRITE))
                fail("section %.16s is in a writable segment", section->sectname);
            for (uint64_t at = 0; at < section->size; at += entry)
                ((initialiser *)initialiser_at(image, section, at))(argc, argv, envp, apple, variables);
        }
}

static uint64_t initialiser_at(const struct image *image, const struct section_64 *section, uint64_t offset)
{
    const void *at = (const void *)(slid(image, section->addr) + offset);
    uint64_t address;
    if ((section->flags & SECTION_TYPE) == S_MOD_INIT_FUNC_POINTERS) {
        memcpy(&address, at, sizeof address);
    } else {
        uint32_t from_header;
        memcpy(&from_header, at, sizeof from_header);
        address = slid(image, image->text->vmaddr) + from_header;
    }
    if (!is_code(image, address - image->slide))
        fail("initialiser 0x%lx of %.16s is not in the code of the program", address, section->sectname);
    return address;
}
