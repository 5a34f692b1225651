/*
 * Minimal Darwin <sys/wait.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (xnu bsd/sys/wait.h).
 */
#pragma once
#include <sys/types.h>

#define WIFEXITED(status) (((status)&0x7f) == 0)
#define WEXITSTATUS(status) ((status) >> 8 & 0xff)
#ifdef __cplusplus
extern "C" {
#endif
pid_t waitpid(pid_t, int *, int);
#ifdef __cplusplus
}
#endif
