/* SPDX-License-Identifier: MIT */
/* The table of swctl's verbs, and what most of them have in common. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/size.h"
#include "core/wire.h"
#include "ctl/doctor/doctor.h"
#include "ctl/lib/ask.h"
#include "ctl/lib/meter.h"
#include "ctl/lib/text.h"
#include "ctl/show.h"
#include "ctl/verb.h"
#include "ctl/warm.h"
#include "ctl/watch/watch.h"

/* ---- requests -------------------------------------------------------------------------------- */

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

static int prepare_target(const struct ctl_call *call, json_t *request)
{
    if (call->operand_count == 0 || ctl_put_target(request, call->operands[0]))
        return 0;
    return ctl_usage(call->operands[0], "is neither MODEL nor MODEL/COMPONENT");
}

static int prepare_size(const struct ctl_call *call, json_t *request)
{
    uint64_t bytes;
    if (swi_size_parse(call->operands[0], &bytes) &&
        json_object_set_new(request, "bytes", json_integer((json_int_t)bytes)) == 0)
        return 0;
    return ctl_usage(call->operands[0], "is no size, such as 512, 512M or 2G");
}

static int prepare_ls(const struct ctl_call *call, json_t *request)
{
    const char *sort = ctl_value(call, "sort");
    if (sort && !ctl_show_knows_sort(sort))
        return ctl_usage("--sort", "takes name, state, size, hits, pins, last, next or place");
    return prepare_target(call, request);
}

/* The broker's directory is not ours: FILE becomes an absolute path, without the links that the
 * broker would refuse. NULL: its folder is not there. */
static char *resolve(const char *file)
{
    char *copy = strdup(file);
    char *slash = copy ? strrchr(copy, '/') : NULL;
    const char *name = slash ? slash + 1 : file;
    char *folder = NULL;
    if (copy && slash == copy)
        folder = strdup("");
    else if (copy) {
        if (slash)
            *slash = 0;
        folder = realpath(slash ? copy : ".", NULL);
    }
    char *path = NULL;
    if (!folder || !*name || asprintf(&path, "%s/%s", folder, name) < 0)
        path = NULL;
    free(folder);
    free(copy);
    return path;
}

static int prepare_trace(const struct ctl_call *call, json_t *request)
{
    const char *action = call->operands[0];
    bool start = strcmp(action, "start") == 0;
    if (!start && strcmp(action, "stop") != 0 && strcmp(action, "status") != 0)
        return ctl_usage(action, "is none of start FILE, stop, status");
    if (start != (call->operand_count == 2))
        return ctl_usage(start ? "trace start" : "trace stop or status",
                         start ? "needs a file" : "takes no file");
    (void)json_object_set_new(request, "action", json_string(action));
    if (!start)
        return 0;
    char *path = resolve(call->operands[1]);
    if (!path || json_object_set_new(request, "path", json_string(path)) < 0) {
        free(path);
        return ctl_usage(call->operands[1], "is no file in a directory that exists");
    }
    free(path);
    if (ctl_value(call, "force"))
        (void)json_object_set_new(request, "force", json_true());
    return 0;
}

/* ---- the table ------------------------------------------------------------------------------- */

#define TARGET "MODEL[/COMPONENT]"

const struct ctl_verb ctl_verbs[] = {
    {.name = "ping", .help = "exit 0 when the broker answers", .show = ctl_show_ping},
    {.name = "stats",
     .help = "memory, hits, loads, and what clients did wrong",
     .options = {{"format", "FORMAT", "table (default), json or prometheus"}},
     .show = ctl_show_stats,
     .run = ctl_stats},
    {.name = "ls",
     .operands = "[" TARGET "]",
     .most = 1,
     .help = "chunks: state, size, hits, who pins them, last and next use",
     .more = "States: resident; loading; queued; absent (known, not in memory); unused (no client "
             "opened its\n"
             "model). NEXT USE is what the policy expects from its clients' passes: time, and "
             "steps to go.\n",
     .options = {{"sort", "KEY",
                  "name (as they come in a pass), state, size, hits, pins, last, next or place"},
                 {"names", NULL, "only MODEL/COMPONENT, one a line"}},
     .prepare = prepare_ls,
     .show = ctl_show_chunks},
    {.name = "models",
     .help = "the catalog, and what is wrong with which model",
     .options = {{"names", NULL, "only the names, one a line"}},
     .show = ctl_show_models},
    {.name = "clients", .help = "who is connected and what they pin", .show = ctl_show_clients},
    {.name = "watch",
     .help = "the arena, rates and clients' passes, refreshed on a terminal",
     .more = "q or Ctrl-C ends it. It needs no more than 80x24. While the broker is away it keeps "
             "asking.\n",
     .options = {{"interval", "SECONDS", "between frames; default 1"},
                 {"once", NULL, "print one frame as text; with --interval, it has rates"},
                 {"size", "COLSxROWS", "of the frame; default the terminal's, or 80x24"}},
     .run = ctl_watch},
    {.name = "doctor",
     .help = "look for what is wrong with the machine and the broker, and say what to do",
     .more = "Also where no broker runs. Exit status: 1 when something fails, 4 when there are "
             "warnings only.\n",
     .options = {{"chunks-dir", "DIR", "what a broker would serve; default the running one's"},
                 {"cache-size", "SIZE", "what it would want; default the running one's"}},
     .run = ctl_doctor},
    {.name = "clear",
     .operands = "[" TARGET "]",
     .most = 1,
     .help = "evict what is resident and not pinned",
     .more = "Pinned chunks stay, and the answer says how many.\n",
     .prepare = prepare_target,
     .show = ctl_show_clear},
    {.name = "resize",
     .operands = "SIZE",
     .least = 1,
     .most = 1,
     .help = "change the cache's size",
     .more =
         "SIZE in MB, or with a unit (512M, 2G), up to the broker's --max-cache-size. Shrinking "
         "evicts; what\n"
         "is pinned leaves when it is released.\n",
     .prepare = prepare_size,
     .show = ctl_show_resize},
    {.name = "warm",
     .operands = TARGET "...",
     .most = CTL_OPERANDS,
     .help = "load it now, and wait until it is loaded",
     .more = "On a terminal it tells how far it is. Ctrl-C stops it: what is being read is "
             "finished, the\n"
             "rest is not begun.\n",
     .options = {{"all", NULL, "every model of the catalog, if they fit the cache together"}},
     .show = ctl_show_warm,
     .run = ctl_warm,
     .patient = true,
     .progress = true},
    {.name = "pin",
     .operands = TARGET,
     .least = 1,
     .most = 1,
     .help = "load it, and keep it until it is unpinned",
     .more = "Pins may take half of the cache. They end with the broker, and when their model "
             "leaves the\n"
             "catalog; they move to a model's new revision.\n",
     .prepare = prepare_target,
     .show = ctl_show_pin,
     .patient = true,
     .progress = true},
    {.name = "unpin",
     .operands = TARGET,
     .least = 1,
     .most = 1,
     .help = "let it be evicted again",
     .prepare = prepare_target,
     .show = ctl_show_unpin},
    {.name = "verify",
     .operands = "[" TARGET "]",
     .most = 1,
     .help = "hash again what is resident",
     .more = "What does not match is withdrawn: clients that hold it are revoked, and it is read "
             "again from\n"
             "its file. Then the exit status is 1.\n",
     .prepare = prepare_target,
     .show = ctl_show_verify,
     .patient = true,
     .progress = true,
     .shows_failures = true},
    {.name = "push",
     .operands = "MODEL",
     .least = 1,
     .most = 1,
     .help = "fill the broker's Redis with a model from its files",
     .more = "What is there already is written again, and damage made good by that. Brokers "
             "without the files\ncan serve it then. On a terminal it tells how far it is; Ctrl-C "
             "ends it.\n",
     .prepare = prepare_target,
     .show = ctl_show_push,
     .patient = true,
     .progress = true},
    {.name = "reload",
     .help = "read the settings and look through the chunks directory again",
     .more = "Says which settings changed and which wait for a restart; with a mistake in them "
             "nothing is\n"
             "reloaded.\n"
             "A replaced model is a new revision: workers that have the old one open finish on "
             "it.\n",
     .show = ctl_show_reload},
    {.name = "trace",
     .operands = "start FILE|stop|status",
     .least = 1,
     .most = 2,
     .help = "record every use of a chunk, for swbench policy",
     .more = "The broker writes FILE, with its own rights. An existing one is left alone. As a "
             "service it has\n"
             "a /tmp of its own and writes nowhere else, unless a drop-in says so: swbrokerd(8).\n",
     .options = {{"force", NULL, "overwrite FILE, if it is the broker's user's"}},
     .prepare = prepare_trace,
     .show = ctl_show_trace},
};
const size_t ctl_verb_count = sizeof ctl_verbs / sizeof ctl_verbs[0];

/* ---- one call -------------------------------------------------------------------------------- */

const char *ctl_value(const struct ctl_call *call, const char *option)
{
    for (size_t i = 0; i < CTL_OPTIONS && call->verb->options[i].name; i++)
        if (strcmp(call->verb->options[i].name, option) == 0)
            return call->values[i];
    assert(false); /* every caller asks for an option of its verb */
    return NULL;
}

int ctl_usage(const char *what, const char *problem)
{
    (void)fprintf(stderr, "swctl: %s %s; see swctl --help\n", *what ? what : "\"\"", problem);
    return CTL_USAGE;
}

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
    if (exit_code == CTL_DONE) {
        int result = ctl_connect(call->socket_path, call->timeout_ms, &peer, &error);
        if (result == 0 && call->verb->progress) {
            struct ctl_meter meter;
            ctl_meter_begin(&meter, call->operand_count ? call->operands[0] : "");
            result = ctl_ask(peer, request, call->timeout_ms, &meter.listener, &reply, &error);
            exit_code = ctl_meter_end(&meter, result < 0 ? &error : NULL);
        } else {
            if (result == 0)
                result = ctl_ask(peer, request, call->timeout_ms, NULL, &reply, &error);
            exit_code = result < 0 ? ctl_no_answer(&error) : CTL_DONE;
        }
        if (exit_code == CTL_DONE)
            exit_code = ctl_print(call, reply);
    }
    json_decref(reply);
    json_decref(request);
    ctl_disconnect(peer);
    return exit_code;
}
