/*
 * malloc-elf.c - malloc and its family, defined by the program: in ELF's one namespace every library's calls
 * come here, from the loader's first one on (glibc manual, "Replacing malloc"; it wants the whole family).
 *
 * A block that is not ours comes from the C library's own malloc, which a library that was loaded with
 * RTLD_DEEPBIND, or that calls __libc_malloc, can have reached. It goes back there where glibc is the
 * C library, and is left alone elsewhere.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "zone.h"
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define UNEXEC_EXPORT __attribute__((visibility("default")))

#if defined(__GLIBC__)
/* Weak, so that a static program links nothing because of them. */
extern void __libc_free(void *) __attribute__((weak));
extern void *__libc_realloc(void *, size_t) __attribute__((weak));
#endif

static void free_foreign(void *block)
{
#if defined(__GLIBC__)
    if (__libc_free != NULL)
        __libc_free(block);
#else
    (void)block;
#endif
}

static void *reallocate_foreign(void *block, size_t bytes)
{
#if defined(__GLIBC__)
    if (__libc_realloc != NULL)
        return __libc_realloc(block, bytes);
#else
    (void)bytes;
#endif
    unexec_heap_die("it belongs to no zone", block);
}

static size_t foreign_size(const void *block)
{
#if defined(__GLIBC__)
    /* glibc's chunk: its size and three bits before the block, of which 2 says that it is a mapping. */
    size_t size = ((const size_t *)block)[-1];
    return (size & ~(size_t)7) - ((size & 2) != 0 ? 2 : 1) * sizeof size;
#else
    (void)block;
    return 0;
#endif
}

static void *or_no_memory(void *block)
{
    if (block == NULL)
        errno = ENOMEM;
    return block;
}

/* A power of two that is not less than `alignment`; 0: there is none. */
static size_t power_of_two(size_t alignment)
{
    size_t power = sizeof(void *);
    while (power != 0 && power < alignment)
        power <<= 1;
    return power;
}

UNEXEC_EXPORT void *malloc(size_t bytes)
{
    return or_no_memory(unexec_heap_allocate(bytes, 1));
}

UNEXEC_EXPORT void free(void *block)
{
    if (block != NULL && !unexec_heap_free(block))
        free_foreign(block);
}

UNEXEC_EXPORT void *calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return or_no_memory(NULL);
    return or_no_memory(unexec_heap_allocate_zeroed(bytes));
}

/* As glibc: a size of 0 frees. */
UNEXEC_EXPORT void *realloc(void *block, size_t bytes)
{
    if (block == NULL)
        return or_no_memory(unexec_heap_allocate(bytes, 1));
    if (!unexec_heap_owns(block))
        return reallocate_foreign(block, bytes);
    if (bytes != 0)
        return or_no_memory(unexec_heap_reallocate(block, bytes));
    unexec_heap_free(block);
    return NULL;
}

UNEXEC_EXPORT void *reallocarray(void *block, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return or_no_memory(NULL);
    return realloc(block, bytes);
}

UNEXEC_EXPORT void *memalign(size_t alignment, size_t bytes)
{
    alignment = power_of_two(alignment);
    return or_no_memory(alignment == 0 ? NULL : unexec_heap_allocate(bytes, alignment));
}

UNEXEC_EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
    return memalign(alignment, bytes);
}

UNEXEC_EXPORT int posix_memalign(void **result, size_t alignment, size_t bytes)
{
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
        return EINVAL;
    void *block = unexec_heap_allocate(bytes, alignment);
    if (block == NULL)
        return ENOMEM;
    *result = block;
    return 0;
}

UNEXEC_EXPORT void *valloc(size_t bytes)
{
    return memalign((size_t)getpagesize(), bytes);
}

UNEXEC_EXPORT void *pvalloc(size_t bytes)
{
    size_t page = (size_t)getpagesize();
    if (bytes > SIZE_MAX - page)
        return or_no_memory(NULL);
    return memalign(page, (bytes + page - 1) & ~(page - 1));
}

UNEXEC_EXPORT size_t malloc_usable_size(void *block)
{
    if (block == NULL)
        return 0;
    return unexec_heap_owns(block) ? unexec_zone_size(block) : foreign_size(block);
}

/* A fork's child has only the thread that forked: the lock must not be another's at that moment. */
void unexec_malloc_start(void)
{
    pthread_atfork(unexec_heap_lock, unexec_heap_unlock, unexec_heap_unlock_in_child);
    struct unexec_zone_header *header = unexec_reserve_zone();
    if (header != NULL)
        header->is_default = 1;
}
