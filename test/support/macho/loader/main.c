/*
 * macho-loader: runs a Mach-O executable on Linux, for the tests of unexec. It is dyld and the part of
 * xnu that loads programs, written from their sources without any code of unexec, so that it can judge
 * what unexec writes: every rule that it knows is checked before the program is mapped.
 *
 *     macho-loader [OPTION]... PROGRAM [ARGUMENT]...
 *
 *     --slide N           maps it N bytes above its own addresses; default: at random
 *     --at SYMBOL|entry   stops there, at the first time:
 *     --core FILE           writes an MH_CORE and ends with status 0
 *     --core-style xnu|lldb|modified   who is to have written it; default: xnu
 *     --stop                raises SIGSTOP, and goes on when it is continued
 *     --go-on               goes on after --core
 *     --foreign           imports that are not modelled come from the C library of Linux
 *     --shims             prints the names of all imports that are modelled
 *
 * Status 126: the program breaks a rule, which is said in one sentence.
 */
#include "loader.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options options = {.random_slide = true, .core_style = "xnu"};
struct image image;

static int read_options(int argc, char **argv);

int main(int argc, char **argv, char **envp)
{
    int program = read_options(argc, argv);
    open_image(&image, argv[program]);
    read_commands(&image);
    check_segments(&image);
    check_linkedit(&image);
    check_symbols(&image);
    check_signature(&image);

    map_image(&image, &options);
    start_zones();
    pthread_atfork(lock_zones, unlock_zones, reinit_zones);
    if (image.info) apply_dyld_info(&image);
    if (image.chained) apply_chained(&image);
    prepare_thread_locals(&image);
    /* Beyond this point, nothing of the program's is changed by the loader but for its trap. */
    protect_image(&image);

    register_thread();
    plant_trap(&image, &options);
    char executable_path[4200], *apple[] = {executable_path, NULL};
    snprintf(executable_path, sizeof executable_path, "executable_path=%s", image.path);
    remember_arguments(argc - program, argv + program);
    run_initialisers(&image, argc - program, argv + program, envp, apple);
    typedef int entry(int, char **, char **, char **);
    entry *start = (entry *)slid(&image, image.text->vmaddr + image.entry->entryoff);
    exit(start(argc - program, argv + program, envp, apple));
}

static char *value_of(char **argv, int *i)
{
    if (argv[*i + 1] == NULL) fail("%s needs a value", argv[*i]);
    return argv[++*i];
}

/* Index of PROGRAM. */
static int read_options(int argc, char **argv)
{
    image.path = "usage";
    for (int i = 1; i < argc; i++) {
        char *name = argv[i], *end = "";
        if (strncmp(name, "--", 2) != 0) return i;
        if (strcmp(name, "--slide") == 0) options.random_slide = false, options.slide = strtoull(value_of(argv, &i), &end, 0);
        else if (strcmp(name, "--at") == 0) options.at = value_of(argv, &i);
        else if (strcmp(name, "--core") == 0) options.core = value_of(argv, &i);
        else if (strcmp(name, "--core-style") == 0) options.core_style = value_of(argv, &i);
        else if (strcmp(name, "--stop") == 0) options.stop = true;
        else if (strcmp(name, "--go-on") == 0) options.go_on = true;
        else if (strcmp(name, "--foreign") == 0) options.foreign = true;
        else if (strcmp(name, "--shims") == 0) print_shims(), exit(0);
        else fail("%s is no option", name);
        if (*end != 0) fail("%s: %s is not a number", name, argv[i]);
    }
    fail("a program is missing");
}

void fail(const char *sentence, ...)
{
    va_list list;
    va_start(list, sentence);
    fflush(NULL);
    fprintf(stderr, "macho-loader: %s: ", image.path);
    vfprintf(stderr, sentence, list);
    fputc('\n', stderr);
    va_end(list);
    _exit(126);
}
