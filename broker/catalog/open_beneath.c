/* SPDX-License-Identifier: MIT */
/* openat2 with RESOLVE_BENEATH where the kernel or a container's filter allows it, else the same by
 * walking the path's components. */
#include "catalog/open_beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel has it */
#define DEPTH_MAX 64 /* directories below the first one */

int open_settle(int fd)
{
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && flags >= 0)
        (void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
    return fd;
}

/* ---- the walk -------------------------------------------------------------------------------- */

struct walk {
    int stack[DEPTH_MAX + 1]; /* the caller's directory, and those entered below it */
    int depth;
    int links;
    char rest[2 * PATH_MAX]; /* what is still to be resolved */
};

static void leave(struct walk *walk)
{
    close(walk->stack[walk->depth--]);
}

/* Cuts the first component off the rest. False where nothing is left. */
static bool next_component(struct walk *walk, char *ret, bool *ret_last)
{
    const char *start = walk->rest + strspn(walk->rest, "/");
    size_t length = strcspn(start, "/");
    if (length == 0 || length > NAME_MAX)
        return false;
    memcpy(ret, start, length);
    ret[length] = 0;
    const char *after = start + length;
    *ret_last = after[strspn(after, "/")] == 0;
    memmove(walk->rest, after, strlen(after) + 1);
    return true;
}

/* Puts a symbolic link's target in front of the rest. */
static int follow(struct walk *walk, int link)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(link, "", target, sizeof target);
    if (length < 0)
        return -errno;
    if (++walk->links > LINKS_MAX)
        return -ELOOP;
    if (length == 0 || target[0] == '/')
        return -EXDEV;
    size_t rest = strlen(walk->rest);
    if ((size_t)length + rest + 2 > sizeof walk->rest || (size_t)length == sizeof target)
        return -ENAMETOOLONG;
    memmove(walk->rest + length + 1, walk->rest, rest + 1);
    memcpy(walk->rest, target, (size_t)length);
    walk->rest[length] = '/';
    return 0;
}

/* One component other than "." and "..". Returns a descriptor where it was the last one, else
 * -EAGAIN to go on, or what is wrong. */
static int step(struct walk *walk, const char *name, bool last, int flags)
{
    struct stat status;
    int directory = walk->stack[walk->depth];
    int at = openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (at < 0)
        return -errno;
    int result = fstat(at, &status) < 0 ? -errno : -EAGAIN;
    if (result == -EAGAIN && S_ISLNK(status.st_mode)) {
        int followed = follow(walk, at);
        close(at);
        return followed < 0 ? followed : -EAGAIN;
    }
    if (result == -EAGAIN && last) {
        int fd = openat(directory, name, flags | O_NOFOLLOW);
        result = fd < 0 ? -errno : fd;
    } else if (result == -EAGAIN && !S_ISDIR(status.st_mode)) {
        result = -ENOTDIR;
    } else if (result == -EAGAIN && walk->depth < DEPTH_MAX) {
        walk->stack[++walk->depth] = at;
        return -EAGAIN;
    } else if (result == -EAGAIN) {
        result = -ENAMETOOLONG;
    }
    close(at);
    return result;
}

/* The directory where the walk stands, opened anew: for paths that end in "." or "..". */
static int reopen(const struct walk *walk, int flags)
{
    int fd = openat(walk->stack[walk->depth], ".", flags);
    return fd < 0 ? -errno : fd;
}

static int walk_beneath(int directory, const char *path, int flags)
{
    struct walk walk = {.stack = {directory}};
    if (path[0] == '/')
        return -EXDEV;
    if (path[0] == 0)
        return -ENOENT;
    if ((size_t)snprintf(walk.rest, sizeof walk.rest, "%s", path) >= PATH_MAX)
        return -ENAMETOOLONG;
    int result = -EAGAIN;
    char name[NAME_MAX + 1];
    bool last;
    while (result == -EAGAIN && next_component(&walk, name, &last)) {
        if (strcmp(name, "..") == 0 && walk.depth == 0) {
            result = -EXDEV;
        } else if (strcmp(name, "..") == 0) {
            leave(&walk);
        } else if (strcmp(name, ".") != 0) {
            result = step(&walk, name, last, flags);
        }
    }
    if (result == -EAGAIN)
        result = walk.rest[strspn(walk.rest, "/")] ? -ENAMETOOLONG : reopen(&walk, flags);
    while (walk.depth > 0)
        leave(&walk);
    return result;
}

/* ---- either way ------------------------------------------------------------------------------ */

int open_beneath(int directory, const char *path, int flags)
{
    flags |= O_RDONLY | O_CLOEXEC;
    if (!(flags & O_PATH)) /* openat2 is strict about what goes with it */
        flags |= O_NONBLOCK | O_NOCTTY;
    struct open_how how = {
        .flags = (uint64_t)(unsigned)flags,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd;
    do
        fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
    while (fd < 0 &&
           (errno == EINTR || errno == EAGAIN)); /* EAGAIN: something was renamed meanwhile */
    int result = fd >= 0 ? (int)fd : -errno;
    if (result == -ENOSYS || result == -EPERM) /* a filter of system calls answers so */
        result = walk_beneath(directory, path, flags);
    return result < 0 || (flags & O_PATH) ? result : open_settle(result);
}
