/* SPDX-License-Identifier: MIT */
/* Scans, lookups and the life of revisions. */
#include "catalog/catalog.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "catalog/open_beneath.h"
#include "catalog/revision_remote.h"
#include "core/wire.h"

/* Lookups of unknown names, over all clients: a burst, then a few a second. */
#define LOOKUPS_AT_ONCE  20u
#define LOOKUPS_A_SECOND 5u

static int absolute_path(const char *path, char **ret)
{
    char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);
    if (path[0] != '/' && !here)
        return -errno;
    char *text = NULL;
    int length = asprintf(&text, "%s%s%s", here ? here : "", here ? "/" : "", path);
    free(here);
    if (length < 0)
        return -ENOMEM;
    for (size_t size = (size_t)length; size > 1 && text[size - 1] == '/';)
        text[--size] = 0;
    *ret = text;
    return 0;
}

static int open_root(const struct catalog *catalog, struct swi_error *error)
{
    int fd = open(catalog->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        return fd;
    return swi_fail(
        error, -errno,
        "cannot read the chunks directory %s: %s; --chunks-dir names a model's directory "
        "as written by swchunk, or a folder of them",
        catalog->path, sw_strerror(-errno));
}

int catalog_create(const char *path, struct catalog **ret, struct swi_error *error)
{
    struct catalog *catalog = calloc(1, sizeof *catalog);
    if (!catalog)
        return swi_fail(error, -ENOMEM, "out of memory for the catalog");
    TAILQ_INIT(&catalog->models);
    TAILQ_INIT(&catalog->superseded);
    catalog->lookups = LOOKUPS_AT_ONCE;
    int result = path ? absolute_path(path, &catalog->path) : 0;
    if (result < 0) {
        result = swi_fail(error, result, "cannot resolve %s: %s", path, sw_strerror(result));
    } else if (path) {
        int root = open_root(catalog, error);
        result = root < 0 ? root : 0;
        if (root >= 0)
            close(root);
    }
    /* incarnations start at random, so that no two runs of the broker share one; 0 means none */
    if (result == 0 && getrandom(&catalog->next_incarnation, sizeof catalog->next_incarnation, 0) !=
                           sizeof catalog->next_incarnation)
        result = swi_fail(error, -EIO, "cannot get random numbers from the kernel");
    if (result < 0) {
        free(catalog->path);
        free(catalog);
        return result;
    }
    /* positive as a signed number too, for JSON; the low half counts up */
    catalog->next_incarnation = (catalog->next_incarnation >> 33 | 1u << 30) << 32;
    *ret = catalog;
    return 0;
}

static void free_model(struct catalog *catalog, struct catalog_model *model)
{
    TAILQ_REMOVE(&catalog->models, model, link);
    catalog->count--;
    free(model->problem_text);
    free(model->name);
    free(model);
}

void catalog_destroy(struct catalog *catalog)
{
    if (!catalog)
        return;
    assert(TAILQ_EMPTY(&catalog->superseded) && "every user has left");
    for (struct catalog_model *model; (model = TAILQ_FIRST(&catalog->models));) {
        if (model->current)
            revision_destroy(model->current);
        free_model(catalog, model);
    }
    free(catalog->path);
    free(catalog);
}

void catalog_leave(struct catalog *catalog)
{
    if (!catalog)
        return;
    for (struct revision *revision; (revision = TAILQ_FIRST(&catalog->superseded));) {
        TAILQ_REMOVE(&catalog->superseded, revision, link);
        revision_leave(revision);
        revision_destroy(revision);
    }
    struct catalog_model *model;
    TAILQ_FOREACH(model, &catalog->models, link)
    {
        if (model->current)
            revision_leave(model->current);
    }
}

struct revision *catalog_find_revision(struct catalog *catalog, uint64_t incarnation)
{
    struct catalog_model *model;
    TAILQ_FOREACH(model, &catalog->models, link)
    {
        if (model->current && model->current->incarnation == incarnation)
            return model->current;
    }
    struct revision *revision;
    TAILQ_FOREACH(revision, &catalog->superseded, link)
    {
        if (revision->incarnation == incarnation)
            return revision;
    }
    return NULL;
}

struct catalog_model *catalog_find(struct catalog *catalog, const char *name)
{
    struct catalog_model *model;
    TAILQ_FOREACH(model, &catalog->models, link)
    {
        if (strcmp(model->name, name) == 0)
            return model;
    }
    return NULL;
}

uint32_t catalog_served(const struct catalog *catalog)
{
    uint32_t served = 0;
    const struct catalog_model *model;
    TAILQ_FOREACH(model, &catalog->models, link)
    served += model->current || model->wanted;
    return served;
}

/* ---- one directory --------------------------------------------------------------------------- */

static struct catalog_model *add_model(struct catalog *catalog, const char *name)
{
    struct catalog_model *model = calloc(1, sizeof *model);
    if (!model || !(model->name = strdup(name))) {
        free(model);
        return NULL;
    }
    struct catalog_model *after = TAILQ_FIRST(&catalog->models);
    while (after && strcmp(after->name, name) < 0)
        after = TAILQ_NEXT(after, link);
    if (after)
        TAILQ_INSERT_BEFORE(after, model, link);
    else
        TAILQ_INSERT_TAIL(&catalog->models, model, link);
    catalog->count++;
    return model;
}

static void supersede(struct catalog *catalog, struct revision *revision)
{
    revision->superseded = true;
    if (revision->users == 0)
        revision_destroy(revision);
    else
        TAILQ_INSERT_TAIL(&catalog->superseded, revision, link);
}

static void set_problem(struct catalog_model *model, int problem, const char *text)
{
    if (problem && (model->problem != problem || !model->problem_text ||
                    strcmp(model->problem_text, text) != 0))
        log_line(LOG_LEVEL_WARNING, &(struct log_about){.model = model->name}, "model %s: %s%s",
                 model->name, text,
                 model->current ? "; its last good revision is still served" : "");
    free(model->problem_text);
    model->problem = problem;
    model->problem_text = problem ? strdup(text) : NULL;
}

/* True for a model as Hugging Face publishes it, which swchunk has yet to import. */
static bool is_hugging_face(int directory)
{
    static const char *const weights[] = {"model.safetensors", "model.safetensors.index.json",
                                          "pytorch_model.bin", "pytorch_model.bin.index.json",
                                          "modules.json",      NULL};
    if (faccessat(directory, "config.json", F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
        faccessat(directory, "modules.json", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    for (size_t i = 0; weights[i]; i++)
        if (faccessat(directory, weights[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return true;
    return false;
}

static int refuse_hugging_face(const struct catalog *catalog, const char *directory_name,
                               struct swi_error *error)
{
    bool is_root = strcmp(directory_name, ".") == 0;
    return swi_fail(error, SW_EFORMAT,
                    "a Hugging Face directory, not yet imported; run \"swchunk import %s%s%s OUT\" "
                    "and serve OUT",
                    catalog->path, is_root ? "" : "/", is_root ? "" : directory_name);
}

/* Opens and reads one directory. Returns 0 with *ret_revision, 1 if it is not a model, or an
 * error. */
static int read_directory(struct catalog *catalog, int root, const char *directory_name,
                          const char *name, struct revision **ret_revision, struct swi_error *error)
{
    int directory = open_beneath(root, directory_name, O_DIRECTORY);
    if (directory == -ENOTDIR || directory == -ENOENT)
        return 1;
    if (directory == -EXDEV || directory == -ELOOP)
        return swi_fail(error, directory, "a link leads outside of the chunks directory %s",
                        catalog->path);
    if (directory < 0)
        return swi_fail(error, directory, "cannot open its directory: %s", sw_strerror(directory));
    int result = revision_create(catalog->cache, name, directory, catalog->next_incarnation,
                                 ret_revision, error);
    if (result == -ENOENT)
        result =
            is_hugging_face(directory) ? refuse_hugging_face(catalog, directory_name, error) : 1;
    if (result != 0)
        close(directory);
    return result;
}

/* Updates one name. directory_name is "." if the root itself is the model. */
static int look_at(struct catalog *catalog, int root, const char *directory_name, const char *name,
                   struct catalog_changes *changes)
{
    struct swi_error error = {0};
    struct revision *revision = NULL;
    int result = read_directory(catalog, root, directory_name, name, &revision, &error);
    if (result > 0)
        return 0;
    struct catalog_model *model = catalog_find(catalog, name);
    if (!model) {
        if (catalog->count >= CATALOG_MODELS_MAX)
            result = -ENOSPC;
        else if (!(model = add_model(catalog, name)))
            result = -ENOMEM;
        if (!model) {
            if (revision)
                revision_destroy(revision);
            return result;
        }
    }
    model->seen = true;
    set_problem(model, result, error.text);
    if (result < 0) {
        changes->bad++;
    } else if (!model->current) {
        changes->added++;
    } else if (revision_equal(model->current, revision)) {
        changes->unchanged++;
        revision_destroy(revision);
        revision = NULL;
    } else {
        changes->replaced++;
        supersede(catalog, model->current);
    }
    if (revision) {
        model->current = revision;
        catalog->next_incarnation++;
        log_detail("model %s: %zu chunks, %s %s", name, revision->manifest.count,
                   revision->manifest.layout, revision->manifest.dtype);
    }
    return 0;
}

/* ---- the whole directory --------------------------------------------------------------------- */

/* The name of a chunks directory that is itself a model, malloc'd or NULL. */
static char *name_of_root(const struct catalog *catalog)
{
    const char *base = strrchr(catalog->path, '/') + 1;
    if (*base && strcmp(base, ".") != 0 && strcmp(base, "..") != 0)
        return strdup(base);
    char *resolved = realpath(catalog->path, NULL);
    char *name = resolved ? strdup(strrchr(resolved, '/') + 1) : NULL;
    free(resolved);
    return name;
}

static bool plausible_name(const char *name)
{
    return name[0] != '.' && name[0] != 0 && strlen(name) <= SWI_NAME_MAX && !strchr(name, '/');
}

/* NULL with errno. Keeps root open. */
static DIR *open_folder(int root)
{
    int fd = fcntl(root, F_DUPFD_CLOEXEC, 0);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder && fd >= 0) {
        int code = errno;
        close(fd);
        errno = code;
    }
    if (folder)
        rewinddir(folder); /* the descriptors share their position */
    return folder;
}

/* True if a folder in it was written by swchunk. */
static bool has_models(int root)
{
    DIR *folder = open_folder(root);
    bool found = false;
    for (struct dirent *entry; folder && !found && (entry = readdir(folder));) {
        char path[sizeof entry->d_name + sizeof "/" SWI_MANIFEST_FILE];
        (void)snprintf(path, sizeof path, "%s/" SWI_MANIFEST_FILE, entry->d_name);
        found = plausible_name(entry->d_name) && faccessat(root, path, F_OK, 0) == 0;
    }
    if (folder)
        closedir(folder);
    return found;
}

/* True if the chunks directory is itself a model; *ret_name is its name then (malloc'd). */
static bool root_is_model(const struct catalog *catalog, int root, char **ret_name)
{
    if (faccessat(root, SWI_MANIFEST_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
        !(is_hugging_face(root) && !has_models(root)))
        return false;
    *ret_name = name_of_root(catalog);
    return true;
}

static uint64_t measure_directory(struct catalog *catalog, int root, const char *directory_name)
{
    struct revision *revision;
    struct swi_error unused = {0}; /* the scan reports it */
    if (read_directory(catalog, root, directory_name, directory_name, &revision, &unused) != 0)
        return 0;
    uint64_t bytes = revision->manifest.total_bytes;
    revision_destroy(revision);
    return bytes;
}

uint64_t catalog_measure(struct catalog *catalog)
{
    uint64_t bytes = 0;
    char *name = NULL;
    struct swi_error unused = {0};
    int root = catalog->path ? open_root(catalog, &unused) : -1;
    if (root < 0)
        return 0;
    DIR *folder = NULL;
    if (root_is_model(catalog, root, &name))
        bytes = measure_directory(catalog, root, ".");
    else
        folder = open_folder(root);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (plausible_name(entry->d_name))
            bytes += measure_directory(catalog, root, entry->d_name);
    if (folder)
        closedir(folder);
    free(name);
    close(root);
    return bytes;
}

static void tell_grown(struct catalog *catalog, const struct catalog_changes *changes)
{
    if (catalog->grown && changes->added + changes->replaced > 0)
        catalog->grown(catalog->grown_context);
}

static int scan_folder(struct catalog *catalog, int root, struct catalog_changes *changes)
{
    DIR *folder = open_folder(root);
    if (!folder)
        return -errno;
    int result = 0;
    errno = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(folder)); errno = 0)
        if (plausible_name(entry->d_name)) /* unfinished directories of swchunk begin with a dot */
            result = look_at(catalog, root, entry->d_name, entry->d_name, changes);
    if (result == 0 && errno)
        result = -errno;
    closedir(folder);
    return result;
}

/* The directory of a model is gone, but the model is also wanted from the remote. */
static void drop_directory(struct catalog *catalog, struct catalog_model *model,
                           struct catalog_changes *changes)
{
    if (model->current && !model->current->remote) {
        changes->removed++;
        supersede(catalog, model->current);
        model->current = NULL;
        set_problem(model, SW_ENOMODEL, "its directory is gone; asking Redis for it");
    }
}

static void drop_unseen(struct catalog *catalog, struct catalog_changes *changes)
{
    struct catalog_model *model = TAILQ_FIRST(&catalog->models);
    while (model) {
        struct catalog_model *next = TAILQ_NEXT(model, link);
        if (!model->seen && model->wanted) {
            drop_directory(catalog, model, changes);
        } else if (!model->seen) {
            changes->removed++;
            log_line(LOG_LEVEL_INFO, &(struct log_about){.model = model->name},
                     "model %s was removed from the catalog", model->name);
            if (model->current)
                supersede(catalog, model->current);
            free_model(catalog, model);
        }
        model = next;
    }
}

int catalog_scan(struct catalog *catalog, struct catalog_changes *ret, struct swi_error *error)
{
    if (!catalog->path) {
        *ret = (struct catalog_changes){.added = 0};
        return 0;
    }
    int root = open_root(catalog, error);
    if (root < 0)
        return root;
    struct catalog_model *model;
    TAILQ_FOREACH(model, &catalog->models, link)
    model->seen = false;
    struct catalog_changes changes = {0};
    char *name = NULL;
    int result;
    if (!root_is_model(catalog, root, &name))
        result = scan_folder(catalog, root, &changes);
    else
        result = name ? look_at(catalog, root, ".", name, &changes) : -ENOMEM;
    free(name);
    close(root);
    if (result == -ENOSPC)
        return swi_fail(error, result, "%s has more models than the %u that a catalog may hold",
                        catalog->path, CATALOG_MODELS_MAX);
    if (result < 0)
        return swi_fail(error, result, "cannot scan %s: %s", catalog->path, sw_strerror(result));
    drop_unseen(catalog, &changes);
    tell_grown(catalog, &changes);
    *ret = changes;
    return 0;
}

/* ---- use ------------------------------------------------------------------------------------- */

/* A bucket that refills with time: requests for unknown names must not keep the broker busy reading
 * directories. */
static bool may_look_up(struct catalog *catalog, uint64_t now_ns)
{
    uint64_t earned = (now_ns - catalog->lookups_since_ns) * LOOKUPS_A_SECOND / LOOP_NS_PER_S;
    if (earned > 0) {
        uint64_t lookups = catalog->lookups + earned;
        catalog->lookups = lookups < LOOKUPS_AT_ONCE ? (uint32_t)lookups : LOOKUPS_AT_ONCE;
        catalog->lookups_since_ns = now_ns;
    }
    if (catalog->lookups == 0)
        return false;
    catalog->lookups--;
    return true;
}

static void look_up(struct catalog *catalog, const char *name)
{
    struct swi_error error = {0};
    int root = open_root(catalog, &error);
    if (root < 0) {
        log_peer("%s", error.text);
        return;
    }
    struct catalog_changes changes = {0};
    char *own_name = NULL;
    if (!root_is_model(catalog, root, &own_name))
        (void)look_at(catalog, root, name, name, &changes);
    else if (own_name && strcmp(own_name, name) == 0)
        (void)look_at(catalog, root, ".", name, &changes);
    free(own_name);
    close(root);
    tell_grown(catalog, &changes);
}

int catalog_acquire(struct catalog *catalog, const char *name, uint64_t now_ns,
                    struct revision **ret, struct swi_error *error)
{
    struct catalog_model *model = catalog_find(catalog, name);
    if (catalog->path && (!model || !model->current) && plausible_name(name) &&
        may_look_up(catalog, now_ns)) {
        look_up(catalog, name);
        model = catalog_find(catalog, name);
    }
    if (!model && !catalog->path)
        return swi_fail(error, SW_ENOMODEL,
                        "no model %s: it is not among --models, and there is no --chunks-dir",
                        name);
    if (!model)
        return swi_fail(error, SW_ENOMODEL,
                        "no model %s in %s; swctl models lists them, swchunk import adds one", name,
                        catalog->path);
    if (!model->current)
        return swi_fail(error, model->problem, "model %s: %s", name,
                        model->problem_text ? model->problem_text : sw_strerror(model->problem));
    int result = revision_acquire(model->current, error);
    if (result == 0)
        *ret = model->current;
    return result;
}

void catalog_release(struct catalog *catalog, struct revision *revision)
{
    if (!revision_release(revision))
        return;
    TAILQ_REMOVE(&catalog->superseded, revision, link);
    log_detail("model %s: the last user of a replaced revision has left", revision->name);
    revision_destroy(revision);
}

/* ---- models from a Redis --------------------------------------------------------------------- */

static struct catalog_model *want(struct catalog *catalog, const char *name)
{
    struct catalog_model *model = catalog_find(catalog, name);
    if (!model && catalog->count < CATALOG_MODELS_MAX)
        model = add_model(catalog, name);
    if (model)
        model->wanted = true;
    return model;
}

static bool has_directory(const struct catalog_model *model)
{
    return model->current && !model->current->remote;
}

void catalog_miss_remote(struct catalog *catalog, const char *name, int code, const char *text)
{
    struct catalog_model *model = want(catalog, name);
    if (model && !has_directory(model))
        set_problem(model, code, text);
}

bool catalog_has_remote(struct catalog *catalog, const char *name, struct swi_digest digest)
{
    struct catalog_model *model = want(catalog, name);
    if (!model || !model->current)
        return false;
    if (has_directory(model))
        return true;
    if (!swi_digest_equal(model->current->bundle, digest))
        return false;
    set_problem(model, 0, NULL);
    return true;
}

int catalog_offer_remote(struct catalog *catalog, const char *name, const void *data, size_t size,
                         struct swi_digest digest, struct swi_error *error)
{
    struct catalog_model *model = want(catalog, name);
    if (!model)
        return swi_fail(error, -ENOMEM, "the catalog is full, or out of memory");
    if (has_directory(model))
        return 0;
    struct revision *revision;
    int result = revision_create_remote(catalog->cache, name, data, size, digest,
                                        catalog->next_incarnation, &revision, error);
    if (result < 0)
        return result;
    catalog->next_incarnation++;
    if (model->current)
        supersede(catalog, model->current);
    model->current = revision;
    set_problem(model, 0, NULL);
    log_info("model %s: %zu chunks, from Redis", name, revision->manifest.count);
    return 0;
}
