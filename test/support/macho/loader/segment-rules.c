/*
 * The rules for segments and sections, as dyld-1378 (UnsafeHeader::validSegments, validMain), xnu-11417
 * (load_segment and pie_required in bsd/kern/mach_loader.c) and codesign have them. dyld asks for some only
 * from a newer SDK on; what unexec writes has to meet them all, so all are asked here.
 */
#include "loader.h"
#include <string.h>

static void check_segment(const struct image *, unsigned index);
static void check_sections(const struct image *, const struct segment_command_64 *);
static void check_protection(const struct image *, const struct segment_command_64 *);
static void check_pair(const struct image *, const struct segment_command_64 *, const struct segment_command_64 *);
static void check_tail(const struct image *, const struct segment_command_64 *);
static void check_entry(const struct image *);
static void check_page_zero(const struct image *);

void check_segments(const struct image *image)
{
    unsigned read_only = 0;
    for (unsigned i = 0; i < image->nsegments; i++) {
        check_segment(image, i);
        for (unsigned j = 0; j < i; j++) check_pair(image, image->segments[j], image->segments[i]);
        read_only += (image->segments[i]->flags & SG_READ_ONLY) != 0;
    }
    if (read_only > 1) fail("%u segments have SG_READ_ONLY, xnu allows one", read_only);
    if (image->text->fileoff != 0) fail("__TEXT: fileoff is 0x%lx, want 0", image->text->fileoff);
    if (sizeof *image->header + image->header->sizeofcmds > image->text->filesize)
        fail("__TEXT does not hold all load commands");
    if (image->segments[image->nsegments - 1] != image->linkedit) fail("__LINKEDIT is not the last segment");
    check_page_zero(image);
    check_entry(image);
}

#define NAME(segment) (int)strnlen((segment)->segname, 16), (segment)->segname

static void check_segment(const struct image *image, unsigned index)
{
    const struct segment_command_64 *s = image->segments[index];
    if (s->fileoff % PAGE_SIZE != 0)
        fail("segment %.*s: fileoff 0x%lx is not a multiple of the page, 0x%lx", NAME(s), s->fileoff, PAGE_SIZE);
    if (s->vmaddr % PAGE_SIZE != 0)
        fail("segment %.*s: vmaddr 0x%lx is not a multiple of the page, 0x%lx", NAME(s), s->vmaddr, PAGE_SIZE);
    if (s->vmaddr + s->vmsize < s->vmaddr) fail("segment %.*s: vmaddr + vmsize overflows", NAME(s));
    if (s->filesize > s->vmsize)
        fail("segment %.*s: filesize 0x%lx is more than vmsize 0x%lx", NAME(s), s->filesize, s->vmsize);
    if (s->fileoff > image->size || s->filesize > image->size - s->fileoff)
        fail("segment %.*s: 0x%lx bytes at offset 0x%lx are not in the file", NAME(s), s->filesize, s->fileoff);
    check_protection(image, s);
    check_sections(image, s);
    check_tail(image, s);
}

static void check_protection(const struct image *image, const struct segment_command_64 *s)
{
    int want = -1;
    if (strncmp(s->segname, "__TEXT", 16) == 0) want = VM_PROT_READ | VM_PROT_EXECUTE;
    if (strncmp(s->segname, "__LINKEDIT", 16) == 0) want = VM_PROT_READ;
    if (strncmp(s->segname, "__DATA", 16) == 0 || strncmp(s->segname, "__DATA_CONST", 16) == 0)
        want = VM_PROT_READ | VM_PROT_WRITE;
    if (want >= 0 && s->initprot != want)
        fail("segment %.*s: initprot is %d, want %d", NAME(s), s->initprot, want);
    if ((s->initprot & ~s->maxprot) != 0)
        fail("segment %.*s: initprot %d has what maxprot %d has not", NAME(s), s->initprot, s->maxprot);
    if ((s->initprot & (VM_PROT_WRITE | VM_PROT_EXECUTE)) == (VM_PROT_WRITE | VM_PROT_EXECUTE))
        fail("segment %.*s: initprot %d is writable and executable", NAME(s), s->initprot);
    if (image->sdk >= 0xf0400 && strncmp(s->segname, "__DATA_CONST", 16) == 0 && !(s->flags & SG_READ_ONLY))
        fail("segment __DATA_CONST: flags 0x%x lack SG_READ_ONLY, which SDK 15.4 demands", s->flags);
}

static void check_sections(const struct image *image, const struct segment_command_64 *s)
{
    for (unsigned i = 0; i < s->nsects; i++) {
        const struct section_64 *section = &sections_of(s)[i];
        int length = strnlen(section->sectname, 16);
        uint32_t type = section->flags & SECTION_TYPE;
        if (section->addr < s->vmaddr || section->addr + section->size > s->vmaddr + s->vmsize ||
            section->addr + section->size < section->addr)
            fail("section %.*s,%.*s: 0x%lx bytes at 0x%lx are not inside its segment", NAME(s), length,
                 section->sectname, section->size, section->addr);
        if (strncmp(section->segname, s->segname, 16) != 0)
            fail("section %.*s says that its segment is %.16s, which is %.*s", length, section->sectname,
                 section->segname, NAME(s));
        if (section->align > 15 || section->addr % (1ul << section->align) != 0)
            fail("section %.*s,%.*s: address 0x%lx is not aligned to 2^%u", NAME(s), length, section->sectname,
                 section->addr, section->align);
        if (section->nreloc != 0) fail("section %.*s,%.*s has relocations", NAME(s), length, section->sectname);
        if (type == S_ZEROFILL || type == S_GB_ZEROFILL || type == S_THREAD_LOCAL_ZEROFILL || section->size == 0)
            continue;
        if (section->offset != s->fileoff + (section->addr - s->vmaddr))
            fail("section %.*s,%.*s: offset is 0x%x, want 0x%lx, as address 0x%lx is 0x%lx in its segment",
                 NAME(s), length, section->sectname, section->offset, s->fileoff + (section->addr - s->vmaddr),
                 section->addr, section->addr - s->vmaddr);
        if (section->addr + section->size > s->vmaddr + s->filesize)
            fail("section %.*s,%.*s: ends at 0x%lx, beyond what the file has of the segment (0x%lx)", NAME(s),
                 length, section->sectname, section->addr + section->size, s->vmaddr + s->filesize);
        if (s == image->text && section->offset < sizeof *image->header + image->header->sizeofcmds)
            fail("section %.*s,%.*s: offset 0x%x lies in the load commands", NAME(s), length, section->sectname,
                 section->offset);
    }
}

/* xnu maps whole file pages and does not clear the tail of the last, so memory would show foreign bytes. */
static void check_tail(const struct image *image, const struct segment_command_64 *s)
{
    if (s->vmsize == s->filesize || !(s->initprot & VM_PROT_WRITE)) return;
    uint64_t end = s->fileoff + ROUND_UP(s->filesize, PAGE_SIZE);
    for (uint64_t at = s->fileoff + s->filesize; at < end && at < image->size; at++)
        if (image->file[at] != 0)
            fail("segment %.*s: the file's page goes on with 0x%02x at 0x%lx where memory should be zero",
                 NAME(s), image->file[at], at);
}

static void check_pair(const struct image *image, const struct segment_command_64 *a,
                       const struct segment_command_64 *b)
{
    if (a->vmaddr < b->vmaddr + b->vmsize && b->vmaddr < a->vmaddr + a->vmsize)
        fail("segments %.*s and %.*s overlap in memory", NAME(a), NAME(b));
    if (a->filesize != 0 && b->filesize != 0 && a->fileoff < b->fileoff + b->filesize &&
        b->fileoff < a->fileoff + a->filesize)
        fail("segments %.*s and %.*s overlap in the file", NAME(a), NAME(b));
    if (strncmp(a->segname, b->segname, 16) == 0) fail("two segments are named %.*s", NAME(a));
    bool legacy = HOST_CPU == CPU_TYPE_X86_64 && !(image->header->flags & MH_PIE);
    if (a->vmaddr > b->vmaddr && !legacy) fail("segment %.*s lies below %.*s in memory", NAME(b), NAME(a));
    if (a->fileoff > b->fileoff && a->filesize != 0 && b->filesize != 0)
        fail("segment %.*s lies before %.*s in the file", NAME(b), NAME(a));
}

static void check_page_zero(const struct image *image)
{
    const struct segment_command_64 *zero = image->segments[0];
    bool found = zero->vmaddr == 0 && zero->filesize == 0 && zero->initprot == 0 && zero->maxprot == 0;
    uint64_t want = HOST_CPU == CPU_TYPE_ARM64 ? 1ul << 32 : PAGE_SIZE;
    if (!found || zero->vmsize < want)
        fail("the first segment is not a page zero of at least 0x%lx bytes", want);
    if (image->segments[image->nsegments - 1]->vmaddr + image->linkedit->vmsize > 1ul << 47)
        fail("the segments end above 2^47");
}

static void check_entry(const struct image *image)
{
    uint64_t entry = image->text->vmaddr + image->entry->entryoff;
    if (image->entry->entryoff >= image->text->filesize || !is_code(image, entry))
        fail("LC_MAIN: entryoff 0x%lx is not in __TEXT", image->entry->entryoff);
}
