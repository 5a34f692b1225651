/*
 * lock.h - the heap's lock: a word that is 0 while it is free, so that it needs no initialiser and is as good
 * in a dump as it was. On Darwin the system's unfair lock, which knows priorities; on Linux a futex, after
 * Drepper, "Futexes Are Tricky" (mutex 2); elsewhere a spin lock.
 */
#ifndef UNEXEC_LOCK_H
#define UNEXEC_LOCK_H

#include <stdint.h>

#if defined(__APPLE__)

#include <os/lock.h>

typedef os_unfair_lock unexec_lock;

static inline void unexec_lock_take(unexec_lock *lock)
{
    os_unfair_lock_lock(lock);
}

static inline int unexec_lock_try(unexec_lock *lock)
{
    return os_unfair_lock_trylock(lock);
}

static inline void unexec_lock_give(unexec_lock *lock)
{
    os_unfair_lock_unlock(lock);
}

/* The child of a fork is another thread than the lock's owner, and may not give it back. */
static inline void unexec_lock_reset(unexec_lock *lock)
{
    *(volatile uint32_t *)lock = 0;
}

#else

#include <errno.h>
#include <sched.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* 0 free, 1 taken, 2 taken and perhaps awaited. */
typedef uint32_t unexec_lock;

static inline int unexec_lock_try(unexec_lock *lock)
{
    uint32_t expected = 0;
    return __atomic_compare_exchange_n(lock, &expected, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void unexec_lock_wait(unexec_lock *lock)
{
    int error = errno;
    while (__atomic_exchange_n(lock, 2, __ATOMIC_ACQUIRE) != 0) {
#if defined(__linux__)
        syscall(SYS_futex, lock, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
#else
        sched_yield();
#endif
    }
    errno = error;
}

static inline void unexec_lock_take(unexec_lock *lock)
{
    for (int i = 0; i < 200; i++) { /* longer than an allocation takes, shorter than to sleep and be woken */
        if (__atomic_load_n(lock, __ATOMIC_RELAXED) == 0 && unexec_lock_try(lock))
            return;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
    }
    unexec_lock_wait(lock);
}

static inline void unexec_lock_give(unexec_lock *lock)
{
    if (__atomic_exchange_n(lock, 0, __ATOMIC_RELEASE) != 2)
        return;
#if defined(__linux__)
    int error = errno;
    syscall(SYS_futex, lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = error;
#endif
}

static inline void unexec_lock_reset(unexec_lock *lock)
{
    *(volatile uint32_t *)lock = 0;
}

#endif
#endif /* UNEXEC_LOCK_H */
