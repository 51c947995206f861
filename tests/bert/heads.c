/* SPDX-License-Identifier: MIT */
/* swbert classify and swbert fill: what they print of every kind of head, held against what the
 * library gives for the same ids, and how they refuse. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "bert/fixture.h"

enum { LABELS = 3, VOCAB = 64 };
#define WORDS "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nsea\nland\nand\n"

static const char *catalog;
static struct sup_broker broker;
static sw_client *client;

/* A model with that head. config: what config.json has beside the rest, or NULL. */
static void make(const char *name, const char *head, const char *count, const char *config)
{
    sup_synth(catalog, name,
              SUP_ARGS("--vocab-size", "64", "--layers", "1", "--hidden", "48", "--heads", "4",
                       "--intermediate", "32", "--max-positions", "32", "--dtype", "f32", head,
                       count));
    sup_write_text(sup_format("%s/%s/vocab.txt", catalog, name), WORDS);
    if (!config)
        return;
    const char *path = sup_format("%s/%s/config.json", catalog, name);
    json_t *root = json_load_file(path, 0, NULL), *more = json_loads(config, 0, NULL);
    cr_assert(root && more && json_object_update(root, more) == 0);
    cr_assert_eq(json_dump_file(root, path, 0), 0);
    json_decref(more);
    json_decref(root);
}

static void set_up(void)
{
    catalog = sup_path("models");
    sup_mkdir(catalog);
}

static void serve(void)
{
    broker = sup_broker_start(catalog, "16M", NULL);
    cr_assert_eq(sw_client_open(NULL, &client), 0);
}

static void tear_down(void)
{
    sw_client_close(client);
    cr_expect_eq(sup_broker_stop(&broker), 0);
}

TestSuite(swbert_heads, .init = set_up, .fini = tear_down, .timeout = 120);

/* ---- classify ----------------------------------------------------------------------------------
 */

/* [CLS] sea [SEP] land and [SEP] */
static const int32_t pair_ids[] = {2, 5, 3, 6, 7, 3}, pair_types[] = {0, 0, 0, 1, 1, 1};
static const uint32_t pair_length = 6, text_length = 3; /* the text: its first three */

static void logits_of(const char *model, uint32_t length, float *logits)
{
    sw_encoder *encoder = NULL;
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = 1;
    batch.lengths = &length;
    batch.ids = pair_ids;
    batch.type_ids = pair_types;
    cr_assert_eq(sw_encoder_open(client, model, NULL, &encoder), 0);
    int result = sw_encoder_classify(encoder, &batch, logits, NULL);
    char message[512];
    (void)sw_encoder_message(encoder, message, sizeof message);
    cr_assert_eq(result, 0, "%s", message);
    sw_encoder_close(encoder);
}

static double score_of(json_t *line, const char *label)
{
    json_t *score = json_object_get(json_object_get(line, "scores"), label);
    cr_assert(json_is_number(score), "no score of %s", label);
    return json_number_value(score);
}

Test(swbert_heads, one_label_of_several)
{
    static const char *const names[LABELS] = {"calm", "", "ro\"ugh"};
    make("one", "--labels", "3",
         "{\"id2label\": {\"0\": \"calm\", \"1\": \"\", \"2\": \"ro\\\"ugh\"}}");
    serve();
    float logits[LABELS];
    logits_of("one", text_length, logits);
    json_t *lines = SWBERT_LINES("sea\n", "classify", "--model", "one");
    json_t *line = json_array_get(lines, 0);
    cr_assert_str_eq(json_string_value(json_object_get(line, "text")), "sea");
    double sum = 0;
    int best = 0;
    for (int i = 0; i < LABELS; i++) {
        sum += exp((double)logits[i]);
        best = logits[i] > logits[best] ? i : best;
    }
    for (int i = 0; i < LABELS; i++)
        cr_assert_lt(fabs(score_of(line, names[i]) - exp((double)logits[i]) / sum), 1e-6);
    cr_assert_str_eq(json_string_value(json_object_get(line, "label")), names[best]);
    cr_assert_eq(json_object_size(json_object_get(line, "scores")), LABELS);
    json_decref(lines);
}

Test(swbert_heads, several_labels_at_once_and_pairs_of_texts)
{
    make("several", "--labels", "3", "{\"problem_type\": \"multi_label_classification\"}");
    serve();
    float logits[LABELS];
    logits_of("several", pair_length, logits);
    json_t *lines = SWBERT_LINES("sea\tland and\n", "classify", "--model", "several", "--pairs");
    json_t *line = json_array_get(lines, 0), *labels = json_object_get(line, "labels");
    size_t listed = 0;
    cr_assert(json_is_array(labels));
    cr_assert_null(json_object_get(line, "label"));
    for (int i = 0; i < LABELS; i++) {
        const char *name = sup_format("LABEL_%d", i);
        cr_assert_lt(fabs(score_of(line, name) - 1 / (1 + exp(-(double)logits[i]))), 1e-6);
        if (logits[i] >= 0)
            cr_assert_str_eq(json_string_value(json_array_get(labels, listed++)), name);
    }
    cr_assert_eq(json_array_size(labels), listed);
    json_decref(lines);
}

Test(swbert_heads, one_label_scores_its_sigmoid)
{
    make("number", "--labels", "1", NULL);
    make("single", "--labels", "1", "{\"problem_type\": \"single_label_classification\"}");
    make("identity", "--labels", "1",
         "{\"sentence_transformers\": {\"activation_fn\": \"torch.nn.modules.linear.Identity\"}}");
    serve();
    float logits[LABELS];
    logits_of("number", text_length, logits);
    double sigmoid = 1 / (1 + exp(-(double)logits[0]));
    json_t *lines = SWBERT_LINES("sea\n", "classify", "--model", "number");
    cr_assert_lt(fabs(score_of(json_array_get(lines, 0), "LABEL_0") - sigmoid), 1e-6);
    json_decref(lines);
    lines = SWBERT_LINES("sea\n", "classify", "--model", "single");
    cr_assert_lt(fabs(score_of(json_array_get(lines, 0), "LABEL_0") - sigmoid), 1e-6);
    json_decref(lines);
    lines = SWBERT_LINES("sea\n", "classify", "--model", "identity");
    cr_assert_lt(fabs(score_of(json_array_get(lines, 0), "LABEL_0") - (double)logits[0]), 1e-6);
    json_decref(lines);
}

Test(swbert_heads, a_regression_has_no_label)
{
    make("number", "--labels", "1", "{\"problem_type\": \"regression\"}");
    make("numbers", "--labels", "3", "{\"problem_type\": \"regression\"}");
    serve();
    float logits[LABELS];
    logits_of("number", text_length, logits);
    json_t *lines = SWBERT_LINES("sea\n", "classify", "--model", "number");
    json_t *line = json_array_get(lines, 0);
    cr_assert_lt(fabs(score_of(line, "LABEL_0") - (double)logits[0]), 1e-6);
    cr_assert_null(json_object_get(line, "label"));
    cr_assert_null(json_object_get(line, "labels"));
    json_decref(lines);
    logits_of("numbers", text_length, logits);
    lines = SWBERT_LINES("sea\n", "classify", "--model", "numbers");
    line = json_array_get(lines, 0);
    for (int i = 0; i < LABELS; i++)
        cr_assert_lt(fabs(score_of(line, sup_format("LABEL_%d", i)) - (double)logits[i]), 1e-6);
    json_decref(lines);
}

/* ---- fill --------------------------------------------------------------------------------------
 */

Test(swbert_heads, masks_are_filled_with_the_likeliest_tokens)
{
    enum { TOP = 4, MASKS = 2 };
    static const int32_t ids[] = {2, 4, 7, 4, 3}; /* [CLS] [MASK] and [MASK] [SEP] */
    static const uint32_t length = 5, places[MASKS] = {1, 3};
    static float logits[MASKS][VOCAB];
    make("masked", "--mlm", NULL, NULL);
    serve();
    sw_encoder *encoder = NULL;
    struct sw_encoder_batch batch = SW_INIT(struct sw_encoder_batch);
    batch.sequences = 1;
    batch.lengths = &length;
    batch.ids = ids;
    cr_assert_eq(sw_encoder_open(client, "masked", NULL, &encoder), 0);
    cr_assert_eq(sw_encoder_fill(encoder, &batch, places, MASKS, logits[0]), 0);
    sw_encoder_close(encoder);
    json_t *lines = SWBERT_LINES("[MASK] and [MASK]\n", "fill", "--model", "masked", "--top", "4");
    json_t *masks = json_object_get(json_array_get(lines, 0), "masks");
    cr_assert_eq(json_array_size(masks), MASKS);
    for (size_t m = 0; m < MASKS; m++) {
        json_t *tokens = json_array_get(masks, m);
        cr_assert_eq(json_array_size(tokens), TOP);
        double sum = 0;
        for (int i = 0; i < VOCAB; i++)
            sum += exp((double)logits[m][i]);
        for (size_t t = 0; t < TOP; t++) {
            int best = 0;
            for (int i = 1; i < VOCAB; i++)
                best = logits[m][i] > logits[m][best] ? i : best;
            json_t *token = json_array_get(tokens, t);
            cr_assert_eq(json_integer_value(json_object_get(token, "id")), best);
            cr_assert_lt(fabs(json_number_value(json_object_get(token, "score")) -
                              exp((double)logits[m][best]) / sum),
                         1e-6);
            logits[m][best] = -HUGE_VALF;
        }
    }
    json_decref(lines);
}

/* ---- refusals ----------------------------------------------------------------------------------
 */

static void expect_failure(struct sup_result result, const char *part)
{
    cr_expect_eq(result.exit_code, 1, "%s", result.err);
    cr_expect_str_eq(result.out, "");
    cr_expect_not_null(strstr(result.err, part), "%s", result.err);
}

Test(swbert_heads, what_cannot_be_done_is_said_in_a_line)
{
    make("one", "--labels", "3", NULL);
    make("odd", "--labels", "3", "{\"problem_type\": \"ranking\"}");
    make("masked", "--mlm", NULL, NULL);
    make("plain", NULL, NULL, NULL);
    serve();
    expect_failure(SWBERT("sea\n", "classify", "--model", "plain"), "no head");
    expect_failure(SWBERT("sea\n", "classify", "--model", "masked"), "no classifier");
    expect_failure(SWBERT("sea\n", "classify", "--model", "odd"), "ranking");
    expect_failure(SWBERT("sea\n", "classify", "--model", "one", "--pairs"), "line 1 has no tab");
    expect_failure(SWBERT("[MASK]\n", "fill", "--model", "one"), "no masked-language-model head");
    expect_failure(SWBERT("sea\n", "fill", "--model", "masked"), "line 1 has no [MASK]");
    expect_failure(SWBERT("sea\n", "classify", "--model", "one", "--max-tokens", "33"), "32");
    cr_expect_eq(SWBERT("", "fill", "--model", "masked", "--top", "0").exit_code, 2);
    cr_expect_eq(SWBERT("", "fill", "--model", "masked", "--top", "101").exit_code, 2);
    json_decref(SWBERT_LINES("", "classify", "--model", "one")); /* nothing to do is no failure */
}
