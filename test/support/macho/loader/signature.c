/*
 * Verifies the embedded code signature as xnu does (cs_blobs.h and ubc_subr.c of xnu-11417: all fields
 * big-endian, version 0x20400): the directory's bounds, every page hash and every special slot. On arm64
 * there has to be one. CMS signatures and certificates are not looked at.
 */
#include "loader.h"
#include <string.h>

#define CSMAGIC_EMBEDDED_SIGNATURE 0xfade0cc0u
#define CSMAGIC_CODEDIRECTORY 0xfade0c02u
#define CSSLOT_REQUIREMENTS 2u
#define CS_HASHTYPE_SHA256 2
#define CS_LINKER_SIGNED 0x20000u
#define CS_ADHOC 0x2u

struct directory { const uint8_t *at; uint32_t length; };

static struct directory find_directory(const struct image *, const uint8_t *blob, uint32_t size);
static void check_directory(const struct image *, struct directory);
static void check_pages(const struct image *, struct directory);
static void check_specials(const struct image *, struct directory, const uint8_t *blob, uint32_t size);

static uint32_t be32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
static uint64_t be64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }

/* Offsets of CS_CodeDirectory's fields. */
enum { VERSION = 8, FLAGS = 12, HASH_OFFSET = 16, IDENT_OFFSET = 20, N_SPECIAL = 24, N_CODE = 28, CODE_LIMIT = 32,
       HASH_SIZE = 36, HASH_TYPE = 37, PAGE_LOG2 = 39, CODE_LIMIT_64 = 56, EXEC_SEG_BASE = 64, EXEC_SEG_LIMIT = 72,
       EXEC_SEG_FLAGS = 80, DIRECTORY_SIZE = 88, HASH = 32 };

void check_signature(const struct image *image)
{
    if (!image->signature) {
        if (HOST_CPU == CPU_TYPE_ARM64) fail("code signature: there is none, which arm64 demands");
        return;
    }
    uint32_t offset = image->signature->dataoff, size = image->signature->datasize;
    if (offset > image->size || size > image->size - offset)
        fail("code signature: 0x%x bytes at 0x%x are not in the file", size, offset);
    const uint8_t *blob = image->file + offset;
    if (size < 12 || be32(blob) != CSMAGIC_EMBEDDED_SIGNATURE)
        fail("code signature: magic is not CSMAGIC_EMBEDDED_SIGNATURE");
    if (be32(blob + 4) > size) fail("code signature: length 0x%x is more than LC_CODE_SIGNATURE's 0x%x", be32(blob + 4), size);
    if (be32(blob + 8) > (be32(blob + 4) - 12) / 8) fail("code signature: %u blobs are more than it can have", be32(blob + 8));
    if (be32(blob + 4) < 108) fail("code signature: %u bytes are fewer than xnu takes", be32(blob + 4));
    struct directory directory = find_directory(image, blob, be32(blob + 4));
    check_directory(image, directory);
    check_pages(image, directory);
    check_specials(image, directory, blob, be32(blob + 4));
}

static struct directory find_directory(const struct image *image, const uint8_t *blob, uint32_t size)
{
    (void)image;
    struct directory found = {0};
    for (uint32_t i = 0; i < be32(blob + 8); i++) {
        uint32_t type = be32(blob + 12 + 8 * i), offset = be32(blob + 16 + 8 * i);
        if (offset > size - 8 || be32(blob + offset + 4) < 8 || be32(blob + offset + 4) > size - offset)
            fail("code signature: the blob of slot 0x%x lies beyond its end", type);
        if (type == 0) found = (struct directory){blob + offset, be32(blob + offset + 4)};
    }
    if (!found.at || be32(found.at) != CSMAGIC_CODEDIRECTORY) fail("code signature: no CodeDirectory in slot 0");
    if (found.length < DIRECTORY_SIZE) fail("code signature: the CodeDirectory has only %u bytes", found.length);
    return found;
}

static void check_directory(const struct image *image, struct directory d)
{
    const uint8_t *at = d.at;
    if (be32(at + VERSION) < 0x20400) fail("code signature: version 0x%x is below 0x20400", be32(at + VERSION));
    if (at[HASH_TYPE] != CS_HASHTYPE_SHA256 || at[HASH_SIZE] != HASH)
        fail("code signature: hash type %u of %u bytes is not SHA-256", at[HASH_TYPE], at[HASH_SIZE]);
    if (at[PAGE_LOG2] != 12 && !(HOST_CPU == CPU_TYPE_ARM64 && at[PAGE_LOG2] == 14))
        fail("code signature: page size 2^%u is neither 4096 nor the kernel's", at[PAGE_LOG2]);
    uint64_t limit = be64(at + CODE_LIMIT_64) ? be64(at + CODE_LIMIT_64) : be32(at + CODE_LIMIT);
    if (limit != image->signature->dataoff)
        fail("code signature: codeLimit 0x%lx is not where the signature starts, 0x%x", limit, image->signature->dataoff);
    uint64_t pages = (limit + (1ul << at[PAGE_LOG2]) - 1) >> at[PAGE_LOG2];
    if (be32(at + N_CODE) != pages) fail("code signature: %u page hashes, want %lu", be32(at + N_CODE), pages);
    uint64_t hashes = be32(at + HASH_OFFSET);
    if (hashes < (uint64_t)be32(at + N_SPECIAL) * HASH + DIRECTORY_SIZE || hashes + pages * HASH > d.length)
        fail("code signature: hashes at 0x%lx do not fit into the CodeDirectory's 0x%x bytes", hashes, d.length);
    uint32_t identifier = be32(at + IDENT_OFFSET);
    if (identifier < DIRECTORY_SIZE || identifier >= d.length || !memchr(at + identifier, 0, d.length - identifier))
        fail("code signature: the identifier at 0x%x does not end inside the CodeDirectory", identifier);
    if (be64(at + EXEC_SEG_BASE) != image->text->fileoff || be64(at + EXEC_SEG_LIMIT) != image->text->filesize)
        fail("code signature: execSegLimit 0x%lx is not __TEXT's filesize, 0x%lx", be64(at + EXEC_SEG_LIMIT),
             image->text->filesize);
    if (!(be64(at + EXEC_SEG_FLAGS) & 1)) fail("code signature: execSegFlags lack CS_EXECSEG_MAIN_BINARY");
}

static void check_pages(const struct image *image, struct directory d)
{
    uint64_t limit = image->signature->dataoff, page = 1ul << d.at[PAGE_LOG2];
    const uint8_t *hashes = d.at + be32(d.at + HASH_OFFSET);
    for (uint64_t i = 0; i * page < limit; i++) {
        uint8_t digest[HASH];
        uint64_t length = limit - i * page < page ? limit - i * page : page;
        sha256(image->file + i * page, length, digest);
        if (memcmp(digest, hashes + i * HASH, HASH) != 0)
            fail("code signature: page %lu (offset 0x%lx) has another hash", i, i * page);
    }
}

/* A slot is all zeros when there is no such blob, else the hash of it. */
static void check_specials(const struct image *image, struct directory d, const uint8_t *blob, uint32_t size)
{
    (void)image, (void)size;
    static const uint8_t zeros[HASH];
    uint32_t specials = be32(d.at + N_SPECIAL);
    const uint8_t *hashes = d.at + be32(d.at + HASH_OFFSET);
    for (uint32_t slot = 1; slot <= specials; slot++) {
        const uint8_t *want = hashes - slot * HASH, *found = NULL;
        uint8_t digest[HASH] = {0};
        for (uint32_t i = 0; i < be32(blob + 8); i++)
            if (be32(blob + 12 + 8 * i) == slot) found = blob + be32(blob + 16 + 8 * i);
        /* 1 and 3 (Info.plist, resources) are hashes of other files, if there are any. */
        if (!found && (slot == 1 || slot == 3 || memcmp(want, zeros, HASH) == 0)) continue;
        if (!found) fail("code signature: special slot %u has a hash, but no blob", slot);
        sha256(found, be32(found + 4), digest);
        if (memcmp(digest, want, HASH) != 0) fail("code signature: special slot %u has another hash", slot);
    }
    for (uint32_t i = 0; i < be32(blob + 8); i++) {
        uint32_t type = be32(blob + 12 + 8 * i);
        if (type != 0 && type < 0x1000 && type > specials)
            fail("code signature: the blob of slot %u is not hashed into the CodeDirectory", type);
    }
}
