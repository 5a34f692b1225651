/*
 * <malloc/malloc.h> and malloc's part of <stdlib.h> and <string.h>, as libmalloc-317 src/malloc.c passes them
 * on to zones: free(), realloc() and malloc_size() ask for the owner, and end the program when there is
 * none. Blocks of the C library of Linux are none of the program's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "loader.h"
#include "shims.h"
#include "zones.h"

static void give_up(const void *ptr, const char *what) __attribute__((noreturn));

static void *or_errno(void *ptr)
{
    if (ptr == NULL) errno = ENOMEM;
    return ptr;
}

static void *zone_malloc(struct malloc_zone *zone, size_t size) { return zone->malloc(zone, size); }
static void *zone_calloc(struct malloc_zone *zone, size_t n, size_t size) { return zone->calloc(zone, n, size); }
static void *zone_valloc(struct malloc_zone *zone, size_t size) { return zone->valloc(zone, size); }
static void *zone_realloc(struct malloc_zone *zone, void *ptr, size_t size) { return zone->realloc(zone, ptr, size); }
static void zone_free(struct malloc_zone *zone, void *ptr) { zone->free(zone, ptr); }
static void *zone_memalign(struct malloc_zone *zone, size_t alignment, size_t size)
{
    if (zone->version < 5 || zone->memalign == NULL) return NULL;
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return NULL;
    return zone->memalign(zone, alignment, size);
}
static unsigned zone_batch_malloc(struct malloc_zone *zone, size_t size, void **results, unsigned count)
{
    return zone->batch_malloc ? zone->batch_malloc(zone, size, results, count) : 0;
}
static void zone_batch_free(struct malloc_zone *zone, void **ptrs, unsigned count)
{
    if (zone->batch_free) zone->batch_free(zone, ptrs, count);
    else while (count > 0) zone->free(zone, ptrs[--count]);
}
static size_t zone_pressure_relief(struct malloc_zone *zone, size_t goal)
{
    if (zone != NULL) return zone->version >= 8 && zone->pressure_relief ? zone->pressure_relief(zone, goal) : 0;
    size_t total = 0;
    FOR_EACH_ZONE(one) total += zone_pressure_relief(*one, goal);
    return total;
}
static int zone_check(struct malloc_zone *zone)
{
    if (zone != NULL) return zone->introspect->check(zone);
    FOR_EACH_ZONE(one)
        if (!(*one)->introspect->check(*one)) return 0;
    return 1;
}
static void zone_statistics(struct malloc_zone *zone, struct malloc_statistics *sum)
{
    if (zone != NULL) {
        zone->introspect->statistics(zone, sum);
        return;
    }
    memset(sum, 0, sizeof *sum);
    FOR_EACH_ZONE(one) {
        struct malloc_statistics its = {0};
        (*one)->introspect->statistics(*one, &its);
        sum->blocks_in_use += its.blocks_in_use, sum->size_in_use += its.size_in_use;
        sum->max_size_in_use += its.max_size_in_use, sum->size_allocated += its.size_allocated;
    }
}
static void set_zone_name(struct malloc_zone *zone, const char *name) { zone->zone_name = name ? strdup(name) : NULL; }
static const char *get_zone_name(struct malloc_zone *zone) { return zone->zone_name; }

void *program_malloc(size_t size) { return or_errno(first_zone()->malloc(first_zone(), size)); }
static void *program_calloc(size_t n, size_t size) { return or_errno(first_zone()->calloc(first_zone(), n, size)); }
static void *program_valloc(size_t size) { return or_errno(first_zone()->valloc(first_zone(), size)); }

void program_free(void *ptr)
{
    size_t size;
    if (ptr == NULL) return;
    struct malloc_zone *zone = owner_of(ptr, &size);
    if (zone == NULL) give_up(ptr, "pointer being freed was not allocated");
    give_back(zone, ptr, size);
}

static void *program_realloc(void *ptr, size_t size)
{
    if (ptr == NULL) return program_malloc(size);
    size_t old;
    struct malloc_zone *zone = owner_of(ptr, &old);
    if (zone == NULL) give_up(ptr, "pointer being realloc'd was not allocated");
    return or_errno(zone->realloc(zone, ptr, size));
}

static void *program_reallocf(void *ptr, size_t size)
{
    void *result = program_realloc(ptr, size);
    if (result == NULL) program_free(ptr);
    return result;
}

static int posix_memalign_(void **result, size_t alignment, size_t size)
{
    if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
    void *ptr = zone_memalign(first_zone(), alignment, size);
    if (ptr == NULL) return ENOMEM;
    *result = ptr;
    return 0;
}

/* size has to be a multiple of alignment, as libmalloc's aligned_alloc demands. */
static void *aligned_alloc_(size_t alignment, size_t size)
{
    if (alignment == 0 || size % alignment != 0) {
        errno = EINVAL;
        return NULL;
    }
    return or_errno(zone_memalign(first_zone(), alignment < sizeof(void *) ? sizeof(void *) : alignment, size));
}

static size_t malloc_size(const void *ptr)
{
    size_t size = 0;
    return ptr != NULL && owner_of(ptr, &size) != NULL ? size : 0;
}
static struct malloc_zone *malloc_zone_from_ptr(const void *ptr)
{
    size_t size;
    return ptr != NULL ? owner_of(ptr, &size) : NULL;
}
static size_t malloc_good_size(size_t size) { return first_zone()->introspect->good_size(first_zone(), size); }

static char *program_strndup(const char *string, size_t most)
{
    size_t length = strnlen(string, most);
    char *copy = program_malloc(length + 1);
    if (copy == NULL) return NULL;
    memcpy(copy, string, length);
    copy[length] = 0;
    return copy;
}
static char *program_strdup(const char *string) { return program_strndup(string, strlen(string)); }

static void give_up(const void *ptr, const char *what)
{
    fflush(NULL);
    fprintf(stderr, "%s: malloc: *** error for object %p: %s\n", image.path, ptr, what);
    abort();
}

const struct shim malloc_shims[] = {
    {"_malloc", program_malloc}, {"_calloc", program_calloc}, {"_realloc", program_realloc},
    {"_reallocf", program_reallocf}, {"_free", program_free}, {"_valloc", program_valloc},
    {"_aligned_alloc", aligned_alloc_}, {"_posix_memalign", posix_memalign_}, {"_strdup", program_strdup},
    {"_strndup", program_strndup}, {"_malloc_default_zone", malloc_default_zone},
    {"_malloc_default_purgeable_zone", malloc_default_purgeable_zone}, {"_malloc_create_zone", malloc_create_zone},
    {"_malloc_destroy_zone", malloc_destroy_zone}, {"_malloc_zone_register", malloc_zone_register},
    {"_malloc_zone_unregister", malloc_zone_unregister}, {"_malloc_get_all_zones", malloc_get_all_zones},
    {"_malloc_zone_malloc", zone_malloc}, {"_malloc_zone_calloc", zone_calloc}, {"_malloc_zone_valloc", zone_valloc},
    {"_malloc_zone_realloc", zone_realloc}, {"_malloc_zone_memalign", zone_memalign}, {"_malloc_zone_free", zone_free},
    {"_malloc_zone_batch_malloc", zone_batch_malloc}, {"_malloc_zone_batch_free", zone_batch_free},
    {"_malloc_zone_from_ptr", malloc_zone_from_ptr}, {"_malloc_size", malloc_size},
    {"_malloc_good_size", malloc_good_size}, {"_malloc_zone_pressure_relief", zone_pressure_relief},
    {"_malloc_zone_check", zone_check}, {"_malloc_zone_statistics", zone_statistics},
    {"_malloc_set_zone_name", set_zone_name}, {"_malloc_get_zone_name", get_zone_name}, {NULL, NULL},
};
