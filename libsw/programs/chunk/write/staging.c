/* SPDX-License-Identifier: MIT */
/* Temporary siblings and the rename at the end. */
#include "programs/chunk/write/staging.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/manifest.h"

#define TRIES 16

static int fail_errno(struct swi_error *error, const char *what, const char *name)
{
    int code = -errno;
    return swi_fail(error, code, "%s: %s: %s", name, what, sw_strerror(code));
}

/* Splits target into an open parent and a name. */
static int split(struct staging *staging, const char *target, struct swi_error *error)
{
    char *path = strdup(target);
    if (!path)
        return swi_fail(error, -ENOMEM, "out of memory");
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        path[--length] = 0;
    char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    const char *parent = !slash ? "." : slash == path ? "/" : path;
    int result = 0;
    if (!swi_manifest_name_ok(name) || strlen(name) >= sizeof staging->name - 20)
        result =
            swi_fail(error, -EINVAL,
                     "%s: not a usable name; its last part must be a plain name of at most %zu "
                     "bytes without a dot in front",
                     target, sizeof staging->name - 21);
    else
        (void)snprintf(staging->name, sizeof staging->name, "%s", name);
    if (slash && slash != path)
        *slash = 0;
    if (result == 0) {
        staging->parent = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (staging->parent < 0)
            result = swi_fail(error, -errno, "%s: the folder %s: %s; create it first", target,
                              parent, strerrordesc_np(errno));
    }
    free(path);
    return result;
}

static void hide(struct staging *staging)
{
    unsigned number = 0;
    if (getrandom(&number, sizeof number, GRND_NONBLOCK) < 0)
        number = (unsigned)getpid();
    (void)snprintf(staging->hidden, sizeof staging->hidden, ".%s.tmp-%08x", staging->name, number);
}

/* Is there no entry but "." and ".."? */
static bool is_empty(int directory)
{
    int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = copy < 0 ? NULL : fdopendir(copy);
    if (!entries) {
        if (copy >= 0)
            (void)close(copy);
        return false;
    }
    bool empty = true;
    for (const struct dirent *entry; empty && (entry = readdir(entries));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    (void)closedir(entries);
    return empty;
}

static int check_target(const struct staging *staging, bool wants_directory, const char *target,
                        struct swi_error *error)
{
    struct stat status;
    if (fstatat(staging->parent, staging->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : fail_errno(error, "cannot inspect it", target);
    if (!staging->replace)
        return swi_fail(error, -EEXIST, "%s: already exists; --force replaces it", target);
    if (!wants_directory)
        return S_ISREG(status.st_mode)
                   ? 0
                   : swi_fail(error, -EEXIST, "%s: exists and is not a regular file", target);
    int old =
        openat(staging->parent, staging->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    bool fine = old >= 0 && (faccessat(old, SWI_MANIFEST_FILE, F_OK, 0) == 0 || is_empty(old));
    if (old >= 0)
        (void)close(old);
    return fine ? 0
                : swi_fail(error, -EEXIST,
                           "%s: exists and is not a chunk directory; --force does not remove it",
                           target);
}

static int begin(struct staging *staging, const char *target, bool replace, bool directory,
                 struct swi_error *error)
{
    *staging = (struct staging){.parent = -1, .directory = -1, .file = -1, .replace = replace};
    int result = split(staging, target, error);
    if (result == 0)
        result = check_target(staging, directory, target, error);
    for (int tries = 0; result == 0 && tries < TRIES; tries++) {
        hide(staging);
        int made = directory ? mkdirat(staging->parent, staging->hidden, 0777)
                             : openat(staging->parent, staging->hidden,
                                      O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (made >= 0) {
            if (!directory)
                staging->file = made;
            break;
        }
        staging->hidden[0] = 0;
        if (errno != EEXIST || tries + 1 == TRIES)
            result = fail_errno(error, "cannot create it", target);
    }
    if (result == 0 && directory) {
        staging->directory =
            openat(staging->parent, staging->hidden, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (staging->directory < 0)
            result = fail_errno(error, "cannot open what was just created", target);
    }
    if (result < 0)
        staging_discard(staging);
    return result;
}

int staging_begin_directory(struct staging *staging, const char *target, bool replace,
                            struct swi_error *error)
{
    return begin(staging, target, replace, true, error);
}

int staging_begin_file(struct staging *staging, const char *target, bool replace,
                       struct swi_error *error)
{
    return begin(staging, target, replace, false, error);
}

/* Removes a file, or a directory of files and directories of files. Never follows a link. */
static void remove_tree(int parent, const char *name, int depth)
{
    if (unlinkat(parent, name, 0) == 0 || depth == 0)
        return;
    int directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *entries = directory < 0 ? NULL : fdopendir(directory);
    if (!entries) {
        if (directory >= 0)
            (void)close(directory);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(entries));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove_tree(directory, entry->d_name, depth - 1);
    (void)closedir(entries);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

/* Puts the new one in place. Where the old one is to go it is exchanged, so that at no time there
 * is none. */
static int swap_in(struct staging *staging, struct swi_error *error)
{
    const char *from = staging->hidden, *to = staging->name;
    int parent = staging->parent;
    if (renameat2(parent, from, parent, to, RENAME_NOREPLACE) == 0) {
        staging->hidden[0] = 0;
        return 0;
    }
    if (errno == EEXIST && staging->replace)
        /* what was the target is now under the hidden name, and discard removes it */
        return renameat2(parent, from, parent, to, RENAME_EXCHANGE) == 0
                   ? 0
                   : fail_errno(error, "cannot replace it", to);
    if (errno == EINVAL && renameat(parent, from, parent, to) == 0) {
        /* a file system without the flag: plain rename still refuses a directory that is not empty
         */
        staging->hidden[0] = 0;
        return 0;
    }
    return errno == EEXIST || errno == ENOTEMPTY
               ? swi_fail(error, -EEXIST, "%s: was created in the meantime; nothing was replaced",
                          to)
               : fail_errno(error, "cannot rename it into place", to);
}

int staging_commit(struct staging *staging, struct swi_error *error)
{
    int result = 0;
    if (fsync(staging->directory >= 0 ? staging->directory : staging->file) < 0)
        result = fail_errno(error, "cannot sync it", staging->name);
    if (result == 0)
        result = swap_in(staging, error);
    if (result == 0 && fsync(staging->parent) < 0)
        result = fail_errno(error, "cannot sync the folder of", staging->name);
    staging_discard(staging);
    return result;
}

void staging_discard(struct staging *staging)
{
    if (staging->directory >= 0)
        (void)close(staging->directory);
    if (staging->file >= 0)
        (void)close(staging->file);
    if (staging->hidden[0])
        remove_tree(staging->parent, staging->hidden, 3);
    if (staging->parent >= 0)
        (void)close(staging->parent);
    *staging = (struct staging){.parent = -1, .directory = -1, .file = -1};
}
