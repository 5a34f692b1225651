/*
 * The benchmark's C: heap start|freeze|fork MIB TOUCH_MIB STRIDE (see ../programs.ts). A heap of MIB that is
 * full of data; the work writes one word into each of TOUCH_MIB's pages, every STRIDE-th page of the heap.
 * With nothing to touch it calls _exit at once: what is left is the start.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096

static uint64_t *fill(size_t bytes)
{
    uint64_t *heap = malloc(bytes);
    uint64_t random = 88172645463325252u;
    if (heap == NULL) {
        perror("malloc");
        exit(1);
    }
    for (size_t i = 0; i < bytes / sizeof *heap; i++) { /* xorshift64 */
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        heap[i] = random;
    }
    return heap;
}

static void work(uint64_t *heap, size_t pages, size_t stride)
{
    uint64_t sum = 0;
    if (pages == 0)
        _exit(0);
    for (size_t i = 0; i < pages; i++) {
        uint64_t *word = heap + i * stride * (PAGE / sizeof *heap);
        sum += *word;
        *word = sum;
    }
    printf("%llu\n", (unsigned long long)sum);
    exit(0);
}

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* A request is a byte at descriptor 3, the answer "NANOSECONDS STATUS" at descriptor 4. */
static void serve(uint64_t *heap, size_t pages, size_t stride)
{
    char request;
    while (read(3, &request, 1) == 1) {
        int64_t start = now();
        int status = 0;
        pid_t pid = fork();
        if (pid == 0)
            work(heap, pages, stride);
        if (pid < 0 || waitpid(pid, &status, 0) != pid) {
            perror("fork");
            exit(1);
        }
        dprintf(4, "%lld %d\n", (long long)(now() - start), status);
    }
    exit(0);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: heap start|freeze|fork MIB TOUCH_MIB STRIDE\n");
        return 2;
    }
    size_t bytes = strtoul(argv[2], NULL, 10) << 20;
    size_t pages = (strtoul(argv[3], NULL, 10) << 20) / PAGE;
    size_t stride = strtoul(argv[4], NULL, 10);
    uint64_t *heap = bytes == 0 ? NULL : fill(bytes);
    if (strcmp(argv[1], "fork") == 0)
        serve(heap, pages, stride);
    if (strcmp(argv[1], "freeze") == 0)
        raise(SIGSTOP);
    work(heap, pages, stride);
}
