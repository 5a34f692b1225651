/*
 * For third-party programs: signals. Sets are 32 bits in Darwin, structs and flags differ (xnu-11417
 * bsd/sys/signal.h). A handler gets Darwin's number, but siginfo and context stay Linux's: handlers here
 * are for faults that do not happen.
 */
#include "loader.h"
#include "shims.h"
#include <errno.h>
#include <signal.h>
#include <string.h>

#define DARWIN_SA_ONSTACK 0x1
#define DARWIN_SA_RESTART 0x2
#define DARWIN_SA_RESETHAND 0x4
#define DARWIN_SA_NODEFER 0x10
#define DARWIN_SA_SIGINFO 0x40
#define DARWIN_SS_DISABLE 0x4

typedef void handler(int, siginfo_t *, void *);
#define DEFAULT ((handler *)0)
#define IGNORED ((handler *)1)
#define ERROR ((handler *)-1)
struct darwin_sigaction { handler *call; uint32_t mask; int flags; };
struct darwin_stack { void *ss_sp; size_t ss_size; int ss_flags; };

static struct darwin_sigaction actions[32];

static sigset_t linux_set(uint32_t set)
{
    sigset_t result;
    sigemptyset(&result);
    for (int i = 1; i < 32; i++)
        if (set & 1u << (i - 1) && linux_signal(i) > 0) sigaddset(&result, linux_signal(i));
    return result;
}
static uint32_t darwin_set(const sigset_t *set)
{
    uint32_t result = 0;
    for (int i = 1; i < 32; i++)
        if (linux_signal(i) > 0 && sigismember(set, linux_signal(i)) == 1) result |= 1u << (i - 1);
    return result;
}

static void deliver(int number, siginfo_t *info, void *context)
{
    for (int i = 1; i < 32; i++)
        if (linux_signal(i) == number) actions[i].call(i, info, context);
}

static int darwin_sigaction(int number, const struct darwin_sigaction *new, struct darwin_sigaction *old)
{
    if (number < 1 || number > 31 || linux_signal(number) <= 0) {
        errno = EINVAL;
        return -1;
    }
    struct darwin_sigaction before = actions[number];
    int result = 0;
    if (new != NULL) {
        struct sigaction action = {.sa_mask = linux_set(new->mask), .sa_flags = SA_SIGINFO};
        bool plain = new->call == DEFAULT || new->call == IGNORED;
        if (plain) action.sa_flags = 0, action.sa_handler = new->call == DEFAULT ? SIG_DFL : SIG_IGN;
        else action.sa_sigaction = deliver;
        if (new->flags & DARWIN_SA_ONSTACK) action.sa_flags |= SA_ONSTACK;
        if (new->flags & DARWIN_SA_RESTART) action.sa_flags |= SA_RESTART;
        if (new->flags & DARWIN_SA_RESETHAND) action.sa_flags |= SA_RESETHAND;
        if (new->flags & DARWIN_SA_NODEFER) action.sa_flags |= SA_NODEFER;
        actions[number] = *new;
        result = sigaction(linux_signal(number), &action, NULL);
    }
    if (old != NULL) *old = before;
    return result;
}

static handler *darwin_signal(int number, handler *new)
{
    struct darwin_sigaction action = {new, 0, DARWIN_SA_RESTART}, old;
    return darwin_sigaction(number, &action, &old) == 0 ? old.call : ERROR;
}

static int darwin_sigaltstack(const struct darwin_stack *new, struct darwin_stack *old)
{
    stack_t mine = {0}, before;
    if (new != NULL)
        mine = (stack_t){.ss_sp = new->ss_sp, .ss_size = new->ss_size,
                         .ss_flags = new->ss_flags & DARWIN_SS_DISABLE ? SS_DISABLE : 0};
    int result = sigaltstack(new == NULL ? NULL : &mine, &before);
    if (old != NULL)
        *old = (struct darwin_stack){before.ss_sp, before.ss_size,
                                     before.ss_flags & SS_DISABLE ? DARWIN_SS_DISABLE : before.ss_flags};
    return result;
}

/* SIG_BLOCK, SIG_UNBLOCK and SIG_SETMASK are 1, 2 and 3. */
static int darwin_sigmask(int how, const uint32_t *new, uint32_t *old)
{
    sigset_t set, before;
    if (new != NULL) set = linux_set(*new);
    int error = pthread_sigmask(how - 1, new == NULL ? NULL : &set, &before);
    if (old != NULL) *old = darwin_set(&before);
    return error;
}
static int darwin_sigemptyset(uint32_t *set) { *set = 0; return 0; }
static int darwin_sigaddset(uint32_t *set, int number) { *set |= 1u << (number - 1); return 0; }

const struct shim foreign_signal_shims[] = {
    {"_sigaction", darwin_sigaction}, {"_signal", darwin_signal}, {"_sigaltstack", darwin_sigaltstack},
    {"_pthread_sigmask", darwin_sigmask}, {"_sigprocmask", darwin_sigmask}, {"_sigemptyset", darwin_sigemptyset},
    {"_sigaddset", darwin_sigaddset}, {NULL, NULL},
};
