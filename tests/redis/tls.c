/* SPDX-License-Identifier: MIT */
/* Brokers and a redis-server that speak TLS: certificates are made by the openssl program. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "redis/fixture.h"

TestSuite(redis_tls, .timeout = 240);

/* ---- certificates ---------------------------------------------------------------------------- */

static void need_openssl(void)
{
    if (access("/usr/bin/openssl", X_OK) != 0)
        cr_skip_test("openssl is not installed (bash broker/dependencies.sh --tests)");
}

#define NEW_KEY "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"

/* An authority: NAME.pem, NAME.key. */
static const char *authority(const char *name)
{
    const char *pem = sup_path("%s.pem", name);
    (void)sup_run_ok(SUP_ARGS("/usr/bin/openssl", "req", "-x509", NEW_KEY, "-days", "2", "-subj",
                              sup_format("/CN=%s", name), "-keyout", sup_path("%s.key", name),
                              "-out", pem));
    return pem;
}

/* A certificate for whom, such as "IP:127.0.0.1", signed by an authority. */
static const char *certificate(const char *name, const char *signer, const char *whom)
{
    const char *pem = sup_path("%s.pem", name), *request = sup_path("%s.csr", name);
    const char *extensions = sup_path("%s.ext", name);
    const char *text = sup_format("subjectAltName=%s\n", whom);
    sup_write(extensions, text, strlen(text));
    (void)sup_run_ok(SUP_ARGS("/usr/bin/openssl", "req", NEW_KEY, "-subj",
                              sup_format("/CN=%s", name), "-keyout", sup_path("%s.key", name),
                              "-out", request));
    (void)sup_run_ok(SUP_ARGS("/usr/bin/openssl", "x509", "-req", "-in", request, "-CA",
                              sup_path("%s.pem", signer), "-CAkey", sup_path("%s.key", signer),
                              "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out",
                              pem));
    return pem;
}

/* ---- a server -------------------------------------------------------------------------------- */

static int listen_somewhere(unsigned *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 8) == 0 &&
              getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static unsigned free_port(void)
{
    unsigned port;
    close(listen_somewhere(&port));
    return port;
}

struct server {
    struct sup_redis redis;
    const char *url;
};

/* Signed by "ours", with the certificate "server" for whom; clients: "yes" asks for theirs. */
static struct server serve(const char *whom, const char *clients)
{
    need_openssl();
    const char *ca = authority("ours");
    const char *cert = certificate("server", "ours", whom);
    const char *port = sup_format("%u", free_port());
    struct server server = {.url = sup_format("rediss://127.0.0.1:%s", port)};
    /* the words must outlive this: the server may be started again */
    const char *const words[] = {"--tls-port",
                                 port,
                                 "--bind",
                                 "127.0.0.1",
                                 "-::1", /* where there is IPv6 */
                                 "--tls-cert-file",
                                 cert,
                                 "--tls-key-file",
                                 sup_path("server.key"),
                                 "--tls-ca-cert-file",
                                 ca,
                                 "--tls-auth-clients",
                                 clients,
                                 NULL};
    static const char *kept[sizeof words / sizeof words[0]];
    memcpy(kept, words, sizeof words);
    server.redis = sup_redis_start(kept);
    return server;
}

#define TRUST "--redis-ca", sup_path("ours.pem")

/* ---- behaviour ------------------------------------------------------------------------------- */

Test(redis_tls, a_second_broker_reads_nothing_from_its_disk)
{
    struct server server = serve("IP:127.0.0.1", "no");
    struct sup_broker first = redis_broker(server.url, SUP_ARGS(TRUST));
    redis_expect_all(&first);
    redis_wait_for(&first, "stores", REDIS_CHUNKS);
    cr_assert_eq(sup_broker_stop(&first), 0);
    struct sup_broker second =
        redis_broker(server.url, SUP_ARGS(TRUST, "--redis-order", "redis-first"));
    redis_expect_all(&second);
    cr_assert_eq(redis_disk_loads(&second), 0);
    cr_assert_eq(redis_stat(&second, "hits"), REDIS_CHUNKS);
    cr_assert_eq(redis_stat(&second, "hit_bytes"), sup_stat(&second, "load_bytes"));
    cr_assert_eq(sup_stat(&second, "digest_errors"), 0);
    sup_redis_kill(&server.redis); /* what is cut off is like any lost connection */
    redis_clear(&second);
    redis_expect_all(&second);
    cr_assert_eq(redis_disk_loads(&second), REDIS_CHUNKS);
    sup_redis_restart(&server.redis);
    redis_wait_for_link(&second, "reads", "connects", 2);
    cr_assert_eq(sup_broker_stop(&second), 0, "%s", sup_read(second.log, NULL));
}

/* The connection fails, the log says why, and everything is served from files. */
static void expect_failure(const char *url, const char *const extra[], const char *logged)
{
    struct sup_broker broker = redis_broker_alone(url, extra);
    redis_wait_for_link(&broker, "reads", "connect_failures", 2);
    redis_expect_all(&broker);
    cr_assert_eq(redis_disk_loads(&broker), REDIS_CHUNKS);
    cr_assert_eq(redis_link_stat(&broker, "reads", "connects"), 0);
    cr_assert_eq(sup_broker_stop(&broker), 0);
    const char *log = sup_read(broker.log, NULL);
    cr_assert_not_null(strstr(log, logged), "%s", log);
}

Test(redis_tls, an_untrusted_server_is_refused)
{
    struct server server = serve("IP:127.0.0.1", "no");
    (void)authority("theirs");
    expect_failure(server.url, SUP_ARGS("--redis-ca", sup_path("theirs.pem")), "not trusted");
    expect_failure(server.url, NULL, "not trusted"); /* nor by the machine's authorities */
}

Test(redis_tls, a_certificate_for_another_host_is_refused)
{
    struct server server = serve("DNS:redis.example,IP:127.0.0.2", "no");
    expect_failure(server.url, SUP_ARGS(TRUST), "for another host: IP address mismatch");
}

Test(redis_tls, a_name_is_checked_like_an_address)
{
    struct server server = serve("DNS:localhost", "no");
    const char *port = strrchr(server.url, ':');
    struct sup_broker broker =
        redis_broker(sup_format("rediss://localhost%s", port), SUP_ARGS(TRUST));
    redis_expect_all(&broker);
    cr_assert_eq(sup_broker_stop(&broker), 0);
    expect_failure(server.url, SUP_ARGS(TRUST), "for another host: IP address mismatch");
}

/* A zone says through which interface, and no certificate has one. */
Test(redis_tls, an_address_is_checked_without_its_zone)
{
    const struct sockaddr_in6 loopback = {.sin6_family = AF_INET6,
                                          .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&loopback, sizeof loopback) < 0)
        cr_skip_test("no IPv6 here");
    close(fd);
    struct server server = serve("IP:::1", "no");
    const char *port = strrchr(server.url, ':');
    struct sup_broker broker =
        redis_broker(sup_format("rediss://[::1%%1]%s", port), SUP_ARGS(TRUST));
    redis_expect_all(&broker);
    cr_assert_eq(sup_broker_stop(&broker), 0);
}

Test(redis_tls, a_server_gets_the_certificate_that_it_requires)
{
    struct server server = serve("IP:127.0.0.1", "yes");
    const char *cert = certificate("broker", "ours", "DNS:broker");
    const char *key = sup_path("broker.key");
    struct sup_broker broker =
        redis_broker(server.url, SUP_ARGS(TRUST, "--redis-cert", cert, "--redis-key", key));
    redis_expect_all(&broker);
    redis_wait_for(&broker, "stores", REDIS_CHUNKS);
    cr_assert_eq(sup_broker_stop(&broker), 0);
    struct sup_broker without = redis_broker_alone(server.url, SUP_ARGS(TRUST));
    redis_wait_for_link(&without, "reads", "closed", 1); /* TLS 1.3 says so after the handshake */
    redis_expect_all(&without);
    cr_assert_eq(redis_disk_loads(&without), REDIS_CHUNKS);
    cr_assert_eq(redis_link_stat(&without, "reads", "connects"), 0);
    cr_assert_eq(sup_broker_stop(&without), 0);
    const char *log = sup_read(without.log, NULL);
    cr_assert_not_null(strstr(log, "set --redis-cert"), "%s", log);
}

Test(redis_tls, a_server_without_tls_or_answers_times_out)
{
    need_openssl();
    (void)authority("ours");
    const char *port = sup_format("%u", free_port());
    struct sup_redis plain = sup_redis_start(SUP_ARGS("--port", port, "--bind", "127.0.0.1"));
    expect_failure(sup_format("rediss://127.0.0.1:%s", port),
                   SUP_ARGS(TRUST, "--redis-timeout", "300"),
                   "no connection in time"); /* the server waits for the end of a line */
    sup_redis_kill(&plain);

    unsigned number;
    int silent = listen_somewhere(&number);
    expect_failure(sup_format("rediss://127.0.0.1:%u", number),
                   SUP_ARGS(TRUST, "--redis-timeout", "300"), "no connection in time");
    close(silent);
}

/* Takes connections and answers what is no TLS, until it is killed. */
static pid_t babble(int listening)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    while (pid == 0) {
        int fd = accept(listening, NULL, NULL);
        if (fd < 0 || write(fd, answer, sizeof answer - 1) < 0)
            _exit(1);
        close(fd);
    }
    return pid;
}

Test(redis_tls, an_answer_that_is_not_tls_is_logged)
{
    need_openssl();
    (void)authority("ours");
    unsigned port;
    int listening = listen_somewhere(&port);
    pid_t pid = babble(listening);
    expect_failure(sup_format("rediss://127.0.0.1:%u", port), SUP_ARGS(TRUST), "TLS: ");
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(sup_wait(pid, 20000), 128 + SIGKILL);
    close(listening);
}

static void expect_refused(const char *const words[], const char *text)
{
    const char *argv[24] = {"swbrokerd", "--check-config", "--chunks-dir", redis_models()};
    for (size_t i = 0; words[i]; i++)
        argv[4 + i] = words[i];
    struct sup_result result = sup_run(argv);
    cr_assert_neq(result.exit_code, 0);
    cr_assert_not_null(strstr(result.err, text), "%s", result.err);
}

Test(redis_tls, unusable_files_are_refused_at_the_start)
{
    need_openssl();
    const char *url = "rediss://127.0.0.1:1", *ca = authority("ours"), *bad = sup_path("bad.pem");
    const char *cert = certificate("one", "ours", "DNS:one");
    (void)certificate("other", "ours", "DNS:other");
    sup_write(bad, "nonsense\n", 9);
    expect_refused(SUP_ARGS("--redis-url", url, "--redis-ca", sup_path("none.pem")),
                   "none.pem: No such file or directory");
    expect_refused(
        SUP_ARGS("--redis-url", url, "--redis-cert", cert, "--redis-key", sup_path("none.key")),
        "none.key: No such file or directory");
    expect_refused(SUP_ARGS("--redis-url", url, "--redis-ca", bad), "--redis-ca");
    expect_refused(SUP_ARGS("--redis-url", url, "--redis-cert", cert), "--redis-key");
    expect_refused(SUP_ARGS("--redis-url", url, "--redis-cert", bad, "--redis-key", bad),
                   "--redis-cert");
    expect_refused(
        SUP_ARGS("--redis-url", url, "--redis-cert", cert, "--redis-key", sup_path("other.key")),
        "is not the key");
    expect_refused(SUP_ARGS("--redis-url", "redis://127.0.0.1:1", "--redis-ca", ca), "rediss://");
}
