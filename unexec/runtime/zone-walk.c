/*
 * zone-walk.c - a zone from its first block to its last: for those who list blocks, clean what is free, or want to
 * know whether a stray write has hit it.
 */
#include "zone-blocks.h"
#include <string.h>

void unexec_zone_clean(struct unexec_zone *zone)
{
    uint64_t at = 0, size;
    int is_free;
    while (unexec_zone_next(zone, &at, &size, &is_free))
        if (is_free)
            memset(word(zone, at + 3 * TAG), 0, size - 4 * TAG);
    uint64_t end = zone->top == FIRST_TAG ? UNEXEC_ZONE_BLOCKS : zone->top + TAG;
    if (zone->header.high_water > zone->top)
        memset(word(zone, zone->top), 0, zone->header.high_water - zone->top);
    zone->header.high_water = end;
}

int unexec_zone_next(const struct unexec_zone *zone, uint64_t *at, uint64_t *size, int *is_free)
{
    uint64_t next = *at == 0 ? FIRST_TAG : *at + (*(const uint64_t *)((const char *)zone + *at) & ~BITS);
    if (next >= zone->top || zone->top > zone->header.high_water)
        return 0;
    uint64_t tag = *(const uint64_t *)((const char *)zone + next);
    *size = tag & ~BITS;
    if (*size < SMALLEST || *size > zone->top - next)
        return 0;
    *is_free = (tag & TAG_FREE) != 0;
    *at = next;
    return 1;
}

struct unexec_zone_counts unexec_zone_count(const struct unexec_zone *zone)
{
    return (struct unexec_zone_counts){zone->blocks, zone->header.used, zone->most_used, zone->header.size};
}

/* The walk's counts, which the lists must agree with. */
struct walked {
    uint64_t blocks, used, free;
};

static const char *walk_blocks(struct unexec_zone *zone, struct walked *walked, uint64_t *where)
{
    uint64_t free_before = 0;
    for (uint64_t at = FIRST_TAG; at != zone->top; at += size_of(zone, at)) {
        uint64_t tag = *word(zone, at), size = tag & ~BITS;
        *where = at;
        if (size < SMALLEST || size > zone->top - at || (tag & BITS & ~(TAG_FREE | TAG_AFTER_FREE)) != 0)
            return "a block's tag was overwritten";
        if (((tag & TAG_AFTER_FREE) != 0) != (free_before != 0))
            return "a block's tag is wrong about the block before it";
        if (free_before != 0 && *word(zone, at - TAG) != free_before)
            return "the end of a free block was overwritten";
        if ((tag & TAG_FREE) != 0) {
            if (free_before != 0)
                return "two free blocks are neighbours";
            if (at + size == zone->top)
                return "the last block is free";
            walked->free++;
        } else {
            walked->blocks++;
            walked->used += size - TAG;
        }
        free_before = (tag & TAG_FREE) != 0 ? size : 0;
    }
    return NULL;
}

static const char *walk_lists(struct unexec_zone *zone, struct walked *walked, uint64_t *where)
{
    uint64_t listed = 0;
    for (unsigned row = 0; row < ROWS; row++)
        for (unsigned column = 0; column < COLUMNS; column++) {
            uint64_t at = zone->list[row][column], previous = 0;
            if ((at != 0) != (zone->columns[row] >> column & 1) || (zone->columns[row] != 0) != (zone->rows >> row & 1)) {
                *where = (uint64_t)((char *)&zone->list[row][column] - (char *)zone);
                return "a list and its bit differ";
            }
            for (; at != 0; previous = at, at = *word(zone, at + TAG)) {
                *where = at;
                if (at < FIRST_TAG || at >= zone->top || at % GRAIN != TAG || (*word(zone, at) & TAG_FREE) == 0)
                    return "a list of free blocks leads elsewhere";
                struct class class = class_of(size_of(zone, at));
                if (class.row != row || class.column != column || *word(zone, at + 2 * TAG) != previous)
                    return "a list of free blocks was overwritten";
                if (++listed > walked->free)
                    return "a list of free blocks has more of them than the zone";
            }
        }
    *where = 0;
    return listed == walked->free ? NULL : "a free block is in no list";
}

const char *unexec_zone_walk(struct unexec_zone *zone, uint64_t *where)
{
    struct walked walked = {0, 0, 0};
    *where = 0;
    if (zone->top < FIRST_TAG || zone->top % GRAIN != TAG || zone->header.high_water > zone->header.size)
        return "the zone's header was overwritten";
    if (zone->top > FIRST_TAG && zone->top + TAG > zone->header.high_water)
        return "a block lies above the high-water mark";
    const char *fault = walk_blocks(zone, &walked, where);
    if (fault == NULL)
        fault = walk_lists(zone, &walked, where);
    if (fault == NULL && (walked.blocks != zone->blocks || walked.used != zone->header.used)) {
        *where = (uint64_t)((char *)&zone->header.used - (char *)zone);
        fault = "the zone's counts are wrong";
    }
    return fault;
}
