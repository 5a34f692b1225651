/*
 * unexec-runtime.c - the whole runtime as one file to compile:
 *
 *     cc -O2 -c unexec-runtime.c
 *
 * Link the object itself, not an archive of it, as the last one before the libraries: of a static program it
 * says where they begin. Its constructor comes before the program's: on ELF by its
 * priority, in Mach-O files because `unexec prepare` moves it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "heap.c"
#include "reserve.c"
#include "zone.c"
#include "zone-walk.c"
#if defined(__APPLE__)
#include "malloc-darwin.c"
#else
#include "malloc-elf.c"
#endif
