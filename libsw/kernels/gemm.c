/* SPDX-License-Identifier: MIT */
/* The GEMM driver. gemm.h describes the loops. */
#include "kernels/gemm.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/gemm_blis.h"

static struct {
    struct swi_gemm_shape shape;
    const struct swi_kernels *maths;
    const struct swi_tiler *tiler; /* NULL: BLIS's micro-kernel */
} gemm;

/* ---- what this CPU has ----------------------------------------------------------------------- */

static uint32_t round_up(uint32_t value, uint32_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

static void choose(void)
{
    struct swi_gemm_shape *shape = &gemm.shape;
    uint32_t block;
    gemm.maths = swi_kernels();
    gemm.tiler = getenv("BLIS_ARCH_TYPE") ? NULL : gemm.maths->tiler;
    if (gemm.tiler) {
        shape->kind = gemm.maths->name;
        shape->token_width = gemm.tiler->rows;
        shape->feature_width = SW_PANEL_WIDTH;
        shape->tile_panels = gemm.tiler->panels;
        shape->k_block = gemm.tiler->k_block;
        shape->strips = true;
        block = 192;
    } else {
        /* BLIS keeps MC × KC of its first operand in the second-level cache; so do we, of the
         * activations, with a longer K, because sums here are written to a small buffer and not to
         * a wide matrix. */
        const struct swi_blis *blis = swi_blis();
        shape->kind = "blis";
        shape->token_width = blis->token_width;
        shape->feature_width = blis->feature_width;
        shape->tile_panels = 1;
        shape->k_block = round_up(blis->kc + blis->kc / 2, 32);
        block = blis->mc > 96 ? blis->mc : 96;
    }
    assert(shape->token_width <= SWI_TILE_MAX && shape->feature_width <= SWI_TILE_MAX);
    shape->token_block = round_up(block, shape->token_width);
    shape->feature_panels = 256 / shape->feature_width ? 256 / shape->feature_width : 1;
}

const struct swi_gemm_shape *swi_gemm_shape(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose);
    return &gemm.shape;
}

/* Equal parts, multiples of 32 except the last. Depends only on k. */
uint32_t swi_gemm_k_step(uint32_t k)
{
    uint32_t most = swi_gemm_shape()->k_block;
    uint32_t parts = (k + most - 1) / most;
    return round_up((k + parts - 1) / parts, 32);
}

/* ---- tiles of tokens ------------------------------------------------------------------------- */

struct swi_tiling swi_gemm_tiling(uint32_t tokens)
{
    const struct swi_gemm_shape *shape = swi_gemm_shape();
    struct swi_tiling tiling = {.count = (tokens + shape->token_width - 1) / shape->token_width};
    if (!shape->strips) {
        tiling.height = shape->token_width;
        tiling.padded = tiling.count * shape->token_width;
    } else {
        tiling.height = tokens / tiling.count;
        tiling.taller = tokens % tiling.count;
        tiling.padded = tokens;
    }
    return tiling;
}

size_t swi_gemm_packed_floats(uint32_t tokens, uint32_t k)
{
    if (swi_gemm_shape()->strips)
        return (size_t)tokens * round_up(k, SW_PANEL_WIDTH);
    /* and one more line, which some of BLIS's micro-kernels load but do not use */
    return (size_t)swi_gemm_tiling(tokens).padded * k + 16;
}

uint32_t swi_gemm_panels(uint32_t n)
{
    uint32_t width = swi_gemm_shape()->feature_width;
    return (n + width - 1) / width;
}

/* A packed block for the tiles of tile.h: strips of 16 columns, each [tokens, 16]. */

static size_t strip_floats(uint32_t tokens)
{
    return (size_t)tokens * SW_PANEL_WIDTH;
}

static void pack_strips(const struct swi_gemm_input *input, uint32_t first_tile, uint32_t end_tile,
                        float *packed)
{
    struct swi_tiling tiling = swi_gemm_tiling(input->tokens);
    uint32_t row = swi_tile_first(&tiling, first_tile), end = swi_tile_first(&tiling, end_tile);
    uint32_t whole = input->k / SW_PANEL_WIDTH, rest = input->k % SW_PANEL_WIDTH;
    size_t strip = strip_floats(input->tokens);
    for (; row < end; row++) {
        const float *x = input->x + row * input->stride;
        float *out = packed + (size_t)row * SW_PANEL_WIDTH;
        for (uint32_t i = 0; i < whole; i++, x += SW_PANEL_WIDTH, out += strip)
            memcpy(out, x, SW_PANEL_WIDTH * sizeof *x);
        memcpy(out, x, rest * sizeof *x);
    }
}

/* A packed block for BLIS's micro-kernel: for each stretch of K, for each tile of tokens, [stretch,
 * height]. So the tile whose first row is f lies, in the stretch that starts at k0, at k0 · padded
 * + f · stretch. */

/* Packs columns [k0, k0 + columns) of x, which lie within one stretch; x points at the first of
 * them. */
static void pack_columns(const struct swi_gemm_input *input, uint32_t k0, uint32_t columns,
                         uint32_t first_tile, uint32_t end_tile, float *packed)
{
    struct swi_tiling tiling = swi_gemm_tiling(input->tokens);
    uint32_t step = swi_gemm_k_step(input->k), start = k0 / step * step;
    uint32_t stretch = input->k - start < step ? input->k - start : step;
    assert(k0 + columns <= start + stretch);
    float *block = packed + (size_t)start * tiling.padded;
    for (uint32_t tile = first_tile; tile < end_tile; tile++) {
        uint32_t first = swi_tile_first(&tiling, tile), height = swi_tile_height(&tiling, tile);
        uint32_t rows = input->tokens - first;
        float *out = block + (size_t)first * stretch + (size_t)(k0 - start) * height;
        gemm.maths->interleave(out, height, input->x + first * input->stride, input->stride,
                               rows < height ? rows : height, columns, height);
    }
}

void swi_gemm_pack(const struct swi_gemm_input *input, uint32_t first_tile, uint32_t end_tile,
                   float *packed)
{
    assert(input->tokens > 0);
    if (swi_gemm_shape()->strips) {
        pack_strips(input, first_tile, end_tile, packed);
        return;
    }
    uint32_t step = swi_gemm_k_step(input->k);
    for (uint32_t k0 = 0; k0 < input->k; k0 += step) {
        struct swi_gemm_input part = *input;
        part.x += k0;
        pack_columns(&part, k0, input->k - k0 < step ? input->k - k0 : step, first_tile, end_tile,
                     packed);
    }
}

/* ---- panels of weights ----------------------------------------------------------------------- */

/* A stretch of a panel as the tiles read it: [k, feature_width] of dtype. */
struct panel {
    const void *data;
    enum sw_dtype dtype;
};

static const char *element(const struct swi_matrix *w, size_t index)
{
    return (const char *)w->data + index * sw_dtype_size(w->dtype);
}

/* Panels of 16 → a panel of another width, in buffer. */
static void change_width(const struct swi_matrix *w, uint32_t n0, uint32_t k0, uint32_t k,
                         float *buffer)
{
    uint32_t width = gemm.shape.feature_width;
    for (uint32_t done = 0; done < width;) {
        uint32_t n = n0 + done, lane = n % SW_PANEL_WIDTH;
        uint32_t count =
            SW_PANEL_WIDTH - lane < width - done ? SW_PANEL_WIDTH - lane : width - done;
        if (n >= round_up(w->n, SW_PANEL_WIDTH)) { /* past the last panel: repeat it */
            for (uint32_t row = 0; row < k; row++)
                for (uint32_t i = done; i < width; i++)
                    buffer[row * width + i] = buffer[row * width];
            return;
        }
        size_t start = ((size_t)(n / SW_PANEL_WIDTH) * w->k + k0) * SW_PANEL_WIDTH + lane;
        gemm.maths->copy_columns(buffer + done, width, element(w, start), SW_PANEL_WIDTH, count, k,
                                 w->dtype);
        done += count;
    }
}

/* Rows [n0, n0 + width) of the part [k0, k0 + k): in place if tiles can read them there, else built
 * in buffer. Lanes past the last row hold arbitrary finite values. */
static struct panel panel_of(const struct swi_matrix *w, uint32_t n0, uint32_t k0, uint32_t k,
                             float *buffer)
{
    uint32_t width = gemm.shape.feature_width;
    struct panel made = {.data = buffer, .dtype = SW_DTYPE_F32};
    if (w->layout == SW_LAYOUT_ROWS) {
        uint32_t rows = w->n - n0 < width ? w->n - n0 : width;
        gemm.maths->interleave_any(buffer, element(w, (size_t)n0 * w->k + k0), w->k, rows, k, width,
                                   w->dtype);
        return made;
    }
    if (width != SW_PANEL_WIDTH) {
        change_width(w, n0, k0, k, buffer);
        return made;
    }
    const void *start = element(w, ((size_t)(n0 / SW_PANEL_WIDTH) * w->k + k0) * SW_PANEL_WIDTH);
    /* some of BLIS's micro-kernels load one step too many: there may be nothing behind W */
    bool last = w->n - n0 <= width && w->k - k0 == k;
    if (gemm.tiler || (w->dtype == SW_DTYPE_F32 && !last))
        return (struct panel){.data = start, .dtype = w->dtype};
    gemm.maths->widen(buffer, start, (size_t)k * width, w->dtype);
    return made;
}

/* The bytes of a part of a panel, to prefetch them: `runs` runs of `bytes` each. */
struct source {
    const char *start;
    size_t bytes, stride;
    uint32_t runs;
};

static struct source source_of(const struct swi_matrix *w, uint32_t n0, uint32_t k0, uint32_t k)
{
    uint32_t width = gemm.shape.feature_width;
    size_t size = sw_dtype_size(w->dtype);
    struct source source = {0};
    if (w->layout == SW_LAYOUT_ROWS) {
        source.start = element(w, (size_t)n0 * w->k + k0);
        source.bytes = k * size;
        source.stride = w->k * size;
        source.runs = w->n - n0 < width ? w->n - n0 : width;
        return source;
    }
    uint32_t first = n0 / SW_PANEL_WIDTH, end = (n0 + width + SW_PANEL_WIDTH - 1) / SW_PANEL_WIDTH;
    uint32_t most = (w->n + SW_PANEL_WIDTH - 1) / SW_PANEL_WIDTH;
    source.start = element(w, ((size_t)first * w->k + k0) * SW_PANEL_WIDTH);
    source.bytes = k * SW_PANEL_WIDTH * size;
    source.stride = w->k * SW_PANEL_WIDTH * size;
    source.runs = (end < most ? end : most) - first;
    return source;
}

/* Prefetches part `part` of `parts` of a source into the second-level cache. */
static void fetch(const struct source *source, uint32_t part, uint32_t parts)
{
    size_t lines = (source->bytes + 63) / 64;
    size_t first = lines * part / parts, end = lines * (part + 1) / parts;
    for (uint32_t run = 0; run < source->runs; run++)
        for (size_t line = first; line < end; line++)
            __builtin_prefetch(source->start + run * source->stride + line * 64, 0, 2);
}

/* ---- tiles ----------------------------------------------------------------------------------- */

/* One part of K of the panels that a tile takes at once. */
struct stretch {
    uint32_t k0, k, panels;
    struct panel panel[SWI_TILE_PANELS_MAX];
    struct source next[SWI_TILE_PANELS_MAX]; /* needed next */
    float *sums[SWI_TILE_PANELS_MAX];
};

/* With the tiles of tile.h, which prefetch while they compute. */
static void multiply_by_tiler(const struct swi_gemm_job *job, const struct stretch *s)
{
    struct swi_tiling tiling = swi_gemm_tiling(job->tokens);
    const float *tokens = job->packed + (size_t)s->k0 * job->tokens;
    size_t share = (s->next[0].bytes + tiling.count - 1) / tiling.count;
    struct swi_tile tile = {.strip = strip_floats(job->tokens),
                            .dtype = s->panel[0].dtype,
                            .k = s->k,
                            .panels = s->panels,
                            .scale = 1.0f,
                            .add = s->k0 > 0,
                            .stride = SW_PANEL_WIDTH};
    bool single = s->next[0].runs == 1; /* contiguous: the tiles can prefetch it */
    tile.ahead_step = single ? (share + s->k - 1) / s->k : 0;
    for (uint32_t i = 0; i < tiling.count; i++) {
        uint32_t first = swi_tile_first(&tiling, i);
        tile.tokens = tokens + (size_t)first * SW_PANEL_WIDTH;
        tile.rows = swi_tile_height(&tiling, i);
        for (uint32_t p = 0; p < s->panels; p++) {
            const struct source *next = &s->next[p];
            tile.features[p] = s->panel[p].data;
            tile.c[p] = s->sums[p] + (size_t)first * SW_PANEL_WIDTH;
            tile.ahead[p] = single && next->runs ? next->start + i * share : s->panel[p].data;
            if (!single)
                fetch(next, i, tiling.count);
        }
        gemm.tiler->run(&tile);
    }
}

/* With BLIS's micro-kernel, which takes one panel. */
static void multiply_by_blis(const struct swi_gemm_job *job, const struct stretch *s)
{
    const struct swi_gemm_shape *shape = &gemm.shape;
    struct swi_tiling tiling = swi_gemm_tiling(job->tokens);
    const float *tokens = job->packed + (size_t)s->k0 * tiling.padded;
    for (uint32_t i = 0; i < tiling.count; i++) {
        size_t first = (size_t)i * shape->token_width;
        fetch(&s->next[0], i, tiling.count);
        swi_blis_tile(s->k, 1.0f, tokens + first * s->k, s->panel[0].data, s->k0 > 0,
                      s->sums[0] + first * shape->feature_width, shape->feature_width);
    }
}

void swi_gemm_product(const struct swi_product *p)
{
    uint32_t step = swi_gemm_k_step(p->k), width = gemm.shape.feature_width;
    for (uint32_t k0 = 0; k0 < p->k; k0 += step) {
        uint32_t k = p->k - k0 < step ? p->k - k0 : step;
        const float *tokens =
            p->tokens + (p->strip ? k0 / SW_PANEL_WIDTH * p->strip : (size_t)k0 * p->rows);
        const float *features = p->features + (size_t)k0 * width;
        if (!gemm.tiler) {
            swi_blis_tile(k, p->scale, tokens, features, k0 > 0, p->c, p->stride);
            continue;
        }
        struct swi_tile tile = {.tokens = tokens,
                                .strip = p->strip,
                                .features = {features},
                                .c = {p->c},
                                .stride = p->stride,
                                .ahead = {(const char *)features},
                                .k = k,
                                .rows = p->rows,
                                .panels = 1,
                                .scale = p->scale,
                                .add = k0 > 0};
        gemm.tiler->run(&tile);
    }
}

/* ---- the driver ------------------------------------------------------------------------------ */

/* scratch: tile_panels panels [k_block, feature_width], then sums [feature_panels][token_block,
 * feature_width] */
static size_t panel_floats(void)
{
    const struct swi_gemm_shape *shape = swi_gemm_shape();
    return (size_t)round_up(shape->k_block * shape->feature_width, 16);
}

size_t swi_gemm_scratch_floats(void)
{
    const struct swi_gemm_shape *shape = swi_gemm_shape();
    return shape->tile_panels * panel_floats() +
           (size_t)shape->feature_panels * shape->token_block * shape->feature_width;
}

/* Packs a finished panel of sums, of which `columns` count, as columns of the next GEMM's input for
 * BLIS's micro-kernel. */
static void pack_panel(const struct swi_gemm_job *job, uint32_t n0, uint32_t columns,
                       const float *sums)
{
    uint32_t n = job->weight.n, step = swi_gemm_k_step(n);
    for (uint32_t done = 0; done < columns;) { /* a panel may straddle two parts */
        uint32_t k0 = n0 + done, left = columns - done, room = step - k0 % step;
        uint32_t count = left < room ? left : room;
        struct swi_gemm_input input = {
            .x = sums + done, .stride = gemm.shape.feature_width, .tokens = job->tokens, .k = n};
        pack_columns(&input, k0, count, 0, swi_gemm_tiling(job->tokens).count, job->out);
        done += count;
    }
}

/* Writes the finished sums of one panel to the job's output. A panel is a strip of the next GEMM's
 * input. */
static void finish(const struct swi_gemm_job *job, uint32_t panel, float *sums)
{
    uint32_t width = gemm.shape.feature_width, n0 = panel * width, n = job->weight.n;
    struct swi_strip strip = {
        .sums = sums,
        .bias = job->bias ? job->bias + n0 : NULL,
        .residual = job->residual ? job->residual + n0 : NULL,
        .residual_stride = job->residual_stride,
        .out = job->out + n0,
        .out_stride = job->out_stride,
        .rows = job->tokens,
        .width = width,
        .columns = n - n0 < width ? n - n0 : width,
        .activation = job->activation,
    };
    if (job->packed_out) {
        strip.out = gemm.shape.strips ? job->out + panel * strip_floats(job->tokens) : sums;
        strip.out_stride = width;
    }
    gemm.maths->finish(&strip);
    if (job->packed_out && !gemm.shape.strips)
        pack_panel(job, n0, strip.columns, sums);
}

/* Where in its loops swi_gemm is: panels [panel, panel + panels) of the group [first, end) of all
 * before end_panel. */
struct place {
    uint32_t first, end, end_panel;
    uint32_t panel, panels;
};

/* What the loops come to, ordinal `p` of what a tile takes, after the stretch at k0: of the group,
 * then of the next group. */
static struct source next_source(const struct swi_matrix *w, const struct place *at, uint32_t k0,
                                 uint32_t p)
{
    uint32_t width = gemm.shape.feature_width, step = swi_gemm_k_step(w->k);
    uint32_t panel = at->panel + at->panels + p, most = at->end, k = k0;
    if (at->panel + at->panels >= at->end) {
        panel = at->first + p, k = k0 + step;
        if (k >= w->k)
            panel = at->end + p, k = 0, most = at->end_panel;
    }
    if (panel >= most)
        return (struct source){0};
    return source_of(w, panel * width, k, w->k - k < step ? w->k - k : step);
}

/* The stretch at k0 of the panels at a place; those that must be made are, in buffer. */
static struct stretch stretch_of(const struct swi_matrix *w, const struct place *at, uint32_t k0,
                                 float *buffer)
{
    uint32_t width = gemm.shape.feature_width, step = swi_gemm_k_step(w->k);
    struct stretch s = {.k0 = k0, .k = w->k - k0 < step ? w->k - k0 : step, .panels = at->panels};
    for (uint32_t p = 0; p < at->panels; p++) {
        s.panel[p] = panel_of(w, (at->panel + p) * width, k0, s.k, buffer + p * panel_floats());
        s.next[p] = next_source(w, at, k0, p);
    }
    return s;
}

void swi_gemm(const struct swi_gemm_job *job, uint32_t first_panel, uint32_t end_panel,
              float *scratch)
{
    const struct swi_gemm_shape *shape = swi_gemm_shape();
    const struct swi_matrix *w = &job->weight;
    assert(job->tokens > 0 && job->tokens <= shape->token_block);
    assert((uintptr_t)scratch % 64 == 0);
    uint32_t step = swi_gemm_k_step(w->k);
    float *sums = scratch + shape->tile_panels * panel_floats();
    size_t strip = (size_t)swi_gemm_tiling(job->tokens).padded * shape->feature_width;
    /* with a single stretch nothing waits for a second one: few strips, always in the first-level
     * cache */
    uint32_t group = step >= w->k ? shape->tile_panels : shape->feature_panels;
    struct place at = {.end_panel = end_panel};
    for (at.first = first_panel; at.first < end_panel; at.first = at.end) {
        at.end = end_panel - at.first < group ? end_panel : at.first + group;
        for (uint32_t k0 = 0; k0 < w->k; k0 += step) {
            for (at.panel = at.first; at.panel < at.end; at.panel += at.panels) {
                uint32_t left = at.end - at.panel;
                at.panels = left < shape->tile_panels ? left : shape->tile_panels;
                struct stretch s = stretch_of(w, &at, k0, scratch);
                for (uint32_t p = 0; p < at.panels; p++) {
                    s.sums[p] = sums + (at.panel - at.first + p) * strip;
                    if (job->bias) /* which other tokens' panels have pushed out of the caches */
                        __builtin_prefetch(job->bias + (at.panel + p) * shape->feature_width);
                }
                if (gemm.tiler)
                    multiply_by_tiler(job, &s);
                else
                    multiply_by_blis(job, &s);
                for (uint32_t p = 0; k0 + s.k == w->k && p < at.panels; p++)
                    finish(job, at.panel + p, s.sums[p]);
            }
        }
    }
}
