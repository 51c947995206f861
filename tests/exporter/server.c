/* SPDX-License-Identifier: MIT */
/* sw-exporter with good and bad HTTP clients, and without a broker. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
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
#include "exporter/form.h"
#include "support/support.h"

TestSuite(exporter, .timeout = 120);

static struct sup_broker broker;

static void start(void)
{
    const char *models = sup_path("models");
    sup_mkdir(models);
    (void)sup_synth(models, "tiny", SUP_ARGS("--layers", "2"));
    broker = sup_broker_start(models, "16", NULL);
}

static void stop(void)
{
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

static pid_t exporter;
static unsigned port;

static void export_metrics(const char *listen_on)
{
    const char *out = sup_path("export.out");
    exporter = sup_spawn(SUP_ARGS("sw-exporter", "--socket", broker.socket, "--listen", listen_on),
                         out, sup_path("export.err"));
    for (int i = 0; i < 2000 && !strchr(sup_read(out, NULL), '\n'); i++) {
        int code = sup_wait(exporter, 0);
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

/* Sends one request verbatim; returns everything that comes back. */
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

Test(exporter, serves_metrics_over_http)
{
    start();
    export_metrics("127.0.0.1:0");
    const char *answer = ask(GET("/metrics"));
    cr_assert(status_is(answer, 200), "%s", answer);
    cr_assert_not_null(strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
                       "%s", answer);
    metrics_check_form(body_of(answer));
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

Test(exporter, outlives_the_broker)
{
    start();
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

/* A peer that refuses every connection with text that would clear a screen. */
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

Test(exporter, prints_no_terminal_controls)
{
    broker.socket = sup_path("rude");
    pid_t pid = start_rude_peer(broker.socket);
    export_metrics("127.0.0.1:0");
    cr_assert_not_null(strstr(ask(GET("/metrics")), "\nswbroker_up 0\n"));
    const char *said = sup_read(sup_path("export.err"), NULL);
    cr_assert_str_eq(said, "sw-exporter: ?[2J?1mgone\n");
    stop_export();
    cr_assert_eq(kill(pid, SIGKILL), 0);
    (void)sup_wait(pid, 10000);
}

Test(exporter, survives_bad_clients)
{
    start();
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
    /* more connections than it accepts, all silent */
    int idle[40];
    for (int i = 0; i < 40; i++)
        idle[i] = dial();
    for (int i = 0; i < 40; i++)
        close(idle[i]);
    cr_assert_not_null(strstr(ask(GET("/metrics")), "\nswbroker_up 1\n"));
    stop_export();
    stop();
}

Test(exporter, refuses_what_it_should)
{
    start();
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
    export_metrics("127.0.0.1:0");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sup_result result = sup_run(SUP_ARGS("sw-exporter", "--listen", cases[i].listen_on));
        cr_assert_eq(result.exit_code, cases[i].code, "%s: exit %d: %s", cases[i].listen_on,
                     result.exit_code, result.err);
        cr_assert_not_null(strstr(result.err, cases[i].word), "%s", result.err);
    }
    struct sup_result taken =
        sup_run(SUP_ARGS("sw-exporter", "--listen", sup_format("127.0.0.1:%u", port)));
    cr_assert_eq(taken.exit_code, 1);
    cr_assert_not_null(strstr(taken.err, "cannot listen"), "%s", taken.err);
    stop_export();
    stop();
}

Test(exporter, bash_completes_its_options)
{
    const char *script = sup_format("source '%s/broker/deploy/completion/sw-exporter.bash'\n"
                                    "COMP_WORDS=('%s/sw-exporter' --l)\n"
                                    "COMP_CWORD=1\n"
                                    "_sw_exporter\n"
                                    "printf '%%s\\n' \"${COMPREPLY[@]}\"\n",
                                    SW_SOURCE_DIR, SW_BUILD_DIR);
    cr_assert_str_eq(sup_run_ok(SUP_ARGS("/bin/bash", "--norc", "-uc", script)), "--listen\n");
}
