/*
 * zone.h - the reserve, the zone in it, and what the files of the runtime say to each other.
 *
 * `struct unexec_reserve` and `struct unexec_zone_header` are read and written by the unexec command
 * (unexec prepare, unexec --style restart): they are a format, of little-endian numbers, and do not change.
 */
#ifndef UNEXEC_ZONE_H
#define UNEXEC_ZONE_H

#include <stddef.h>
#include <stdint.h>

#define UNEXEC_INTERNAL __attribute__((visibility("hidden")))

/*
 * Where the reserve is: written by `unexec prepare`, which finds it by its symbol or, in a stripped file, by
 * its magic, which is therefore nowhere else in the program.
 */
struct unexec_reserve {
    char magic[16];      /* "unexec reserve 1", without a NUL */
    int64_t offset;      /* from this struct to the first byte of the reserve, so that no fixup is needed; 0: none */
    uint64_t size;       /* bytes, a multiple of 16 KiB */
    void (*start)(void); /* the constructor that runs again in every life; all others ran in the first one */
    /*
     * Where the program ends in .data, in .bss and in the list of constructors, if the runtime is the last object
     * before the libraries. A static program has libraries behind that, the C library for one, whose variables
     * belong to one life: they begin anew, and their constructors run again.
     */
    char *last_data;
    char *last_bss;
    void (*last_start)(void); /* NULL in Mach-O files, which have no libraries in them */
};
extern struct unexec_reserve unexec_reserve;

/* The start of the reserve. */
struct unexec_zone_header {
    char magic[16];       /* "unexec zone 1" and NULs; zeros until the first allocation */
    uint64_t size;        /* of the reserve, bytes */
    uint64_t high_water;  /* bytes from the start of the reserve; beyond them all is zero; a multiple of 16 */
    uint64_t used;        /* bytes handed out now, as malloc_usable_size counts them */
    uint64_t overflow;    /* bytes handed out now that lie elsewhere because the reserve was full: cannot be dumped */
    uint64_t page_size;   /* of the system, bytes */
    uint32_t generation;  /* 0 in the first life; the writer of an image adds 1 */
    uint32_t is_default;  /* 1 while malloc comes here */
    uint32_t busy;        /* 1 while a thread is inside the allocator: not the moment for a dump */
    uint32_t unused;
};

/*
 * The zone in the reserve; NULL: there is none. The compiler must neither take `offset` for the 0 that it sees,
 * nor the result for a part of `unexec_reserve`.
 */
static inline struct unexec_zone_header *unexec_reserve_zone(void)
{
    int64_t offset = *(const volatile int64_t *)&unexec_reserve.offset;
    uintptr_t address = (uintptr_t)&unexec_reserve + (uintptr_t)offset;
    __asm__("" : "+r"(address));
    return offset == 0 ? NULL : (struct unexec_zone_header *)address;
}

/* The allocator's state ends before UNEXEC_ZONE_NOTES; from there to UNEXEC_ZONE_BLOCKS is the tool's. */
#define UNEXEC_ZONE_NOTES 8192
#define UNEXEC_ZONE_BLOCKS 16384
/* Greatest size of a zone that is used, bytes; what is beyond stays untouched. */
#define UNEXEC_ZONE_LARGEST ((uint64_t)1 << 36)

/* zone.c, zone-walk.c: one zone. Offsets are from its start; the caller holds a lock, except for unexec_zone_size. */
struct unexec_zone;
struct unexec_zone_counts {
    uint64_t blocks, used, most_used, size;
};
/* Makes a zone of zeroed memory, 16-aligned. */
UNEXEC_INTERNAL void unexec_zone_make(struct unexec_zone *, uint64_t size);
/* Lets an existing zone have `size` bytes, if that is not less than what it had. */
UNEXEC_INTERNAL void unexec_zone_widen(struct unexec_zone *, uint64_t size);
/* Bytes that a new zone needs to hold one block of `bytes`; 0: none is large enough. */
UNEXEC_INTERNAL uint64_t unexec_zone_room(size_t bytes, size_t alignment);
/* NULL where there is no room. `alignment` is a power of two. */
UNEXEC_INTERNAL void *unexec_zone_allocate(struct unexec_zone *, size_t bytes, size_t alignment);
/* As above, all zero. */
UNEXEC_INTERNAL void *unexec_zone_allocate_zeroed(struct unexec_zone *, size_t bytes);
/* Changes a block where it is; 0 where that cannot be. */
UNEXEC_INTERNAL int unexec_zone_resize(struct unexec_zone *, void *block, size_t bytes);
UNEXEC_INTERNAL void unexec_zone_free(struct unexec_zone *, void *block);
/* What is wrong with a pointer that should be a block in use; NULL: nothing. */
UNEXEC_INTERNAL const char *unexec_zone_fault(struct unexec_zone *, const void *block);
/* Bytes at `block`, which is in use. Needs no lock. */
UNEXEC_INTERNAL size_t unexec_zone_size(const void *block);
/* What malloc_usable_size would say of a new block of `bytes`. */
UNEXEC_INTERNAL size_t unexec_zone_good_size(size_t bytes);
/* Zeroes what is free and lowers the high-water mark to the last block's end. */
UNEXEC_INTERNAL void unexec_zone_clean(struct unexec_zone *);
/* Walks everything. Returns what is wrong, and where, or NULL. */
UNEXEC_INTERNAL const char *unexec_zone_walk(struct unexec_zone *, uint64_t *where);
/* The first block behind `*at` (0: the first one) in a copy or the zone itself; 0 at the end. */
UNEXEC_INTERNAL int unexec_zone_next(const struct unexec_zone *, uint64_t *at, uint64_t *size, int *is_free);
UNEXEC_INTERNAL struct unexec_zone_counts unexec_zone_count(const struct unexec_zone *);

/* heap.c: the zone in the reserve and those that take its overflow, for all threads. */
UNEXEC_INTERNAL void *unexec_heap_allocate(size_t bytes, size_t alignment);
UNEXEC_INTERNAL void *unexec_heap_allocate_zeroed(size_t bytes);
/* NULL where there is no memory; the block is then as it was. */
UNEXEC_INTERNAL void *unexec_heap_reallocate(void *block, size_t bytes);
/* 0: the block is not ours, and nothing was done. */
UNEXEC_INTERNAL int unexec_heap_free(void *block);
UNEXEC_INTERNAL int unexec_heap_owns(const void *block);
/* Of any pointer; 0: no block of ours starts there. */
UNEXEC_INTERNAL size_t unexec_heap_size(const void *block);
/* Enters this life, if nobody has: what belongs to the last one is forgotten. Returns whether there is a reserve. */
UNEXEC_INTERNAL int unexec_heap_begin_life(void);
UNEXEC_INTERNAL void unexec_heap_lock(void);
UNEXEC_INTERNAL void unexec_heap_unlock(void);
/* In the child of a fork, whose parent's thread held the lock. */
UNEXEC_INTERNAL void unexec_heap_unlock_in_child(void);
/* Whether it could be taken. */
UNEXEC_INTERNAL int unexec_heap_try_lock(void);
UNEXEC_INTERNAL void unexec_heap_each(void (*visit)(struct unexec_zone *, void *), void *argument);
UNEXEC_INTERNAL __attribute__((noreturn)) void unexec_heap_die(const char *reason, const void *block);

/* malloc-elf.c or malloc-darwin.c: sends malloc to the heap, once in each life. */
UNEXEC_INTERNAL void unexec_malloc_start(void);

/* reserve.c */
void unexec_zone_start(void);

#endif /* UNEXEC_ZONE_H */
