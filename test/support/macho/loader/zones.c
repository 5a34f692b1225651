/*
 * The program's malloc: Apple's dispatch over zones, by what libmalloc-317 src/malloc.c does.
 *   - malloc() goes to malloc_zones[0]; malloc_default_zone() is a virtual zone, not in the list, which
 *     passes everything on to malloc_zones[0];
 *   - malloc_zone_register() appends; malloc_zone_unregister() puts the last zone into the hole;
 *   - free(), realloc() and malloc_size() ask each zone's size() for the owner, in the order of the list;
 *     free() ends the program when there is none, and calls free_definite_size() from version 6 on;
 *   - fork() takes all zones' locks through their introspection.
 * The first zone is a system zone. Blocks of the C library of Linux are none of the program's.
 */
#include "loader.h"
#include "shims.h"
#include "zones.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ZONES 64
static struct malloc_zone *zones[MAX_ZONES], virtual_default_zone;
static unsigned nzones;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void give_up(const void *ptr, const char *what) __attribute__((noreturn));

static void malloc_zone_register(struct malloc_zone *zone)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < nzones; i++)
        if (zones[i] == zone) {
            fprintf(stderr, "malloc: *** Attempted to register zone more than once: %p\n", (void *)zone);
            pthread_mutex_unlock(&lock);
            return;
        }
    if (nzones == MAX_ZONES) fail("malloc_zone_register: more than %d zones", MAX_ZONES);
    zones[nzones++] = zone;
    pthread_mutex_unlock(&lock);
}

static void malloc_zone_unregister(struct malloc_zone *zone)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < nzones; i++)
        if (zones[i] == zone) {
            zones[i] = zones[--nzones];
            pthread_mutex_unlock(&lock);
            return;
        }
    pthread_mutex_unlock(&lock);
    fprintf(stderr, "malloc: *** malloc_zone_unregister() failed for %p\n", (void *)zone);
}

static int malloc_get_all_zones(unsigned task, void *reader, uintptr_t **addresses, unsigned *count)
{
    (void)task, (void)reader;
    *addresses = (uintptr_t *)zones, *count = nzones;
    return 0;
}

static struct malloc_zone *owner(const void *ptr, size_t *size)
{
    for (unsigned i = 0; i < nzones; i++)
        if ((*size = zones[i]->size(zones[i], ptr)) != 0) return zones[i];
    return NULL;
}

/* Of the zone that malloc_default_zone() gives. */
static struct malloc_zone *first(void)
{
    if (nzones == 0) fail("malloc: no zone is registered");
    return zones[0];
}
static size_t default_size(struct malloc_zone *z, const void *p) { (void)z; return first()->size(first(), p); }
static void *default_malloc(struct malloc_zone *z, size_t n) { (void)z; return first()->malloc(first(), n); }
static void *default_calloc(struct malloc_zone *z, size_t n, size_t size) { (void)z; return first()->calloc(first(), n, size); }
static void *default_valloc(struct malloc_zone *z, size_t n) { (void)z; return first()->valloc(first(), n); }
static void default_free(struct malloc_zone *z, void *p) { (void)z; first()->free(first(), p); }
static void *default_realloc(struct malloc_zone *z, void *p, size_t n) { (void)z; return first()->realloc(first(), p, n); }
static void default_destroy(struct malloc_zone *z) { (void)z; first()->destroy(first()); }
static unsigned default_batch_malloc(struct malloc_zone *z, size_t n, void **p, unsigned count)
{
    (void)z;
    return first()->batch_malloc ? first()->batch_malloc(first(), n, p, count) : 0;
}
static void default_batch_free(struct malloc_zone *z, void **p, unsigned count) { (void)z; first()->batch_free(first(), p, count); }
static void *default_memalign(struct malloc_zone *z, size_t alignment, size_t n)
{
    (void)z;
    return first()->version >= 5 && first()->memalign ? first()->memalign(first(), alignment, n) : NULL;
}
static void free_in(struct malloc_zone *zone, void *ptr, size_t size)
{
    if (zone->version >= 6 && zone->free_definite_size) zone->free_definite_size(zone, ptr, size);
    else zone->free(zone, ptr);
}
static void default_free_definite_size(struct malloc_zone *z, void *p, size_t n) { (void)z; free_in(first(), p, n); }
static size_t default_pressure_relief(struct malloc_zone *z, size_t goal)
{
    (void)z;
    return first()->version >= 8 && first()->pressure_relief ? first()->pressure_relief(first(), goal) : 0;
}
static int default_claimed_address(struct malloc_zone *z, void *p)
{
    (void)z;
    return first()->version >= 10 && first()->claimed_address ? first()->claimed_address(first(), p) : 1;
}

void start_zones(void)
{
    virtual_default_zone = (struct malloc_zone){
        .size = default_size, .malloc = default_malloc, .calloc = default_calloc, .valloc = default_valloc,
        .free = default_free, .realloc = default_realloc, .destroy = default_destroy,
        .zone_name = "DefaultMallocZone", .batch_malloc = default_batch_malloc, .batch_free = default_batch_free,
        .version = 10, .memalign = default_memalign, .free_definite_size = default_free_definite_size,
        .pressure_relief = default_pressure_relief, .claimed_address = default_claimed_address,
    };
    zones[nzones++] = new_system_zone("DefaultMallocZone");
    virtual_default_zone.introspect = zones[0]->introspect;
}

static struct malloc_zone *malloc_default_zone(void) { return &virtual_default_zone; }

static struct malloc_zone *malloc_create_zone(size_t start_size, unsigned flags)
{
    (void)start_size, (void)flags;
    struct malloc_zone *zone = new_system_zone("");
    malloc_zone_register(zone);
    return zone;
}

static struct malloc_zone *malloc_default_purgeable_zone(void)
{
    static struct malloc_zone *purgeable;
    if (purgeable == NULL) malloc_zone_register(purgeable = new_system_zone("DefaultPurgeableMallocZone"));
    return purgeable;
}

static void malloc_destroy_zone(struct malloc_zone *zone)
{
    malloc_zone_unregister(zone);
    zone->destroy(zone);
}

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
    for (unsigned i = 0; i < nzones; i++) total += zone_pressure_relief(zones[i], goal);
    return total;
}
static int zone_check(struct malloc_zone *zone)
{
    if (zone != NULL) return zone->introspect->check(zone);
    for (unsigned i = 0; i < nzones; i++)
        if (!zones[i]->introspect->check(zones[i])) return 0;
    return 1;
}
static void zone_statistics(struct malloc_zone *zone, struct malloc_statistics *sum)
{
    if (zone != NULL) {
        zone->introspect->statistics(zone, sum);
        return;
    }
    memset(sum, 0, sizeof *sum);
    for (unsigned i = 0; i < nzones; i++) {
        struct malloc_statistics one = {0};
        zones[i]->introspect->statistics(zones[i], &one);
        sum->blocks_in_use += one.blocks_in_use, sum->size_in_use += one.size_in_use;
        sum->max_size_in_use += one.max_size_in_use, sum->size_allocated += one.size_allocated;
    }
}
static void set_zone_name(struct malloc_zone *zone, const char *name) { zone->zone_name = name ? strdup(name) : NULL; }
static const char *get_zone_name(struct malloc_zone *zone) { return zone->zone_name; }

void *program_malloc(size_t size) { return or_errno(first()->malloc(first(), size)); }
static void *program_calloc(size_t n, size_t size) { return or_errno(first()->calloc(first(), n, size)); }
static void *program_valloc(size_t size) { return or_errno(first()->valloc(first(), size)); }

void program_free(void *ptr)
{
    size_t size;
    if (ptr == NULL) return;
    struct malloc_zone *zone = owner(ptr, &size);
    if (zone == NULL) give_up(ptr, "pointer being freed was not allocated");
    free_in(zone, ptr, size);
}

static void *program_realloc(void *ptr, size_t size)
{
    if (ptr == NULL) return program_malloc(size);
    size_t old;
    struct malloc_zone *zone = owner(ptr, &old);
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
    void *ptr = zone_memalign(first(), alignment, size);
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
    return or_errno(zone_memalign(first(), alignment < sizeof(void *) ? sizeof(void *) : alignment, size));
}

static size_t malloc_size(const void *ptr)
{
    size_t size = 0;
    return ptr != NULL && owner(ptr, &size) != NULL ? size : 0;
}
static struct malloc_zone *malloc_zone_from_ptr(const void *ptr)
{
    size_t size;
    return ptr != NULL ? owner(ptr, &size) : NULL;
}
static size_t malloc_good_size(size_t size) { return first()->introspect->good_size(first(), size); }

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

void lock_zones(void)
{
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; i < nzones; i++) zones[i]->introspect->force_lock(zones[i]);
}
void unlock_zones(void)
{
    for (unsigned i = 0; i < nzones; i++) zones[i]->introspect->force_unlock(zones[i]);
    pthread_mutex_unlock(&lock);
}
/* In the child of fork(). */
void reinit_zones(void)
{
    for (unsigned i = 0; i < nzones; i++)
        if (zones[i]->version >= 9 && zones[i]->introspect->reinit_lock) zones[i]->introspect->reinit_lock(zones[i]);
        else zones[i]->introspect->force_unlock(zones[i]);
    pthread_mutex_init(&lock, NULL);
}

const struct shim zone_shims[] = {
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
