/* swctl: the operator's tool. Options, verbs and exit codes; ctl_ask talks, ctl_show prints. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/size.h"
#include "core/socket.h"
#include "core/wire.h"
#include "ctl_ask.h"
#include "ctl_export.h"
#include "ctl_show.h"
#include "metrics.h"

enum exit_code { EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_NO_BROKER = 3 };

#define TIMEOUT_MS 30000

static const struct verb {
    const char *name;
    const char *argument; /* NULL: takes none; in brackets: may be left out */
    const char *help;
    const char *more;
    void (*show)(const json_t *reply);
    int timeout_ms;
} verbs[] = {
    {"ping", NULL, "exit 0 when the broker answers", "", ctl_show_ping, TIMEOUT_MS},
    {"stats", NULL, "memory, hits, loads, and what clients did wrong",
     "\n  --format FORMAT  table (default), json or prometheus\n", ctl_show_stats, TIMEOUT_MS},
    {"export", NULL, "serve the metrics to Prometheus over HTTP until SIGTERM",
     "Also where no broker runs: swbroker_up is 0 then. / tells where the metrics are.\n"
     "\n  --listen ADDRESS:PORT  default " CTL_EXPORT_LISTEN "; port 0: any that is free\n"
     "  --allow-remote         also where other machines can connect: there is no password\n",
     NULL, TIMEOUT_MS},
    {"ls", NULL, "every chunk: state, size, pins, uses, ticks since its last use",
     "States: resident; loading; absent (known, not in memory); unused (no client opened its "
     "model).\n",
     ctl_show_chunks, TIMEOUT_MS},
    {"models", NULL, "the catalog, and what is wrong with which model", "", ctl_show_models,
     TIMEOUT_MS},
    {"clients", NULL, "who is connected and what they pin", "", ctl_show_clients, TIMEOUT_MS},
    {"clear", "[MODEL[/COMPONENT]]", "evict what is resident and not pinned",
     "Pinned chunks stay, and the answer says how many.\n", ctl_show_clear, TIMEOUT_MS},
    {"resize", "SIZE", "change the cache's size",
     "SIZE in MB, or with a unit (512M, 2G), up to the broker's --max-cache-size. Shrinking "
     "evicts; what\n"
     "is pinned leaves when it is released.\n",
     ctl_show_resize, TIMEOUT_MS},
    {"warm", "MODEL[/COMPONENT]", "load it now, and wait until it is loaded", "", ctl_show_warm, 0},
    {"push", "MODEL", "fill the broker's Redis with a model from its files",
     "What is there already is passed over. Brokers without the files can serve it then.\n",
     ctl_show_push, 0},
    {"reload", NULL, "read the settings and look through the chunks directory again",
     "Says which settings changed and which wait for a restart; with a mistake in them nothing is\n"
     "reloaded.\n"
     "A replaced model is a new revision: workers that have the old one open finish on it.\n",
     ctl_show_reload, TIMEOUT_MS},
};
#define VERBS (sizeof verbs / sizeof verbs[0])

static void print_help(void)
{
    (void)printf("Usage: swctl [OPTION]... VERB [ARGUMENT]\n"
                 "Asks and tells the running swbrokerd.\n\n");
    for (size_t i = 0; i < VERBS; i++)
        (void)printf("  %-7s %-20s %s\n", verbs[i].name, verbs[i].argument ? verbs[i].argument : "",
                     verbs[i].help);
    (void)printf("\n"
                 "  --socket PATH   default $SW_SOCKET, else " SWI_DEFAULT_SOCKET "\n"
                 "  --json          print the broker's answer as JSON\n"
                 "  --version\n"
                 "  --help          also after a verb\n"
                 "\n"
                 "clear, resize, warm and reload are for root, the broker's own user and the "
                 "members of its\n"
                 "--admin-group.\n"
                 "Exit status: 0 done; 1 the broker reported a failure; 2 usage; 3 no broker.\n");
}

static void print_verb_help(const struct verb *verb)
{
    (void)printf("Usage: swctl [--socket PATH] [--json] %s%s%s\n%c%s.\n%s", verb->name,
                 verb->argument ? " " : "", verb->argument ? verb->argument : "",
                 verb->help[0] - ('a' <= verb->help[0] && verb->help[0] <= 'z' ? 'a' - 'A' : 0),
                 verb->help + 1, verb->more);
}

static int usage(const char *what, const char *problem)
{
    (void)fprintf(stderr, "swctl: %s %s; see swctl --help\n", what, problem);
    return EXIT_USAGE;
}

struct invocation {
    const char *socket_path;
    const char *format, *listen; /* NULL: not given */
    bool json, help, version, allow_remote;
    const struct verb *verb;
    const char *argument;
};

/* Returns 0 or the exit code. */
static int parse(int argc, char **argv, struct invocation *ret)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'},
        {"format", required_argument, NULL, 'f'}, {"listen", required_argument, NULL, 'l'},
        {"allow-remote", no_argument, NULL, 'r'}, {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {0}};
    opterr = 0; /* one line, ours */
    for (int id; (id = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        if (id == 's')
            ret->socket_path = optarg;
        else if (id == 'j')
            ret->json = true;
        else if (id == 'f')
            ret->format = optarg;
        else if (id == 'l')
            ret->listen = optarg;
        else if (id == 'r')
            ret->allow_remote = true;
        else if (id == 'v')
            ret->version = true;
        else if (id == 'h')
            ret->help = true;
        else
            return usage(argv[optind - 1],
                         id == ':' ? "needs a value" : "is no option of this program");
    }
    if (optind < argc) {
        for (size_t i = 0; i < VERBS; i++)
            if (strcmp(verbs[i].name, argv[optind]) == 0)
                ret->verb = &verbs[i];
        if (!ret->verb)
            return usage(argv[optind], "is no verb");
        optind++;
    }
    if (ret->help || ret->version)
        return 0;
    if (!ret->verb)
        return usage("a verb", "is missing");
    if (ret->format && strcmp(ret->verb->name, "stats") != 0)
        return usage("--format", "belongs to stats");
    if ((ret->listen || ret->allow_remote) && strcmp(ret->verb->name, "export") != 0)
        return usage(ret->listen ? "--listen" : "--allow-remote", "belongs to export");
    if (ret->format && strcmp(ret->format, "table") != 0 && strcmp(ret->format, "json") != 0 &&
        strcmp(ret->format, "prometheus") != 0)
        return usage("--format", "takes table, json or prometheus");
    ret->json = ret->json || (ret->format && strcmp(ret->format, "json") == 0);
    if (optind < argc)
        ret->argument = argv[optind++];
    if (optind < argc)
        return usage(argv[optind], "is one argument too many");
    if (ret->argument && !ret->verb->argument)
        return usage(ret->verb->name, "takes no argument");
    if (!ret->argument && ret->verb->argument && ret->verb->argument[0] != '[')
        return usage(ret->verb->name, "needs an argument");
    return 0;
}

/* MODEL or MODEL/COMPONENT into the request. False: too long, or a part of it is empty. */
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

/* New reference, or NULL after having said what is wrong. */
static json_t *make_request(const struct invocation *invocation)
{
    json_t *request = json_pack("{s:s}", "verb", invocation->verb->name);
    const char *argument = invocation->argument;
    bool good = request != NULL;
    if (good && argument && strcmp(invocation->verb->name, "resize") == 0) {
        uint64_t bytes;
        good = swi_size_parse(argument, &bytes) &&
               json_object_set_new(request, "bytes", json_integer((json_int_t)bytes)) == 0;
        if (!good)
            (void)usage(argument, "is no size, such as 512, 512M or 2G");
    } else if (good && argument) {
        good = put_target(request, argument);
        if (!good)
            (void)usage(argument, "is neither MODEL nor MODEL/COMPONENT");
    }
    if (good)
        return request;
    json_decref(request);
    return NULL;
}

static void print_metrics(const json_t *stats)
{
    char *text = metrics_format(stats);
    (void)fputs(text ? text : "", stdout);
    free(text);
}

static int run(const struct invocation *invocation)
{
    if (strcmp(invocation->verb->name, "export") == 0)
        return ctl_export(swi_socket_path(invocation->socket_path),
                          invocation->listen ? invocation->listen : CTL_EXPORT_LISTEN,
                          invocation->allow_remote);
    json_t *request = make_request(invocation);
    if (!request)
        return EXIT_USAGE;
    struct swi_error error = {0};
    json_t *reply = NULL;
    int result = ctl_ask(swi_socket_path(invocation->socket_path), request,
                         invocation->verb->timeout_ms, &reply, &error);
    json_decref(request);
    if (result < 0) {
        (void)fprintf(stderr, "swctl: %s\n", error.text);
        return result == SW_EQUOTA || result == SW_EVERSION ? EXIT_REFUSED : EXIT_NO_BROKER;
    }
    bool good = json_is_true(json_object_get(reply, "ok"));
    if (invocation->json) {
        (void)json_dumpf(reply, stdout, JSON_INDENT(2));
        (void)printf("\n");
    } else if (good && invocation->format && strcmp(invocation->format, "prometheus") == 0) {
        print_metrics(reply);
    } else if (good) {
        invocation->verb->show(reply);
    }
    if (!good) {
        const char *text = json_string_value(json_object_get(reply, "error"));
        (void)fprintf(stderr, "swctl: %s: %s\n", invocation->verb->name,
                      text ? text : "the broker reports a failure");
    }
    json_decref(reply);
    return good ? 0 : EXIT_REFUSED;
}

int main(int argc, char **argv)
{
    struct invocation invocation = {0};
    int result = parse(argc, argv, &invocation);
    if (result)
        return result;
    if (invocation.version)
        (void)printf("swctl " SW_VERSION_STRING "\n");
    else if (invocation.help && invocation.verb)
        print_verb_help(invocation.verb);
    else if (invocation.help)
        print_help();
    else
        result = run(&invocation);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fprintf(stderr, "swctl: cannot write to standard output\n");
        return EXIT_REFUSED;
    }
    return result;
}
