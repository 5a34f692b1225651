/*
 * Knows the threads of the program, and halts them for a core: each waits in a signal handler, whose
 * context holds its registers.
 */
#include "loader.h"
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_THREADS 64
#define HALT (SIGRTMIN + 7)

static struct { int tid; const void *ucontext; } threads[MAX_THREADS];
static uint32_t halted, released;

static void halt(int signal, siginfo_t *info, void *ucontext)
{
    (void)signal, (void)info;
    for (unsigned i = 0; i < MAX_THREADS; i++)
        if (threads[i].tid == gettid()) threads[i].ucontext = ucontext;
    __atomic_add_fetch(&halted, 1, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&released, __ATOMIC_ACQUIRE)) syscall(SYS_futex, &released, FUTEX_WAIT, 0, NULL, NULL, 0);
}

void register_thread(void)
{
    for (unsigned i = 0; i < MAX_THREADS; i++) {
        int none = 0;
        if (__atomic_compare_exchange_n(&threads[i].tid, &none, gettid(), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return;
    }
    fail("more than %d threads", MAX_THREADS);
}

void unregister_thread(void)
{
    for (unsigned i = 0; i < MAX_THREADS; i++)
        if (threads[i].tid == gettid()) threads[i].tid = 0;
}

unsigned halt_threads(struct thread_registers *to, unsigned max, const void *own_ucontext)
{
    struct sigaction action = {.sa_sigaction = halt, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(HALT, &action, NULL);
    halted = released = 0;
    uint32_t others = 0;
    unsigned count = 0;
    to[count++] = (struct thread_registers){gettid(), own_ucontext};
    for (unsigned i = 0; i < MAX_THREADS; i++)
        if (threads[i].tid != 0 && threads[i].tid != gettid())
            others += syscall(SYS_tgkill, getpid(), threads[i].tid, HALT) == 0;
    while (__atomic_load_n(&halted, __ATOMIC_ACQUIRE) != others) usleep(100);
    for (unsigned i = 0; i < MAX_THREADS && count < max; i++)
        if (threads[i].tid != 0 && threads[i].tid != gettid())
            to[count++] = (struct thread_registers){threads[i].tid, threads[i].ucontext};
    return count;
}

void release_threads(void)
{
    __atomic_store_n(&released, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &released, FUTEX_WAKE, MAX_THREADS, NULL, NULL, 0);
}
