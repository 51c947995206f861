/* SPDX-License-Identifier: MIT */
/* The engine behind include/sw/encoder.h, on chunks that a real broker serves: against the same weights in
 * the test's own memory, to the bit; and what it does when something goes wrong.
 *
 * The linker sends this program's allocations and component releases through the wrappers below, so that
 * a test can count the ones and spoil the others.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "encoder/model.h"
#include "kernels/random.h"
#include "support/support.h"

/* ---- wrappers ------------------------------------------------------------------------------------------ */

static atomic_size_t allocations;
static int releases_to_spoil;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void *__real_mmap(void *at, size_t bytes, int access, int flags, int fd, off_t offset);
int __real_sw_component_release(sw_component *component);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
void *__wrap_mmap(void *at, size_t bytes, int access, int flags, int fd, off_t offset);
int __wrap_sw_component_release(sw_component *component);

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size)
{
    allocations++;
    return __real_calloc(count, size);
}
void *__wrap_realloc(void *memory, size_t size)
{
    allocations++;
    return __real_realloc(memory, size);
}
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return __real_aligned_alloc(alignment, size);
}
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    allocations++;
    return __real_posix_memalign(memory, alignment, size);
}
void *__wrap_mmap(void *at, size_t bytes, int access, int flags, int fd, off_t offset)
{
    allocations++;
    return __real_mmap(at, bytes, access, flags, fd, offset);
}
int __wrap_sw_component_release(sw_component *component)
{
    int result = __real_sw_component_release(component);
    if (releases_to_spoil <= 0)
        return result;
    releases_to_spoil--;
    return SW_EREVOKED;
}

/* ---- a broker and its models ----------------------------------------------------------------------------- */

#define SEED 21
static const char *const seed_words = "21";
static struct sup_broker broker;
static sw_client *client;

static const struct form {
    const char *name, *layout_word, *dtype_word;
    enum sw_layout layout;
    enum sw_dtype dtype;
} forms[] = {
    {"panel-f32", "panel", "f32", SW_LAYOUT_PANEL, SW_DTYPE_F32},
    {"panel-f16", "panel", "f16", SW_LAYOUT_PANEL, SW_DTYPE_F16},
    {"panel-bf16", "panel", "bf16", SW_LAYOUT_PANEL, SW_DTYPE_BF16},
    {"rows-f32", "rows", "f32", SW_LAYOUT_ROWS, SW_DTYPE_F32},
    {"rows-f16", "rows", "f16", SW_LAYOUT_ROWS, SW_DTYPE_F16},
    {"rows-bf16", "rows", "bf16", SW_LAYOUT_ROWS, SW_DTYPE_BF16},
};
#define FORMS (sizeof forms / sizeof forms[0])

static sw_client *connect_client(void)
{
    char message[512] = "";
    struct sw_client_options options = SW_INIT(struct sw_client_options);
    sw_client *made = NULL;
    options.socket_path = broker.socket;
    options.error = message;
    options.error_size = sizeof message;
    cr_assert_eq(sw_client_open(&options, &made), 0, "%s", message);
    return made;
}

static void serve(const char *catalog, const char *cache_size)
{
    broker = sup_broker_start(catalog, cache_size, NULL);
    client = connect_client();
}

static const char *new_catalog(void)
{
    const char *catalog = sup_path("catalog");
    sup_mkdir(catalog);
    return catalog;
}

static void stop(void)
{
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

static sw_encoder *open_bert(const char *name, const struct sw_encoder_options *options)
{
    char message[512] = "";
    struct sw_encoder_options all = SW_INIT(struct sw_encoder_options);
    sw_encoder *encoder = NULL;
    if (options)
        all = *options;
    all.error = message;
    all.error_size = sizeof message;
    cr_assert_eq(sw_encoder_open(client, name, &all, &encoder), 0, "%s", message);
    return encoder;
}

/* Three sequences that make the engine's edges meet. */
enum { SEQUENCES = 3, TOKENS = 48 };
static const uint32_t lengths[SEQUENCES] = {7, 40, 1};

struct input {
    struct sw_encoder_batch batch;
    int32_t ids[TOKENS], types[TOKENS];
    uint8_t mask[TOKENS];
};

static void make_input(struct input *input, uint32_t vocab)
{
    uint64_t state = 77;
    for (uint32_t t = 0; t < TOKENS; t++) {
        input->ids[t] = (int32_t)(fabsf(random_float(&state, 0.999f)) * (float)vocab);
        input->types[t] = t % 2;
        input->mask[t] = t % 5 != 2;
    }
    input->ids[1] = (int32_t)vocab - 1;
    input->batch = (struct sw_encoder_batch){.size = sizeof input->batch,
                                             .sequences = SEQUENCES,
                                             .lengths = lengths,
                                             .ids = input->ids,
                                             .type_ids = input->types,
                                             .mask = input->mask};
}

static struct sw_encoder_output output_of(float *hidden, float *pooled)
{
    struct sw_encoder_output output = SW_INIT(struct sw_encoder_output);
    output.last_hidden_state = hidden;
    output.pooler_output = pooled;
    return output;
}

static void check(const sw_encoder *encoder, int result)
{
    char message[512] = "";
    sw_encoder_message(encoder, message, sizeof message);
    cr_assert(result == 0, "%s: %s", sw_strerror(result), message);
}

/* ---- numbers ---------------------------------------------------------------------------------------------- */

/* The engine on chunks against the encoder on the same weights in memory. */
static void compare_with_memory(const char *catalog, const char *name, const struct form *form)
{
    struct input input;
    char *config = sup_read(sup_format("%s/%s/config.json", catalog, name), NULL);
    struct bert_model *model = bert_model_synth(config, true, SEED);
    const struct swi_encoder_config *c = bert_model_config(model);
    bert_model_store(model, form->layout, form->dtype);
    make_input(&input, c->vocab);
    float *want = aligned_bytes(TOKENS * c->hidden * sizeof *want);
    float *got = aligned_bytes(TOKENS * c->hidden * sizeof *got);
    float *want_pooled = aligned_bytes(SEQUENCES * c->hidden * sizeof *want);
    float *got_pooled = aligned_bytes(SEQUENCES * c->hidden * sizeof *got);
    swi_engine *engine = NULL;
    cr_assert_eq(swi_engine_create(c, 1, &engine), 0);
    bert_model_forward(model, engine, &input.batch, want, want_pooled);
    swi_engine_destroy(engine);

    sw_encoder *encoder = open_bert(name, NULL);
    struct sw_encoder_output output = output_of(got, got_pooled);
    check(encoder, sw_encoder_forward(encoder, &input.batch, &output));
    cr_expect(!memcmp(got, want, TOKENS * c->hidden * sizeof *got), "%s: hidden states", name);
    cr_expect(!memcmp(got_pooled, want_pooled, SEQUENCES * c->hidden * sizeof *got), "%s: pooled",
              name);
    sw_encoder_close(encoder);
    free(want);
    free(got);
    free(want_pooled);
    free(got_pooled);
    bert_model_free(model);
}

Test(engine, computes_on_chunks_what_it_computes_in_memory, .timeout = 100)
{
    const char *catalog = new_catalog();
    for (size_t i = 0; i < FORMS; i++)
        sup_synth(catalog, forms[i].name,
                  SUP_ARGS("--seed", seed_words, "--layout", forms[i].layout_word, "--dtype",
                           forms[i].dtype_word, "--vocab-size", "1500"));
    serve(catalog, "64M");
    for (size_t i = 0; i < FORMS; i++)
        compare_with_memory(catalog, forms[i].name, &forms[i]);
    stop();
}

Test(engine, finds_words_in_a_table_cut_into_blocks, .timeout = 100)
{
    const char *catalog = new_catalog();
    sup_synth(catalog, "wide",
              SUP_ARGS("--seed", seed_words, "--dtype", "f16", "--vocab-size", "150001"));
    cr_assert(sup_exists(sup_format("%s/wide/embeddings_words_2.safetensors", catalog)));
    serve(catalog, "100M");
    compare_with_memory(catalog, "wide", &forms[1]);
    stop();
}

Test(engine, loads_only_the_word_blocks_that_a_text_touches, .timeout = 60)
{
    const char *catalog = new_catalog();
    sup_synth(catalog, "wide", SUP_ARGS("--dtype", "f16", "--vocab-size", "150001"));
    serve(catalog, "100M");
    sw_encoder *encoder = open_bert("wide", NULL);
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    static const int32_t ids[2] = {3, 140000};
    static const uint32_t length = 2;
    float hidden[2 * 128];
    struct sw_encoder_output output = output_of(hidden, NULL);
    batch.sequences = 1;
    batch.lengths = &length;
    batch.ids = ids;
    struct sw_encoder_options quiet = SW_INIT(struct sw_encoder_options);
    quiet.no_prefetch = 1;
    sw_encoder_close(encoder);
    encoder = open_bert("wide", &quiet);
    check(encoder, sw_encoder_forward(encoder, &batch, &output));
    struct sw_component_info info = SW_INIT(struct sw_component_info);
    static const int wanted[3] = {1, 0, 1};
    for (int block = 0; block < 3; block++) {
        int found =
            sw_model_find(sw_encoder_model(encoder), sup_format("embeddings_words_%d", block));
        cr_assert(found >= 0);
        cr_assert_eq(sw_model_component_info(sw_encoder_model(encoder), (uint32_t)found, &info), 0);
        cr_expect_eq(info.resident, wanted[block], "block %d", block);
    }
    sw_encoder_close(encoder);
    stop();
}

Test(engine, threads_change_no_bit, .timeout = 60)
{
    const char *catalog = new_catalog();
    sup_synth(catalog, "tiny", NULL);
    serve(catalog, "64M");
    struct input input;
    static float one[TOKENS * 128], three[TOKENS * 128];
    make_input(&input, 30522);
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    options.threads = 3;
    sw_encoder *single = open_bert("tiny", NULL), *several = open_bert("tiny", &options);
    struct sw_encoder_output output = output_of(one, NULL), other = output_of(three, NULL);
    check(single, sw_encoder_forward(single, &input.batch, &output));
    check(several, sw_encoder_forward(several, &input.batch, &other));
    cr_expect(!memcmp(one, three, sizeof one));
    sw_encoder_close(single);
    sw_encoder_close(several);
    stop();
}

/* ---- pooling ------------------------------------------------------------------------------------------------ */

static void expect_close(const float *got, const double *want, size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++)
        cr_assert(fabs((double)got[i] - want[i]) < 1e-6, "%s: %g, not %g", what, (double)got[i],
                  want[i]);
}

static void pool_by_definition(enum sw_pooling pooling, const struct input *input,
                               const float *hidden, uint32_t width, double *out)
{
    for (uint32_t s = 0, first = 0; s < SEQUENCES; first += lengths[s++]) {
        for (uint32_t i = 0; i < width; i++) {
            double sum = 0, most = 0, count = 0, begin = (double)hidden[first * width + i];
            for (uint32_t t = first; t < first + lengths[s]; t++) {
                double value = (double)hidden[t * width + i];
                if (!input->mask[t])
                    continue;
                begin = count > 0 ? begin : value; /* of the tokens that count */
                sum += value;
                most = count > 0 ? fmax(most, value) : value;
                count++;
            }
            out[s * width + i] = pooling == SW_POOLING_CLS   ? begin
                                 : pooling == SW_POOLING_MAX ? most
                                                             : sum / fmax(count, 1);
        }
    }
}

Test(engine, pools_as_asked_and_as_the_model_says, .timeout = 60)
{
    const char *catalog = new_catalog();
    sup_synth(catalog, "tiny", NULL);
    sup_synth(catalog, "maxed", NULL);
    sup_mkdir(sup_format("%s/maxed/1_Pooling", catalog));
    sup_write_text(sup_format("%s/maxed/1_Pooling/config.json", catalog),
                   "{\"pooling_mode_max_tokens\": true, \"pooling_mode_cls_token\": false}");
    sup_synth(catalog, "mixed", NULL);
    sup_mkdir(sup_format("%s/mixed/1_Pooling", catalog));
    sup_write_text(sup_format("%s/mixed/1_Pooling/config.json", catalog),
                   "{\"pooling_mode_max_tokens\": true, \"pooling_mode_cls_token\": true}");
    serve(catalog, "64M");
    struct input input;
    static float hidden[TOKENS * 128], pooled[SEQUENCES * 128], got[SEQUENCES * 128];
    static double want[SEQUENCES * 128];
    make_input(&input, 30522);
    sw_encoder *encoder = open_bert("tiny", NULL), *maxed = open_bert("maxed", NULL);
    sw_encoder *mixed = open_bert("mixed", NULL);
    struct sw_encoder_output output = output_of(hidden, pooled);
    check(encoder, sw_encoder_forward(encoder, &input.batch, &output));
    static const struct {
        bool maxed;
        enum sw_pooling asked, means;
    } cases[] = {{false, SW_POOLING_CLS, SW_POOLING_CLS},
                 {false, SW_POOLING_MEAN, SW_POOLING_MEAN},
                 {false, SW_POOLING_MAX, SW_POOLING_MAX},
                 {false, SW_POOLING_DEFAULT, SW_POOLING_MEAN},
                 {true, SW_POOLING_DEFAULT, SW_POOLING_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sw_encoder *asked = cases[i].maxed ? maxed : encoder;
        check(asked, sw_encoder_embed(asked, &input.batch, cases[i].asked, SW_NORMALIZE_DEFAULT,
                                      got, SEQUENCES * 128));
        pool_by_definition(cases[i].means, &input, hidden, 128, want);
        expect_close(got, want, SEQUENCES * 128, "pooled");
    }
    check(encoder, sw_encoder_embed(encoder, &input.batch, SW_POOLING_POOLER, SW_NORMALIZE_DEFAULT,
                                    got, SEQUENCES * 128));
    cr_expect(!memcmp(got, pooled, sizeof got));
    check(encoder, sw_encoder_embed(encoder, &input.batch, SW_POOLING_MEAN, SW_NORMALIZE_YES, got,
                                    SEQUENCES * 128));
    for (uint32_t s = 0; s < SEQUENCES; s++) {
        double squares = 0;
        for (uint32_t i = 0; i < 128; i++)
            squares += (double)got[s * 128 + i] * (double)got[s * 128 + i];
        double want_length = s == 2 ? 0 : 1; /* the last one's only token is hidden: zeros stay */
        cr_expect(fabs(squares - want_length) < 1e-6);
    }
    /* several kinds lie beside each other */
    static float both[SEQUENCES * 256];
    check(mixed, sw_encoder_embed(mixed, &input.batch, SW_POOLING_DEFAULT, SW_NORMALIZE_DEFAULT,
                                  both, SEQUENCES * 256));
    for (size_t kind = 0; kind < 2; kind++) {
        pool_by_definition(kind ? SW_POOLING_MAX : SW_POOLING_CLS, &input, hidden, 128, want);
        for (size_t s = 0; s < SEQUENCES; s++)
            memcpy(got + s * 128, both + (s * 2 + kind) * 128, 128 * sizeof *got);
        expect_close(got, want, SEQUENCES * 128, "pooled");
    }
    sw_encoder_close(encoder);
    sw_encoder_close(maxed);
    sw_encoder_close(mixed);
    stop();
}

/* ---- what can go wrong ---------------------------------------------------------------------------------------- */

Test(engine, refuses_a_bad_batch_and_says_which_part, .timeout = 60)
{
    const char *catalog = new_catalog();
    sup_synth(catalog, "bare", SUP_ARGS("--no-pooler", "--max-positions", "16"));
    serve(catalog, "64M");
    sw_encoder *encoder = open_bert("bare", NULL);
    static const int32_t ids[20] = {101, 102};
    static const int32_t outside[2] = {101, 30522}, negative[2] = {-1, 5}, types[2] = {0, 2};
    static const uint32_t two = 2, none = 0, long_one = 17;
    const struct sw_encoder_batch good = {
        .size = sizeof good, .sequences = 1, .lengths = &two, .ids = ids};
    struct sw_encoder_batch bad[7] = {good, good, good, good, good, good, good};
    static const char *const words[7] = {"at least one", "0 tokens", "17 tokens", "30522",
                                         "-1",           "type 2",   "size"};
    bad[0].sequences = 0;
    bad[1].lengths = &none;
    bad[2].lengths = &long_one;
    bad[3].ids = outside;
    bad[4].ids = negative;
    bad[5].type_ids = types;
    bad[6].size = 0;
    float hidden[2 * 128], pooled[128];
    hidden[0] = 42.0f;
    for (size_t i = 0; i < 7; i++) {
        char message[512] = "";
        struct sw_encoder_output output = output_of(hidden, NULL);
        cr_expect_eq(sw_encoder_forward(encoder, &bad[i], &output), -EINVAL, "%zu", i);
        cr_expect_eq(sw_encoder_message(encoder, message, sizeof message), -EINVAL);
        cr_expect(strstr(message, words[i]), "%s", message);
    }
    struct sw_encoder_output output = output_of(hidden, pooled);
    cr_expect_eq(sw_encoder_forward(encoder, &good, &output), SW_ENOCOMPONENT);
    cr_expect_eq(hidden[0], 42.0f, "outputs are untouched on failure");
    cr_expect_eq(sw_encoder_embed(encoder, &good, SW_POOLING_POOLER, SW_NORMALIZE_NO, pooled, 128),
                 SW_ENOCOMPONENT);
    cr_expect_eq(sw_encoder_embed(encoder, &good, (enum sw_pooling)9, SW_NORMALIZE_NO, pooled, 128),
                 -EINVAL);
    output.pooler_output = NULL;
    check(encoder, sw_encoder_forward(encoder, &good, &output));
    sw_encoder_close(encoder);
    stop();
}

Test(engine, a_failed_open_says_why, .timeout = 60)
{
    static const struct {
        const char *name, *config, *words;
        int code;
    } cases[] = {
        {"broken", "{", "config.json", SW_EFORMAT},
        {"other", "{\"model_type\": \"gpt2\"}", "gpt2", SW_EUNSUPPORTED},
        {"uneven",
         "{\"model_type\": \"bert\", \"num_hidden_layers\": 2, \"hidden_size\": 128, "
         "\"num_attention_heads\": 3, \"intermediate_size\": 512, \"vocab_size\": 30522}",
         "multiple", SW_EFORMAT},
        {"deeper",
         "{\"model_type\": \"bert\", \"num_hidden_layers\": 3, \"hidden_size\": 128, "
         "\"num_attention_heads\": 2, \"intermediate_size\": 512, \"vocab_size\": 30522}",
         "layer_2", SW_EFORMAT},
        {"swish",
         "{\"model_type\": \"bert\", \"num_hidden_layers\": 2, \"hidden_size\": 128, "
         "\"num_attention_heads\": 2, \"intermediate_size\": 512, \"vocab_size\": 30522, "
         "\"hidden_act\": \"silu\"}",
         "silu", SW_EUNSUPPORTED},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    const char *catalog = new_catalog();
    for (size_t i = 0; i < CASES; i++) {
        sup_synth(catalog, cases[i].name, NULL);
        sup_write_text(sup_format("%s/%s/config.json", catalog, cases[i].name), cases[i].config);
    }
    serve(catalog, "64M");
    for (size_t i = 0; i < CASES; i++) {
        char message[512] = "";
        struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
        sw_encoder *encoder = NULL;
        options.error = message;
        options.error_size = sizeof message;
        cr_expect_eq(sw_encoder_open(client, cases[i].name, &options, &encoder), cases[i].code,
                     "%s: %s", cases[i].name, message);
        cr_expect(strstr(message, cases[i].words), "%s: %s", cases[i].name, message);
        cr_expect_null(encoder);
    }
    char message[512] = "";
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    sw_encoder *encoder = NULL;
    options.error = message;
    options.error_size = sizeof message;
    cr_expect_eq(sw_encoder_open(client, "nobody", &options, &encoder), SW_ENOMODEL);
    cr_expect(strstr(message, "nobody"), "%s", message);
    stop();
}

Test(engine, tensors_that_contradict_the_config_are_named, .timeout = 60)
{
    const char *catalog = new_catalog();
    sup_synth(catalog, "lying", NULL);
    sup_write_text(
        sup_format("%s/lying/config.json", catalog),
        "{\"model_type\": \"bert\", \"num_hidden_layers\": 2, \"hidden_size\": 128, "
        "\"num_attention_heads\": 2, \"intermediate_size\": 500, \"vocab_size\": 30522}");
    serve(catalog, "64M");
    sw_encoder *encoder = open_bert("lying", NULL);
    struct input input;
    char message[512] = "";
    static float hidden[TOKENS * 128];
    struct sw_encoder_output output = output_of(hidden, NULL);
    make_input(&input, 30522);
    cr_expect_eq(sw_encoder_forward(encoder, &input.batch, &output), SW_EFORMAT);
    sw_encoder_message(encoder, message, sizeof message);
    cr_expect(strstr(message, "layer_0") && strstr(message, "intermediate.dense"), "%s", message);
    sw_encoder_close(encoder);
    stop();
}

Test(engine, a_pass_whose_lease_was_revoked_is_run_again_once, .timeout = 60)
{
    const char *catalog = new_catalog();
    sup_synth(catalog, "tiny", NULL);
    serve(catalog, "64M");
    struct input input;
    static float want[TOKENS * 128], got[TOKENS * 128];
    make_input(&input, 30522);
    sw_encoder *encoder = open_bert("tiny", NULL);
    struct sw_encoder_output output = output_of(want, NULL);
    check(encoder, sw_encoder_forward(encoder, &input.batch, &output));
    output.last_hidden_state = got;
    releases_to_spoil = 1;
    check(encoder, sw_encoder_forward(encoder, &input.batch, &output));
    cr_expect(!memcmp(want, got, sizeof want));
    got[0] = 42.0f;
    releases_to_spoil = 2;
    cr_expect_eq(sw_encoder_forward(encoder, &input.batch, &output), SW_EREVOKED);
    cr_expect_eq(got[0], 42.0f, "outputs are untouched on failure");
    releases_to_spoil = 0;
    check(encoder, sw_encoder_forward(encoder, &input.batch, &output));
    cr_expect(!memcmp(want, got, sizeof want));
    sw_encoder_close(encoder);
    stop();
}

/* ---- what it costs and tells -------------------------------------------------------------------------------------- */

Test(engine, a_warm_forward_allocates_nothing, .timeout = 60)
{
    const char *catalog = new_catalog();
    sup_synth(catalog, "tiny", NULL);
    serve(catalog, "64M");
    struct input input;
    static float hidden[TOKENS * 128], pooled[SEQUENCES * 128];
    make_input(&input, 30522);
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    options.threads = 2;
    sw_encoder *encoder = open_bert("tiny", &options);
    struct sw_encoder_output output = output_of(hidden, pooled);
    check(encoder, sw_encoder_forward(encoder, &input.batch, &output));
    size_t before = allocations;
    cr_assert_gt(before, 0, "the wrappers count nothing");
    for (int i = 0; i < 3; i++)
        check(encoder, sw_encoder_forward(encoder, &input.batch, &output));
    cr_expect_eq(allocations, before);
    sw_encoder_close(encoder);
    stop();
}

Test(engine, tells_of_its_model_passes_and_cache, .timeout = 60)
{
    const char *catalog = new_catalog();
    sup_synth(catalog, "tiny", NULL);
    sup_synth(catalog, "odd",
              SUP_ARGS("--no-pooler", "--labels", "3", "--layers", "4", "--max-positions", "99"));
    serve(catalog, "64M");
    struct input input;
    static float hidden[TOKENS * 128];
    make_input(&input, 30522);
    struct sw_encoder_options options = SW_INIT(struct sw_encoder_options);
    options.cache_size = 2;
    sw_encoder *encoder = open_bert("tiny", NULL), *odd = open_bert("odd", &options);
    struct sw_encoder_config config = SW_INIT(struct sw_encoder_config);
    cr_assert_eq(sw_encoder_get_config(odd, &config), 0);
    cr_expect(config.layers == 4 && config.hidden_size == 128 && config.heads == 2);
    cr_expect(config.max_positions == 99 && config.labels == 3 && !config.has_pooler);
    cr_assert_eq(sw_encoder_get_config(encoder, &config), 0);
    cr_expect(config.labels == 0 && config.has_pooler);

    struct sw_encoder_output output = output_of(hidden, NULL);
    for (int i = 0; i < 3; i++)
        check(encoder, sw_encoder_forward(encoder, &input.batch, &output));
    struct sw_inference_stats stats = SW_INIT(struct sw_inference_stats);
    cr_assert_eq(sw_encoder_get_inference_stats(encoder, &stats), 0);
    cr_expect(stats.passes == 3 && stats.tokens == 3 * TOKENS && stats.scratch_bytes > 0);
    cr_expect(stats.mean_ms > 0 && stats.p50_ms > 0 && stats.p99_ms >= stats.p50_ms);
    cr_expect(fabs(stats.cache_hit_rate - 2.0 / 3.0) < 1e-9, "%g", stats.cache_hit_rate);

    struct sw_cache_info info = SW_INIT(struct sw_cache_info);
    check(odd, sw_encoder_forward(odd, &input.batch, &output));
    cr_assert_eq(sw_encoder_get_cache_info(odd, &info), 0);
    cr_expect(info.capacity == 2 && info.count == 2);
    cr_assert_eq(sw_encoder_set_cache_size(odd, 1), 0);
    cr_assert_eq(sw_encoder_get_cache_info(odd, &info), 0);
    cr_expect_eq(info.count, 1);
    sw_encoder_clear_cache(odd);
    cr_assert_eq(sw_encoder_get_cache_info(odd, &info), 0);
    cr_expect_eq(info.count, 0);
    sw_encoder_close(encoder);
    sw_encoder_close(odd);
    stop();
}

static bool is_resident(sw_encoder *encoder, const char *name)
{
    struct sw_component_info info = SW_INIT(struct sw_component_info);
    int found = sw_model_find(sw_encoder_model(encoder), name);
    cr_assert(found >= 0);
    cr_assert_eq(sw_model_component_info(sw_encoder_model(encoder), (uint32_t)found, &info), 0);
    return info.resident;
}

static bool layers_3_and_4_are_resident(void *encoder)
{
    return is_resident(encoder, "layer_3") && is_resident(encoder, "layer_4");
}

Test(engine, warms_up_and_prefetches_the_layers_it_is_told, .timeout = 60)
{
    const char *catalog = new_catalog();
    sup_synth(catalog, "tall", SUP_ARGS("--layers", "6"));
    serve(catalog, "64M");
    sw_encoder *encoder = open_bert("tall", NULL);
    static const uint32_t some[2] = {0, 2}, outside = 6;
    char message[512] = "";
    check(encoder, sw_encoder_warmup(encoder, some, 2));
    cr_expect(is_resident(encoder, "layer_0") && is_resident(encoder, "layer_2"));
    cr_expect(!is_resident(encoder, "layer_1") && !is_resident(encoder, "layer_3"));
    check(encoder, sw_encoder_prefetch_next_layers(encoder, 2, 2));
    cr_expect(sup_until(layers_3_and_4_are_resident, encoder, 10000));
    cr_expect(!is_resident(encoder, "layer_5"));
    check(encoder, sw_encoder_prefetch_next_layers(encoder, 5, 9));
    cr_expect_eq(sw_encoder_warmup(encoder, &outside, 1), -EINVAL);
    sw_encoder_message(encoder, message, sizeof message);
    cr_expect(strstr(message, "layer 6"), "%s", message);
    sw_encoder_close(encoder);
    stop();
}

Test(engine, makes_the_models_tokenizer_once, .timeout = 60)
{
    const char *catalog = new_catalog();
    sup_synth(catalog, "tiny", NULL);
    serve(catalog, "64M");
    sw_encoder *encoder = open_bert("tiny", NULL);
    const sw_tokenizer *first = NULL, *second = NULL;
    check(encoder, sw_encoder_tokenizer(encoder, &first));
    check(encoder, sw_encoder_tokenizer(encoder, &second));
    cr_expect(first && first == second);
    cr_expect_eq(sw_tokenizer_vocab_size(first), 30522);
    sw_encoder_close(encoder);
    stop();
}
