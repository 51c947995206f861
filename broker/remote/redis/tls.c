/* SPDX-License-Identifier: MIT */
/* OpenSSL on non-blocking sockets. */
#include "remote/redis/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509err.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct redis_tls_context {
    SSL_CTX *ssl;
};

struct redis_tls {
    SSL *ssl;
    char problem[200];
};

/* ---- the context ----------------------------------------------------------------------------- */

static const char *last_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "no reason given";
}

static int unusable(struct swi_error *error, const char *option, const char *file)
{
    return swi_fail(error, -EINVAL, "%s %s: %s; expected a PEM file", option, file, last_reason());
}

/* OpenSSL does not say why it cannot open a file. */
static int check_readable(const char *option, const char *file, struct swi_error *error)
{
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    if (file && fd < 0)
        return swi_fail(error, -EINVAL, "%s %s: %s", option, file, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return 0;
}

static int check_files(const struct redis_tls_files *files, struct swi_error *error)
{
    if (!files->cert != !files->key)
        return swi_fail(error, -EINVAL, "--redis-cert and --redis-key require each other");
    int result = check_readable("--redis-ca", files->ca, error);
    if (result == 0)
        result = check_readable("--redis-cert", files->cert, error);
    return result == 0 ? check_readable("--redis-key", files->key, error) : result;
}

static int read_files(SSL_CTX *ssl, const struct redis_tls_files *files, struct swi_error *error)
{
    int result = check_files(files, error);
    if (result < 0)
        return result;
    ERR_clear_error();
    if (files->ca && SSL_CTX_load_verify_file(ssl, files->ca) != 1)
        return unusable(error, "--redis-ca", files->ca);
    if (!files->ca && SSL_CTX_set_default_verify_paths(ssl) != 1)
        return swi_fail(error, -EINVAL, "this machine's certificate authorities cannot be read: %s",
                        last_reason());
    if (!files->cert)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(ssl, files->cert) != 1)
        return unusable(error, "--redis-cert", files->cert);
    if (SSL_CTX_use_PrivateKey_file(ssl, files->key, SSL_FILETYPE_PEM) == 1)
        return 0;
    if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH)
        return swi_fail(error, -EINVAL, "--redis-key %s is not the key of --redis-cert %s",
                        files->key, files->cert);
    return unusable(error, "--redis-key", files->key);
}

/* Refuses a key with a passphrase: a service cannot ask for it. */
static int no_passphrase(char *text, int size, int writing, void *context)
{
    (void)text;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

int redis_tls_context_create(const struct redis_tls_files *files, struct redis_tls_context **ret,
                             struct swi_error *error)
{
    struct redis_tls_context *context = calloc(1, sizeof *context);
    if (context)
        context->ssl = SSL_CTX_new(TLS_client_method());
    if (!context || !context->ssl) {
        free(context);
        return swi_fail(error, -ENOMEM, "out of memory for TLS");
    }
    SSL_CTX *ssl = context->ssl;
    (void)SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(ssl, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    /* else one read would continue through messages without bytes for as long as they come */
    (void)SSL_CTX_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
    int result = read_files(ssl, files, error);
    if (result < 0)
        redis_tls_context_destroy(context);
    else
        *ret = context;
    return result;
}

void redis_tls_context_destroy(struct redis_tls_context *context)
{
    if (!context)
        return;
    SSL_CTX_free(context->ssl);
    free(context);
}

/* ---- a connection ---------------------------------------------------------------------------- */

/* Sets the host as certificates write it: an address without its zone (fe80::1%eth0), a name without
 * its final dot. Never an empty one, which OpenSSL accepts as any host. */
static bool expect_host(SSL *ssl, const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    char text[256];
    size_t length = strnlen(host, sizeof text - 1);
    memcpy(text, host, length);
    text[length] = 0;
    char *zone = strchr(text, '%');
    if (zone)
        *zone = 0;
    if ((!zone && inet_pton(AF_INET, text, address) == 1) ||
        inet_pton(AF_INET6, text, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), text) == 1;
    if (zone)
        *zone = '%';
    if (length > 1 && text[length - 1] == '.')
        text[length - 1] = 0;
    /* SSL_set_tlsext_host_name without its cast, which clang refuses; the name is copied */
    return text[0] && SSL_set1_host(ssl, text) == 1 &&
           SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, text) == 1;
}

int redis_tls_create(struct redis_tls_context *context, int fd, const char *host,
                     struct redis_tls **ret)
{
    struct redis_tls *tls = calloc(1, sizeof *tls);
    if (!tls)
        return -ENOMEM;
    tls->ssl = SSL_new(context->ssl);
    if (!tls->ssl || SSL_set_fd(tls->ssl, fd) != 1 || !expect_host(tls->ssl, host)) {
        redis_tls_destroy(tls);
        return -ENOMEM;
    }
    SSL_set_connect_state(tls->ssl);
    *ret = tls;
    return 0;
}

void redis_tls_destroy(struct redis_tls *tls)
{
    if (!tls)
        return;
    SSL_free(tls->ssl);
    free(tls);
}

static void note_problem(struct redis_tls *tls, int error, int code)
{
    long verdict = SSL_get_verify_result(tls->ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
        (void)snprintf(tls->problem, sizeof tls->problem,
                       "its certificate is for another host: %s (the URL must use a name from "
                       "the certificate)",
                       X509_verify_cert_error_string(verdict));
    else if (verdict != X509_V_OK)
        (void)snprintf(
            tls->problem, sizeof tls->problem,
            "its certificate is not trusted: %s (--redis-ca sets the trusted authorities)",
            X509_verify_cert_error_string(verdict));
    else if (error == SSL_ERROR_SYSCALL && code != 0)
        (void)snprintf(tls->problem, sizeof tls->problem, "%s", strerror(code));
    else if (reason)
        (void)snprintf(tls->problem, sizeof tls->problem, "TLS: %s", reason);
    else
        (void)snprintf(tls->problem, sizeof tls->problem, "TLS: the connection was closed");
}

enum redis_tls_step redis_tls_shake_hands(struct redis_tls *tls)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(tls->ssl);
    int code = errno;
    if (result == 1)
        return REDIS_TLS_DONE;
    int error = SSL_get_error(tls->ssl, result);
    if (error == SSL_ERROR_WANT_READ)
        return REDIS_TLS_READS;
    if (error == SSL_ERROR_WANT_WRITE)
        return REDIS_TLS_WRITES;
    note_problem(tls, error, code);
    return REDIS_TLS_FAILED;
}

/* The result of a transfer that moved nothing. */
static ssize_t stopped(struct redis_tls *tls, int result, int code)
{
    int error = SSL_get_error(tls->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return -EAGAIN;
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    note_problem(tls, error, code);
    return -EPROTO;
}

ssize_t redis_tls_send(struct redis_tls *tls, const void *data, size_t size)
{
    ERR_clear_error();
    errno = 0;
    size_t sent = 0;
    int result = SSL_write_ex(tls->ssl, data, size, &sent);
    return result == 1 ? (ssize_t)sent : stopped(tls, result, errno);
}

ssize_t redis_tls_receive(struct redis_tls *tls, void *data, size_t size)
{
    ERR_clear_error();
    errno = 0;
    size_t got = 0;
    int result = SSL_read_ex(tls->ssl, data, size, &got);
    return result == 1 ? (ssize_t)got : stopped(tls, result, errno);
}

const char *redis_tls_problem(const struct redis_tls *tls)
{
    return tls->problem;
}
