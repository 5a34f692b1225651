/*
 * Minimal Darwin <fcntl.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (xnu bsd/sys/fcntl.h).
 */
#pragma once
#include <sys/types.h>

#define O_RDONLY 0x0
#define O_WRONLY 0x1
#define O_RDWR 0x2
#define O_APPEND 0x8
#define O_CREAT 0x200
#define O_TRUNC 0x400
#define O_EXCL 0x800
#define O_CLOEXEC 0x1000000

#ifdef __cplusplus
extern "C" {
#endif
int open(const char *, int, ...);
#ifdef __cplusplus
}
#endif
