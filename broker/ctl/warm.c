/* SPDX-License-Identifier: MIT */
/* swctl warm: one target, several, or the whole catalog, one after the other on one connection. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/size.h"
#include "ctl/lib/answer.h"
#include "ctl/lib/text.h"
#include "ctl/verbs.h"

static bool whole_catalog;

static json_t *make_request(const char *verb)
{
    return json_pack("{s:s}", "verb", verb);
}

/* The models and the stats. Returns the exit code; replies are the caller's even then. */
static int ask_all(const struct ctl_call *call, struct ctl_peer *peer, json_t *replies[2])
{
    static const char *const verbs[] = {"models", "stats"};
    struct swi_error error;
    int exit_code = CTL_DONE;
    for (int i = 0; i < 2 && exit_code == CTL_DONE; i++) {
        json_t *request = make_request(verbs[i]);
        int result = request ? ctl_ask(peer, request, call->timeout_ms, NULL, &replies[i], &error)
                             : swi_fail(&error, -ENOMEM, "out of memory");
        json_decref(request);
        exit_code = result < 0 ? ctl_no_answer(&error) : ctl_judge(call, NULL, replies[i]);
    }
    if (exit_code == CTL_DONE && (!json_is_array(json_object_get(replies[0], "models")) ||
                                  !json_is_integer(json_object_get(replies[1], "arena_bytes")))) {
        (void)swi_fail(&error, SW_EPROTOCOL,
                       "the broker's answer is not what this swctl understands");
        exit_code = ctl_no_answer(&error);
    }
    return exit_code;
}

/* Appends the names of all models to targets, also of those with a problem, so that the broker
 * reports them. Refuses models that do not fit the cache together: the last would evict the
 * first. */
static int list_all(const struct ctl_call *call, struct ctl_peer *peer, json_t *targets)
{
    json_t *replies[2] = {NULL, NULL};
    int exit_code = ask_all(call, peer, replies);
    uint64_t bytes = 0;
    uint64_t cache = (uint64_t)json_integer_value(json_object_get(replies[1], "arena_bytes"));
    size_t i;
    json_t *model;
    json_array_foreach(json_object_get(replies[0], "models"), i, model)
    {
        json_t *name = json_object_get(model, "model");
        if (!json_is_string(name) || json_is_true(json_object_get(model, "superseded")))
            continue;
        bytes += (uint64_t)json_integer_value(json_object_get(model, "bytes"));
        (void)json_array_append(targets, name);
    }
    if (exit_code == CTL_DONE && bytes > cache) {
        char texts[2][32];
        swi_size_format(bytes, texts[0], sizeof texts[0]);
        swi_size_format(cache, texts[1], sizeof texts[1]);
        (void)fprintf(stderr,
                      "swctl: warm: the catalog has %s, the cache %s: name the models to load, or "
                      "enlarge the cache (swctl resize)\n",
                      texts[0], texts[1]);
        exit_code = CTL_REFUSED;
    }
    json_decref(replies[0]);
    json_decref(replies[1]);
    return exit_code;
}

static int warm_one(const struct ctl_call *call, struct ctl_peer *peer, const char *target,
                    bool whole_name, json_t **ret)
{
    json_t *request = make_request("warm");
    bool good = request != NULL;
    if (good && whole_name)
        good = json_object_set_new(request, "model", json_string(target)) == 0;
    else if (good)
        good = ctl_put_target(request, target);
    if (!good)
        (void)fprintf(stderr, "swctl: out of memory\n");
    int exit_code = good ? ctl_ask_with_progress(call, peer, request, target, ret) : CTL_REFUSED;
    json_decref(request);
    return exit_code;
}

/* As JSON: the answer of one target as it is, of several in a list. */
static void print_all(json_t *replies, bool good, bool single)
{
    json_t *all = single ? json_incref(json_array_get(replies, 0))
                         : json_pack("{s:b, s:O}", "ok", (int)good, "warmed", replies);
    ctl_json_print(all, stdout);
    json_decref(all);
}

static int warm_targets(const struct ctl_call *call, struct ctl_peer *peer, const json_t *targets)
{
    json_t *replies = json_array();
    int worst = CTL_DONE;
    size_t i;
    json_t *target;
    json_array_foreach(targets, i, target)
    {
        json_t *reply = NULL;
        int exit_code = warm_one(call, peer, json_string_value(target), whole_catalog, &reply);
        if (exit_code != CTL_DONE) {
            json_decref(replies);
            return exit_code; /* the connection is of no more use */
        }
        if (call->json)
            (void)json_array_append(replies, reply);
        exit_code = ctl_judge(call, json_string_value(target), reply);
        if (exit_code == CTL_DONE && !call->json)
            (void)ctl_print(call, reply);
        worst = exit_code > worst ? exit_code : worst;
        json_decref(reply);
    }
    if (json_array_size(targets) == 0 && !call->json)
        (void)printf("the catalog has no models to load\n");
    if (call->json)
        print_all(replies, worst == CTL_DONE, !whole_catalog && json_array_size(targets) == 1);
    json_decref(replies);
    return worst;
}

/* Before the first request: a mistyped target must not load those before it. */
static int check_targets(const struct ctl_call *call)
{
    int exit_code = CTL_DONE;
    json_t *trial = json_object();
    for (unsigned i = 0; i < call->operand_count && exit_code == CTL_DONE; i++)
        if (!ctl_put_target(trial, call->operands[i]))
            exit_code = ctl_not_a_target(call, call->operands[i]);
    json_decref(trial);
    return exit_code;
}

static int run(const struct ctl_call *call)
{
    if (whole_catalog == (call->operand_count > 0))
        return cli_usage(call->command, whole_catalog ? "give targets or --all, not both"
                                                      : "missing argument: it takes " CTL_TARGET
                                                        "... or --all");
    struct swi_error error;
    struct ctl_peer *peer = NULL;
    json_t *targets = json_array();
    for (unsigned i = 0; i < call->operand_count; i++)
        (void)json_array_append_new(targets, json_string(call->operands[i]));
    int exit_code = check_targets(call);
    if (exit_code != CTL_DONE) {
        json_decref(targets);
        return exit_code;
    }
    if (ctl_connect(call->socket_path, call->timeout_ms, &peer, &error) < 0)
        exit_code = ctl_no_answer(&error);
    else if (whole_catalog)
        exit_code = list_all(call, peer, targets);
    if (exit_code == CTL_DONE)
        exit_code = warm_targets(call, peer, targets);
    ctl_disconnect(peer);
    json_decref(targets);
    return exit_code;
}

static void show(const struct ctl_call *call, const json_t *reply)
{
    (void)call;
    unsigned long long chunks = ctl_count_of(reply, "chunks");
    (void)printf("%s: loaded %llu chunk%s (%s)\n", ctl_text_of(reply, "model"), chunks,
                 ctl_plural(chunks), ctl_size_of(reply, "bytes"));
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
    .more = "Ctrl-C stops it: chunks being read are finished, the others are not begun.",
    .options = options,
    .show = show,
    .run = run,
    .patient = true,
    .progress = "loading"};
