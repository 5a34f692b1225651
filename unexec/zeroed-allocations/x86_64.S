/*
 * malloc and realloc whose blocks begin zeroed, up to their last usable byte, for x86-64: what a library's process
 * calls while it is initialised. A block that was in use before holds remains of it where its program has asked for
 * less than it got, and pointers among them would be taken for the program's.
 *
 * x86_64.ts holds the bytes (npm run stubs writes them, a test compares).
 *
 *     0x00   malloc(rdi)
 *     0x20   realloc(rdi, rsi)
 *     0xc0   address of calloc, which clears all of a block, and of free
 *
 * Facts: System V ABI for x86-64, 3.2.3; glibc's malloc/malloc.c: the word before a block is its size with three
 * flags (2: a mapping of its own), of which 8 bytes (16 then) are not usable.
 */
        .intel_syntax noprefix
        .text

        .set CALLOC, 0xc0
        .set FREE, 0xc8
        .set IS_MMAPPED, 2

start:
malloc:
        endbr64
        mov     rsi, rdi
        mov     edi, 1
        jmp     [rip + start + CALLOC]

        .org    0x20
realloc:
        endbr64
        test    rdi, rdi
        jz      2f
        test    rsi, rsi
        jz      3f
        push    rbx
        push    r12
        push    r13
        mov     rbx, rdi
        mov     r12, rsi
        mov     edi, 1
        call    [rip + start + CALLOC]
        test    rax, rax
        jz      1f
        mov     r13, rax
        mov     rcx, [rbx - 8]
        lea     rdx, [rcx - 8]
        and     ecx, IS_MMAPPED
        shl     ecx, 2
        and     rdx, -8
        sub     rdx, rcx
        cmp     rdx, r12
        cmova   rdx, r12
        mov     rcx, rdx
        mov     rdi, r13
        mov     rsi, rbx
        rep movsb
        mov     rdi, rbx
        call    [rip + start + FREE]
        mov     rax, r13
1:      pop     r13
        pop     r12
        pop     rbx
        ret
2:      mov     rdi, rsi
        jmp     malloc
3:      push    rsi
        call    [rip + start + FREE]
        pop     rax
        ret
        .org    0xc0
