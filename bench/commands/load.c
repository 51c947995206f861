/* SPDX-License-Identifier: MIT */
/* swbench load: the rate at which a chunk is loaded from the disk into the arena and verified.
 *
 * The daemon's cache runs in this process, without the daemon's sockets: open, O_DIRECT reads into
 * the arena, XXH3-128, publication. Baselines, in each round:
 *   - fio with io_uring and O_DIRECT at the loader's block size and depth, which discards the data;
 *   - mmap of the file, touching every page;
 *   - read() into fresh private memory.
 * The page cache holds none of the file when a measurement starts. Disks of virtual machines vary
 * between runs, so the ratio is the median of ratios of adjacent measurements, not a ratio of
 * medians.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cache/cache.h"
#include "lib/crew.h"
#include "lib/options.h"
#include "loader/loader.h"

#define PIECE (UINT64_C(1) << 20)

struct settings {
    unsigned pairs, mebibytes;
    const char *directory;
    enum loader_engine engine;
    bool json;
};

static bool take_engine(const char *text, void *place)
{
    static const char *const names[] = {
        [LOADER_AUTO] = "auto", [LOADER_URING] = "uring", [LOADER_THREADS] = "threads"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(text, names[i]) == 0) {
            *(enum loader_engine *)place = (enum loader_engine)i;
            return true;
        }
    return false;
}

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.pairs = 15, .mebibytes = 256, .directory = "/tmp"};
    const struct cli_option table[] = {
        {"pairs", "N", "measurements of each kind (default: 15)", .number = &settings.pairs,
         .least = 1, .most = 10000},
        {"size", "MIB", "size of the chunk (default: 256)", .number = &settings.mebibytes,
         .least = 1, .most = 65536},
        {"directory", "DIR", "directory on the disk to measure (default: /tmp)",
         .text = &settings.directory},
        {"io-engine", "E", "auto, uring or threads (default: auto)", .take = take_engine,
         .place = &settings.engine, .expected = "auto, uring or threads"},
        {0},
    };
    bench_parse(argc, argv, "load",
                "Load and verify a cold chunk, and compare with fio, mmap and read().", table,
                &settings.json);
    return settings;
}

/* ---- the files ------------------------------------------------------------------------------- */

struct file {
    int fd; /* of a file without a name: nothing is left behind, however this program ends */
    char path[64];
    uint64_t bytes;
    struct swi_digest digest;
};

static void make_file(struct file *file, const struct settings *settings, uint64_t seed)
{
    char name[512];
    (void)snprintf(name, sizeof name, "%s/swbench-load-XXXXXX", settings->directory);
    file->fd = mkostemp(name, O_CLOEXEC);
    if (file->fd < 0 || unlink(name) < 0)
        bench_die("cannot create a file in %s: %s", settings->directory, strerror(errno));
    (void)snprintf(file->path, sizeof file->path, "/proc/%d/fd/%d", (int)getpid(), file->fd);
    file->bytes = settings->mebibytes * PIECE;
    swi_hasher *hasher = swi_hasher_create();
    uint64_t *piece = malloc(PIECE);
    if (!hasher || !piece)
        bench_die("out of memory");
    for (uint64_t at = 0; at < file->bytes; at += PIECE) {
        for (size_t i = 0; i < PIECE / sizeof *piece; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            piece[i] = seed;
        }
        if (pwrite(file->fd, piece, PIECE, (off_t)at) != (ssize_t)PIECE)
            bench_die("cannot write %llu MiB to %s: %s", (unsigned long long)(file->bytes >> 20),
                      settings->directory, strerror(errno));
        swi_hasher_update(hasher, piece, PIECE);
    }
    file->digest = swi_hasher_digest(hasher);
    swi_hasher_destroy(hasher);
    free(piece);
    if (fsync(file->fd) < 0)
        bench_die("cannot write to %s: %s", settings->directory, strerror(errno));
}

static void drop_page_cache(const struct file *file)
{
    int result = posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
    if (result != 0)
        bench_die("cannot drop the file from the page cache: %s", strerror(result));
}

/* ---- one measurement ------------------------------------------------------------------------- */

struct measured {
    double gb_per_s, cpu_s_per_gb;
};

struct start {
    uint64_t wall_ns;
    double cpu_s;
};

static double cpu_seconds(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static struct start begin(const struct file *file)
{
    drop_page_cache(file);
    return (struct start){.cpu_s = cpu_seconds(), .wall_ns = bench_now_ns()};
}

static struct measured end(const struct start *start, const struct file *file)
{
    double gigabytes = (double)file->bytes * 1e-9;
    double seconds = (double)(bench_now_ns() - start->wall_ns) * 1e-9;
    return (struct measured){.gb_per_s = gigabytes / seconds,
                             .cpu_s_per_gb = (cpu_seconds() - start->cpu_s) / gigabytes};
}

static int open_file(void *context, uint32_t ordinal, struct swi_error *error)
{
    (void)ordinal;
    const struct file *file = context;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? swi_fail(error, -errno, "cannot open: %s", strerror(errno)) : fd;
}

static uint32_t register_file(struct cache *cache, struct file *file, uint32_t ordinal)
{
    const struct cache_chunk chunk = {
        .model = "bench",
        .name = ordinal == 0 ? "first" : "second",
        .ordinal = ordinal,
        .model_size = 2,
        .incarnation = 1,
        .bytes = file->bytes,
        .digest = file->digest,
        .source = {.open = open_file, .context = file},
    };
    uint32_t id;
    if (cache_register(cache, &chunk, &id) < 0)
        bench_die("cannot register a chunk");
    return id;
}

struct waiting {
    struct cache_waiter waiter;
    bool done;
};

static void loaded(struct cache_waiter *waiter, int status, const char *message)
{
    if (status < 0)
        bench_die("%s", message);
    ((struct waiting *)(void *)waiter)->done = true;
}

/* The part of the daemon's loop that the cache needs. */
static void run_until(struct cache *cache, const bool *done)
{
    for (;;) {
        bool more = cache_dispatch(cache, bench_now_ns());
        if (*done)
            return;
        struct pollfd poll_fd = {.fd = cache_poll_fd(cache), .events = POLLIN};
        if (!more)
            (void)poll(&poll_fd, 1, cache_timeout_ms(cache, bench_now_ns()));
    }
}

static struct measured measure_load(struct cache *cache, uint32_t id, const struct file *file)
{
    struct waiting waiting = {.waiter = {.done = loaded, .session = SWI_SESSIONS}};
    struct start start = begin(file);
    cache_request(cache, id, CACHE_DEMAND, &waiting.waiter, bench_now_ns());
    run_until(cache, &waiting.done);
    return end(&start, file);
}

static struct measured measure_mmap(const struct file *file)
{
    struct start start = begin(file);
    const volatile uint8_t *bytes = mmap(NULL, file->bytes, PROT_READ, MAP_SHARED, file->fd, 0);
    if (bytes == MAP_FAILED)
        bench_die("cannot map the file: %s", strerror(errno));
    for (uint64_t at = 0; at < file->bytes; at += 4096)
        (void)bytes[at];
    struct measured measured = end(&start, file);
    (void)munmap((void *)(uintptr_t)bytes, file->bytes);
    return measured;
}

static struct measured measure_read(const struct file *file)
{
    struct start start = begin(file);
    uint8_t *copy =
        mmap(NULL, file->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        bench_die("out of memory");
    for (uint64_t at = 0; at < file->bytes;) {
        ssize_t got = pread(file->fd, copy + at, PIECE, (off_t)at);
        if (got <= 0)
            bench_die("cannot read the file: %s", strerror(errno));
        at += (uint64_t)got;
    }
    struct measured measured = end(&start, file);
    (void)munmap(copy, file->bytes);
    return measured;
}

/* The time in ms that a newly attached client takes to touch every page of the chunk. */
static double measure_first_touch(struct cache *cache, uint32_t id, const struct file *file)
{
    struct swi_entry_value entry = swi_entry_get(cache_index(cache), id);
    uint64_t bytes = cache_max_bytes(cache);
    uint8_t *room =
        mmap(NULL, bytes + SWI_BLOCK_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        bench_die("out of address space");
    uintptr_t base = ((uintptr_t)room + SWI_BLOCK_BYTES - 1) / SWI_BLOCK_BYTES * SWI_BLOCK_BYTES;
    const volatile uint8_t *arena = mmap(room + (base - (uintptr_t)room), bytes, PROT_READ,
                                         MAP_SHARED | MAP_FIXED, cache_arena_fd(cache), 0);
    if (arena == MAP_FAILED || entry.state != SWI_RESIDENT)
        bench_die("cannot map the arena: %s", strerror(errno));
    uint64_t begun_ns = bench_now_ns();
    for (uint64_t at = 0; at < file->bytes; at += 4096)
        (void)arena[entry.offset + at];
    double ms = (double)(bench_now_ns() - begun_ns) * 1e-6;
    (void)munmap(room, bytes + SWI_BLOCK_BYTES);
    return ms;
}

/* From fio's figures, so that its start does not count. */
static struct measured measure_fio(const struct file *file)
{
    char command[512];
    (void)snprintf(command, sizeof command,
                   "exec fio --name=load --filename=%s --readonly --rw=read --ioengine=io_uring "
                   "--direct=1 --bs=%u --iodepth=%u --size=%llu --output-format=json 2>/dev/null",
                   file->path, LOADER_SEGMENT_BYTES, LOADER_DEPTH, (unsigned long long)file->bytes);
    drop_page_cache(file);
    FILE *pipe = popen(command, "re");
    if (!pipe)
        bench_die("cannot start fio: %s", strerror(errno));
    json_error_t problem;
    json_t *root = json_loadf(pipe, 0, &problem);
    if (pclose(pipe) != 0 || !root)
        bench_die("fio failed; run it yourself: %s", command);
    const json_t *job = json_array_get(json_object_get(root, "jobs"), 0);
    const json_t *reading = json_object_get(job, "read");
    double rate = (double)json_integer_value(json_object_get(reading, "bw_bytes")) * 1e-9;
    double percent = json_number_value(json_object_get(job, "usr_cpu")) +
                     json_number_value(json_object_get(job, "sys_cpu"));
    json_decref(root);
    if (!(rate > 0))
        bench_die("fio reported no rate");
    return (struct measured){.gb_per_s = rate, .cpu_s_per_gb = percent / 100 / rate};
}

/* ---- all of it ------------------------------------------------------------------------------- */

enum way { LOAD, REPLACE, FIO, MMAP, READ, WAYS };
static const char *const way_keys[] = {"load", "replace", "baseline", "mmap", "read"};
static const char *const way_labels[] = {"into free room of the arena",
                                         "in place of an evicted chunk", "fio, io_uring O_DIRECT",
                                         "mmap, every page touched", "read() into private memory"};

struct figures {
    struct series rate[WAYS], cpu[WAYS];
    struct series load_ratio, replace_ratio, mmap_ratio, read_ratio; /* of neighbours */
    struct series first_touch_ms;
};

static struct measured note(struct figures *figures, enum way way, struct measured measured)
{
    series_add(&figures->rate[way], measured.gb_per_s);
    series_add(&figures->cpu[way], measured.cpu_s_per_gb);
    return measured;
}

/* Each kind once. The two that are compared with fio run next to it, before and after it in turns.
 */
static void run_round(struct figures *figures, struct cache *cache, struct file files[2],
                      const uint32_t ids[2], bool with_fio, bool fio_first)
{
    struct measured fio = {.gb_per_s = (double)NAN, .cpu_s_per_gb = (double)NAN};
    (void)cache_clear(cache, NULL, NULL);
    if (with_fio && fio_first)
        fio = note(figures, FIO, measure_fio(&files[0]));
    struct measured load = note(figures, LOAD, measure_load(cache, ids[0], &files[0]));
    if (with_fio && !fio_first)
        fio = note(figures, FIO, measure_fio(&files[0]));
    struct measured replace = note(figures, REPLACE, measure_load(cache, ids[1], &files[1]));
    series_add(&figures->first_touch_ms, measure_first_touch(cache, ids[1], &files[1]));
    struct measured mapped = note(figures, MMAP, measure_mmap(&files[0]));
    struct measured copied = note(figures, READ, measure_read(&files[0]));
    if (with_fio) {
        series_add(&figures->load_ratio, load.gb_per_s / fio.gb_per_s);
        series_add(&figures->replace_ratio, replace.gb_per_s / fio.gb_per_s);
    }
    series_add(&figures->mmap_ratio, load.gb_per_s / mapped.gb_per_s);
    series_add(&figures->read_ratio, load.gb_per_s / copied.gb_per_s);
}

static void put_ratio(struct report *report, const char *key, struct series *series,
                      const char *label)
{
    char name[64], text[64];
    report_number(report, key, series_median(series), 3, NULL);
    (void)snprintf(name, sizeof name, "%s_quartile_low", key);
    report_number(report, name, series_quantile(series, 0.25), 3, NULL);
    (void)snprintf(name, sizeof name, "%s_quartile_high", key);
    report_number(report, name, series_quantile(series, 0.75), 3, NULL);
    (void)snprintf(text, sizeof text, "%.3f  (%.3f to %.3f)", series_median(series),
                   series_quantile(series, 0.25), series_quantile(series, 0.75));
    report_string(report, "", series->count ? text : "not measured", label);
}

static void print(const struct settings *settings, struct figures *figures,
                  const struct cache_stats *stats)
{
    struct report report;
    char key[64], label[96], text[96];
    report_init(&report, "load");
    report_string(&report, "io_engine", stats->io_engine, "engine");
    report_integer(&report, "file_bytes", (int64_t)(settings->mebibytes * PIECE), "chunk, bytes");
    report_integer(&report, "block_bytes", LOADER_SEGMENT_BYTES, NULL);
    report_integer(&report, "depth", LOADER_DEPTH, NULL);
    report_integer(&report, "pairs", settings->pairs, "rounds");
    report_integer(&report, "huge_bytes", (int64_t)stats->huge_bytes, NULL);
    report_string(&report, "page_cache", "cold: dropped before each measurement", NULL);
    for (int way = 0; way < WAYS; way++) {
        double rate = series_median(&figures->rate[way]);
        double cpu = series_median(&figures->cpu[way]);
        (void)snprintf(key, sizeof key, "%s_gb_per_s", way_keys[way]);
        report_number(&report, key, rate, 2, NULL);
        (void)snprintf(key, sizeof key, "%s_cpu_seconds_per_gb", way_keys[way]);
        report_number(&report, key, cpu, 3, NULL);
        (void)snprintf(label, sizeof label, "%s, GB/s, CPU s/GB", way_labels[way]);
        (void)snprintf(text, sizeof text, "%.2f  %.3f", rate, cpu);
        report_string(&report, "", figures->rate[way].count ? text : "not measured", label);
    }
    put_ratio(&report, "ratio", &figures->load_ratio, "free room / fio, median (quartiles)");
    put_ratio(&report, "replace_ratio", &figures->replace_ratio, "replacing / fio");
    put_ratio(&report, "ratio_mmap", &figures->mmap_ratio, "free room / mmap");
    put_ratio(&report, "ratio_read", &figures->read_ratio, "free room / read()");
    report_number(&report, "first_touch_ms", series_median(&figures->first_touch_ms), 2,
                  "first touch of the chunk by a new client, ms");
    json_object_del(report.root, "");
    report_print(&report, settings->json);
}

int bench_load(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct file files[2];
    uint32_t ids[2];
    struct figures figures = {0};
    struct cache *cache;
    struct swi_error error;
    bool with_fio = bench_installed("fio");
    for (uint32_t i = 0; i < 2; i++)
        make_file(&files[i], &settings, i + 1);
    const struct cache_options options = {
        .budget_bytes = files[0].bytes + PIECE, /* room for one of the two */
        .max_bytes = files[0].bytes + PIECE,
        .engine = settings.engine,
        .policy = POLICY_NEXT_USE,
    };
    if (cache_create(&options, &cache, &error) < 0)
        bench_die("%s", error.text);
    for (uint32_t i = 0; i < 2; i++)
        ids[i] = register_file(cache, &files[i], i);
    for (uint32_t i = 0; i < 2; i++) /* the arena's memory is there, as in a daemon that has run */
        (void)measure_load(cache, ids[i], &files[i]);
    for (unsigned pair = 0; pair < settings.pairs; pair++)
        run_round(&figures, cache, files, ids, with_fio, pair % 2 == 0);
    struct cache_stats stats;
    cache_get_stats(cache, &stats);
    print(&settings, &figures, &stats);
    cache_destroy(cache);
    for (uint32_t i = 0; i < 2; i++)
        (void)close(files[i].fd);
    for (int way = 0; way < WAYS; way++) {
        series_fini(&figures.rate[way]);
        series_fini(&figures.cpu[way]);
    }
    series_fini(&figures.first_touch_ms);
    series_fini(&figures.load_ratio);
    series_fini(&figures.replace_ratio);
    series_fini(&figures.mmap_ratio);
    series_fini(&figures.read_ratio);
    return 0;
}
