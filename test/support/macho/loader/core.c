/*
 * Writes an MH_CORE of this process in the ways in which they are found:
 *   xnu       the kernel's own (xnu-11417 bsd/kern/kern_core.c): segments, then a note
 *             "addrable bits" version 3, then threads, on x86_64 with wrapped flavours; no image list
 *   lldb      lldb's `process save-core -s full` (LLVM 19 ObjectFileMachO::SaveCore): notes with all image
 *             infos and thread ids, then threads with plain flavours, then segments
 *   modified  lldb's `-s modified-memory`: the same, without the pages that nobody has written to
 * Zeros are holes in the file.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core-threads.h"
#include "loader.h"
#include "regions.h"

#define PAGE 0x1000ul
#define MAX_THREADS 64

struct core { uint8_t *bytes; size_t size; uint32_t ncmds; };   /* the commands, header first */
struct note { const char *owner; uint64_t size; uint8_t payload[0x2000]; };
struct notes { struct note *list; unsigned count; uint64_t offset; };

static size_t commands_size(const struct regions *, size_t threads);
static void make_notes(const struct image *, struct notes *, bool lldb, const struct thread_registers *, unsigned);
static void add_segments(struct core *, const struct regions *);
static void add_notes(struct core *, const struct notes *);
static void add_threads(struct core *, const struct thread_registers *, unsigned count, bool wrapped);
static void write_file(const char *path, const struct core *, const struct notes *, const struct regions *);

void write_core(const struct image *image, const char *path, const char *style, const void *ucontext)
{
    bool xnu = strcmp(style, "xnu") == 0, modified = strcmp(style, "modified") == 0;
    if (!xnu && !modified && strcmp(style, "lldb") != 0) fail("--core-style %s is not xnu, lldb or modified", style);
    struct thread_registers threads[MAX_THREADS];
    unsigned nthreads = halt_threads(threads, MAX_THREADS, ucontext);
    struct regions regions = all_regions();
    if (modified) regions = modified_regions(regions);

    struct notes notes = {hidden_memory(4 * sizeof(struct note)), 0, 0};
    size_t size = commands_size(&regions, (size_t)nthreads * MAX_THREAD_COMMAND);
    notes.offset = ROUND_UP(size, 16);
    make_notes(image, &notes, !xnu, threads, nthreads);
    uint64_t memory = ROUND_UP(notes.offset + 4 * sizeof notes.list->payload, PAGE);
    for (size_t i = 0; i < regions.count; i++) {
        regions.list[i].fileoff = memory;
        memory += regions.list[i].end - regions.list[i].start;
    }
    struct core core = {hidden_memory(size), sizeof(struct mach_header_64), 0};
    if (xnu) add_segments(&core, &regions);
    add_notes(&core, &notes);
    add_threads(&core, threads, nthreads, xnu);
    if (!xnu) add_segments(&core, &regions);
    *(struct mach_header_64 *)core.bytes = (struct mach_header_64){
        MH_MAGIC_64, HOST_CPU, HOST_CPU == CPU_TYPE_X86_64 ? 3 : 0, MH_CORE, core.ncmds,
        core.size - sizeof(struct mach_header_64), 0, 0};
    write_file(path, &core, &notes, &regions);
    release_threads();
}

/* At most, of all commands. */
static size_t commands_size(const struct regions *regions, size_t threads)
{
    return sizeof(struct mach_header_64) + regions->count * sizeof(struct segment_command_64) +
           4 * sizeof(struct note_command) + threads;
}

static void *add(struct core *core, size_t size)
{
    void *at = core->bytes + core->size;
    core->size += size, core->ncmds++;
    return at;
}

static void add_segments(struct core *core, const struct regions *regions)
{
    for (size_t i = 0; i < regions->count; i++) {
        const struct region *r = &regions->list[i];
        struct segment_command_64 *s = add(core, sizeof *s);
        *s = (struct segment_command_64){.cmd = LC_SEGMENT_64, .cmdsize = sizeof *s, .vmaddr = r->start,
                                         .vmsize = r->end - r->start, .fileoff = r->fileoff,
                                         .filesize = r->end - r->start, .maxprot = r->protection,
                                         .initprot = r->protection};
    }
}

static void add_notes(struct core *core, const struct notes *notes)
{
    for (unsigned i = 0; i < notes->count; i++) {
        struct note_command *note = add(core, sizeof *note);
        *note = (struct note_command){.cmd = LC_NOTE, .cmdsize = sizeof *note, .size = notes->list[i].size,
                                      .offset = notes->offset + i * sizeof notes->list->payload};
        memcpy(note->data_owner, notes->list[i].owner, strnlen(notes->list[i].owner, 16));
    }
}

static void add_threads(struct core *core, const struct thread_registers *threads, unsigned count, bool wrapped)
{
    for (unsigned i = 0; i < count; i++) {
        struct load_command *command = add(core, sizeof *command);
        size_t size = write_thread_states((uint8_t *)(command + 1), threads[i].ucontext, wrapped);
        core->size += size;
        *command = (struct load_command){LC_THREAD, sizeof *command + size};
    }
}

struct __attribute__((packed)) image_infos {
    uint32_t version, imgcount;
    uint64_t entries_fileoff;
    uint32_t entries_size, unused;
    struct __attribute__((packed)) {
        uint64_t filepath_offset;
        uint8_t uuid[16];
        uint64_t load_address, seg_addrs_offset;
        uint32_t segment_count, executing;
    } entry;
    struct { char segname[16]; uint64_t vmaddr, unused; } segments[MAX_SEGMENTS];
    char path[4200];
};

static void make_image_infos(const struct image *image, struct image_infos *infos, uint64_t at)
{
    infos->version = 1, infos->imgcount = 1, infos->entries_size = sizeof infos->entry;
    infos->entries_fileoff = at + offsetof(struct image_infos, entry);
    infos->entry.filepath_offset = at + offsetof(struct image_infos, path);
    infos->entry.load_address = slid(image, image->text->vmaddr);
    infos->entry.seg_addrs_offset = at + offsetof(struct image_infos, segments);
    infos->entry.executing = 1;
    if (image->uuid) memcpy(infos->entry.uuid, image->uuid->uuid, 16);
    for (unsigned i = 0; i < image->nsegments; i++) {
        if (image->segments[i]->vmaddr < image->text->vmaddr) continue;
        unsigned index = infos->entry.segment_count++;
        memcpy(infos->segments[index].segname, image->segments[i]->segname, 16);
        infos->segments[index].vmaddr = slid(image, image->segments[i]->vmaddr);
    }
    if (realpath(image->path, infos->path) == NULL) strncpy(infos->path, image->path, sizeof infos->path - 1);
}

static void make_notes(const struct image *image, struct notes *notes, bool lldb, const struct thread_registers *threads,
                       unsigned nthreads)
{
    _Static_assert(sizeof(struct image_infos) <= sizeof notes->list->payload, "payload");
    struct note *note = &notes->list[notes->count++];
    note->owner = "addrable bits";
    const uint32_t version_3[] = {3, 47, 0, 0}, version_4[] = {4, 47, 47, 0};
    memcpy(note->payload, lldb ? version_4 : version_3, note->size = 16);
    if (!lldb) return;
    note = &notes->list[notes->count++];
    note->owner = "all image infos", note->size = sizeof(struct image_infos);
    make_image_infos(image, (struct image_infos *)note->payload, notes->offset + sizeof note->payload);
    note = &notes->list[notes->count++];
    note->owner = "process metadata";
    size_t length = 0;
    char *text = (char *)note->payload, *separator = "{\"threads\":[";
    for (unsigned i = 0; i < nthreads; i++, separator = ",")
        length += snprintf(text + length, sizeof note->payload - length, "%s{\"thread_id\":%d}", separator, threads[i].tid);
    length += snprintf(text + length, sizeof note->payload - length, "]}");
    note->size = length;
}

static void write_all(int fd, const void *bytes, size_t size, uint64_t offset)
{
    if (pwrite(fd, bytes, size, offset) != (ssize_t)size) fail("--core: cannot be written");
}

static void write_file(const char *path, const struct core *core, const struct notes *notes, const struct regions *regions)
{
    static const uint8_t zeros[PAGE];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) fail("--core: %s cannot be written", path);
    uint64_t end = 0;
    write_all(fd, core->bytes, core->size, 0);
    for (unsigned i = 0; i < notes->count; i++)
        write_all(fd, notes->list[i].payload, notes->list[i].size, notes->offset + i * sizeof notes->list->payload);
    for (size_t i = 0; i < regions->count; i++) {
        const struct region *r = &regions->list[i];
        end = r->fileoff + (r->end - r->start);
        for (uint64_t at = r->start; at < r->end; at += PAGE)
            if (memcmp((void *)at, zeros, PAGE) != 0) write_all(fd, (void *)at, PAGE, r->fileoff + (at - r->start));
    }
    if (ftruncate(fd, end) != 0 || close(fd) != 0) fail("--core: cannot be written");
}
