/*
 * What the program itself defines: its exports trie (dyld-1378 mach_o/ExportsTrie.cpp), as dyld sees it,
 * or, where it has none, and for traps, its symbol table.
 */
#include "loader.h"
#include <string.h>

#define EXPORT_SYMBOL_FLAGS_REEXPORT 0x8

static struct bytes trie_of(const struct image *);
static uint64_t walk(const struct image *, struct bytes trie, const char *name);

uint64_t own_export(const struct image *image, const char *name)
{
    struct bytes trie = trie_of(image);
    if (trie.at < trie.end) return walk(image, trie, name);
    return own_symbol(image, name);
}

static struct bytes trie_of(const struct image *image)
{
    if (image->trie) return bytes_of(image, image->trie->dataoff, image->trie->datasize, "exports trie");
    if (image->info) return bytes_of(image, image->info->export_off, image->info->export_size, "export trie");
    return (struct bytes){0};
}

static uint64_t walk(const struct image *image, struct bytes trie, const char *name)
{
    struct bytes node = trie;
    for (unsigned steps = 0; ; steps++) {
        uint64_t terminal = read_uleb(&node);
        if (terminal > (uint64_t)(node.end - node.at)) fail("%s: a node is longer than the trie", trie.what);
        if (*name == 0) {
            if (terminal == 0 || (read_uleb(&node) & EXPORT_SYMBOL_FLAGS_REEXPORT)) return 0;
            uint64_t address = image->text->vmaddr + read_uleb(&node);
            if (segment_at(image, address, 1) < 0) fail("%s: address 0x%lx is in no segment", trie.what, address);
            return address;
        }
        node.at += terminal;
        bool found = false;
        for (unsigned children = read_byte(&node); children > 0 && !found; children--) {
            const char *edge = read_string(&node);
            uint64_t offset = read_uleb(&node);
            size_t length = strlen(edge);
            if (strncmp(name, edge, length) != 0) continue;
            if (offset >= (uint64_t)(trie.end - trie.at) || steps > 1000)
                fail("%s: a child at 0x%lx is beyond its end", trie.what, offset);
            node.at = trie.at + offset, name += length, found = true;
        }
        if (!found) return 0;
    }
}

uint64_t own_symbol(const struct image *image, const char *name)
{
    struct bytes symbols = bytes_of(image, image->symtab->symoff, image->symtab->nsyms * 16ul, "symbol table");
    struct bytes strings = bytes_of(image, image->symtab->stroff, image->symtab->strsize, "string table");
    uint64_t found = 0;
    for (const struct nlist_64 *symbol = (const void *)symbols.at; (const uint8_t *)symbol < symbols.end; symbol++) {
        if ((symbol->n_type & N_STAB) || (symbol->n_type & N_TYPE) != N_SECT) continue;
        if (symbol->n_strx >= image->symtab->strsize) fail("symbol table: n_strx 0x%x is beyond the strings", symbol->n_strx);
        struct bytes at = {strings.at + symbol->n_strx, strings.end, "string table"};
        if (strcmp(read_string(&at), name) != 0) continue;
        if (symbol->n_type & N_EXT) return symbol->n_value;
        if (found == 0) found = symbol->n_value; /* a static function: good for a trap */
    }
    return found;
}
