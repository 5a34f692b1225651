/*
 * What a frozen library calls in place of free, realloc and their like, for x86-64. A block of the image was
 * never handed out by the allocator of the process that loads it: free leaves it alone, realloc copies it out,
 * malloc_usable_size reads the word before it. Anything else goes on to the function that was imported.
 *
 * x86_64.ts holds the bytes (npm run stubs writes them, a test compares), functions.ts the names in this order.
 * The code is position independent; its table is one page after its first byte:
 *
 *     table + 0          bytes from the table to the end of the last block
 *     table + 8          what the initialiser returned
 *     table + 16 + 8 k   the function that was imported, for number k; 0 where it was not
 *
 * Number k has 64 bytes from 64 k on: what is called, and from 48 on a resolver that returns its address,
 * for R_X86_64_IRELATIVE: of a function that is bound lazily, this is the only relocation without a symbol
 * that every loader takes.
 *
 * Facts: System V ABI for x86-64, 3.2.3; malloc(3), reallocarray(3).
 */
        .intel_syntax noprefix
        .text

        .set TABLE, 0x1000
        .set SIZE, 0
        .set RETURNED, 8
        .set FUNCTIONS, 16

/* rax: the table. Carry: rdi is a block of the image. All argument registers stay as they are. */
        .macro IS_FROZEN
        endbr64
        lea     rax, [rip + start + TABLE]
        mov     rcx, rdi
        sub     rcx, rax
        cmp     rcx, [rax + SIZE]
        .endm

        .macro RESOLVER number
        .org    64 * \number + 48
        endbr64
        lea     rax, [rip + start + 64 * \number]
        ret
        .org    64 * \number + 64
        .endm

        .macro FREE number
        IS_FROZEN
        jb      1f
        jmp     [rax + FUNCTIONS + 8 * \number]
1:      ret
        RESOLVER \number
        .endm

start:
        .irp    number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
        FREE    \number
        .endr

/* 17: realloc(rdi, rsi) */
        IS_FROZEN
        lea     r8, [rax + FUNCTIONS + 8 * 17]
        jb      1f
        jmp     [r8]
1:      mov     rax, rsi
        jmp     copy
        RESOLVER 17

/* 18: reallocarray(rdi, rsi, rdx); a product that overflows is refused by the function itself. */
        IS_FROZEN
        lea     r8, [rax + FUNCTIONS + 8 * 18]
        jb      1f
        jmp     [r8]
1:      mov     rax, rsi
        imul    rax, rdx
        jmp     copy
        RESOLVER 18

/* 19: malloc_usable_size(rdi) */
        IS_FROZEN
        jb      1f
        jmp     [rax + FUNCTIONS + 8 * 19]
1:      mov     rax, [rdi - 8]
        ret
        RESOLVER 19

/* 20: the initialiser, called again. */
        endbr64
        mov     rax, [rip + start + TABLE + RETURNED]
        ret
        .org    64 * 21

/*
 * rax bytes that the imported function at [r8] allocates, with what fits of the block at rdi. No bytes are
 * wanted: then the block is freed, and there is none.
 */
copy:
        test    rax, rax
        jz      1f
        push    rdi
        push    rax
        sub     rsp, 8
        xor     edi, edi
        call    [r8]
        add     rsp, 8
        pop     rcx
        pop     rsi
        test    rax, rax
        jz      1f
        cmp     rcx, [rsi - 8]
        cmova   rcx, [rsi - 8]
        mov     rdi, rax
        rep movsb
1:      ret
