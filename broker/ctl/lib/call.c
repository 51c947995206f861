/* SPDX-License-Identifier: MIT */
/* What commands have in common. */
#include "ctl/lib/call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/progress.h"
#include "core/wire.h"
#include "ctl/lib/text.h"

/* ---- errors ---------------------------------------------------------------------------------- */

int ctl_no_answer(const struct swi_error *error)
{
    struct swi_error clean = *error;
    if (error->code == -EINTR) {
        (void)fprintf(stderr, "swctl: cancelled\n");
        return CTL_CANCELLED;
    }
    ctl_text_clean(clean.text);
    (void)fprintf(stderr, "swctl: %s\n", clean.text);
    return error->code == SW_EQUOTA || error->code == SW_EVERSION ? CTL_REFUSED : CTL_NO_BROKER;
}

int ctl_judge(const struct ctl_call *call, const json_t *reply)
{
    if (json_is_true(json_object_get(reply, "ok")))
        return CTL_DONE;
    const char *text = json_string_value(json_object_get(reply, "error"));
    char clean[SWI_ERROR_TEXT * 2];
    (void)snprintf(clean, sizeof clean, "%.200s%s%s", call->target ? call->target : "",
                   call->target ? ": " : "", text ? text : "the broker reports a failure");
    ctl_text_clean(clean);
    (void)fprintf(stderr, "swctl: %s: %s\n", call->verb->name, clean);
    return CTL_REFUSED;
}

/* ---- targets --------------------------------------------------------------------------------- */

/* False: a part of the target is empty or too long, or memory is out. */
static bool put_target(json_t *request, const char *target)
{
    const char *slash = strchr(target, '/');
    size_t length = slash ? (size_t)(slash - target) : strlen(target);
    if (length == 0 || length > SWI_NAME_MAX ||
        (slash && (!slash[1] || strlen(slash + 1) > SWI_NAME_MAX)))
        return false;
    if (slash && json_object_set_new(request, "component", json_string(slash + 1)) < 0)
        return false;
    return json_object_set_new(request, "model", json_stringn(target, length)) == 0;
}

static int not_a_target(const struct ctl_call *call, const char *operand)
{
    return cli_usage(call->command, "'%.200s' is neither MODEL nor MODEL/COMPONENT", operand);
}

int ctl_prepare_target(const struct ctl_call *call, json_t *request)
{
    if (call->operand_count == 0 || put_target(request, call->operands[0]))
        return CTL_DONE;
    return not_a_target(call, call->operands[0]);
}

/* ---- questions and answers ------------------------------------------------------------------- */

void ctl_print_target(const struct ctl_call *call)
{
    char clean[SWI_ERROR_TEXT];
    if (!call->target)
        return;
    (void)snprintf(clean, sizeof clean, "%s", call->target);
    ctl_text_clean(clean);
    (void)printf("%s: ", clean);
}

int ctl_print(const struct ctl_call *call, json_t *reply)
{
    bool good = json_is_true(json_object_get(reply, "ok"));
    if (call->json)
        ctl_json_print(reply, stdout);
    ctl_json_clean(reply);
    bool shown = good || (call->verb->shows_failures && json_object_get(reply, "chunks"));
    if (shown && !call->json)
        call->verb->show(call, reply);
    return ctl_judge(call, reply);
}

struct progress_line {
    struct ctl_listener listener;
    struct cli_progress line;
    uint64_t chunks, of_chunks;
};

static uint64_t at_least_zero(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static void show_progress(struct ctl_listener *listener, const json_t *progress)
{
    struct progress_line *mine = (struct progress_line *)(void *)listener;
    mine->chunks = at_least_zero(progress, "chunks");
    mine->of_chunks = at_least_zero(progress, "of_chunks");
    cli_progress_set(&mine->line, at_least_zero(progress, "bytes"),
                     at_least_zero(progress, "of_bytes"));
}

static int ask_with_progress(const struct ctl_call *call, struct ctl_peer *peer, json_t *request,
                             json_t **ret)
{
    struct swi_error error = {0};
    struct progress_line progress = {.listener = {.progress = show_progress}};
    char item[SWI_ERROR_TEXT];
    (void)snprintf(item, sizeof item, "%s", call->target ? call->target : "");
    ctl_text_clean(item);
    cli_progress_begin(&progress.line, call->verb->progress, 0, call->quiet);
    progress.line.item = item;
    ctl_catch_interrupts();
    int result = ctl_ask(peer, request, call->timeout_ms, &progress.listener, ret, &error);
    cli_progress_clear(&progress.line);
    if (result == -EINTR) {
        (void)fprintf(stderr, "swctl: cancelled after %llu of %llu chunks\n",
                      (unsigned long long)progress.chunks, (unsigned long long)progress.of_chunks);
        return CTL_CANCELLED;
    }
    return result < 0 ? ctl_no_answer(&error) : CTL_DONE;
}

/* Returns the exit code; if it is CTL_DONE, *ret is the answer. Else the connection is of no more
 * use. */
static int ask(const struct ctl_call *call, struct ctl_peer *peer, json_t *request, json_t **ret)
{
    struct swi_error error = {0};
    if (call->verb->progress)
        return ask_with_progress(call, peer, request, ret);
    int result = ctl_ask(peer, request, call->timeout_ms, NULL, ret, &error);
    return result < 0 ? ctl_no_answer(&error) : CTL_DONE;
}

/* Appends a request. Returns the exit code. */
static int add_request(const struct ctl_call *call, const char *target, json_t *requests)
{
    json_t *request = json_pack("{s:s}", "verb", call->verb->name);
    if (!request || json_array_append_new(requests, request) < 0) {
        (void)fprintf(stderr, "swctl: out of memory\n");
        return CTL_REFUSED;
    }
    if (target)
        return put_target(request, target) ? CTL_DONE : not_a_target(call, target);
    return call->verb->prepare ? call->verb->prepare(call, request) : CTL_DONE;
}

static int add_requests(const struct ctl_call *call, json_t *requests)
{
    if (!call->verb->targets || call->operand_count == 0)
        return add_request(call, NULL, requests);
    int exit_code = CTL_DONE;
    for (unsigned i = 0; i < call->operand_count && exit_code == CTL_DONE; i++)
        exit_code = add_request(call, call->operands[i], requests);
    return exit_code;
}

/* Asks all and prints the answers, or appends them to list, unless that is NULL. */
static int ask_all(const struct ctl_call *call, struct ctl_peer *peer, const json_t *requests,
                   json_t *list)
{
    int worst = CTL_DONE;
    size_t i;
    json_t *request;
    json_array_foreach(requests, i, request)
    {
        struct ctl_call mine = *call;
        mine.target = call->verb->targets && call->operand_count ? call->operands[i] : NULL;
        json_t *reply = NULL;
        int exit_code = ask(&mine, peer, request, &reply);
        if (exit_code != CTL_DONE)
            return exit_code;
        if (list)
            (void)json_array_append(list, reply);
        exit_code = list ? ctl_judge(&mine, reply) : ctl_print(&mine, reply);
        worst = exit_code > worst ? exit_code : worst;
        json_decref(reply);
    }
    return worst;
}

int ctl_run(const struct ctl_call *call)
{
    struct swi_error error = {0};
    struct ctl_peer *peer = NULL;
    json_t *requests = json_array();
    bool several = call->verb->targets && (call->operand_count > 1 || call->list);
    json_t *list = call->json && several ? json_array() : NULL;
    int exit_code = add_requests(call, requests);
    if (exit_code == CTL_DONE &&
        ctl_connect(call->socket_path, call->timeout_ms, &peer, &error) < 0)
        exit_code = ctl_no_answer(&error);
    if (exit_code == CTL_DONE)
        exit_code = ask_all(call, peer, requests, list);
    if (list && json_array_size(list) == json_array_size(requests)) {
        json_t *all =
            json_pack("{s:b, s:O}", "ok", exit_code == CTL_DONE, call->verb->targets, list);
        ctl_json_print(all, stdout);
        json_decref(all);
    }
    json_decref(list);
    json_decref(requests);
    ctl_disconnect(peer);
    return exit_code;
}
