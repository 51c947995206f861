/* SPDX-License-Identifier: MIT */
/* What tests of libsw's BERT calls share: a broker with some models, a client, requests, and a gate
 * that holds a pass where a test wants it.
 *
 * Programs that use this are linked with --wrap=sw_component_acquire_within, the call by which a
 * pass gets each component.
 */
#ifndef SWT_ENCODER_FIXTURE_H
#define SWT_ENCODER_FIXTURE_H

#include <stdatomic.h>

#include <sw/encoder.h>

#include "support/support.h"

extern struct sup_broker broker;
extern sw_client *client;

/* A catalog of bert-tiny models (hidden size 128) of that many layers, "m0", "m1", …, a broker for
 * it, and a client. cache_size as of swbrokerd. */
#define WIDTH 128
void serve_models(unsigned count, const char *layers, const char *cache_size);
sw_client *new_client(int timeout_ms);
void stop_serving(void);
/* Every chunk leaves the arena. */
void clear_arena(void);

sw_executor *new_executor(uint32_t threads, uint32_t requests);
sw_encoder *open_model(const char *name, sw_executor *executor);
/* 0, or the test fails with the handle's message. */
void must(const sw_encoder *encoder, int result);
void expect_failure(const sw_encoder *encoder, int result, int code, const char *part);

/* A batch of two sequences; and an embedding of it in `vectors`, filled with 42 before. */
#define VECTORS 2
struct ask {
    struct sw_encoder_batch batch;
    struct sw_encoder_request request;
    float vectors[VECTORS * WIDTH];
    uint64_t id;
};
struct ask *new_ask(void);
void submit(sw_encoder *encoder, struct ask *ask);
/* Sixteen of them. */
extern struct ask *asks[16];
void make_asks(void);
void free_asks(void);
/* A thread's: runs the ask by the blocking call. */
struct blocking {
    sw_encoder *encoder;
    struct ask *ask;
    int result;
    _Atomic pid_t thread; /* 0 until it has started */
};
void *run_blocking(void *blocking);
/* Waits until the thread of run_blocking sleeps inside the call. */
void await_asleep(struct blocking *blocking);
bool is_untouched(const struct ask *ask);
bool same_vectors(const struct ask *a, const struct ask *b);

/* Whether the descriptor becomes readable in time. */
bool readable(sw_executor *executor, int timeout_ms);
/* Waits for the descriptor, as a loop would, and collects one; the test fails when there is none
 * within half a minute. */
struct sw_completion next_completion(sw_executor *executor);
void expect_nothing_more(sw_executor *executor);
struct sw_executor_stats executor_stats(sw_executor *executor);

/* The gate: passes stop before they get a component once `turns` more have been let through. */
void gate_close_after(int turns);
void gate_open(void);
/* Waits until somebody stands before it. */
void gate_await(void);
/* Components that passes have got so far, and asked for ahead of time. */
extern _Atomic int turns_taken;

#endif
