/*
 * Preloaded into a program that cannot fork by itself (emacs): where it would stop itself, it serves forks
 * instead. Each child goes on from the very point at which the program is frozen otherwise.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* A request is a byte at descriptor 3, the answer "NANOSECONDS STATUS" at descriptor 4. */
int kill(pid_t target, int signal)
{
    char request;
    if (signal != SIGSTOP)
        return syscall(SYS_kill, target, signal);
    while (read(3, &request, 1) == 1) {
        long long start = now();
        int status = 0;
        pid_t pid = fork();
        if (pid == 0)
            return 0;
        if (pid < 0 || syscall(SYS_wait4, pid, &status, 0, NULL) != pid)
            _exit(1);
        dprintf(4, "%lld %d\n", now() - start, status);
    }
    _exit(0);
}
