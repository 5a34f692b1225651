/* Looks shims up by the name that Mach-O has for them, one `_` before the name in C. */
#include "shims.h"
#include <stdio.h>
#include <string.h>
#include "loader.h"

extern const struct shim malloc_shims[], stdio_shims[], libc_shims[], memory_shims[], thread_shims[], process_shims[],
    foreign_file_shims[], foreign_signal_shims[], foreign_rest_shims[];

static const struct shim *const lists[] = {malloc_shims, stdio_shims, libc_shims, memory_shims, thread_shims, process_shims};

static const struct shim *const foreign[] = {foreign_file_shims, foreign_signal_shims, foreign_rest_shims};

static const void *find_in(const struct shim *list, const char *name)
{
    for (; list->name != NULL; list++)
        if (strcmp(list->name, name) == 0) return list->address;
    return NULL;
}

void *find_shim(const char *name)
{
    const void *found = NULL;
    for (unsigned i = 0; i < sizeof lists / sizeof *lists && found == NULL; i++) found = find_in(lists[i], name);
    for (unsigned i = 0; options.foreign && i < 3 && found == NULL; i++) found = find_in(foreign[i], name);
    return (void *)found;
}

void print_shims(void)
{
    for (unsigned i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const struct shim *shim = lists[i]; shim->name != NULL; shim++) puts(shim->name);
}
