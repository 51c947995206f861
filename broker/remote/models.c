/* SPDX-License-Identifier: MIT */
/* Models that come from a remote alone. */
#include "remote/models.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/manifest.h"
#include "core/wire.h" /* SWI_NAME_MAX */

#define RETRY_MIN_NS LOOP_NS_PER_S
#define RETRY_MAX_NS (10 * LOOP_NS_PER_S)
#define REFUSED_NS   (300 * LOOP_NS_PER_S) /* until a bundle that found no room is read again */

/* Why the catalog did not accept an intact bundle. */
struct refusal {
    int code; /* 0: it did */
    struct swi_digest digest;
    uint64_t until_ns;
    char text[SWI_ERROR_TEXT];
};

struct wanted {
    char name[SWI_NAME_MAX + 1];
    bool settled;   /* looked for since the last reload; the answer is in the catalog */
    unsigned round; /* that it failed in */
    struct refusal refusal;
};

struct remote_models {
    struct remote *remote;
    struct catalog *catalog;
    struct loop *loop;
    struct loop_timer retry;
    uint64_t retry_ns;
    unsigned round;        /* of tries; in each, every model is looked for once; from 1 */
    struct wanted *asking; /* the one that `find` looks for; NULL: none */
    struct remote_find find;
    uint8_t *bundle; /* [find.bundle_bytes]; NULL: not wanted */
    bool no_memory;  /* for the bundle */
    uint32_t count;
    struct wanted wanted[];
};

static void next(struct remote_models *models);

/* ---- the end of a search --------------------------------------------------------------------- */

static void end(struct remote_models *models)
{
    free(models->bundle);
    models->bundle = NULL;
    models->asking = NULL;
}

static void try_later(struct remote_models *models)
{
    models->round++;
    loop_arm(models->loop, &models->retry, loop_now() + models->retry_ns);
    models->retry_ns = models->retry_ns * 2 < RETRY_MAX_NS ? models->retry_ns * 2 : RETRY_MAX_NS;
}

/* The model cannot be had now. */
static void fail(struct remote_models *models, int code, const char *text)
{
    struct wanted *wanted = models->asking;
    end(models);
    wanted->round = models->round;
    catalog_miss_remote(models->catalog, wanted->name, code, text);
    next(models);
}

static void settle(struct remote_models *models)
{
    models->asking->settled = true;
    end(models);
    next(models);
}

/* Room may be found later; a useless bundle stays useless. */
static void note_refusal(struct remote_models *models, int code, const char *text)
{
    struct refusal *refusal = &models->asking->refusal;
    *refusal = (struct refusal){
        .code = code,
        .digest = models->find.revision,
        .until_ns = code == SW_EFORMAT ? UINT64_MAX : loop_now() + REFUSED_NS,
    };
    (void)snprintf(refusal->text, sizeof refusal->text, "%s", text);
}

static bool still_refused(const struct remote_models *models)
{
    const struct refusal *refusal = &models->asking->refusal;
    return refusal->code != 0 && loop_now() < refusal->until_ns &&
           swi_digest_equal(refusal->digest, models->find.revision);
}

static int offer(struct remote_models *models, struct swi_error *error)
{
    const struct remote_find *find = &models->find;
    if (!swi_digest_equal(swi_digest_of(models->bundle, find->bundle_bytes), find->revision))
        return swi_fail(error, SW_EDIGEST,
                        "its manifest and small files in Redis are damaged; run swctl push %.150s "
                        "on a host that has its files",
                        find->model);
    int result = catalog_offer_remote(models->catalog, find->model, models->bundle,
                                      find->bundle_bytes, find->revision, error);
    if (result < 0)
        note_refusal(models, result, error->text);
    return result;
}

static void over(struct remote_job *job, int status, const char *why)
{
    struct remote_models *models = LOOP_OWNER(job, struct remote_models, find.job);
    struct swi_error error = {0};
    if (status == 0)
        status = offer(models, &error);
    else if (status == 1 && models->no_memory)
        status = swi_fail(&error, -ENOMEM, "out of memory for its small files");
    else if (status == 1 && still_refused(models))
        status = swi_fail(&error, models->asking->refusal.code, "%s", models->asking->refusal.text);
    else if (status < 0)
        (void)swi_fail(&error, status, "%s", why);
    if (status < 0)
        fail(models, status, error.text);
    else
        settle(models);
}

/* ---- a search -------------------------------------------------------------------------------- */

static uint8_t *room(struct remote_find *find)
{
    struct remote_models *models = LOOP_OWNER(find, struct remote_models, find);
    models->no_memory = false;
    if (catalog_has_remote(models->catalog, find->model, find->revision) || still_refused(models))
        return NULL;
    models->bundle = malloc(find->bundle_bytes);
    models->no_memory = !models->bundle;
    return models->bundle;
}

/* The remote cannot be asked for any of the others either. */
static void fail_all(struct remote_models *models, const char *why)
{
    for (uint32_t i = 0; i < models->count; i++)
        if (!models->wanted[i].settled)
            catalog_miss_remote(models->catalog, models->wanted[i].name, SW_ELOAD, why);
    try_later(models);
}

/* Goes on with a model that is not settled; each once in a round. */
static void next(struct remote_models *models)
{
    struct remote *remote = models->remote;
    struct wanted *wanted = NULL;
    bool waiting = false;
    if (models->asking || models->retry.armed)
        return;
    for (uint32_t i = 0; i < models->count && !wanted; i++) {
        waiting = waiting || !models->wanted[i].settled;
        if (!models->wanted[i].settled && models->wanted[i].round != models->round)
            wanted = &models->wanted[i];
    }
    const char *why = wanted ? remote->ops->unreadable(remote) : NULL;
    if (why) {
        fail_all(models, why);
    } else if (wanted) {
        models->asking = wanted;
        models->find =
            (struct remote_find){.job = {.over = over}, .model = wanted->name, .room = room};
        remote->ops->find(remote, &models->find);
    } else if (waiting) {
        try_later(models);
    }
}

static void retry_due(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    next(LOOP_OWNER(timer, struct remote_models, retry));
}

static void start_over(struct remote_models *models)
{
    loop_disarm(models->loop, &models->retry);
    models->retry_ns = RETRY_MIN_NS;
    next(models);
}

static void connected(void *owner)
{
    start_over(owner);
}

void remote_models_find(struct remote_models *models)
{
    for (uint32_t i = 0; i < models->count; i++) {
        models->wanted[i].settled = false;
        models->wanted[i].refusal.code = 0;
    }
    start_over(models);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Takes the next name of the list; NULL: it is not a valid name. */
static const char *take_name(const char *names, char name[SWI_NAME_MAX + 1])
{
    size_t length = strcspn(names, ",");
    if (length > SWI_NAME_MAX)
        return NULL;
    memcpy(name, names, length);
    name[length] = 0;
    return swi_manifest_name_ok(name) ? names + length : NULL;
}

static int count_names(const char *names, uint32_t *ret, struct swi_error *error)
{
    char name[SWI_NAME_MAX + 1];
    uint32_t count = 0;
    for (;;) {
        names = take_name(names, name);
        if (!names)
            return swi_fail(
                error, -EINVAL,
                "--models takes names separated by commas: 1 to 255 bytes each, without "
                "a slash and not beginning with a dot");
        if (++count > REMOTE_MODELS_MAX)
            return swi_fail(error, -EINVAL, "--models takes at most %u names", REMOTE_MODELS_MAX);
        if (!*names)
            break;
        names++;
    }
    *ret = count;
    return 0;
}

int remote_models_check(const char *names, struct swi_error *error)
{
    uint32_t count;
    return count_names(names, &count, error);
}

static bool known(const struct remote_models *models, const char *name)
{
    for (uint32_t i = 0; i < models->count; i++)
        if (strcmp(models->wanted[i].name, name) == 0)
            return true;
    return false;
}

int remote_models_create(const char *names, struct remote *remote, struct catalog *catalog,
                         struct loop *loop, struct remote_models **ret, struct swi_error *error)
{
    uint32_t count;
    int result = count_names(names, &count, error);
    if (result < 0)
        return result;
    struct remote_models *models = calloc(1, sizeof *models + count * sizeof models->wanted[0]);
    if (!models)
        return swi_fail(error, -ENOMEM, "out of memory");
    models->remote = remote;
    models->catalog = catalog;
    models->loop = loop;
    models->retry.fire = retry_due;
    models->retry_ns = RETRY_MIN_NS;
    models->round = 1;
    for (uint32_t i = 0; i < count; i++) {
        char name[SWI_NAME_MAX + 1];
        names = take_name(names, name);
        names += *names == ',';
        if (known(models, name))
            continue;
        struct wanted *wanted = &models->wanted[models->count++];
        memcpy(wanted->name, name, sizeof wanted->name);
        catalog_miss_remote(catalog, name, SW_ELOAD, remote->ops->unreadable(remote));
    }
    remote->up = connected;
    remote->up_owner = models;
    *ret = models;
    return 0;
}

void remote_models_destroy(struct remote_models *models)
{
    if (!models)
        return;
    remote_cancel(&models->find.job);
    end(models);
    loop_disarm(models->loop, &models->retry);
    models->remote->up = NULL;
    free(models);
}
