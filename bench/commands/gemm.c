/* SPDX-License-Identifier: MIT */
/* swbench gemm: the engine's GEMM alone, compared with the peak of the core.
 *
 * For each shape of a model's linear layers and each number of tokens, it uses as many weight
 * matrices as the model has layers, one after the other, so that weights come from memory as in a
 * pass. Packing the activations is timed too. The core's peak is measured in alternation, so that
 * changes of the clock rate or other load affect both.
 *
 * For few tokens in f32, baselines in alternation: the faster of bli_sgemm over rows and a plain
 * loop of BLIS's micro-kernel over panels, on the same weights.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/half.h"
#include "core/panel.h"
#include "kernels/gemm.h"
#include "lib/bench.h"
#include "lib/gemm_peers.h"
#include "lib/options.h"
#include "lib/peak.h"

struct settings {
    const char *shape;
    const char *dtype; /* NULL: all */
    const char *layout;
    const char *tokens;
    unsigned rounds;
    bool json;
};

struct shape {
    const char *name;
    uint32_t hidden, inner, layers;
};
static const struct shape shapes[] = {
    {"minilm-l6", 384, 1536, 6}, {"bert-base", 768, 3072, 12}, {"bert-large", 1024, 4096, 24}};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {
        .shape = "bert-base", .layout = "panel", .tokens = "1,16,128,512", .rounds = 5};
    const struct cli_option table[] = {
        {"shape", "NAME", "minilm-l6, bert-base or bert-large (default: bert-base)",
         .text = &settings.shape},
        {"dtype", "T", "f32, f16 or bf16 (default: f32 and f16)", .text = &settings.dtype},
        {"layout", "L", "rows or panel (default: panel)", .text = &settings.layout},
        {"tokens", "A,B,...", "tokens per batch (default: 1,16,128,512)", .text = &settings.tokens},
        {"rounds", "N", "number of rounds (default: 5)", .number = &settings.rounds, .least = 1,
         .most = 10000},
        {0},
    };
    bench_parse(argc, argv, "gemm",
                "Measure the engine's matrix multiplication, all layers streamed.", table,
                &settings.json);
    return settings;
}

static void *allocate(size_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, 4096, bytes))
        bench_die("no memory for %zu MB of weights", bytes >> 20);
    return memory;
}

/* As many matrices [n, k] as there are layers, one after the other. */
static char *make_weights(const struct swi_matrix *like, uint32_t layers, size_t *ret_each)
{
    size_t elements = like->layout == SW_LAYOUT_PANEL ? swi_panel_elements(like->n, like->k)
                                                      : (size_t)like->n * like->k;
    size_t size = sw_dtype_size(like->dtype);
    size_t each = (elements * size + 63) / 64 * 64;
    char *memory = allocate(each * layers);
    for (size_t i = 0; i < elements; i++) {
        float value = (float)(i * 2654435761u % 1000) * 1e-4f - 0.05f;
        uint16_t half =
            like->dtype == SW_DTYPE_F16 ? swi_f32_to_f16(value) : swi_f32_to_bf16(value);
        if (size == sizeof half)
            memcpy(memory + i * sizeof half, &half, sizeof half);
        else
            memcpy(memory + i * sizeof value, &value, sizeof value);
    }
    for (uint32_t layer = 1; layer < layers; layer++)
        memcpy(memory + layer * each, memory, each);
    *ret_each = each;
    return memory;
}

enum { FEW_TOKENS = 16 };

struct work {
    struct swi_matrix like;
    const char *weights;
    size_t each;
    uint32_t layers, tokens;
    bool packed_out; /* as the pass has it: for the next GEMM */
    float *x, *out, *packed, *scratch;
    float *peer_packed; /* NULL: measured by itself */
};

static void pass(const struct work *w)
{
    uint32_t block = swi_gemm_shape()->token_block;
    for (uint32_t layer = 0; layer < w->layers; layer++) {
        for (uint32_t token = 0; token < w->tokens; token += block) {
            uint32_t count = w->tokens - token < block ? w->tokens - token : block;
            struct swi_gemm_input input = {.x = w->x + (size_t)token * w->like.k,
                                           .stride = w->like.k,
                                           .tokens = count,
                                           .k = w->like.k};
            struct swi_gemm_job job = {.packed = w->packed,
                                       .tokens = count,
                                       .weight = w->like,
                                       .out = w->out + (size_t)token * w->like.n,
                                       .out_stride = w->like.n,
                                       .packed_out = w->packed_out};
            job.weight.data = w->weights + layer * w->each;
            swi_gemm_pack(&input, 0, swi_gemm_tiling(count).count, w->packed);
            swi_gemm(&job, 0, swi_gemm_panels(w->like.n), w->scratch);
        }
    }
}

/* All layers with one of the baselines, which read the same bytes in the layout that they expect.
 */
static uint64_t peer_pass(const struct work *w, bool panels)
{
    struct gemm_peer_job job = {
        .x = w->x, .out = w->out, .tokens = w->tokens, .n = w->like.n, .k = w->like.k};
    uint64_t start = bench_now_ns();
    for (uint32_t layer = 0; layer < w->layers; layer++) {
        job.weights = (const float *)(const void *)(w->weights + layer * w->each);
        if (panels)
            gemm_peer_panels(&job, w->peer_packed);
        else
            gemm_peer_sgemm(&job);
    }
    return bench_now_ns() - start;
}

static uint64_t fastest_peer(const struct work *w)
{
    uint64_t sgemm = peer_pass(w, false);
    uint64_t panels = gemm_peer_has_panels() ? peer_pass(w, true) : sgemm;
    return panels < sgemm ? panels : sgemm;
}

/* Medians over rounds. */
struct rates {
    double gflops;
    double of_peak;  /* the peak measured next to each round */
    double of_peers; /* times as fast as the faster peer next to each round */
};

static void measure_rounds(const struct work *w, unsigned rounds, struct rates *ret)
{
    struct series rate = {0}, of_peak = {0}, of_peers = {0};
    double flops = 2.0 * w->like.n * w->like.k * w->tokens * w->layers;
    pass(w);
    for (unsigned round = 0; round < rounds; round++) {
        double peak = bench_peak_gflops(20);
        uint64_t start = bench_now_ns();
        pass(w);
        uint64_t took = bench_now_ns() - start;
        series_add(&rate, flops / (double)took);
        series_add(&of_peak, flops / (double)took / peak);
        if (w->peer_packed)
            series_add(&of_peers, (double)fastest_peer(w) / (double)took);
    }
    ret->gflops = series_median(&rate);
    ret->of_peak = series_median(&of_peak);
    ret->of_peers = w->peer_packed ? series_median(&of_peers) : 0;
    series_fini(&rate);
    series_fini(&of_peak);
    series_fini(&of_peers);
}

static void measure(struct work *w, unsigned rounds, struct rates *ret)
{
    bool has_peers = w->like.dtype == SW_DTYPE_F32 && w->tokens <= FEW_TOKENS;
    w->x = allocate((size_t)w->tokens * w->like.k * sizeof(float));
    /* packed, the last block may have a tile more */
    w->out =
        allocate(((size_t)w->tokens + swi_gemm_shape()->token_width) * w->like.n * sizeof(float));
    w->packed =
        allocate(swi_gemm_packed_floats(swi_gemm_shape()->token_block, w->like.k) * sizeof(float));
    w->scratch = allocate(swi_gemm_scratch_floats() * sizeof(float));
    w->peer_packed =
        has_peers ? allocate(gemm_peer_packed_floats(w->tokens, w->like.k) * sizeof(float)) : NULL;
    for (size_t i = 0; i < (size_t)w->tokens * w->like.k; i++)
        w->x[i] = (float)(i % 17) * 0.1f - 0.8f;
    measure_rounds(w, rounds, ret);
    free(w->x);
    free(w->out);
    free(w->packed);
    free(w->scratch);
    free(w->peer_packed);
}

/* One weight shape in one type, for every number of tokens. */
static void measure_shape(struct report *report, const struct settings *settings,
                          const struct swi_matrix *like, uint32_t layers, bool packed_out)
{
    struct work work = {.like = *like, .layers = layers, .packed_out = packed_out};
    char *weights = make_weights(like, layers, &work.each);
    work.weights = weights;
    for (const char *at = settings->tokens; *at;) {
        char *end, key[96], label[96];
        unsigned long tokens = strtoul(at, &end, 10);
        if (end == at || (*end && *end != ',') || tokens == 0 || tokens > 65536)
            bench_die("--tokens takes numbers from 1 to 65536, not %s", settings->tokens);
        at = *end ? end + 1 : end;
        struct rates rates;
        work.tokens = (uint32_t)tokens;
        measure(&work, settings->rounds, &rates);
        const char *dtype = like->dtype == SW_DTYPE_F32   ? "f32"
                            : like->dtype == SW_DTYPE_F16 ? "f16"
                                                          : "bf16";
        (void)snprintf(key, sizeof key, "%s_n%u_k%u_t%lu_gflops", dtype, like->n, like->k, tokens);
        (void)snprintf(label, sizeof label, "%s [%u, %u] at %lu tokens, GFLOP/s", dtype, like->n,
                       like->k, tokens);
        report_number(report, key, rates.gflops, 1, label);
        (void)snprintf(key, sizeof key, "%s_n%u_k%u_t%lu_of_peak", dtype, like->n, like->k, tokens);
        report_number(report, key, rates.of_peak, 3, "  of the core's peak");
        if (rates.of_peers > 0) {
            (void)snprintf(key, sizeof key, "%s_n%u_k%u_t%lu_of_blis_ratio", dtype, like->n,
                           like->k, tokens);
            report_number(report, key, rates.of_peers, 2, "  times as fast as BLIS");
        }
    }
    free(weights);
}

static const struct shape *find_shape(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (!strcmp(shapes[i].name, name))
            return &shapes[i];
    bench_die("--shape takes minilm-l6, bert-base or bert-large, not '%s'", name);
}

int bench_gemm(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum sw_dtype dtype;
        bool usual;
    } dtypes[] = {
        {"f32", SW_DTYPE_F32, true}, {"f16", SW_DTYPE_F16, true}, {"bf16", SW_DTYPE_BF16, false}};
    struct settings settings = parse(argc, argv);
    const struct shape *shape = find_shape(settings.shape);
    enum sw_layout layout = !strcmp(settings.layout, "rows") ? SW_LAYOUT_ROWS : SW_LAYOUT_PANEL;
    if (strcmp(settings.layout, sw_layout_name(layout)))
        bench_die("--layout takes rows or panel, not %s", settings.layout);
    const struct {
        uint32_t n, k;
        bool packed_out;
    } linears[] = {{3 * shape->hidden, shape->hidden, false},
                   {shape->hidden, shape->hidden, false},
                   {shape->inner, shape->hidden, true},
                   {shape->hidden, shape->inner, false}};
    struct report report;
    const struct swi_gemm_shape *tile = swi_gemm_shape();
    char kernel[64];
    report_init(&report, "gemm");
    (void)snprintf(kernel, sizeof kernel, "%s: %u tokens x %u features", tile->kind,
                   tile->token_width, tile->tile_panels * tile->feature_width);
    report_string(&report, "shape", shape->name, "shape");
    report_string(&report, "layout", settings.layout, "layout");
    report_string(&report, "micro_kernel", kernel, "micro-kernel");
    report_number(&report, "peak_gflops", bench_peak_gflops(100), 1, "peak of the core, GFLOP/s");
    unsigned done = 0;
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++) {
        if (settings.dtype ? strcmp(settings.dtype, dtypes[d].name) != 0 : !dtypes[d].usual)
            continue;
        done++;
        for (size_t i = 0; i < 4; i++) {
            struct swi_matrix like = {
                .n = linears[i].n, .k = linears[i].k, .dtype = dtypes[d].dtype, .layout = layout};
            measure_shape(&report, &settings, &like, shape->layers, linears[i].packed_out);
        }
    }
    if (!done)
        bench_die("--dtype takes f32, f16 or bf16, not %s", settings.dtype);
    return report_print(&report, settings.json);
}
