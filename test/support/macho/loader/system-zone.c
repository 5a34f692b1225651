/*
 * A zone of the system, which a program finds there before its own: blocks in memory of the loader, at
 * addresses that differ from run to run, and of sizes rounded to 16 as in Darwin. What is freed is filled
 * with 0x55 and used again last in, first out. A block starts with its size and a check word made of its
 * address, so that size() knows foreign pointers, as all zones' must.
 */
#include "loader.h"
#include "zones.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define REACH (1ul << 30)   /* addresses set aside; qemu 7.2 takes a while for each page of them */
#define STEP (1ul << 20)    /* made writable at a time */
#define CHECK 0x5afe5afe5afe5afeul

struct head { size_t size; uint64_t check; };   /* check: CHECK ^ address of the block, inverted when free */
struct free_block { struct free_block *next; };
struct system_zone {
    struct malloc_zone zone;                     /* first: a pointer to it is the zone's */
    pthread_mutex_t lock;
    uint8_t *start, *top, *writable, *end;
    struct free_block *free[64];                 /* by the power of two that the size reaches */
    struct malloc_statistics statistics;
};

static struct head *head_of(const void *ptr) { return (struct head *)ptr - 1; }
static uint64_t check_of(const void *ptr) { return CHECK ^ (uint64_t)ptr; }

static size_t size_of(struct malloc_zone *zone, const void *ptr)
{
    struct system_zone *z = (void *)zone;
    const uint8_t *at = ptr;
    if (at < z->start + sizeof(struct head) || at >= z->top || (uintptr_t)at % 16 != 0) return 0;
    return head_of(ptr)->check == check_of(ptr) ? head_of(ptr)->size : 0;
}

static size_t good_size(struct malloc_zone *zone, size_t size)
{
    (void)zone;
    return size == 0 ? 16 : ROUND_UP(size, 16);
}

static unsigned class_of(size_t size) { return 63 - __builtin_clzl(size); }

static void *take_free(struct system_zone *z, size_t size, size_t alignment)
{
    for (struct free_block **at = &z->free[class_of(size)]; *at != NULL; at = &(*at)->next) {
        struct free_block *block = *at;
        if (head_of(block)->size < size || (uintptr_t)block % alignment != 0) continue;
        *at = block->next;
        head_of(block)->check = check_of(block);
        return block;
    }
    return NULL;
}

static void *take_new(struct system_zone *z, size_t size, size_t alignment)
{
    uint8_t *block = (uint8_t *)ROUND_UP((uintptr_t)z->top + sizeof(struct head), alignment);
    if (size > (size_t)(z->end - block)) return NULL;
    uint8_t *top = block + size, *writable = z->start + ROUND_UP((size_t)(top - z->start), STEP);
    if (writable > z->writable && mprotect(z->writable, writable - z->writable, PROT_READ | PROT_WRITE) != 0) return NULL;
    if (writable > z->writable) z->writable = writable;
    z->top = top;
    *head_of(block) = (struct head){size, check_of(block)};
    return block;
}

static void *allocate(struct malloc_zone *zone, size_t alignment, size_t wanted, bool cleared)
{
    struct system_zone *z = (void *)zone;
    if (wanted > REACH) return NULL;
    size_t size = good_size(zone, wanted);
    pthread_mutex_lock(&z->lock);
    void *block = take_free(z, size, alignment < 16 ? 16 : alignment);
    bool used = block != NULL;
    if (!used) block = take_new(z, size, alignment < 16 ? 16 : alignment);
    if (block != NULL) {
        z->statistics.blocks_in_use++, z->statistics.size_in_use += head_of(block)->size;
        if (z->statistics.size_in_use > z->statistics.max_size_in_use)
            z->statistics.max_size_in_use = z->statistics.size_in_use;
    }
    pthread_mutex_unlock(&z->lock);
    if (block != NULL && used && cleared) memset(block, 0, head_of(block)->size);
    return block;
}

static void *zone_malloc(struct malloc_zone *zone, size_t size) { return allocate(zone, 16, size, false); }
static void *zone_memalign(struct malloc_zone *zone, size_t alignment, size_t size)
{
    return allocate(zone, alignment, size, false);
}
static void *zone_valloc(struct malloc_zone *zone, size_t size) { return allocate(zone, PAGE_SIZE, size, false); }
static void *zone_calloc(struct malloc_zone *zone, size_t count, size_t size)
{
    size_t total;
    return __builtin_mul_overflow(count, size, &total) ? NULL : allocate(zone, 16, total, true);
}

static void zone_free(struct malloc_zone *zone, void *ptr)
{
    struct system_zone *z = (void *)zone;
    if (ptr == NULL) return;
    size_t size = size_of(zone, ptr);
    if (size == 0) fail("malloc: %p was given back to a zone that it is not of", ptr);
    memset(ptr, 0x55, size);
    pthread_mutex_lock(&z->lock);
    struct free_block *block = ptr;
    head_of(block)->check = ~check_of(block);
    block->next = z->free[class_of(size)];
    z->free[class_of(size)] = block;
    z->statistics.blocks_in_use--, z->statistics.size_in_use -= size;
    pthread_mutex_unlock(&z->lock);
}

static void zone_free_definite_size(struct malloc_zone *zone, void *ptr, size_t size)
{
    if (size_of(zone, ptr) != size) fail("malloc: %p has not the size 0x%lx that is said of it", ptr, size);
    zone_free(zone, ptr);
}

static void *zone_realloc(struct malloc_zone *zone, void *ptr, size_t size)
{
    if (ptr == NULL) return zone_malloc(zone, size);
    size_t old = size_of(zone, ptr);
    if (old == 0) fail("malloc: %p was given to realloc in a zone that it is not of", ptr);
    if (size <= old) return ptr;
    void *block = zone_malloc(zone, size);
    if (block == NULL) return NULL;
    memcpy(block, ptr, old);
    zone_free(zone, ptr);
    return block;
}

static unsigned zone_batch_malloc(struct malloc_zone *zone, size_t size, void **results, unsigned count)
{
    unsigned made = 0;
    while (made < count && (results[made] = zone_malloc(zone, size)) != NULL) made++;
    return made;
}
static void zone_batch_free(struct malloc_zone *zone, void **ptrs, unsigned count)
{
    while (count > 0) zone_free(zone, ptrs[--count]);
}
static size_t zone_pressure_relief(struct malloc_zone *zone, size_t goal) { (void)zone, (void)goal; return 0; }
static int zone_claimed_address(struct malloc_zone *zone, void *ptr)
{
    struct system_zone *z = (void *)zone;
    return (uint8_t *)ptr >= z->start && (uint8_t *)ptr < z->end;
}
static void zone_destroy(struct malloc_zone *zone)
{
    struct system_zone *z = (void *)zone;
    munmap(z->start, z->end - z->start);
    free(z);
}

static int check(struct malloc_zone *zone) { (void)zone; return 1; }
static void print(struct malloc_zone *zone, int verbose) { (void)zone, (void)verbose; }
static void log_address(struct malloc_zone *zone, void *address) { (void)zone, (void)address; }
static void force_lock(struct malloc_zone *zone) { pthread_mutex_lock(&((struct system_zone *)zone)->lock); }
static void force_unlock(struct malloc_zone *zone) { pthread_mutex_unlock(&((struct system_zone *)zone)->lock); }
static void reinit_lock(struct malloc_zone *zone) { pthread_mutex_init(&((struct system_zone *)zone)->lock, NULL); }
static void statistics(struct malloc_zone *zone, struct malloc_statistics *out)
{
    struct system_zone *z = (void *)zone;
    *out = z->statistics;
    out->size_allocated = z->writable - z->start;
}
static int zone_locked(struct malloc_zone *zone)
{
    struct system_zone *z = (void *)zone;
    if (pthread_mutex_trylock(&z->lock) != 0) return 1;
    pthread_mutex_unlock(&z->lock);
    return 0;
}

static struct malloc_introspection introspection = {
    .good_size = good_size, .check = check, .print = print, .log = log_address, .force_lock = force_lock,
    .force_unlock = force_unlock, .statistics = statistics, .zone_locked = zone_locked, .reinit_lock = reinit_lock,
};

struct malloc_zone *new_system_zone(const char *name)
{
    struct system_zone *z = calloc(1, sizeof *z);
    void *start = mmap(NULL, REACH, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (z == NULL || start == MAP_FAILED) fail("no memory for a malloc zone");
    pthread_mutex_init(&z->lock, NULL);
    z->start = z->top = z->writable = start, z->end = z->start + REACH;
    z->zone = (struct malloc_zone){
        .size = size_of, .malloc = zone_malloc, .calloc = zone_calloc, .valloc = zone_valloc, .free = zone_free,
        .realloc = zone_realloc, .destroy = zone_destroy, .zone_name = name, .batch_malloc = zone_batch_malloc,
        .batch_free = zone_batch_free, .introspect = &introspection, .version = 12, .memalign = zone_memalign,
        .free_definite_size = zone_free_definite_size, .pressure_relief = zone_pressure_relief,
        .claimed_address = zone_claimed_address,
    };
    return &z->zone;
}
