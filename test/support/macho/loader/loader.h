/*
 * What the parts of the loader have in common: one program, read from a file and mapped at a slide, and
 * the passes over it, in the order in which main.c runs them.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "macho.h"

#ifdef __aarch64__
#define HOST_CPU CPU_TYPE_ARM64
#define HOST_ARCH "arm64"
#define PAGE_SIZE 0x4000ul /* of Darwin: the Linux page is smaller, so the loader has to mind it itself */
#else
#define HOST_CPU CPU_TYPE_X86_64
#define HOST_ARCH "x86_64"
#define PAGE_SIZE 0x1000ul
#endif
#define ROUND_UP(n, to) (((n) + (to)-1) / (to) * (to))

#define MAX_SEGMENTS 64
#define MAX_DYLIBS 128

struct options {
    bool random_slide, foreign, stop, go_on;
    uint64_t slide;
    const char *at, *core, *core_style;
};

struct image {
    const char *path;
    int fd;
    uint64_t slice;               /* of a fat file: its offset */
    const uint8_t *file;          /* bytes of the slice */
    uint64_t size;
    const struct mach_header_64 *header;
    const struct segment_command_64 *segments[MAX_SEGMENTS];
    unsigned nsegments;
    const struct segment_command_64 *text, *linkedit;
    const char *dylibs[MAX_DYLIBS];
    unsigned ndylibs;
    const struct symtab_command *symtab;
    const struct dysymtab_command *dysymtab;
    const struct dyld_info_command *info;
    const struct linkedit_data_command *chained, *trie, *signature;
    const struct entry_point_command *entry;
    const struct uuid_command *uuid;
    uint32_t sdk;                 /* xxxx.yy.zz, 0: not said */
    uint64_t slide;
};

extern struct options options;
extern struct image image;

/* Ends with status 126 and one sentence that begins with the path of the program. */
void fail(const char *sentence, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* file.c, commands.c, segment-rules.c, linkedit-rules.c, symbol-rules.c, signature.c: read and judge the file. */
void open_image(struct image *, const char *path);
void read_commands(struct image *);
void check_segments(const struct image *);
void check_linkedit(const struct image *);
void check_symbols(const struct image *);
void check_signature(const struct image *);
void sha256(const uint8_t *bytes, size_t size, uint8_t digest[32]);

/* hidden.c: zeroed memory that no core has. */
#define HIDDEN "macho-loader-hidden"
void *hidden_memory(size_t size);

/* map.c */
void map_image(struct image *, const struct options *);
void protect_image(const struct image *);
static inline uint64_t slid(const struct image *image, uint64_t vmaddr) { return vmaddr + image->slide; }
/* Index of the segment that has `size` bytes at this unslid address, or -1. */
int segment_at(const struct image *, uint64_t vmaddr, uint64_t size);
bool is_code(const struct image *, uint64_t vmaddr);
const struct section_64 *sections_of(const struct segment_command_64 *);

/* dyld-info.c, chained.c */
void apply_dyld_info(const struct image *);
void apply_chained(const struct image *);
/* Fails with a sentence unless `where` (unslid) may be fixed up: in a writable segment that is not code. */
uint64_t *fixup_slot(const struct image *, uint64_t where, const char *what);
void check_target(const struct image *, uint64_t where, uint64_t target, const char *what);

/* uleb.c: bytes of the file with an end, so that no reader runs over it. */
struct bytes { const uint8_t *at, *end; const char *what; };
struct bytes bytes_of(const struct image *, uint64_t offset, uint64_t size, const char *what);
uint8_t read_byte(struct bytes *);
uint64_t read_uleb(struct bytes *);
int64_t read_sleb(struct bytes *);
const char *read_string(struct bytes *);

/* resolve.c, exports.c */
enum { ORDINAL_SELF = 0, ORDINAL_MAIN = -1, ORDINAL_FLAT = -2, ORDINAL_WEAK = -3 };
uint64_t resolve(const struct image *, int64_t ordinal, const char *name, bool weak_import);
/* Unslid address of a definition of the program's own, or 0. */
uint64_t own_export(const struct image *, const char *name);
uint64_t own_symbol(const struct image *, const char *name);
void *find_shim(const char *name);
void print_shims(void);
/* A name that Linux has too, but with another layout. */
bool is_refused(const char *name);
void remember_arguments(int argc, char **argv);

/* thread-locals.c, initialisers.c */
void prepare_thread_locals(const struct image *);
extern char tlv_bootstrap[];
void run_initialisers(const struct image *, int argc, char **argv, char **envp, char **apple);

/* zones.c, system-zone.c, shims-malloc.c: the program's libmalloc. */
void start_zones(void);
void *program_malloc(size_t);
void program_free(void *);
struct malloc_zone;
struct malloc_zone *new_system_zone(const char *name);
void lock_zones(void);
void unlock_zones(void);
void reinit_zones(void);

/* trap.c, threads.c, core.c */
void plant_trap(const struct image *, const struct options *);
void register_thread(void);
void unregister_thread(void);
struct thread_registers { int tid; const void *ucontext; };
/* Halts all other threads, which stay halted until release_threads(). The caller's is the first of them. */
unsigned halt_threads(struct thread_registers *, unsigned max, const void *own_ucontext);
void release_threads(void);
void write_core(const struct image *, const char *path, const char *style, const void *ucontext);
