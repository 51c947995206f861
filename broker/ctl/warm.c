/* SPDX-License-Identifier: MIT */
/* swctl warm: targets, or the whole catalog. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/size.h"
#include "ctl/lib/answer.h"
#include "ctl/lib/text.h"
#include "ctl/verbs.h"

static bool whole_catalog;

/* Asks for the models or the stats, over a connection of its own. Returns the exit code. */
static int ask_for(const struct ctl_call *call, const char *verb, const char *key, json_t **ret)
{
    struct swi_error error;
    json_t *request = json_pack("{s:s}", "verb", verb);
    int result = request ? ctl_ask_once(call->socket_path, request, call->timeout_ms, ret, &error)
                         : swi_fail(&error, -ENOMEM, "out of memory");
    json_decref(request);
    if (result == 0 && json_is_true(json_object_get(*ret, "ok")) && !json_object_get(*ret, key))
        result = swi_fail(&error, SW_EPROTOCOL,
                          "the broker's answer is not in a form that this program knows");
    return result < 0 ? ctl_no_answer(&error) : ctl_judge(call, *ret);
}

/* Whether the catalog fits the cache; else the last models would evict the first. */
static int check_room(uint64_t bytes, uint64_t cache_bytes)
{
    char texts[2][32];
    if (bytes <= cache_bytes)
        return CTL_DONE;
    swi_size_format(bytes, texts[0], sizeof texts[0]);
    swi_size_format(cache_bytes, texts[1], sizeof texts[1]);
    (void)fprintf(stderr,
                  "swctl: warm: the catalog has %s, the cache %s: name the models to load, or "
                  "enlarge the cache (swctl resize)\n",
                  texts[0], texts[1]);
    return CTL_REFUSED;
}

static void print_none(const struct ctl_call *call)
{
    if (!call->json) {
        (void)printf("the catalog has no models to load\n");
        return;
    }
    json_t *none = json_pack("{s:b, s:[]}", "ok", 1, call->verb->targets);
    ctl_json_print(none, stdout);
    json_decref(none);
}

/* Loads all models, also those with a problem, so that the broker reports them. */
static int warm_catalog(const struct ctl_call *call, const json_t *models, uint64_t cache_bytes)
{
    uint64_t bytes = 0;
    size_t i;
    json_t *model;
    struct ctl_call mine = *call;
    char **names = calloc(json_array_size(models) + 1, sizeof *names);
    if (!names) {
        (void)fprintf(stderr, "swctl: out of memory\n");
        return CTL_REFUSED;
    }
    json_array_foreach(models, i, model)
    {
        const json_t *name = json_object_get(model, "model");
        if (!json_is_string(name) || json_is_true(json_object_get(model, "superseded")))
            continue;
        bytes += ctl_count_of(model, "bytes");
        names[mine.operand_count] = strdup(json_string_value(name));
        mine.operand_count += names[mine.operand_count] != NULL;
    }
    mine.operands = names;
    mine.list = true;
    int exit_code = check_room(bytes, cache_bytes);
    if (exit_code == CTL_DONE && mine.operand_count > 0)
        exit_code = ctl_run(&mine);
    else if (exit_code == CTL_DONE)
        print_none(call);
    for (i = 0; i < mine.operand_count; i++)
        free(names[i]);
    free(names);
    return exit_code;
}

static int run(const struct ctl_call *call)
{
    if (whole_catalog == (call->operand_count > 0))
        return cli_usage(call->command, whole_catalog ? "give targets or --all, not both"
                                                      : "missing argument: it takes " CTL_TARGET
                                                        "... or --all");
    if (!whole_catalog)
        return ctl_run(call);
    json_t *models = NULL, *stats = NULL;
    int exit_code = ask_for(call, "models", "models", &models);
    if (exit_code == CTL_DONE)
        exit_code = ask_for(call, "stats", "arena_bytes", &stats);
    if (exit_code == CTL_DONE)
        exit_code = warm_catalog(call, json_object_get(models, "models"),
                                 ctl_count_of(stats, "arena_bytes"));
    json_decref(models);
    json_decref(stats);
    return exit_code;
}

static void show(const struct ctl_call *call, const json_t *reply)
{
    unsigned long long chunks = ctl_count_of(reply, "chunks");
    ctl_print_target(call);
    (void)printf("loaded %llu chunk%s (%s)\n", chunks, ctl_plural(chunks),
                 ctl_size_of(reply, "bytes"));
}

static const struct cli_option options[] = {
    {"all", NULL, "load every model of the catalog, if together they fit the cache",
     .flag = &whole_catalog},
    {0},
};

const struct ctl_verb ctl_verb_warm = {
    .name = "warm",
    .operands = CTL_TARGET "...",
    .most = CTL_OPERANDS,
    .help = "load chunks, and wait until they are resident",
    .more = "Ctrl-C stops it: it finishes the chunks being read and starts no others.",
    .options = options,
    .targets = "warmed",
    .show = show,
    .run = run,
    .patient = true,
    .progress = "loading"};
