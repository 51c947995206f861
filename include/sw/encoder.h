/* SPDX-License-Identifier: MIT */
/* Surfing Weights BERT: a forward pass that computes in place on the shared weights.
 *
 * Threads: every function may be called from several threads at once on the same handle, except that it
 *   must not be closed while another call uses it. A handle runs one pass at a time; open one per thread
 *   to compute in parallel, or set options.threads. Only what runs a pass, and what reads a file of the
 *   model for the first time, waits for a pass that is under way. Handles of one client share its
 *   session.
 * Fork: a handle works in the child, with threads of its own where it has threads.
 */
#ifndef SW_ENCODER_H
#define SW_ENCODER_H

#include <sw/client.h>
#include <sw/executor.h>
#include <sw/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_encoder sw_encoder;

struct sw_encoder_options {
    size_t size;             /* sizeof(struct sw_encoder_options) */
    uint32_t cache_size;     /* components kept parsed; 0: all of the model's */
    uint32_t threads;        /* 0: 1 */
    uint32_t prefetch_count; /* components asked for ahead of use; more than follow: all; 0: 2 */
    int no_prefetch;         /* 1: never prefetch */
    char *error;             /* NULL, or where a failed open writes its message */
    size_t error_size;
    uint64_t cache_bytes;  /* see sw_model_set_cache_bytes; 0: no limit */
    sw_executor *executor; /* runs what is submitted; borrowed. NULL: nothing can be submitted */
};

/* Opens a BERT model of the client's catalog: reads its config, checks it against the manifest, loads
 * no weights. client is borrowed and must outlive the handle. With options NULL every default applies.
 * Errors: those of sw_model_open; SW_EUNSUPPORTED and SW_EFORMAT for a config that is not BERT's. */
SW_API int sw_encoder_open(sw_client *client, const char *name,
                           const struct sw_encoder_options *options, sw_encoder **ret_bert);

/* Requests that were submitted and are not done are cancelled first, and what runs is waited for: the
 * present layer's time, or 20 ms of a wait for the broker. Afterwards the library uses no memory that
 * they pointed to; their completions stay with the executor until they are collected. Not to be called
 * from a callback of the handle. NULL is allowed. */
SW_API void sw_encoder_close(sw_encoder *encoder);

/* As sw_client_message, for this handle. */
SW_API int sw_encoder_message(const sw_encoder *encoder, char *text, size_t size);

struct sw_encoder_config {
    size_t size; /* sizeof(struct sw_encoder_config), set by the caller */
    uint32_t layers, hidden_size, heads, intermediate_size;
    uint32_t vocab_size, max_positions, type_vocab_size, labels;
    int has_pooler;
    uint32_t embedding_size; /* of a vector by the model's own pooling and modules; 0: its
                                modules.json has no pooling */
    uint32_t max_tokens;     /* of a text, special tokens included: what the model is made for */
    const char *similarity;  /* how its vectors are compared: "cosine", "dot", "euclidean" or
                                "manhattan"; borrowed, lives as long as the handle */
};
SW_API int sw_encoder_get_config(const sw_encoder *encoder, struct sw_encoder_config *config);

/* The model's tokenizer, made at the first call. Borrowed; lives as long as the handle. */
SW_API int sw_encoder_tokenizer(sw_encoder *encoder, const sw_tokenizer **ret_tokenizer);

/* The text that goes in front of every text, as the model's config_sentence_transformers.json names
 * it; name NULL: the model's default prompt, "" when it has none. Borrowed; lives as long as the
 * handle. *ret_tokens (may be NULL): how many tokens at the start of an encoded prompt and text are
 * not to be pooled, for struct sw_encoder_request; 0 unless the model excludes its prompts.
 * Errors: SW_ENOCOMPONENT when there is no such prompt; those of sw_encoder_tokenizer. */
SW_API int sw_encoder_prompt(sw_encoder *encoder, const char *name, const char **ret_text,
                             uint32_t *ret_tokens);

/* A ragged batch: the tokens of all sequences one after the other, without padding. Borrowed for the
 * call. tokens = the sum of lengths. */
struct sw_encoder_batch {
    size_t size;             /* sizeof(struct sw_encoder_batch) */
    uint32_t sequences;      /* at least 1 */
    const uint32_t *lengths; /* [sequences], each 1 … max_positions */
    const int32_t *ids;      /* [tokens], each 0 … vocab_size-1 */
    const int32_t *type_ids; /* [tokens]; NULL: all 0 */
    const uint8_t *mask;     /* [tokens]: 0 hides a token from the others' attention; NULL: all 1 */
};

/* Where results go; a NULL member is not computed. Owned by the caller. */
struct sw_encoder_output {
    size_t size;              /* sizeof(struct sw_encoder_output) */
    float *last_hidden_state; /* [tokens, hidden_size] */
    float *pooler_output; /* [sequences, hidden_size]; SW_ENOCOMPONENT when there is no pooler */
};

/* One pass. A sequence's result does not depend on the others in the batch, bit for bit.
 * Errors: -EINVAL for ids, types or lengths out of range (the message says which); those of
 * sw_lease_acquire. On SW_EREVOKED the pass is run again from the start, once, by itself. */
SW_API int sw_encoder_forward(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                              const struct sw_encoder_output *output);

enum sw_pooling {
    SW_POOLING_DEFAULT = 0, /* as the model says, several beside each other if it asks for them;
                               mean if it says nothing */
    SW_POOLING_CLS = 1,
    SW_POOLING_MEAN = 2,
    SW_POOLING_MAX = 3,
    SW_POOLING_POOLER = 4,
    SW_POOLING_MEAN_SQRT_LEN = 5, /* the sum over the root of the number of tokens */
    SW_POOLING_WEIGHTED_MEAN = 6, /* token n of the sequence weighs n */
    SW_POOLING_LAST_TOKEN = 7
};

enum sw_normalize {
    SW_NORMALIZE_DEFAULT = 0, /* as the model says: where its modules have a Normalize */
    SW_NORMALIZE_YES = 1,     /* the vector has length 1 at the end, whatever the model says */
    SW_NORMALIZE_NO = 2       /* the model's Normalize modules are left out */
};

/* The width of a vector by this pooling: the model information's embedding_size for
 * SW_POOLING_DEFAULT. Errors: SW_EUNSUPPORTED for SW_POOLING_DEFAULT of a model whose modules.json
 * has no pooling; -EINVAL when the model's modules cannot take such a pooling's vectors. */
SW_API int sw_encoder_embedding_size(sw_encoder *encoder, enum sw_pooling pooling,
                                     uint32_t *ret_size);

/* One pass, then one vector a sequence: the pooling, then the modules that follow it in the model's
 * modules.json. embeddings: [sequences, width], width by sw_encoder_embedding_size, with room for
 * `capacity` floats. Errors: those of sw_encoder_forward and sw_encoder_embedding_size; -EINVAL when
 * there is not room enough (the message says how much is needed). */
SW_API int sw_encoder_embed(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                            enum sw_pooling pooling, enum sw_normalize normalize, float *embeddings,
                            size_t capacity);

/* ---- heads ---------------------------------------------------------------------------------------- */

/* What a classifier's logits mean: as transformers' text-classification pipeline has it, by
 * config.json's problem_type, single label without one. A single label with a stored activation of
 * torch's Identity (a CrossEncoder's) is a regression. */
enum sw_problem {
    SW_PROBLEM_SINGLE_LABEL = 0, /* scores: softmax over the labels; of one label, its sigmoid */
    SW_PROBLEM_MULTI_LABEL = 1,  /* scores: a sigmoid of each */
    SW_PROBLEM_REGRESSION = 2    /* scores: the logits themselves */
};

struct sw_classes {
    size_t size; /* sizeof(struct sw_classes), set by the caller */
    uint32_t count;
    enum sw_problem problem;
    const char *const *names; /* [count], id2label; borrowed, live as long as the handle */
};
/* Errors: SW_ENOCOMPONENT when the model has no head, SW_EUNSUPPORTED when its head labels something
 * else than whole texts. */
SW_API int sw_encoder_get_classes(sw_encoder *encoder, struct sw_classes *classes);

/* One pass, then the sequence classifier. logits, scores: [sequences, classes]; either may be NULL.
 * Errors: those of sw_encoder_forward; SW_ENOCOMPONENT when the model has no classifier or no pooler. */
SW_API int sw_encoder_classify(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                               float *logits, float *scores);

/* One pass, then the masked-language-model head at count tokens of the batch (numbers into ids, each in
 * range; at most as many as the batch has tokens). logits: [count, vocab_size].
 * Errors: those of sw_encoder_forward; SW_ENOCOMPONENT when the model has no such head. */
SW_API int sw_encoder_fill(sw_encoder *encoder, const struct sw_encoder_batch *batch,
                           const uint32_t *tokens, uint32_t count, float *logits);

/* ---- requests: a pass with everything that can be said about it -------------------------------------- */

enum sw_work {
    SW_WORK_FORWARD = 1,  /* as sw_encoder_forward: last_hidden_state, pooler_output */
    SW_WORK_EMBED = 2,    /* as sw_encoder_embed: embeddings */
    SW_WORK_CLASSIFY = 3, /* as sw_encoder_classify: logits, scores */
    SW_WORK_FILL = 4      /* as sw_encoder_fill: logits */
};

struct sw_encoder_request {
    size_t size; /* sizeof(struct sw_encoder_request) */
    enum sw_work work;
    const struct sw_encoder_batch *batch; /* copied at submission; what it points to is borrowed */

    int timeout_ms;  /* from the call on, waiting in the queue included; 0: no deadline but the
                       client's on each wait for the broker; < 0: -EINVAL. When it has passed: -ETIMEDOUT */
    int no_prefetch; /* 1: not in this pass */
    uint32_t
        prefetch_count; /* 0: as the handle was opened; else, in this pass, also where it was not */
    const int32_t
        *cancelled; /* sw_encoder_run only. NULL, or a word that any thread may set by an atomic
                                 store, to be heard before the next layer: -ECANCELED */
    void *context;  /* comes back with the completion */

    float *last_hidden_state;    /* SW_WORK_FORWARD: [tokens, hidden_size], or NULL */
    float *pooler_output;        /* SW_WORK_FORWARD: [sequences, hidden_size], or NULL */
    enum sw_pooling pooling;     /* SW_WORK_EMBED */
    enum sw_normalize normalize; /* SW_WORK_EMBED */
    float *embeddings;           /* SW_WORK_EMBED: [sequences, width], see sw_encoder_embed */
    size_t embeddings_capacity;  /* SW_WORK_EMBED: floats that embeddings has room for */
    uint32_t prompt_tokens; /* SW_WORK_EMBED: of each sequence, from sw_encoder_prompt; 0: none */
    float *logits;          /* SW_WORK_CLASSIFY: [sequences, classes], or NULL;
                                  SW_WORK_FILL: [token_count, vocab_size] */
    float *scores;          /* SW_WORK_CLASSIFY: [sequences, classes], or NULL */
    const uint32_t *tokens; /* SW_WORK_FILL: [token_count] numbers into ids */
    uint32_t token_count;   /* SW_WORK_FILL */
};

/* Runs the request and returns when it is done. The four calls above are short for this. Errors: theirs;
 * -ETIMEDOUT, -ECANCELED, -EINVAL. */
SW_API int sw_encoder_run(sw_encoder *encoder, const struct sw_encoder_request *request);

/* Gives the request to the handle's executor and returns at once, without waiting for anything;
 * *ret_id, never 0, names it until its completion has been collected. What is wrong with the contents of
 * the arrays shows in the completion only. Errors: -EINVAL (also without options.executor), SW_EFULL,
 * -ESHUTDOWN (the executor has been destroyed), -ENOMEM, -EAGAIN (no thread can be started). */
SW_API int sw_encoder_submit(sw_encoder *encoder, const struct sw_encoder_request *request,
                             uint64_t *ret_id);

/* ---- the component cache ------------------------------------------------------------------------------ */

/* The counterparts of the component cache calls, for the model behind this handle. warmup waits for
 * these layers; prefetch asks for the count layers after current. -EINVAL for a layer out of range. */
SW_API int sw_encoder_warmup(sw_encoder *encoder, const uint32_t *layers, size_t count);
SW_API int sw_encoder_prefetch_next_layers(sw_encoder *encoder, uint32_t current, uint32_t count);
SW_API int sw_encoder_get_cache_info(sw_encoder *encoder, struct sw_cache_info *info);
SW_API int sw_encoder_cached_names(sw_encoder *encoder, const char **names, size_t capacity);
SW_API int sw_encoder_set_cache_size(sw_encoder *encoder, uint32_t components);
SW_API int sw_encoder_set_cache_bytes(sw_encoder *encoder, uint64_t bytes);
SW_API void sw_encoder_clear_cache(sw_encoder *encoder);

/* ---- figures ------------------------------------------------------------------------------------------ */

struct sw_inference_stats {
    size_t size; /* sizeof(struct sw_inference_stats), set by the caller */
    uint64_t passes, tokens;
    double mean_ms, p50_ms, p99_ms; /* of the latest 1024 passes */
    double cache_hit_rate;          /* of the component cache, 0 … 1 */
    uint64_t scratch_bytes;         /* private working memory of the engine */
    double arena_hit_rate;  /* components that were resident when their turn came, 0 … 1 */
    uint64_t failed_passes; /* that ended in an error, a deadline or a cancellation */
};
/* Since the handle was opened, or the figures were reset. */
SW_API int sw_encoder_get_inference_stats(sw_encoder *encoder, struct sw_inference_stats *stats);
SW_API void sw_encoder_reset_inference_stats(sw_encoder *encoder);

/* The model behind the handle, for the generic calls of client.h. Borrowed. */
SW_API sw_model *sw_encoder_model(sw_encoder *encoder);

#ifdef __cplusplus
}
#endif
#endif
