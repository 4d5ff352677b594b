/* Disk faults for one process, preloaded in front of the C library.
 *
 * Power cut: what was written below FAULT_ROOT is copied to FAULT_SHADOW when it is synced, and not before. After the
 * process is killed, the shadow holds what a disk would hold after a power cut. Renamed and removed names are taken
 * to be on the disk at once; syncing a directory does nothing.
 *
 * Kill: with FAULT_KILL_AT=n, the process is killed just before its n-th change of a file below FAULT_ROOT.
 *
 * Errors: while a file FAULT_ROOT/fail-sync exists, syncing fails with EIO; while FAULT_ROOT/fail-write exists,
 * writing fails with ENOSPC.
 *
 * Only the store's writer writes below FAULT_ROOT, so nothing here is locked.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 1024

struct range { off_t start; size_t length; };
struct file { char *shadow; struct range *ranges; size_t count, room; off_t cut; };

static struct file files[FILES];

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int below_root(const char *path) {
    const char *root = getenv("FAULT_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

static int failing(const char *what) {
    char path[PATH_MAX];
    const char *root = getenv("FAULT_ROOT");
    if (!root) return 0;
    snprintf(path, sizeof path, "%s/%s", root, what);
    return access(path, F_OK) == 0;
}

static void change(void) {
    static long changes;
    const char *last = getenv("FAULT_KILL_AT");
    if (last && ++changes == atol(last)) kill(getpid(), SIGKILL);
}

static char *shadow_of(const char *path) {
    const char *shadow = getenv("FAULT_SHADOW"), *name = strrchr(path, '/');
    size_t length = strlen(path);
    if (!shadow || !name || (length > 4 && strcmp(path + length - 4, "-shm") == 0)) return NULL;
    char *result = NULL;
    return asprintf(&result, "%s%s", shadow, name) < 0 ? NULL : result;
}

static struct file *tracked(int fd) { return fd >= 0 && fd < FILES && files[fd].shadow ? &files[fd] : NULL; }

static int track(int fd, const char *path, int flags) {
    struct stat status;
    if (fd < 0 || fd >= FILES || !below_root(path) || fstat(fd, &status) || !S_ISREG(status.st_mode)) return fd;
    char *shadow = shadow_of(path);
    if (!shadow) return fd;
    files[fd] = (struct file){.shadow = shadow, .cut = -1};
    if (flags & O_CREAT) {
        int copy = REAL(open)(shadow, O_RDWR | O_CREAT, 0600);
        if (copy >= 0) REAL(close)(copy);
    }
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = flags & O_CREAT ? va_arg(rest, int) : 0;
    va_end(rest);
    return track(REAL(open)(path, flags, mode), path, flags);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = flags & O_CREAT ? va_arg(rest, int) : 0;
    va_end(rest);
    return track(REAL(open64)(path, flags, mode), path, flags);
}

int close(int fd) {
    struct file *file = tracked(fd);
    if (file) {
        free(file->shadow);
        free(file->ranges);
        memset(file, 0, sizeof *file);
    }
    return REAL(close)(fd);
}

int unlink(const char *path) {
    if (below_root(path)) {
        change();
        char *shadow = shadow_of(path);
        if (shadow) REAL(unlink)(shadow);
        free(shadow);
    }
    return REAL(unlink)(path);
}

static void note(int fd, off_t start, ssize_t length) {
    struct file *file = tracked(fd);
    if (!file || length <= 0) return;
    if (file->count == file->room) {
        file->room = file->room ? 2 * file->room : 64;
        file->ranges = realloc(file->ranges, file->room * sizeof *file->ranges);
        if (!file->ranges) abort();
    }
    file->ranges[file->count++] = (struct range){start, (size_t)length};
}

#define PWRITE(name, offset_type)                                                     \
    ssize_t name(int fd, const void *bytes, size_t length, offset_type start) {       \
        if (tracked(fd) && failing("fail-write")) { errno = ENOSPC; return -1; }      \
        if (tracked(fd)) change();                                                    \
        ssize_t written = REAL(name)(fd, bytes, length, start);                       \
        note(fd, start, written);                                                     \
        return written;                                                               \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define FTRUNCATE(name, offset_type)                                                  \
    int name(int fd, offset_type length) {                                            \
        struct file *file = tracked(fd);                                              \
        if (file) change();                                                           \
        if (file && (file->cut < 0 || length < file->cut)) file->cut = length;        \
        return REAL(name)(fd, length);                                                \
    }
FTRUNCATE(ftruncate, off_t)
FTRUNCATE(ftruncate64, off64_t)

static void copy_to_shadow(int fd, struct file *file) {
    static char bytes[65536];
    int copy = REAL(open)(file->shadow, O_RDWR | O_CREAT, 0600);
    if (copy < 0) abort();
    if (file->cut >= 0 && REAL(ftruncate)(copy, file->cut)) abort();
    for (size_t each = 0; each < file->count; each++) {
        off_t start = file->ranges[each].start, end = start + (off_t)file->ranges[each].length;
        while (start < end) {
            size_t room = end - start < (off_t)sizeof bytes ? (size_t)(end - start) : sizeof bytes;
            ssize_t got = pread(fd, bytes, room, start);
            if (got <= 0) break;
            if (REAL(pwrite)(copy, bytes, (size_t)got, start) != got) abort();
            start += got;
        }
    }
    file->count = 0;
    file->cut = -1;
    REAL(close)(copy);
}

#define SYNC(name)                                                                    \
    int name(int fd) {                                                                \
        struct file *file = tracked(fd);                                              \
        if (file && failing("fail-sync")) { errno = EIO; return -1; }                 \
        if (file) change();                                                           \
        int result = REAL(name)(fd);                                                  \
        if (file && result == 0) copy_to_shadow(fd, file);                            \
        return result;                                                                \
    }
SYNC(fsync)
SYNC(fdatasync)
