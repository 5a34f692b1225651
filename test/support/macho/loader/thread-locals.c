/*
 * Thread-local variables, as dyld-1378 has them (libdyld/ThreadLocalVariables.cpp): a descriptor's thunk
 * is called for the address and keeps all registers but the result's; each thread has a block, made with
 * malloc when it first asks, from the template in the file, and freed when it ends.
 */
#include "loader.h"
#include <pthread.h>
#include <string.h>

static const void *template_start;
static uint64_t template_size, template_filled;
static pthread_key_t key;

static void find_template(const struct image *);
static void prepare_descriptors(const struct image *, const struct section_64 *);

void prepare_thread_locals(const struct image *image)
{
    find_template(image);
    bool have_key = false;
    for (unsigned i = 0; i < image->nsegments; i++)
        for (unsigned j = 0; j < image->segments[i]->nsects; j++) {
            const struct section_64 *section = &sections_of(image->segments[i])[j];
            if ((section->flags & SECTION_TYPE) != S_THREAD_LOCAL_VARIABLES) continue;
            if (!have_key && pthread_key_create(&key, program_free) != 0) fail("no key for thread-locals is left");
            have_key = true;
            prepare_descriptors(image, section);
        }
}

/* All sections of both types, which have to follow each other, the zero-filled ones last. */
static void find_template(const struct image *image)
{
    uint64_t start = 0, end = 0, filled = 0;
    for (unsigned i = 0; i < image->nsegments; i++)
        for (unsigned j = 0; j < image->segments[i]->nsects; j++) {
            const struct section_64 *section = &sections_of(image->segments[i])[j];
            uint32_t type = section->flags & SECTION_TYPE;
            if (type != S_THREAD_LOCAL_REGULAR && type != S_THREAD_LOCAL_ZEROFILL) continue;
            if (start == 0) start = filled = section->addr;
            if (end != 0 && (section->addr < end || section->addr - end >= 1ul << section->align))
                fail("section %.16s: thread-locals do not follow each other", section->sectname);
            end = section->addr + section->size;
            if (type == S_THREAD_LOCAL_REGULAR) filled = end;
        }
    template_start = (const void *)slid(image, start);
    template_size = end - start, template_filled = filled - start;
}

static void prepare_descriptors(const struct image *image, const struct section_64 *section)
{
    struct tlv_descriptor *descriptor = (void *)slid(image, section->addr);
    if (section->size % sizeof *descriptor != 0)
        fail("section %.16s: size 0x%lx is not a multiple of %lu", section->sectname, section->size, sizeof *descriptor);
    for (uint64_t i = 0; i < section->size / sizeof *descriptor; i++) {
        if (descriptor[i].thunk != tlv_bootstrap)
            fail("thread-local %lu: its thunk is not bound to __tlv_bootstrap", i);
        if (descriptor[i].key != 0) fail("thread-local %lu: its key is 0x%lx in the file, want 0", i, descriptor[i].key);
        if (descriptor[i].offset >= template_size)
            fail("thread-local %lu: offset 0x%lx is beyond the template of 0x%lx bytes", i, descriptor[i].offset, template_size);
        descriptor[i].key = key;
    }
}

/* Called by the thunk below. */
__attribute__((used)) void *thread_local_address(const struct tlv_descriptor *descriptor)
{
    uint8_t *block = pthread_getspecific(descriptor->key);
    if (block == NULL) {
        block = program_malloc(template_size);
        memcpy(block, template_start, template_filled);
        memset(block + template_filled, 0, template_size - template_filled);
        pthread_setspecific(descriptor->key, block);
    }
    return block + descriptor->offset;
}

#ifdef __aarch64__
__asm__(".text\n.globl tlv_bootstrap\ntlv_bootstrap:\n"
        "sub sp, sp, 656\n stp x29, x30, [sp]\n mov x29, sp\n"
        "stp x1, x2, [sp, 16]\n stp x3, x4, [sp, 32]\n stp x5, x6, [sp, 48]\n stp x7, x8, [sp, 64]\n"
        "stp x9, x10, [sp, 80]\n stp x11, x12, [sp, 96]\n stp x13, x14, [sp, 112]\n str x15, [sp, 128]\n"
        "stp q0, q1, [sp, 144]\n stp q2, q3, [sp, 176]\n stp q4, q5, [sp, 208]\n stp q6, q7, [sp, 240]\n"
        "stp q8, q9, [sp, 272]\n stp q10, q11, [sp, 304]\n stp q12, q13, [sp, 336]\n stp q14, q15, [sp, 368]\n"
        "stp q16, q17, [sp, 400]\n stp q18, q19, [sp, 432]\n stp q20, q21, [sp, 464]\n stp q22, q23, [sp, 496]\n"
        "stp q24, q25, [sp, 528]\n stp q26, q27, [sp, 560]\n stp q28, q29, [sp, 592]\n stp q30, q31, [sp, 624]\n"
        "bl thread_local_address\n"
        "ldp q30, q31, [sp, 624]\n ldp q28, q29, [sp, 592]\n ldp q26, q27, [sp, 560]\n ldp q24, q25, [sp, 528]\n"
        "ldp q22, q23, [sp, 496]\n ldp q20, q21, [sp, 464]\n ldp q18, q19, [sp, 432]\n ldp q16, q17, [sp, 400]\n"
        "ldp q14, q15, [sp, 368]\n ldp q12, q13, [sp, 336]\n ldp q10, q11, [sp, 304]\n ldp q8, q9, [sp, 272]\n"
        "ldp q6, q7, [sp, 240]\n ldp q4, q5, [sp, 208]\n ldp q2, q3, [sp, 176]\n ldp q0, q1, [sp, 144]\n"
        "ldr x15, [sp, 128]\n ldp x13, x14, [sp, 112]\n ldp x11, x12, [sp, 96]\n ldp x9, x10, [sp, 80]\n"
        "ldp x7, x8, [sp, 64]\n ldp x5, x6, [sp, 48]\n ldp x3, x4, [sp, 32]\n ldp x1, x2, [sp, 16]\n"
        "ldp x29, x30, [sp]\n add sp, sp, 656\n ret\n");
#else
__asm__(".text\n.globl tlv_bootstrap\ntlv_bootstrap:\n"
        "push %rbp\n mov %rsp, %rbp\n push %rdi\n push %rsi\n push %rdx\n push %rcx\n push %r8\n push %r9\n"
        "push %r10\n push %r11\n and $-16, %rsp\n sub $512, %rsp\n fxsave (%rsp)\n"
        "call thread_local_address\n"
        "fxrstor (%rsp)\n lea -64(%rbp), %rsp\n pop %r11\n pop %r10\n pop %r9\n pop %r8\n pop %rcx\n pop %rdx\n"
        "pop %rsi\n pop %rdi\n pop %rbp\n ret\n");
#endif
