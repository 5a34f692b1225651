/*
 * warm-memory MIB: takes so much memory and gives it back at once. A virtual machine hands free memory to
 * its host after a while (free page reporting); the first write to it then costs ten times as much as one to
 * memory that the machine has. What is measured next finds the pages that were just given back.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
    size_t bytes = strtoul(argc == 2 ? argv[1] : "0", NULL, 10) << 20;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    for (size_t at = 0; at < bytes; at += 4096)
        memory[at] = 1;
    return 0;
}
