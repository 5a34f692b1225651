/*
 * Shims: what the loader gives to a program in the place of libSystem. Each file with shims has a list
 * that ends with a NULL; shims.c looks through all of them.
 *
 * VARIADIC makes a shim of a function with `...`. On arm64 Apple passes such arguments on the stack, in
 * slots of 8 bytes, where AAPCS64 has registers first (Apple, "Writing ARM64 code for Apple platforms").
 * A va_list of AAPCS64 whose registers are used up reads just such slots: the shim is two instructions,
 * which hand the stack on as one more argument. `va_list` itself is a plain pointer in Darwin on arm64.
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>

struct shim { const char *name; const void *address; };

/* Numbers of Darwin as Linux has them. */
int linux_open_flags(int);
int linux_signal(int);

#ifdef __aarch64__
typedef void *darwin_va_list;
static inline va_list arguments_at(void *stack)
{
    va_list list;
    list.__stack = stack, list.__gr_top = list.__vr_top = NULL, list.__gr_offs = list.__vr_offs = 0;
    return list;
}
#define LIST(darwin) arguments_at(darwin)
/* type shim_name(parameters, ...) { result }: result uses `list`; `fixed` is the number of parameters. */
#define VARIADIC(type, name, fixed, parameters, last, result) \
    __attribute__((used)) type shim_##name##_at(REMOVE_PARENS parameters, void *stack); \
    __attribute__((used)) type shim_##name##_at(REMOVE_PARENS parameters, void *stack) \
    { \
        va_list list = arguments_at(stack); \
        return result; \
    } \
    void shim_##name(void); \
    __asm__(".text\n.globl shim_" #name "\nshim_" #name ": mov x" #fixed ", sp\n b shim_" #name "_at\n");
#else
typedef struct __va_list_tag *darwin_va_list;
#define VARIADIC(type, name, fixed, parameters, last, result) \
    static type shim_##name(REMOVE_PARENS parameters, ...) \
    { \
        va_list list; \
        va_start(list, last); \
        type value = result; \
        va_end(list); \
        return value; \
    }
#endif
#define REMOVE_PARENS(...) __VA_ARGS__
