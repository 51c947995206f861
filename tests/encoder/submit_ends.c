/* SPDX-License-Identifier: MIT */
/* Requests on executors that end before their time: handles that are closed, executors that are
 * destroyed, processes that fork; and what a handle tells meanwhile.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "encoder/fixture.h"

TestSuite(submit_ends, .timeout = 100);

Test(submit_ends, closing_a_handle_ends_its_requests_and_nobody_elses)
{
    serve_models(2, "2", "64M");
    sw_executor *executor = new_executor(2, 16);
    sw_encoder *closing = open_model("m0", executor), *other = open_model("m1", executor);
    make_asks();
    cr_assert_eq(kill(broker.pid, SIGSTOP), 0); /* what runs waits for the broker */
    for (int i = 0; i < 3; i++)
        submit(closing, asks[i]);
    submit(other, asks[3]);
    while (executor_stats(executor).running < 2)
        sup_sleep_ms(1);
    cr_assert_eq(kill(broker.pid, SIGCONT), 0);
    sw_encoder_close(closing);
    for (int i = 0; i < 3; i++) /* nobody may be using them any more */
        memset(asks[i]->vectors, 0x55, sizeof asks[i]->vectors);
    int cancelled = 0;
    for (int i = 0; i < 4; i++) {
        struct sw_completion completion = next_completion(executor);
        if (completion.context == asks[3])
            cr_expect_eq(completion.result, 0, "%s", completion.message);
        else
            cancelled += completion.result == -ECANCELED;
    }
    cr_expect_geq(cancelled, 2, "the queued ones at least");
    for (int i = 0; i < 3; i++)
        for (size_t at = 0; at < sizeof asks[i]->vectors; at++)
            cr_assert_eq(((unsigned char *)asks[i]->vectors)[at], 0x55);
    sw_encoder_close(other);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}

Test(submit_ends, destroying_the_executor_ends_everything_and_handles_know)
{
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 16);
    sw_encoder *encoder = open_model("m0", executor);
    make_asks();
    submit(encoder, asks[15]);
    (void)next_completion(executor);
    clear_arena();
    cr_assert_eq(kill(broker.pid, SIGSTOP), 0);
    for (int i = 0; i < 3; i++)
        submit(encoder, asks[i]);
    while (executor_stats(executor).running < 1)
        sup_sleep_ms(1);
    int fd = sw_executor_fd(executor);
    sw_executor_destroy(executor);
    cr_expect_lt(fcntl(fd, F_GETFD), 0, "the descriptor is closed");
    for (int i = 0; i < 3; i++)
        cr_expect(is_untouched(asks[i]));
    cr_assert_eq(kill(broker.pid, SIGCONT), 0);
    expect_failure(encoder, sw_encoder_submit(encoder, &asks[0]->request, NULL), -ESHUTDOWN,
                   "destroyed");
    must(encoder, sw_encoder_run(encoder, &asks[0]->request));
    sw_encoder_close(encoder);
    sw_executor_destroy(NULL);
    free_asks();
    stop_serving();
}

Test(submit_ends, a_forked_child_starts_empty_and_takes_nothing_from_its_parent)
{
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor);
    make_asks();
    must(encoder, sw_encoder_run(encoder, &asks[5]->request));
    gate_close_after(1);
    for (int i = 0; i < 3; i++)
        submit(encoder, asks[i]);
    gate_await(); /* a pass is under way, its lock held */
    int parents = sw_executor_fd(executor);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        alarm(60);
        gate_open();
        struct sw_executor_stats stats = executor_stats(executor);
        if (stats.submitted || stats.queued || stats.running || stats.done)
            _exit(10);
        if (sw_executor_fd(executor) < 0 || readable(executor, 0))
            _exit(11);
        if (sw_executor_cancel(executor, asks[1]->id) != -ENOENT)
            _exit(12);
        struct ask *own = new_ask(), *blocking = new_ask();
        if (sw_encoder_submit(encoder, &own->request, &own->id) < 0)
            _exit(13);
        struct sw_completion completion = next_completion(executor);
        if (completion.result != 0 || completion.context != own || !same_vectors(own, asks[5]))
            _exit(14);
        if (sw_encoder_run(encoder, &blocking->request) != 0 || !same_vectors(blocking, asks[5]))
            _exit(15);
        sw_encoder_close(encoder);
        sw_executor_destroy(executor);
        _exit(0);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child: %x", (unsigned)status);
    gate_open();
    cr_expect_eq(sw_executor_fd(executor), parents);
    for (int i = 0; i < 3; i++) {
        struct sw_completion completion = next_completion(executor);
        cr_expect_eq(completion.result, 0, "%s", completion.message);
        cr_expect_eq(completion.context, asks[i]);
        cr_expect(same_vectors(asks[i], asks[5]));
    }
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}

/* The threads that wait for the handle are the parent's; a child does not wait for them to go. */
Test(submit_ends, a_forked_child_closes_a_handle_that_others_wait_for)
{
    serve_models(1, "2", "64M");
    sw_encoder *encoder = open_model("m0", NULL);
    make_asks();
    struct blocking calls[2];
    pthread_t threads[2];
    gate_close_after(1);
    for (int i = 0; i < 2; i++) {
        calls[i] = (struct blocking){.encoder = encoder, .ask = asks[i], .result = 1};
        cr_assert_eq(pthread_create(&threads[i], NULL, run_blocking, &calls[i]), 0);
        if (i == 0)
            gate_await();
    }
    await_asleep(&calls[1]);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        alarm(20);
        sw_encoder_close(encoder);
        _exit(0);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child: %x", (unsigned)status);
    gate_open();
    for (int i = 0; i < 2; i++) {
        (void)pthread_join(threads[i], NULL);
        cr_expect_eq(calls[i].result, 0);
    }
    cr_expect(same_vectors(asks[0], asks[1]));
    sw_encoder_close(encoder);
    free_asks();
    stop_serving();
}

/* What a loop may ask about a handle whose pass does not end. */
Test(submit_ends, a_handle_tells_about_itself_while_it_runs)
{
    serve_models(1, "2", "64M");
    sw_executor *executor = new_executor(1, 8);
    sw_encoder *encoder = open_model("m0", executor);
    make_asks();
    const sw_tokenizer *tokenizer = NULL;
    must(encoder, sw_encoder_tokenizer(encoder, &tokenizer));
    submit(encoder, asks[0]);
    (void)next_completion(executor);
    gate_close_after(1);
    submit(encoder, asks[1]);
    gate_await();
    struct sw_inference_stats stats = SW_INIT(struct sw_inference_stats);
    struct sw_cache_info info = SW_INIT(struct sw_cache_info);
    char message[64];
    cr_expect_eq(sw_encoder_get_inference_stats(encoder, &stats), 0);
    cr_expect_eq(stats.passes, 1);
    cr_expect_eq(sw_encoder_get_cache_info(encoder, &info), 0);
    cr_expect_eq(sw_encoder_message(encoder, message, sizeof message), 0);
    cr_expect_eq(sw_encoder_tokenizer(encoder, &tokenizer), 0);
    sw_encoder_reset_inference_stats(encoder);
    gate_open();
    cr_expect_eq(next_completion(executor).result, 0);
    sw_encoder_close(encoder);
    sw_executor_destroy(executor);
    free_asks();
    stop_serving();
}
