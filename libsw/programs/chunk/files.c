/* SPDX-License-Identifier: MIT */
/* Whole small files, exact reads and writes. */
#include "programs/chunk/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/json.h"

int files_open(int directory, const char *name, uint64_t *ret_bytes, struct swi_error *error)
{
    /* O_NONBLOCK: opening a FIFO must not hang */
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return swi_fail(error, -errno, "%s: %s", name, strerrordesc_np(errno));
    struct stat status;
    int result = 0;
    if (fstat(fd, &status) < 0)
        result = swi_fail(error, -errno, "%s: %s", name, strerrordesc_np(errno));
    else if (!S_ISREG(status.st_mode))
        result = swi_fail(error, SW_EFORMAT, "%s: not a regular file", name);
    /* cleared again: some block devices answer EAGAIN to reads of regular files */
    else if (fcntl(fd, F_SETFL, 0) < 0)
        result = swi_fail(error, -errno, "%s: %s", name, strerrordesc_np(errno));
    if (result < 0) {
        (void)close(fd);
        return result;
    }
    *ret_bytes = (uint64_t)status.st_size;
    return fd;
}

int files_check(int fd, const char *name, struct swi_error *error)
{
    char first[64];
    ssize_t size = pread(fd, first, sizeof first, 0);
    return size < 0 ? swi_fail(error, -errno, "%s: %s", name, strerrordesc_np(errno))
                    : swi_foreign_check(name, first, (size_t)size, error);
}

int files_pread(int fd, void *data, size_t size, uint64_t offset)
{
    char *at = data;
    while (size > 0) {
        ssize_t got = pread(fd, at, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -EIO;
        at += got;
        size -= (size_t)got;
        offset += (uint64_t)got;
    }
    return 0;
}

int files_read(int directory, const char *name, size_t most, char **ret_data, size_t *ret_size,
               struct swi_error *error)
{
    uint64_t bytes = 0;
    int fd = files_open(directory, name, &bytes, error);
    if (fd < 0)
        return fd;
    char *data = NULL;
    int result = 0;
    if (bytes > most)
        result = swi_fail(error, SW_EFORMAT, "%s: %llu bytes; at most %zu are supported", name,
                          (unsigned long long)bytes, most);
    else if (!(data = malloc((size_t)bytes + 1)))
        result = swi_fail(error, -ENOMEM, "out of memory");
    else if ((result = files_pread(fd, data, (size_t)bytes, 0)) < 0)
        (void)swi_fail(error, result, "%s: %s", name, sw_strerror(result));
    (void)close(fd);
    if (result < 0) {
        free(data);
        return result;
    }
    data[bytes] = 0;
    *ret_data = data;
    *ret_size = (size_t)bytes;
    return 0;
}

int files_write(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t put = write(fd, at, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        at += put;
        size -= (size_t)put;
    }
    return 0;
}

int files_create(int directory, const char *name, const void *data, size_t size,
                 struct swi_error *error)
{
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return swi_fail(error, -errno, "%s: cannot create it: %s", name, strerrordesc_np(errno));
    int result = files_write(fd, data, size);
    if (result == 0 && fsync(fd) < 0)
        result = -errno;
    if (close(fd) < 0 && result == 0)
        result = -errno;
    return result < 0
               ? swi_fail(error, result, "%s: cannot write it: %s", name, sw_strerror(result))
               : 0;
}
