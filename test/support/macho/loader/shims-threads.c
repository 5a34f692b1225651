/*
 * <pthread.h> and <os/lock.h>. Threads and keys are those of Linux; locks are not, as programs hold them
 * by value in Darwin's layout (libpthread-454 sys/_pthread/_pthread_types.h: a signature and opaque
 * bytes), statically initialised, and as they are dumped: a lock here is a futex in those bytes.
 */
#include "loader.h"
#include "shims.h"
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MUTEX_STATIC 0x32AAABA7
#define MUTEX_RECURSIVE_STATIC 0x32AAABA2
#define MUTEX_READY 0x4D555458
#define COND_STATIC 0x3CB0B1BB
#define COND_READY 0x434F4E44
#define ONCE_STATIC 0x30B1BCBA
#define ERROR_CHECK 1
#define RECURSIVE 2
#define DARWIN_EDEADLK 11

struct mutex { long signature; uint32_t state, owner, depth, type; }; /* state: 0 free, 1 held, 2 and waited for */
struct cond { long signature; uint32_t sequence; };
struct once { long signature; uint32_t state; };
struct attributes { long signature; uint32_t detached; uint64_t stack_size; };
struct mutex_attributes { long signature; uint32_t type; };

static void futex_wait(uint32_t *at, uint32_t value) { syscall(SYS_futex, at, FUTEX_WAIT, value, NULL, NULL, 0); }
static void futex_wake(uint32_t *at, int count) { syscall(SYS_futex, at, FUTEX_WAKE, count, NULL, NULL, 0); }
static uint32_t self(void)
{
    static __thread uint32_t tid, pid;
    if (tid == 0 || pid != (uint32_t)getpid()) tid = gettid(), pid = getpid();
    return tid;
}

static bool take(uint32_t *state)
{
    uint32_t free = 0;
    return __atomic_compare_exchange_n(state, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}
static void take_or_wait(uint32_t *state)
{
    if (take(state)) return;
    while (__atomic_exchange_n(state, 2, __ATOMIC_ACQUIRE) != 0) futex_wait(state, 2);
}
static void give(uint32_t *state)
{
    if (__atomic_exchange_n(state, 0, __ATOMIC_RELEASE) == 2) futex_wake(state, 1);
}

static int mutex_init(struct mutex *m, const struct mutex_attributes *attributes)
{
    *m = (struct mutex){MUTEX_READY, 0, 0, 0, attributes ? attributes->type : 0};
    return 0;
}
static int mutex_use(struct mutex *m)
{
    if (m->signature == MUTEX_READY) return 0;
    if (m->signature != MUTEX_STATIC && m->signature != MUTEX_RECURSIVE_STATIC) return EINVAL;
    m->type = m->signature == MUTEX_RECURSIVE_STATIC ? RECURSIVE : 0;
    m->signature = MUTEX_READY;
    return 0;
}
static int mutex_try(struct mutex *m, bool wait)
{
    int error = mutex_use(m);
    if (error != 0) return error;
    if (m->type == RECURSIVE && m->owner == self()) {
        m->depth++;
        return 0;
    }
    if (m->type == ERROR_CHECK && m->owner == self()) return wait ? DARWIN_EDEADLK : EBUSY;
    if (wait) take_or_wait(&m->state);
    else if (!take(&m->state)) return EBUSY;
    m->owner = self();
    return 0;
}
static int mutex_lock(struct mutex *m) { return mutex_try(m, true); }
static int mutex_trylock(struct mutex *m) { return mutex_try(m, false); }
static int mutex_unlock(struct mutex *m)
{
    int error = mutex_use(m);
    if (error != 0) return error;
    if (m->owner != self()) return EPERM;
    if (m->depth > 0) {
        m->depth--;
        return 0;
    }
    m->owner = 0;
    give(&m->state);
    return 0;
}
static int mutex_destroy(struct mutex *m)
{
    if (m->state != 0) return EBUSY;
    m->signature = 0;
    return 0;
}

static int cond_init(struct cond *c, const void *attributes)
{
    (void)attributes;
    *c = (struct cond){COND_READY, 0};
    return 0;
}
static int cond_wake(struct cond *c, int count)
{
    if (c->signature != COND_READY && c->signature != COND_STATIC) return EINVAL;
    __atomic_add_fetch(&c->sequence, 1, __ATOMIC_RELEASE);
    futex_wake(&c->sequence, count);
    return 0;
}
static int cond_signal(struct cond *c) { return cond_wake(c, 1); }
static int cond_broadcast(struct cond *c) { return cond_wake(c, 0x7fffffff); }
static int cond_wait(struct cond *c, struct mutex *m)
{
    if (c->signature != COND_READY && c->signature != COND_STATIC) return EINVAL;
    uint32_t sequence = __atomic_load_n(&c->sequence, __ATOMIC_ACQUIRE);
    mutex_unlock(m);
    futex_wait(&c->sequence, sequence);
    mutex_lock(m);
    return 0;
}
static int cond_destroy(struct cond *c) { c->signature = 0; return 0; }

static int shim_once(struct once *once, void (*routine)(void))
{
    if (once->signature != ONCE_STATIC) return EINVAL;
    if (__atomic_load_n(&once->state, __ATOMIC_ACQUIRE) == 2) return 0;
    if (take(&once->state)) {
        routine();
        __atomic_store_n(&once->state, 2, __ATOMIC_RELEASE);
        futex_wake(&once->state, 0x7fffffff);
    }
    while (__atomic_load_n(&once->state, __ATOMIC_ACQUIRE) == 1) futex_wait(&once->state, 1);
    return 0;
}

/* Holds the thread that has it, as in libplatform, which ends programs that take it twice. */
static void unfair_lock(uint32_t *lock)
{
    uint32_t free = 0;
    while (!__atomic_compare_exchange_n(lock, &free, self(), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        if (free == self()) fail("os_unfair_lock at %p is taken twice by a thread", (void *)lock);
        futex_wait(lock, free);
        free = 0;
    }
}
static bool unfair_trylock(uint32_t *lock)
{
    uint32_t free = 0;
    return __atomic_compare_exchange_n(lock, &free, self(), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}
static void unfair_unlock(uint32_t *lock)
{
    if (*lock != self()) fail("os_unfair_lock at %p is not held by the thread that unlocks it", (void *)lock);
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
    futex_wake(lock, 1);
}

struct start { void *(*routine)(void *); void *argument; };
static void ended(void *nothing) { (void)nothing, unregister_thread(); }
static void *start_thread(void *at)
{
    struct start start = *(struct start *)at;
    free(at);
    void *result;
    register_thread();
    pthread_cleanup_push(ended, NULL);
    result = start.routine(start.argument);
    pthread_cleanup_pop(1);
    return result;
}
static int shim_create(pthread_t *thread, const struct attributes *attributes, void *(*routine)(void *), void *argument)
{
    struct start *start = malloc(sizeof *start);
    *start = (struct start){routine, argument};
    pthread_attr_t real;
    pthread_attr_init(&real);
    if (attributes && attributes->stack_size) pthread_attr_setstacksize(&real, attributes->stack_size);
    if (attributes && attributes->detached) pthread_attr_setdetachstate(&real, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(thread, &real, start_thread, start);
    pthread_attr_destroy(&real);
    return error;
}

static int key_create(unsigned long *key, void (*destructor)(void *))
{
    pthread_key_t made;
    int error = pthread_key_create(&made, destructor);
    if (error == 0) *key = made;
    return error;
}
static int key_delete(unsigned long key) { return pthread_key_delete(key); }
static int setspecific(unsigned long key, const void *value) { return pthread_setspecific(key, value); }
static void *getspecific(unsigned long key) { return pthread_getspecific(key); }
static int main_np(void) { return self() == (uint32_t)getpid(); }

static int attr_init(struct attributes *a) { *a = (struct attributes){0x54485241, 0, 0}; return 0; }
static int attr_destroy(struct attributes *a) { a->signature = 0; return 0; }
static int attr_setstacksize(struct attributes *a, uint64_t size) { a->stack_size = size; return 0; }
static int attr_setdetachstate(struct attributes *a, int state) { a->detached = state == 2; return 0; }
static int mutexattr_init(struct mutex_attributes *a) { *a = (struct mutex_attributes){0x4D545841, 0}; return 0; }
static int mutexattr_destroy(struct mutex_attributes *a) { a->signature = 0; return 0; }
static int mutexattr_settype(struct mutex_attributes *a, int type) { a->type = type; return 0; }

const struct shim thread_shims[] = {
    {"_pthread_create", shim_create}, {"_pthread_join", pthread_join}, {"_pthread_detach", pthread_detach},
    {"_pthread_self", pthread_self}, {"_pthread_main_np", main_np}, {"_pthread_atfork", pthread_atfork},
    {"_pthread_mutex_init", mutex_init}, {"_pthread_mutex_destroy", mutex_destroy}, {"_pthread_mutex_lock", mutex_lock},
    {"_pthread_mutex_trylock", mutex_trylock}, {"_pthread_mutex_unlock", mutex_unlock},
    {"_pthread_cond_init", cond_init}, {"_pthread_cond_destroy", cond_destroy}, {"_pthread_cond_wait", cond_wait},
    {"_pthread_cond_signal", cond_signal}, {"_pthread_cond_broadcast", cond_broadcast}, {"_pthread_once", shim_once},
    {"_pthread_key_create", key_create}, {"_pthread_key_delete", key_delete}, {"_pthread_setspecific", setspecific},
    {"_pthread_getspecific", getspecific}, {"_pthread_attr_init", attr_init}, {"_pthread_attr_destroy", attr_destroy},
    {"_pthread_attr_setstacksize", attr_setstacksize}, {"_pthread_attr_setdetachstate", attr_setdetachstate},
    {"_pthread_mutexattr_init", mutexattr_init}, {"_pthread_mutexattr_destroy", mutexattr_destroy},
    {"_pthread_mutexattr_settype", mutexattr_settype}, {"_os_unfair_lock_lock", unfair_lock},
    {"_os_unfair_lock_trylock", unfair_trylock}, {"_os_unfair_lock_unlock", unfair_unlock}, {NULL, NULL},
};
