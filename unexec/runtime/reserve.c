/*
 * reserve.c - the struct through which `unexec prepare` tells the program where its reserve is, and the one
 * constructor that runs in every life.
 *
 * In a life that starts from a dumped executable all variables have the values that they had at the dump,
 * the runtime's own included. What belongs to one life only (locks, the registration with the system's
 * malloc, fork handlers) is therefore made again whenever the zone's generation is not the one of the last
 * start.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "unexec.h"
#include "zone.h"

/* The magic is not written as a string constant, of which a compiler may keep a second copy. */
struct unexec_reserve unexec_reserve __attribute__((aligned(16), used)) = {
    .magic = {'u', 'n', 'e', 'x', 'e', 'c', ' ', 'r', 'e', 's', 'e', 'r', 'v', 'e', ' ', '1'},
    .offset = 0,
    .size = 0,
    .start = unexec_zone_start,
};

/* Generation + 1 of the life in which it last ran; 0 before the first. */
static uint64_t started;

__attribute__((constructor(101))) void unexec_zone_start(void)
{
    int has_reserve = unexec_heap_begin_life();
    const struct unexec_zone_header *header = unexec_reserve_zone();
    uint64_t life = has_reserve ? (uint64_t)header->generation + 1 : 1;
    if (started == life)
        return;
    started = life;
    unexec_malloc_start();
}

int unexec_restarted(void)
{
    const struct unexec_zone_header *header = unexec_reserve_zone();
    return header != NULL && header->generation != 0;
}

/* Not inlined and not empty, so that every call of it reaches this address: debuggers stop here. */
__attribute__((noinline)) void unexec_freeze_here(void)
{
    __asm__ volatile("" ::: "memory");
}
