/*
 * Times whole runs of several commands in turn, from posix_spawn to reaped, with /dev/null as stdio. Node
 * cannot do this: its own spawn takes longer than what is timed here.
 *
 *     timer ROUNDS WARM_UPS BUDGET_US < plan > result
 *
 * The plan has a line a command, its words separated by tabs: "run PROGRAM ARG..." is started each time;
 * "ask PROGRAM ARG..." is a server, started once and left warm: for each byte at its descriptor 3 it forks,
 * lets the child do the work, and answers "NANOSECONDS STATUS\n" at its descriptor 4. All commands take
 * turns. A slow command sits out rounds, evenly, so that it takes about BUDGET_US in all, but not more than
 * makes it LEAST_RUNS. The result is JSON: [{"microseconds": [...], "faults": N}, ...], faults being the
 * minor page faults of the last run, -1 where that is not known. A command that fails ends it all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_COMMANDS 64
#define MAX_WORDS 64
#define LEAST_RUNS 7

struct command {
    char *words[MAX_WORDS + 1];
    bool is_server;
    pid_t server;
    int requests, answers;
    double *samples;
    int count, wanted;
    long faults;
};

static posix_spawn_file_actions_t null_stdio;
extern char **environ;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("timer: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static void check(const struct command *command, int status)
{
    if (WIFSIGNALED(status))
        fail("%s: killed by signal %d", command->words[0], WTERMSIG(status));
    if (status != 0)
        fail("%s: exit status %d", command->words[0], WEXITSTATUS(status));
}

static double run(struct command *command)
{
    struct rusage usage;
    pid_t pid;
    int status;
    double start = now();
    int error = posix_spawn(&pid, command->words[0], &null_stdio, NULL, command->words, environ);
    if (error != 0)
        fail("%s: %s", command->words[0], strerror(error));
    while (wait4(pid, &status, 0, &usage) < 0)
        if (errno != EINTR)
            fail("wait4: %s", strerror(errno));
    double end = now();
    check(command, status);
    command->faults = usage.ru_minflt;
    return end - start;
}

static double ask(struct command *command)
{
    char answer[64];
    size_t length = 0;
    long long nanoseconds;
    int status;
    if (write(command->requests, "?", 1) != 1)
        fail("%s: takes no requests: %s", command->words[0], strerror(errno));
    do {
        ssize_t got = read(command->answers, answer + length, sizeof answer - 1 - length);
        if (got <= 0)
            fail("%s: ended without an answer", command->words[0]);
        length += got;
    } while (answer[length - 1] != '\n' && length < sizeof answer - 1);
    answer[length] = '\0';
    if (sscanf(answer, "%lld %d", &nanoseconds, &status) != 2)
        fail("%s: answered '%s'", command->words[0], answer);
    check(command, status);
    return nanoseconds / 1e3;
}

static void start_server(struct command *command)
{
    int requests[2], answers[2];
    posix_spawn_file_actions_t actions;
    if (pipe2(requests, O_CLOEXEC) < 0 || pipe2(answers, O_CLOEXEC) < 0)
        fail("pipe2: %s", strerror(errno));
    /* Away from 3 and 4, which the actions are about to overwrite. */
    int request_end = fcntl(requests[0], F_DUPFD_CLOEXEC, 10);
    int answer_end = fcntl(answers[1], F_DUPFD_CLOEXEC, 10);
    command->requests = fcntl(requests[1], F_DUPFD_CLOEXEC, 10);
    command->answers = fcntl(answers[0], F_DUPFD_CLOEXEC, 10);
    for (int i = 0; i < 2; i++) {
        close(requests[i]);
        close(answers[i]);
    }
    posix_spawn_file_actions_init(&actions);
    for (int fd = 0; fd < 3; fd++)
        posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, request_end, 3);
    posix_spawn_file_actions_adddup2(&actions, answer_end, 4);
    int error = posix_spawn(&command->server, command->words[0], &actions, NULL, command->words, environ);
    if (error != 0)
        fail("%s: %s", command->words[0], strerror(error));
    posix_spawn_file_actions_destroy(&actions);
    close(request_end);
    close(answer_end);
}

static void stop_server(struct command *command)
{
    int status;
    close(command->requests);
    while (waitpid(command->server, &status, 0) < 0 && errno == EINTR)
        ;
}

static double measure(struct command *command)
{
    return command->is_server ? ask(command) : run(command);
}

static int read_plan(struct command *commands)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    int count = 0;
    while ((length = getline(&line, &capacity, stdin)) > 0) {
        struct command *command = &commands[count];
        int words = 0;
        char *rest = strdup(line);
        if (count++ == MAX_COMMANDS)
            fail("more than %d commands", MAX_COMMANDS);
        rest[strcspn(rest, "\n")] = '\0';
        char *kind = strsep(&rest, "\t");
        for (char *word; (word = strsep(&rest, "\t")) != NULL; command->words[words++] = word)
            if (words == MAX_WORDS)
                fail("more than %d words", MAX_WORDS);
        command->is_server = strcmp(kind, "ask") == 0;
        if ((!command->is_server && strcmp(kind, "run") != 0) || words == 0)
            fail("what is '%s'?", line);
        command->faults = -1;
    }
    free(line);
    return count;
}

/* How many of the rounds a command takes part in, by the time it took last. */
static int wanted_runs(double last, int rounds, double budget)
{
    double affordable = budget / last;
    int wanted = affordable < LEAST_RUNS ? LEAST_RUNS : affordable > rounds ? rounds : (int)affordable;
    return wanted < rounds ? wanted : rounds;
}

static void print_result(const struct command *commands, int count)
{
    for (int i = 0; i < count; i++) {
        printf("%s{\"microseconds\":[", i == 0 ? "[" : ",");
        for (int j = 0; j < commands[i].count; j++)
            printf("%s%.1f", j == 0 ? "" : ",", commands[i].samples[j]);
        printf("],\"faults\":%ld}", commands[i].faults);
    }
    printf("]\n");
}

int main(int argc, char **argv)
{
    static struct command commands[MAX_COMMANDS + 1];
    if (argc != 4)
        fail("usage: timer ROUNDS WARM_UPS BUDGET_US < plan");
    int rounds = atoi(argv[1]), warm_ups = atoi(argv[2]);
    double budget = atof(argv[3]);
    int count = read_plan(commands);
    posix_spawn_file_actions_init(&null_stdio);
    for (int fd = 0; fd < 3; fd++)
        posix_spawn_file_actions_addopen(&null_stdio, fd, "/dev/null", O_RDWR, 0);

    for (int i = 0; i < count; i++) {
        commands[i].samples = calloc(rounds, sizeof(double));
        if (commands[i].is_server)
            start_server(&commands[i]);
    }
    for (int i = 0; i < count; i++)
        commands[i].wanted = rounds;
    for (int round = 0; round < warm_ups; round++)
        for (int i = 0; i < count; i++)
            commands[i].wanted = wanted_runs(measure(&commands[i]), rounds, budget);
    for (long round = 0; round < rounds; round++)
        for (int i = 0; i < count; i++) {
            struct command *command = &commands[i];
            if ((round + 1) * command->wanted / rounds > round * command->wanted / rounds)
                command->samples[command->count++] = measure(command);
        }
    for (int i = 0; i < count; i++)
        if (commands[i].is_server)
            stop_server(&commands[i]);
    print_result(commands, count);
}
