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
#include <stdlib.h>

#if defined(__APPLE__)
#define UNEXEC_LAST(section_name)
#define UNEXEC_LAST_START NULL
#else
#define UNEXEC_LAST(section_name) __attribute__((section(section_name), used))
#define UNEXEC_LAST_START last_start
/* Without a priority, and so behind those of the program. */
__attribute__((constructor, noinline)) static void last_start(void)
{
    __asm__ volatile("" ::: "memory");
}
#endif

/* What of the runtime lies behind these may begin anew as well: it asks which life it is. */
static char last_data[1] UNEXEC_LAST(".data.unexec_last") = {1};
static char last_bss[1] UNEXEC_LAST(".bss.unexec_last");

/* The magic is not written as a string constant, of which a compiler may keep a second copy. */
struct unexec_reserve unexec_reserve __attribute__((aligned(16), used)) = {
    .magic = {'u', 'n', 'e', 'x', 'e', 'c', ' ', 'r', 'e', 's', 'e', 'r', 'v', 'e', ' ', '1'},
    .offset = 0,
    .size = 0,
    .start = unexec_zone_start,
    .last_data = last_data,
    .last_bss = last_bss,
    .last_start = UNEXEC_LAST_START,
};

/* Generation + 1 of the life in which it last ran; 0 before the first. */
static uint64_t started;

/*
 * libstdc++ up to GCC 12 constructs std::cout and the others from a constructor of every file that includes
 * <iostream>, and flushes them when its destructor runs. Those have run in the first life; std::ios_base::Init counts.
 */
#if defined(__APPLE__)
static void start_streams(void) {}
#else
extern void make_streams(void *) __asm__("_ZNSt8ios_base4InitC1Ev") __attribute__((weak));
extern void flush_streams(void *) __asm__("_ZNSt8ios_base4InitD1Ev") __attribute__((weak));
static char init; /* std::ios_base::Init, which is empty */

static void end_streams(void)
{
    flush_streams(&init);
}

static void start_streams(void)
{
    if (make_streams == NULL || flush_streams == NULL)
        return;
    make_streams(&init);
    atexit(end_streams);
}
#endif

/* What the program wants to be called at a restart: in the zone, so that it is in the image with the rest. */
struct hook {
    struct hook *next;
    void (*function)(void);
};
static struct hook *hooks;

int unexec_at_restart(void (*function)(void))
{
    struct hook **end = &hooks;
    for (; *end != NULL; end = &(*end)->next)
        if ((*end)->function == function)
            return 0;
    struct hook *hook = unexec_heap_allocate(sizeof *hook, 1);
    if (hook == NULL)
        return -1;
    *hook = (struct hook){NULL, function};
    *end = hook;
    return 0;
}

static void run_hooks(void)
{
    for (struct hook *hook = hooks; hook != NULL; hook = hook->next)
        hook->function();
}

#if defined(__APPLE__)
#define UNEXEC_FIRST __attribute__((constructor(101)))
#else
/* As a constructor of priority 100, which is before all of a program's own; compilers warn of the attribute. */
__attribute__((section(".init_array.00100"), used)) static void (*const first_start)(void) = unexec_zone_start;
#define UNEXEC_FIRST
#endif

UNEXEC_FIRST void unexec_zone_start(void)
{
    int has_reserve = unexec_heap_begin_life();
    const struct unexec_zone_header *header = unexec_reserve_zone();
    uint64_t life = has_reserve ? (uint64_t)header->generation + 1 : 1;
    if (started == life)
        return;
    started = life;
    unexec_malloc_start();
    if (life > 1) {
        start_streams();
        run_hooks();
    }
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
