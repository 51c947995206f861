/* Surfing Weights BERT: a forward pass that computes in place on the shared weights.
 *
 * Threads: calls on one sw_bert are serialised by the handle; open one per thread to compute in
 *   parallel, or set options.threads. Handles of one client share its session.
 */
#ifndef SW_BERT_H
#define SW_BERT_H

#include <sw/client.h>
#include <sw/tokenizer.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sw_bert sw_bert;

struct sw_bert_options {
    size_t size;             /* sizeof(struct sw_bert_options) */
    uint32_t cache_size;     /* components kept parsed; 0: all of the model's */
    uint32_t threads;        /* 0: 1 */
    uint32_t prefetch_count; /* layers asked for ahead of use; 0: 2 */
    int no_prefetch;         /* 1: never prefetch */
    char *error;             /* NULL, or where a failed open writes its message */
    size_t error_size;
};

/* Opens a BERT model of the client's catalog: reads its config, checks it against the manifest, loads
 * no weights. client is borrowed and must outlive the handle. With options NULL every default applies.
 * Errors: those of sw_model_open; SW_EUNSUPPORTED and SW_EFORMAT for a config that is not BERT's. */
SW_API int sw_bert_open(sw_client *client, const char *name, const struct sw_bert_options *options,
                        sw_bert **ret_bert);
SW_API void sw_bert_close(sw_bert *bert);

/* As sw_client_message, for this handle. */
SW_API int sw_bert_message(const sw_bert *bert, char *text, size_t size);

struct sw_bert_config {
    size_t size; /* sizeof(struct sw_bert_config), set by the caller */
    uint32_t layers, hidden_size, heads, intermediate_size;
    uint32_t vocab_size, max_positions, type_vocab_size, labels;
    int has_pooler;
};
SW_API int sw_bert_get_config(const sw_bert *bert, struct sw_bert_config *config);

/* The model's tokenizer, made at the first call. Borrowed; lives as long as the handle. */
SW_API int sw_bert_tokenizer(sw_bert *bert, const sw_tokenizer **ret_tokenizer);

/* A ragged batch: the tokens of all sequences one after the other, without padding. Borrowed for the
 * call. tokens = the sum of lengths. */
struct sw_bert_batch {
    size_t size;             /* sizeof(struct sw_bert_batch) */
    uint32_t sequences;      /* at least 1 */
    const uint32_t *lengths; /* [sequences], each 1 … max_positions */
    const int32_t *ids;      /* [tokens], each 0 … vocab_size-1 */
    const int32_t *type_ids; /* [tokens]; NULL: all 0 */
    const uint8_t *mask;     /* [tokens]: 0 hides a token from the others' attention; NULL: all 1 */
};

/* Where results go; a NULL member is not computed. Owned by the caller. */
struct sw_bert_output {
    size_t size;              /* sizeof(struct sw_bert_output) */
    float *last_hidden_state; /* [tokens, hidden_size] */
    float *pooler_output;     /* [sequences, hidden_size]; SW_ENOCOMPONENT when there is no pooler */
};

/* One pass. A sequence's result does not depend on the others in the batch, bit for bit.
 * Errors: -EINVAL for ids, types or lengths out of range (the message says which); those of
 * sw_lease_acquire. On SW_EREVOKED the pass is run again from the start, once, by itself. */
SW_API int sw_bert_forward(sw_bert *bert, const struct sw_bert_batch *batch,
                           const struct sw_bert_output *output);

enum sw_pooling {
    SW_POOLING_DEFAULT = 0, /* as the model's 1_Pooling/config.json says; mean without one */
    SW_POOLING_CLS = 1,
    SW_POOLING_MEAN = 2,
    SW_POOLING_MAX = 3,
    SW_POOLING_POOLER = 4
};

/* One pass, then one vector a sequence. embeddings: [sequences, hidden_size]. normalize: to unit L2. */
SW_API int sw_bert_embed(sw_bert *bert, const struct sw_bert_batch *batch, enum sw_pooling pooling,
                         int normalize, float *embeddings);

/* ---- heads ---------------------------------------------------------------------------------------- */

/* What a classifier's logits mean (config.json's problem_type; without one: regression when there is one
 * label, else single label). */
enum sw_problem {
    SW_PROBLEM_SINGLE_LABEL = 0, /* scores: softmax over the labels */
    SW_PROBLEM_MULTI_LABEL = 1,  /* scores: a sigmoid of each */
    SW_PROBLEM_REGRESSION = 2    /* scores: the logits themselves */
};

struct sw_classes {
    size_t size; /* sizeof(struct sw_classes), set by the caller */
    uint32_t count;
    enum sw_problem problem;
    const char *const *names; /* [count], id2label; borrowed, live as long as the handle */
};
/* Errors: SW_ENOCOMPONENT when the model has no head, SW_EFORMAT. */
SW_API int sw_bert_get_classes(sw_bert *bert, struct sw_classes *classes);

/* One pass, then the sequence classifier. logits, scores: [sequences, classes]; either may be NULL.
 * Errors: those of sw_bert_forward; SW_ENOCOMPONENT when the model has no classifier or no pooler. */
SW_API int sw_bert_classify(sw_bert *bert, const struct sw_bert_batch *batch, float *logits,
                            float *scores);

/* One pass, then the masked-language-model head at count tokens of the batch (numbers into ids, each in
 * range; at most as many as the batch has tokens). logits: [count, vocab_size].
 * Errors: those of sw_bert_forward; SW_ENOCOMPONENT when the model has no such head. */
SW_API int sw_bert_fill(sw_bert *bert, const struct sw_bert_batch *batch, const uint32_t *tokens,
                        uint32_t count, float *logits);

/* The counterparts of the component cache calls, for the model behind this handle. warmup waits for
 * these layers; prefetch asks for the count layers after current. -EINVAL for a layer out of range. */
SW_API int sw_bert_warmup(sw_bert *bert, const uint32_t *layers, size_t count);
SW_API int sw_bert_prefetch_next_layers(sw_bert *bert, uint32_t current, uint32_t count);
SW_API int sw_bert_get_cache_info(sw_bert *bert, struct sw_cache_info *info);
SW_API int sw_bert_set_cache_size(sw_bert *bert, uint32_t components);
SW_API void sw_bert_clear_cache(sw_bert *bert);

struct sw_inference_stats {
    size_t size; /* sizeof(struct sw_inference_stats), set by the caller */
    uint64_t passes, tokens;
    double mean_ms, p50_ms, p99_ms; /* of the latest 1024 passes */
    double cache_hit_rate;          /* of the component cache, 0 … 1 */
    uint64_t scratch_bytes;         /* private working memory of the engine */
};
SW_API int sw_bert_get_inference_stats(sw_bert *bert, struct sw_inference_stats *stats);

/* The model behind the handle, for the generic calls of client.h. Borrowed. */
SW_API sw_model *sw_bert_model(sw_bert *bert);

#ifdef __cplusplus
}
#endif
#endif
