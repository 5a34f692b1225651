/*
 * What of this process's memory goes into a core: by proc(5), /proc/self/maps, which qemu-user fills with
 * the guest's regions. Tables are hidden memory, not malloc's, as the program may have been
 * stopped in the middle of it.
 */
#include "regions.h"
#include "loader.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_REGIONS (1ul << 18)
#define MAPS_SIZE (1ul << 20)

static void append(struct regions *regions, struct region region)
{
    if (regions->count == MAX_REGIONS) fail("--core: more than %lu regions", MAX_REGIONS);
    regions->list[regions->count++] = region;
}

struct regions all_regions(void)
{
    struct regions regions = {hidden_memory(MAX_REGIONS * sizeof(struct region)), 0};
    char *text = hidden_memory(MAPS_SIZE);
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    for (ssize_t n; length < MAPS_SIZE - 1 && (n = read(fd, text + length, MAPS_SIZE - 1 - length)) > 0;) length += n;
    close(fd);
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        uint64_t first, last;
        char flags[5];
        *end = 0;
        if (sscanf(line, "%lx-%lx %4s", &first, &last, flags) != 3 || flags[0] != 'r') continue;
        if (strstr(line, "[vvar") || strstr(line, "[vsyscall]") || strstr(line, HIDDEN)) continue;
        int protection = VM_PROT_READ | (flags[1] == 'w' ? VM_PROT_WRITE : 0) | (flags[2] == 'x' ? VM_PROT_EXECUTE : 0);
        append(&regions, (struct region){first, last, protection, 0});
    }
    return regions;
}

/* The file's bytes of a page of the program, or NULL where the file has none. */
static const uint8_t *page_of_file(uint64_t at, bool *of_program)
{
    *of_program = false;
    for (unsigned i = 0; i < image.nsegments; i++) {
        const struct segment_command_64 *s = image.segments[i];
        uint64_t start = slid(&image, s->vmaddr);
        if (s->vmaddr < image.text->vmaddr || at < start || at >= start + ROUND_UP(s->vmsize, PAGE_SIZE)) continue;
        *of_program = true;
        return at - start < s->filesize ? image.file + s->fileoff + (at - start) : NULL;
    }
    return NULL;
}

static bool is_modified(uint64_t at, uint64_t size, int protection)
{
    static const uint8_t zeros[PAGE_SIZE];
    bool of_program;
    const uint8_t *file = page_of_file(at, &of_program);
    if (!of_program && !(protection & VM_PROT_WRITE)) return false;
    uint64_t rest = file == NULL ? 0 : (uint64_t)(image.file + image.size - file);
    if (rest > size) rest = size;
    return (file != NULL && memcmp((void *)at, file, rest) != 0) || memcmp((void *)(at + rest), zeros, size - rest) != 0;
}

struct regions modified_regions(struct regions all)
{
    struct regions regions = {hidden_memory(MAX_REGIONS * sizeof(struct region)), 0};
    for (size_t i = 0; i < all.count; i++)
        for (uint64_t at = all.list[i].start, next; at < all.list[i].end; at = next) {
            next = at / PAGE_SIZE * PAGE_SIZE + PAGE_SIZE;
            if (next > all.list[i].end) next = all.list[i].end;
            struct region *last = regions.count == 0 ? NULL : &regions.list[regions.count - 1];
            if (!is_modified(at, next - at, all.list[i].protection)) continue;
            if (last != NULL && last->end == at && at != all.list[i].start) last->end = next;
            else append(&regions, (struct region){at, next, all.list[i].protection, 0});
        }
    return regions;
}
