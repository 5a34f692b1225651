/*
 * Minimal Darwin <errno.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (xnu bsd/sys/errno.h).
 */
#pragma once
#ifdef __cplusplus
extern "C" {
#endif
extern int *__error(void);
#ifdef __cplusplus
}
#endif
#define errno (*__error())
#define EPERM 1
#define ENOENT 2
#define EINTR 4
#define EIO 5
#define EBADF 9
#define ENOMEM 12
#define EACCES 13
#define EBUSY 16
#define EEXIST 17
#define EINVAL 22
#define ERANGE 34
#define EAGAIN 35
