/*
 * LC_DYLD_CHAINED_FIXUPS with pointers of format 64 and 64_OFFSET (<mach-o/fixup-chains.h>; the rules are
 * those of dyld-1378 mach_o/ChainedFixups.cpp, and of page-in linking in macOS 13, which reads all pages
 * with chains from the file again).
 */
#include "loader.h"
#include <string.h>

#define WHAT "chained fixups"

struct imports { uint32_t count, format; struct bytes entries, symbols; };

static struct imports read_imports(const struct image *, struct bytes, const struct dyld_chained_fixups_header *);
static void apply_segment(const struct image *, unsigned index, struct bytes, const struct imports *);
static void apply_page(const struct image *, uint64_t page, uint64_t start, const struct dyld_chained_starts_in_segment *,
                       const struct imports *);
static uint64_t fixed_up(const struct image *, uint64_t where, uint64_t raw, unsigned format, const struct imports *);
static uint64_t bound(const struct image *, uint64_t ordinal, uint64_t addend, const struct imports *);

static struct bytes part(struct bytes all, uint64_t offset, const char *of)
{
    if (offset > (uint64_t)(all.end - all.at)) fail(WHAT ": %s at 0x%lx is beyond their end", of, offset);
    return (struct bytes){all.at + offset, all.end, WHAT};
}

static void take(struct bytes *from, void *to, size_t size)
{
    if ((size_t)(from->end - from->at) < size) fail(WHAT ": end in the middle of a struct");
    memcpy(to, from->at, size);
    from->at += size;
}

void apply_chained(const struct image *image)
{
    struct bytes all = bytes_of(image, image->chained->dataoff, image->chained->datasize, WHAT), in = all;
    struct dyld_chained_fixups_header header;
    take(&in, &header, sizeof header);
    if (header.fixups_version != 0) fail(WHAT ": fixups_version is %u, want 0", header.fixups_version);
    if (header.symbols_format != 0) fail(WHAT ": symbols_format is %u, want 0", header.symbols_format);
    if (header.starts_offset % 4 != 0) fail(WHAT ": starts_offset 0x%x is not 4-aligned", header.starts_offset);
    struct imports imports = read_imports(image, all, &header);
    struct bytes starts = part(all, header.starts_offset, "starts"), table = starts;
    uint32_t count, offset;
    take(&table, &count, sizeof count);
    if (count != image->nsegments) fail(WHAT ": seg_count is %u, want %u", count, image->nsegments);
    uint16_t format = 0, page_size = 0;
    for (unsigned i = 0; i < count; i++) {
        take(&table, &offset, sizeof offset);
        if (offset == 0) continue;
        struct dyld_chained_starts_in_segment s;
        struct bytes at = part(starts, offset, "starts of a segment");
        if (offset % 8 != 0 && header.starts_offset % 8 == 0 && offset % 4 != 0)
            fail(WHAT ": starts of segment %u at 0x%x are not aligned", i, offset);
        take(&at, &s, sizeof s);
        if (format != 0 && s.pointer_format != format) fail(WHAT ": pointer formats %u and %u", format, s.pointer_format);
        if (page_size != 0 && s.page_size != page_size) fail(WHAT ": page sizes 0x%x and 0x%x", page_size, s.page_size);
        format = s.pointer_format, page_size = s.page_size;
        apply_segment(image, i, part(starts, offset, "starts of a segment"), &imports);
    }
}

static struct imports read_imports(const struct image *image, struct bytes all,
                                   const struct dyld_chained_fixups_header *header)
{
    (void)image;
    if (header->imports_format < 1 || header->imports_format > 3)
        fail(WHAT ": imports_format %u is unknown", header->imports_format);
    if (header->imports_count >= 0xffffff) fail(WHAT ": imports_count %u is too many", header->imports_count);
    struct imports imports = {header->imports_count, header->imports_format,
                              part(all, header->imports_offset, "imports"), part(all, header->symbols_offset, "symbols")};
    static const unsigned sizes[] = {0, 4, 8, 16};
    if ((uint64_t)(imports.entries.end - imports.entries.at) < (uint64_t)imports.count * sizes[imports.format])
        fail(WHAT ": %u imports lie beyond their end", imports.count);
    return imports;
}

static void apply_segment(const struct image *image, unsigned index, struct bytes in, const struct imports *imports)
{
    const struct segment_command_64 *segment = image->segments[index];
    struct bytes pages = in;
    struct dyld_chained_starts_in_segment s;
    take(&pages, &s, sizeof s);
    if (s.size < sizeof s + 2ul * s.page_count || s.size > (uint64_t)(in.end - in.at))
        fail(WHAT ": size of %.16s's starts is %u, %u pages need %lu", segment->segname, s.size, s.page_count,
             sizeof s + 2ul * s.page_count);
    if (s.page_size != 0x1000 && s.page_size != 0x4000)
        fail(WHAT ": page_size of %.16s is 0x%x, want 0x1000 or 0x4000", segment->segname, s.page_size);
    if (s.pointer_format != DYLD_CHAINED_PTR_64 && s.pointer_format != DYLD_CHAINED_PTR_64_OFFSET)
        fail(WHAT ": pointer_format %u of %.16s is not 64 or 64_OFFSET", s.pointer_format, segment->segname);
    if (s.segment_offset != segment->vmaddr - image->text->vmaddr)
        fail(WHAT ": segment_offset of %.16s is 0x%lx, want 0x%lx", segment->segname, s.segment_offset,
             segment->vmaddr - image->text->vmaddr);
    if ((uint64_t)s.page_count * s.page_size > ROUND_UP(segment->filesize, s.page_size))
        fail(WHAT ": %u pages of %.16s are more than the file has of it", s.page_count, segment->segname);
    for (unsigned i = 0; i < s.page_count; i++) {
        uint16_t start;
        take(&pages, &start, sizeof start);
        if (start == DYLD_CHAINED_PTR_START_NONE) continue;
        if (start >= s.page_size)
            fail(WHAT ": page_start 0x%x of page %u of %.16s is beyond the page", start, i, segment->segname);
        apply_page(image, segment->vmaddr + (uint64_t)i * s.page_size, start, &s, imports);
    }
}

static void apply_page(const struct image *image, uint64_t page, uint64_t start,
                       const struct dyld_chained_starts_in_segment *s, const struct imports *imports)
{
    for (uint64_t offset = start, next; ; offset += next) {
        if (offset + 8 > s->page_size) fail(WHAT ": the chain of the page at 0x%lx leaves the page", page);
        void *at = fixup_slot(image, page + offset, WHAT);
        uint64_t raw, value;
        memcpy(&raw, at, sizeof raw);
        next = (raw >> 51 & 0xfff) * 4;
        value = fixed_up(image, page + offset, raw, s->pointer_format, imports);
        memcpy(at, &value, sizeof value);
        if (next == 0) return;
        if (next < 8) fail(WHAT ": two words at 0x%lx overlap", page + offset);
    }
}

static uint64_t fixed_up(const struct image *image, uint64_t where, uint64_t raw, unsigned format,
                         const struct imports *imports)
{
    if (raw >> 63) {
        if (raw >> 32 & 0x7ffff) fail(WHAT ": reserved bits of the bind at 0x%lx are not zero", where);
        return bound(image, raw & 0xffffff, raw >> 24 & 0xff, imports);
    }
    if (raw >> 44 & 0x7f) fail(WHAT ": reserved bits of the rebase at 0x%lx are not zero", where);
    uint64_t target = raw & 0xfffffffff, high8 = raw >> 36 & 0xff;
    if (format == DYLD_CHAINED_PTR_64_OFFSET) target += image->text->vmaddr;
    check_target(image, where, target, WHAT);
    return slid(image, target) | high8 << 56;
}

static uint64_t bound(const struct image *image, uint64_t ordinal, uint64_t addend, const struct imports *imports)
{
    if (ordinal >= imports->count) fail(WHAT ": import %lu of %u", ordinal, imports->count);
    uint32_t words[4] = {0};
    const uint8_t *at = imports->entries.at + ordinal * (imports->format == 3 ? 16 : imports->format * 4);
    memcpy(words, at, imports->format == 3 ? 16 : imports->format * 4);
    int64_t library = imports->format == 3 ? (int16_t)words[0] : (int8_t)words[0];
    uint64_t weak = imports->format == 3 ? words[0] >> 16 & 1 : words[0] >> 8 & 1;
    uint64_t name_offset = imports->format == 3 ? words[1] : words[0] >> 9;
    if (imports->format == 2) addend += (int32_t)words[1];
    if (imports->format == 3) addend += words[2] | (uint64_t)words[3] << 32;
    struct bytes name = part(imports->symbols, name_offset, "the name of an import");
    uint64_t value = resolve(image, library, read_string(&name), weak);
    return value == 0 ? 0 : value + addend;
}
