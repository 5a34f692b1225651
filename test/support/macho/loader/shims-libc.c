/*
 * <stdlib.h>, <string.h>, <ctype.h>, and what clang calls by itself. What the C library of Linux lacks is
 * here, by Libc-1439's manual pages.
 */
#include "loader.h"
#include "shims.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int __cxa_atexit(void (*)(void *), void *, void *);
extern int *__errno_location(void);

static void memset_pattern(void *to, const void *pattern, size_t size, size_t unit)
{
    for (size_t at = 0; at < size; at += unit) memcpy((char *)to + at, pattern, size - at < unit ? size - at : unit);
}
static void memset_pattern4(void *to, const void *pattern, size_t size) { memset_pattern(to, pattern, size, 4); }
static void memset_pattern8(void *to, const void *pattern, size_t size) { memset_pattern(to, pattern, size, 8); }
static void memset_pattern16(void *to, const void *pattern, size_t size) { memset_pattern(to, pattern, size, 16); }

static size_t copy_string(char *to, const char *from, size_t size)
{
    size_t length = strlen(from);
    if (size == 0) return length;
    size_t copied = length < size ? length : size - 1;
    memcpy(to, from, copied);
    to[copied] = 0;
    return length;
}
static size_t append_string(char *to, const char *from, size_t size)
{
    size_t length = strnlen(to, size);
    return length + copy_string(to + length, from, size - length);
}

static void assertion_failed(const char *function, const char *file, int line, const char *expression)
{
    fflush(NULL);
    fprintf(stderr, "Assertion failed: (%s), function %s, file %s, line %d.\n", expression, function, file, line);
    abort();
}

static uint64_t stack_guard = 0x5afe00c0ffee0000;
static void stack_smashed(void) { fail("stack smashing detected"); }

#define SAME(name) {"_" #name, name}

const struct shim libc_shims[] = {
    SAME(exit), SAME(_Exit), SAME(abort), SAME(atexit), SAME(__cxa_atexit), SAME(getenv), SAME(setenv),
    SAME(unsetenv), SAME(atoi), SAME(atol), SAME(strtol), SAME(strtoul), SAME(strtoll), SAME(strtoull), SAME(strtod),
    SAME(qsort), SAME(bsearch), SAME(rand), SAME(srand), SAME(abs), {"___assert_rtn", assertion_failed},
    {"___error", __errno_location},
    SAME(memcpy), SAME(memmove), SAME(memset), SAME(memcmp), SAME(memchr), SAME(bzero), {"___bzero", bzero},
    SAME(memset_pattern4), SAME(memset_pattern8), SAME(memset_pattern16), SAME(strlen), SAME(strnlen), SAME(strcmp),
    SAME(strncmp), SAME(strcpy), SAME(strncpy), SAME(strcat), {"_strlcpy", copy_string}, {"_strlcat", append_string},
    SAME(strchr), SAME(strrchr), SAME(strstr), SAME(strerror),
    SAME(isalpha), SAME(isdigit), SAME(isalnum), SAME(isspace), SAME(isprint), SAME(isupper), SAME(islower),
    SAME(toupper), SAME(tolower),
    {"___stack_chk_fail", stack_smashed}, {"___stack_chk_guard", &stack_guard}, {NULL, NULL},
};
