/* SPDX-License-Identifier: MIT */
/* swbench touch: the cost for a new client of touching resident weights for the first time.
 *
 * A process connects, leases chunks until it has 256 MB, and reads one byte of each 4 KiB page: the
 * cost is that of the page faults. Baselines, in alternation: as many bytes of a shared-memory
 * object on small pages (an arena without huge pages), and of chunk files mapped from a warm page
 * cache.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crew.h"
#include "lib/options.h"

#define TOUCHED_BYTES (UINT64_C(256) << 20)
#define PAGE          4096u
#define HUGE_WAIT_NS  UINT64_C(60000000000)

struct settings {
    struct stage_options stage;
    unsigned rounds;
    bool json;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.stage = {.shape = "bert-base", .synth = {"--dtype", "f32"}},
                                .rounds = 15};
    const struct cli_option table[] = {
        {"model", "DIR", "a chunk directory (default: a synthetic bert-base, f32)",
         .text = &settings.stage.model},
        {"rounds", "N", "number of rounds (default: 15)", .number = &settings.rounds, .least = 1,
         .most = 10000},
        {0},
    };
    bench_parse(argc, argv, "touch",
                "Measure a new client's first touch of 256 MB of resident weights.", table,
                &settings.json);
    return settings;
}

/* ---- touching -------------------------------------------------------------------------------- */

enum way { ARENA, SMALL_PAGES, FILES };

struct touching {
    const struct stage *stage;
    enum way way;
    int small_fd; /* of the object on small pages */
    uint64_t bytes;
};

static uint64_t touch(const void *data, uint64_t bytes)
{
    const volatile unsigned char *at = data;
    unsigned sum = 0;
    uint64_t start = bench_now_ns();
    for (uint64_t i = 0; i < bytes; i += PAGE)
        sum += at[i];
    uint64_t elapsed = bench_now_ns() - start;
    (void)sum;
    return elapsed;
}

static uint64_t touch_arena(const struct touching *touching)
{
    sw_client *client = stage_connect(touching->stage, "swbench touch");
    sw_model *model;
    bench_check(sw_model_open(client, touching->stage->model_name, &model), client, "swbench");
    uint64_t elapsed = 0, left = touching->bytes;
    uint32_t count = sw_model_component_count(model);
    for (uint32_t i = 0; i < count && left > 0; i++) {
        struct sw_lease lease;
        bench_check(sw_lease_try_acquire(model, i, &lease), client, "a chunk is not resident");
        uint64_t bytes = lease.bytes < left ? lease.bytes : left;
        elapsed += touch(lease.data, bytes);
        left -= bytes;
        bench_check(sw_lease_release(&lease), client, "swbench");
    }
    sw_model_close(model);
    sw_client_close(client);
    return elapsed;
}

static uint64_t touch_small(const struct touching *touching)
{
    void *data = mmap(NULL, touching->bytes, PROT_READ, MAP_SHARED, touching->small_fd, 0);
    if (data == MAP_FAILED)
        bench_die("cannot map shared memory: %s", strerror(errno));
    return touch(data, touching->bytes);
}

static uint64_t touch_files(const struct touching *touching)
{
    uint64_t elapsed = 0, left = touching->bytes;
    DIR *directory = opendir(touching->stage->model_path);
    if (!directory)
        bench_die("%s: %s", touching->stage->model_path, strerror(errno));
    for (struct dirent *entry; left > 0 && (entry = readdir(directory));) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".safetensors") != 0)
            continue;
        int fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
        struct stat status;
        if (fd < 0 || fstat(fd, &status) < 0)
            bench_die("%s: %s", entry->d_name, strerror(errno));
        uint64_t bytes = (uint64_t)status.st_size < left ? (uint64_t)status.st_size : left;
        void *data = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED)
            bench_die("cannot map %s: %s", entry->d_name, strerror(errno));
        elapsed += touch(data, bytes);
        left -= bytes;
        close(fd);
    }
    closedir(directory);
    return elapsed;
}

static void touch_once(struct seat *seat, void *context)
{
    const struct touching *touching = context;
    uint64_t elapsed = touching->way == ARENA         ? touch_arena(touching)
                       : touching->way == SMALL_PAGES ? touch_small(touching)
                                                      : touch_files(touching);
    seat_say(seat, &elapsed, sizeof elapsed);
}

/* In a new process, which has not touched the weights yet. */
static double in_new_process(const struct stage *stage, struct touching *touching, enum way way)
{
    struct crew crew;
    uint64_t elapsed;
    touching->way = way;
    crew_start(&crew, stage, 1, touch_once, touching);
    crew_hear(&crew, 0, &elapsed, sizeof elapsed);
    crew_end(&crew);
    return (double)elapsed / 1e6;
}

/* ---- before ---------------------------------------------------------------------------------- */

/* Loads the whole model in a separate process, so that this one maps no arena. */
static void load_all(struct seat *seat, void *context)
{
    const struct touching *touching = context;
    sw_client *client = stage_connect(touching->stage, "swbench touch");
    sw_model *model;
    bench_check(sw_model_open(client, touching->stage->model_name, &model), client, "swbench");
    uint32_t count = sw_model_component_count(model);
    for (uint32_t i = 0; i < count; i++)
        bench_check(sw_model_warmup(model, &i, 1), client, "swbench");
    sw_model_close(model);
    sw_client_close(client);
    seat_say(seat, "", 1);
}

/* The broker reserves its arena in steps; huge_bytes stops growing when it is done. */
static int64_t wait_for_huge_pages(const struct stage *stage, int64_t arena_bytes)
{
    uint64_t deadline = bench_now_ns() + HUGE_WAIT_NS;
    while (stage_stat(stage, "reserved_bytes") < arena_bytes && bench_now_ns() < deadline)
        usleep(100000);
    return stage_stat(stage, "huge_bytes");
}

/* Creates a populated object on small pages. Returns its descriptor. */
static int make_small(uint64_t bytes)
{
    int fd = memfd_create("swbench-small", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        bench_die("cannot create shared memory: %s", strerror(errno));
    void *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        bench_die("cannot map shared memory: %s", strerror(errno));
    (void)madvise(data, bytes, MADV_NOHUGEPAGE);
    memset(data, 1, bytes);
    munmap(data, bytes);
    return fd;
}

int bench_touch(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    struct stage stage;
    stage_open(&stage, &settings.stage);
    uint64_t model_bytes = stage_model_bytes(&stage);
    struct touching touching = {.stage = &stage,
                                .bytes = model_bytes < TOUCHED_BYTES ? model_bytes : TOUCHED_BYTES};
    struct crew crew;
    crew_start(&crew, &stage, 1, load_all, &touching);
    crew_gather(&crew);
    crew_end(&crew);
    int64_t arena_bytes = stage_stat(&stage, "arena_bytes");
    int64_t huge_bytes = wait_for_huge_pages(&stage, arena_bytes);
    touching.small_fd = make_small(touching.bytes);

    struct series arena = {0}, small = {0}, files = {0};
    (void)in_new_process(&stage, &touching, FILES); /* warms the page cache */
    for (unsigned round = 0; round < settings.rounds; round++) {
        series_add(&arena, in_new_process(&stage, &touching, ARENA));
        series_add(&small, in_new_process(&stage, &touching, SMALL_PAGES));
        series_add(&files, in_new_process(&stage, &touching, FILES));
    }

    struct report report;
    report_init(&report, "touch");
    report_string(&report, "model", stage.model_name, "model");
    report_integer(&report, "touched_bytes", (int64_t)touching.bytes, "bytes touched");
    report_integer(&report, "arena_bytes", arena_bytes, NULL);
    report_integer(&report, "huge_bytes", huge_bytes, "bytes of the arena on huge pages");
    report_integer(&report, "rounds", settings.rounds, NULL);
    report_string(&report, "page_cache", "warm for the mapped files", NULL);
    report_number(&report, "first_touch_ms_p50", series_median(&arena), 2,
                  "first touch in the arena, ms, median");
    report_number(&report, "first_touch_ms_min", series_quantile(&arena, 0), 2, "  least");
    report_number(&report, "first_touch_ms_max", series_quantile(&arena, 1), 2, "  most");
    report_number(&report, "small_pages_ms_p50", series_median(&small), 2,
                  "shared memory on small pages, ms, median");
    report_number(&report, "mmap_files_ms_p50", series_median(&files), 2,
                  "files mapped from a warm page cache, ms, median");
    report_number(&report, "ratio", series_median(&small) / series_median(&arena), 1,
                  "times that small pages need");
    report_print(&report, settings.json);
    series_fini(&arena);
    series_fini(&small);
    series_fini(&files);
    close(touching.small_fd);
    stage_close(&stage);
    return 0;
}
