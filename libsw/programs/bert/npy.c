/* SPDX-License-Identifier: MIT */
/* The .npy format, version 1.0: magic, a header that is a Python dictionary, then the elements. */
#include "programs/bert/npy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define ALIGNMENT 64 /* of the first element in the file */

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "rows are written as they are in memory, and declared little-endian"
#endif

int npy_begin(struct npy *npy, size_t width)
{
    const char *directory = getenv("TMPDIR");
    if (!directory || !*directory)
        directory = "/tmp";
    *npy = (struct npy){.width = width};
    npy->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (npy->fd >= 0)
        return 0;
    /* a file system without O_TMPFILE */
    char path[4096];
    if (snprintf(path, sizeof path, "%s/swbert.XXXXXX", directory) >= (int)sizeof path)
        return -ENAMETOOLONG;
    npy->fd = mkostemp(path, O_CLOEXEC);
    if (npy->fd < 0)
        return -errno;
    (void)unlink(path);
    return 0;
}

int npy_rows(struct npy *npy, const float *values, size_t rows)
{
    const char *at = (const char *)values;
    size_t left = rows * npy->width * sizeof *values;
    while (left > 0) {
        ssize_t count = write(npy->fd, at, left);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        at += count;
        left -= (size_t)count;
    }
    npy->rows += rows;
    return 0;
}

static void print_header(const struct npy *npy)
{
    char header[256];
    int length = snprintf(header, sizeof header,
                          "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %zu), }",
                          (unsigned long long)npy->rows, npy->width);
    /* 6 bytes of magic, 2 of version, 2 of length; padded with spaces, ended by a line feed */
    size_t total = (10 + (size_t)length + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t rest = total - 10;
    memset(header + length, ' ', rest - (size_t)length - 1);
    header[rest - 1] = '\n';
    (void)fwrite("\x93NUMPY\x01\x00", 1, 8, stdout);
    (void)putchar((int)(rest & 0xff));
    (void)putchar((int)(rest >> 8));
    (void)fwrite(header, 1, rest, stdout);
}

int npy_finish(struct npy *npy)
{
    char buffer[65536];
    if (lseek(npy->fd, 0, SEEK_SET) < 0)
        return -errno;
    print_header(npy);
    while (!ferror(stdout)) {
        ssize_t count = read(npy->fd, buffer, sizeof buffer);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return -errno;
        if (count == 0)
            break;
        (void)fwrite(buffer, 1, (size_t)count, stdout);
    }
    return 0;
}

void npy_close(struct npy *npy)
{
    if (npy->fd >= 0)
        (void)close(npy->fd);
    npy->fd = -1;
}
