/*
 * Opens the program: a thin file of this machine's architecture, or that slice of a fat file
 * (<mach-o/fat.h>: the fat header is big-endian).
 */
#include "loader.h"
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NO_PAGE 64 /* whoever looks for a header at the start of a page finds the mapped one only */

static const uint8_t *read_file(int fd, uint64_t size);
static void choose_slice(struct image *);

void open_image(struct image *image, const char *path)
{
    image->path = path;
    image->fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (image->fd < 0 || fstat(image->fd, &status) != 0 || !S_ISREG(status.st_mode)) fail("cannot be read");
    image->size = status.st_size;
    if (image->size < sizeof(struct mach_header_64)) fail("is too short for a Mach-O header");
    image->file = read_file(image->fd, image->size);
    choose_slice(image);
    image->header = (const void *)image->file;
    if (image->header->magic != MH_MAGIC_64) fail("magic 0x%08x is not MH_MAGIC_64", image->header->magic);
    if (image->header->cputype != HOST_CPU)
        fail("cputype 0x%x is not " HOST_ARCH "'s", image->header->cputype);
}

static const uint8_t *read_file(int fd, uint64_t size)
{
    uint8_t *bytes = (uint8_t *)hidden_memory(size + NO_PAGE) + NO_PAGE;
    for (uint64_t at = 0; at < size;) {
        ssize_t got = pread(fd, bytes + at, size - at, at);
        if (got <= 0) fail("cannot be read");
        at += got;
    }
    return bytes;
}

static void choose_slice(struct image *image)
{
    struct fat_header fat;
    memcpy(&fat, image->file, sizeof fat);
    uint32_t magic = __builtin_bswap32(fat.magic), count = __builtin_bswap32(fat.nfat_arch);
    if (magic != FAT_MAGIC && magic != FAT_MAGIC_64) return;
    size_t entry = magic == FAT_MAGIC ? sizeof(struct fat_arch) : sizeof(struct fat_arch_64);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t at = sizeof fat + i * entry, offset, size;
        if (at + entry > image->size) fail("fat header: entry %u lies beyond the end of the file", i);
        if (magic == FAT_MAGIC) {
            const struct fat_arch *arch = (const void *)(image->file + at);
            if (__builtin_bswap32(arch->cputype) != HOST_CPU) continue;
            offset = __builtin_bswap32(arch->offset), size = __builtin_bswap32(arch->size);
        } else {
            const struct fat_arch_64 *arch = (const void *)(image->file + at);
            if (__builtin_bswap32(arch->cputype) != HOST_CPU) continue;
            offset = __builtin_bswap64(arch->offset), size = __builtin_bswap64(arch->size);
        }
        if (offset % PAGE_SIZE != 0 || offset > image->size || size > image->size - offset)
            fail("fat header: slice at 0x%lx of 0x%lx bytes is not page aligned or not inside the file",
                 offset, size);
        image->slice = offset, image->file += offset, image->size = size;
        return;
    }
    fail("fat header: no slice for " HOST_ARCH);
}
