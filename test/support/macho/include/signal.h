/*
 * Minimal Darwin <signal.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (xnu bsd/sys/signal.h).
 */
#pragma once
#include <sys/types.h>

#define SIGINT 2
#define SIGTRAP 5
#define SIGABRT 6
#define SIGKILL 9
#define SIGSEGV 11
#define SIGTERM 15
#define SIGSTOP 17
#define SIGCONT 19
#define SIGUSR1 30
#define SIGUSR2 31

#ifdef __cplusplus
extern "C" {
#endif
int raise(int);
int kill(pid_t, int);
#ifdef __cplusplus
}
#endif
