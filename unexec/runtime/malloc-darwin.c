/*
 * malloc-darwin.c - a malloc zone of ours, made the default one, so that malloc of every library comes here.
 *
 * What was allocated before belongs to the system's zones and goes back to them: free asks each zone's `size`
 * function whose a block is. libmalloc takes the first registered zone for the default one, and unregistering
 * a zone moves another to its place; so the first one is unregistered and registered again, until ours is
 * first (after jemalloc, src/zone.c; GCL, o/unexmacosx.c does the like).
 *
 * Without a reserve nothing is registered, and the program runs on the system's malloc.
 */
#include "unexec.h"
#include "zone.h"
#include <errno.h>
#include <mach/mach.h>
#include <malloc/malloc.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

enum { MOST_ZONES = 64, RANGES = 64 };

/* The first member is what the system sees; the rest is for the enumerator, which may read another process. */
struct unexec_malloc_zone {
    malloc_zone_t system;
    vm_address_t reserve;
};
static struct unexec_malloc_zone malloc_zone;

static void *or_no_memory(void *block)
{
    if (block == NULL)
        errno = ENOMEM;
    return block;
}

static size_t zone_size(malloc_zone_t *zone, const void *block)
{
    (void)zone;
    return unexec_heap_size(block);
}

static void *zone_malloc(malloc_zone_t *zone, size_t bytes)
{
    (void)zone;
    return or_no_memory(unexec_heap_allocate(bytes, 1));
}

static void *zone_calloc(malloc_zone_t *zone, size_t count, size_t size)
{
    size_t bytes;
    (void)zone;
    if (__builtin_mul_overflow(count, size, &bytes))
        return or_no_memory(NULL);
    return or_no_memory(unexec_heap_allocate_zeroed(bytes));
}

static void *zone_memalign(malloc_zone_t *zone, size_t alignment, size_t bytes)
{
    (void)zone;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0)
        return NULL;
    return or_no_memory(unexec_heap_allocate(bytes, alignment));
}

static void *zone_valloc(malloc_zone_t *zone, size_t bytes)
{
    return zone_memalign(zone, (size_t)getpagesize(), bytes);
}

static void zone_free(malloc_zone_t *zone, void *block)
{
    (void)zone;
    if (block != NULL && !unexec_heap_free(block))
        unexec_heap_die("it belongs to no zone", block);
}

static void zone_free_definite_size(malloc_zone_t *zone, void *block, size_t bytes)
{
    (void)bytes;
    zone_free(zone, block);
}

/* A size of 0 gives the smallest block, as the system's zones do. */
static void *zone_realloc(malloc_zone_t *zone, void *block, size_t bytes)
{
    if (block == NULL)
        return zone_malloc(zone, bytes);
    return or_no_memory(unexec_heap_reallocate(block, bytes));
}

static unsigned zone_batch_malloc(malloc_zone_t *zone, size_t bytes, void **blocks, unsigned count)
{
    unsigned made = 0;
    while (made < count && (blocks[made] = zone_malloc(zone, bytes)) != NULL)
        made++;
    return made;
}

static void zone_batch_free(malloc_zone_t *zone, void **blocks, unsigned count)
{
    while (count-- > 0) {
        zone_free(zone, blocks[count]);
        blocks[count] = NULL;
    }
}

static size_t zone_pressure_relief(malloc_zone_t *zone, size_t goal)
{
    (void)zone, (void)goal;
    return 0;
}

/* The program cannot do without it. */
static void zone_destroy(malloc_zone_t *zone)
{
    unexec_heap_die("the zone of the reserve cannot be destroyed", zone);
}

static size_t zone_good_size(malloc_zone_t *zone, size_t bytes)
{
    (void)zone;
    return unexec_zone_good_size(bytes);
}

static boolean_t zone_check(malloc_zone_t *zone)
{
    (void)zone;
    return unexec_zone_check(NULL) == NULL;
}

static void zone_print(malloc_zone_t *zone, boolean_t verbose)
{
    (void)zone, (void)verbose;
}

static void zone_log(malloc_zone_t *zone, void *address)
{
    (void)zone, (void)address;
}

static void zone_force_lock(malloc_zone_t *zone)
{
    (void)zone;
    unexec_heap_lock();
}

static void zone_force_unlock(malloc_zone_t *zone)
{
    (void)zone;
    unexec_heap_unlock();
}

static void zone_reinit_lock(malloc_zone_t *zone)
{
    (void)zone;
    unexec_heap_unlock_in_child();
}

static boolean_t zone_locked(malloc_zone_t *zone)
{
    (void)zone;
    if (!unexec_heap_try_lock())
        return 1;
    unexec_heap_unlock();
    return 0;
}

static void add_counts(struct unexec_zone *zone, void *argument)
{
    malloc_statistics_t *statistics = argument;
    struct unexec_zone_counts counts = unexec_zone_count(zone);
    statistics->blocks_in_use += (unsigned)counts.blocks;
    statistics->size_in_use += counts.used;
    statistics->max_size_in_use += counts.most_used;
    statistics->size_allocated += counts.size;
}

static void zone_statistics(malloc_zone_t *zone, malloc_statistics_t *statistics)
{
    (void)zone;
    memset(statistics, 0, sizeof *statistics);
    unexec_heap_lock();
    unexec_heap_each(add_counts, statistics);
    unexec_heap_unlock();
}

/* The system's own reader is for other processes; NULL means this one. */
static kern_return_t read_own(task_t task, vm_address_t address, vm_size_t size, void **local)
{
    (void)task, (void)size;
    *local = (void *)address;
    return KERN_SUCCESS;
}

/* Tells `recorder` the blocks of the reserve's zone, of this or another process (heap(1), leaks(1)). */
static kern_return_t zone_enumerate(task_t task, void *context, unsigned types, vm_address_t zone_address,
                                    memory_reader_t reader, vm_range_recorder_t recorder)
{
    struct unexec_malloc_zone *zone;
    struct unexec_zone_header *header;
    void *local;
    if (reader == NULL)
        reader = read_own;
    kern_return_t status = reader(task, zone_address, sizeof *zone, &local);
    if (status != KERN_SUCCESS)
        return status;
    zone = local;
    vm_address_t reserve = zone->reserve;
    if ((status = reader(task, reserve, UNEXEC_ZONE_BLOCKS, &local)) != KERN_SUCCESS)
        return status;
    header = local;
    vm_range_t region = {reserve, header->size}, admin = {reserve, UNEXEC_ZONE_BLOCKS};
    if ((types & MALLOC_PTR_REGION_RANGE_TYPE) != 0)
        recorder(task, context, MALLOC_PTR_REGION_RANGE_TYPE, &region, 1);
    if ((types & MALLOC_ADMIN_REGION_RANGE_TYPE) != 0)
        recorder(task, context, MALLOC_ADMIN_REGION_RANGE_TYPE, &admin, 1);
    if ((types & MALLOC_PTR_IN_USE_RANGE_TYPE) == 0)
        return KERN_SUCCESS;
    if ((status = reader(task, reserve, header->high_water, &local)) != KERN_SUCCESS)
        return status;
    vm_range_t ranges[RANGES];
    unsigned count = 0;
    uint64_t at = 0, size;
    int is_free;
    while (unexec_zone_next(local, &at, &size, &is_free)) {
        if (is_free)
            continue;
        ranges[count++] = (vm_range_t){reserve + at + sizeof(uint64_t), size - sizeof(uint64_t)};
        if (count == RANGES) {
            recorder(task, context, MALLOC_PTR_IN_USE_RANGE_TYPE, ranges, count);
            count = 0;
        }
    }
    if (count > 0)
        recorder(task, context, MALLOC_PTR_IN_USE_RANGE_TYPE, ranges, count);
    return KERN_SUCCESS;
}

static malloc_introspection_t introspection = {
    .enumerator = zone_enumerate,
    .good_size = zone_good_size,
    .check = zone_check,
    .print = zone_print,
    .log = zone_log,
    .force_lock = zone_force_lock,
    .force_unlock = zone_force_unlock,
    .statistics = zone_statistics,
    .zone_locked = zone_locked,
    .reinit_lock = zone_reinit_lock,
};

static malloc_zone_t *first_zone(void)
{
    vm_address_t *zones = NULL;
    unsigned count = 0;
    /* malloc_default_zone gives a stand-in that is in no list. */
    if (malloc_get_all_zones(mach_task_self(), NULL, &zones, &count) == KERN_SUCCESS && count > 0)
        return (malloc_zone_t *)zones[0];
    return malloc_default_zone();
}

void unexec_malloc_start(void)
{
    struct unexec_zone_header *zone = unexec_reserve_zone();
    if (zone == NULL)
        return;
    /* Made from blocks of the default zone, which it takes for one of its own kind: so while that is true. */
    malloc_default_purgeable_zone();
    memset(&malloc_zone, 0, sizeof malloc_zone); /* the system's marks of an earlier life too */
    malloc_zone.system = (malloc_zone_t){
        .size = zone_size,
        .malloc = zone_malloc,
        .calloc = zone_calloc,
        .valloc = zone_valloc,
        .free = zone_free,
        .realloc = zone_realloc,
        .destroy = zone_destroy,
        .zone_name = "unexec",
        .batch_malloc = zone_batch_malloc,
        .batch_free = zone_batch_free,
        .introspect = &introspection,
        .version = 9, /* reinit_lock; what later versions add is not asked for */
        .memalign = zone_memalign,
        .free_definite_size = zone_free_definite_size,
        .pressure_relief = zone_pressure_relief,
    };
    malloc_zone.reserve = (vm_address_t)zone;
    malloc_zone_register(&malloc_zone.system);
    for (int i = 0; i < MOST_ZONES; i++) {
        malloc_zone_t *first = first_zone();
        if (first == &malloc_zone.system) {
            zone->is_default = 1;
            return;
        }
        malloc_zone_unregister(first);
        malloc_zone_register(first);
    }
}
