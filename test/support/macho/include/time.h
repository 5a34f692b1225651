/*
 * Minimal Darwin <time.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (Libc include/time.h).
 */
#pragma once
#include <sys/types.h>

typedef unsigned long clock_t;
struct timespec {
    time_t tv_sec;
    long tv_nsec;
};
typedef enum { CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 6 } clockid_t;

#ifdef __cplusplus
extern "C" {
#endif
time_t time(time_t *);
int clock_gettime(clockid_t, struct timespec *);
int nanosleep(const struct timespec *, struct timespec *);
#ifdef __cplusplus
}
#endif
