/*
 * The restorer for aarch64: what x86_64.S is for x86-64, with the same steps. aarch64.ts holds its bytes
 * (npm run restorer writes them, a test compares).
 *
 * It runs without a stack, without libc and, after the first steps, without any other mapping than its
 * own window, whose parts lie 64 KiB apart, so that a kernel with pages of that size can load it too (and
 * be told that the image cannot):
 *
 *     window + 0x00000   ELF header, program headers        read, execute
 *     window + 0x00400   this code
 *     window + 0x10000   slots, scratch, steps, names       read, write
 *
 * A step is 64 bytes: op (u16), flags (u16), dst (u16), mask (u16), a0..a5 (u64), nr (u64). Where bit i
 * of mask is set, argument i is the number of a slot and stands for its value (bit 6: nr).
 *
 * Facts: arch/arm64/include/asm/elf.h and kernel/process.c of Linux 6.1 (the start of a process); syscall(2);
 * Arm Architecture Reference Manual (CTR_EL0, DC CVAU, IC IVAU); the LZ4 block format description 1.6.3.
 */
        .text

        .set SLOT_SP, 8 * 1
        .set SLOT_ARGC, 8 * 2
        .set SLOT_ARGV, 8 * 3
        .set SLOT_ENVP, 8 * 4
        .set SLOT_AUXV, 8 * 5
        .set SLOT_STRINGS_END, 8 * 6
        .set SLOT_ARG_START, 8 * 7
        .set SLOT_ENV_START, 8 * 8
        .set SLOT_ENV_END, 8 * 9
        .set SLOT_PROGRAM, 8 * 10
        .set SLOT_NAMES, 8 * 11
        .set SLOT_ERRNOS, 8 * 12
        .set SLOT_PREFIX, 8 * 13
        .set SLOT_PREFIX_LENGTH, 8 * 14
        .set SLOT_ERRNO_COUNT, 8 * 15
        .set SLOT_FALLBACK, 8 * 16
        .set SLOT_EXIT_STATUS, 8 * 17
        .set SLOT_TRAMPOLINE, 8 * 18
        .set IOVEC, 0xf80                       // last 128 bytes of the slot page

        .set STEP, 64
        .set REQUIRED_BIT, 0

        .set AT_PLATFORM, 15
        .set AT_BASE_PLATFORM, 24
        .set AT_RANDOM, 25
        .set AT_EXECFN, 31

        .set SYS_writev, 66
        .set SYS_exit_group, 94
        .set SYS_futex, 98
        .set SYS_rt_sigreturn, 139
        .set FUTEX_WAIT_PRIVATE, 128

// x19: the step, x20: the slots. Steps may clobber everything else.
_start:
        b       .Lstart

// A handler of signals that tells where handlers return to: HANDLER_OFFSET in machine-code.ts.
        str     x30, [x20, #SLOT_TRAMPOLINE]
        ret

.Lstart:
        adr     x20, _start
        add     x20, x20, #0xf, lsl #12
        add     x20, x20, #0xc00
        ldr     x19, [x20, #SLOT_PROGRAM]

// The vector that the kernel left on the stack: argc, argv, 0, envp, 0, auxv, strings.
        mov     x0, sp
        str     x0, [x20, #SLOT_SP]
        ldr     x1, [x0], #8
        stp     x1, x0, [x20, #SLOT_ARGC]       // and SLOT_ARGV
        ldr     x2, [x0]
        str     x2, [x20, #SLOT_ARG_START]
        add     x0, x0, x1, lsl #3
        add     x0, x0, #8
        str     x0, [x20, #SLOT_ENVP]
        ldr     x2, [x0]
        str     x2, [x20, #SLOT_ENV_START]
.Lenvironment:
        ldr     x1, [x0], #8
        cbnz    x1, .Lenvironment
        str     x0, [x20, #SLOT_AUXV]
.Lauxiliary:
        ldp     x1, x2, [x0], #16
        cmp     x1, #AT_EXECFN
        b.ne    .Lnot_execfn
        str     x2, [x20, #SLOT_ENV_END]
.Lnot_execfn:
        cbnz    x1, .Lauxiliary
        ldr     x0, [x20, #SLOT_ENV_END]        // AT_EXECFN: its string follows the environment's
        ldr     x1, [x20, #SLOT_ENV_START]
        cbnz    x1, .Lstrings
        str     x0, [x20, #SLOT_ENV_START]
.Lstrings:
        ldrb    w1, [x0], #1
        cbnz    w1, .Lstrings
        str     x0, [x20, #SLOT_STRINGS_END]

        .macro argument index, register
        tbz     w9, #\index, 1f
        ldr     \register, [x20, \register, lsl #3]
1:
        .endm

next:
        ldrh    w10, [x19]
        ldrh    w9, [x19, #6]
        ldp     x0, x1, [x19, #8]
        ldp     x2, x3, [x19, #24]
        ldp     x4, x5, [x19, #40]
        ldr     x8, [x19, #56]
        argument 0, x0
        argument 1, x1
        argument 2, x2
        argument 3, x3
        argument 4, x4
        argument 5, x5
        argument 6, x8
        cbz     w10, op_syscall
        adr     x11, table
        ldrsh   x10, [x11, x10, lsl #1]
        add     x11, x11, x10
        br      x11

// result -> slot dst; an error of a required step ends everything
op_syscall:
        svc     #0
result:
        ldrh    w9, [x19, #4]
        str     x0, [x20, x9, lsl #3]
        ldrh    w9, [x19, #2]
        tbz     w9, #REQUIRED_BIT, advance
        cmn     x0, #4095
        b.hs    fail
advance:
        add     x19, x19, #STEP
        b       next

// a0 + a1 - a2 -> dst
op_set:
        add     x0, x0, x1
        sub     x0, x0, x2
keep:
        ldrh    w9, [x19, #4]
        str     x0, [x20, x9, lsl #3]
        b       advance

// the word at a0 + a1 -> dst
op_load:
        ldr     x0, [x0, x1]
        b       keep

op_load32:
        ldr     w0, [x0, x1]
        b       keep

// a1 -> the word at a0
op_store:
        str     x1, [x0]
        b       advance

// It may be what another thread awaits, which is to see all that was stored before.
op_store32:
        dmb     ish
        str     w1, [x0]
        b       advance

// a2 bytes from a1 to a0
op_copy:
        subs    x2, x2, #8
        b.lo    .Lcopy_rest
        ldr     x9, [x1], #8
        str     x9, [x0], #8
        b       op_copy
.Lcopy_rest:
        adds    x2, x2, #8
        b.eq    advance
.Lcopy_byte:
        ldrb    w9, [x1], #1
        strb    w9, [x0], #1
        subs    x2, x2, #1
        b.ne    .Lcopy_byte
        b       advance

// a2 bytes at a0 and a1 are equal; otherwise fail (required) or skip a3 steps
op_compare:
        cbz     x2, advance
        ldrb    w9, [x0], #1
        ldrb    w10, [x1], #1
        sub     x2, x2, #1
        cmp     w9, w10
        b.eq    op_compare
        mov     x2, x3
        b       otherwise

// a0 <= a1 (unsigned); otherwise fail (required) or skip a2 steps
op_at_most:
        cmp     x0, x1
        b.ls    advance
otherwise:
        mov     x0, #0
        ldrh    w9, [x19, #2]
        tbnz    w9, #REQUIRED_BIT, fail
        add     x19, x19, x2, lsl #6
        b       advance

// a1 is added to the pointers of the vector whose argv is at a0 and whose auxv is at a2
op_relocate:
        mov     w9, #2
.Lpointer:
        ldr     x10, [x0], #8
        cbz     x10, .Lend_of_pointers
        add     x10, x10, x1
        str     x10, [x0, #-8]
        b       .Lpointer
.Lend_of_pointers:
        subs    w9, w9, #1
        b.ne    .Lpointer
.Lentry:
        ldp     x9, x10, [x2], #16
        cbz     x9, advance
        cmp     x9, #AT_PLATFORM
        b.eq    .Lmoves
        cmp     x9, #AT_BASE_PLATFORM
        b.eq    .Lmoves
        cmp     x9, #AT_RANDOM
        b.eq    .Lmoves
        cmp     x9, #AT_EXECFN
        b.ne    .Lentry
.Lmoves:
        add     x10, x10, x1
        str     x10, [x2, #-8]
        b       .Lentry

// clone(flags a0, stack a1, parent's tid a2, child's tid a3, TLS a4), which the kernel takes with the last two
// the other way round; the child goes on at step a5. No stack is used, so the child needs none.
op_clone:
        mov     x9, x3
        mov     x3, x4
        mov     x4, x9
        svc     #0
        cbnz    x0, result
        mov     x19, x5
        b       next

// until the 32-bit word at a0 is a1
op_await:
        mov     x12, x0
        mov     w13, w1
.Lagain:
        ldar    w2, [x12]
        cmp     w2, w13
        b.eq    advance
        mov     x0, x12
        mov     x1, #FUTEX_WAIT_PRIVATE
        mov     x3, #0
        mov     x8, #SYS_futex
        svc     #0
        b       .Lagain

// the signal frame at a0 becomes the thread's state
op_sigreturn:
        mov     sp, x0
        mov     x8, #SYS_rt_sigreturn
        svc     #0

// The LZ4 block of a1 bytes at a0 becomes exactly a3 bytes at a2; otherwise fail (required) or skip a4
// steps. Whatever the block holds, nothing outside of either is read or written: what is copied 16 bytes
// at a time ends at least as many before the end of both.
// x0: the block, x1: its end, x2: what is written, x3: its end, x5: its start
op_lz4:
        add     x1, x0, x1
        add     x3, x2, x3
        mov     x5, x2

        .macro extend register                  // a length of 15 goes on in bytes, to the first below 255
        cmp     \register, #15
        b.ne    2f
1:
        cmp     x0, x1
        b.hs    .Lcorrupt
        ldrb    w9, [x0], #1
        add     \register, \register, x9
        cmp     w9, #255
        b.eq    1b
2:
        .endm

.Lsequence:
        cmp     x0, x1
        b.hs    .Lcorrupt
        ldrb    w6, [x0], #1                    // token: length of the literals, length of the match
        lsr     w7, w6, #4
        extend  x7
        sub     x10, x1, x0
        cmp     x7, x10
        b.hi    .Lcorrupt
        sub     x11, x3, x2
        cmp     x7, x11
        b.hi    .Lcorrupt
        cbz     x7, .Lmatch
        cmp     x10, x11
        csel    x10, x10, x11, ls               // the room that both have
        add     x11, x7, #15
        cmp     x11, x10
        b.hi    .Lliteral_byte
        mov     x12, x0
        add     x0, x0, x7
        add     x7, x2, x7
.Lliterals:
        ldr     q0, [x12], #16
        str     q0, [x2], #16
        cmp     x2, x7
        b.lo    .Lliterals
        mov     x2, x7
        b       .Lmatch
.Lliteral_byte:
        ldrb    w9, [x0], #1
        strb    w9, [x2], #1
        subs    x7, x7, #1
        b.ne    .Lliteral_byte
.Lmatch:
        cmp     x0, x1                          // the last sequence has no match
        b.eq    .Ldecompressed
        sub     x10, x1, x0
        cmp     x10, #2
        b.lo    .Lcorrupt
        ldrh    w10, [x0], #2                   // how far back the match begins
        cbz     w10, .Lcorrupt
        sub     x11, x2, x5
        cmp     x10, x11
        b.hi    .Lcorrupt
        and     w6, w6, #15
        extend  x6
        add     x6, x6, #4
        sub     x11, x3, x2
        cmp     x6, x11
        b.hi    .Lcorrupt
        sub     x12, x2, x10
        add     x13, x6, #15
        cmp     x13, x11
        b.hi    .Lmatch_byte
        cmp     x10, #16                        // a match nearer than 16 bytes repeats itself
        b.lo    .Lmatch_byte
        add     x6, x2, x6
.Lfar:
        ldr     q0, [x12], #16
        str     q0, [x2], #16
        cmp     x2, x6
        b.lo    .Lfar
        mov     x2, x6
        b       .Lsequence
.Lmatch_byte:
        ldrb    w9, [x12], #1
        strb    w9, [x2], #1
        subs    x6, x6, #1
        b.ne    .Lmatch_byte
        b       .Lsequence
.Ldecompressed:
        cmp     x2, x3
        b.eq    advance
.Lcorrupt:
        mov     x2, x4
        b       otherwise

// the value of entry a0 of the auxiliary vector, 0 without it -> dst
op_auxv:
        ldr     x1, [x20, #SLOT_AUXV]
        mov     x3, x0
.Lsearch:
        ldp     x2, x0, [x1], #16
        cmp     x2, x3
        b.eq    keep
        cbnz    x2, .Lsearch
        mov     x0, #0
        b       keep

// a0 has all bits of a1; otherwise fail or skip a2 steps
op_has_bits:
        bics    xzr, x1, x0
        b.eq    advance
        b       otherwise

// a0 becomes the thread pointer
op_thread_pointer:
        msr     tpidr_el0, x0
        b       advance

// a1 bytes at a0, written as data, may be executed from now on
op_sync_code:
        mrs     x9, ctr_el0
        mov     w10, #4
        ubfx    w11, w9, #16, #4                // log2 of the words of a line of the data cache
        lsl     w11, w10, w11
        and     w12, w9, #15                    // and of the instruction cache
        lsl     w12, w10, w12
        add     x1, x0, x1
        sub     x2, x11, #1
        bic     x2, x0, x2
.Lclean:
        cmp     x2, x1
        b.hs    .Lcleaned
        dc      cvau, x2
        add     x2, x2, x11
        b       .Lclean
.Lcleaned:
        dsb     ish
        sub     x2, x12, #1
        bic     x2, x0, x2
.Linvalidate:
        cmp     x2, x1
        b.hs    .Linvalidated
        ic      ivau, x2
        add     x2, x2, x12
        b       .Linvalidate
.Linvalidated:
        dsb     ish
        isb
        b       advance

// One line: prefix, name of the step, a2 bytes at a1, and the name of the error when a0 is one (a result,
// -errno). Then the program goes on at the step in SLOT_FALLBACK, once; without one it ends with
// SLOT_EXIT_STATUS.
op_fail:
        mov     x6, x1
        mov     x7, x2
        b       .Lfail
fail:
        mov     x6, #0                          // other steps that fail have no text
        mov     x7, #0
.Lfail:
        neg     x12, x0
        add     x1, x20, #IOVEC
        ldr     x2, [x20, #SLOT_PREFIX]
        ldr     x3, [x20, #SLOT_PREFIX_LENGTH]
        stp     x2, x3, [x1]
        ldr     x2, [x20, #SLOT_PROGRAM]        // names: {offset, length} of each step, from SLOT_NAMES
        sub     x2, x19, x2
        ldr     x3, [x20, #SLOT_NAMES]
        add     x2, x3, x2, lsr #3
        ldp     w4, w5, [x2]
        add     x4, x4, x3
        stp     x4, x5, [x1, #16]
        stp     x6, x7, [x1, #32]
        mov     x2, #3
        cbz     x12, .Lnewline
        ldr     x3, [x20, #SLOT_ERRNO_COUNT]
        cmp     x12, x3                         // numbers of the kernel's own do leak (524, ENOTSUPP)
        b.hs    .Lnewline
        ldr     x3, [x20, #SLOT_ERRNOS]
        add     x3, x3, x12, lsl #5             // 32 bytes an error, ": ENOENT" and zeros
        mov     x4, #0
.Lletter:
        ldrb    w5, [x3, x4]
        cbz     w5, .Lmeasured
        add     x4, x4, #1
        cmp     x4, #32
        b.lo    .Lletter
.Lmeasured:
        stp     x3, x4, [x1, #48]
        mov     x2, #4
.Lnewline:
        add     x4, x1, x2, lsl #4
        adr     x3, newline
        mov     x5, #1
        stp     x3, x5, [x4]
        add     x2, x2, #1
        mov     x0, #2
        mov     x8, #SYS_writev
        svc     #0
        ldr     x19, [x20, #SLOT_FALLBACK]
        str     xzr, [x20, #SLOT_FALLBACK]
        cbnz    x19, next
        ldr     x0, [x20, #SLOT_EXIT_STATUS]
        mov     x8, #SYS_exit_group
        svc     #0

newline:
        .byte   10
        .balign 2
table:                                          // in the order of OP in steps.ts
        .hword  op_syscall - table
        .hword  op_set - table
        .hword  op_load - table
        .hword  op_load32 - table
        .hword  op_store - table
        .hword  op_store32 - table
        .hword  op_copy - table
        .hword  op_compare - table
        .hword  op_at_most - table
        .hword  fail - table                    // CPUID, of x86-64 only
        .hword  fail - table                    // XGETBV, likewise
        .hword  op_relocate - table
        .hword  op_clone - table
        .hword  op_await - table
        .hword  op_sigreturn - table
        .hword  op_fail - table
        .hword  op_lz4 - table
        .hword  op_auxv - table
        .hword  op_has_bits - table
        .hword  op_thread_pointer - table
        .hword  op_sync_code - table
