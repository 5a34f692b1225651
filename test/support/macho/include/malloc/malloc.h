/*
 * Minimal Darwin <malloc/malloc.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (libmalloc include/malloc/malloc.h).
 */
#pragma once
#include <mach/mach.h>
#include <stddef.h>
#include <stdlib.h>

struct malloc_introspection_t;

typedef struct _malloc_zone_t {
    void *reserved1;
    void *reserved2;
    size_t (*size)(struct _malloc_zone_t *zone, const void *ptr);
    void *(*malloc)(struct _malloc_zone_t *zone, size_t size);
    void *(*calloc)(struct _malloc_zone_t *zone, size_t num_items, size_t size);
    void *(*valloc)(struct _malloc_zone_t *zone, size_t size);
    void (*free)(struct _malloc_zone_t *zone, void *ptr);
    void *(*realloc)(struct _malloc_zone_t *zone, void *ptr, size_t size);
    void (*destroy)(struct _malloc_zone_t *zone);
    const char *zone_name;
    unsigned (*batch_malloc)(struct _malloc_zone_t *zone, size_t size, void **results, unsigned num_requested);
    void (*batch_free)(struct _malloc_zone_t *zone, void **to_be_freed, unsigned num_to_be_freed);
    struct malloc_introspection_t *introspect;
    unsigned version;
    void *(*memalign)(struct _malloc_zone_t *zone, size_t alignment, size_t size);        /* version >= 5 */
    void (*free_definite_size)(struct _malloc_zone_t *zone, void *ptr, size_t size);      /* version >= 6 */
    size_t (*pressure_relief)(struct _malloc_zone_t *zone, size_t goal);                  /* version >= 8 */
    boolean_t (*claimed_address)(struct _malloc_zone_t *zone, void *ptr);                 /* version >= 10 */
} malloc_zone_t;

typedef struct { vm_address_t address; vm_size_t size; } vm_range_t;
typedef struct {
    unsigned blocks_in_use;
    size_t size_in_use;
    size_t max_size_in_use;
    size_t size_allocated;
} malloc_statistics_t;
typedef kern_return_t memory_reader_t(task_t, vm_address_t, vm_size_t, void **);
typedef void vm_range_recorder_t(task_t, void *, unsigned type, vm_range_t *, unsigned);
typedef void print_task_printer_t(const char *fmt, ...);
#define MALLOC_PTR_IN_USE_RANGE_TYPE 1
#define MALLOC_PTR_REGION_RANGE_TYPE 2
#define MALLOC_ADMIN_REGION_RANGE_TYPE 4

typedef struct malloc_introspection_t {
    kern_return_t (*enumerator)(task_t, void *, unsigned type_mask, vm_address_t zone_address,
                                memory_reader_t reader, vm_range_recorder_t recorder);
    size_t (*good_size)(malloc_zone_t *zone, size_t size);
    boolean_t (*check)(malloc_zone_t *zone);
    void (*print)(malloc_zone_t *zone, boolean_t verbose);
    void (*log)(malloc_zone_t *zone, void *address);
    void (*force_lock)(malloc_zone_t *zone);
    void (*force_unlock)(malloc_zone_t *zone);
    void (*statistics)(malloc_zone_t *zone, malloc_statistics_t *stats);
    boolean_t (*zone_locked)(malloc_zone_t *zone);
    boolean_t (*enable_discharge_checking)(malloc_zone_t *zone);                          /* version >= 7 */
    void (*disable_discharge_checking)(malloc_zone_t *zone);
    void (*discharge)(malloc_zone_t *zone, void *memory);
    void *enumerate_unavailable_without_blocks;
    void (*reinit_lock)(malloc_zone_t *zone);                                             /* version >= 9 */
    void (*print_task)(task_t task, unsigned level, vm_address_t zone_address,
                       memory_reader_t reader, print_task_printer_t printer);             /* version >= 11 */
    void (*task_statistics)(task_t task, vm_address_t zone_address, memory_reader_t reader,
                            malloc_statistics_t *stats);                                  /* version >= 12 */
} malloc_introspection_t;

#ifdef __cplusplus
extern "C" {
#endif
malloc_zone_t *malloc_default_zone(void);
malloc_zone_t *malloc_default_purgeable_zone(void);
malloc_zone_t *malloc_create_zone(vm_size_t start_size, unsigned flags);
void malloc_destroy_zone(malloc_zone_t *zone);
void malloc_zone_register(malloc_zone_t *zone);
void malloc_zone_unregister(malloc_zone_t *zone);
kern_return_t malloc_get_all_zones(task_t task, memory_reader_t reader, vm_address_t **addresses, unsigned *count);
void *malloc_zone_malloc(malloc_zone_t *zone, size_t size);
void *malloc_zone_calloc(malloc_zone_t *zone, size_t num_items, size_t size);
void *malloc_zone_valloc(malloc_zone_t *zone, size_t size);
void *malloc_zone_realloc(malloc_zone_t *zone, void *ptr, size_t size);
void *malloc_zone_memalign(malloc_zone_t *zone, size_t alignment, size_t size);
void malloc_zone_free(malloc_zone_t *zone, void *ptr);
unsigned malloc_zone_batch_malloc(malloc_zone_t *zone, size_t size, void **results, unsigned num_requested);
void malloc_zone_batch_free(malloc_zone_t *zone, void **to_be_freed, unsigned num);
malloc_zone_t *malloc_zone_from_ptr(const void *ptr);
size_t malloc_size(const void *ptr);
size_t malloc_good_size(size_t size);
size_t malloc_zone_pressure_relief(malloc_zone_t *zone, size_t goal);
boolean_t malloc_zone_check(malloc_zone_t *zone);
void malloc_zone_statistics(malloc_zone_t *zone, malloc_statistics_t *stats);
void malloc_set_zone_name(malloc_zone_t *zone, const char *name);
const char *malloc_get_zone_name(malloc_zone_t *zone);
#ifdef __cplusplus
}
#endif
