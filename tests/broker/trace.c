/* SPDX-License-Identifier: MIT */
/* swbrokerd --trace: what real clients do ends up in the file, and nothing else does. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sw/client.h>

#include "replay/trace_file.h"
#include "support/support.h"

TestSuite(trace, .timeout = 60);

static sw_client *client;
static sw_model *model;

static void open_model(const char *socket)
{
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    options.socket_path = socket;
    cr_assert_eq(sw_client_open(&options, &client), 0);
    cr_assert_eq(sw_model_open(client, "tiny", &model), 0);
}

static void close_model(void)
{
    sw_model_close(model);
    sw_client_close(client);
}

static void lease(uint32_t component)
{
    struct sw_lease lease;
    cr_assert_eq(sw_lease_acquire(model, component, &lease), 0);
    cr_assert_eq(sw_lease_release(&lease), 0);
}

static struct trace_log read_trace(const char *path)
{
    struct trace_log log;
    struct swi_error error = {0};
    FILE *file = fopen(path, "re");
    cr_assert(file);
    cr_assert_eq(trace_log_read(file, &log, &error), 0, "%s", error.text);
    (void)fclose(file);
    return log;
}

static size_t count(const struct trace_log *log, enum trace_event_kind kind)
{
    size_t found = 0;
    for (size_t i = 0; i < log->event_count; i++)
        found += log->events[i].kind == kind;
    return found;
}

static struct sup_broker start(const char *trace)
{
    const char *catalog = sup_path("catalog");
    sup_mkdir(catalog);
    (void)sup_synth(catalog, "tiny", NULL);
    return sup_broker_start(catalog, "64", SUP_ARGS("--trace", trace));
}

Test(trace, hits_misses_and_cursors_are_recorded_in_order)
{
    const char *path = sup_path("trace");
    struct sup_broker broker = start(path);
    open_model(broker.socket);
    uint32_t components = sw_model_component_count(model);
    for (uint64_t pass = 1; pass <= 3; pass++) {
        for (uint32_t i = 0; i < components; i++) {
            sw_model_publish_cursor(model, 4, i, pass, 1234);
            lease(i);
        }
    }
    struct sw_component_info info = SW_INIT(struct sw_component_info);
    cr_assert_eq(sw_model_component_info(model, 0, &info), 0);
    char *first = strdup(sup_format("tiny/%s", info.name));
    close_model();
    cr_assert_eq(sup_broker_stop(&broker), 0);

    struct trace_log log = read_trace(path);
    cr_assert(log.complete);
    cr_assert_eq(log.lost, 0);
    cr_assert_eq(log.budget, UINT64_C(64) << 20);
    cr_assert_eq(log.chunk_count, components);
    cr_assert_str_eq(log.chunks[0].name, first);
    cr_assert_eq(log.chunks[0].bytes, info.bytes);
    cr_assert_eq(log.chunks[0].model_size, components);
    cr_assert_eq(count(&log, TRACE_MISS), components);
    cr_assert_eq(count(&log, TRACE_HIT), 2 * components);
    cr_assert_eq(count(&log, TRACE_CURSOR), 3 * components);
    cr_assert_eq(count(&log, TRACE_GONE), 1);
    for (size_t i = 0; i + 1 < log.event_count; i += 2) {
        uint32_t component = (uint32_t)(i / 2) % components;
        cr_assert_eq(log.events[i].kind, TRACE_CURSOR);
        cr_assert_eq(log.events[i].component, component);
        cr_assert_eq(log.events[i].lane, 4);
        cr_assert_eq(log.events[i].step_ns, 1234);
        cr_assert_eq(log.events[i].incarnation, log.chunks[component].incarnation);
        cr_assert_eq(log.chunks[log.events[i + 1].chunk].ordinal, component);
    }
    trace_log_fini(&log);
    free(first);
}

/* More uses than the page holds between two looks: some are lost, all are accounted for. */
Test(trace, what_was_lost_is_counted)
{
    const char *path = sup_path("trace");
    struct sup_broker broker = start(path);
    open_model(broker.socket);
    const size_t leases = 200000;
    for (size_t i = 0; i < leases; i++)
        lease(1);
    close_model();
    cr_assert_eq(sup_broker_stop(&broker), 0);
    struct trace_log log = read_trace(path);
    cr_assert(log.complete);
    cr_assert_gt(count(&log, TRACE_HIT), 0);
    cr_assert_eq(count(&log, TRACE_HIT) + count(&log, TRACE_MISS) + log.lost, leases);
    trace_log_fini(&log);
}

/* A client that dies leaves what it did. */
Test(trace, a_killed_client_is_recorded_to_its_end)
{
    const char *path = sup_path("trace");
    struct sup_broker broker = start(path);
    pid_t child = fork();
    if (child == 0) {
        open_model(broker.socket);
        lease(0);
        lease(0);
        _exit(0);
    }
    cr_assert_gt(child, 0);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    open_model(broker.socket);
    lease(0);
    close_model();
    cr_assert_eq(sup_broker_stop(&broker), 0);
    struct trace_log log = read_trace(path);
    cr_assert_eq(count(&log, TRACE_MISS), 1);
    cr_assert_eq(count(&log, TRACE_HIT), 2);
    cr_assert_eq(count(&log, TRACE_GONE), 2);
    trace_log_fini(&log);
}

Test(trace, a_file_that_cannot_be_written_keeps_the_broker_from_starting)
{
    const char *catalog = sup_path("catalog");
    sup_mkdir(catalog);
    (void)sup_synth(catalog, "tiny", NULL);
    struct sup_result result =
        sup_run(SUP_ARGS("swbrokerd", "--chunks-dir", catalog, "--cache-size", "16", "--socket",
                         sup_path("s"), "--trace", sup_path("missing/trace")));
    cr_assert_eq(result.exit_code, 1);
    cr_assert(strstr(result.err, "missing/trace"), "%s", result.err);
    cr_assert(strstr(result.err, "No such file"), "%s", result.err);
    cr_assert_not(sup_exists(sup_path("s")));
}
