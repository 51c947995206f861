/* What is behind a sw_bert. Fields below `lock` are used by whoever holds it. */
#ifndef SWI_BERT_HANDLE_H
#define SWI_BERT_HANDLE_H

#include <pthread.h>

#include <sw/bert.h>

#include "bert/encoder.h"
#include "bert/labels.h"

enum { SWI_LATENCIES = 1024 };

struct swi_latencies {
    uint64_t passes, tokens;
    uint64_t ns[SWI_LATENCIES]; /* of pass p at p % SWI_LATENCIES */
};

struct sw_bert {
    /* fixed at open */
    sw_client *client;
    sw_model *model;
    struct swi_bert_config config;
    uint32_t embeddings;  /* component numbers … */
    uint32_t *words;      /* [word_blocks]: embeddings_words_0, … */
    uint32_t word_blocks; /* 0: the table is in embeddings */
    uint32_t *layers;     /* [config.layers] */
    int pooler, head;     /* -1: there is none */
    uint32_t prefetch_count; /* 0: prefetch nothing */
    unsigned lane;

    pthread_mutex_t lock;
    swi_encoder *encoder;
    struct swi_error error;
    sw_tokenizer *tokenizer; /* NULL until asked for */
    enum sw_pooling pooling; /* SW_POOLING_DEFAULT until asked for */
    uint64_t step_ns;        /* how long a component's turn takes */
    uint64_t step_start;
    struct swi_latencies latencies;
    struct swi_labels *labels; /* NULL until asked for */
    float *logits;             /* what a head computes, until the whole pass has succeeded */
    size_t logits_capacity;    /* floats */
};

/* A failure of a client call on `what`: passes its message on. Returns code. */
int swi_bert_client_failure(sw_bert *bert, int code, const char *what);

/* What a pass ends with: takes turns of its own after the pooler's. pooled is NULL where the pass was not asked
 * for it. */
struct swi_head {
    int (*run)(sw_bert *bert, const struct sw_bert_batch *batch, const float *pooled,
               void *context);
    void *context;
};

/* A whole pass over the batch, run again once when a lease was revoked meanwhile. Hidden states are then
 * in the encoder; *ret_pooled, when not NULL, [sequences, hidden] in its memory. head may be NULL. The
 * lock is held. */
int swi_bert_pass(sw_bert *bert, const struct sw_bert_batch *batch, const float **ret_pooled,
                  const struct swi_head *head);

/* Leases a component for its turn in a pass. On success *source finds its tensors. */
int swi_bert_begin_turn(sw_bert *bert, uint32_t component, sw_component **ret,
                        struct swi_tensor_source *source);
/* Ends it. r is what came of the turn; a revoked lease overrides it, as what was read may be wrong. */
int swi_bert_end_turn(sw_bert *bert, sw_component *component, int r);

/* Where swchunk cuts the word table: block k of n begins at row vocab · k / n. */
uint32_t swi_bert_block_start(const sw_bert *bert, uint32_t block);
/* The table of a leased block. */
int swi_bert_bind_block(sw_bert *bert, uint32_t block, const sw_component *component,
                        const struct swi_tensor_source *source, struct swi_table *ret);

void swi_latencies_add(struct swi_latencies *latencies, uint64_t ns, uint32_t tokens);
void swi_latencies_get(const struct swi_latencies *latencies, struct sw_inference_stats *stats);

#endif
