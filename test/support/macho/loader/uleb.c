/* Reading of byte streams with an end: LEB128 (DWARF 5, 7.6) of at most 64 bits, and strings. */
#include "loader.h"
#include <string.h>

struct bytes bytes_of(const struct image *image, uint64_t offset, uint64_t size, const char *what)
{
    if (offset > image->size || size > image->size - offset)
        fail("%s: 0x%lx bytes at 0x%lx are not in the file", what, size, offset);
    return (struct bytes){image->file + offset, image->file + offset + size, what};
}

uint8_t read_byte(struct bytes *bytes)
{
    if (bytes->at >= bytes->end) fail("%s: ends in the middle of an entry", bytes->what);
    return *bytes->at++;
}

uint64_t read_uleb(struct bytes *bytes)
{
    uint64_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = read_byte(bytes);
        uint64_t bits = byte & 0x7f;
        if (shift > 63 || (shift == 63 && bits > 1)) fail("%s: a number has more than 64 bits", bytes->what);
        value |= bits << shift;
        if (!(byte & 0x80)) return value;
    }
}

int64_t read_sleb(struct bytes *bytes)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = read_byte(bytes);
        if (shift > 63) fail("%s: a number has more than 64 bits", bytes->what);
        value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    if (shift < 64 && (byte & 0x40)) value |= ~0ull << shift;
    return value;
}

const char *read_string(struct bytes *bytes)
{
    const uint8_t *start = bytes->at, *nul = memchr(start, 0, bytes->end - start);
    if (nul == NULL) fail("%s: a string does not end", bytes->what);
    bytes->at = nul + 1;
    return (const char *)start;
}
