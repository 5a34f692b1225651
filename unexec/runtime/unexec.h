/*
 * unexec.h - for programs that choose their own freeze point. One header, no library; C and C++.
 *
 *     struct unexec_args args;
 *     load_everything();
 *     if (unexec_freeze(&args)) {        // second life: started from the frozen executable
 *         argc = args.argc;
 *         argv = args.argv;
 *     }
 *     return run(argc, argv);
 *
 * Without unexec the call costs one failing system call and returns 0, so the same binary runs alone.
 * It is answered only while `unexec ./program out` runs the program (--at request, or auto).
 *
 * Restart style (the only one on macOS): the program links unexec-runtime.c beside this header. Its second
 * life starts at main again, with its variables and its malloc zone as they were:
 *
 *     if (!unexec_restarted()) {
 *         load_everything();
 *         unexec_freeze(&args);          // dumped here
 *     }
 *     return run(argc, argv);
 */
#ifndef UNEXEC_H
#define UNEXEC_H

#ifdef __cplusplus
extern "C" {
#endif

/* What the second life was started with. */
struct unexec_args {
    long argc;
    char **argv;
    char **envp;
};

/* Of unexec-runtime.c, which a program of the restart style links. */

/* Whether this life began from a dumped executable. */
int unexec_restarted(void);
/*
 * Has `function` called before main in every later life: the program lies at other addresses there, so a table
 * that hashes by address has to be filled anew, a random seed drawn again. The functions are called in the order
 * in which they were registered, with malloc and all variables as they were; a life's own constructors (those
 * of libraries) have run. One that is registered again is called once. Returns 0, or -1 without memory.
 */
int unexec_at_restart(void (*function)(void));
/* Does nothing: the place of unexec_freeze on macOS, for a debugger's breakpoint (lldb: `b unexec_freeze_here`). */
void unexec_freeze_here(void);
/*
 * Zeroes the zone's free memory, so that the dump neither stores nor tells what was freed, and its stale
 * pointers need no fixups. On macOS unexec_freeze does it; elsewhere call it before.
 */
void unexec_zone_scrub(void);
/* Walks the zone. Returns NULL, or what is wrong, with its offset in the reserve in *where (if not NULL). */
const char *unexec_zone_check(unsigned long *where);

/* prctl option: 'UNEX'. Unknown to the kernel, which answers EINVAL. */
#define UNEXEC_REQUEST 0x554e4558L

/*
 * Asks to be frozen here. Returns 0 in the first life, whether or not somebody listens, and 1 in every
 * life that starts from the frozen executable, with *args filled.
 */
static inline int unexec_freeze(struct unexec_args *args)
{
#if defined(__linux__) && defined(__x86_64__)
    long result = 157; /* prctl */
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(UNEXEC_REQUEST), "S"(args), "d"(0L), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result == 1;
#elif defined(__linux__) && defined(__aarch64__)
    register long x8 __asm__("x8") = 167; /* prctl */
    register long x0 __asm__("x0") = UNEXEC_REQUEST;
    register long x1 __asm__("x1") = (long)args;
    register long x2 __asm__("x2") = 0;
    register long x3 __asm__("x3") = 0;
    register long x4 __asm__("x4") = 0;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0 == 1;
#elif defined(__APPLE__)
    (void)args; /* the second life's come to its main */
    unexec_zone_scrub();
    unexec_freeze_here();
    return 0;
#else
    (void)args;
    return 0; /* nobody can listen here */
#endif
}

#ifdef __cplusplus
}
#endif

#endif /* UNEXEC_H */
