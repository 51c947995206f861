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

int ctl_judge(const struct ctl_call *call, const char *about, const json_t *reply)
{
    if (json_is_true(json_object_get(reply, "ok")))
        return CTL_DONE;
    const char *text = json_string_value(json_object_get(reply, "error"));
    char clean[SWI_ERROR_TEXT * 2];
    (void)snprintf(clean, sizeof clean, "%.200s%s%s", about ? about : "", about ? ": " : "",
                   text ? text : "the broker reports a failure");
    ctl_text_clean(clean);
    (void)fprintf(stderr, "swctl: %s: %s\n", call->verb->name, clean);
    return CTL_REFUSED;
}

/* ---- targets --------------------------------------------------------------------------------- */

bool ctl_put_target(json_t *request, const char *target)
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

int ctl_not_a_target(const struct ctl_call *call, const char *operand)
{
    return cli_usage(call->command, "'%.200s' is neither MODEL nor MODEL/COMPONENT", operand);
}

int ctl_prepare_target(const struct ctl_call *call, json_t *request)
{
    if (call->operand_count == 0 || ctl_put_target(request, call->operands[0]))
        return CTL_DONE;
    return ctl_not_a_target(call, call->operands[0]);
}

/* ---- one question, one answer ---------------------------------------------------------------- */

int ctl_print(const struct ctl_call *call, json_t *reply)
{
    bool good = json_is_true(json_object_get(reply, "ok"));
    if (call->json)
        ctl_json_print(reply, stdout);
    ctl_json_clean(reply);
    bool shown = good || (call->verb->shows_failures && json_object_get(reply, "chunks"));
    if (shown && !call->json)
        call->verb->show(call, reply);
    return ctl_judge(call, NULL, reply);
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

int ctl_ask_with_progress(const struct ctl_call *call, struct ctl_peer *peer, json_t *request,
                          const char *name, json_t **ret)
{
    struct swi_error error = {0};
    struct progress_line progress = {.listener = {.progress = show_progress}};
    char item[SWI_ERROR_TEXT];
    (void)snprintf(item, sizeof item, "%s", name);
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

int ctl_run(const struct ctl_call *call)
{
    json_t *request = json_pack("{s:s}", "verb", call->verb->name);
    if (!request) {
        (void)fprintf(stderr, "swctl: out of memory\n");
        return CTL_REFUSED;
    }
    struct swi_error error = {0};
    struct ctl_peer *peer = NULL;
    json_t *reply = NULL;
    int exit_code = call->verb->prepare ? call->verb->prepare(call, request) : CTL_DONE;
    if (exit_code == CTL_DONE &&
        ctl_connect(call->socket_path, call->timeout_ms, &peer, &error) < 0)
        exit_code = ctl_no_answer(&error);
    if (exit_code == CTL_DONE && call->verb->progress)
        exit_code = ctl_ask_with_progress(call, peer, request,
                                          call->operand_count ? call->operands[0] : "", &reply);
    else if (exit_code == CTL_DONE &&
             ctl_ask(peer, request, call->timeout_ms, NULL, &reply, &error) < 0)
        exit_code = ctl_no_answer(&error);
    if (exit_code == CTL_DONE)
        exit_code = ctl_print(call, reply);
    json_decref(reply);
    json_decref(request);
    ctl_disconnect(peer);
    return exit_code;
}
