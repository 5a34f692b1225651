/*
 * LC_DYLD_INFO: rebase and bind opcodes (<mach-o/loader.h>; dyld-1378 mach_o/RebaseOpcodes.cpp and
 * BindOpcodes.cpp, whose rules are the sentences here). Lazy binds are bound at once.
 */
#include "loader.h"
#include <string.h>
#include <sys/mman.h>

struct place { const struct segment_command_64 *segment; uint64_t offset; };
struct binding { int64_t ordinal; const char *name; int64_t addend; bool weak_import, set; };
enum kind { BIND, WEAK_BIND, LAZY_BIND };

static void rebase_all(const struct image *);
static void bind_all(const struct image *, uint64_t offset, uint64_t size, enum kind);

void apply_dyld_info(const struct image *image)
{
    rebase_all(image);
    bind_all(image, image->info->bind_off, image->info->bind_size, BIND);
    bind_all(image, image->info->weak_bind_off, image->info->weak_bind_size, WEAK_BIND);
    bind_all(image, image->info->lazy_bind_off, image->info->lazy_bind_size, LAZY_BIND);
}

static void set_segment(const struct image *image, struct bytes *in, struct place *place, unsigned index)
{
    if (index >= image->nsegments - 1) fail("%s: segment %u is __LINKEDIT or beyond", in->what, index);
    *place = (struct place){image->segments[index], read_uleb(in)};
}

/* Unslid address of the slot; offsets wrap around, as dyld's do. */
static uint64_t slot(const struct image *image, const struct bytes *in, struct place place)
{
    (void)image;
    if (place.segment == NULL) fail("%s: an entry comes before any segment", in->what);
    if (place.segment->vmsize < 8 || place.offset > place.segment->vmsize - 8)
        fail("%s: offset 0x%lx is beyond the end of %.16s, 0x%lx", in->what, place.offset, place.segment->segname,
             place.segment->vmsize);
    return place.segment->vmaddr + place.offset;
}

/* One bit a byte of memory, so that a word rebased twice is found, which would add the slide twice. */
static uint8_t *seen;

static void rebase(const struct image *image, const struct bytes *in, struct place place)
{
    uint64_t where = slot(image, in, place), value, bit = where - image->text->vmaddr;
    void *at = fixup_slot(image, where, in->what);
    if (seen[bit / 8] & 1 << bit % 8) fail("%s: the word at 0x%lx is rebased twice", in->what, where);
    seen[bit / 8] |= 1 << bit % 8;
    memcpy(&value, at, sizeof value);
    check_target(image, where, value & 0xffffffffffffff, in->what);
    value += image->slide;
    memcpy(at, &value, sizeof value);
}

static void rebase_all(const struct image *image)
{
    struct bytes in = bytes_of(image, image->info->rebase_off, image->info->rebase_size, "rebase opcodes");
    uint64_t span = (image->linkedit->vmaddr - image->text->vmaddr) / 8 + 1;
    seen = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct place place = {0};
    bool done = false;
    while (in.at < in.end && !done) {
        uint8_t byte = read_byte(&in), immediate = byte & 0xf;
        uint64_t count = 0, skip = 0;
        switch (byte & 0xf0) {
        case 0x00: done = true; break;
        case 0x10:
            if (immediate != 1) fail("rebase opcodes: type %u is not REBASE_TYPE_POINTER", immediate);
            break;
        case 0x20: set_segment(image, &in, &place, immediate); break;
        case 0x30: place.offset += read_uleb(&in); break;
        case 0x40: place.offset += immediate * 8; break;
        case 0x50: count = immediate; break;
        case 0x60: count = read_uleb(&in); break;
        case 0x70: count = 1, skip = read_uleb(&in); break;
        case 0x80: count = read_uleb(&in), skip = read_uleb(&in); break;
        default: fail("rebase opcodes: 0x%02x is unknown", byte);
        }
        for (uint64_t i = 0; i < count; i++, place.offset += 8 + skip) rebase(image, &in, place);
    }
    if (in.end - in.at > 15) fail("rebase opcodes: %ld bytes behind DONE, at most 15 may be", (long)(in.end - in.at));
    munmap(seen, span);
}

static void bind(const struct image *image, const struct bytes *in, struct place place, const struct binding *b,
                 enum kind kind)
{
    uint64_t where = slot(image, in, place);
    void *at = fixup_slot(image, where, in->what);
    if (b->name == NULL) fail("%s: the word at 0x%lx has no symbol", in->what, where);
    if (!b->set && kind != WEAK_BIND) fail("%s: %s has no ordinal", in->what, b->name);
    uint64_t value = resolve(image, kind == WEAK_BIND ? ORDINAL_WEAK : b->ordinal, b->name,
                             b->weak_import || kind == WEAK_BIND);
    if (value == 0 && kind == WEAK_BIND) return; /* what the ordinary bind found stays */
    value += b->addend;
    memcpy(at, &value, sizeof value);
}

static void bind_all(const struct image *image, uint64_t offset, uint64_t size, enum kind kind)
{
    static const char *const names[] = {"bind opcodes", "weak bind opcodes", "lazy bind opcodes"};
    struct bytes in = bytes_of(image, offset, size, names[kind]);
    struct place place = {0};
    struct binding b = {0};
    bool done = false;
    while (in.at < in.end && !done) {
        uint8_t byte = read_byte(&in), immediate = byte & 0xf;
        uint64_t count = 0, skip = 0;
        switch (byte & 0xf0) {
        case 0x00: done = kind != LAZY_BIND; break; /* each lazy entry ends with one */
        case 0x10: b.ordinal = immediate, b.set = true; break;
        case 0x20: b.ordinal = read_uleb(&in), b.set = true; break;
        case 0x30: b.ordinal = immediate ? (int8_t)(0xf0 | immediate) : 0, b.set = true; break;
        case 0x40: b.weak_import = immediate & 1, b.name = read_string(&in); break;
        case 0x50:
            if (immediate != 1) fail("%s: type %u is not BIND_TYPE_POINTER", in.what, immediate);
            break;
        case 0x60: b.addend = read_sleb(&in); break;
        case 0x70: set_segment(image, &in, &place, immediate); break;
        case 0x80: place.offset += read_uleb(&in); break;
        case 0x90: count = 1; break;
        case 0xa0: count = 1, skip = read_uleb(&in); break;
        case 0xb0: count = 1, skip = immediate * 8; break;
        case 0xc0: count = read_uleb(&in), skip = read_uleb(&in); break;
        default: fail("%s: 0x%02x is unknown", in.what, byte);
        }
        for (uint64_t i = 0; i < count; i++, place.offset += 8 + skip) bind(image, &in, place, &b, kind);
    }
}
