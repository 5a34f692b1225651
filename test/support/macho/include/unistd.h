/*
 * Minimal Darwin <unistd.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (Libc include/unistd.h, xnu bsd/sys/unistd.h).
 */
#pragma once
#include <sys/types.h>

#define STDIN_FILENO 0
#define STDOUT_FILENO 1
#define STDERR_FILENO 2
#define _SC_NPROCESSORS_ONLN 58
#define _SC_PAGESIZE 29

#ifdef __cplusplus
extern "C" {
#endif
ssize_t read(int, void *, size_t);
ssize_t write(int, const void *, size_t);
int close(int);
off_t lseek(int, off_t, int);
int unlink(const char *);
pid_t getpid(void);
pid_t fork(void);
int getpagesize(void);
long sysconf(int);
int usleep(unsigned);
unsigned sleep(unsigned);
int isatty(int);
void _exit(int) __attribute__((noreturn));
#ifdef __cplusplus
}
#endif
