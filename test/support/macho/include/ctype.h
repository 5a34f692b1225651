/*
 * Minimal Darwin <ctype.h> for tests: only what sample programs and unexec/runtime use. Names, values and
 * layouts are those of the macOS 11 SDK (Libc include/ctype.h; the functions only, not the tables).
 */
#pragma once
#ifdef __cplusplus
extern "C" {
#endif
int isalpha(int);
int isdigit(int);
int isalnum(int);
int isspace(int);
int isprint(int);
int isupper(int);
int islower(int);
int toupper(int);
int tolower(int);
#ifdef __cplusplus
}
#endif
