/*
 * Maps the segments of the program, at its own addresses plus a slide, as xnu does (load_segment and
 * map_segment in bsd/kern/mach_loader.c): whole pages of the file, private; what is beyond, zero-filled.
 * All of it is writable until fixups are applied, then as the segments say, and SG_READ_ONLY ones last.
 */
#include "loader.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define LINUX_PAGE 0x1000ul
#define TRIES 64

static void reserve(struct image *, uint64_t start, uint64_t size, const struct options *);
static void map_segment(const struct image *, const struct segment_command_64 *);

void map_image(struct image *image, const struct options *options)
{
    uint64_t start = image->text->vmaddr;
    uint64_t end = ROUND_UP(image->linkedit->vmaddr + image->linkedit->vmsize, PAGE_SIZE);
    reserve(image, start, end - start, options);
    for (unsigned i = 0; i < image->nsegments; i++)
        if (image->segments[i]->vmaddr >= start) map_segment(image, image->segments[i]);
}

static void reserve(struct image *image, uint64_t start, uint64_t size, const struct options *options)
{
    bool pie = image->header->flags & MH_PIE;
    if (!options->random_slide || !pie) image->slide = options->random_slide ? 0 : options->slide;
    if (image->slide % PAGE_SIZE != 0) fail("slide 0x%lx is not a multiple of the page, 0x%lx", image->slide, PAGE_SIZE);
    if (image->slide != 0 && !pie) fail("slide 0x%lx: the program lacks MH_PIE", image->slide);
    for (unsigned tries = 0; tries < TRIES; tries++) {
        uint32_t random;
        if (options->random_slide && pie) {
            if (getrandom(&random, sizeof random, 0) != sizeof random) abort();
            image->slide = (random & 0x3ffffff) * PAGE_SIZE;
        }
        void *want = (void *)slid(image, start);
        if (mmap(want, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) == want)
            return;
        if (!options->random_slide || !pie) break;
    }
    fail("no room for 0x%lx bytes at 0x%lx: %s", size, slid(image, start), strerror(errno));
}

static void map_segment(const struct image *image, const struct segment_command_64 *s)
{
    uint8_t *at = (uint8_t *)slid(image, s->vmaddr);
    uint64_t memory = ROUND_UP(s->vmsize, PAGE_SIZE), from_file = ROUND_UP(s->filesize, PAGE_SIZE);
    /* Linux kills who touches a page that lies wholly behind the end of the file. */
    uint64_t rest = ROUND_UP(image->size - s->fileoff, LINUX_PAGE);
    if (from_file > rest) from_file = rest;
    if (from_file > memory) from_file = memory;
    int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_FIXED;
    if (from_file != 0 && mmap(at, from_file, protection, flags, image->fd, image->slice + s->fileoff) != at)
        fail("segment %.16s cannot be mapped: %s", s->segname, strerror(errno));
    if (memory > from_file && mmap(at + from_file, memory - from_file, protection,
                                   flags | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != at + from_file)
        fail("segment %.16s cannot be zero-filled: %s", s->segname, strerror(errno));
}

void protect_image(const struct image *image)
{
    for (unsigned i = 0; i < image->nsegments; i++) {
        const struct segment_command_64 *s = image->segments[i];
        if (s->vmaddr < image->text->vmaddr) continue;
        int protection = (s->initprot & VM_PROT_READ ? PROT_READ : 0) | (s->initprot & VM_PROT_WRITE ? PROT_WRITE : 0) |
                         (s->initprot & VM_PROT_EXECUTE ? PROT_EXEC : 0);
        if (s->flags & SG_READ_ONLY) protection = PROT_READ;
        if (mprotect((void *)slid(image, s->vmaddr), ROUND_UP(s->vmsize, PAGE_SIZE), protection) != 0)
            fail("segment %.16s cannot be protected: %s", s->segname, strerror(errno));
    }
}

int segment_at(const struct image *image, uint64_t vmaddr, uint64_t size)
{
    for (unsigned i = 0; i < image->nsegments; i++) {
        const struct segment_command_64 *s = image->segments[i];
        if (vmaddr >= s->vmaddr && vmaddr - s->vmaddr <= s->vmsize && size <= s->vmsize - (vmaddr - s->vmaddr)) return i;
    }
    return -1;
}

bool is_code(const struct image *image, uint64_t vmaddr)
{
    int index = segment_at(image, vmaddr, 1);
    return index >= 0 && (image->segments[index]->initprot & VM_PROT_EXECUTE);
}

const struct section_64 *sections_of(const struct segment_command_64 *segment) { return (const void *)(segment + 1); }

uint64_t *fixup_slot(const struct image *image, uint64_t where, const char *what)
{
    int index = segment_at(image, where, 8);
    if (index < 0) fail("%s: address 0x%lx is in no segment", what, where);
    const struct segment_command_64 *s = image->segments[index];
    if (!(s->initprot & VM_PROT_WRITE) || (s->initprot & VM_PROT_EXECUTE))
        fail("%s: address 0x%lx is in %.16s, which is not writable data", what, where, s->segname);
    return (uint64_t *)slid(image, where);
}

/* One past the end of a segment is a pointer that C allows. */
void check_target(const struct image *image, uint64_t where, uint64_t target, const char *what)
{
    for (unsigned i = 0; i < image->nsegments; i++) {
        const struct segment_command_64 *s = image->segments[i];
        if (s->initprot != 0 && target >= s->vmaddr && target <= s->vmaddr + s->vmsize) return;
    }
    fail("%s: the word at 0x%lx, 0x%lx, points to no segment", what, where, target);
}
