/*
 * malloc_zone_t and malloc_introspection_t of macOS 11 (libmalloc-317 include/malloc/malloc.h): the layout
 * that programs fill in for zones of their own. Fields behind claimed_address are never read.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct malloc_statistics { unsigned blocks_in_use; size_t size_in_use, max_size_in_use, size_allocated; };

struct malloc_zone;
struct malloc_introspection {
    void *enumerator;
    size_t (*good_size)(struct malloc_zone *, size_t);
    int (*check)(struct malloc_zone *);
    void (*print)(struct malloc_zone *, int verbose);
    void (*log)(struct malloc_zone *, void *);
    void (*force_lock)(struct malloc_zone *);
    void (*force_unlock)(struct malloc_zone *);
    void (*statistics)(struct malloc_zone *, struct malloc_statistics *);
    int (*zone_locked)(struct malloc_zone *);
    void *discharging[4];                                            /* version >= 7 */
    void (*reinit_lock)(struct malloc_zone *);                       /* version >= 9 */
    void *print_task, *task_statistics;                              /* version >= 11, 12 */
};

struct malloc_zone {
    void *reserved1, *reserved2;
    size_t (*size)(struct malloc_zone *, const void *);
    void *(*malloc)(struct malloc_zone *, size_t);
    void *(*calloc)(struct malloc_zone *, size_t, size_t);
    void *(*valloc)(struct malloc_zone *, size_t);
    void (*free)(struct malloc_zone *, void *);
    void *(*realloc)(struct malloc_zone *, void *, size_t);
    void (*destroy)(struct malloc_zone *);
    const char *zone_name;
    unsigned (*batch_malloc)(struct malloc_zone *, size_t, void **, unsigned);
    void (*batch_free)(struct malloc_zone *, void **, unsigned);
    struct malloc_introspection *introspect;
    unsigned version;
    void *(*memalign)(struct malloc_zone *, size_t alignment, size_t);      /* version >= 5 */
    void (*free_definite_size)(struct malloc_zone *, void *, size_t);       /* version >= 6 */
    size_t (*pressure_relief)(struct malloc_zone *, size_t goal);           /* version >= 8 */
    int (*claimed_address)(struct malloc_zone *, void *);                   /* version >= 10 */
};

/* The list of zones, and what libmalloc does with it. */
struct malloc_zone *first_zone(void);
struct malloc_zone *owner_of(const void *ptr, size_t *size);
/* free() of a block whose zone and size are known. */
void give_back(struct malloc_zone *, void *ptr, size_t size);
void malloc_zone_register(struct malloc_zone *);
void malloc_zone_unregister(struct malloc_zone *);
int malloc_get_all_zones(unsigned task, void *reader, uintptr_t **addresses, unsigned *count);
struct malloc_zone *malloc_default_zone(void);
struct malloc_zone *malloc_default_purgeable_zone(void);
struct malloc_zone *malloc_create_zone(size_t start_size, unsigned flags);
void malloc_destroy_zone(struct malloc_zone *);

extern struct malloc_zone *zones[];
extern unsigned nzones;
#define FOR_EACH_ZONE(at) for (struct malloc_zone **at = zones; at < zones + nzones; at++)
