/*
 * The restorer for x86-64: the machine code of every `resume` executable, an interpreter of the
 * restore program that steps.ts describes. It is the same for every image; x86_64.ts holds its bytes
 * (npm run restorer writes them, a test compares).
 *
 * It runs without a stack, without libc and, after the first steps, without any other mapping than its
 * own window:
 *
 *     window + 0x0000   ELF header, program headers        read, execute
 *     window + 0x0400   this code
 *     window + 0x1000   slots, scratch, steps, names       read, write
 *
 * A step is 64 bytes: op (u16), flags (u16), dst (u16), mask (u16), a0..a5 (u64), nr (u64). Where bit i
 * of mask is set, argument i is the number of a slot and stands for its value (bit 6: nr).
 *
 * Facts: System V ABI for x86-64, 3.4.1 (the stack of a new process); syscall(2); Intel SDM volume 2
 * (CPUID, XGETBV); the LZ4 block format description 1.6.3 (lz4_Block_format.md).
 */
        .intel_syntax noprefix
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
        .set IOVEC, 0xf80                       # last 128 bytes of the slot page

        .set STEP, 64
        .set REQUIRED, 1

        .set AT_PLATFORM, 15
        .set AT_BASE_PLATFORM, 24
        .set AT_RANDOM, 25
        .set AT_EXECFN, 31

        .set SYS_rt_sigreturn, 15
        .set SYS_writev, 20
        .set SYS_arch_prctl, 158
        .set SYS_futex, 202
        .set SYS_exit_group, 231
        .set FUTEX_WAIT_PRIVATE, 128
        .set ARCH_SET_FS, 0x1002

# rbx: the step, r12: the slots. Steps may clobber everything else.
_start:
        lea     r12, [rip + _start + 0xc00]
        mov     rbx, [r12 + SLOT_PROGRAM]

# The vector that the kernel left on the stack: argc, argv, 0, envp, 0, auxv, strings.
        mov     [r12 + SLOT_SP], rsp
        mov     rax, [rsp]
        mov     [r12 + SLOT_ARGC], rax
        lea     rdx, [rsp + 8]
        mov     [r12 + SLOT_ARGV], rdx
        mov     rcx, [rdx]
        mov     [r12 + SLOT_ARG_START], rcx
        lea     rdx, [rdx + rax * 8 + 8]
        mov     [r12 + SLOT_ENVP], rdx
        mov     rcx, [rdx]
        mov     [r12 + SLOT_ENV_START], rcx
.Lenvironment:
        mov     rax, [rdx]
        add     rdx, 8
        test    rax, rax
        jnz     .Lenvironment
        mov     [r12 + SLOT_AUXV], rdx
.Lauxiliary:
        mov     rax, [rdx]
        mov     rcx, [rdx + 8]
        add     rdx, 16
        cmp     rax, AT_EXECFN
        jne     .Lnot_execfn
        mov     [r12 + SLOT_ENV_END], rcx
.Lnot_execfn:
        test    rax, rax
        jnz     .Lauxiliary
        mov     rdi, [r12 + SLOT_ENV_END]       # AT_EXECFN: its string follows the environment's
        cmp     qword ptr [r12 + SLOT_ENV_START], 0
        jne     .Lstrings
        mov     [r12 + SLOT_ENV_START], rdi
.Lstrings:
        cmp     byte ptr [rdi], 0
        lea     rdi, [rdi + 1]
        jne     .Lstrings
        mov     [r12 + SLOT_STRINGS_END], rdi

        .macro argument index, register
        mov     \register, [rbx + 8 + 8 * \index]
        bt      ebp, \index
        jnc     1f
        mov     \register, [r12 + \register * 8]
1:
        .endm

next:
        movzx   ebp, word ptr [rbx + 6]
        argument 0, rdi
        argument 1, rsi
        argument 2, rdx
        argument 3, r10
        argument 4, r8
        argument 5, r9
        argument 6, rax
        movzx   ecx, word ptr [rbx]
        test    ecx, ecx
        jz      op_syscall
        lea     r13, [rip + table]
        movsx   rcx, word ptr [r13 + rcx * 2]
        add     r13, rcx
        jmp     r13

# result -> slot dst; an error of a required step ends everything
op_syscall:
        syscall
result:
        movzx   ecx, word ptr [rbx + 4]
        mov     [r12 + rcx * 8], rax
        test    byte ptr [rbx + 2], REQUIRED
        jz      advance
        cmp     rax, -4095
        jae     fail
advance:
        add     rbx, STEP
        jmp     next

# a0 + a1 - a2 -> dst
op_set:
        lea     rax, [rdi + rsi]
        sub     rax, rdx
keep:
        movzx   ecx, word ptr [rbx + 4]
        mov     [r12 + rcx * 8], rax
        jmp     advance

# the word at a0 + a1 -> dst
op_load:
        mov     rax, [rdi + rsi]
        jmp     keep

op_load32:
        mov     eax, [rdi + rsi]
        jmp     keep

# a1 -> the word at a0
op_store:
        mov     [rdi], rsi
        jmp     advance

op_store32:
        mov     [rdi], esi
        jmp     advance

# a2 bytes from a1 to a0
op_copy:
        mov     rcx, rdx
        rep movsb
        jmp     advance

# a2 bytes at a0 and a1 are equal; otherwise fail (required) or skip a3 steps
op_compare:
        mov     rcx, rdx
        cmp     rcx, rcx                        # no bytes at all are equal
        repe cmpsb
        je      advance
        mov     rdx, r10
        jmp     otherwise

# a0 <= a1 (unsigned); otherwise fail (required) or skip a2 steps
op_at_most:
        cmp     rdi, rsi
        jbe     advance
otherwise:
        xor     eax, eax
        test    byte ptr [rbx + 2], REQUIRED
        jnz     fail
        shl     rdx, 6
        add     rbx, rdx
        jmp     advance

# CPUID leaf a0, subleaf a1 (lower half) has all bits of a1's upper half in eax, a2 in ebx, a3 in ecx and a4
# in edx; otherwise fail or skip a5 steps. One instruction for four registers: it traps on a virtual machine,
# for microseconds.
op_cpuid:
        mov     eax, edi
        mov     ecx, esi
        mov     r13, rbx
        mov     r14, rdx
        cpuid
        shr     rsi, 32
        not     eax
        and     esi, eax
        not     ebx
        not     ecx
        not     edx
        and     ebx, r14d
        and     ecx, r10d
        and     edx, r8d
        or      ebx, ecx
        or      edx, ebx
        or      esi, edx
        mov     eax, esi
        mov     rbx, r13
        mov     rdx, r9
        test    eax, eax
        jz      advance
        jmp     otherwise

# XCR0 has all bits of a0; otherwise fail or skip a1 steps
op_xgetbv:
        xor     ecx, ecx
        xgetbv
        shl     rdx, 32
        or      rax, rdx
        and     rax, rdi
        mov     rdx, rsi
        cmp     rax, rdi
        je      advance
        jmp     otherwise

# a1 is added to the pointers of the vector whose argv is at a0 and whose auxv is at a2
op_relocate:
        mov     ecx, 2
.Lpointer:
        mov     rax, [rdi]
        test    rax, rax
        jz      .Lend_of_pointers
        add     [rdi], rsi
        add     rdi, 8
        jmp     .Lpointer
.Lend_of_pointers:
        add     rdi, 8
        dec     ecx
        jnz     .Lpointer
.Lentry:
        mov     rax, [rdx]
        test    rax, rax
        jz      advance
        cmp     rax, AT_PLATFORM
        je      .Lmoves
        cmp     rax, AT_BASE_PLATFORM
        je      .Lmoves
        cmp     rax, AT_RANDOM
        je      .Lmoves
        cmp     rax, AT_EXECFN
        jne     .Lstays
.Lmoves:
        add     [rdx + 8], rsi
.Lstays:
        add     rdx, 16
        jmp     .Lentry

# clone(a0 .. a4); the child goes on at step a5. No stack is used, so the child needs none.
op_clone:
        syscall
        test    rax, rax
        jnz     result
        mov     rbx, r9
        jmp     next

# until the 32-bit word at a0 is a1
op_await:
        mov     r13d, esi
.Lagain:
        mov     edx, [rdi]
        cmp     edx, r13d
        je      advance
        mov     esi, FUTEX_WAIT_PRIVATE
        xor     r10d, r10d
        mov     eax, SYS_futex
        syscall
        jmp     .Lagain

# the signal frame at a0 becomes the thread's state
op_sigreturn:
        mov     rsp, rdi
        mov     eax, SYS_rt_sigreturn
        syscall

# The LZ4 block of a1 bytes at a0 becomes exactly a3 bytes at a2; otherwise fail (required) or skip a4
# steps. Whatever the block holds, nothing outside of either is read or written: what is copied 16 bytes
# at a time ends at least as many before the end of both.
# r13: the block, r14: its end, rdi: what is written, r15: its end, r9: its start
op_lz4:
        mov     r13, rdi
        lea     r14, [rdi + rsi]
        mov     rdi, rdx
        mov     r9, rdx
        lea     r15, [rdx + r10]

        .macro extend register                  # a length of 15 goes on in bytes, to the first below 255
        cmp     \register, 15
        jne     2f
1:
        cmp     r13, r14
        jae     .Lcorrupt
        movzx   edx, byte ptr [r13]
        inc     r13
        add     \register, rdx
        cmp     edx, 255
        je      1b
2:
        .endm

.Lsequence:
        cmp     r13, r14
        jae     .Lcorrupt
        movzx   ebp, byte ptr [r13]             # token: length of the literals, length of the match
        inc     r13
        mov     ecx, ebp
        shr     ecx, 4
        extend  rcx
        mov     rax, r14
        sub     rax, r13
        cmp     rcx, rax
        ja      .Lcorrupt
        mov     rdx, r15
        sub     rdx, rdi
        cmp     rcx, rdx
        ja      .Lcorrupt
        test    rcx, rcx
        jz      .Lmatch
        cmp     rax, rdx
        cmova   rax, rdx                        # the room that both have
        lea     rdx, [rcx + 15]
        mov     rsi, r13
        add     r13, rcx
        cmp     rdx, rax
        ja      .Lliterals_exact
        lea     rdx, [rdi + rcx]
.Lliterals:
        movups  xmm0, [rsi]
        movups  [rdi], xmm0
        add     rsi, 16
        add     rdi, 16
        cmp     rdi, rdx
        jb      .Lliterals
        mov     rdi, rdx
        jmp     .Lmatch
.Lliterals_exact:
        rep movsb
.Lmatch:
        cmp     r13, r14                        # the last sequence has no match
        je      .Ldecompressed
        mov     rax, r14
        sub     rax, r13
        cmp     rax, 2
        jb      .Lcorrupt
        movzx   eax, word ptr [r13]             # how far back the match begins
        add     r13, 2
        test    eax, eax
        jz      .Lcorrupt
        mov     rdx, rdi
        sub     rdx, r9
        cmp     rax, rdx
        ja      .Lcorrupt
        and     ebp, 15
        extend  rbp
        add     rbp, 4
        mov     rdx, r15
        sub     rdx, rdi
        cmp     rbp, rdx
        ja      .Lcorrupt
# A match nearer than 16 bytes repeats itself: copied once, it may be copied from twice as far.
.Lnear:
        cmp     rax, 16
        jae     .Lfar
        mov     rcx, rax
        cmp     rcx, rbp
        cmova   rcx, rbp
        sub     rbp, rcx
        mov     rsi, rdi
        sub     rsi, rax
.Lbyte:
        mov     dl, [rsi]
        mov     [rdi], dl
        inc     rsi
        inc     rdi
        dec     rcx
        jnz     .Lbyte
        add     rax, rax
        test    rbp, rbp
        jnz     .Lnear
        jmp     .Lsequence
.Lfar:
        mov     rsi, rdi
        sub     rsi, rax
        mov     rdx, r15
        sub     rdx, rdi
        lea     rax, [rbp + 15]
        cmp     rax, rdx
        ja      .Lmatch_exact
        add     rbp, rdi
.Lcopy:
        movups  xmm0, [rsi]
        movups  [rdi], xmm0
        add     rsi, 16
        add     rdi, 16
        cmp     rdi, rbp
        jb      .Lcopy
        mov     rdi, rbp
        jmp     .Lsequence
.Lmatch_exact:
        mov     rcx, rbp
        rep movsb
        jmp     .Lsequence
.Ldecompressed:
        cmp     rdi, r15
        je      advance
.Lcorrupt:
        mov     rdx, r8
        jmp     otherwise

# the value of entry a0 of the auxiliary vector, 0 without it -> dst
op_auxv:
        mov     rdx, [r12 + SLOT_AUXV]
.Lsearch:
        mov     rcx, [rdx]
        mov     rax, [rdx + 8]
        add     rdx, 16
        cmp     rcx, rdi
        je      keep
        test    rcx, rcx
        jnz     .Lsearch
        xor     eax, eax
        jmp     keep

# a0 has all bits of a1; otherwise fail or skip a2 steps
op_has_bits:
        not     rdi
        test    rdi, rsi
        jz      advance
        jmp     otherwise

# a0 becomes the thread pointer
op_thread_pointer:
        mov     rsi, rdi
        mov     edi, ARCH_SET_FS
        mov     eax, SYS_arch_prctl
        syscall
        jmp     result

# One line: prefix, name of the step, a2 bytes at a1, and the name of the error when a0 is one (a result,
# -errno). Then the program goes on at the step in SLOT_FALLBACK, once; without one it ends with
# SLOT_EXIT_STATUS.
op_fail:
        mov     rax, rdi
        jmp     .Lfail
fail:
        xor     esi, esi                        # other steps that fail have no text
        xor     edx, edx
.Lfail:
        mov     r13, rax
        mov     r15, rdx
        lea     r14, [r12 + IOVEC]
        mov     rax, [r12 + SLOT_PREFIX]
        mov     [r14], rax
        mov     rax, [r12 + SLOT_PREFIX_LENGTH]
        mov     [r14 + 8], rax
        mov     rax, rbx                        # names: {offset, length} of each step, from SLOT_NAMES
        sub     rax, [r12 + SLOT_PROGRAM]
        shr     rax, 3
        mov     rcx, [r12 + SLOT_NAMES]
        mov     edx, [rcx + rax + 4]
        mov     eax, [rcx + rax]
        add     rax, rcx
        mov     [r14 + 16], rax
        mov     [r14 + 24], rdx
        mov     [r14 + 32], rsi
        mov     [r14 + 40], r15
        mov     edx, 3
        neg     r13
        jz      .Lnewline
        cmp     r13, [r12 + SLOT_ERRNO_COUNT]   # numbers of the kernel's own do leak (524, ENOTSUPP)
        jae     .Lnewline
        shl     r13, 5                          # 32 bytes an error, ": ENOENT" and zeros
        add     r13, [r12 + SLOT_ERRNOS]
        xor     ecx, ecx
.Lletter:
        cmp     byte ptr [r13 + rcx], 0
        je      .Lmeasured
        inc     ecx
        cmp     ecx, 32
        jb      .Lletter
.Lmeasured:
        mov     [r14 + 48], r13
        mov     [r14 + 56], rcx
        mov     edx, 4
.Lnewline:
        mov     ecx, edx
        shl     ecx, 4
        lea     rax, [rip + newline]
        mov     [r14 + rcx], rax
        mov     qword ptr [r14 + rcx + 8], 1
        inc     edx
        mov     rsi, r14
        mov     edi, 2
        mov     eax, SYS_writev
        syscall
        xor     eax, eax
        xchg    rax, [r12 + SLOT_FALLBACK]
        mov     rbx, rax
        test    rax, rax
        jnz     next
        mov     rdi, [r12 + SLOT_EXIT_STATUS]
        mov     eax, SYS_exit_group
        syscall

newline:
        .byte   10
        .balign 2
table:                                          # in the order of OP in steps.ts
        .word   op_syscall - table
        .word   op_set - table
        .word   op_load - table
        .word   op_load32 - table
        .word   op_store - table
        .word   op_store32 - table
        .word   op_copy - table
        .word   op_compare - table
        .word   op_at_most - table
        .word   op_cpuid - table
        .word   op_xgetbv - table
        .word   op_relocate - table
        .word   op_clone - table
        .word   op_await - table
        .word   op_sigreturn - table
        .word   op_fail - table
        .word   op_lz4 - table
        .word   op_auxv - table
        .word   op_has_bits - table
        .word   op_thread_pointer - table
        .word   advance - table                 # SYNC_CODE: instructions follow what is written by themselves
