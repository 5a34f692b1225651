/*
 * zone.c - the allocator of one zone: two-level segregated fit (Masmano, Ripoll, Crespo and Real, "TLSF: a New
 * Dynamic Memory Allocator for Real-Time Systems", 2004), so every operation takes constant time.
 *
 * A block is a tag of 8 bytes and what is handed out, 16-aligned, up to the next block's tag. A tag holds the
 * block's size, tag included, and two bits: whether the block is free, and whether the one before it is. A
 * free block has its neighbours in its list behind its tag, and its size again in its last 8 bytes, where the
 * next block finds it. Two free blocks are never neighbours.
 *
 * The last block ends at `top`. What lies beyond belongs to no block; a block freed there goes back to it.
 * Memory is taken from there only when no free block fits, so the high-water mark stays low.
 *
 * Everything is an offset from the zone's start: a zone means the same at any address, and no word in it, but
 * for what the program put there, looks like a pointer that a dump would have to relocate.
 */
#include "zone-blocks.h"
#include <string.h>

enum {
    /* Blocks of the wanted size's own list that are looked at, before and after all others failed. */
    FIRST_LOOK = 4,
    LAST_LOOK = 64
};

/* Size of the block that holds `bytes`; 0: no zone can have it. */
static uint64_t block_size(size_t bytes)
{
    if (bytes > UNEXEC_ZONE_LARGEST - UNEXEC_ZONE_BLOCKS - 2 * GRAIN)
        return 0;
    uint64_t size = (bytes + TAG + BITS) & ~BITS;
    return size < SMALLEST ? SMALLEST : size;
}

/* The least class all of whose blocks have `size` bytes. */
static struct class class_above(uint64_t size)
{
    if (size >= 1 << FIRST_ROW_BITS)
        size += ((uint64_t)1 << (63 - __builtin_clzll(size) - COLUMN_BITS)) - 1;
    return class_of(size);
}

static void insert(struct unexec_zone *zone, uint64_t tag, uint64_t size)
{
    struct class class = class_of(size);
    uint64_t *list = &zone->list[class.row][class.column];
    *word(zone, tag) = size | TAG_FREE; /* what lies before is in use, else they would be one */
    *word(zone, tag + TAG) = *list;
    *word(zone, tag + 2 * TAG) = 0;
    *word(zone, tag + size - TAG) = size;
    *word(zone, tag + size) |= TAG_AFTER_FREE;
    if (*list != 0)
        *word(zone, *list + 2 * TAG) = tag;
    *list = tag;
    zone->columns[class.row] |= (uint32_t)1 << class.column;
    zone->rows |= (uint32_t)1 << class.row;
}

static void take_out(struct unexec_zone *zone, uint64_t tag)
{
    struct class class = class_of(size_of(zone, tag));
    uint64_t next = *word(zone, tag + TAG), previous = *word(zone, tag + 2 * TAG);
    if (next != 0)
        *word(zone, next + 2 * TAG) = previous;
    if (previous != 0) {
        *word(zone, previous + TAG) = next;
        return;
    }
    zone->list[class.row][class.column] = next;
    if (next != 0)
        return;
    zone->columns[class.row] &= ~((uint32_t)1 << class.column);
    if (zone->columns[class.row] == 0)
        zone->rows &= ~((uint32_t)1 << class.row);
}

/* Looks at the first blocks of the list where some, but not all, may be large enough. */
static uint64_t find_close(struct unexec_zone *zone, uint64_t size, int looks)
{
    struct class class = class_of(size);
    uint64_t tag = zone->list[class.row][class.column];
    while (tag != 0 && looks-- > 0) {
        if (size_of(zone, tag) >= size)
            return tag;
        tag = *word(zone, tag + TAG);
    }
    return 0;
}

static uint64_t find_larger(struct unexec_zone *zone, uint64_t size)
{
    struct class class = class_above(size);
    if (class.row >= ROWS)
        return 0;
    uint32_t columns = zone->columns[class.row] & (UINT32_MAX << class.column);
    if (columns == 0) {
        uint32_t rows = zone->rows & (uint32_t)((uint64_t)UINT32_MAX << (class.row + 1));
        if (rows == 0)
            return 0;
        class.row = (unsigned)__builtin_ctz(rows);
        columns = zone->columns[class.row];
    }
    return zone->list[class.row][__builtin_ctz(columns)];
}

/* Frees a stretch that follows a block in use. */
static void release(struct unexec_zone *zone, uint64_t tag, uint64_t size)
{
    uint64_t next = tag + size;
    if (next != zone->top && (*word(zone, next) & TAG_FREE) != 0) {
        size += size_of(zone, next);
        take_out(zone, next);
        next = tag + size;
    }
    if (next == zone->top)
        zone->top = tag;
    else
        insert(zone, tag, size);
}

/* Lets a block in use, or just taken out, have `size` bytes, and frees its rest. */
static void trim(struct unexec_zone *zone, uint64_t tag, uint64_t size)
{
    uint64_t *at = word(zone, tag), whole = *at & ~BITS;
    uint64_t bits = *at & TAG_AFTER_FREE;
    if (whole - size < SMALLEST) {
        *at = whole | bits;
        return;
    }
    *at = size | bits;
    /* A tag within the old block, of a block in use, for release to be true. */
    *word(zone, tag + size) = whole - size;
    release(zone, tag + size, whole - size);
}

static void count_new(struct unexec_zone *zone, uint64_t size)
{
    zone->header.used += size - TAG;
    if (zone->header.used > zone->most_used)
        zone->most_used = zone->header.used;
}

/* Takes a free block and leaves a block in use of `size` bytes, aligned. */
static uint64_t use_free(struct unexec_zone *zone, uint64_t tag, uint64_t size, uint64_t skip)
{
    uint64_t whole = size_of(zone, tag);
    take_out(zone, tag);
    *word(zone, tag + whole) &= ~TAG_AFTER_FREE; /* there is one: the last block is never free */
    *word(zone, tag) = whole;
    if (skip != 0) {
        *word(zone, tag + skip) = whole - skip;
        insert(zone, tag, skip);
        tag += skip;
    }
    trim(zone, tag, size);
    return tag;
}

/* Bytes from `tag` to a tag whose block is aligned; what is skipped can be a block. */
static uint64_t skip_to_aligned(struct unexec_zone *zone, uint64_t tag, uint64_t alignment)
{
    uint64_t block = (uint64_t)(uintptr_t)block_of(zone, tag);
    uint64_t skip = (alignment - (block & (alignment - 1))) & (alignment - 1);
    if (skip != 0 && skip < SMALLEST)
        skip += alignment; /* 16 only, as blocks are 16-aligned; then alignment is 32 or more */
    return skip;
}

static uint64_t use_top(struct unexec_zone *zone, uint64_t size, uint64_t alignment)
{
    uint64_t tag = zone->top, skip = skip_to_aligned(zone, tag, alignment);
    uint64_t room = zone->header.size - TAG - tag;
    if (skip > room || size > room - skip)
        return 0;
    zone->top = tag + skip + size;
    if (zone->top + TAG > zone->header.high_water)
        zone->header.high_water = zone->top + TAG;
    *word(zone, tag + skip) = size;
    if (skip != 0)
        insert(zone, tag, skip);
    return tag + skip;
}

static uint64_t allocate(struct unexec_zone *zone, size_t bytes, size_t alignment)
{
    uint64_t size = block_size(bytes), tag = 0;
    if (size == 0 || alignment > UNEXEC_ZONE_LARGEST / 2)
        return 0;
    /* What holds an aligned block wherever it lies. */
    uint64_t wanted = alignment <= GRAIN ? size : size + alignment + SMALLEST;
    if (zone->rows != 0 && wanted < UNEXEC_ZONE_LARGEST) {
        tag = find_close(zone, wanted, FIRST_LOOK);
        if (tag == 0)
            tag = find_larger(zone, wanted);
    }
    if (tag == 0) {
        uint64_t fresh = use_top(zone, size, alignment);
        if (fresh != 0) {
            zone->blocks++;
            count_new(zone, size);
            return fresh;
        }
        tag = wanted < UNEXEC_ZONE_LARGEST ? find_close(zone, wanted, LAST_LOOK) : 0;
        if (tag == 0)
            return 0;
    }
    tag = use_free(zone, tag, size, skip_to_aligned(zone, tag, alignment));
    zone->blocks++;
    count_new(zone, size_of(zone, tag));
    return tag;
}

void unexec_zone_make(struct unexec_zone *zone, uint64_t size)
{
    static const char magic[16] = "unexec zone 1";
    memcpy(zone->header.magic, magic, sizeof magic);
    zone->header.size = size;
    zone->header.high_water = UNEXEC_ZONE_BLOCKS;
    zone->top = FIRST_TAG;
}

void unexec_zone_widen(struct unexec_zone *zone, uint64_t size)
{
    if (size > zone->header.size)
        zone->header.size = size;
}

uint64_t unexec_zone_room(size_t bytes, size_t alignment)
{
    uint64_t size = block_size(bytes);
    if (size == 0 || alignment > UNEXEC_ZONE_LARGEST / 2)
        return 0;
    size += UNEXEC_ZONE_BLOCKS + 2 * TAG + (alignment <= GRAIN ? 0 : alignment + SMALLEST);
    return size > UNEXEC_ZONE_LARGEST ? 0 : size;
}

void *unexec_zone_allocate(struct unexec_zone *zone, size_t bytes, size_t alignment)
{
    uint64_t tag = allocate(zone, bytes, alignment);
    return tag == 0 ? NULL : block_of(zone, tag);
}

void *unexec_zone_allocate_zeroed(struct unexec_zone *zone, size_t bytes)
{
    uint64_t touched = zone->header.high_water; /* beyond it, memory is zero as it is */
    uint64_t tag = allocate(zone, bytes, GRAIN);
    if (tag == 0)
        return NULL;
    uint64_t start = tag + TAG, end = tag + size_of(zone, tag);
    if (end > touched)
        end = touched;
    if (start < end)
        memset(word(zone, start), 0, end - start);
    return block_of(zone, tag);
}

int unexec_zone_resize(struct unexec_zone *zone, void *block, size_t bytes)
{
    uint64_t tag = tag_of(zone, block), old = size_of(zone, tag), size = block_size(bytes), next = tag + old;
    if (size == 0)
        return 0;
    if (size > old && next == zone->top) {
        if (size > zone->header.size - TAG - tag)
            return 0;
        *word(zone, tag) += size - old;
        zone->top = tag + size;
        if (zone->top + TAG > zone->header.high_water)
            zone->header.high_water = zone->top + TAG;
    } else if (size > old) {
        if ((*word(zone, next) & TAG_FREE) == 0 || old + size_of(zone, next) < size)
            return 0;
        uint64_t more = size_of(zone, next);
        take_out(zone, next);
        *word(zone, next + more) &= ~TAG_AFTER_FREE;
        *word(zone, tag) += more;
        trim(zone, tag, size);
    } else {
        trim(zone, tag, size);
    }
    zone->header.used -= old - TAG;
    count_new(zone, size_of(zone, tag));
    return 1;
}

void unexec_zone_free(struct unexec_zone *zone, void *block)
{
    uint64_t tag = tag_of(zone, block), size = size_of(zone, tag);
    zone->blocks--;
    zone->header.used -= size - TAG;
    if ((*word(zone, tag) & TAG_AFTER_FREE) != 0) {
        uint64_t before = *word(zone, tag - TAG);
        take_out(zone, tag - before);
        tag -= before;
        size += before;
    }
    release(zone, tag, size);
}

const char *unexec_zone_fault(struct unexec_zone *zone, const void *block)
{
    uint64_t tag = tag_of(zone, block);
    if (tag < FIRST_TAG || tag % GRAIN != TAG)
        return "it is no block's start";
    if (tag >= zone->top)
        return "it has been freed, or was never allocated";
    if ((*word(zone, tag) & TAG_FREE) != 0)
        return "it has been freed already";
    uint64_t size = size_of(zone, tag), before = *word(zone, tag - TAG);
    if (size < SMALLEST || size > zone->top - tag)
        return "its size was overwritten, or it is no block's start";
    if ((*word(zone, tag) & TAG_AFTER_FREE) == 0)
        return NULL;
    if (before < SMALLEST || before > tag - FIRST_TAG || *word(zone, tag - before) != (before | TAG_FREE))
        return "the memory before it was overwritten after it was freed";
    return NULL;
}

size_t unexec_zone_size(const void *block)
{
    /* Another thread may change the bit for the block before, never the size. */
    uint64_t tag = __atomic_load_n((const uint64_t *)block - 1, __ATOMIC_RELAXED);
    return (size_t)((tag & ~BITS) - TAG);
}

size_t unexec_zone_good_size(size_t bytes)
{
    uint64_t size = block_size(bytes);
    return size == 0 ? bytes : (size_t)(size - TAG);
}
