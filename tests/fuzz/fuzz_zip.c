/* SPDX-License-Identifier: MIT */
/* A torch archive whose entries lie: an input describes entries, and the archive is written with
 * right checksums and offsets, but for what the entry's lies make wrong. (fuzz_torch.c takes
 * archives as they are, where a changed byte mostly meets a checksum.)
 *
 * For each entry: lies of tests/support/zip.h (1), name (1: a number below NAMES, or a length from
 * NAMES up and the name), data (2: length, and the bytes), and the numbers that the lies ask for.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../support/zip.h"
#include "input.h"
#include "programs/chunk/source/torch_archive.h"

#define ENTRIES_MAX   24u
#define ARCHIVE_BYTES (1u << 18)
#define READ_MOST     4096u

static const char *const names[] = {
    "archive/data.pkl",  "archive/byteorder", "archive/data/0", "archive/data/1", "archive/version",
    "archive/../data/0", "../data.pkl",       "/data.pkl",      "other/data.pkl", "archive/data/",
};
#define NAMES (sizeof names / sizeof names[0])

static void add_entry(struct fuzz_input *input, struct sup_zip *zip)
{
    struct sup_zip_entry entry = {.lies = fuzz_byte(input)};
    uint8_t name = fuzz_byte(input);
    if (name < NAMES) {
        entry.name = names[name];
        entry.name_size = strlen(names[name]);
    } else {
        entry.name = fuzz_bytes(input, name - NAMES, &entry.name_size);
    }
    entry.data = fuzz_bytes(input, (size_t)fuzz_number(input, 2), &entry.size);
    if (entry.lies & SUP_ZIP_CENTRAL)
        entry.central_size = (uint32_t)fuzz_number(input, 4);
    if (entry.lies & SUP_ZIP_LOCAL)
        entry.local_size = (uint32_t)fuzz_number(input, 4);
    if (entry.lies & SUP_ZIP_PLACE)
        entry.place = (uint32_t)fuzz_number(input, 4);
    if (entry.lies & SUP_ZIP_EXTRA) {
        entry.extra_kind = (uint16_t)fuzz_number(input, 2);
        entry.extra = fuzz_bytes(input, fuzz_byte(input), &entry.extra_size);
    }
    sup_zip_add(zip, &entry);
}

static void read_all(struct torch_archive *archive)
{
    static char buffer[READ_MOST];
    const struct pickle *pickle = torch_archive_tensors(archive);
    for (size_t i = 0; i < pickle->count && i < 64; i++) {
        const struct pickle_tensor *tensor = &pickle->tensors[i];
        struct swi_error error = {0};
        uint64_t bytes = sw_dtype_size(tensor->dtype);
        for (uint32_t j = 0; j < tensor->rank; j++)
            bytes *= tensor->shape[j];
        for (uint64_t at = 0; at < bytes; at += READ_MOST) {
            uint64_t size = bytes - at < READ_MOST ? bytes - at : READ_MOST;
            if (torch_archive_read(archive, tensor, at, size, buffer, &error) < 0) {
                FUZZ_CHECK(error.text[0] != 0);
                break;
            }
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[ARCHIVE_BYTES];
    static struct sup_zip zip;
    struct fuzz_input input = fuzz_input_of(data, size);
    sup_zip_begin(&zip, bytes, sizeof bytes);
    for (unsigned i = 0; i < ENTRIES_MAX && fuzz_left(&input); i++)
        add_entry(&input, &zip);
    sup_zip_end(&zip);
    int fd = memfd_create("archive", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, zip.bytes, zip.size) == (ssize_t)zip.size);
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct torch_archive *archive;
    struct swi_error error = {0};
    if (torch_archive_open(AT_FDCWD, path, &archive, &error) == 0) {
        read_all(archive);
        torch_archive_close(archive);
    } else {
        FUZZ_CHECK(error.text[0] != 0);
    }
    (void)close(fd);
    return 0;
}
