/* SPDX-License-Identifier: MIT */
/* See broker_world.h. */
#include "broker_world.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/manifest.h"
#include "daemon/run.h"
#include "daemon/takeover.h"
#include "fuzz.h"
#include "operator/pins.h"
#include "operator/verify.h"
#include "replay/trace_file.h"
#include "session/accept.h"

#define SETTLING_TURNS 20000

const char *const world_models[2] = {"good", "spoiled"};

static struct broker broker;
static char directory[64], socket_path[128], catalog[128];
static struct settings settings; /* for an operator who has them read again */
static int trace_fd = -1;

/* ---- the catalog ----------------------------------------------------------------------------- */

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wbe");
    FUZZ_CHECK(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static void make_model(const char *model, bool spoiled)
{
    static uint8_t bytes[WORLD_CHUNK];
    static char names[WORLD_CHUNKS][32], files[WORLD_CHUNKS][64];
    struct swi_manifest_chunk chunks[WORLD_CHUNKS];
    char path[512], layout[] = "rows", dtype[] = "F32", type[] = "bert", *text;
    (void)snprintf(path, sizeof path, "%s/catalog/%s", directory, model);
    FUZZ_CHECK(mkdir(path, 0700) == 0);
    for (uint32_t i = 0; i < WORLD_CHUNKS; i++) {
        for (size_t j = 0; j < sizeof bytes; j++)
            bytes[j] = (uint8_t)(j * 31 + i);
        (void)snprintf(names[i], sizeof names[i], "layer_%u", i);
        (void)snprintf(files[i], sizeof files[i], "layer_%u.safetensors", i);
        chunks[i] = (struct swi_manifest_chunk){.name = names[i],
                                                .file = files[i],
                                                .bytes = sizeof bytes,
                                                .digest = swi_digest_of(bytes, sizeof bytes)};
        bytes[7] ^= spoiled && i == 1;
        (void)snprintf(path, sizeof path, "%s/catalog/%s/%s", directory, model, files[i]);
        write_file(path, bytes, sizeof bytes);
    }
    struct swi_manifest manifest = {.model_name = names[0],
                                    .model_type = type,
                                    .layout = layout,
                                    .dtype = dtype,
                                    .num_layers = WORLD_CHUNKS,
                                    .chunks = chunks,
                                    .count = WORLD_CHUNKS,
                                    .total_bytes = WORLD_CHUNKS * sizeof bytes};
    FUZZ_CHECK(swi_manifest_render(&manifest, &text) == 0);
    (void)snprintf(path, sizeof path, "%s/catalog/%s/" SWI_MANIFEST_FILE, directory, model);
    write_file(path, text, strlen(text));
    free(text);
    (void)snprintf(path, sizeof path, "%s/catalog/%s/config.json", directory, model);
    write_file(path, "{}", 2);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static void remove_directory(void)
{
    (void)nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void start(void)
{
    static char name[] = "swbrokerd", config[] = "--config", nothing[] = "/dev/null";
    static char flag[] = "--chunks-dir";
    static char *arguments[] = {name, config, nothing, flag, catalog, NULL};
    enum settings_action action;
    struct swi_error error = {0};
    struct catalog_changes changes;
    const char *parent = getenv("TMPDIR");
    (void)snprintf(directory, sizeof directory, "%.40s/sw-fuzz-XXXXXX", parent ? parent : "/tmp");
    FUZZ_CHECK(mkdtemp(directory) != NULL && atexit(remove_directory) == 0);
    (void)snprintf(catalog, sizeof catalog, "%s/catalog", directory);
    (void)snprintf(socket_path, sizeof socket_path, "%s/socket", directory);
    FUZZ_CHECK(mkdir(catalog, 0700) == 0);
    for (int i = 0; i < 2; i++)
        make_model(world_models[i], i == 1);
    (void)signal(SIGPIPE, SIG_IGN);
    const struct cache_options cache_options = {.budget_bytes = WORLD_BUDGET,
                                                .max_bytes = 4 * WORLD_BUDGET,
                                                .policy = POLICY_NEXT_USE,
                                                .engine = LOADER_AUTO,
                                                .session_bytes = WORLD_BUDGET / 2};
    int result = settings_load(5, arguments, &settings, &action, &error);
    broker_init(&broker, &settings);
    broker.options = (struct broker_options){.socket_path = socket_path,
                                             .cache_bytes = WORLD_BUDGET,
                                             .max_cache_bytes = 4 * WORLD_BUDGET,
                                             .max_sessions = 3};
    if (result == 0)
        result = loop_create(&broker.loop, &error);
    if (result == 0)
        result = catalog_create(catalog, &broker.catalog, &error);
    if (result == 0)
        result = listener_open(socket_path, 0600, &broker.listener, &error);
    if (result == 0)
        result = takeover_memory(&broker, &cache_options, &error);
    if (result == 0) {
        broker_connect(&broker);
        result = catalog_scan(broker.catalog, &changes, &error);
    }
    if (result == 0)
        result = sessions_start(&broker.sessions, broker.listener.fd, &error);
    if (result < 0)
        (void)fprintf(stderr, "no broker: %s\n", error.text);
    FUZZ_CHECK(result == 0 && broker.catalog->count == 2);
}

struct broker *world_broker(void)
{
    if (!broker.loop)
        start();
    return &broker;
}

int world_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "%.100s", socket_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    FUZZ_CHECK(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

bool world_turn(int timeout_ms)
{
    static bool more;
    loop_turn(broker.loop, more ? 0 : timeout_ms);
    more = cache_dispatch(broker.cache, loop_now());
    more = verify_step(&broker.control) || more;
    sessions_reap(&broker.sessions);
    return more;
}

bool world_busy(void)
{
    struct cache_stats stats;
    cache_get_stats(broker.cache, &stats);
    return stats.loading > 0 || stats.queued > 0;
}

/* ---- recording ------------------------------------------------------------------------------- */

void world_trace_start(void)
{
    char path[64];
    struct swi_error error = {0};
    if (broker.sessions.trace)
        return;
    trace_fd = memfd_create("trace", MFD_CLOEXEC);
    FUZZ_CHECK(trace_fd >= 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", trace_fd);
    FUZZ_CHECK(trace_open(path, broker.cache, loop_now(), &broker.sessions.trace, &error) == 0);
}

void world_trace_end(void)
{
    struct trace_log log;
    struct swi_error error = {0};
    if (trace_fd < 0)
        return;
    trace_close(broker.sessions.trace, loop_now());
    broker.sessions.trace = NULL;
    FUZZ_CHECK(lseek(trace_fd, 0, SEEK_SET) == 0);
    FILE *file = fdopen(trace_fd, "re");
    FUZZ_CHECK(file != NULL);
    int result = trace_log_read(file, &log, &error);
    if (result < 0)
        (void)fprintf(stderr, "what was recorded is no trace: %s\n", error.text);
    FUZZ_CHECK(result == 0 && log.complete);
    trace_log_fini(&log);
    (void)fclose(file);
    trace_fd = -1;
}

/* ---- between inputs -------------------------------------------------------------------------- */

static bool settled(void)
{
    return broker.sessions.connection_count == 0 && TAILQ_EMPTY(&broker.sessions.doomed) &&
           !world_busy();
}

void world_settle(void)
{
    struct swi_error error = {0};
    struct cache_stats stats;
    for (int i = 0; !settled() && i < SETTLING_TURNS; i++)
        (void)world_turn(1);
    FUZZ_CHECK(settled() && broker.sessions.attached_count == 0 &&
               TAILQ_EMPTY(&broker.control.verifies));
    for (int i = 0; i < 2; i++)
        (void)pins_remove(&broker.control, world_models[i], NULL);
    FUZZ_CHECK(TAILQ_EMPTY(&broker.control.pins));
    FUZZ_CHECK(cache_resize(broker.cache, WORLD_BUDGET, &error) == 0);
    (void)cache_clear(broker.cache, NULL, NULL);
    cache_get_stats(broker.cache, &stats);
    FUZZ_CHECK(stats.resident_bytes == 0 && stats.pinned_bytes == 0 && stats.chunks_resident == 0);
    FUZZ_CHECK(broker.catalog->count == 2);
}
