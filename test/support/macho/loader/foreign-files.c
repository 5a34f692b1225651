/*
 * For third-party programs: files and directories, whose structs differ (xnu-11417 bsd/sys/stat.h and
 * dirent.h, the variant with 64-bit inodes, which is the only one on arm64).
 */
#include "loader.h"
#include "shims.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define DARWIN_AT_FDCWD (-2)

struct darwin_stat {
    int32_t st_dev;
    uint16_t st_mode, st_nlink;
    uint64_t st_ino;
    uint32_t st_uid, st_gid;
    int32_t st_rdev, pad;
    struct timespec st_atim, st_mtim, st_ctim, st_birthtim;
    int64_t st_size, st_blocks;
    int32_t st_blksize;
    uint32_t st_flags, st_gen;
    int32_t spare;
    int64_t spares[2];
};
_Static_assert(sizeof(struct darwin_stat) == 144, "struct stat");

struct darwin_dirent {
    uint64_t d_ino, d_seekoff;
    uint16_t d_reclen, d_namlen;
    uint8_t d_type;
    char d_name[1024];
};

static int give_stat(struct darwin_stat *to, const struct stat *from, int result)
{
    if (result == 0)
        *to = (struct darwin_stat){
            .st_dev = from->st_dev, .st_mode = from->st_mode, .st_nlink = from->st_nlink, .st_ino = from->st_ino,
            .st_uid = from->st_uid, .st_gid = from->st_gid, .st_rdev = from->st_rdev, .st_atim = from->st_atim,
            .st_mtim = from->st_mtim, .st_ctim = from->st_ctim, .st_birthtim = from->st_ctim,
            .st_size = from->st_size, .st_blocks = from->st_blocks, .st_blksize = from->st_blksize};
    return result;
}
static int darwin_stat(const char *path, struct darwin_stat *to)
{
    struct stat status;
    return give_stat(to, &status, stat(path, &status));
}
static int darwin_lstat(const char *path, struct darwin_stat *to)
{
    struct stat status;
    return give_stat(to, &status, lstat(path, &status));
}
static int darwin_fstat(int fd, struct darwin_stat *to)
{
    struct stat status;
    return give_stat(to, &status, fstat(fd, &status));
}

static void give_dirent(struct darwin_dirent *to, const struct dirent *from)
{
    *to = (struct darwin_dirent){.d_ino = from->d_ino, .d_reclen = sizeof *to, .d_type = from->d_type,
                                 .d_namlen = strlen(from->d_name)};
    strcpy(to->d_name, from->d_name);
}
static struct darwin_dirent *darwin_readdir(DIR *directory)
{
    static __thread struct darwin_dirent entry;
    const struct dirent *found = readdir(directory);
    if (found != NULL) give_dirent(&entry, found);
    return found == NULL ? NULL : &entry;
}
static int darwin_readdir_r(DIR *directory, struct darwin_dirent *entry, struct darwin_dirent **result)
{
    errno = 0;
    const struct dirent *found = readdir(directory);
    if (found != NULL) give_dirent(entry, found);
    *result = found == NULL ? NULL : entry;
    return found == NULL ? errno : 0;
}

static int at_fd(int fd) { return fd == DARWIN_AT_FDCWD ? AT_FDCWD : fd; }
VARIADIC(int, openat, 3, (int fd, const char *path, int flags), flags,
         openat(at_fd(fd), path, linux_open_flags(flags), flags & 0x200 ? va_arg(list, int) : 0))

/* F_GETFD to F_SETFL are the same numbers; flags of a file are not. */
static int darwin_fcntl(int fd, int command, long argument)
{
    switch (command) {
    case 0: return fcntl(fd, F_DUPFD, argument);
    case 1: return fcntl(fd, F_GETFD);
    case 2: return fcntl(fd, F_SETFD, argument);
    case 3: {
        int flags = fcntl(fd, F_GETFL);
        return flags < 0 ? flags : (flags & O_ACCMODE) | (flags & O_NONBLOCK ? 0x4 : 0) | (flags & O_APPEND ? 0x8 : 0);
    }
    case 4: return fcntl(fd, F_SETFL, linux_open_flags(argument));
    case 67: return fcntl(fd, F_DUPFD_CLOEXEC, argument);
    default: errno = EINVAL; return -1;
    }
}
VARIADIC(int, fcntl, 2, (int fd, int command), command, darwin_fcntl(fd, command, va_arg(list, long)))

/* Only terminals are asked, and in tests there is none. */
static int darwin_ioctl(void) { errno = ENOTTY; return -1; }

static char *darwin_realpath(const char *path, char *to)
{
    char found[PATH_MAX];
    if (realpath(path, found) == NULL) return NULL;
    if (to == NULL) to = program_malloc(PATH_MAX);
    return strcpy(to, found);
}
static char *darwin_getcwd(char *to, size_t size)
{
    if (to == NULL) to = program_malloc(size = PATH_MAX);
    return getcwd(to, size);
}

const struct shim foreign_file_shims[] = {
    {"_stat", darwin_stat}, {"_stat$INODE64", darwin_stat}, {"_lstat", darwin_lstat}, {"_lstat$INODE64", darwin_lstat},
    {"_fstat", darwin_fstat}, {"_fstat$INODE64", darwin_fstat}, {"_readdir", darwin_readdir},
    {"_readdir$INODE64", darwin_readdir}, {"_readdir_r", darwin_readdir_r}, {"_readdir_r$INODE64", darwin_readdir_r},
    {"_openat", shim_openat}, {"_fcntl", shim_fcntl}, {"_ioctl", darwin_ioctl}, {"_realpath", darwin_realpath},
    {"_realpath$DARWIN_EXTSN", darwin_realpath}, {"_getcwd", darwin_getcwd}, {NULL, NULL},
};
