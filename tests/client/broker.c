/* SPDX-License-Identifier: MIT */
/* The client library with a real broker: whole processes, real files, real deaths. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sw/client.h>

#include "support/support.h"

TestSuite(client_broker, .timeout = 90);

#define SLOTS 128 /* pins of one client */

static const char *catalog(void)
{
    const char *path = sup_path("catalog");
    if (!sup_exists(path))
        sup_mkdir(path);
    return path;
}

static sw_client *connect_to(const struct sup_broker *broker, int timeout_ms)
{
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    char error[512] = "";
    options.socket_path = broker->socket;
    options.timeout_ms = timeout_ms;
    options.error = error;
    options.error_size = sizeof error;
    sw_client *client = NULL;
    cr_assert_eq(sw_client_open(&options, &client), 0, "%s", error);
    return client;
}

static sw_model *open_model(sw_client *client, const char *name)
{
    sw_model *model = NULL;
    char text[512] = "";
    int result = sw_model_open(client, name, &model);
    sw_client_message(client, text, sizeof text);
    cr_assert_eq(result, 0, "%s", text);
    return model;
}

/* Whether a leased chunk is the file, byte for byte. */
static bool is_file(const char *directory, sw_model *model, uint32_t component,
                    const struct sw_lease *lease)
{
    struct sw_component_info info = SW_INIT(struct sw_component_info);
    if (sw_model_component_info(model, component, &info) < 0)
        return false;
    size_t size;
    const char *file = sup_read(sup_format("%s/%s.safetensors", directory, info.name), &size);
    return size == lease->bytes && memcmp(file, lease->data, size) == 0;
}

static struct sw_client_stats stats_of(sw_client *client)
{
    struct sw_client_stats stats = SW_INIT(struct sw_client_stats);
    cr_assert_eq(sw_client_get_stats(client, &stats), 0);
    return stats;
}

/* Exit code of a child, or 1000 + the signal that ended it. */
static int end_of(pid_t child)
{
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

struct expectation {
    const struct sup_broker *broker;
    const char *key;
    int64_t value;
};

static bool stat_is(void *context)
{
    const struct expectation *expectation = context;
    return sup_stat(expectation->broker, expectation->key) == expectation->value;
}

static void expect_stat(const struct sup_broker *broker, const char *key, int64_t value)
{
    struct expectation expectation = {broker, key, value};
    cr_expect(sup_until(stat_is, &expectation, 10000), "%s is %lld, not %lld", key,
              (long long)sup_stat(broker, key), (long long)value);
}

/* ---- reading --------------------------------------------------------------------------------- */

Test(client_broker, a_lease_is_the_chunk_file)
{
    const char *directory = sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    sw_client *client = connect_to(&broker, 20000);
    sw_model *model = open_model(client, "toy");
    uint32_t count = sw_model_component_count(model);
    cr_assert_gt(count, 3);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < count; i++) {
            struct sw_lease lease;
            cr_assert_eq(sw_lease_acquire(model, i, &lease), 0);
            cr_expect(is_file(directory, model, i, &lease), "component %u", i);
            cr_expect_eq(sw_lease_release(&lease), 0);
        }
    }
    struct sw_client_stats stats = stats_of(client);
    cr_expect_eq(stats.misses, count);
    cr_expect_eq(stats.hits, 2 * count);
    cr_expect_eq(sup_stat(&broker, "hits"), 2 * count);
    cr_expect_eq(sup_stat(&broker, "misses"), count);
    void *config = NULL;
    size_t size = 0;
    cr_expect_eq(sw_model_file(model, "config.json", &config, &size), 0);
    cr_expect_not_null(strstr(config, "\"bert\""));
    free(config);
    cr_expect_eq(sw_model_file(model, "../toy/config.json", &config, &size), SW_ENOCOMPONENT);
    sw_model_close(model);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

Test(client_broker, warms_up_and_prefetches)
{
    (void)sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    sw_client *client = connect_to(&broker, 20000);
    sw_model *model = open_model(client, "toy");
    uint32_t all[64];
    uint32_t count = sw_model_component_count(model);
    cr_assert_leq(count, 64);
    for (uint32_t i = 0; i < count; i++)
        all[i] = i;
    cr_expect_eq(sw_model_prefetch(model, all, 2), 0);
    cr_expect_eq(stats_of(client).prefetches, 2);
    cr_expect_eq(sw_model_warmup(model, all, count), 0);
    for (uint32_t i = 0; i < count; i++) {
        struct sw_lease lease;
        cr_expect_eq(sw_lease_try_acquire(model, i, &lease), 0, "component %u", i);
        cr_expect_eq(sw_lease_release(&lease), 0);
        struct sw_component_info info = SW_INIT(struct sw_component_info);
        cr_expect_eq(sw_model_component_info(model, i, &info), 0);
        cr_expect_eq(info.resident, 1);
    }
    cr_expect_eq(stats_of(client).misses, 0);
    cr_expect_eq(sup_stat(&broker, "loads"), count, "each chunk was read once");
    sw_model_publish_cursor(model, 0, 1, 1, 1000);
    uint32_t beyond = count;
    cr_expect_eq(sw_model_warmup(model, &beyond, 1), SW_ENOCOMPONENT);
    cr_expect_eq(sw_model_prefetch(model, &beyond, 1), SW_ENOCOMPONENT);
    sw_model_close(model);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

Test(client_broker, names_what_is_missing)
{
    (void)sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    sw_client *client = connect_to(&broker, 20000);
    sw_model *model = NULL;
    char text[512];
    cr_expect_eq(sw_model_open(client, "toys", &model), SW_ENOMODEL);
    cr_expect_eq(sw_client_message(client, text, sizeof text), SW_ENOMODEL);
    cr_expect_not_null(strstr(text, "toys"), "%s", text);
    cr_expect_null(model);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

/* In a child that the kernel kills at any system call but read, write, exit and sigreturn. */
static void hit_under_seccomp(const struct sup_broker *broker)
{
    sw_client *client = connect_to(broker, 20000);
    sw_model *model = open_model(client, "toy");
    struct sw_lease lease;
    sw_component *component;
    int result = sw_component_acquire(model, 1, &component);
    if (result == 0)
        result = sw_component_release(component);
    if (result < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
        _exit(2);
    for (int i = 0; i < 20000 && result == 0; i++) {
        result = sw_lease_acquire(model, 1, &lease);
        if (result == 0)
            result = sw_lease_release(&lease);
        if (result == 0)
            result = sw_component_acquire(model, 1, &component);
        if (result == 0)
            result = sw_component_release(component);
        sw_model_publish_cursor(model, 0, 1, (uint64_t)i, 1000);
    }
    (void)syscall(SYS_exit, result == 0 ? 0 : 3); /* _exit would call exit_group */
}

Test(client_broker, hits_make_no_system_call)
{
    (void)sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    pid_t child = fork();
    if (child == 0)
        hit_under_seccomp(&broker);
    int end = end_of(child);
    if (end == 2)
        cr_skip_test("this kernel has no strict seccomp");
    cr_expect_eq(end, 0, "%s", end == 1000 + SIGKILL ? "it made a system call" : "a lease failed");
    expect_stat(&broker, "clients", 0);
    cr_expect_eq(sup_stat(&broker, "hits"), 40000);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

/* ---- sharing --------------------------------------------------------------------------------- */

/* One worker process: leases every component many times and compares it with its file. */
static int work(const struct sup_broker *broker, const char *directory, int rounds)
{
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    options.socket_path = broker->socket;
    sw_client *client;
    sw_model *model;
    if (sw_client_open(&options, &client) != 0)
        return 2;
    if (sw_model_open(client, "toy", &model) != 0)
        return 3;
    uint32_t count = sw_model_component_count(model);
    for (int round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < count; i++) {
            struct sw_lease lease;
            if (sw_lease_acquire(model, i, &lease) != 0)
                return 4;
            if (!is_file(directory, model, i, &lease))
                return 5;
            if (sw_lease_release(&lease) != 0)
                return 6;
        }
    }
    sw_model_close(model);
    sw_client_close(client);
    return 0;
}

Test(client_broker, processes_share_one_copy)
{
    const char *directory = sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    pid_t workers[4];
    for (int i = 0; i < 4; i++) {
        workers[i] = fork();
        if (workers[i] == 0)
            _exit(work(&broker, directory, 3));
    }
    for (int i = 0; i < 4; i++)
        cr_expect_eq(end_of(workers[i]), 0);
    int64_t chunks = sup_stat(&broker, "chunks_resident");
    cr_expect_gt(chunks, 3);
    cr_expect_eq(sup_stat(&broker, "loads"), chunks, "what one of them read served all");
    expect_stat(&broker, "clients", 0);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

struct reader {
    pthread_t thread;
    sw_client *client;
    sw_model *model;
    const char *directory;
    uint32_t first;
    int rounds, failed, wrong;
    char message[512]; /* of the last failure */
};

static void *read_often(void *context)
{
    struct reader *reader = context;
    uint32_t count = sw_model_component_count(reader->model);
    for (int i = 0; i < reader->rounds; i++) {
        uint32_t component = (reader->first + (uint32_t)i) % count;
        struct sw_lease lease;
        if (sw_lease_acquire(reader->model, component, &lease) != 0) {
            reader->failed++;
            sw_client_message(reader->client, reader->message, sizeof reader->message);
            continue;
        }
        bool right = is_file(reader->directory, reader->model, component, &lease);
        int result = sw_lease_release(&lease);
        reader->failed += result != 0;
        reader->wrong += result == 0 && !right; /* of a revoked lease nothing is promised */
    }
    return NULL;
}

Test(client_broker, threads_read_right_bytes_while_chunks_come_and_go)
{
    const char *directory = sup_synth(catalog(), "toy",
                                      SUP_ARGS("--layers", "8", "--hidden", "512", "--intermediate",
                                               "2048", "--heads", "8", "--vocab-size", "2000"));
    /* eight layers of 6 MB each, and room for half of them, of which one client may pin all */
    struct sup_broker broker = sup_broker_start(catalog(), "24", SUP_ARGS("--max-pinned", "24M"));
    sw_client *client = connect_to(&broker, 30000);
    sw_model *model = open_model(client, "toy");
    struct reader readers[3];
    for (uint32_t i = 0; i < 3; i++) {
        readers[i] = (struct reader){
            .client = client, .model = model, .directory = directory, .first = 3 * i, .rounds = 24};
        pthread_create(&readers[i].thread, NULL, read_often, &readers[i]);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(readers[i].thread, NULL);
        cr_expect_eq(readers[i].failed, 0, "%s", readers[i].message);
        cr_expect_eq(readers[i].wrong, 0);
    }
    cr_expect_gt(sup_stat(&broker, "evictions"), 0, "the test is about eviction");
    cr_expect_eq(sup_stat(&broker, "pinned_bytes"), 0);
    sw_model_close(model);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

Test(client_broker, every_slot_taken_is_busy_and_nothing_is_lost)
{
    (void)sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    sw_client *client = connect_to(&broker, 20000);
    sw_model *model = open_model(client, "toy");
    uint32_t count = sw_model_component_count(model);
    struct sw_lease leases[SLOTS], more;
    for (uint32_t i = 0; i < SLOTS; i++)
        cr_assert_eq(sw_lease_acquire(model, i % count, &leases[i]), 0);
    cr_expect_eq(sw_lease_acquire(model, 0, &more), SW_EBUSY);
    for (uint32_t i = 0; i < SLOTS; i++)
        cr_assert_eq(sw_lease_release(&leases[i]), 0);
    expect_stat(&broker, "pinned_bytes", 0);
    sw_model_close(model);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

Test(client_broker, a_killed_client_leaves_no_pins)
{
    (void)sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        sw_client *client = connect_to(&broker, 20000);
        sw_model *model = open_model(client, "toy");
        struct sw_lease lease;
        char answer = sw_lease_acquire(model, 1, &lease) == 0 ? 'y' : 'n';
        if (write(ready[1], &answer, 1) == 1)
            pause();
        _exit(1);
    }
    char answer = 0;
    cr_assert_eq(read(ready[0], &answer, 1), 1);
    cr_assert_eq(answer, 'y');
    cr_expect_gt(sup_stat(&broker, "pinned_bytes"), 0);
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(end_of(child), 1000 + SIGKILL);
    expect_stat(&broker, "pinned_bytes", 0);
    expect_stat(&broker, "clients", 0);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

/* Restarts a broker on the same socket: sup_broker_start picks a new one, so the client is told
 * where. */
static struct sup_broker restart_at(const char *socket, const char *chunks)
{
    struct sup_broker broker = {.socket = socket, .log = sup_path("restarted.log")};
    broker.pid = sup_spawn(
        SUP_ARGS("swbrokerd", "--chunks-dir", chunks, "--cache-size", "64", "--socket", socket),
        NULL, broker.log);
    return broker;
}

Test(client_broker, leases_survive_the_brokers_death_and_results_stay_the_same)
{
    const char *directory = sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    sw_client *client = connect_to(&broker, 30000);
    sw_model *model = open_model(client, "toy");
    struct sw_lease held, lease;
    cr_assert_eq(sw_lease_acquire(model, 1, &held), 0);
    const char *socket = broker.socket;
    sup_broker_kill(&broker);
    cr_expect(is_file(directory, model, 1, &held), "readable while nobody serves");
    cr_expect_eq(sw_lease_acquire(model, 1, &lease), 0, "hits go on");
    cr_expect_eq(sw_lease_release(&lease), 0);

    struct sup_broker next = restart_at(socket, catalog());
    uint32_t count = sw_model_component_count(model);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(sw_lease_acquire(model, i, &lease), 0, "component %u", i);
        cr_expect(is_file(directory, model, i, &lease), "component %u", i);
        cr_expect_eq(sw_lease_release(&lease), 0);
    }
    cr_expect(is_file(directory, model, 1, &held), "still readable");
    struct sw_client_stats stats = stats_of(client);
    cr_expect_eq(stats.reconnects, 1);
    uint64_t both = stats.mapped_bytes;
    cr_expect_eq(sw_lease_release(&held), 0);
    cr_expect_lt(stats_of(client).mapped_bytes, both, "the dead arena is gone");
    sw_model_close(model);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&next), 0);
}

Test(client_broker, another_model_under_the_same_name_is_stale)
{
    (void)sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    sw_client *client = connect_to(&broker, 30000);
    sw_model *model = open_model(client, "toy");
    const char *socket = broker.socket;
    cr_expect_eq(sup_broker_stop(&broker), 0);
    const char *others = sup_path("others");
    sup_mkdir(others);
    const char *directory = sup_synth(others, "toy", SUP_ARGS("--seed", "7"));
    struct sup_broker next = restart_at(socket, others);
    struct sw_lease lease;
    cr_expect_eq(sw_lease_acquire(model, 1, &lease), SW_ESTALE);
    sw_model *again = open_model(client, "toy");
    cr_assert_eq(sw_lease_acquire(again, 1, &lease), 0);
    cr_expect(is_file(directory, again, 1, &lease));
    cr_expect_eq(sw_lease_release(&lease), 0);
    sw_model_close(model);
    sw_model_close(again);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&next), 0);
}

Test(client_broker, a_stopped_broker_costs_misses_their_deadline_and_hits_nothing)
{
    (void)sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    sw_client *client = connect_to(&broker, 300);
    sw_model *model = open_model(client, "toy");
    struct sw_lease lease;
    cr_assert_eq(sw_lease_acquire(model, 1, &lease), 0);
    cr_assert_eq(sw_lease_release(&lease), 0);
    cr_assert_eq(kill(broker.pid, SIGSTOP), 0);
    cr_expect_eq(sw_lease_acquire(model, 2, &lease), -ETIMEDOUT);
    for (int i = 0; i < 100000; i++) {
        cr_assert_eq(sw_lease_acquire(model, 1, &lease), 0);
        cr_assert_eq(sw_lease_release(&lease), 0);
    }
    cr_assert_eq(kill(broker.pid, SIGCONT), 0);
    cr_expect_eq(sw_lease_acquire(model, 2, &lease), 0);
    cr_expect_eq(sw_lease_release(&lease), 0);
    sw_model_close(model);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

/* ---- fork ------------------------------------------------------------------------------------ */

static int in_child(sw_model *model, const char *directory, struct sw_lease *inherited)
{
    if (!is_file(directory, model, 1, inherited))
        return 2;
    if (sw_lease_release(inherited) != SW_EFORK)
        return 3;
    struct sw_lease lease;
    if (sw_lease_acquire(model, 2, &lease) != 0)
        return 4;
    if (!is_file(directory, model, 2, &lease))
        return 5;
    return sw_lease_release(&lease) == 0 ? 0 : 6;
}

Test(client_broker, a_forked_child_works_and_its_death_takes_nothing_from_the_parent)
{
    const char *directory = sup_synth(catalog(), "toy", NULL);
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    sw_client *client = connect_to(&broker, 20000);
    sw_model *model = open_model(client, "toy");
    struct sw_lease lease;
    cr_assert_eq(sw_lease_acquire(model, 1, &lease), 0);
    int64_t pinned = sup_stat(&broker, "pinned_bytes");
    pid_t child = fork();
    if (child == 0)
        _exit(in_child(model, directory, &lease));
    cr_expect_eq(end_of(child), 0);
    expect_stat(&broker, "clients", 1);
    expect_stat(&broker, "pinned_bytes", pinned);
    cr_expect(is_file(directory, model, 1, &lease));
    cr_expect_eq(sw_lease_release(&lease), 0);
    sw_model_close(model);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

/* ---- quota ----------------------------------------------------------------------------------- */

static bool was_revoked(void *context)
{
    return sup_stat(context, "revoked") > 0;
}

Test(client_broker, a_client_that_pins_too_much_is_revoked_and_may_come_back)
{
    const char *directory = sup_synth(
        catalog(), "toy",
        SUP_ARGS("--layers", "4", "--hidden", "256", "--heads", "4", "--vocab-size", "2000"));
    struct sup_broker broker = sup_broker_start(catalog(), "64", SUP_ARGS("--max-pinned", "1M"));
    sw_client *client = connect_to(&broker, 20000);
    sw_model *model = open_model(client, "toy");
    int first = sw_model_find(model, "layer_0");
    cr_assert_geq(first, 0);
    struct sw_lease leases[3] = {0};
    for (int i = 0; i < 3; i++)
        (void)sw_lease_acquire(model, (uint32_t)(first + i), &leases[i]);
    cr_assert(sup_until(was_revoked, &broker, 20000), "nobody was revoked");
    int revoked = 0;
    for (int i = 0; i < 3; i++)
        if (leases[i].attachment && sw_lease_release(&leases[i]) == SW_EREVOKED)
            revoked++;
    cr_expect_gt(revoked, 0);
    cr_expect_eq(stats_of(client).revoked, (uint64_t)revoked);
    struct sw_lease lease;
    cr_expect_eq(sw_lease_acquire(model, (uint32_t)first, &lease), 0, "within its limits again");
    cr_expect(is_file(directory, model, (uint32_t)first, &lease));
    cr_expect_eq(sw_lease_release(&lease), 0);
    cr_expect_eq(stats_of(client).reconnects, 1);
    sw_model_close(model);
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

/* ---- tensors without BERT -------------------------------------------------------------------- */

struct line {
    char component[64], name[128], dtype[8], layout[8], shape[64], strides[64];
    double sum, row;
};

/* The line of a tensor in what example-tensors said. */
static struct line line_of(const char *said, const char *component, const char *name)
{
    const char *at = strstr(said, sup_format("%s %s ", component, name));
    cr_assert(at && (at == said || at[-1] == '\n'), "no line for %s %s", component, name);
    struct line line;
    cr_assert_eq(sscanf(at, "%63s %127s %7s %7s %63s %63s %lf %lf", line.component, line.name,
                        line.dtype, line.layout, line.shape, line.strides, &line.sum, &line.row),
                 8);
    return line;
}

static void expect_line(const struct line *line, const char *dtype, const char *layout,
                        const char *shape, const char *strides)
{
    cr_expect_str_eq(line->dtype, dtype, "%s", line->name);
    cr_expect_str_eq(line->layout, layout, "%s", line->name);
    cr_expect_str_eq(line->shape, shape, "%s", line->name);
    cr_expect_str_eq(line->strides, strides, "%s", line->name);
}

/* Sums of f16 are exact in double, in any order: one model in two layouts gives the same. */
Test(client_broker, an_engine_of_ones_own_reads_every_tensor_in_any_layout)
{
    const char *layouts[] = {"rows", "panel"}, *dtypes[] = {"f16", "f32", "bf16"};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            (void)sup_synth(catalog(), sup_format("%s-%s", layouts[i], dtypes[j]),
                            SUP_ARGS("--layout", layouts[i], "--dtype", dtypes[j], "--hidden", "40",
                                     "--heads", "4", "--intermediate", "104"));
    struct sup_broker broker = sup_broker_start(catalog(), "64", NULL);
    const char *rows = sup_run_ok(SUP_ARGS("example-tensors", "rows-f16"));
    const char *panels = sup_run_ok(SUP_ARGS("example-tensors", "panel-f16"));
    struct line one = line_of(rows, "layer_1", "intermediate.dense.weight");
    struct line other = line_of(panels, "layer_1", "intermediate.dense.weight");
    expect_line(&one, "F16", "rows", "[104,40]", "[40,1]");
    expect_line(&other, "F16", "panel", "[7,40,16]", "[640,16,1]");
    cr_expect(one.sum == other.sum && one.row == other.row && one.row != 0);
    double parts = 0;
    const char *names[] = {"query", "key", "value"};
    for (int i = 0; i < 3; i++)
        parts += line_of(rows, "layer_0", sup_format("attention.self.%s.weight", names[i])).sum;
    other = line_of(panels, "layer_0", "attention.qkv.weight");
    expect_line(&other, "F16", "panel", "[8,40,16]", "[640,16,1]"); /* 120 rows and 8 of zeros */
    cr_expect(parts == other.sum);
    one = line_of(rows, "layer_0", "attention.self.query.weight");
    cr_expect(one.row == other.row);
    one = line_of(panels, "layer_0", "attention.output.LayerNorm.weight");
    expect_line(&one, "F32", "rows", "[40]", "[1]");
    cr_expect_float_eq(one.sum, 40, 40.0 / 8);
    const char *exact = sup_run_ok(SUP_ARGS("example-tensors", "panel-f32"));
    const char *coarse = sup_run_ok(SUP_ARGS("example-tensors", "rows-bf16"));
    double truth = line_of(exact, "embeddings", "position_embeddings.weight").sum;
    one = line_of(panels, "embeddings", "position_embeddings.weight");
    cr_expect_float_eq(one.sum, truth, 0.01);
    cr_expect_neq(one.sum, truth);
    one = line_of(coarse, "embeddings", "position_embeddings.weight");
    expect_line(&one, "BF16", "rows", one.shape, "[40,1]");
    cr_expect_float_eq(one.sum, truth, 0.1);
    struct sup_result missing = sup_run(SUP_ARGS("example-tensors", "absent"));
    cr_expect_eq(missing.exit_code, 1);
    cr_expect_not_null(strstr(missing.err, "absent"), "%s", missing.err);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}
