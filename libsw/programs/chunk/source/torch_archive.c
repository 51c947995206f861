/* SPDX-License-Identifier: MIT */
/* torch.save's archives through libzip. */
#include "programs/chunk/source/torch_archive.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zip.h>

#include "programs/chunk/files.h"

#define PREFIX_MAX   200u /* bytes of the folder in the archive */
#define DATA_PICKLE  "/data.pkl"
#define STORAGE_NAME 1400u

struct torch_archive {
    zip_t *zip;
    uint64_t file_bytes;
    char prefix[PREFIX_MAX + 1];
    char *pickle_bytes; /* the texts of `pickle` are in it */
    size_t pickle_size;
    struct pickle pickle;
    /* the entry that was read last, and how far: most reads go on where the one before ended */
    zip_file_t *open;
    zip_uint64_t open_index;
    uint64_t open_position, open_bytes;
};

static int fail_zip(zip_t *zip, struct swi_error *error, const char *what)
{
    return swi_fail(error, SW_EFORMAT, "%s: %s", what, zip_strerror(zip));
}

/* ---- reading entries ------------------------------------------------------------------------- */

/* Finds an entry that can be read in place. */
static int find_entry(struct torch_archive *archive, const char *name, zip_uint64_t *ret_index,
                      uint64_t *ret_bytes, struct swi_error *error)
{
    const zip_uint64_t needed = ZIP_STAT_INDEX | ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD;
    zip_stat_t status;
    zip_stat_init(&status);
    if (zip_stat(archive->zip, name, 0, &status) < 0 || (status.valid & needed) != needed)
        return swi_fail(error, SW_EFORMAT, "the entry %.200s is missing", name);
    if (status.comp_method != ZIP_CM_STORE ||
        (status.valid & ZIP_STAT_ENCRYPTION_METHOD && status.encryption_method != ZIP_EM_NONE))
        return swi_fail(error, SW_EUNSUPPORTED,
                        "the entry %.200s is compressed or encrypted, which torch.save never does",
                        name);
    *ret_index = status.index;
    *ret_bytes = status.size;
    return 0;
}

static void close_entry(struct torch_archive *archive)
{
    if (archive->open)
        (void)zip_fclose(archive->open);
    archive->open = NULL;
}

/* Makes position `at` of an entry the next byte to be read. */
static int seek_entry(struct torch_archive *archive, zip_uint64_t index, uint64_t bytes,
                      uint64_t at, struct swi_error *error)
{
    if (!archive->open || archive->open_index != index || archive->open_position > at) {
        close_entry(archive);
        archive->open = zip_fopen_index(archive->zip, index, 0);
        if (!archive->open)
            return fail_zip(archive->zip, error, "cannot open an entry");
        archive->open_index = index;
        archive->open_bytes = bytes;
        archive->open_position = 0;
    }
    if (archive->open_position != at && zip_fseek(archive->open, (zip_int64_t)at, SEEK_SET) < 0)
        return swi_fail(error, SW_EFORMAT, "cannot seek in an entry: %s",
                        zip_file_strerror(archive->open));
    archive->open_position = at;
    return 0;
}

static int read_entry(struct torch_archive *archive, uint64_t size, void *out,
                      struct swi_error *error)
{
    char *at = out;
    while (size > 0) {
        zip_int64_t got = zip_fread(archive->open, at, size);
        if (got <= 0)
            return got == 0 ? swi_fail(error, SW_EFORMAT, "an entry ends too early")
                            : swi_fail(error, SW_EFORMAT, "cannot read an entry: %s",
                                       zip_file_strerror(archive->open));
        at += got;
        size -= (uint64_t)got;
        archive->open_position += (uint64_t)got;
    }
    /* the checksum is compared by the read that finds the end */
    char none;
    if (archive->open_position == archive->open_bytes && zip_fread(archive->open, &none, 1) < 0)
        return swi_fail(error, SW_EDIGEST, "the archive is damaged: %s",
                        zip_file_strerror(archive->open));
    return 0;
}

/* A whole small entry; malloc'd, zero-terminated. */
static int read_small(struct torch_archive *archive, const char *name, size_t most, char **ret,
                      size_t *ret_size, struct swi_error *error)
{
    zip_uint64_t index = 0;
    uint64_t bytes = 0;
    int result = find_entry(archive, name, &index, &bytes, error);
    if (result < 0)
        return result;
    if (bytes > most)
        return swi_fail(error, SW_EFORMAT, "the entry %.200s has over %zu bytes", name, most);
    char *text = malloc((size_t)bytes + 1);
    if (!text)
        return swi_fail(error, -ENOMEM, "out of memory");
    result = seek_entry(archive, index, bytes, 0, error);
    if (result == 0)
        result = read_entry(archive, bytes, text, error);
    if (result < 0) {
        free(text);
        return result;
    }
    text[bytes] = 0;
    *ret = text;
    *ret_size = (size_t)bytes;
    return 0;
}

/* ---- tensors --------------------------------------------------------------------------------- */

static int find_storage(struct torch_archive *archive, const struct pickle_tensor *tensor,
                        zip_uint64_t *ret_index, uint64_t *ret_bytes, struct swi_error *error)
{
    char name[STORAGE_NAME];
    (void)snprintf(name, sizeof name, "%s/data/%.*s", archive->prefix, (int)tensor->storage_length,
                   tensor->storage);
    return find_entry(archive, name, ret_index, ret_bytes, error);
}

int torch_archive_read(struct torch_archive *archive, const struct pickle_tensor *tensor,
                       uint64_t first, uint64_t size, void *out, struct swi_error *error)
{
    zip_uint64_t index = 0;
    uint64_t bytes = 0;
    int result = find_storage(archive, tensor, &index, &bytes, error);
    if (result == 0)
        result = seek_entry(archive, index, bytes, tensor->offset * tensor->element_bytes + first,
                            error);
    return result == 0 ? read_entry(archive, size, out, error) : result;
}

const struct pickle *torch_archive_tensors(const struct torch_archive *archive)
{
    return &archive->pickle;
}

/* The pickle has checked tensors against what it says of storages; this checks that against the
 * entries. */
static int check_storages(struct torch_archive *archive, struct swi_error *error)
{
    for (size_t i = 0; i < archive->pickle.count; i++) {
        const struct pickle_tensor *tensor = &archive->pickle.tensors[i];
        zip_uint64_t index;
        uint64_t bytes = 0, wanted;
        int result = find_storage(archive, tensor, &index, &bytes, error);
        if (result == 0 &&
            (__builtin_mul_overflow(tensor->storage_elements, tensor->element_bytes, &wanted) ||
             wanted > bytes))
            result =
                swi_fail(error, SW_EFORMAT, "its storage has %llu bytes, too few for %llu elements",
                         (unsigned long long)bytes, (unsigned long long)tensor->storage_elements);
        if (result < 0)
            return swi_fail_within(error, result, "tensor %.*s: ",
                                   (int)(tensor->name_length < 200 ? tensor->name_length : 200),
                                   tensor->name);
    }
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Its one folder: that of the first entry, as torch has it. */
static int find_prefix(struct torch_archive *archive, struct swi_error *error)
{
    const char *name =
        zip_get_num_entries(archive->zip, 0) > 0 ? zip_get_name(archive->zip, 0, 0) : NULL;
    const char *slash = name ? strchr(name, '/') : NULL;
    char pickle[PREFIX_MAX + sizeof DATA_PICKLE];
    if (slash && slash > name && slash - name <= (int)PREFIX_MAX) {
        memcpy(archive->prefix, name, (size_t)(slash - name));
        (void)snprintf(pickle, sizeof pickle, "%s" DATA_PICKLE, archive->prefix);
        if (zip_name_locate(archive->zip, pickle, 0) >= 0)
            return 0;
    }
    return swi_fail(error, SW_EUNSUPPORTED,
                    "no data.pkl inside; torch.save did not write this zip archive");
}

/* Whether a component of the path is ".", ".." or empty. */
static bool has_odd_component(const char *path)
{
    while (*path) {
        size_t length = strcspn(path, "/");
        if (length == 0 || (length == 1 && path[0] == '.') ||
            (length == 2 && path[0] == '.' && path[1] == '.'))
            return true;
        path += length + (path[length] == '/');
    }
    return false;
}

/* One folder, plain names, and no more bytes in the entries together than in the file: so
 * torch.save writes archives, and so no other reader of this one can take it for another model. A
 * name that is there twice was refused with ZIP_CHECKCONS. */
static int check_entries(struct torch_archive *archive, struct swi_error *error)
{
    zip_int64_t count = zip_get_num_entries(archive->zip, 0);
    size_t length = strlen(archive->prefix);
    uint64_t stored = 0;
    for (zip_int64_t i = 0; i < count; i++) {
        zip_stat_t status;
        const char *name = zip_get_name(archive->zip, (zip_uint64_t)i, 0);
        if (!name || strncmp(name, archive->prefix, length) != 0 || name[length] != '/' ||
            has_odd_component(name))
            return swi_fail(
                error, SW_EUNSUPPORTED,
                "the entry %.200s is outside the folder %s, where torch.save puts all entries",
                name ? name : "(no name)", archive->prefix);
        if (zip_stat_index(archive->zip, (zip_uint64_t)i, 0, &status) < 0 ||
            !(status.valid & ZIP_STAT_COMP_SIZE) || status.comp_size > archive->file_bytes - stored)
            return swi_fail(error, SW_EFORMAT, "its entries overlap each other");
        stored += status.comp_size;
    }
    return 0;
}

static int check_byte_order(struct torch_archive *archive, struct swi_error *error)
{
    char name[PREFIX_MAX + 16], *text;
    size_t size;
    (void)snprintf(name, sizeof name, "%s/byteorder", archive->prefix);
    if (zip_name_locate(archive->zip, name, 0) < 0)
        return 0; /* written before big-endian machines were thought of */
    int result = read_small(archive, name, 16, &text, &size, error);
    if (result < 0)
        return result;
    result = strcmp(text, "little") == 0
                 ? 0
                 : swi_fail(error, SW_EUNSUPPORTED, "its byte order is %s, not little", text);
    free(text);
    return result;
}

/* zip, or what torch wrote before 1.6: a pickled magic number. */
static int check_kind(int fd, uint64_t bytes, struct swi_error *error)
{
    static const unsigned char old[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c,
                                        0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};
    unsigned char start[sizeof old] = {0};
    int result = files_pread(fd, start, bytes < sizeof start ? (size_t)bytes : sizeof start, 0);
    if (result < 0)
        return swi_fail(error, result, "%s", sw_strerror(result));
    if (memcmp(start, old, sizeof old) == 0)
        return swi_fail(
            error, SW_EUNSUPPORTED,
            "this is the format of torch before 1.6; load it with a newer torch and save it "
            "again, best as safetensors");
    if (memcmp(start, "PK\003\004", 4) != 0)
        return swi_fail(error, SW_EFORMAT, "torch.save did not write this file");
    return 0;
}

static int open_zip(struct torch_archive *archive, int directory, const char *name,
                    struct swi_error *error)
{
    uint64_t bytes = 0;
    int fd = files_open(directory, name, &bytes, error);
    if (fd < 0)
        return fd; /* the message has the name already */
    archive->file_bytes = bytes;
    int result = files_check(fd, name, error);
    if (result < 0) {
        (void)close(fd);
        return result;
    }
    result = check_kind(fd, bytes, error);
    if (result == 0) {
        int code = 0;
        archive->zip = zip_fdopen(fd, ZIP_CHECKCONS, &code);
        if (archive->zip)
            fd = -1; /* it is the archive's now */
        else {
            zip_error_t reason;
            zip_error_init_with_code(&reason, code);
            result = swi_fail(error, SW_EFORMAT, "not a whole zip archive: %s",
                              zip_error_strerror(&reason));
            zip_error_fini(&reason);
        }
    }
    if (fd >= 0)
        (void)close(fd);
    return result < 0 ? swi_fail_within(error, result, "%s: ", name) : 0;
}

static int read_pickle(struct torch_archive *archive, struct swi_error *error)
{
    char name[PREFIX_MAX + 16];
    int result = find_prefix(archive, error);
    if (result == 0)
        result = check_entries(archive, error);
    if (result == 0)
        result = check_byte_order(archive, error);
    if (result < 0)
        return result;
    (void)snprintf(name, sizeof name, "%s" DATA_PICKLE, archive->prefix);
    result = read_small(archive, name, PICKLE_BYTES_MAX, &archive->pickle_bytes,
                        &archive->pickle_size, error);
    if (result == 0)
        result = pickle_parse(archive->pickle_bytes, archive->pickle_size, &archive->pickle, error);
    return result == 0 ? check_storages(archive, error) : result;
}

int torch_archive_open(int directory, const char *name, struct torch_archive **ret,
                       struct swi_error *error)
{
    struct torch_archive *archive = calloc(1, sizeof *archive);
    if (!archive)
        return swi_fail(error, -ENOMEM, "out of memory");
    int result = open_zip(archive, directory, name, error);
    if (result == 0 && (result = read_pickle(archive, error)) < 0)
        (void)swi_fail_within(error, result, "%s: ", name);
    if (result < 0) {
        torch_archive_close(archive);
        return result;
    }
    *ret = archive;
    return 0;
}

void torch_archive_close(struct torch_archive *archive)
{
    if (!archive)
        return;
    close_entry(archive);
    if (archive->zip)
        zip_discard(archive->zip);
    pickle_fini(&archive->pickle);
    free(archive->pickle_bytes);
    free(archive);
}
