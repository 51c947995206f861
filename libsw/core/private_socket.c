/* SPDX-License-Identifier: MIT */
/* See private_socket.h. */
#include "core/private_socket.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/digest.h"
#include "core/socket.h"

#define PROBE_MS 1000

/* Whether only this user can create files there. */
static bool is_ours(const char *directory)
{
    struct stat status;
    return directory && directory[0] == '/' && lstat(directory, &status) == 0 &&
           S_ISDIR(status.st_mode) && status.st_uid == geteuid() && !(status.st_mode & 022);
}

static int name_directory(char path[static PATH_MAX], struct swi_error *error)
{
    char of_user[64];
    (void)snprintf(of_user, sizeof of_user, "/run/user/%u", (unsigned)geteuid());
    const char *base = secure_getenv("XDG_RUNTIME_DIR");
    if (!is_ours(base))
        base = is_ours(of_user) ? of_user : NULL;
    int length = base ? snprintf(path, PATH_MAX, "%s/swbroker", base)
                      : snprintf(path, PATH_MAX, "/tmp/swbroker-%u", (unsigned)geteuid());
    if (length >= PATH_MAX)
        return swi_fail(error, -ENAMETOOLONG, "$XDG_RUNTIME_DIR is too long");
    return 0;
}

static int make_directory(const char *path, struct swi_error *error)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return swi_fail(error, -errno,
                        "cannot create %s for the socket: %s; set XDG_RUNTIME_DIR to a directory "
                        "of yours",
                        path, sw_strerror(-errno));
    struct stat status;
    if (lstat(path, &status) < 0)
        return swi_fail(error, -errno, "cannot check %s: %s", path, sw_strerror(-errno));
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077))
        return swi_fail(error, SW_EUNTRUSTED,
                        "%s, the directory for the socket, is not a directory that only this user "
                        "can access (mode 0700); remove it",
                        path);
    return 0;
}

static int name_socket(const char *directory, const char *chunks, char **ret,
                       struct swi_error *error)
{
    char name[SWI_DIGEST_HEX];
    swi_digest_format(swi_digest_of(chunks, strlen(chunks)), name);
    if (asprintf(ret, "%s/%.16s.sock", directory, name) < 0)
        return swi_fail(error, -ENOMEM, "out of memory");
    return 0;
}

int swi_private_socket_name(const char *chunks, char **ret, struct swi_error *error)
{
    char directory[PATH_MAX];
    int result = name_directory(directory, error);
    if (result == 0)
        result = make_directory(directory, error);
    return result == 0 ? name_socket(directory, chunks, ret, error) : result;
}

/* True if a client would look for a private broker: nobody listens at the usual path. */
static bool is_deserted(const char *path)
{
    int fd = swi_socket_connect(path, PROBE_MS, NULL);
    if (fd >= 0)
        close(fd);
    return fd == -ENOENT || fd == -ECONNREFUSED;
}

char *swi_private_socket_find(const char *usual)
{
    const char *wish = secure_getenv("SW_AUTOSTART"), *given = secure_getenv("SW_CHUNKS_DIR");
    if (!wish || strcmp(wish, "1") != 0 || !given || !*given || !is_deserted(usual))
        return NULL;
    char directory[PATH_MAX], *path = NULL;
    struct swi_error unused = {0};
    char *chunks = realpath(given, NULL);
    if (!chunks || name_directory(directory, &unused) < 0 ||
        name_socket(directory, chunks, &path, &unused) < 0)
        path = NULL;
    free(chunks);
    if (path && access(path, F_OK) < 0) {
        free(path);
        return NULL;
    }
    return path;
}
