/*
 * zone-blocks.h - what a zone is made of; see zone.c.
 */
#ifndef UNEXEC_ZONE_BLOCKS_H
#define UNEXEC_ZONE_BLOCKS_H

#include "zone.h"

enum {
    GRAIN = 16,
    TAG = 8,
    SMALLEST = 32, /* tag, two links, and the size at the end */
    COLUMN_BITS = 5,
    COLUMNS = 1 << COLUMN_BITS,
    FIRST_ROW_BITS = 9, /* blocks of less than 512 bytes have a list for each size */
    ROWS = 36 - FIRST_ROW_BITS + 1,
    FIRST_TAG = UNEXEC_ZONE_BLOCKS + TAG
};
static const uint64_t TAG_FREE = 1, TAG_AFTER_FREE = 2, BITS = GRAIN - 1;

struct unexec_zone {
    struct unexec_zone_header header;
    uint64_t top;                 /* where the next tag behind all blocks would be */
    uint64_t blocks;              /* in use */
    uint64_t most_used;           /* the greatest `used` so far */
    uint32_t rows;                /* bit r: row r has a free block */
    uint32_t columns[ROWS];       /* bit c: so has column c of that row */
    uint64_t list[ROWS][COLUMNS]; /* the first free block's tag; 0: none */
};
_Static_assert(sizeof(struct unexec_zone) <= UNEXEC_ZONE_NOTES, "the zone's state leaves room for the notes");

struct class {
    unsigned row, column;
};

static inline uint64_t *word(struct unexec_zone *zone, uint64_t at)
{
    return (uint64_t *)((char *)zone + at);
}

static inline uint64_t size_of(struct unexec_zone *zone, uint64_t tag)
{
    return *word(zone, tag) & ~BITS;
}

static inline void *block_of(struct unexec_zone *zone, uint64_t tag)
{
    return (char *)zone + tag + TAG;
}

static inline uint64_t tag_of(struct unexec_zone *zone, const void *block)
{
    return (uint64_t)((const char *)block - (const char *)zone) - TAG;
}

static inline struct class class_of(uint64_t size)
{
    if (size < 1 << FIRST_ROW_BITS)
        return (struct class){0, (unsigned)(size / GRAIN)};
    unsigned bits = 63 - (unsigned)__builtin_clzll(size);
    return (struct class){bits - FIRST_ROW_BITS + 1, (unsigned)(size >> (bits - COLUMN_BITS)) & (COLUMNS - 1)};
}

#endif /* UNEXEC_ZONE_BLOCKS_H */
