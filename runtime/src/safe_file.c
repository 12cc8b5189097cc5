#define _GNU_SOURCE
#include "safe_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Whether others than its owner can write it. A group of its own is what many systems give each user,
 * with a mask of 002; where there is an access list, the group's bit stands for all that it names. */
static int is_open_to_others(int file, const struct stat *status) {
    if (status->st_mode & S_IWOTH)
        return 1;
    return (status->st_mode & S_IWGRP) &&
           (status->st_gid != getegid() || fgetxattr(file, "system.posix_acl_access", NULL, 0) > 0);
}

/* Returns 0, or -1 with the problem. */
static int check_file(int file, const char *what, const struct stat *status, uid_t owner,
                      long long limit, struct kitsune__problem *problem) {
    if (!S_ISREG(status->st_mode))
        return kitsune__refuse(problem, KITSUNE__UNSAFE_FILE, "%s is no regular file", what);
    if (status->st_uid != 0 && status->st_uid != owner)
        return kitsune__refuse(problem, KITSUNE__UNSAFE_FILE,
                               "%s belongs to uid %u; it must belong to root or to uid %u, as "
                               "which the program was started",
                               what, status->st_uid, owner);
    if (is_open_to_others(file, status))
        return kitsune__refuse(
            problem, KITSUNE__UNSAFE_FILE, "%s can be written by others (mode 0%u%u%u)", what,
            status->st_mode >> 6 & 7, status->st_mode >> 3 & 7, status->st_mode & 7);
    if (status->st_size > limit)
        return kitsune__refuse(problem, KITSUNE__UNSAFE_FILE, "%s is larger than %ld bytes", what,
                               (long)limit);
    return 0;
}

/* A fifo must not block, a link must not lead elsewhere. */
int kitsune__open_safely(const char *path, const char *what, uid_t owner, long long limit,
                         struct kitsune__problem *problem) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    struct stat status;

    if (file < 0 && errno == ELOOP)
        return kitsune__refuse(problem, KITSUNE__UNSAFE_FILE,
                               "%s is a symbolic link; name the file itself", what);
    if (file < 0 || fstat(file, &status) < 0)
        kitsune__refuse(problem, KITSUNE__NO_FILE, "%s cannot be opened: %s", what,
                        strerrordesc_np(errno));
    else if (check_file(file, what, &status, owner, limit, problem) == 0)
        return file;
    if (file >= 0)
        close(file);
    return -1;
}

ssize_t kitsune__read_safely(const char *path, const char *what, uid_t owner, char *text,
                             size_t size, struct kitsune__problem *problem) {
    int file = kitsune__open_safely(path, what, owner, (long long)size - 1, problem);
    size_t used = 0;
    ssize_t got;

    if (file < 0)
        return -1;
    while ((got = read(file, text + used, size - used)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || (used += (size_t)got) == size)
            break;
    }
    if (got < 0)
        kitsune__refuse(problem, KITSUNE__NO_FILE, "%s cannot be read: %s", what,
                        strerrordesc_np(errno));
    else if (got > 0) /* it grew */
        kitsune__refuse(problem, KITSUNE__UNSAFE_FILE, "%s is larger than %ld bytes", what,
                        (long)size - 1);
    else
        text[used] = '\0';
    int saved = errno;
    close(file);
    errno = saved;
    return got == 0 ? (ssize_t)used : -1;
}
