/*
 * heap.c - what malloc is made of, on every system: the zone in the reserve, one lock, and more zones in
 * mapped memory for what the reserve has no room for, or for all where there is no reserve.
 *
 * It works from the first call, before any constructor and before `unexec prepare` gave the program a
 * reserve. `heap` is a variable like others and comes back from a dump as it was, so every call first asks
 * whether it still belongs to this life.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "unexec.h"
#include "zone.h"
#include "lock.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MOST_OVERFLOW_ZONES = 64 };
#define OVERFLOW_ZONE_SIZE ((uint64_t)64 << 20)

struct overflow_zone {
    struct unexec_zone *zone;
    uint64_t size;
};

static struct {
    uint64_t life; /* generation + 1 of the life that all this belongs to */
    unexec_lock lock;
    unsigned overflow_zones; /* slots that were ever used */
    struct overflow_zone overflow[MOST_OVERFLOW_ZONES];
} heap;

static struct unexec_zone *reserve_zone(void)
{
    return (struct unexec_zone *)unexec_reserve_zone();
}

static struct unexec_zone_header *header_of(struct unexec_zone *zone)
{
    return (struct unexec_zone_header *)zone;
}

static uint64_t this_life(void)
{
    struct unexec_zone *zone = reserve_zone();
    return zone == NULL ? 1 : (uint64_t)header_of(zone)->generation + 1;
}

int unexec_heap_begin_life(void)
{
    struct unexec_zone *zone = reserve_zone();
    uint64_t life = this_life();
    if (heap.life == life)
        return zone != NULL;
    memset(&heap, 0, sizeof heap);
    if (zone != NULL) {
        struct unexec_zone_header *header = header_of(zone);
        uint64_t size = *(volatile uint64_t *)&unexec_reserve.size;
        if (size > UNEXEC_ZONE_LARGEST)
            size = UNEXEC_ZONE_LARGEST;
        if (header->magic[0] == '\0')
            unexec_zone_make(zone, size);
        else
            unexec_zone_widen(zone, size);
        header->overflow = 0;
        header->page_size = (uint64_t)getpagesize();
        header->is_default = 0;
        header->busy = 0;
    }
    heap.life = life;
    return zone != NULL;
}

void unexec_heap_lock(void)
{
    /* A life's first call comes from the loader or the first constructor, when there is one thread. */
    if (heap.life != this_life())
        unexec_heap_begin_life();
    unexec_lock_take(&heap.lock);
    struct unexec_zone *zone = reserve_zone();
    if (zone != NULL)
        header_of(zone)->busy = 1;
}

int unexec_heap_try_lock(void)
{
    if (!unexec_lock_try(&heap.lock))
        return 0;
    struct unexec_zone *zone = reserve_zone();
    if (zone != NULL)
        header_of(zone)->busy = 1;
    return 1;
}

void unexec_heap_unlock(void)
{
    struct unexec_zone *zone = reserve_zone();
    if (zone != NULL)
        header_of(zone)->busy = 0;
    unexec_lock_give(&heap.lock);
}

void unexec_heap_unlock_in_child(void)
{
    struct unexec_zone *zone = reserve_zone();
    if (zone != NULL)
        header_of(zone)->busy = 0;
    unexec_lock_reset(&heap.lock);
}

void unexec_heap_die(const char *reason, const void *block)
{
    static const char digits[] = "0123456789abcdef";
    char text[160] = "unexec runtime: the pointer 0x";
    size_t at = strlen(text);
    for (int shift = 60; shift >= 0; shift -= 4)
        text[at++] = digits[(uintptr_t)block >> shift & 15];
    memcpy(text + at, " is wrong: ", 11);
    at += 11;
    size_t length = strlen(reason);
    if (length > sizeof text - at - 1)
        length = sizeof text - at - 1;
    memcpy(text + at, reason, length);
    at += length;
    text[at++] = '\n';
    if (write(2, text, at) < 0) {
        /* Nobody to tell. */
    }
    abort();
}

static int lies_in(const void *block, const struct unexec_zone *zone, uint64_t size)
{
    return zone != NULL && (uintptr_t)block - (uintptr_t)zone < size;
}

/* The zone that a block lies in; NULL: none of ours. */
static struct unexec_zone *zone_of(const void *block, struct overflow_zone **overflow)
{
    struct unexec_zone *zone = reserve_zone();
    *overflow = NULL;
    if (zone != NULL && lies_in(block, zone, header_of(zone)->size))
        return zone;
    for (unsigned i = 0; i < heap.overflow_zones; i++)
        if (lies_in(block, heap.overflow[i].zone, heap.overflow[i].size)) {
            *overflow = &heap.overflow[i];
            return heap.overflow[i].zone;
        }
    return NULL;
}

static struct unexec_zone *zone_of_used(const void *block, struct overflow_zone **overflow)
{
    struct unexec_zone *zone = zone_of(block, overflow);
    const char *fault = zone == NULL ? "it belongs to no zone" : unexec_zone_fault(zone, block);
    if (fault != NULL) {
        unexec_heap_unlock(); /* a handler of SIGABRT may allocate */
        unexec_heap_die(fault, block);
    }
    return zone;
}

static void count_overflow(void)
{
    struct unexec_zone *zone = reserve_zone();
    if (zone == NULL)
        return;
    uint64_t used = 0;
    for (unsigned i = 0; i < heap.overflow_zones; i++)
        if (heap.overflow[i].zone != NULL)
            used += header_of(heap.overflow[i].zone)->used;
    header_of(zone)->overflow = used;
}

/* A new zone with room for one such block. Later ones are larger, so that there are never many. */
static struct unexec_zone *add_overflow_zone(size_t bytes, size_t alignment)
{
    unsigned slot = 0;
    while (slot < heap.overflow_zones && heap.overflow[slot].zone != NULL)
        slot++;
    uint64_t least = unexec_zone_room(bytes, alignment);
    if (slot == MOST_OVERFLOW_ZONES || least == 0)
        return NULL;
    least = (least + 0xffff) & ~(uint64_t)0xffff;
    uint64_t size = OVERFLOW_ZONE_SIZE << (slot / 6);
    if (size < least)
        size = least;
    int flags = MAP_PRIVATE | MAP_ANON;
#ifdef MAP_NORESERVE
    flags |= MAP_NORESERVE;
#endif
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) /* a limit, perhaps */
        memory = mmap(NULL, size = least, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    if (slot == heap.overflow_zones)
        heap.overflow_zones++;
    heap.overflow[slot] = (struct overflow_zone){memory, size};
    unexec_zone_make(memory, size);
    return memory;
}

static void *allocate_anywhere(size_t bytes, size_t alignment, int zeroed)
{
    struct unexec_zone *zone = reserve_zone();
    void *block = NULL;
    if (zone != NULL)
        block = zeroed ? unexec_zone_allocate_zeroed(zone, bytes) : unexec_zone_allocate(zone, bytes, alignment);
    if (block != NULL)
        return block;
    for (unsigned i = 0; i < heap.overflow_zones && block == NULL; i++)
        if ((zone = heap.overflow[i].zone) != NULL)
            block = zeroed ? unexec_zone_allocate_zeroed(zone, bytes) : unexec_zone_allocate(zone, bytes, alignment);
    if (block == NULL && (zone = add_overflow_zone(bytes, alignment)) != NULL)
        block = zeroed ? unexec_zone_allocate_zeroed(zone, bytes) : unexec_zone_allocate(zone, bytes, alignment);
    count_overflow();
    return block;
}

/* Gives the memory of an overflow zone without blocks back. */
static void drop(struct overflow_zone *overflow)
{
    int error = errno;
    munmap(overflow->zone, overflow->size);
    errno = error;
    overflow->zone = NULL;
}

/*
 * What is not used any more is zero. A block that is written over in part (a short string where a pointer was)
 * would hold words of both, which no comparison of two runs explains and whose values may look like pointers.
 * Words that are zero are only read: a page that was never touched stays so.
 */
static void clear(void *block, size_t from)
{
    size_t end = unexec_zone_size(block);
    char *bytes = block;
    for (; from < end && from % sizeof(uint64_t) != 0; from++)
        bytes[from] = 0;
    for (; from < end; from += sizeof(uint64_t))
        if (*(uint64_t *)(bytes + from) != 0)
            *(uint64_t *)(bytes + from) = 0;
}

static void free_in(struct unexec_zone *zone, struct overflow_zone *overflow, void *block)
{
    clear(block, 0);
    unexec_zone_free(zone, block);
    if (overflow == NULL)
        return;
    count_overflow();
    if (overflow != &heap.overflow[0] && header_of(zone)->used == 0) /* the first one is kept for what comes next */
        drop(overflow);
}

void *unexec_heap_allocate(size_t bytes, size_t alignment)
{
    unexec_heap_lock();
    void *block = allocate_anywhere(bytes, alignment, 0);
    unexec_heap_unlock();
    return block;
}

void *unexec_heap_allocate_zeroed(size_t bytes)
{
    unexec_heap_lock();
    void *block = allocate_anywhere(bytes, 1, 1);
    unexec_heap_unlock();
    return block;
}

void *unexec_heap_reallocate(void *block, size_t bytes)
{
    struct overflow_zone *overflow;
    unexec_heap_lock();
    struct unexec_zone *zone = zone_of_used(block, &overflow);
    clear(block, bytes);
    if (unexec_zone_resize(zone, block, bytes)) {
        if (overflow != NULL)
            count_overflow();
        unexec_heap_unlock();
        return block;
    }
    void *moved = allocate_anywhere(bytes, 1, 0);
    if (moved != NULL) {
        size_t size = unexec_zone_size(block);
        memcpy(moved, block, size < bytes ? size : bytes);
        free_in(zone, overflow, block);
    }
    unexec_heap_unlock();
    return moved;
}

int unexec_heap_free(void *block)
{
    struct overflow_zone *overflow;
    unexec_heap_lock();
    struct unexec_zone *zone = zone_of(block, &overflow);
    if (zone != NULL)
        free_in(zone_of_used(block, &overflow), overflow, block);
    unexec_heap_unlock();
    return zone != NULL;
}

/* Whether a block needs a closer look, without the lock: no overflow zone, no block outside the reserve. */
static int may_own(const void *block)
{
    struct unexec_zone *zone = reserve_zone();
    return (zone != NULL && lies_in(block, zone, header_of(zone)->size)) ||
           __atomic_load_n(&heap.overflow_zones, __ATOMIC_RELAXED) != 0;
}

int unexec_heap_owns(const void *block)
{
    struct overflow_zone *overflow;
    if (!may_own(block))
        return 0;
    unexec_heap_lock();
    int owns = zone_of(block, &overflow) != NULL;
    unexec_heap_unlock();
    return owns;
}

size_t unexec_heap_size(const void *block)
{
    struct overflow_zone *overflow;
    if (!may_own(block))
        return 0;
    unexec_heap_lock();
    struct unexec_zone *zone = zone_of(block, &overflow);
    size_t size = zone == NULL || unexec_zone_fault(zone, block) != NULL ? 0 : unexec_zone_size(block);
    unexec_heap_unlock();
    return size;
}

void unexec_heap_each(void (*visit)(struct unexec_zone *, void *), void *argument)
{
    struct unexec_zone *zone = reserve_zone();
    if (zone != NULL)
        visit(zone, argument);
    for (unsigned i = 0; i < heap.overflow_zones; i++)
        if (heap.overflow[i].zone != NULL)
            visit(heap.overflow[i].zone, argument);
}

void unexec_zone_scrub(void)
{
    unexec_heap_lock();
    struct unexec_zone *zone = reserve_zone();
    if (zone != NULL)
        unexec_zone_clean(zone);
    /* Nothing that leads out of the image stays in `heap`, unless blocks are really there. */
    for (unsigned i = 0; i < heap.overflow_zones; i++)
        if (heap.overflow[i].zone != NULL && header_of(heap.overflow[i].zone)->used == 0)
            drop(&heap.overflow[i]);
    unexec_heap_unlock();
}

struct check {
    const char *fault;
    uint64_t where;
};

static void check_zone(struct unexec_zone *zone, void *argument)
{
    struct check *check = argument;
    if (check->fault == NULL)
        check->fault = unexec_zone_walk(zone, &check->where);
}

const char *unexec_zone_check(unsigned long *where)
{
    struct check check = {NULL, 0};
    unexec_heap_lock();
    unexec_heap_each(check_zone, &check);
    unexec_heap_unlock();
    if (where != NULL)
        *where = (unsigned long)check.where;
    return check.fault;
}
