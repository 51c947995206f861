/* swbrokerd: options. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "broker.h"
#include "core/size.h"
#include "core/socket.h"
#include "log.h"

#define DEFAULT_CACHE_BYTES  (1ull << 30)
#define SMALLEST_CACHE_BYTES (1ull << 20)
#define DEFAULT_SESSIONS     256u

enum exit_code { EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char help[] =
    "Usage: swbrokerd --chunks-dir DIR [OPTION]...\n"
    "Keeps one verified copy of model weights in shared memory for every worker of this machine.\n"
    "Runs in the foreground until SIGTERM or SIGINT; SIGHUP looks through DIR again.\n"
    "\n"
    "  --chunks-dir DIR       a model's directory as swchunk wrote it, or a folder of them\n"
    "  --cache-size SIZE      memory for weights: MB, or with a unit (512M, 2G); default 1G\n"
    "  --max-cache-size SIZE  what swctl resize may grow it to; default four times the cache "
    "size,\n"
    "                         at most this machine's memory\n"
    "  --socket PATH          default $SW_SOCKET, else " SWI_DEFAULT_SOCKET "\n"
    "  --socket-mode MODE     permissions of the socket, octal; default 0660\n"
    "  --policy POLICY        lru, or next-use (default): evict what is needed furthest in the "
    "future\n"
    "  --io-engine ENGINE     uring, threads, or auto (default): uring where the kernel allows it\n"
    "  --max-sessions N       clients at once, 1 to 1024; default 256\n"
    "  --max-pinned SIZE      what one client may pin before its leases are revoked; default half\n"
    "                         of the cache\n"
    "  --redis-url URL        share chunks with other hosts through a Redis: redis://HOST:PORT/DB,\n"
    "                         unix:///PATH; default $SW_REDIS_URL (a password on the command line\n"
    "                         shows in ps)\n"
    "  --redis-mode MODE      read-write (default), read-only or write-only\n"
    "  --redis-order ORDER    local-first (default): Redis serves what the files cannot;\n"
    "                         redis-first: files serve what Redis cannot\n"
    "  --redis-timeout MS     for one answer; default 500\n"
    "  --redis-ttl SECONDS    how long what is written stays; default 0: as long as Redis keeps it\n"
    "  --redis-prefix PREFIX  of every key; default sw\n"
    "  --exit-when-idle SECONDS  end when the last client has been gone for so long\n"
    "  --trace FILE           write every use of a chunk to FILE, for swbench policy\n"
    "  --verbose              log every client and model\n"
    "  --version\n"
    "  --help\n";

/* what: "--policy" or the like; problem: what is wrong with it. */
static int usage(const char *what, const char *problem)
{
    (void)fprintf(stderr, "swbrokerd: %s %s; see swbrokerd --help\n", what, problem);
    return EXIT_USAGE;
}

enum option_id {
    OPTION_CHUNKS_DIR = 256,
    OPTION_CACHE_SIZE,
    OPTION_MAX_CACHE_SIZE,
    OPTION_SOCKET,
    OPTION_SOCKET_MODE,
    OPTION_POLICY,
    OPTION_IO_ENGINE,
    OPTION_MAX_SESSIONS,
    OPTION_MAX_PINNED,
    OPTION_EXIT_WHEN_IDLE,
    OPTION_TRACE,
    OPTION_REDIS_URL,
    OPTION_REDIS_MODE,
    OPTION_REDIS_ORDER,
    OPTION_REDIS_TIMEOUT,
    OPTION_REDIS_TTL,
    OPTION_REDIS_PREFIX,
    OPTION_VERBOSE,
    OPTION_VERSION,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"chunks-dir", required_argument, NULL, OPTION_CHUNKS_DIR},
    {"cache-size", required_argument, NULL, OPTION_CACHE_SIZE},
    {"max-cache-size", required_argument, NULL, OPTION_MAX_CACHE_SIZE},
    {"socket", required_argument, NULL, OPTION_SOCKET},
    {"socket-mode", required_argument, NULL, OPTION_SOCKET_MODE},
    {"policy", required_argument, NULL, OPTION_POLICY},
    {"io-engine", required_argument, NULL, OPTION_IO_ENGINE},
    {"max-sessions", required_argument, NULL, OPTION_MAX_SESSIONS},
    {"max-pinned", required_argument, NULL, OPTION_MAX_PINNED},
    {"exit-when-idle", required_argument, NULL, OPTION_EXIT_WHEN_IDLE},
    {"trace", required_argument, NULL, OPTION_TRACE},
    {"redis-url", required_argument, NULL, OPTION_REDIS_URL},
    {"redis-mode", required_argument, NULL, OPTION_REDIS_MODE},
    {"redis-order", required_argument, NULL, OPTION_REDIS_ORDER},
    {"redis-timeout", required_argument, NULL, OPTION_REDIS_TIMEOUT},
    {"redis-ttl", required_argument, NULL, OPTION_REDIS_TTL},
    {"redis-prefix", required_argument, NULL, OPTION_REDIS_PREFIX},
    {"verbose", no_argument, NULL, OPTION_VERBOSE},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"help", no_argument, NULL, OPTION_HELP},
    {0},
};

static bool parse_number(const char *text, int base, unsigned long most, unsigned long *ret)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, base);
    if (text[0] < '0' || text[0] > '9' || *end || errno || value > most)
        return false;
    *ret = value;
    return true;
}

static const char *take_redis(struct redis_options *options, int id, const char *value)
{
    unsigned long number;
    switch (id) {
    case OPTION_REDIS_URL:
        options->url = value;
        return value[0] ? NULL : "a URL";
    case OPTION_REDIS_MODE:
        options->mode = value[0] == 'w'    ? REDIS_WRITE_ONLY
                        : value[5] == 'w' ? REDIS_READ_WRITE
                                          : REDIS_READ_ONLY;
        return strcmp(value, "read-write") == 0 || strcmp(value, "read-only") == 0 ||
                       strcmp(value, "write-only") == 0
                   ? NULL
                   : "read-write, read-only or write-only";
    case OPTION_REDIS_ORDER:
        options->order = value[0] == 'l' ? REDIS_LOCAL_FIRST : REDIS_REDIS_FIRST;
        return strcmp(value, "local-first") == 0 || strcmp(value, "redis-first") == 0
                   ? NULL
                   : "local-first or redis-first";
    case OPTION_REDIS_TIMEOUT:
        if (!parse_number(value, 10, REDIS_TIMEOUT_MS_MAX, &number) || number == 0)
            return "milliseconds from 1 to 60000";
        options->timeout_ms = (uint32_t)number;
        return NULL;
    case OPTION_REDIS_TTL:
        if (!parse_number(value, 10, REDIS_TTL_S_MAX, &number))
            return "seconds, or 0";
        options->ttl_s = (uint32_t)number;
        return NULL;
    default:
        options->prefix = value;
        return value[0] ? NULL : "a prefix";
    }
}

/* Returns what is expected when the value is not that, else NULL. */
static const char *take_value(struct broker_options *options, int id, const char *value)
{
    unsigned long number;
    if (id >= OPTION_REDIS_URL && id <= OPTION_REDIS_PREFIX)
        return take_redis(&options->redis, id, value);
    switch (id) {
    case OPTION_CHUNKS_DIR:
        options->chunks_dir = value;
        return value[0] ? NULL : "a directory";
    case OPTION_CACHE_SIZE:
        return swi_size_parse(value, &options->cache_bytes) &&
                       options->cache_bytes >= SMALLEST_CACHE_BYTES
                   ? NULL
                   : "a size of at least 1 MB, such as 512, 512M or 2G";
    case OPTION_MAX_CACHE_SIZE:
        return swi_size_parse(value, &options->max_cache_bytes) ? NULL
                                                                : "a size, such as 512, 512M or 2G";
    case OPTION_MAX_PINNED:
        return swi_size_parse(value, &options->max_pinned_bytes)
                   ? NULL
                   : "a size, such as 512, 512M or 2G";
    case OPTION_TRACE:
        options->trace_path = value;
        return value[0] ? NULL : "a file to write";
    case OPTION_SOCKET:
        options->socket_path = value;
        return value[0] ? NULL : "a path";
    case OPTION_SOCKET_MODE:
        if (!parse_number(value, 8, 0777, &number))
            return "an octal mode, such as 0660";
        options->socket_mode = (mode_t)number;
        return NULL;
    case OPTION_MAX_SESSIONS:
        if (!parse_number(value, 10, SWI_SESSIONS, &number) || number == 0)
            return "a number from 1 to 1024";
        options->max_sessions = (uint32_t)number;
        return NULL;
    case OPTION_EXIT_WHEN_IDLE:
        if (!parse_number(value, 10, IDLE_MAX_S, &number))
            return "a number of seconds up to 86400";
        options->idle_s = (uint32_t)number;
        return NULL;
    case OPTION_POLICY:
        options->policy = value[0] == 'l' ? CACHE_POLICY_LRU : CACHE_POLICY_NEXT_USE;
        return strcmp(value, "lru") == 0 || strcmp(value, "next-use") == 0 ? NULL
                                                                           : "lru or next-use";
    default:
        options->engine = value[0] == 'u'   ? CACHE_ENGINE_URING
                          : value[0] == 't' ? CACHE_ENGINE_THREADS
                                            : CACHE_ENGINE_AUTO;
        return strcmp(value, "auto") == 0 || strcmp(value, "uring") == 0 ||
                       strcmp(value, "threads") == 0
                   ? NULL
                   : "auto, uring or threads";
    }
}

/* Returns -1 to go on, or the exit code. */
static int parse_options(int argc, char **argv, struct broker_options *options)
{
    opterr = 0; /* one line, ours */
    for (;;) {
        int index = 0;
        int id = getopt_long(argc, argv, ":", long_options, &index);
        if (id == -1)
            break;
        if (id == OPTION_HELP || id == OPTION_VERSION) {
            (void)printf("%s", id == OPTION_HELP ? help : "swbrokerd " SW_VERSION_STRING "\n");
            return fflush(stdout) == 0 ? 0 : EXIT_FAILED;
        }
        if (id == ':')
            return usage(argv[optind - 1], "needs a value");
        if (id == '?')
            return usage(argv[optind - 1], "is no option of this program");
        if (id == OPTION_VERBOSE) {
            options->verbose = true;
            continue;
        }
        const char *expected = take_value(options, id, optarg);
        if (expected) {
            (void)fprintf(stderr, "swbrokerd: --%s takes %s, not \"%s\"\n",
                          long_options[index].name, expected, optarg);
            return EXIT_USAGE;
        }
    }
    if (optind < argc)
        return usage(argv[optind], "belongs to no option");
    if (!options->chunks_dir)
        return usage("--chunks-dir", "is missing: it names the directory of models to serve");
    return -1;
}

/* Address space only, so that generosity is cheap; but a bound on what a mistyped resize can do. */
static uint64_t default_maximum(uint64_t cache_bytes)
{
    struct sysinfo info;
    uint64_t memory = sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0;
    uint64_t maximum = cache_bytes * 4 < memory ? cache_bytes * 4 : memory;
    return maximum > cache_bytes ? maximum : cache_bytes;
}

int main(int argc, char **argv)
{
    struct broker_options options = {.cache_bytes = DEFAULT_CACHE_BYTES,
                                     .socket_path = swi_socket_path(NULL),
                                     .socket_mode = 0660,
                                     .policy = CACHE_POLICY_NEXT_USE,
                                     .engine = CACHE_ENGINE_AUTO,
                                     .max_sessions = DEFAULT_SESSIONS,
                                     .redis = {.url = getenv("SW_REDIS_URL"),
                                               .timeout_ms = REDIS_TIMEOUT_MS_DEFAULT,
                                               .prefix = REDIS_PREFIX_DEFAULT},
                                     .idle_s = IDLE_NEVER};
    int done = parse_options(argc, argv, &options);
    if (done >= 0)
        return done;
    if (!options.max_cache_bytes)
        options.max_cache_bytes = default_maximum(options.cache_bytes);
    if (options.max_cache_bytes < options.cache_bytes)
        return usage("--max-cache-size", "is smaller than --cache-size");
    log_start(options.verbose);
    struct swi_error error = {0};
    int result = broker_run(&options, &error);
    if (result < 0) {
        log_error("%s", error.text[0] ? error.text : sw_strerror(result));
        return EXIT_FAILED;
    }
    return 0;
}
