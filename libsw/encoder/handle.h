/* SPDX-License-Identifier: MIT */
/* What is behind a sw_encoder, and who may touch it.
 *
 *   busy    for a whole pass, and while something is read from the model's directory. A flag and
 * not a mutex: whoever waits for it can be called off, and a child after fork can clear it notes a
 * lock held for moments: what others want to know while a pass runs, and busy itself. Held across
 * fork. Nothing is called with it held that takes another lock
 *
 * Passes enter by swi_encoder_enter and leave by swi_encoder_leave.
 */
#ifndef SWI_ENCODER_HANDLE_H
#define SWI_ENCODER_HANDLE_H

#include <pthread.h>

#include <sw/encoder.h>

#include "core/process.h"
#include "encoder/description.h"
#include "encoder/engine.h"
#include "executor/executor.h"

enum { SWI_LATENCIES = 1024 };

struct swi_latencies {
    uint64_t passes, tokens;
    uint64_t ns[SWI_LATENCIES]; /* of pass p at p % SWI_LATENCIES */
};

/* Uses of components, and those that found what they needed. */
struct swi_hits {
    uint64_t hits, uses;
};

/* What one pass may do and how long. */
struct swi_limits {
    uint64_t deadline_ns;     /* SWI_FOREVER: none but the client's */
    const int32_t *cancelled; /* NULL, or a word that becomes not 0 */
    uint32_t prefetch_count;  /* 0: prefetch nothing */
};

/* A layer's weights as they were bound at `first`, the address of its first tensor. Of one
 * revision, which a handle never leaves, the same address means the same addresses throughout. */
struct swi_bound {
    const void *first; /* NULL: not bound yet */
    struct swi_layer_weights weights;
};

struct sw_encoder {
    /* fixed at open */
    sw_client *client;
    sw_model *model;
    struct swi_description description;
    struct swi_encoder_config config;  /* of the description */
    uint32_t embeddings;               /* component numbers … */
    uint32_t *words;                   /* [word_blocks]: embeddings_words_0, … */
    uint32_t word_blocks;              /* 0: the table is in embeddings */
    uint32_t *layers;                  /* [config.layers] */
    int pooler, head;                  /* -1: there is none */
    uint32_t modules[SWI_MODULES_MAX]; /* of description.modules.after; of those with weights */
    uint32_t prefetch_count;           /* 0: prefetch nothing */
    unsigned lane;
    struct swi_lane requests; /* what was submitted */

    /* by whoever has made the handle busy */
    swi_engine *engine;
    struct swi_error error;   /* of the call under way */
    struct swi_limits limits; /* of the pass under way */
    uint64_t pass;            /* the number of the pass under way */
    uint64_t step_ns;         /* how long a component's turn takes */
    uint64_t step_start;
    struct swi_bound *bound; /* [config.layers] */
    struct swi_hits turns;   /* of the pass under way: those whose component was resident */
    float *logits;           /* what a head computes, until the whole pass has succeeded */
    size_t logits_capacity;  /* floats */

    struct swi_fork_lock notes;
    bool busy;
    pthread_cond_t idle; /* busy has ended */
    uint64_t process;
    struct swi_error last; /* failure */
    struct swi_latencies latencies;
    uint64_t failed_passes;
    uint64_t scratch_bytes;
    struct swi_hits arena;           /* since the figures were reset */
    uint64_t past_hits, past_misses; /* of the component cache, when they were */
    sw_tokenizer *tokenizer;         /* NULL until asked for; set by who is busy */
};

/* Busy, with no error and this call's limits. Errors, upon which it is not busy and *error says
 * why: -ETIMEDOUT, -ECANCELED; -EAGAIN, -ENOMEM in a child whose engine has to be made anew. */
int swi_encoder_enter(sw_encoder *encoder, const struct swi_limits *limits,
                      struct swi_error *error);
/* The same without limits, for calls that run no pass. */
int swi_encoder_enter_quickly(sw_encoder *encoder);
/* Idle again; keeps the error, where r is one, as the handle's last, and copies it to
 * *ret_error when that is not NULL. Returns r. */
int swi_encoder_leave(sw_encoder *encoder, int r, struct swi_error *ret_error);
/* In a child after fork: makes the handle the child's. Errors: -EAGAIN, -ENOMEM. */
int swi_encoder_adopt(sw_encoder *encoder);
/* For failures outside: keeps a message as the handle's last. Returns its code. */
int swi_encoder_fail(sw_encoder *encoder, const struct swi_error *error);

static inline void swi_encoder_note(sw_encoder *encoder)
{
    pthread_mutex_lock(&encoder->notes.mutex);
}

static inline void swi_encoder_noted(sw_encoder *encoder)
{
    pthread_mutex_unlock(&encoder->notes.mutex);
}

/* A failure of a client call: passes its message on, after "what: " unless that is NULL. Returns
 * code. */
int swi_encoder_client_failure(sw_encoder *encoder, int code, const char *what);

/* What a pass ends with: takes turns of its own after the pooler's. pooled is NULL where the pass
 * was not asked for it. */
struct swi_head {
    int (*run)(sw_encoder *encoder, const struct sw_encoder_batch *batch, const float *pooled,
               void *context);
    void *context;
};

/* A whole pass over the batch, run again once when a lease was revoked meanwhile. Hidden states are
 * then in the encoder; *ret_pooled, when not NULL, [sequences, hidden] in its memory. head may be
 * NULL. Inside swi_encoder_enter. */
int swi_encoder_pass(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                     const float **ret_pooled, const struct swi_head *head);

/* Leases a component for its turn in a pass. On success *source finds its tensors. */
int swi_encoder_begin_turn(sw_encoder *encoder, uint32_t component, sw_component **ret,
                           struct swi_tensor_source *source);
/* Ends it. r is what came of the turn; a revoked lease overrides it, as what was read may be wrong.
 */
int swi_encoder_end_turn(sw_encoder *encoder, sw_component *component, int r);

/* Room for count numbers in logits. Errors: -ENOMEM. */
int swi_encoder_need_logits(sw_encoder *encoder, uint64_t count);

/* The model's files through the broker, for the readers of description.h. The context is the
 * encoder; a failure's message is the client's. */
struct swi_files swi_encoder_files(sw_encoder *encoder);

/* The works of struct sw_encoder_request, each a pass and what comes after it. Inside swi_encoder_enter.
 */
int swi_encoder_work_embed(sw_encoder *encoder, const struct sw_encoder_request *request);
int swi_encoder_work_classify(sw_encoder *encoder, const struct sw_encoder_request *request);
int swi_encoder_work_fill(sw_encoder *encoder, const struct sw_encoder_request *request);
/* One request from its start to its end. *ret_error says how it failed. */
int swi_encoder_run(sw_encoder *encoder, const struct sw_encoder_request *request,
                    const struct swi_limits *limits, struct swi_error *ret_error);
/* Copies a caller's request and its batch, of whatever release, and looks at what can be wrong with
 * them by themselves. request->batch is then *batch. Errors: -EINVAL, SW_EUNSUPPORTED. */
int swi_encoder_take_request(const struct sw_encoder_request *given,
                             struct sw_encoder_request *request, struct sw_encoder_batch *batch,
                             struct swi_error *error);
struct swi_limits swi_encoder_limits(const sw_encoder *encoder,
                                     const struct sw_encoder_request *request);

/* Where swchunk cuts the word table: block k of n begins at row vocab · k / n. */
uint32_t swi_encoder_block_start(const sw_encoder *encoder, uint32_t block);
/* The table of a leased block. */
int swi_encoder_bind_block(sw_encoder *encoder, uint32_t block, const sw_component *component,
                           const struct swi_tensor_source *source, struct swi_table *ret);

/* From 0 to 1; 0 without a use. */
static inline double swi_hit_rate(struct swi_hits hits)
{
    return hits.uses ? (double)hits.hits / (double)hits.uses : 0;
}

void swi_latencies_add(struct swi_latencies *latencies, uint64_t ns, uint32_t tokens);
void swi_latencies_get(const struct swi_latencies *latencies, struct sw_inference_stats *stats);

#endif
