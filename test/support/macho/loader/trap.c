/*
 * --at SYMBOL|entry: a breakpoint instruction at a symbol of the program, or at its entry (LC_MAIN). When
 * it is reached the first time the instruction that was there comes back, then a core is written or
 * the process stops, and the program goes on or ends.
 */
#include "loader.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __aarch64__
static const uint8_t breakpoint[] = {0x00, 0x00, 0x20, 0xd4}; /* brk #0 */
#else
static const uint8_t breakpoint[] = {0xcc}; /* int3 */
#endif

static uint8_t original[sizeof breakpoint];
static uint8_t *place;

static uint64_t find_place(const struct image *, const char *at);
static void put(const uint8_t *code);
static void reached(int signal, siginfo_t *, void *ucontext);

void plant_trap(const struct image *image, const struct options *options)
{
    if (options->at == NULL) return;
    place = (uint8_t *)slid(image, find_place(image, options->at));
    struct sigaction action = {.sa_sigaction = reached, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, NULL);
    memcpy(original, place, sizeof original);
    put(breakpoint);
}

/* A symbol is named as in C or as in the file, with one `_` more. */
static uint64_t find_place(const struct image *image, const char *at)
{
    char name[512];
    if (strcmp(at, "entry") == 0) return image->text->vmaddr + image->entry->entryoff;
    snprintf(name, sizeof name, "_%s", at);
    uint64_t found = own_symbol(image, name);
    if (found == 0) found = own_symbol(image, at);
    if (found == 0) fail("--at %s: no such symbol", at);
    if (!is_code(image, found)) fail("--at %s: is not a function", at);
    return found;
}

static void put(const uint8_t *code)
{
    uint8_t *page = (uint8_t *)((uintptr_t)place & ~0xffful);
    size_t size = place + sizeof breakpoint - page;
    mprotect(page, size, PROT_READ | PROT_WRITE);
    memcpy(place, code, sizeof breakpoint);
    mprotect(page, size, PROT_READ | PROT_EXEC);
    __builtin___clear_cache((char *)place, (char *)place + sizeof breakpoint);
}

static void reached(int signal_number, siginfo_t *info, void *at)
{
    (void)signal_number, (void)info;
    ucontext_t *ucontext = at;
#ifdef __aarch64__
    uint8_t *pc = (uint8_t *)ucontext->uc_mcontext.pc;
#else
    uint8_t *pc = (uint8_t *)(ucontext->uc_mcontext.gregs[REG_RIP] -= 1);
#endif
    if (pc != place) {
        signal(SIGTRAP, SIG_DFL);
        raise(SIGTRAP);
        return;
    }
    put(original);
    signal(SIGTRAP, SIG_DFL);
    if (options.core != NULL) write_core(&image, options.core, options.core_style, ucontext);
    if (options.stop) raise(SIGSTOP);
    if (options.stop || options.go_on) return;
    fflush(NULL);
    _exit(0);
}
