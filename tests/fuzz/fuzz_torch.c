/* SPDX-License-Identifier: MIT */
/* A whole torch archive: zip, pickle and storages. Whatever is accepted can be read to its last
 * byte, or says why not. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "programs/chunk/source/torch_archive.h"

#define READ_MOST 65536u

static void read_tensor(struct torch_archive *archive, const struct pickle_tensor *tensor)
{
    static char buffer[READ_MOST];
    struct swi_error error = {0};
    uint64_t bytes = sw_dtype_size(tensor->dtype);
    for (uint32_t i = 0; i < tensor->rank; i++)
        bytes *= tensor->shape[i];
    for (uint64_t at = 0; at < bytes; at += READ_MOST) {
        uint64_t size = bytes - at < READ_MOST ? bytes - at : READ_MOST;
        if (torch_archive_read(archive, tensor, at, size, buffer, &error) < 0) {
            FUZZ_CHECK(error.text[0] != 0);
            return;
        }
    }
    /* and backwards, which needs a seek */
    if (bytes > 1)
        (void)torch_archive_read(archive, tensor, bytes / 2, 1, buffer, &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct torch_archive *archive;
    struct swi_error error = {0};
    int fd = memfd_create("archive", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (torch_archive_open(AT_FDCWD, path, &archive, &error) == 0) {
        const struct pickle *pickle = torch_archive_tensors(archive);
        for (size_t i = 0; i < pickle->count && i < 64; i++)
            read_tensor(archive, &pickle->tensors[i]);
        torch_archive_close(archive);
    } else {
        FUZZ_CHECK(error.text[0] != 0);
    }
    (void)close(fd);
    return 0;
}
