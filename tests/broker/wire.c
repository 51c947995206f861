/* SPDX-License-Identifier: MIT */
/* The wire protocol against a real broker: what a client may ask, and what happens to one that
 * breaks the rules. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/raw.h"

static struct sup_broker broker;

static void start_with(const char *const extra[])
{
    sup_mkdir(sup_path("models"));
    (void)sup_synth(sup_path("models"), "tiny", SUP_ARGS("--layers", "3"));
    broker = sup_broker_start(sup_path("models"), "32", extra);
}

static void start(void)
{
    start_with(NULL);
}

/* Every test ends here: whatever it did, the broker still serves, and ends cleanly. */
static void stop(void)
{
    if (!broker.pid)
        return;
    struct raw good = raw_attach(&broker, "afterwards");
    struct raw_model model = raw_open(&good, "tiny");
    (void)raw_pin(&good, &model, raw_find(&model, "layer_2"));
    raw_close(&good);
    cr_assert_eq(sup_broker_stop(&broker), 0, "%s", sup_read(broker.log, NULL));
}

TestSuite(broker_wire, .init = start, .fini = stop, .timeout = 60);

/* ---- the ordinary road ----------------------------------------------------------------------- */

Test(broker_wire, opens_loads_pins_and_closes)
{
    struct raw raw = raw_attach(&broker, "walker");
    struct raw_model model = raw_open(&raw, "tiny");
    cr_assert_eq(model.opened.chunks, 5);
    cr_assert_str_eq(model.names[0], "embeddings");
    for (uint32_t i = 0; i < model.opened.chunks; i++)
        (void)raw_pin(&raw, &model, i);
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 5);
    cr_assert_eq(sup_stat(&broker, "clients"), 1);
    cr_assert_gt(sup_stat(&broker, "pinned_bytes"), 0);
    struct swi_wire_close close_it = {.model = model.opened.model};
    cr_assert(raw_send(&raw, SWI_WIRE_CLOSE, &close_it, sizeof close_it, NULL, 0));
    const char *text;
    cr_assert_eq(raw_load(&raw, &model, 0, &text), -EBADF, "%s", text);
    raw_close(&raw);
}

Test(broker_wire, answers_a_hit_and_a_load_of_what_is_resident)
{
    struct raw raw = raw_attach(&broker, "again");
    struct raw_model model = raw_open(&raw, "tiny");
    cr_assert_eq(raw_load(&raw, &model, 1, NULL), 0);
    cr_assert_eq(raw_load(&raw, &model, 1, NULL), 0);
    cr_assert_eq(sup_stat(&broker, "loads"), 1);
    uint32_t slot = raw_pin(&raw, &model, 1);
    swi_page_note_hit(raw.page, raw.index, slot, model.ids[1]);
    cr_assert_eq(sup_stat(&broker, "hits"), 1);
    raw_close(&raw);
    for (int i = 0; i < 500 && sup_stat(&broker, "clients") > 0; i++)
        sup_sleep_ms(10);
    cr_assert_eq(sup_stat(&broker, "hits"), 1, "hits of a session that left are forgotten");
}

Test(broker_wire, prefetches_without_an_answer)
{
    struct raw raw = raw_attach(&broker, "ahead");
    struct raw_model model = raw_open(&raw, "tiny");
    struct swi_wire_prefetch prefetch = {.incarnation = model.opened.incarnation,
                                         .model = model.opened.model,
                                         .count = model.opened.chunks};
    cr_assert(raw_send(&raw, SWI_WIRE_PREFETCH, &prefetch, sizeof prefetch, model.ids,
                       model.opened.chunks * sizeof model.ids[0]));
    for (int i = 0; i < 500 && sup_stat(&broker, "chunks_resident") < 5; i++)
        sup_sleep_ms(10);
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 5);
    cr_assert_eq(sup_stat(&broker, "prefetches"), 5);
    cr_assert_lt(recv(raw.fd, &prefetch, sizeof prefetch, MSG_DONTWAIT), 0, "an answer came");
    raw_close(&raw);
}

Test(broker_wire, passes_files_of_the_model_and_nothing_else)
{
    const char *directory = sup_path("models/tiny");
    sup_write_text(sup_path("secret"), "secret");
    cr_assert_eq(symlink("../../secret", sup_format("%s/out.txt", directory)), 0);
    cr_assert_eq(symlink("vocab.txt", sup_format("%s/in.txt", directory)), 0);
    cr_assert_eq(symlink("/proc/self/exe", sup_format("%s/magic", directory)), 0);
    cr_assert_eq(mkfifo(sup_format("%s/fifo", directory), 0666), 0);
    sup_mkdir(sup_format("%s/1_Pooling", directory));
    sup_write_text(sup_format("%s/1_Pooling/config.json", directory), "{}");
    (void)sup_run_ok(
        SUP_ARGS("/usr/bin/truncate", "-s", "65M", sup_format("%s/huge.bin", directory)));
    struct raw raw = raw_attach(&broker, "reader");
    struct raw_model model = raw_open(&raw, "tiny");
    const struct {
        const char *path;
        int status;
    } cases[] = {
        {"config.json", 0},
        {"1_Pooling/config.json", 0},
        {"in.txt", 0},
        {"1_Pooling/../vocab.txt", 0},
        {"missing.json", SW_ENOCOMPONENT},
        {"config.json/x", SW_ENOCOMPONENT},
        {"../tiny/config.json", SW_ENOCOMPONENT},
        {"../../secret", SW_ENOCOMPONENT},
        {"/etc/passwd", SW_ENOCOMPONENT},
        {"out.txt", SW_ENOCOMPONENT},
        {"magic", SW_ENOCOMPONENT},
        {"fifo", SW_ENOCOMPONENT},
        {"1_Pooling", SW_ENOCOMPONENT},
        {".", SW_ENOCOMPONENT},
        {"", SW_ENOCOMPONENT},
        {"huge.bin", SW_EQUOTA},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct swi_wire_file file = {.model = model.opened.model};
        strncpy(file.path, cases[i].path, sizeof file.path - 1);
        cr_assert(raw_send(&raw, SWI_WIRE_FILE, &file, sizeof file, NULL, 0));
        if (cases[i].status) {
            const char *text;
            int status = raw_done(&raw, &text);
            cr_assert_eq(status, cases[i].status, "%s: %d: %s", cases[i].path, status, text);
            continue;
        }
        struct raw_answer *answer = raw_expect(&raw, SWI_WIRE_FILE_IS);
        cr_assert_eq(answer->fd_count, 1, "%s", cases[i].path);
        struct swi_wire_file_is is;
        (void)swi_wire_get(&answer->in, &is, sizeof is);
        struct stat status;
        cr_assert_eq(fstat(answer->fds[0], &status), 0);
        cr_assert_eq((uint64_t)status.st_size, is.bytes);
        cr_assert_eq(fcntl(answer->fds[0], F_GETFL) & O_ACCMODE, O_RDONLY);
        close(answer->fds[0]);
    }
    raw_close(&raw);
}

Test(broker_wire, gives_read_only_arena_and_index_and_a_sealed_page)
{
    struct raw raw = raw_attach(&broker, "prober");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(fcntl(raw.fds[i], F_GETFL) & O_ACCMODE, O_RDONLY);
        cr_assert_eq(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, raw.fds[i], 0),
                     MAP_FAILED);
        cr_assert_lt(write(raw.fds[i], "x", 1), 0);
    }
    int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    cr_assert_eq(fcntl(raw.fds[2], F_GET_SEALS) & wanted, wanted);
    cr_assert_lt(ftruncate(raw.fds[2], 0), 0, "a client can shorten its page");
    cr_assert_lt(ftruncate(raw.fds[2], 1 << 30), 0, "a client can lengthen its page");
    struct stat status;
    cr_assert_eq(fstat(raw.fds[2], &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0600);
    raw_close(&raw);
}

Test(broker_wire, lists_large_tables_in_parts)
{
    struct raw raw = raw_attach(&broker, "parts");
    struct raw_model model = raw_open(&raw, "tiny");
    struct swi_wire_table table = {.model = model.opened.model, .first = 3};
    cr_assert(raw_send(&raw, SWI_WIRE_TABLE, &table, sizeof table, NULL, 0));
    struct swi_wire_table_part part;
    struct raw_answer *answer = raw_expect(&raw, SWI_WIRE_TABLE_PART);
    (void)swi_wire_get(&answer->in, &part, sizeof part);
    cr_assert(part.first == 3 && part.count == 2);
    table.first = UINT32_MAX;
    cr_assert(raw_send(&raw, SWI_WIRE_TABLE, &table, sizeof table, NULL, 0));
    answer = raw_expect(&raw, SWI_WIRE_TABLE_PART);
    (void)swi_wire_get(&answer->in, &part, sizeof part);
    cr_assert_eq(part.count, 0);
    raw_close(&raw);
}

/* ---- requests that fail ---------------------------------------------------------------------- */

Test(broker_wire, refuses_names_that_lead_elsewhere)
{
    (void)sup_synth(sup_dir(), "outside", SUP_ARGS("--layers", "1"));
    cr_assert_eq(symlink("../outside", sup_path("models/link")), 0);
    struct raw raw = raw_attach(&broker, "lost");
    static const char *const names[] = {"",    ".",     "..",   "../outside", "tiny/../../outside",
                                        "nix", "tiny/", "/etc", ".hidden"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_assert_eq(raw_open_status(&raw, names[i]), SW_ENOMODEL, "%s", names[i]);
    cr_assert_lt(raw_open_status(&raw, sup_path("models/tiny")), 0);
    cr_assert_lt(raw_open_status(&raw, "link"), 0, "a link out of the catalog was followed");
    raw_close(&raw);
}

Test(broker_wire, refuses_other_peoples_ids)
{
    (void)sup_synth(sup_path("models"), "other", SUP_ARGS("--layers", "1"));
    struct raw raw = raw_attach(&broker, "thief");
    struct raw_model mine = raw_open(&raw, "tiny");
    struct raw victim = raw_attach(&broker, "victim");
    struct raw_model theirs = raw_open(&victim, "other");
    const struct {
        struct swi_wire_load load;
        int status;
    } cases[] = {
        {{mine.opened.incarnation, mine.opened.model, theirs.ids[0]}, SW_ENOCOMPONENT},
        {{mine.opened.incarnation, mine.opened.model, SWI_CHUNKS}, SW_ENOCOMPONENT},
        {{mine.opened.incarnation, mine.opened.model, UINT32_MAX}, SW_ENOCOMPONENT},
        {{mine.opened.incarnation, mine.opened.model, SWI_CHUNKS - 1}, SW_ENOCOMPONENT},
        {{theirs.opened.incarnation, mine.opened.model, theirs.ids[0]}, SW_ESTALE},
        {{mine.opened.incarnation + 1, mine.opened.model, mine.ids[0]}, SW_ESTALE},
        {{mine.opened.incarnation, 1, mine.ids[0]}, -EBADF},
        {{mine.opened.incarnation, UINT32_MAX, mine.ids[0]}, -EBADF},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert(raw_send(&raw, SWI_WIRE_LOAD, &cases[i].load, sizeof cases[i].load, NULL, 0));
        cr_assert_eq(raw_done(&raw, NULL), cases[i].status, "case %zu", i);
    }
    /* hints about them are dropped */
    struct swi_wire_prefetch prefetch = {mine.opened.incarnation, mine.opened.model, 3};
    const uint32_t ids[] = {theirs.ids[0], UINT32_MAX, SWI_CHUNKS};
    cr_assert(raw_send(&raw, SWI_WIRE_PREFETCH, &prefetch, sizeof prefetch, ids, sizeof ids));
    struct swi_wire_close close_it = {.model = 7};
    cr_assert(raw_send(&raw, SWI_WIRE_CLOSE, &close_it, sizeof close_it, NULL, 0));
    cr_assert_eq(raw_load(&raw, &mine, 1, NULL), 0);
    cr_assert_eq(sup_stat(&broker, "chunks_resident"), 1);
    /* a stale incarnation may be an honest client's, after a reload */
    cr_assert_eq(sup_stat(&broker, "ids_refused"), 6);
    raw_close(&victim);
    raw_close(&raw);
}

/* ---- broken messages ------------------------------------------------------------------------- */

/* Sends bytes on an attached connection (or a silent one) and expects to be told off with that
 * code, and closed. */
static void expect_break(bool attached, const void *packet, size_t size, int code)
{
    struct raw raw = attached ? raw_attach(&broker, "vandal") : raw_connect(&broker);
    cr_assert(raw_send_bytes(&raw, packet, size, NULL, 0));
    const char *text;
    int status = raw_done(&raw, &text);
    cr_assert_eq(status, code, "status %d: %s", status, text);
    raw_expect_hangup(&raw);
    raw_close(&raw);
}

Test(broker_wire, breaks_off_with_who_sends_garbage)
{
    uint8_t packet[4096];
    memset(packet, 0xa5, sizeof packet);
    struct swi_wire_head head = {.type = SWI_WIRE_OPEN, .version = SWI_WIRE_VERSION, .size = 100};
    int64_t before = sup_stat(&broker, "protocol_errors");
    int broken = 0;
    for (int attached = 0; attached < 2; attached++) {
        /* shorter than its head */
        expect_break(attached, packet, 1, SW_EPROTOCOL);
        expect_break(attached, packet, sizeof head - 1, SW_EPROTOCOL);
        /* announces more, and less, than it brings */
        memcpy(packet, &head, sizeof head);
        expect_break(attached, packet, sizeof head + 99, SW_EPROTOCOL);
        expect_break(attached, packet, sizeof head + 101, SW_EPROTOCOL);
        /* a body of the wrong length; a name without an end */
        expect_break(attached, packet, sizeof head + 100, SW_EPROTOCOL);
        head.size = sizeof(struct swi_wire_open);
        memcpy(packet, &head, sizeof head);
        memset(packet + sizeof head, 'n', sizeof(struct swi_wire_open));
        expect_break(attached, packet, sizeof head + head.size, SW_EPROTOCOL);
        /* no such type */
        head = (struct swi_wire_head){.type = 4711, .version = SWI_WIRE_VERSION};
        memcpy(packet, &head, sizeof head);
        expect_break(attached, packet, sizeof head, SW_EPROTOCOL);
        head =
            (struct swi_wire_head){.type = SWI_WIRE_OPEN, .version = SWI_WIRE_VERSION, .size = 100};
        broken += 7;
    }
    cr_assert_eq(sup_stat(&broker, "protocol_errors") - before, broken);
}

Test(broker_wire, breaks_off_with_who_sends_too_much)
{
    uint8_t *packet = calloc(1, SWI_WIRE_MAX + 1);
    cr_assert_not_null(packet);
    expect_break(true, packet, SWI_WIRE_MAX + 1, SW_EPROTOCOL);
    expect_break(false, packet, SWI_WIRE_MAX + 1, SW_EPROTOCOL);
    /* a prefetch that announces more ids than it brings */
    struct swi_wire_prefetch prefetch = {.count = 1000};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, SWI_WIRE_MAX, SWI_WIRE_PREFETCH, 1);
    swi_wire_put(&out, &prefetch, sizeof prefetch);
    expect_break(true, packet, swi_wire_end(&out), SW_EPROTOCOL);
    free(packet);
    cr_assert_eq(sup_stat(&broker, "protocol_errors"), 3);
}

Test(broker_wire, tells_who_speaks_another_version)
{
    struct swi_wire_head head = {.type = SWI_WIRE_HELLO, .version = SWI_WIRE_VERSION + 1};
    expect_break(false, &head, sizeof head, SW_EVERSION);
    struct raw raw = raw_connect(&broker);
    struct swi_wire_hello hello = {.layout_version = SWI_LAYOUT_VERSION,
                                   .layout_hash = SWI_LAYOUT_HASH + 1};
    cr_assert(raw_send(&raw, SWI_WIRE_HELLO, &hello, sizeof hello, NULL, 0));
    cr_assert_eq(raw_done(&raw, NULL), SW_EVERSION);
    raw_expect_hangup(&raw);
    raw_close(&raw);
    cr_assert_eq(sup_stat(&broker, "sessions_refused"), 2);
}

Test(broker_wire, breaks_off_with_who_speaks_out_of_turn)
{
    uint8_t packet[512];
    struct swi_wire_open open = {.name = "tiny"};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_OPEN, 9);
    swi_wire_put(&out, &open, sizeof open);
    expect_break(false, packet, swi_wire_end(&out), SW_EPROTOCOL); /* before HELLO */
    struct swi_wire_hello hello = {.layout_version = SWI_LAYOUT_VERSION,
                                   .layout_hash = SWI_LAYOUT_HASH};
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_HELLO, 9);
    swi_wire_put(&out, &hello, sizeof hello);
    expect_break(true, packet, swi_wire_end(&out), SW_EPROTOCOL); /* a second HELLO */
    struct swi_wire_welcome welcome = {0};
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_WELCOME, 9);
    swi_wire_put(&out, &welcome, sizeof welcome);
    expect_break(true, packet, swi_wire_end(&out), SW_EPROTOCOL); /* the broker's own words */
}

Test(broker_wire, answers_nonsense_in_control_requests)
{
    struct raw raw = raw_connect(&broker);
    static const char *const texts[] = {"",
                                        "{",
                                        "[]",
                                        "{\"verb\":3}",
                                        "{\"verb\":\"dance\"}",
                                        "\xff\xfe",
                                        "{\"verb\":\"warm\"}",
                                        "{\"verb\":\"resize\",\"bytes\":-1}",
                                        "{\"verb\":\"clear\",\"component\":\"layer_0\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        json_t *reply = raw_control(&raw, texts[i]);
        cr_assert(json_is_false(json_object_get(reply, "ok")), "%s", texts[i]);
        cr_assert(json_is_string(json_object_get(reply, "error")));
        cr_assert(json_is_integer(json_object_get(reply, "code")));
        json_decref(reply);
    }
    raw_close(&raw);
}

Test(broker_wire, closes_descriptors_that_clients_send)
{
    struct raw raw = raw_attach(&broker, "giver");
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    uint8_t packet[512];
    struct swi_wire_open open = {.name = "tiny"};
    struct swi_wire_out out;
    swi_wire_begin(&out, packet, sizeof packet, SWI_WIRE_OPEN, ++raw.tag);
    swi_wire_put(&out, &open, sizeof open);
    const int fds[] = {ends[1], ends[1], ends[1]};
    cr_assert(raw_send_bytes(&raw, packet, swi_wire_end(&out), fds, 3));
    (void)raw_expect(&raw, SWI_WIRE_OPENED);
    close(ends[1]);
    char byte;
    cr_assert_eq(read(ends[0], &byte, 1), 0, "the broker keeps the other end of the pipe open");
    cr_assert_eq(sup_stat(&broker, "descriptors_refused"), 3);
    close(ends[0]);
    raw_close(&raw);
}

Test(broker_wire, survives_random_bytes)
{
    uint32_t state = 12345;
    for (int i = 0; i < 300; i++) {
        struct raw raw = i % 3 ? raw_attach(&broker, "fuzz") : raw_connect(&broker);
        uint8_t packet[600];
        for (size_t j = 0; j < sizeof packet; j++) {
            state = state * 1664525u + 1013904223u;
            packet[j] = (uint8_t)(state >> 24);
        }
        size_t size = 1 + state % sizeof packet;
        struct swi_wire_head head = {.type = (uint16_t)(state >> 8 & 15),
                                     .version = SWI_WIRE_VERSION,
                                     .size = (uint32_t)(size - sizeof head)};
        if (i % 2 && size > sizeof head)
            memcpy(packet, &head, sizeof head); /* past the first checks */
        (void)raw_send_bytes(&raw, packet, size, NULL, 0);
        raw_close(&raw);
    }
    cr_assert_eq(sup_wait(broker.pid, 0), -1, "the broker died");
}
