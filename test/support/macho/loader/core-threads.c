/*
 * Registers in Darwin's layouts: <mach/i386/thread_status.h>, <mach/arm/thread_status.h> (xnu-11417
 * osfmk/mach), from the ucontext_t of a signal handler.
 */
#include "core-threads.h"
#include "loader.h"
#include <string.h>
#include <ucontext.h>

static size_t put(uint8_t *to, uint32_t flavor, const void *state, size_t size)
{
    uint32_t head[] = {flavor, size / 4};
    memcpy(to, head, sizeof head);
    memcpy(to + sizeof head, state, size);
    return sizeof head + size;
}

#ifdef __aarch64__
enum { ARM_THREAD_STATE64 = 6, ARM_EXCEPTION_STATE64 = 7 };

size_t write_thread_states(uint8_t *to, const void *at, bool wrapped)
{
    (void)wrapped;
    const mcontext_t *context = &((const ucontext_t *)at)->uc_mcontext;
    struct { uint64_t x[29], fp, lr, sp, pc; uint32_t cpsr, pad; } state = {.sp = context->sp, .pc = context->pc};
    memcpy(state.x, context->regs, 31 * sizeof *state.x);
    state.cpsr = context->pstate;
    struct { uint64_t far; uint32_t esr, exception; } exception = {context->pc, 0xf2000000, 0}; /* BRK */
    size_t size = put(to, ARM_THREAD_STATE64, &state, sizeof state);
    return size + put(to + size, ARM_EXCEPTION_STATE64, &exception, sizeof exception);
}
#else
enum { x86_THREAD_STATE64 = 4, x86_FLOAT_STATE64 = 5, x86_EXCEPTION_STATE64 = 6 };
#define WRAPPER 3 /* x86_THREAD_STATE is 7, and so on */

struct float_state { uint32_t reserved[2]; uint8_t fxsave[512]; uint32_t reserved1; };

static size_t put_state(uint8_t *to, uint32_t flavor, const void *state, size_t size, bool wrapped)
{
    uint8_t inner[1024];
    return wrapped ? put(to, flavor + WRAPPER, inner, put(inner, flavor, state, size)) : put(to, flavor, state, size);
}

size_t write_thread_states(uint8_t *to, const void *at, bool wrapped)
{
    const mcontext_t *context = &((const ucontext_t *)at)->uc_mcontext;
    static const int order[] = {REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RDI, REG_RSI, REG_RBP, REG_RSP, REG_R8, REG_R9,
                                REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15, REG_RIP, REG_EFL};
    uint64_t state[21] = {0};
    for (unsigned i = 0; i < sizeof order / sizeof *order; i++) state[i] = context->gregs[order[i]];
    state[18] = 0x2b; /* cs, as Darwin's */
    struct float_state floats = {0};
    if (context->fpregs) memcpy(floats.fxsave, context->fpregs, sizeof floats.fxsave);
    struct { uint16_t trapno, cpu; uint32_t err; uint64_t faultvaddr; } exception = {.trapno = 3};
    size_t size = put_state(to, x86_THREAD_STATE64, state, sizeof state, wrapped);
    size += put_state(to + size, x86_FLOAT_STATE64, &floats, sizeof floats, wrapped);
    return size + put_state(to + size, x86_EXCEPTION_STATE64, &exception, sizeof exception, wrapped);
}
#endif
