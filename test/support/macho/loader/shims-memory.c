/*
 * <sys/mman.h> and Mach's memory calls, with Darwin's flags and page size (xnu-11417 bsd/sys/mman.h,
 * osfmk/mach/vm_map.defs): on arm64 what is given starts at multiples of 16 KiB, as Linux's need not.
 */
#include "loader.h"
#include "shims.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define DARWIN_MAP_SHARED 0x1
#define DARWIN_MAP_FIXED 0x10
#define DARWIN_MAP_NORESERVE 0x40
#define DARWIN_MAP_JIT 0x800
#define DARWIN_MAP_ANON 0x1000
#define KERN_SUCCESS 0
#define KERN_INVALID_ADDRESS 1
#define KERN_NO_SPACE 3
#define VM_FLAGS_ANYWHERE 0x1

static unsigned task_self = 0x103;
static uint64_t page_size = PAGE_SIZE;

/* At a multiple of the page: more is asked for than is wanted, and the ends are given back. */
static uint8_t *find_room(size_t size)
{
    uint8_t *room = mmap(NULL, size + PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return MAP_FAILED;
    uint8_t *start = (uint8_t *)ROUND_UP((uintptr_t)room, PAGE_SIZE);
    if (start > room) munmap(room, start - room);
    munmap(start + size, room + PAGE_SIZE - start);
    return start;
}

static void *shim_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    int linux_flags = flags & DARWIN_MAP_SHARED ? MAP_SHARED : MAP_PRIVATE;
    bool anonymous = flags & DARWIN_MAP_ANON, fixed = flags & DARWIN_MAP_FIXED;
    if (size == 0 || (fixed && (uintptr_t)address % PAGE_SIZE != 0) || (!anonymous && offset % PAGE_SIZE != 0)) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    if (anonymous) linux_flags |= MAP_ANONYMOUS, fd = -1, offset = 0;
    if (flags & DARWIN_MAP_NORESERVE) linux_flags |= MAP_NORESERVE;
    size = ROUND_UP(size, PAGE_SIZE);
    void *want = fixed ? address : find_room(size);
    return want == MAP_FAILED ? want : mmap(want, size, protection, linux_flags | MAP_FIXED, fd, offset);
}

static int shim_munmap(void *address, size_t size)
{
    if ((uintptr_t)address % PAGE_SIZE != 0 || size == 0) {
        errno = EINVAL;
        return -1;
    }
    return munmap(address, ROUND_UP(size, PAGE_SIZE));
}

static int shim_mprotect(void *address, size_t size, int protection)
{
    if ((uintptr_t)address % PAGE_SIZE != 0) {
        errno = EINVAL;
        return -1;
    }
    return mprotect(address, ROUND_UP(size, PAGE_SIZE), protection);
}

/* Advice of Darwin: 0..4 as in Linux; MADV_DONTNEED there keeps the contents, and so do the others. */
static int shim_madvise(void *address, size_t size, int advice)
{
    (void)address, (void)size, (void)advice;
    return 0;
}

static int vm_allocate(unsigned task, uintptr_t *address, uintptr_t size, int flags)
{
    (void)task;
    bool anywhere = flags & VM_FLAGS_ANYWHERE;
    if (!anywhere && *address % PAGE_SIZE != 0) return KERN_INVALID_ADDRESS;
    void *want = anywhere ? find_room(ROUND_UP(size, PAGE_SIZE)) : (void *)*address;
    if (want == MAP_FAILED) return KERN_NO_SPACE;
    int how = MAP_PRIVATE | MAP_ANONYMOUS | (anywhere ? MAP_FIXED : MAP_FIXED_NOREPLACE);
    void *got = mmap(want, ROUND_UP(size, PAGE_SIZE), PROT_READ | PROT_WRITE, how, -1, 0);
    if (got != want) return KERN_NO_SPACE;
    *address = (uintptr_t)got;
    return KERN_SUCCESS;
}

static int vm_deallocate(unsigned task, uintptr_t address, uintptr_t size)
{
    (void)task;
    uintptr_t start = address / PAGE_SIZE * PAGE_SIZE;
    bool done = munmap((void *)start, ROUND_UP(address - start + size, PAGE_SIZE)) == 0;
    return done ? KERN_SUCCESS : KERN_INVALID_ADDRESS;
}

const struct shim memory_shims[] = {
    {"_mmap", shim_mmap}, {"_munmap", shim_munmap}, {"_mprotect", shim_mprotect}, {"_madvise", shim_madvise},
    {"_mach_task_self_", &task_self}, {"_vm_page_size", &page_size}, {"_vm_kernel_page_size", &page_size},
    {"_vm_allocate", vm_allocate}, {"_mach_vm_allocate", vm_allocate}, {"_vm_deallocate", vm_deallocate},
    {"_mach_vm_deallocate", vm_deallocate}, {NULL, NULL},
};
