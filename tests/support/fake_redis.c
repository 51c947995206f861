/* SPDX-License-Identifier: MIT */
/* A server that speaks just enough of Redis's protocol to misuse it. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "redis.h"

#define COUNTED_MAX 16

struct fake {
    int listener;
    pthread_mutex_t lock;
    enum fake_manner manner;
    struct {
        char word[16];
        unsigned count;
    } counted[COUNTED_MAX];
    bool has_hung_up;
};

/* ---- what it was sent ------------------------------------------------------------------------ */

struct peer {
    struct fake *fake;
    int fd;
    FILE *in;
    char secret[256]; /* what AUTH was sent */
};

/* "*3\r\n" or "$5\r\n": the number; -1 at the end. */
static long read_head(struct peer *peer, char sign)
{
    char line[64];
    if (!fgets(line, sizeof line, peer->in) || line[0] != sign)
        return -1;
    return strtol(line + 1, NULL, 10);
}

struct words {
    char first[16], second[256];
};

/* One command: its first two words, each cut to fit. False: the broker hung up. */
static bool read_command(struct peer *peer, struct words *words)
{
    static char rest[1];
    char *const places[] = {words->first, words->second, rest};
    static const size_t rooms[] = {sizeof words->first - 1, sizeof words->second - 1, 0};
    long count = read_head(peer, '*');
    if (count < 1)
        return false;
    *words = (struct words){.first = ""};
    for (long i = 0; i < count; i++) {
        long length = read_head(peer, '$');
        if (length < 0)
            return false;
        size_t part = i < 2 ? (size_t)i : 2, room = rooms[part], used = 0;
        for (long j = 0; j < length + 2; j++) {
            int byte = fgetc(peer->in);
            if (byte == EOF)
                return false;
            if (j < length && used < room)
                places[part][used++] = (char)byte;
        }
        places[part][used] = 0;
    }
    return true;
}

static enum fake_manner note(struct fake *fake, const char *word)
{
    (void)pthread_mutex_lock(&fake->lock);
    for (size_t i = 0; i < COUNTED_MAX; i++) {
        if (fake->counted[i].word[0] && strcmp(fake->counted[i].word, word) != 0)
            continue;
        (void)snprintf(fake->counted[i].word, sizeof fake->counted[i].word, "%s", word);
        fake->counted[i].count++;
        break;
    }
    enum fake_manner manner = fake->manner;
    (void)pthread_mutex_unlock(&fake->lock);
    return manner;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static bool say_bytes(struct peer *peer, const void *data, size_t size)
{
    const char *bytes = data;
    while (size > 0) {
        ssize_t sent = send(peer->fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

static bool say(struct peer *peer, const char *text)
{
    return say_bytes(peer, text, strlen(text));
}

/* Until the broker hangs up. */
static bool say_for_ever(struct peer *peer, const char *head, const char *again)
{
    bool good = say(peer, head);
    while (good)
        good = say(peer, again);
    return false;
}

static bool drip(struct peer *peer)
{
    bool good = say(peer, "$1048576\r\n");
    for (int i = 0; good && i < 1048576; i++) {
        good = say(peer, "x");
        sup_sleep_ms(20);
    }
    return false;
}

static bool say_zeros(struct peer *peer, size_t promised, size_t sent)
{
    char head[32];
    (void)snprintf(head, sizeof head, "$%zu\r\n", promised);
    char *zeros = calloc(1, sent + 1);
    bool good = say(peer, head) && say_bytes(peer, zeros, sent);
    free(zeros);
    return good && promised == sent && say(peer, "\r\n");
}

static const char loading[] = "-LOADING Redis is loading the dataset in memory\r\n";

static bool say_secret(struct peer *peer)
{
    char text[400];
    (void)snprintf(text, sizeof text, "-ERR unknown user, who says `%s`\r\n", peer->secret);
    return say(peer, text);
}

static bool answer_get(struct peer *peer, const char *key, enum fake_manner manner)
{
    static char many[65536];
    switch (manner) {
    case FAKE_NO_PROTOCOL:
        return say(peer, "HTTP/1.1 400 Bad Request\r\n\r\n");
    case FAKE_STATUS:
        return say(peer, "+OK\r\n");
    case FAKE_INTEGER:
        return say(peer, ":5\r\n");
    case FAKE_ARRAY:
        return say(peer, "*2\r\n$1\r\na\r\n*1\r\n:7\r\n");
    case FAKE_HUGE_ARRAY:
        for (size_t i = 0; i + 4 < sizeof many; i += 4)
            memcpy(many + i, ":1\r\n", 4);
        return say_for_ever(peer, "*2147483647\r\n", many);
    case FAKE_HUGE_VALUE:
        memset(many, 'v', sizeof many - 1);
        return say_for_ever(peer, "$4611686018427387904\r\n", many);
    case FAKE_NEGATIVE:
        return say(peer, "$-5\r\n");
    case FAKE_ENDLESS_LINE:
        memset(many, 'e', sizeof many - 1);
        return say_for_ever(peer, "-ERR ", many);
    case FAKE_SHORT:
        return say(peer, "$1\r\nx\r\n");
    case FAKE_WRONG_BYTES:
        return say_zeros(peer, 1048576, 1048576);
    case FAKE_CUT:
        return say_zeros(peer, 1048576, 500000);
    case FAKE_DRIP:
        return drip(peer);
    case FAKE_HANG_UP:
        return false;
    case FAKE_FIRST_ONLY:
        return strcmp(strrchr(key, ':'), ":0") != 0 || say_zeros(peer, 1048576, 1048576);
    case FAKE_SILENT:
        return true;
    case FAKE_UNASKED:
        return say(peer, "$-1\r\n+OK\r\n");
    case FAKE_ECHO_GET:
        return say_secret(peer);
    case FAKE_LOADING:
        return say(peer, loading);
    default:
        return say(peer, "$-1\r\n");
    }
}

static bool hangs_up_now(struct fake *fake)
{
    (void)pthread_mutex_lock(&fake->lock);
    bool now = !fake->has_hung_up;
    fake->has_hung_up = true;
    (void)pthread_mutex_unlock(&fake->lock);
    return now;
}

static bool answer(struct peer *peer, const struct words *words, enum fake_manner manner)
{
    const char *word = words->first, *second = words->second;
    bool greeting =
        strcmp(word, "PING") == 0 || strcmp(word, "SELECT") == 0 || strcmp(word, "AUTH") == 0;
    if (greeting && manner == FAKE_SILENT_GREETING)
        return true;
    if (greeting && manner == FAKE_ODD_GREETING)
        return say(peer, "$4\r\nPONG\r\n");
    if (strcmp(word, "AUTH") == 0)
        (void)snprintf(peer->secret, sizeof peer->secret, "%s", second);
    if ((strcmp(word, "AUTH") == 0 && manner == FAKE_ECHO_AUTH) ||
        (strcmp(word, "PING") == 0 && manner == FAKE_ECHO_PING))
        return say_secret(peer);
    if (strcmp(word, "PING") == 0)
        return say(peer, "+PONG\r\n");
    if (greeting)
        return say(peer, "+OK\r\n");
    if (strcmp(word, "EXISTS") == 0)
        return say(peer, ":0\r\n");
    if (manner == FAKE_HANG_UP_ONCE && strcmp(word, "SET") == 0 && hangs_up_now(peer->fake))
        return false;
    if (strcmp(word, "SET") == 0 && manner == FAKE_REFUSE_OOM)
        return say(peer, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    if (strcmp(word, "SET") == 0 && manner == FAKE_REFUSE_ODDLY)
        return say(peer, ":1\r\n");
    if (strcmp(word, "SET") == 0 && manner == FAKE_REFUSE_LOADING)
        return say(peer, loading);
    if (strcmp(word, "SET") == 0)
        return say(peer, "+OK\r\n");
    return answer_get(peer, second, manner);
}

static void *serve_peer(void *argument)
{
    struct peer *peer = argument;
    struct words words = {.first = ""};
    while (read_command(peer, &words))
        if (!answer(peer, &words, note(peer->fake, words.first)))
            break;
    (void)fclose(peer->in); /* and its descriptor */
    free(peer);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void *serve(void *argument)
{
    struct fake *fake = argument;
    for (;;) {
        int fd = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        struct peer *peer = calloc(1, sizeof *peer);
        *peer = (struct peer){.fake = fake, .fd = fd, .in = fdopen(fd, "r")};
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve_peer, peer) != 0)
            return NULL;
        (void)pthread_detach(thread);
    }
}

struct sup_fake sup_fake_start(enum fake_manner manner)
{
    static int started;
    const char *path = sup_path("fake%d.sock", started++);
    struct fake *fake = calloc(1, sizeof *fake);
    fake->manner = manner;
    (void)pthread_mutex_init(&fake->lock, NULL);
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cr_assert_lt(strlen(path), sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    cr_assert_eq(bind(fake->listener, (const struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fake->listener, 16), 0);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, serve, fake), 0);
    (void)pthread_detach(thread);
    return (struct sup_fake){.url = sup_format("unix://%s", path), .state = fake};
}

void sup_fake_set(struct sup_fake *fake, enum fake_manner manner)
{
    (void)pthread_mutex_lock(&fake->state->lock);
    fake->state->manner = manner;
    (void)pthread_mutex_unlock(&fake->state->lock);
}

unsigned sup_fake_count(struct sup_fake *fake, const char *word)
{
    unsigned count = 0;
    (void)pthread_mutex_lock(&fake->state->lock);
    for (size_t i = 0; i < COUNTED_MAX; i++)
        if (strcmp(fake->state->counted[i].word, word) == 0)
            count = fake->state->counted[i].count;
    (void)pthread_mutex_unlock(&fake->state->lock);
    return count;
}
