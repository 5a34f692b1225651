/* <stdio.h>: streams are those of the C library of Linux; only variadic functions need anything done. */
#include "loader.h"
#include "shims.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int program_vasprintf(char **result, const char *format, va_list list)
{
    char *text = NULL;
    int length = vasprintf(&text, format, list);
    if (length < 0) return length;
    *result = program_malloc(length + 1); /* the program will free() it */
    if (*result != NULL) memcpy(*result, text, length + 1);
    free(text);
    return *result == NULL ? -1 : length;
}

VARIADIC(int, printf, 1, (const char *format), format, vprintf(format, list))
VARIADIC(int, fprintf, 2, (FILE *file, const char *format), format, vfprintf(file, format, list))
VARIADIC(int, dprintf, 2, (int fd, const char *format), format, vdprintf(fd, format, list))
VARIADIC(int, sprintf, 2, (char *to, const char *format), format, vsprintf(to, format, list))
VARIADIC(int, snprintf, 3, (char *to, size_t size, const char *format), format, vsnprintf(to, size, format, list))
VARIADIC(int, asprintf, 2, (char **to, const char *format), format, program_vasprintf(to, format, list))
VARIADIC(int, sscanf, 2, (const char *from, const char *format), format, vsscanf(from, format, list))
VARIADIC(int, fscanf, 2, (FILE *file, const char *format), format, vfscanf(file, format, list))
/* With a flag and a size more than the plain ones: what Apple's <secure/_stdio.h> calls. */
VARIADIC(int, sprintf_chk, 4, (char *to, int flag, size_t room, const char *format), format,
         ((void)flag, vsnprintf(to, room, format, list)))
VARIADIC(int, snprintf_chk, 5, (char *to, size_t size, int flag, size_t room, const char *format), format,
         ((void)flag, (void)room, vsnprintf(to, size, format, list)))

#ifdef __aarch64__
static int shim_vprintf(const char *format, void *at) { return vprintf(format, arguments_at(at)); }
static int shim_vfprintf(FILE *file, const char *format, void *at) { return vfprintf(file, format, arguments_at(at)); }
static int shim_vsnprintf(char *to, size_t size, const char *format, void *at)
{
    return vsnprintf(to, size, format, arguments_at(at));
}
#else
#define shim_vprintf vprintf
#define shim_vfprintf vfprintf
#define shim_vsnprintf vsnprintf
#endif

/* Names that mean the same here and there. */
#define SAME(name) {"_" #name, name}

const struct shim stdio_shims[] = {
    {"___stdinp", &stdin}, {"___stdoutp", &stdout}, {"___stderrp", &stderr},
    {"_printf", shim_printf}, {"_fprintf", shim_fprintf}, {"_dprintf", shim_dprintf}, {"_sprintf", shim_sprintf},
    {"_snprintf", shim_snprintf}, {"_asprintf", shim_asprintf}, {"_sscanf", shim_sscanf}, {"_fscanf", shim_fscanf},
    {"___sprintf_chk", shim_sprintf_chk}, {"___snprintf_chk", shim_snprintf_chk}, {"_vprintf", shim_vprintf},
    {"_vfprintf", shim_vfprintf}, {"_vsnprintf", shim_vsnprintf},
    SAME(puts), SAME(putchar), SAME(fputs), SAME(fputc), SAME(putc), SAME(fgetc), SAME(getchar), SAME(fgets),
    SAME(fopen), SAME(fclose), SAME(fflush), SAME(fseek), SAME(ftell), SAME(feof), SAME(ferror), SAME(fread),
    SAME(fwrite), SAME(setvbuf), SAME(perror), {NULL, NULL},
};
