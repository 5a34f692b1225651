/*
 * For third-party programs: what Linux has under another name or not at all, and names that mean another
 * layout there, which must not come from its C library (REFUSED).
 */
#include "loader.h"
#include "shims.h"
#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static int nsargc;
static char **nsargv;

void remember_arguments(int argc, char **argv) { nsargc = argc, nsargv = argv; }

static int *ns_argc(void) { return &nsargc; }
static char ***ns_argv(void) { return &nsargv; }
static char ***ns_environ(void) { return &environ; }

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000ull + now.tv_nsec;
}
static uint64_t clock_nsec(int id)
{
    return nanoseconds(id == 0 ? CLOCK_REALTIME : id == 12 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC);
}
static uint64_t absolute_time(void) { return nanoseconds(CLOCK_MONOTONIC); }
static int timebase(uint32_t ratio[2]) { ratio[0] = ratio[1] = 1; return 0; }

/* Flags of categories differ; programs here ask for the C locale. */
static locale_t new_locale(int mask, const char *name, locale_t base)
{
    (void)mask, (void)name, (void)base;
    return newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* Addresses differ from what a Mach-O dlsym gives only by where they are looked for. */
static void *find_symbol(void *handle, const char *name)
{
    char full[256] = "_";
    (void)handle;
    return strlen(name) < sizeof full - 1 ? find_shim(strcat(full, name)) : NULL;
}

static void stack_of(pthread_t thread, char **top, size_t *size)
{
    pthread_attr_t attributes;
    void *start;
    if (pthread_getattr_np(thread, &attributes) != 0) abort();
    pthread_attr_getstack(&attributes, &start, size);
    *top = (char *)start + *size;
    pthread_attr_destroy(&attributes);
}
static void *stack_address(pthread_t thread) { char *top; size_t size; stack_of(thread, &top, &size); return top; }
static size_t stack_size(pthread_t thread) { char *top; size_t size; stack_of(thread, &top, &size); return size; }
static int thread_id(pthread_t thread, uint64_t *id) { (void)thread; *id = gettid(); return 0; }
static int set_name(const char *name) { (void)name; return 0; }

/* libdispatch's semaphores; times are nanoseconds of mach_absolute_time, ~0 is for ever. */
static sem_t *semaphore(long value)
{
    sem_t *made = malloc(sizeof *made);
    return sem_init(made, 0, value) == 0 ? made : NULL;
}
static long semaphore_signal(sem_t *s) { return sem_post(s); }
static long semaphore_wait(sem_t *s, uint64_t until)
{
    struct timespec time = {until / 1000000000, until % 1000000000};
    int result;
    do result = until == ~0ull ? sem_wait(s) : sem_clockwait(s, CLOCK_MONOTONIC, &time);
    while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : 49;
}
static uint64_t dispatch_time(uint64_t base, int64_t more) { return (base == 0 ? absolute_time() : base) + more; }
static void dispatch_release(void *object) { free(object); }

static int zero(void) { return 0; }
static int unsupported(void) { errno = ENOENT; return -1; }
int __xpg_strerror_r(int, char *, size_t);

/* Touches no register: its caller has its arguments in them. */
void check_stack(void);
__asm__(".text\n.globl check_stack\ncheck_stack: ret\n");

const struct shim foreign_rest_shims[] = {
    {"__NSGetArgc", ns_argc}, {"__NSGetArgv", ns_argv}, {"__NSGetEnviron", ns_environ},
    {"_clock_gettime_nsec_np", clock_nsec}, {"_mach_absolute_time", absolute_time}, {"_mach_timebase_info", timebase},
    {"_newlocale", new_locale}, {"_dlsym", find_symbol}, {"_pthread_get_stackaddr_np", stack_address},
    {"_pthread_get_stacksize_np", stack_size}, {"_pthread_threadid_np", thread_id}, {"_pthread_setname_np", set_name},
    {"_pthread_condattr_init", zero}, {"_pthread_condattr_destroy", zero},
    {"_dispatch_semaphore_create", semaphore}, {"_dispatch_semaphore_signal", semaphore_signal},
    {"_dispatch_semaphore_wait", semaphore_wait}, {"_dispatch_time", dispatch_time},
    {"_dispatch_release", dispatch_release}, {"_issetugid", zero}, {"_sysctl", unsupported},
    {"_sysctlbyname", unsupported}, {"_strerror_r", __xpg_strerror_r}, {"____chkstk_darwin", check_stack},
    {"___chkstk_darwin", check_stack}, {NULL, NULL},
};

/* Beginnings of names. */
static const char *const REFUSED[] = {"_posix_spawn", "_getifaddrs", "_getfsstat", "_getpw", "_getgr", "_confstr",
                                      "_dlopen", "_setgroups", NULL};

bool is_refused(const char *name)
{
    for (const char *const *at = REFUSED; *at != NULL; at++)
        if (strncmp(name, *at, strlen(*at)) == 0) return true;
    return false;
}
