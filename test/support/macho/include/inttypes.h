/*
 * Minimal Darwin <inttypes.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (Libc include/inttypes.h).
 */
#pragma once
#include <stdint.h>
#define PRId32 "d"
#define PRIu32 "u"
#define PRIx32 "x"
#define PRId64 "lld"
#define PRIu64 "llu"
#define PRIx64 "llx"
#define PRIxPTR "lx"
#define PRIuPTR "lu"
