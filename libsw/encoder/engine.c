/* SPDX-License-Identifier: MIT */
/* The pass, top to bottom.
 *
 * Threads run one layer together (kernels/thread_pool.h): within a block of tokens they share tiles of tokens for what
 * goes by rows and panels of features for what goes by columns, and meet between the two. Who computes
 * what changes no bit of it.
 */
#include "encoder/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/huge_pages.h"
#include "encoder/attention.h"
#include "kernels/thread_pool.h"

struct swi_engine {
    struct swi_encoder_config config;
    swi_thread_pool *team;
    const struct sw_encoder_batch *batch; /* of the pass under way */
    uint32_t tokens;
    uint32_t block; /* tokens of a block in this pass */

    struct swi_huge memory; /* all of the below */
    float *hidden;          /* [tokens, hidden] */
    float *qkv;             /* [tokens, 3 · hidden] */
    float *context;         /* [tokens, hidden] */
    float *sums;            /* [block, hidden]: before LayerNorm */
    float *packed;          /* [block, hidden] packed */
    float *inner;           /* [block, widest_input] packed */
    float *scratch;         /* [threads][scratch_floats] */
    size_t scratch_floats;

    uint32_t *starts; /* [sequences]: first token of each */
    uint32_t starts_capacity;
};

/* ---- memory -------------------------------------------------------------------------------------- */

int swi_engine_create(const struct swi_encoder_config *config, unsigned threads,
                      swi_engine **ret_encoder)
{
    swi_engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return -ENOMEM;
    engine->config = *config;
    int r = swi_thread_pool_create(threads, &engine->team);
    if (r < 0) {
        free(engine);
        return r;
    }
    *ret_encoder = engine;
    return 0;
}

void swi_engine_destroy(swi_engine *engine)
{
    if (!engine)
        return;
    swi_thread_pool_destroy(engine->team);
    swi_huge_give(&engine->memory);
    free(engine->starts);
    free(engine);
}

uint64_t swi_engine_scratch_bytes(const swi_engine *engine)
{
    return swi_huge_held(&engine->memory) + engine->starts_capacity * sizeof(uint32_t);
}

static float *take(float *base, size_t *used, size_t floats)
{
    float *start = base ? base + *used : NULL;
    *used += (floats + 15) / 16 * 16;
    return start;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Of any projection. */
static uint32_t widest_input(const struct swi_encoder_config *c)
{
    return larger(larger(c->intermediate, c->hidden), c->widest);
}

/* Lays the buffers out from base on; with base NULL it only counts. */
static size_t lay_out(swi_engine *e, float *base, uint32_t longest)
{
    const struct swi_encoder_config *c = &e->config;
    size_t used = 0, hidden = c->hidden;
    size_t attention = swi_attention_scratch_floats(longest, c->hidden / c->heads);
    size_t gemm = swi_gemm_scratch_floats();
    e->scratch_floats = ((attention > gemm ? attention : gemm) + 15) / 16 * 16;
    e->hidden = take(base, &used, e->tokens * hidden);
    e->qkv = take(base, &used, e->tokens * hidden * 3);
    e->context = take(base, &used, e->tokens * hidden);
    e->sums = take(base, &used, e->block * hidden);
    e->packed = take(base, &used, swi_gemm_packed_floats(e->block, c->hidden));
    e->inner = take(base, &used, swi_gemm_packed_floats(e->block, widest_input(c)));
    e->scratch = take(base, &used, swi_thread_pool_size(e->team) * e->scratch_floats);
    return used;
}

/* Blocks of equal size, as few as the caches allow. */
static uint32_t block_of(uint32_t tokens)
{
    const struct swi_gemm_shape *shape = swi_gemm_shape();
    uint32_t blocks = (tokens + shape->token_block - 1) / shape->token_block;
    uint32_t each = (tokens + blocks - 1) / blocks;
    return (each + shape->token_width - 1) / shape->token_width * shape->token_width;
}

static int reserve_starts(swi_engine *e, uint32_t sequences)
{
    if (sequences <= e->starts_capacity)
        return 0;
    uint32_t *starts = realloc(e->starts, sequences * sizeof *starts);
    if (!starts)
        return -ENOMEM;
    e->starts = starts;
    e->starts_capacity = sequences;
    return 0;
}

int swi_engine_begin(swi_engine *e, const struct sw_encoder_batch *batch)
{
    int r = reserve_starts(e, batch->sequences);
    if (r < 0)
        return r;
    uint32_t tokens = 0, longest = 0;
    for (uint32_t i = 0; i < batch->sequences; i++) {
        e->starts[i] = tokens;
        tokens += batch->lengths[i];
        longest = larger(longest, batch->lengths[i]);
    }
    e->batch = batch;
    e->tokens = tokens;
    e->block = block_of(tokens);
    size_t bytes = lay_out(e, NULL, longest) * sizeof(float);
    if (bytes > e->memory.bytes) {
        /* zeroed: padding lanes are computed and dropped, but they must hold numbers */
        struct swi_huge memory;
        r = swi_huge_take(bytes, &memory);
        if (r < 0)
            return r;
        swi_huge_give(&e->memory);
        e->memory = memory;
    }
    (void)lay_out(e, e->memory.start, longest);
    return 0;
}

const float *swi_engine_hidden(const swi_engine *e)
{
    return e->hidden;
}

float *swi_engine_spare(swi_engine *e)
{
    return e->qkv;
}

unsigned swi_engine_threads(const swi_engine *e)
{
    return swi_thread_pool_size(e->team);
}

/* ---- embeddings ----------------------------------------------------------------------------------- */

static const void *table_row(const struct swi_table *table, uint32_t row, uint32_t hidden)
{
    assert(row < table->rows);
    return (const char *)table->data + (size_t)row * hidden * sw_dtype_size(table->dtype);
}

void swi_engine_add_words(swi_engine *e, const struct swi_table *words)
{
    const struct swi_kernels *maths = swi_kernels();
    uint32_t hidden = e->config.hidden;
    for (uint32_t t = 0; t < e->tokens; t++) {
        uint32_t id = (uint32_t)e->batch->ids[t];
        if (id >= words->first_row && id - words->first_row < words->rows)
            maths->widen(e->hidden + (size_t)t * hidden,
                         table_row(words, id - words->first_row, hidden), hidden, words->dtype);
    }
}

bool swi_engine_uses_words(const swi_engine *e, uint32_t first, uint32_t rows)
{
    for (uint32_t t = 0; t < e->tokens; t++) {
        uint32_t id = (uint32_t)e->batch->ids[t];
        if (id >= first && id - first < rows)
            return true;
    }
    return false;
}

void swi_engine_embed(swi_engine *e, const struct swi_embedding_weights *w)
{
    const struct swi_kernels *maths = swi_kernels();
    uint32_t hidden = e->config.hidden;
    for (uint32_t s = 0; s < e->batch->sequences; s++) {
        for (uint32_t position = 0; position < e->batch->lengths[s]; position++) {
            uint32_t t = e->starts[s] + position;
            uint32_t type = e->batch->type_ids ? (uint32_t)e->batch->type_ids[t] : 0;
            float *row = e->hidden + (size_t)t * hidden;
            maths->widen_add(row, table_row(&w->types, type, hidden), hidden, w->types.dtype);
            maths->widen_add(row, table_row(&w->positions, position, hidden), hidden,
                             w->positions.dtype);
            maths->layer_norm(row, row, w->norm.gamma, w->norm.beta, hidden, e->config.epsilon);
        }
    }
}

/* ---- one layer ------------------------------------------------------------------------------------ */

/* One member's view of a layer. */
struct step {
    swi_engine *engine;
    const struct swi_layer_weights *weights;
    unsigned member;
    float *scratch;
};

/* The member's panels of a GEMM; all have met before it may read what comes out. */
static void multiply(const struct step *s, const struct swi_gemm_job *job)
{
    uint32_t first, end;
    swi_thread_pool_share(s->engine->team, s->member, swi_gemm_panels(job->weight.n), &first, &end);
    swi_gemm(job, first, end, s->scratch);
    swi_thread_pool_wait(s->engine->team);
}

/* Packs x[count, hidden] together. */
static void pack(const struct step *s, const float *x, uint32_t count)
{
    uint32_t first, end, hidden = s->engine->config.hidden;
    struct swi_gemm_input input = {.x = x, .stride = hidden, .tokens = count, .k = hidden};
    swi_thread_pool_share(s->engine->team, s->member, swi_gemm_tiling(count).count, &first, &end);
    swi_gemm_pack(&input, first, end, s->engine->packed);
    swi_thread_pool_wait(s->engine->team);
}

/* hidden = LayerNorm(sums) for the block's rows; packs them for what comes next when `packing`. */
static void normalise(const struct step *s, const struct swi_norm *norm, uint32_t token,
                      uint32_t count, bool packing)
{
    swi_engine *e = s->engine;
    uint32_t first, end, hidden = e->config.hidden;
    struct swi_tiling tiling = swi_gemm_tiling(count);
    float *rows = e->hidden + (size_t)token * hidden;
    struct swi_gemm_input input = {.x = rows, .stride = hidden, .tokens = count, .k = hidden};
    swi_thread_pool_share(e->team, s->member, tiling.count, &first, &end);
    for (uint32_t tile = first; tile < end; tile++) {
        uint32_t row = swi_tile_first(&tiling, tile), past = row + swi_tile_height(&tiling, tile);
        for (; row < count && row < past; row++)
            swi_kernels()->layer_norm(rows + (size_t)row * hidden, e->sums + (size_t)row * hidden,
                                      norm->gamma, norm->beta, hidden, e->config.epsilon);
        if (packing)
            swi_gemm_pack(&input, tile, tile + 1, e->packed);
    }
    swi_thread_pool_wait(e->team);
}

/* qkv = hidden · Wqkv^T + bias */
static void project_qkv(const struct step *s, uint32_t token, uint32_t count)
{
    swi_engine *e = s->engine;
    size_t hidden = e->config.hidden;
    pack(s, e->hidden + token * hidden, count);
    for (unsigned i = 0; i < s->weights->qkv_count; i++) {
        const struct swi_linear *linear = &s->weights->qkv[i];
        struct swi_gemm_job job = {.packed = e->packed,
                                   .tokens = count,
                                   .weight = linear->weight,
                                   .bias = linear->bias,
                                   .out = e->qkv + token * hidden * 3 + i * hidden,
                                   .out_stride = 3 * hidden};
        multiply(s, &job);
    }
}

/* Heads of sequences, to whichever member is free. */
static void attend(const struct step *s)
{
    swi_engine *e = s->engine;
    const struct sw_encoder_batch *batch = e->batch;
    uint32_t heads = e->config.heads, size = e->config.hidden / heads;
    size_t hidden = e->config.hidden;
    for (;;) {
        uint32_t task = swi_thread_pool_next(e->team);
        if (task / heads >= batch->sequences)
            break;
        uint32_t start = e->starts[task / heads], head = task % heads;
        const float *q = e->qkv + start * hidden * 3 + (size_t)head * size;
        struct swi_attention attention = {
            .q = q,
            .k = q + hidden,
            .v = q + 2 * hidden,
            .stride = 3 * hidden,
            .tokens = batch->lengths[task / heads],
            .size = size,
            .mask = batch->mask ? batch->mask + start : NULL,
            .out = e->context + start * hidden + (size_t)head * size,
            .out_stride = hidden,
        };
        swi_attend(&attention, s->scratch);
    }
    swi_thread_pool_wait(e->team);
}

/* hidden = LayerNorm(hidden + context · Wo^T + bias), left packed as well */
static void leave_attention(const struct step *s, uint32_t token, uint32_t count)
{
    swi_engine *e = s->engine;
    size_t hidden = e->config.hidden;
    pack(s, e->context + token * hidden, count);
    struct swi_gemm_job job = {.packed = e->packed,
                               .tokens = count,
                               .weight = s->weights->attention_output.weight,
                               .bias = s->weights->attention_output.bias,
                               .residual = e->hidden + token * hidden,
                               .residual_stride = hidden,
                               .out = e->sums,
                               .out_stride = hidden};
    multiply(s, &job);
    normalise(s, &s->weights->attention_norm, token, count, true);
}

/* hidden = LayerNorm(hidden + activation(hidden · Wi^T + bias) · Wo^T + bias) */
static void feed_forward(const struct step *s, uint32_t token, uint32_t count)
{
    swi_engine *e = s->engine;
    size_t hidden = e->config.hidden;
    struct swi_gemm_job in = {.packed = e->packed,
                              .tokens = count,
                              .weight = s->weights->intermediate.weight,
                              .bias = s->weights->intermediate.bias,
                              .activation = e->config.activation,
                              .out = e->inner,
                              .packed_out = true};
    multiply(s, &in);
    struct swi_gemm_job out = {.packed = e->inner,
                               .tokens = count,
                               .weight = s->weights->output.weight,
                               .bias = s->weights->output.bias,
                               .residual = e->hidden + token * hidden,
                               .residual_stride = hidden,
                               .out = e->sums,
                               .out_stride = hidden};
    multiply(s, &out);
    normalise(s, &s->weights->output_norm, token, count, false);
}

static void run_layer(void *context, unsigned member)
{
    struct step s = *(const struct step *)context;
    swi_engine *e = s.engine;
    s.member = member;
    s.scratch = e->scratch + member * e->scratch_floats;
    for (uint32_t token = 0; token < e->tokens; token += e->block)
        project_qkv(&s, token, e->tokens - token < e->block ? e->tokens - token : e->block);
    attend(&s);
    for (uint32_t token = 0; token < e->tokens; token += e->block) {
        uint32_t count = e->tokens - token < e->block ? e->tokens - token : e->block;
        leave_attention(&s, token, count);
        feed_forward(&s, token, count);
    }
}

int swi_engine_layer(swi_engine *e, const struct swi_layer_weights *weights)
{
    struct step step = {.engine = e, .weights = weights};
    return swi_thread_pool_run(e->team, run_layer, &step);
}

/* ---- after the layers ------------------------------------------------------------------------------ */

void swi_engine_project(swi_engine *e, const struct swi_projection *p)
{
    const struct swi_matrix *w = &p->linear->weight;
    assert(w->k <= widest_input(&e->config));
    for (uint32_t row = 0; row < p->rows; row += e->block) {
        uint32_t count = p->rows - row < e->block ? p->rows - row : e->block;
        struct swi_gemm_input input = {
            .x = p->x + row * p->stride, .stride = p->stride, .tokens = count, .k = w->k};
        swi_gemm_pack(&input, 0, swi_gemm_tiling(count).count, e->inner);
        struct swi_gemm_job job = {.packed = e->inner,
                                   .tokens = count,
                                   .weight = *w,
                                   .bias = p->linear->bias,
                                   .activation = p->activation,
                                   .out = p->out + row * p->out_stride,
                                   .out_stride = p->out_stride};
        swi_gemm(&job, 0, swi_gemm_panels(w->n), e->scratch);
    }
}

/* ---- what a batch must be -------------------------------------------------------------------------- */

int swi_batch_check(const struct sw_encoder_batch *batch, const struct swi_encoder_config *config,
                    uint32_t *ret_tokens, struct swi_error *error)
{
    if (batch->sequences == 0 || !batch->lengths || !batch->ids)
        return swi_fail(error, -EINVAL, "a batch needs at least one sequence, lengths and ids");
    uint64_t tokens = 0;
    for (uint32_t s = 0; s < batch->sequences; s++) {
        uint32_t length = batch->lengths[s];
        if (length == 0 || length > config->positions)
            return swi_fail(error, -EINVAL, "sequence %u has %u tokens; this model takes 1 to %u",
                            s, length, config->positions);
        for (uint64_t t = tokens; t < tokens + length; t++) {
            int32_t id = batch->ids[t], type = batch->type_ids ? batch->type_ids[t] : 0;
            if (id < 0 || (uint32_t)id >= config->vocab)
                return swi_fail(error, -EINVAL, "sequence %u: id %d is not in the vocabulary of %u",
                                s, id, config->vocab);
            if (type < 0 || (uint32_t)type >= config->types)
                return swi_fail(error, -EINVAL, "sequence %u: type %d; this model has %u types", s,
                                type, config->types);
        }
        tokens += length;
    }
    if (tokens > INT32_MAX)
        return swi_fail(error, -EINVAL, "a batch of %llu tokens is too large",
                        (unsigned long long)tokens);
    *ret_tokens = (uint32_t)tokens;
    return 0;
}
