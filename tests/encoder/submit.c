/* SPDX-License-Identifier: MIT */
/* Requests that are submitted: the descriptor, turns, cancellation, deadlines, the bound. Against a
 * real broker; a gate holds passes where a test wants them. What ends too early is in
 * submit_ends.c.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/deadline.h"
#include "core/socket.h"
#include "encoder/fixture.h"

TestSuite(submit, .timeout = 100);

/* ---- the descriptor -------------------------------------------------------------------------- */

Test(submit, one_loop_drives_eight_models_on_one_thread)
{
    enum { MODELS = 8, EACH = 5 };
    serve_models(MODELS, "2", "128M");
    sw_executor *executor = new_executor(1, MODELS * EACH);
    sw_encoder *berts[MODELS];
    struct ask *want[MODELS], *got[MODELS][EACH];
    for (unsigned m = 0; m < MODELS; m++) {
        berts[m] = open_model(sup_format("m%u", m), executor);
        want[m] = new_ask();
        must(berts[m], sw_encoder_run(berts[m], &want[m]->request));
        cr_assert(m == 0 || !same_vectors(want[m], want[0]), "models differ");
    }
    int loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    cr_assert_eq(epoll_ctl(loop, EPOLL_CTL_ADD, sw_executor_fd(executor), &event), 0);
    for (unsigned i = 0; i < EACH; i++)
        for (unsigned m = 0; m < MODELS; m++) {
            got[m][i] = new_ask();
            submit(berts[m], got[m][i]);
        }
    for (unsigned done = 0; done < MODELS * EACH;) {
        cr_assert_eq(epoll_wait(loop, &event, 1, 30000), 1);
        struct sw_completion completion = SW_INIT(struct sw_completion);
        while (sw_executor_collect(executor, &completion) == 1) {
            cr_assert_eq(completion.result, 0, "%s", completion.message);
            done++;
        }
    }
    cr_expect_eq(epoll_wait(loop, &event, 1, 0), 0);
    for (unsigned m = 0; m < MODELS; m++) {
        for (unsigned i = 0; i < EACH; i++) {
            cr_expect(same_vectors(want[m], got[m][i]));
            free(got[m][i]);
        }
        free(want[m]);
        sw_encoder_close(berts[m]);
    }
    struct sw_executor_stats stats = executor_stats(executor);
    cr_expect(stats.submitted == MODELS * EACH && stats.succeeded == MODELS * EACH);
    cr_expect(stats.queued + stats.running + stats.done == 0);
    close(loop);
    sw_executor_destroy(executor);
    stop_serving();
}

Test(submit, handles_take_turns_and_each_keeps_its_order)
{
    serve_models(2, "2", "64M");
    sw_executor *executor = new_executor(1, 16);
    sw_encoder *busy = open_model("m0", executor), *other = open_model("m1", executor);
    make_asks();
    gate_close_after(0);
    for (int i = 0; i < 4; i++)
        submit(busy, asks[i]);
    gate_await();
    submit(other, asks[4]);
    submit(other, asks[5]);
    gate_open();
    static const int order[6] = {0, 4, 1,
                                 5, 2, 3}; /* a late and short queue does not wait for a long one */
    for (int i = 0; i < 6; i++)
        cr_expect_eq(next_completion(executor).context, asks[order[i]], "%d", i);
    expect_nothing_more(executor);
    sw_encoder_close(busy);
    sw_encoder_close(other);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}

Test(submit, more_threads_run_more_handles_at_once)
{
    serve_models(3, "2", "64M");
    sw_executor *executor = new_executor(3, 16);
    sw_encoder *berts[3];
    make_asks();
    gate_close_after(0);
    for (int i = 0; i < 3; i++) {
        berts[i] = open_model(sup_format("m%d", i), executor);
        submit(berts[i], asks[2 * i]);
        submit(berts[i], asks[2 * i + 1]);
    }
    while (executor_stats(executor).running < 3)
        sup_sleep_ms(1);
    cr_expect_eq(executor_stats(executor).queued, 3, "one at a time of each handle");
    gate_open();
    for (int i = 0; i < 6; i++)
        cr_expect_eq(next_completion(executor).result, 0);
    for (int i = 0; i < 3; i++)
        sw_encoder_close(berts[i]);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}

Test(submit, all_kinds_of_work_can_be_submitted)
{
    const char *catalog = sup_path("catalog");
    sup_mkdir(catalog);
    sup_synth(catalog, "class", SUP_ARGS("--labels", "3", "--vocab-size", "1000"));
    sup_synth(catalog, "mlm", SUP_ARGS("--mlm", "--vocab-size", "1000"));
    broker = sup_broker_start(catalog, "64M", NULL);
    client = new_client(0);
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *classifier = open_model("class", executor), *filler = open_model("mlm", executor);
    static float logits[2][2 * 1000], scores[2][VECTORS * 3];
    static const uint32_t tokens[2] = {1, 6};
    make_asks();
    for (int i = 0; i < 2; i++) {
        struct sw_encoder_request *request = &asks[i]->request;
        request->work = SW_WORK_CLASSIFY;
        request->logits = NULL;
        request->scores = scores[i];
        request = &asks[2 + i]->request;
        request->work = SW_WORK_FILL;
        request->tokens = tokens;
        request->token_count = 2;
        request->logits = logits[i];
    }
    must(classifier, sw_encoder_run(classifier, &asks[0]->request));
    must(filler, sw_encoder_run(filler, &asks[2]->request));
    submit(classifier, asks[1]);
    submit(filler, asks[3]);
    for (int i = 0; i < 2; i++) {
        struct sw_completion completion = next_completion(executor);
        cr_expect_eq(completion.result, 0, "%s", completion.message);
    }
    cr_expect(!memcmp(logits[0], logits[1], sizeof logits[0]));
    cr_expect(!memcmp(scores[0], scores[1], sizeof scores[0]));
    cr_expect(scores[0][0] > 0 && logits[0][0] < 1e9f);
    sw_encoder_close(classifier);
    sw_encoder_close(filler);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}

/* ---- what is refused ------------------------------------------------------------------------- */

Test(submit, refuses_at_once_what_needs_no_look_at_the_arrays)
{
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor), *bare = open_model("m0", NULL);
    make_asks();
    int32_t word = 0;
    uint64_t id = 77;
    struct sw_encoder_request bad[8];
    static const char *const parts[8] = {"size",
                                         "batch",
                                         "work",
                                         "-5 ms",
                                         "pooling",
                                         "embeddings",
                                         "sw_executor_cancel",
                                         "does not support"};
    struct {
        struct sw_encoder_request request;
        int newer;
    } future = {.request = asks[0]->request, .newer = 1};
    future.request.size = sizeof future;
    for (int i = 0; i < 8; i++)
        bad[i] = asks[0]->request;
    bad[0].size = 0;
    bad[1].batch = NULL;
    bad[2].work = (enum sw_work)9;
    bad[3].timeout_ms = -5;
    bad[4].pooling = (enum sw_pooling)9;
    bad[5].embeddings = NULL;
    bad[6].cancelled = &word;
    for (int i = 0; i < 7; i++)
        expect_failure(encoder, sw_encoder_submit(encoder, &bad[i], &id), -EINVAL, parts[i]);
    expect_failure(encoder, sw_encoder_submit(encoder, &future.request, &id), SW_EUNSUPPORTED,
                   parts[7]);
    expect_failure(encoder, sw_encoder_submit(encoder, NULL, &id), -EINVAL, "request");
    expect_failure(bare, sw_encoder_submit(bare, &asks[0]->request, &id), -EINVAL,
                   "options.executor");
    cr_expect_eq(id, 77, "outputs are untouched on failure");
    cr_expect_eq(executor_stats(executor).submitted, 0);
    /* and later what does */
    static const int32_t stray[8] = {1, 2, 3, 1000};
    asks[1]->batch.ids = stray;
    submit(encoder, asks[1]);
    struct sw_completion completion = next_completion(executor);
    cr_expect_eq(completion.result, -EINVAL);
    cr_expect(strstr(completion.message, "1000"), "%s", completion.message);
    cr_expect(is_untouched(asks[1]));
    sw_encoder_close(encoder);
    sw_encoder_close(bare);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}

Test(submit, takes_structs_of_an_earlier_release)
{
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 8);
    make_asks();
    struct sw_encoder_options old = {.size = offsetof(struct sw_encoder_options, cache_bytes),
                                     .executor = (sw_executor *)(uintptr_t)1};
    sw_encoder *encoder = NULL;
    cr_assert_eq(sw_encoder_open(client, "m0", &old, &encoder), 0,
                 "what lies behind its size is not read");
    sw_encoder_close(encoder);
    encoder = open_model("m0", executor);
    asks[0]->request.size = offsetof(struct sw_encoder_request, logits);
    asks[0]->request.logits = (float *)(uintptr_t)1;
    submit(encoder, asks[0]);
    struct sw_completion completion = {.size = offsetof(struct sw_completion, queued_ms),
                                       .queued_ms = -1};
    cr_assert(readable(executor, 30000));
    while (sw_executor_collect(executor, &completion) == 0)
        ;
    cr_expect_eq(completion.result, 0);
    cr_expect(completion.queued_ms < 0);
    completion.size = 0;
    cr_expect_eq(sw_executor_collect(executor, &completion), -EINVAL);
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}

Test(submit, takes_so_many_and_no_more_until_some_are_collected)
{
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 3);
    sw_encoder *encoder = open_model("m0", executor);
    make_asks();
    uint64_t id;
    for (int i = 0; i < 3; i++)
        submit(encoder, asks[i]);
    expect_failure(encoder, sw_encoder_submit(encoder, &asks[3]->request, &id), SW_EFULL,
                   "3 requests");
    while (executor_stats(executor).done < 3)
        sup_sleep_ms(1);
    expect_failure(encoder, sw_encoder_submit(encoder, &asks[3]->request, &id), SW_EFULL,
                   "collect");
    cr_expect_eq(next_completion(executor).context, asks[0]);
    submit(encoder, asks[3]);
    cr_expect_eq(executor_stats(executor).refused, 2);
    for (int i = 1; i < 4; i++)
        cr_expect_eq(next_completion(executor).context, asks[i]);
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    struct sw_executor_options options = SW_INIT(struct sw_executor_options);
    char message[256] = "";
    options.threads = 65;
    options.error = message;
    options.error_size = sizeof message;
    cr_expect_eq(sw_executor_create(&options, &executor), -EINVAL);
    cr_expect(strstr(message, "65 threads"), "%s", message);
    free_asks();
    stop_serving();
}

/* ---- cancellation ---------------------------------------------------------------------------- */

Test(submit, a_queued_request_is_cancelled_at_once)
{
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor);
    make_asks();
    gate_close_after(0);
    for (int i = 0; i < 3; i++)
        submit(encoder, asks[i]);
    gate_await();
    cr_expect_eq(sw_executor_cancel(executor, asks[1]->id), 0);
    struct sw_completion completion = next_completion(executor); /* while the first one runs */
    cr_expect_eq(completion.context, asks[1]);
    cr_expect_eq(completion.result, -ECANCELED);
    cr_expect(is_untouched(asks[1]) && completion.run_ms <= 0);
    cr_expect_eq(sw_executor_cancel(executor, asks[1]->id), -ENOENT);
    cr_expect_eq(sw_executor_cancel(executor, 0), -ENOENT);
    cr_expect_eq(sw_executor_cancel(executor, UINT64_MAX), -ENOENT);
    gate_open();
    cr_expect_eq(next_completion(executor).context, asks[0]);
    cr_expect_eq(next_completion(executor).context, asks[2]);
    cr_expect_eq(sw_executor_cancel(executor, asks[2]->id), -ENOENT);
    cr_expect_eq(executor_stats(executor).cancelled, 1);
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}

Test(submit, a_running_request_stops_before_its_next_layer)
{
    serve_models(1, "6", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor);
    make_asks();
    gate_close_after(3); /* embeddings, layer_0, layer_1 */
    submit(encoder, asks[0]);
    gate_await();
    cr_expect_eq(sw_executor_cancel(executor, asks[0]->id), 0);
    cr_expect_eq(sw_executor_cancel(executor, asks[0]->id), 0, "twice does no harm");
    gate_open();
    struct sw_completion completion = next_completion(executor);
    cr_expect_eq(completion.result, -ECANCELED, "%d %s", completion.result, completion.message);
    cr_expect(strstr(completion.message, "layer_"), "%s", completion.message);
    cr_expect_eq(turns_taken, 4, "the layer that it was at, and none after it");
    cr_expect(is_untouched(asks[0]));
    submit(encoder, asks[1]);
    cr_expect_eq(next_completion(executor).result, 0, "the handle is as before");
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}

Test(submit, a_wait_for_the_broker_is_called_off)
{
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor);
    make_asks();
    cr_assert_eq(kill(broker.pid, SIGSTOP), 0);
    submit(encoder, asks[0]);
    cr_expect_not(readable(executor, 200));
    cr_expect_eq(sw_executor_cancel(executor, asks[0]->id), 0);
    struct sw_completion completion = next_completion(executor); /* the client waits for 30 s */
    cr_expect_eq(completion.result, -ECANCELED, "%d %s", completion.result, completion.message);
    cr_expect_lt(completion.run_ms, 20000);
    cr_assert_eq(kill(broker.pid, SIGCONT), 0);
    submit(encoder, asks[1]);
    completion = next_completion(executor);
    cr_expect_eq(completion.result, 0, "%s", completion.message);
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}

Test(submit, a_blocking_call_is_cancelled_by_its_word_also_while_another_pass_has_the_handle)
{
    serve_models(1, "2", "64M");
    sw_encoder *encoder = open_model("m0", NULL);
    make_asks();
    static int32_t words[2];
    struct blocking calls[2];
    pthread_t threads[2];
    gate_close_after(1);
    for (int i = 0; i < 2; i++) {
        asks[i]->request.cancelled = &words[i];
        calls[i] = (struct blocking){.encoder = encoder, .ask = asks[i], .result = 1};
        cr_assert_eq(pthread_create(&threads[i], NULL, run_blocking, &calls[i]), 0);
        if (i == 0)
            gate_await();
    }
    await_asleep(&calls[1]);
    __atomic_store_n(&words[1], 1, __ATOMIC_RELAXED);
    (void)pthread_join(threads[1], NULL);
    cr_expect_eq(calls[1].result, -ECANCELED);
    asks[2]->request.timeout_ms = 50;
    cr_expect_eq(sw_encoder_run(encoder, &asks[2]->request), -ETIMEDOUT);
    char message[256];
    sw_encoder_message(encoder, message, sizeof message);
    cr_expect(strstr(message, "another pass"), "%s", message);
    __atomic_store_n(&words[0], 1, __ATOMIC_RELAXED);
    gate_open();
    (void)pthread_join(threads[0], NULL);
    cr_expect_eq(calls[0].result, -ECANCELED);
    asks[3]->request.timeout_ms = 60000;
    must(encoder, sw_encoder_run(encoder, &asks[3]->request));
    sw_encoder_close(encoder);
    free_asks();
    stop_serving();
}

/* Passes whose weights are all there, and a broker's successor that takes connections and answers
 * nothing. Looking for it may hold a pass up, but not beyond what was asked of the pass. */
Test(submit, a_silent_successor_holds_no_pass_beyond_its_limits)
{
    enum { TRIES = 4, SOON_MS = 700 }; /* a look takes a second; not each try meets one */
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor);
    make_asks();
    must(encoder, sw_encoder_run(encoder, &asks[0]->request));
    sup_broker_kill(&broker);
    (void)unlink(broker.socket);
    struct swi_error error;
    int silent = swi_socket_listen(broker.socket, 0600, &error);
    cr_assert_geq(silent, 0, "%s", error.text);
    unsigned soon[2] = {0};
    for (int i = 0; i < TRIES; i++) {
        asks[1]->request.timeout_ms = 50;
        sup_sleep_ms(i < 2 ? 300 : 800);
        uint64_t start = swi_now();
        int result = sw_encoder_run(encoder, &asks[1]->request);
        cr_expect(result == 0 || result == -ETIMEDOUT, "%d", result);
        soon[0] += swi_now() - start < SOON_MS * 1000000u;
    }
    asks[1]->request.timeout_ms = 0;
    for (int i = 0; i < TRIES; i++) {
        sup_sleep_ms(800);
        submit(encoder, asks[1]);
        sup_sleep_ms(10);
        uint64_t start = swi_now();
        (void)sw_executor_cancel(executor, asks[1]->id);
        int result = next_completion(executor).result;
        cr_expect(result == 0 || result == -ECANCELED, "%d", result);
        soon[1] += swi_now() - start < SOON_MS * 1000000u;
    }
    cr_expect_geq(soon[0], TRIES - 1, "deadlines: %u of %d in time", soon[0], TRIES);
    cr_expect_geq(soon[1], TRIES - 1, "cancellations: %u of %d in time", soon[1], TRIES);
    close(silent);
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free_asks();
    sw_client_close(client);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

Test(submit, a_deadline_passes_in_the_queue_on_time)
{
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor);
    make_asks();
    gate_close_after(0);
    submit(encoder, asks[0]);
    gate_await(); /* the only thread is stuck */
    asks[1]->request.timeout_ms = 150;
    asks[2]->request.timeout_ms = 50;
    asks[3]->request.timeout_ms = 60000;
    for (int i = 1; i < 4; i++)
        submit(encoder, asks[i]);
    struct sw_completion completion = next_completion(executor);
    cr_expect_eq(completion.context, asks[2]);
    cr_expect_eq(completion.result, -ETIMEDOUT);
    cr_expect(completion.queued_ms >= 50 && completion.run_ms <= 0);
    completion = next_completion(executor);
    cr_expect_eq(completion.context, asks[1]);
    cr_expect_eq(completion.result, -ETIMEDOUT);
    cr_expect(strstr(completion.message, "deadline"), "%s", completion.message);
    cr_expect(is_untouched(asks[1]) && is_untouched(asks[2]));
    expect_nothing_more(executor);
    gate_open();
    cr_expect_eq(next_completion(executor).context, asks[0]);
    completion = next_completion(executor);
    cr_expect_eq(completion.context, asks[3]);
    cr_expect_eq(completion.result, 0);
    cr_expect_eq(executor_stats(executor).timed_out, 2);
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}

Test(submit, a_deadline_stops_a_running_pass_and_a_wait)
{
    serve_models(1, "4", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor);
    make_asks();
    asks[0]->request.timeout_ms = 100;
    gate_close_after(2);
    submit(encoder, asks[0]);
    gate_await();
    sup_sleep_ms(150);
    gate_open();
    struct sw_completion completion = next_completion(executor);
    cr_expect_eq(completion.result, -ETIMEDOUT, "%d %s", completion.result, completion.message);
    cr_expect_leq(turns_taken, 3);
    clear_arena();
    cr_assert_eq(kill(broker.pid, SIGSTOP), 0);
    asks[1]->request.timeout_ms = 100;
    submit(encoder, asks[1]);
    completion = next_completion(executor);
    cr_expect_eq(completion.result, -ETIMEDOUT, "%d %s", completion.result, completion.message);
    cr_expect(is_untouched(asks[0]) && is_untouched(asks[1]));
    cr_assert_eq(kill(broker.pid, SIGCONT), 0);
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}
