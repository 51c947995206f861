/* SPDX-License-Identifier: MIT */
/* The broker's figures: what evicts and loads count as, the text that Prometheus reads, and the
 * server that hands it out. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ctype.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/socket.h"
#include "core/wire.h"
#include "stats/metrics.h"
#include "support/raw.h"

TestSuite(metrics, .timeout = 120);

static struct sup_broker broker;

static void start(const char *cache_size)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    (void)sup_synth(
        models, "tiny",
        SUP_ARGS("--layers", "4", "--hidden", "256", "--heads", "4", "--vocab-size", "2000"));
    broker = sup_broker_start(models, cache_size, NULL);
}

static void stop(void)
{
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

/* ---- the text ----------------------------------------------------------------------------------
 */

/* The value of one sample, given as it stands in its line up to the space. */
static double sample(const char *text, const char *series)
{
    const char *at = strstr(text, sup_format("\n%s ", series));
    cr_assert_not_null(at, "no %s in:\n%s", series, text);
    char *end;
    double value = strtod(at + strlen(series) + 2, &end);
    cr_assert_eq(*end, '\n', "%s", series);
    return value;
}

static const char *scrape(void)
{
    return sup_run_ok(SUP_ARGS("swctl", "stats", "--format=prometheus"));
}

/* Every line is a HELP, its TYPE, or a sample of that family; no family comes twice. */
static void check_form(const char *text)
{
    char seen[128][64];
    size_t families = 0;
    const char *type = "";
    char family[64] = "";
    cr_assert_eq(text[strlen(text) - 1], '\n');
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            size_t length = strcspn(line + 7, " ");
            cr_assert(length > 0 && length < sizeof family && families < 128);
            memcpy(family, line + 7, length);
            family[length] = 0;
            for (size_t i = 0; i < families; i++)
                cr_assert_str_neq(seen[i], family, "a family comes twice");
            memcpy(seen[families++], family, length + 1);
            line = strchr(line, '\n') + 1;
            cr_assert_eq(strncmp(line, sup_format("# TYPE %s ", family), 8 + length), 0, "%s",
                         family);
            type = line + 8 + length;
            bool counts = strncmp(type, "counter\n", 8) == 0;
            bool total = length > 6 && strcmp(family + length - 6, "_total") == 0;
            cr_assert_eq(counts, total, "counters and they alone end in _total: %s", family);
            continue;
        }
        size_t length = strlen(family);
        cr_assert(length > 0 && strncmp(line, family, length) == 0, "%.60s", line);
        const char *rest = line + length;
        if (strncmp(type, "histogram", 9) == 0) {
            cr_assert_eq(*rest, '_');
            rest += strcspn(rest, "{");
        }
        if (*rest == '{')
            rest = strchr(rest, '}') + 1;
        cr_assert_eq(*rest, ' ', "%.80s", line);
        char *end;
        (void)strtod(rest + 1, &end);
        cr_assert(end > rest + 1 && *end == '\n', "%.80s", line);
    }
}

Test(metrics, the_text_says_what_stats_say)
{
    start("16");
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    (void)sup_run_ok(SUP_ARGS("swctl", "clear", "tiny/layer_0"));
    (void)sup_run_ok(SUP_ARGS("swctl", "pin", "tiny/layer_1"));
    const char *text = scrape();
    check_form(text);
    json_t *stats = sup_swctl(&broker, SUP_ARGS("stats"));
    static const struct {
        const char *series, *key;
    } same[] = {
        {"swbroker_arena_bytes", "arena_bytes"},
        {"swbroker_reserved_bytes", "reserved_bytes"},
        {"swbroker_resident_bytes", "resident_bytes"},
        {"swbroker_pinned_bytes", "pinned_bytes"},
        {"swbroker_operator_pinned_bytes", "operator_pinned_bytes"},
        {"swbroker_operator_pinned_chunks", "operator_pinned_chunks"},
        {"swbroker_operator_pin_limit_bytes", "operator_pin_limit_bytes"},
        {"swbroker_huge_bytes", "huge_bytes"},
        {"swbroker_chunks_resident", "chunks_resident"},
        {"swbroker_hits_total", "hits"},
        {"swbroker_misses_total", "misses"},
        {"swbroker_coalesced_total", "coalesced"},
        {"swbroker_loads_total", "loads"},
        {"swbroker_load_bytes_total", "load_bytes"},
        {"swbroker_digest_errors_total", "digest_errors"},
        {"swbroker_prefetch_used_total", "prefetch_used"},
        {"swbroker_prefetch_wasted_total", "prefetch_wasted"},
        {"swbroker_models", "models"},
        {"swbroker_sessions_revoked_total{reason=\"quota\"}", "quota_revoked"},
        {"swbroker_sessions_revoked_total{reason=\"damage\"}", "damage_revoked"},
        {"swbroker_load_duration_seconds_count{tier=\"disk\"}", "loads"},
        {"swbroker_load_duration_seconds_bucket{tier=\"disk\",le=\"+Inf\"}", "loads"},
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        double value = json_number_value(json_object_get(stats, same[i].key));
        cr_assert_eq(sample(text, same[i].series), value, "%s", same[i].series);
    }
    json_decref(stats);
    cr_assert_gt(sample(text, "swbroker_resident_bytes"), 1e6);
    cr_assert_eq(sample(text, "swbroker_operator_pinned_chunks"), 1);
    cr_assert_gt(sample(text, "swbroker_load_duration_seconds_sum{tier=\"disk\"}"), 0);
    cr_assert_eq(sample(text, "swbroker_evictions_total{reason=\"clear\"}"), 1);
    cr_assert_eq(sample(text, "swbroker_evictions_total{reason=\"capacity\"}"), 0);
    cr_assert_not_null(strstr(text, "swbroker_build_info{version=\"1.0.0\",io_engine=\""));
    stop();
}

/* Buckets are cumulated, and the last holds all. */
Test(metrics, a_histogram_grows_along_its_bounds)
{
    start("16");
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    const char *text = scrape();
    double last = 0, bound = 0;
    size_t buckets = 0;
    static const char lead[] = "\nswbroker_load_duration_seconds_bucket{tier=\"disk\",le=\"";
    for (const char *at = text; (at = strstr(at, lead));) {
        at += strlen(lead);
        double le = strtod(at, NULL);
        cr_assert_gt(le, bound);
        bound = le;
        double value = strtod(strstr(at, "} ") + 2, NULL);
        cr_assert_geq(value, last);
        last = value;
        buckets++;
    }
    cr_assert_geq(buckets, 10);
    cr_assert_eq(last, sample(text, "swbroker_loads_total"));
    stop();
}

Test(metrics, labels_are_escaped_and_what_is_unknown_left_out)
{
    json_t *stats = json_pack("{s:b, s:s, s:s, s:I, s:f}", "ok", 1, "version", "a\"b\\c\nd",
                              "policy", "", "hits", (json_int_t)1 << 60, "uptime_s", 1.5);
    char *text = metrics_format(stats);
    cr_assert_not_null(strstr(text, "{version=\"a\\\"b\\\\c\\nd\",io_engine=\"\",policy=\"\"} 1\n"),
                       "%s", text);
    cr_assert_not_null(strstr(text, "\nswbroker_hits_total 1152921504606846976\n"), "%s", text);
    cr_assert_not_null(strstr(text, "\nswbroker_uptime_seconds 1.5\n"), "%s", text);
    cr_assert_null(strstr(text, "misses"), "%s", text);
    check_form(text);
    free(text);
    json_decref(stats);
    text = metrics_format(NULL);
    check_form(text);
    cr_assert_not_null(strstr(text, "\nswbroker_up 0\n"), "%s", text);
    cr_assert_null(strstr(text, "swbroker_hits"), "%s", text);
    free(text);
}

Test(metrics, unknown_formats_are_named)
{
    struct sup_result result = sup_run(SUP_ARGS("swctl", "stats", "--format=xml"));
    cr_assert_eq(result.exit_code, 2);
    cr_assert_not_null(strstr(result.err, "prometheus"), "%s", result.err);
}

/* ---- why chunks leave --------------------------------------------------------------------------
 */

static int64_t evicted(const char *reason)
{
    json_t *stats = sup_swctl(&broker, SUP_ARGS("stats"));
    const json_t *all = json_object_get(stats, "evictions_by_reason");
    int64_t value = json_integer_value(json_object_get(all, reason)), sum = 0;
    const char *key;
    json_t *one;
    json_object_foreach(json_object_get(stats, "evictions_by_reason"), key, one) sum +=
        json_integer_value(one);
    cr_assert_eq(sum, json_integer_value(json_object_get(stats, "evictions")));
    json_decref(stats);
    return value;
}

Test(metrics, evictions_are_counted_by_their_reason)
{
    start("16");
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    int64_t resident = sup_stat(&broker, "chunks_resident");
    cr_assert_geq(resident, 5);
    (void)sup_run_ok(SUP_ARGS("swctl", "clear"));
    cr_assert_eq(evicted("clear"), resident);
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    (void)sup_run_ok(SUP_ARGS("swctl", "resize", "1"));
    int64_t resized = evicted("resize");
    cr_assert_geq(resized, 1);
    (void)sup_run_ok(SUP_ARGS("swctl", "resize", "16"));
    (void)sup_run_ok(SUP_ARGS("swctl", "warm", "tiny"));
    cr_assert_eq(evicted("capacity"), 0);
    cr_assert_eq(evicted("replaced"), 0);
    /* another revision: the old one's chunks leave with its last user, and it has none */
    sup_remove_tree(sup_path("models/tiny"));
    (void)sup_synth(sup_path("models"), "tiny",
                    SUP_ARGS("--layers", "4", "--hidden", "256", "--heads", "4", "--vocab-size",
                             "2000", "--seed", "9"));
    (void)sup_run_ok(SUP_ARGS("swctl", "reload"));
    cr_assert_eq(evicted("replaced"), resident);
    cr_assert_eq(evicted("resize"), resized);
    cr_assert_eq(evicted("clear"), resident);
    stop();
}

Test(metrics, a_chunk_that_makes_room_counts_as_capacity)
{
    start("4");
    struct raw raw = raw_attach(&broker, "reader");
    struct raw_model model = raw_open(&raw, "tiny");
    for (uint32_t i = 0; i < model.opened.chunks; i++)
        cr_assert_eq(raw_load(&raw, &model, i, NULL), 0);
    cr_assert_geq(evicted("capacity"), 1);
    cr_assert_eq(evicted("clear"), 0);
    raw_close(&raw);
    stop();
}

Test(metrics, a_prefetch_that_nobody_used_is_wasted)
{
    start("16");
    struct raw raw = raw_attach(&broker, "guesser");
    struct raw_model model = raw_open(&raw, "tiny");
    const struct {
        struct swi_wire_prefetch head;
        uint32_t ids[2];
    } body = {{.incarnation = model.opened.incarnation, .model = model.opened.model, .count = 2},
              {model.ids[0], model.ids[1]}};
    cr_assert(
        raw_send(&raw, SWI_WIRE_PREFETCH, &body.head, sizeof body.head, body.ids, sizeof body.ids));
    for (int i = 0; i < 2000 && sup_stat(&broker, "chunks_resident") < 2; i++)
        sup_sleep_ms(5);
    cr_assert_eq(sup_stat(&broker, "prefetches"), 2);
    cr_assert_eq(raw_load(&raw, &model, 0, NULL), 0); /* one is used */
    (void)raw_pin(&raw, &model, 0);
    raw_close(&raw);
    for (int i = 0; i < 2000 && sup_stat(&broker, "clients") > 0; i++)
        sup_sleep_ms(5);
    (void)sup_run_ok(SUP_ARGS("swctl", "clear"));
    cr_assert_eq(sup_stat(&broker, "prefetch_used") + sup_stat(&broker, "prefetch_wasted"), 2);
    cr_assert_geq(sup_stat(&broker, "prefetch_wasted"), 1);
    stop();
}

/* ---- the server --------------------------------------------------------------------------------
 */

static pid_t exporter;
static unsigned port;

static void export_metrics(const char *listen_on)
{
    const char *out = sup_path("export.out");
    exporter =
        sup_spawn(SUP_ARGS("swctl", "--socket", broker.socket, "export", "--listen", listen_on),
                  out, sup_path("export.err"));
    for (int i = 0; i < 2000 && !strchr(sup_read(out, NULL), '\n'); i++) {
        int code = sup_wait(exporter, 0);
        if (code == 1 && strstr(sup_read(sup_path("export.err"), NULL), "without libmicrohttpd"))
            cr_skip_test("swctl was built without libmicrohttpd\n");
        cr_assert_eq(code, -1, "%s", sup_read(sup_path("export.err"), NULL));
        sup_sleep_ms(5);
    }
    const char *line = sup_read(out, NULL);
    cr_assert_eq(strncmp(line, "http://", 7), 0, "%s", line);
    cr_assert_not_null(strstr(line, "/metrics\n"), "%s", line);
    port = (unsigned)strtoul(strrchr(line, ':') + 1, NULL, 10);
    cr_assert(port > 0 && port < 65536, "%s", line);
}

static void stop_export(void)
{
    cr_assert_eq(kill(exporter, SIGTERM), 0);
    cr_assert_eq(sup_wait(exporter, 20000), 0);
}

static int dial(void)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval timeout = {.tv_sec = 30};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* One request as it is, and everything that comes back. */
static const char *ask(const char *request)
{
    static char answer[1 << 18];
    int fd = dial();
    cr_assert_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    size_t size = 0;
    for (ssize_t got; (got = recv(fd, answer + size, sizeof answer - 1 - size, 0)) > 0;)
        size += (size_t)got;
    answer[size] = 0;
    close(fd);
    return answer;
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

static const char *body_of(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    cr_assert_not_null(end, "%s", answer);
    return end + 4;
}

static bool status_is(const char *answer, int status)
{
    return strncmp(answer, sup_format("HTTP/1.1 %d ", status), 13) == 0;
}

Test(metrics, export_serves_them_over_http)
{
    start("16");
    export_metrics("127.0.0.1:0");
    const char *answer = ask(GET("/metrics"));
    cr_assert(status_is(answer, 200), "%s", answer);
    cr_assert_not_null(strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
                       "%s", answer);
    check_form(body_of(answer));
    cr_assert_not_null(strstr(answer, "\nswbroker_up 1\n"));
    cr_assert_not_null(strstr(answer, "\nswbroker_models 1\n"));
    answer = ask(GET("/"));
    cr_assert(status_is(answer, 200), "%s", answer);
    cr_assert_not_null(strstr(answer, "href=\"/metrics\""), "%s", answer);
    cr_assert(status_is(ask(GET("/etc/passwd")), 404));
    cr_assert(status_is(ask(GET("/metrics/../metrics")), 404));
    answer = ask("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    cr_assert(status_is(answer, 200), "%s", answer);
    cr_assert_str_eq(body_of(answer), "");
    answer = ask("POST /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                 "Content-Length: 3\r\n\r\nabc");
    cr_assert(status_is(answer, 405), "%s", answer);
    cr_assert_not_null(strstr(answer, "Allow: GET, HEAD\r\n"), "%s", answer);
    stop_export();
    stop();
}

Test(metrics, export_outlives_the_broker)
{
    start("16");
    export_metrics("127.0.0.1:0");
    cr_assert_not_null(strstr(ask(GET("/metrics")), "\nswbroker_up 1\n"));
    stop();
    for (int i = 0; i < 2; i++) {
        const char *answer = ask(GET("/metrics"));
        cr_assert(status_is(answer, 200), "%s", answer);
        cr_assert_not_null(strstr(answer, "\nswbroker_up 0\n"), "%s", answer);
        cr_assert_null(strstr(answer, "swbroker_hits"), "%s", answer);
    }
    const char *said = sup_read(sup_path("export.err"), NULL);
    const char *newline = strchr(said, '\n');
    cr_assert(newline && newline[1] == 0, "said once: %s", said);
    const char *again = broker.socket;
    pid_t pid = sup_spawn(SUP_ARGS("swbrokerd", "--chunks-dir", sup_path("models"), "--cache-size",
                                   "16", "--socket", again),
                          NULL, NULL);
    for (int i = 0; i < 2000 && !strstr(ask(GET("/metrics")), "\nswbroker_up 1\n"); i++)
        sup_sleep_ms(10);
    cr_assert_not_null(strstr(ask(GET("/metrics")), "\nswbroker_up 1\n"));
    cr_assert_eq(kill(pid, SIGTERM), 0);
    cr_assert_eq(sup_wait(pid, 20000), 0);
    stop_export();
}

/* A peer that turns every connection away with words that would clear a screen. */
static pid_t start_rude_peer(const char *path)
{
    static const char words[] = "\033[2J\xc2\x9b"
                                "1mgone";
    struct swi_error error;
    int listener = swi_socket_listen(path, 0600, &error);
    cr_assert_geq(listener, 0, "%s", error.text);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            static uint8_t packet[SWI_WIRE_MAX];
            int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
            if (fd < 0) {
                sup_sleep_ms(2);
                continue;
            }
            const struct swi_wire_done head = {.status = SW_EQUOTA,
                                               .text_length = sizeof words - 1};
            struct swi_wire_out out;
            (void)swi_socket_receive(fd, packet, sizeof packet, NULL, NULL);
            swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_DONE, 0);
            swi_wire_put(&out, &head, sizeof head);
            swi_wire_put(&out, words, sizeof words - 1);
            (void)swi_socket_send(fd, packet, swi_wire_end(&out), NULL, 0);
            close(fd);
        }
    }
    close(listener);
    return pid;
}

Test(metrics, export_tells_the_journal_nothing_that_steers)
{
    broker.socket = sup_path("rude");
    pid_t pid = start_rude_peer(broker.socket);
    export_metrics("127.0.0.1:0");
    cr_assert_not_null(strstr(ask(GET("/metrics")), "\nswbroker_up 0\n"));
    const char *said = sup_read(sup_path("export.err"), NULL);
    cr_assert_str_eq(said, "swctl: ?[2J?1mgone\n");
    stop_export();
    cr_assert_eq(kill(pid, SIGKILL), 0);
    (void)sup_wait(pid, 10000);
}

Test(metrics, export_survives_bad_company)
{
    start("16");
    export_metrics("127.0.0.1:0");
    static const char *const nonsense[] = {
        "\r\n\r\n",
        "GET\r\n\r\n",
        "GET /metrics HTTP/9.9\r\n\r\n",
        "GET /metrics HTTP/1.1\r\n\r\n", /* no host */
        "GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a greeting of TLS\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        int fd = dial();
        (void)send(fd, nonsense[i], strlen(nonsense[i]), MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR);
        char answer[4096];
        while (recv(fd, answer, sizeof answer, 0) > 0)
            ;
        close(fd);
    }
    static char endless[200000];
    memset(endless, 'a', sizeof endless);
    int fd = dial();
    (void)send(fd, "GET /", 5, MSG_NOSIGNAL);
    (void)send(fd, endless, sizeof endless, MSG_NOSIGNAL);
    close(fd);
    /* more connections than it takes, none of which says anything */
    int idle[40];
    for (int i = 0; i < 40; i++)
        idle[i] = dial();
    for (int i = 0; i < 40; i++)
        close(idle[i]);
    cr_assert_not_null(strstr(ask(GET("/metrics")), "\nswbroker_up 1\n"));
    stop_export();
    stop();
}

Test(metrics, export_refuses_what_it_should)
{
    start("16");
    static const struct {
        const char *listen_on;
        int code;
        const char *word;
    } cases[] = {
        {"0.0.0.0:0", 2, "--allow-remote"},
        {"[::]:0", 2, "--allow-remote"},
        {"192.0.2.1:0", 2, "--allow-remote"},
        {"localhost:0", 2, "127.0.0.1:9119"},
        {"127.0.0.1", 2, "127.0.0.1:9119"},
        {"127.0.0.1:", 2, "127.0.0.1:9119"},
        {":9119", 2, "127.0.0.1:9119"},
        {"127.0.0.1:65536", 2, "127.0.0.1:9119"},
        {"127.0.0.1:99999999999999999999", 2, "127.0.0.1:9119"},
        {"::1:9119", 2, "127.0.0.1:9119"},
        {"127.0.0.1:-1", 2, "127.0.0.1:9119"},
        {"", 2, "127.0.0.1:9119"},
    };
    export_metrics("127.0.0.1:0"); /* or the test is skipped */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sup_result result =
            sup_run(SUP_ARGS("swctl", "export", "--listen", cases[i].listen_on));
        cr_assert_eq(result.exit_code, cases[i].code, "%s: exit %d: %s", cases[i].listen_on,
                     result.exit_code, result.err);
        cr_assert_not_null(strstr(result.err, cases[i].word), "%s", result.err);
    }
    struct sup_result taken =
        sup_run(SUP_ARGS("swctl", "export", "--listen", sup_format("127.0.0.1:%u", port)));
    cr_assert_eq(taken.exit_code, 1);
    cr_assert_not_null(strstr(taken.err, "cannot listen"), "%s", taken.err);
    stop_export();
    stop();
}
