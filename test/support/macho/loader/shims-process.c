/*
 * <unistd.h>, <fcntl.h>, <signal.h>, <time.h> and dyld's own functions. Numbers differ between Darwin and
 * Linux (xnu-11417 bsd/sys/{fcntl,signal,unistd}.h): those that programs here use are translated.
 */
#include "loader.h"
#include "shims.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern void *__dso_handle;

int linux_open_flags(int flags)
{
    static const int pairs[][2] = {
        {0x4, O_NONBLOCK}, {0x8, O_APPEND}, {0x80, O_SYNC}, {0x100, O_NOFOLLOW}, {0x200, O_CREAT}, {0x400, O_TRUNC},
        {0x800, O_EXCL}, {0x20000, O_NOCTTY}, {0x100000, O_DIRECTORY}, {0x1000000, O_CLOEXEC},
    };
    int result = flags & 3;
    for (unsigned i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (flags & pairs[i][0]) result |= pairs[i][1];
    return result;
}
VARIADIC(int, open, 2, (const char *path, int flags), flags,
         open(path, linux_open_flags(flags), flags & 0x200 ? va_arg(list, int) : 0))

int linux_signal(int signal)
{
    static const int table[] = {0, SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, 0, SIGFPE, SIGKILL, SIGBUS, SIGSEGV,
                                SIGSYS, SIGPIPE, SIGALRM, SIGTERM, SIGURG, SIGSTOP, SIGTSTP, SIGCONT, SIGCHLD, SIGTTIN,
                                SIGTTOU, SIGIO, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, 0, SIGUSR1, SIGUSR2};
    return signal >= 0 && signal < 32 ? table[signal] : -1;
}
static int shim_raise(int signal) { return raise(linux_signal(signal)); }
static int shim_kill(int pid, int signal) { return kill(pid, linux_signal(signal)); }

static int getpagesize_(void) { return PAGE_SIZE; }
static long shim_sysconf(int name)
{
    switch (name) {
    case 1: return 1 << 20;                                 /* _SC_ARG_MAX */
    case 3: return sysconf(_SC_CLK_TCK);
    case 5: return sysconf(_SC_OPEN_MAX);
    case 29: return PAGE_SIZE;
    case 57: case 58: return sysconf(_SC_NPROCESSORS_ONLN);
    case 70: case 71: return 4096;                          /* _SC_GETGR_R_SIZE_MAX, _SC_GETPW_R_SIZE_MAX */
    default: errno = EINVAL; return -1;
    }
}

static int shim_clock_gettime(int id, struct timespec *time)
{
    switch (id) {
    case 0: return clock_gettime(CLOCK_REALTIME, time);
    case 4: case 5: case 6: case 8: case 9: return clock_gettime(CLOCK_MONOTONIC, time);
    case 12: return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, time);
    case 16: return clock_gettime(CLOCK_THREAD_CPUTIME_ID, time);
    default: errno = EINVAL; return -1;
    }
}

static uint32_t image_count(void) { return 1; }
static const void *image_header(uint32_t index) { return index == 0 ? (void *)slid(&image, image.text->vmaddr) : NULL; }
static intptr_t image_slide(uint32_t index) { return index == 0 ? (intptr_t)image.slide : 0; }
static const char *image_name(uint32_t index) { return index == 0 ? image.path : NULL; }
static int executable_path(char *to, uint32_t *size)
{
    uint32_t want = strlen(image.path) + 1, room = *size;
    *size = want;
    if (room < want) return -1;
    strcpy(to, image.path);
    return 0;
}
/* When a thread ends; the loader itself stands for the program that the destructor belongs to. */
static void tlv_atexit(void (*destructor)(void *), void *object)
{
    __cxa_thread_atexit_impl(destructor, object, &__dso_handle);
}

/* All lazy pointers are bound at once. */
static void stub_binder(void) { fail("dyld_stub_binder was called, though nothing is lazy"); }

#define SAME(name) {"_" #name, name}

const struct shim process_shims[] = {
    SAME(read), SAME(write), {"_open", shim_open}, SAME(close), SAME(lseek), SAME(unlink), SAME(getpid), SAME(fork), SAME(waitpid),
    {"_getpagesize", getpagesize_}, {"_sysconf", shim_sysconf}, SAME(usleep), SAME(sleep), SAME(isatty), SAME(_exit),
    {"_raise", shim_raise}, {"_kill", shim_kill}, SAME(time), {"_clock_gettime", shim_clock_gettime}, SAME(nanosleep),
    {"__dyld_image_count", image_count}, {"__dyld_get_image_header", image_header},
    {"__dyld_get_image_vmaddr_slide", image_slide}, {"__dyld_get_image_name", image_name},
    {"__NSGetExecutablePath", executable_path}, {"dyld_stub_binder", stub_binder}, {"__tlv_bootstrap", tlv_bootstrap},
    {"__tlv_atexit", tlv_atexit}, {NULL, NULL},
};
