/* SPDX-License-Identifier: MIT */
/* Bundles in the service manager's store. */
#include "daemon/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "catalog/revision_remote.h"
#include "core/manifest.h"

#define KEPT_NAME_BYTES 256u
#define KEPT_MAX_BYTES  (KEPT_NAME_BYTES + (128u << 20)) /* a bundle of Redis is no larger */
#define KEPT_SEALS      (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

_Static_assert(KEPT_NAME_BYTES > SWI_NAME_MAX, "a name and its end");

static void stored_name(char name[static FDSTORE_NAME], struct swi_digest digest)
{
    char hex[SWI_DIGEST_HEX];
    swi_digest_format(digest, hex);
    (void)snprintf(name, FDSTORE_NAME, FDSTORE_MODEL "%s", hex);
}

/* ---- keeping --------------------------------------------------------------------------------- */

/* A memfd of these bytes, mapped at *ret_bytes for writing; not sealed yet. */
static int make(size_t size, uint8_t **ret_bytes)
{
    int fd = memfd_create("swbroker-model", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    void *mapped = MAP_FAILED;
    if (fchmod(fd, 0600) == 0 && ftruncate(fd, (off_t)size) == 0)
        mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        int code = -errno;
        close(fd);
        return code;
    }
    *ret_bytes = mapped;
    return fd;
}

static void keep(void *context, struct revision *revision, const void *data, size_t size)
{
    const struct broker *broker = context;
    char name[FDSTORE_NAME];
    uint8_t *bytes = NULL;
    size_t whole = KEPT_NAME_BYTES + size;
    int fd = make(whole, &bytes);
    int result = fd < 0 ? fd : 0;
    if (result == 0) {
        (void)snprintf((char *)bytes, KEPT_NAME_BYTES, "%s", revision->name);
        memcpy(bytes + KEPT_NAME_BYTES, data, size);
        struct swi_digest digest = swi_digest_of(bytes, whole);
        (void)munmap(bytes, whole);
        stored_name(name, digest);
        result = fcntl(fd, F_ADD_SEALS, KEPT_SEALS) < 0 ? -errno : 0;
        if (result == 0)
            result = fdstore_put(&broker->fdstore, name, &fd, 1);
        if (result == 0)
            revision_stored_note_kept(revision->stored, digest);
        close(fd);
    }
    if (result < 0)
        log_warning("model %s is asked for in Redis again after a restart: it cannot be kept: %s",
                    revision->name, sw_strerror(result));
}

static void drop(void *context, struct revision *revision)
{
    const struct broker *broker = context;
    struct swi_digest digest;
    char name[FDSTORE_NAME];
    if (!revision_stored_kept(revision->stored, &digest))
        return;
    stored_name(name, digest);
    fdstore_drop(&broker->fdstore, name);
}

/* ---- finding --------------------------------------------------------------------------------- */

/* Maps what is in order of a descriptor: *ret_size bytes. NULL: it is not what it should be. */
static const uint8_t *look(int fd, const char *stored, size_t *ret_size)
{
    struct stat status;
    char name[FDSTORE_NAME];
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & KEPT_SEALS) != KEPT_SEALS || fstat(fd, &status) < 0 ||
        status.st_size <= (off_t)KEPT_NAME_BYTES || status.st_size > (off_t)KEPT_MAX_BYTES)
        return NULL;
    size_t size = (size_t)status.st_size;
    const uint8_t *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return NULL;
    stored_name(name, swi_digest_of(bytes, size));
    if (strcmp(name, stored) == 0 && memchr(bytes, 0, KEPT_NAME_BYTES) &&
        swi_manifest_name_ok((const char *)bytes)) {
        *ret_size = size;
        return bytes;
    }
    (void)munmap((void *)(uintptr_t)bytes, size);
    return NULL;
}

/* Whether the catalog serves it now. */
static bool offer(struct broker *broker, const uint8_t *bytes, size_t size)
{
    const char *name = (const char *)bytes;
    const uint8_t *data = bytes + KEPT_NAME_BYTES;
    size_t length = size - KEPT_NAME_BYTES;
    struct swi_digest digest = swi_digest_of(data, length);
    const struct catalog_model *model = catalog_find(broker->catalog, name);
    struct swi_error error = {0};
    if (!model || !model->wanted || model->current) /* a directory, or another one that was kept */
        return false;
    if (catalog_offer_stored(broker->catalog, name, data, length, digest, &error) < 0) {
        log_warning("model %s, which an earlier broker had from Redis, is of no use: %s", name,
                    error.text);
        return false;
    }
    revision_stored_note_kept(model->current->stored, swi_digest_of(bytes, size));
    return true;
}

static void take(struct broker *broker, const char *stored)
{
    char name[256];
    (void)snprintf(name, sizeof name, "%s", stored);
    int fd = fdstore_take(&broker->fdstore, name);
    size_t size = 0;
    const uint8_t *bytes = look(fd, name, &size);
    if (!bytes || !broker->fdstore.models || !offer(broker, bytes, size))
        fdstore_drop(&broker->fdstore, name);
    if (bytes)
        (void)munmap((void *)(uintptr_t)bytes, size);
    close(fd);
}

void kept_reserve(struct broker *broker)
{
    struct fdstore *fdstore = &broker->fdstore;
    const char *names = broker->options.models;
    if (!names || !fdstore->active)
        return;
    uint32_t count = 1;
    for (const char *c = names; *c; c++)
        count += *c == ',';
    if (fdstore_reserve(fdstore, count))
        return;
    log_warning("the service manager keeps %u descriptors, too few for the %u models of --models: "
                "they are asked for in Redis again after a restart; raise FileDescriptorStoreMax=",
                fdstore->capacity, count);
}

void kept_begin(struct broker *broker)
{
    for (const char *name; (name = fdstore_find(&broker->fdstore, FDSTORE_MODEL));)
        take(broker, name);
    if (broker->fdstore.models)
        broker->catalog->keeper =
            (struct catalog_keeper){.context = broker, .keep = keep, .drop = drop};
}
