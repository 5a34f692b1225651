/*
 * The program's malloc zones, by what libmalloc-317 src/malloc.c does with them:
 *   - malloc() goes to malloc_zones[0]; malloc_default_zone() is a virtual zone, not in the list, which
 *     passes everything on to malloc_zones[0];
 *   - malloc_zone_register() appends; malloc_zone_unregister() puts the last zone into the hole;
 *   - the owner of a block is found by each zone's size(), in the order of the list;
 *   - fork() takes all zones' locks through their introspection.
 * The first zone is a system zone.
 */
#include "zones.h"
#include <pthread.h>
#include <stdio.h>
#include "loader.h"

#define MAX_ZONES 64
struct malloc_zone *zones[MAX_ZONES];
unsigned nzones;
static struct malloc_zone virtual_default_zone;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void malloc_zone_register(struct malloc_zone *zone)
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

void malloc_zone_unregister(struct malloc_zone *zone)
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

int malloc_get_all_zones(unsigned task, void *reader, uintptr_t **addresses, unsigned *count)
{
    (void)task, (void)reader;
    *addresses = (uintptr_t *)zones, *count = nzones;
    return 0;
}

struct malloc_zone *owner_of(const void *ptr, size_t *size)
{
    for (unsigned i = 0; i < nzones; i++)
        if ((*size = zones[i]->size(zones[i], ptr)) != 0) return zones[i];
    return NULL;
}

struct malloc_zone *first_zone(void)
{
    if (nzones == 0) fail("malloc: no zone is registered");
    return zones[0];
}

/* The functions of the zone that malloc_default_zone() gives. */
static size_t default_size(struct malloc_zone *z, const void *p) { (void)z; return first_zone()->size(first_zone(), p); }
static void *default_malloc(struct malloc_zone *z, size_t n) { (void)z; return first_zone()->malloc(first_zone(), n); }
static void *default_calloc(struct malloc_zone *z, size_t n, size_t size) { (void)z; return first_zone()->calloc(first_zone(), n, size); }
static void *default_valloc(struct malloc_zone *z, size_t n) { (void)z; return first_zone()->valloc(first_zone(), n); }
static void default_free(struct malloc_zone *z, void *p) { (void)z; first_zone()->free(first_zone(), p); }
static void *default_realloc(struct malloc_zone *z, void *p, size_t n) { (void)z; return first_zone()->realloc(first_zone(), p, n); }
static void default_destroy(struct malloc_zone *z) { (void)z; first_zone()->destroy(first_zone()); }
static unsigned default_batch_malloc(struct malloc_zone *z, size_t n, void **p, unsigned count)
{
    (void)z;
    return first_zone()->batch_malloc ? first_zone()->batch_malloc(first_zone(), n, p, count) : 0;
}
static void default_batch_free(struct malloc_zone *z, void **p, unsigned count) { (void)z; first_zone()->batch_free(first_zone(), p, count); }
static void *default_memalign(struct malloc_zone *z, size_t alignment, size_t n)
{
    (void)z;
    return first_zone()->version >= 5 && first_zone()->memalign ? first_zone()->memalign(first_zone(), alignment, n) : NULL;
}
void give_back(struct malloc_zone *zone, void *ptr, size_t size)
{
    if (zone->version >= 6 && zone->free_definite_size) zone->free_definite_size(zone, ptr, size);
    else zone->free(zone, ptr);
}
static void default_free_definite_size(struct malloc_zone *z, void *p, size_t n) { (void)z; give_back(first_zone(), p, n); }
static size_t default_pressure_relief(struct malloc_zone *z, size_t goal)
{
    (void)z;
    return first_zone()->version >= 8 && first_zone()->pressure_relief ? first_zone()->pressure_relief(first_zone(), goal) : 0;
}
static int default_claimed_address(struct malloc_zone *z, void *p)
{
    (void)z;
    return first_zone()->version >= 10 && first_zone()->claimed_address ? first_zone()->claimed_address(first_zone(), p) : 1;
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

struct malloc_zone *malloc_default_zone(void) { return &virtual_default_zone; }

struct malloc_zone *malloc_create_zone(size_t start_size, unsigned flags)
{
    (void)start_size, (void)flags;
    struct malloc_zone *zone = new_system_zone("");
    malloc_zone_register(zone);
    return zone;
}

struct malloc_zone *malloc_default_purgeable_zone(void)
{
    static struct malloc_zone *purgeable;
    if (purgeable == NULL) malloc_zone_register(purgeable = new_system_zone("DefaultPurgeableMallocZone"));
    return purgeable;
}

void malloc_destroy_zone(struct malloc_zone *zone)
{
    malloc_zone_unregister(zone);
    zone->destroy(zone);
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
