/* SPDX-License-Identifier: MIT */
/* Models that are served from the Redis alone. */
#include "remote/redis/models.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/manifest.h"
#include "remote/redis/tier_internal.h"

#define RETRY_MIN_NS LOOP_NS_PER_S
#define RETRY_MAX_NS (10 * LOOP_NS_PER_S)
#define REFUSED_NS   (300 * LOOP_NS_PER_S) /* until a bundle that was refused is fetched again */

/* Why the broker did not take a bundle whose bytes are what they should be. */
struct refusal {
    int code; /* 0: there is none */
    struct swi_digest digest;
    uint64_t until_ns;
    char text[SWI_ERROR_TEXT];
};

struct wanted {
    char name[SWI_NAME_MAX + 1];
    bool settled;   /* asked since the last reload, and its answer is in the catalog */
    unsigned round; /* that it failed in */
    struct refusal refusal;
};

struct redis_models {
    struct redis_tier *tier;
    struct catalog *catalog;
    struct loop *loop;
    struct loop_timer retry;
    uint64_t retry_ns;
    unsigned round;          /* of tries: each model once in each; from 1 */
    struct redis_call *call; /* the one under way */
    struct wanted *asking;   /* for which model */
    struct redis_current current;
    uint8_t *bytes; /* [current.bytes], while a bundle comes in */
    swi_hasher *hasher;
    uint64_t got;
    uint32_t count;
    struct wanted wanted[];
};

static void next(struct redis_models *models);

/* ---- ends of an asking ------------------------------------------------------------------------
 */

static void end_asking(struct redis_models *models)
{
    free(models->bytes);
    models->bytes = NULL;
    swi_hasher_destroy(models->hasher);
    models->hasher = NULL;
    models->asking = NULL;
    models->call = NULL;
}

static void try_later(struct redis_models *models)
{
    models->round++;
    loop_arm(models->loop, &models->retry, loop_now() + models->retry_ns);
    models->retry_ns = models->retry_ns * 2 < RETRY_MAX_NS ? models->retry_ns * 2 : RETRY_MAX_NS;
}

/* The model under way cannot be had now. */
static void fail(struct redis_models *models, int code, const char *text)
{
    struct wanted *wanted = models->asking;
    end_asking(models);
    wanted->round = models->round;
    catalog_miss_stored(models->catalog, wanted->name, code, text);
    next(models);
}

static void settle(struct redis_models *models)
{
    models->asking->settled = true;
    end_asking(models);
    next(models);
}

/* ---- the bundle -------------------------------------------------------------------------------
 */

static void ask_more(struct redis_models *models);

/* Where there was no room for it there may be some later; what is no bundle stays none. */
static void note_refusal(struct redis_models *models, int code, const char *text)
{
    struct refusal *refusal = &models->asking->refusal;
    *refusal = (struct refusal){
        .code = code,
        .digest = models->current.revision,
        .until_ns = code == SW_EFORMAT ? UINT64_MAX : loop_now() + REFUSED_NS,
    };
    (void)snprintf(refusal->text, sizeof refusal->text, "%s", text);
}

static bool still_refused(const struct redis_models *models)
{
    const struct refusal *refusal = &models->asking->refusal;
    return refusal->code != 0 && loop_now() < refusal->until_ns &&
           swi_digest_equal(refusal->digest, models->current.revision);
}

static void take_bundle(struct redis_models *models)
{
    struct swi_error error = {0};
    const char *name = models->asking->name;
    struct swi_digest digest = swi_hasher_digest(models->hasher);
    int result = 0;
    if (!swi_digest_equal(digest, models->current.revision))
        result =
            swi_fail(&error, SW_EDIGEST,
                     "its manifest and small files in Redis are damaged; run swctl push %.150s "
                     "where its files are",
                     name);
    else
        result = catalog_offer_stored(models->catalog, name, models->bytes, models->current.bytes,
                                      digest, &error);
    if (result < 0 && result != SW_EDIGEST)
        note_refusal(models, result, error.text);
    redis_link_succeeded(models->tier->reads); /* what it holds says nothing against it */
    if (result < 0)
        fail(models, result, error.text);
    else
        settle(models);
}

/* An answer that is none of those expected: true when it ended the asking. */
static bool ended_by(struct redis_models *models, const struct redis_reply *reply)
{
    char text[400];
    models->call = NULL;
    if (!reply) {
        fail(models, SW_ELOAD, redis_link_problem(models->tier->reads));
        return true;
    }
    if (reply->type != REDIS_ERROR)
        return false;
    (void)snprintf(text, sizeof text, "Redis at %.150s answers: %.150s",
                   redis_link_name(models->tier->reads), reply->text);
    enum redis_about about = redis_tier_count_error(models->tier, reply);
    bool fault = redis_tier_is_fault(models->tier, models->tier->reads, about);
    if (!fault) /* before the next model is asked for, which may be a probe */
        redis_link_succeeded(models->tier->reads);
    fail(models, SW_ELOAD, text);
    if (fault)
        redis_link_disappointed(models->tier->reads, reply->text);
    return true;
}

static void more_came(struct redis_call *call, const struct redis_reply *reply)
{
    struct redis_models *models = call->context;
    if (ended_by(models, reply))
        return;
    if (reply->type != REDIS_VALUE || !reply->placed) {
        redis_link_succeeded(models->tier->reads); /* evicted, or being pushed */
        fail(models, SW_ELOAD,
             "its manifest and small files are not in Redis, or not all of them; run swctl push "
             "where its files are");
        return;
    }
    swi_hasher_update(models->hasher, models->bytes + models->got, call->into_bytes);
    models->got += call->into_bytes;
    if (models->got < models->current.bytes)
        ask_more(models);
    else
        take_bundle(models);
}

static void ask_more(struct redis_models *models)
{
    struct redis_tier *tier = models->tier;
    const struct redis_key key =
        redis_key_revision(tier->prefix, models->asking->name, models->current.revision);
    uint64_t rest = models->current.bytes - models->got;
    uint64_t length = rest < REDIS_STRIPE_BYTES ? rest : REDIS_STRIPE_BYTES;
    char first[24], last[24];
    (void)snprintf(first, sizeof first, "%llu", (unsigned long long)models->got);
    (void)snprintf(last, sizeof last, "%llu", (unsigned long long)(models->got + length - 1));
    struct redis_command range = {.count = 0};
    redis_command_text(&range, "GETRANGE");
    redis_command_add(&range, key.text, key.length);
    redis_command_text(&range, first);
    redis_command_text(&range, last);
    models->call = redis_link_call(tier->reads, &range);
    if (!models->call) {
        redis_link_abandoned(tier->reads);
        fail(models, SW_ELOAD, redis_link_problem(tier->reads));
        return;
    }
    models->call->done = more_came;
    models->call->context = models;
    models->call->into = models->bytes + models->got;
    models->call->into_bytes = length;
    redis_link_flush(tier->reads);
}

/* ---- the current revision ---------------------------------------------------------------------
 */

static void current_came(struct redis_call *call, const struct redis_reply *reply)
{
    struct redis_models *models = call->context;
    struct redis_link *link = models->tier->reads;
    const char *name = models->asking->name;
    char text[600];
    if (ended_by(models, reply))
        return;
    if (reply->type != REDIS_VALUE ||
        !redis_current_parse(reply->text, reply->length, &models->current)) {
        (void)snprintf(text, sizeof text,
                       "Redis at %.150s %s model %.150s; run swctl push %.150s where its files are",
                       redis_link_name(link),
                       reply->type == REDIS_NIL ? "has no" : "holds no revision of", name, name);
        redis_link_succeeded(link);
        fail(models, SW_ENOMODEL, text);
        return;
    }
    if (catalog_has_stored(models->catalog, name, models->current.revision)) {
        redis_link_succeeded(link);
        settle(models);
        return;
    }
    if (still_refused(models)) {
        const struct refusal refusal = models->asking->refusal;
        redis_link_succeeded(link);
        fail(models, refusal.code, refusal.text);
        return;
    }
    models->bytes = malloc(models->current.bytes);
    models->hasher = swi_hasher_create();
    models->got = 0;
    if (!models->bytes || !models->hasher) {
        redis_link_abandoned(link);
        fail(models, -ENOMEM, "out of memory for its small files");
        return;
    }
    ask_more(models);
}

/* The Redis cannot be asked: nor for any of the others. */
static void fail_all(struct redis_models *models)
{
    for (uint32_t i = 0; i < models->count; i++)
        if (!models->wanted[i].settled)
            catalog_miss_stored(models->catalog, models->wanted[i].name, SW_ELOAD,
                                redis_link_problem(models->tier->reads));
    try_later(models);
}

/* Goes on with a model that is not settled, each once in a round. */
static void next(struct redis_models *models)
{
    struct redis_tier *tier = models->tier;
    struct wanted *wanted = NULL;
    bool waiting = false;
    if (models->asking || models->retry.armed)
        return;
    for (uint32_t i = 0; i < models->count && !wanted; i++) {
        waiting = waiting || !models->wanted[i].settled;
        if (!models->wanted[i].settled && models->wanted[i].round != models->round)
            wanted = &models->wanted[i];
    }
    if (!wanted) {
        if (waiting)
            try_later(models);
        return;
    }
    if (!redis_link_admit(tier->reads)) {
        fail_all(models);
        return;
    }
    models->asking = wanted;
    const struct redis_key key = redis_key_model(tier->prefix, wanted->name);
    struct redis_command get = {.count = 0};
    redis_command_text(&get, "GET");
    redis_command_add(&get, key.text, key.length);
    models->call = redis_link_call(tier->reads, &get);
    if (!models->call) {
        redis_link_abandoned(tier->reads);
        fail(models, SW_ELOAD, redis_link_problem(tier->reads));
        return;
    }
    models->call->done = current_came;
    models->call->context = models;
    redis_link_flush(tier->reads);
}

/* ---- when -------------------------------------------------------------------------------------
 */

static void retry_due(struct loop_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    next(LOOP_OWNER(timer, struct redis_models, retry));
}

static void connected(void *owner)
{
    struct redis_models *models = owner;
    loop_disarm(models->loop, &models->retry);
    models->retry_ns = RETRY_MIN_NS;
    next(models);
}

void redis_models_ask(struct redis_models *models)
{
    for (uint32_t i = 0; i < models->count; i++) {
        models->wanted[i].settled = false;
        models->wanted[i].refusal.code = 0;
    }
    loop_disarm(models->loop, &models->retry);
    models->retry_ns = RETRY_MIN_NS;
    next(models);
}

/* ---- life -------------------------------------------------------------------------------------
 */

/* The next name of the list; NULL at its end or when it is none. */
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
                "a slash, not beginning with a dot");
        if (++count > REDIS_MODELS_MAX)
            return swi_fail(error, -EINVAL, "--models takes at most %u names", REDIS_MODELS_MAX);
        if (!*names)
            break;
        names++;
    }
    *ret = count;
    return 0;
}

int redis_models_check(const char *names, struct swi_error *error)
{
    uint32_t count;
    return count_names(names, &count, error);
}

static bool known(const struct redis_models *models, const char *name)
{
    for (uint32_t i = 0; i < models->count; i++)
        if (strcmp(models->wanted[i].name, name) == 0)
            return true;
    return false;
}

int redis_models_create(const char *names, struct redis_tier *tier, struct catalog *catalog,
                        struct loop *loop, struct redis_models **ret, struct swi_error *error)
{
    uint32_t count;
    int result = count_names(names, &count, error);
    if (result < 0)
        return result;
    struct redis_models *models = calloc(1, sizeof *models + count * sizeof models->wanted[0]);
    if (!models)
        return swi_fail(error, -ENOMEM, "out of memory");
    models->tier = tier;
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
        catalog_miss_stored(catalog, name, SW_ELOAD, redis_link_problem(tier->reads));
    }
    redis_tier_on_up(tier, connected, models);
    *ret = models;
    return 0;
}

void redis_models_destroy(struct redis_models *models)
{
    if (!models)
        return;
    if (models->call)
        redis_call_forget(models->call);
    end_asking(models);
    loop_disarm(models->loop, &models->retry);
    redis_tier_on_up(models->tier, NULL, NULL);
    free(models);
}
