/*
 * Memory of the loader's own that is not the program's business: it has a name in /proc/self/maps, by
 * which cores leave it out.
 */
#include "loader.h"
#include <sys/mman.h>
#include <unistd.h>

void *hidden_memory(size_t size)
{
    int fd = memfd_create(HIDDEN, MFD_CLOEXEC);
    void *at = fd < 0 || ftruncate(fd, size) != 0 ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) fail("no memory for %lu bytes", size);
    close(fd);
    return at;
}
