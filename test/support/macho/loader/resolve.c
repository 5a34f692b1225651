/*
 * Finds what an import names. Ordinals are those of dyld (BIND_SPECIAL_DYLIB_* in <mach-o/loader.h>): a
 * dylib, the program itself, flat, or weak, where the program's own definition goes before all others.
 * Only libSystem is modelled; --foreign takes what is missing from the C library of Linux, and what
 * that lacks too is a function that says its name and ends the program when it is called.
 */
#include "loader.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LIBSYSTEM "/usr/lib/libSystem.B.dylib"

static uint64_t foreign_import(const char *name);
static void *refusal(const char *name);

uint64_t resolve(const struct image *image, int64_t ordinal, const char *name, bool weak_import)
{
    if (ordinal > (int64_t)image->ndylibs || ordinal < ORDINAL_WEAK)
        fail("import of %s: ordinal %ld, there are %u dylibs", name, ordinal, image->ndylibs);
    uint64_t own = ordinal <= 0 ? own_export(image, name) : 0;
    if (own != 0) return slid(image, own);
    if (ordinal == ORDINAL_SELF || ordinal == ORDINAL_MAIN) fail("symbol not found: %s, in the program itself", name);
    const char *library = ordinal > 0 ? image->dylibs[ordinal - 1] : "any dylib";
    if (ordinal > 0 && !options.foreign && strcmp(library, LIBSYSTEM) != 0) fail("library not loaded: %s", library);
    uint64_t value = (uint64_t)find_shim(name);
    if (value == 0 && options.foreign) value = foreign_import(name);
    if (value == 0 && options.foreign && !weak_import) value = (uint64_t)refusal(name);
    if (value == 0 && !weak_import) fail("symbol not found: %s, expected in %s", name, library);
    return value;
}


#ifdef STATIC_LOADER
static uint64_t foreign_import(const char *name)
{
    (void)name;
    return 0;
}
#else
/* `_stat$INODE64` is stat. */
static uint64_t foreign_import(const char *name)
{
    char plain[256];
    if (*name != '_' || strlen(name) >= sizeof plain || is_refused(name)) return 0;
    strcpy(plain, name + 1);
    char *suffix = strchr(plain, '$');
    if (suffix != NULL) *suffix = 0;
    return (uint64_t)dlsym(RTLD_DEFAULT, plain);
}
#endif

static void refuse(const char *name)
{
    fflush(NULL);
    fail("%s was called, which this loader has not", name);
}

/* A piece of code that calls refuse(name). Code is never given back. */
static void *refusal(const char *name)
{
    static uint8_t *code, *end;
    if (code == end) {
        code = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (code == MAP_FAILED) abort();
        end = code + 0x10000;
    }
    uint8_t *start = code;
    code += 64;
    uint64_t argument = (uint64_t)name, target = (uint64_t)refuse;
#ifdef __aarch64__
    /* ldr x0, [pc, 16]; ldr x16, [pc, 20]; br x16; nop */
    static const uint32_t instructions[] = {0x58000080, 0x580000b0, 0xd61f0200, 0xd503201f};
    memcpy(start, instructions, 16);
    memcpy(start + 16, &argument, 8);
    memcpy(start + 24, &target, 8);
    __builtin___clear_cache((char *)start, (char *)start + 64);
#else
    /* mov rdi, argument; mov rax, target; and rsp, -16; call rax */
    memcpy(start, "\x48\xbf", 2);
    memcpy(start + 2, &argument, 8);
    memcpy(start + 10, "\x48\xb8", 2);
    memcpy(start + 12, &target, 8);
    memcpy(start + 20, "\x48\x83\xe4\xf0\xff\xd0", 6);
#endif
    return start;
}
