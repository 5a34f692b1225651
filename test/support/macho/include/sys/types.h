/*
 * Minimal Darwin <sys/types.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (xnu bsd/sys/types.h).
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
typedef long ssize_t;
typedef long long off_t;
typedef int pid_t;
typedef unsigned short mode_t;
typedef unsigned int uid_t;
typedef long time_t;
