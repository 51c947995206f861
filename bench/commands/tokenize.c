/* SPDX-License-Identifier: MIT */
/* swbench tokenize: the rate at which text becomes token ids, in one thread.
 *
 * Lines of English-like text (or of a file) go through sw_tokenizer_encode, warm. Baseline, in
 * alternation: the minimum for any tokenizer, which is to look at every byte and find white space.
 * Generated text is seeded: words of the vocabulary, with capitals and punctuation as in prose, and
 * one word in eight glued from two, which WordPiece has to split.
 *
 * Rates are per processor time: nothing here waits, and other load on the machine does not count.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sw/tokenizer.h>

#include "lib/bench.h"
#include "lib/options.h"

#define LINE_WORDS 20

struct settings {
    const char *vocab, *config, *text;
    unsigned rounds, megabytes;
    bool json;
};

struct bytes {
    char *data;
    size_t size;
};

static struct settings parse(int argc, char **argv)
{
    struct settings settings = {.rounds = 15, .megabytes = 4};
    const struct cli_option table[] = {
        {"vocab", "FILE", "a vocab.txt (default: that of swchunk synth)", .text = &settings.vocab},
        {"config", "FILE", "its tokenizer_config.json (default: uncased)",
         .text = &settings.config},
        {"text", "FILE", "texts, one per line (default: generated from the vocabulary)",
         .text = &settings.text},
        {"megabytes", "N", "how much text to generate (default: 4)", .number = &settings.megabytes,
         .least = 1, .most = 1000},
        {"rounds", "N", "number of rounds (default: 15)", .number = &settings.rounds, .least = 1,
         .most = 1000},
        {0},
    };
    bench_parse(argc, argv, "tokenize", "Measure WordPiece on one thread.", table, &settings.json);
    return settings;
}

static struct bytes read_whole(const char *path)
{
    struct bytes bytes = {0};
    FILE *file = fopen(path, "re");
    if (!file)
        bench_die("cannot open %s: %s", path, strerror(errno));
    size_t capacity = 0;
    do {
        if (bytes.size == capacity) {
            capacity = capacity ? capacity * 2 : 1 << 16;
            bytes.data = realloc(bytes.data, capacity);
            if (!bytes.data)
                bench_die("no memory for %s", path);
        }
        bytes.size += fread(bytes.data + bytes.size, 1, capacity - bytes.size, file);
    } while (!feof(file) && !ferror(file));
    if (ferror(file))
        bench_die("cannot read %s: %s", path, strerror(errno));
    (void)fclose(file);
    return bytes;
}

/* The vocabulary of swchunk synth, from a temporary model. */
static struct bytes synthetic_vocab(void)
{
    struct stage stage;
    const struct stage_options options = {.shape = "bert-tiny"};
    stage_prepare(&stage, &options);
    char path[sizeof stage.model_path + 16];
    (void)snprintf(path, sizeof path, "%s/vocab.txt", stage.model_path);
    struct bytes vocab = read_whole(path);
    stage_close(&stage);
    return vocab;
}

/* ---- text ------------------------------------------------------------------------------------ */

static uint64_t next_random(uint64_t *state)
{
    /* Knuth's MMIX generator; its high half is good enough to draw words */
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Ids of the vocabulary's plain lower-case words, at most `most`. */
static size_t find_words(const sw_tokenizer *tokenizer, int32_t *ids, size_t most)
{
    size_t count = 0;
    uint32_t size = sw_tokenizer_vocab_size(tokenizer);
    for (uint32_t id = 0; id < size && count < most; id++) {
        const char *token = sw_tokenizer_token(tokenizer, (int32_t)id);
        if (token && *token && strspn(token, "abcdefghijklmnopqrstuvwxyz") == strlen(token))
            ids[count++] = (int32_t)id;
    }
    return count;
}

static size_t put_word(char *to, const sw_tokenizer *tokenizer, const int32_t *words, size_t count,
                       uint64_t *state)
{
    /* the square favours the front, where frequent words are */
    uint64_t draw = next_random(state) % count;
    const char *word = sw_tokenizer_token(tokenizer, words[draw * draw / count]);
    size_t length = strlen(word);
    memcpy(to, word, length);
    return length;
}

static struct bytes make_text(const sw_tokenizer *tokenizer, size_t size)
{
    enum { WORDS_MAX = 8192, ROOM = 4096 };
    static int32_t words[WORDS_MAX];
    struct bytes text = {.data = malloc(size + ROOM)};
    size_t count = find_words(tokenizer, words, WORDS_MAX);
    if (!text.data || count == 0)
        bench_die("the vocabulary has no plain words to make text of; give a --text");
    uint64_t state = 1;
    while (text.size < size) {
        for (int i = 0; i < LINE_WORDS; i++) {
            char *word = text.data + text.size;
            text.size += put_word(word, tokenizer, words, count, &state);
            if (next_random(&state) % 8 == 0)
                text.size += put_word(text.data + text.size, tokenizer, words, count, &state);
            if (i == 0)
                *word = (char)(*word - 'a' + 'A');
            if (next_random(&state) % 8 == 0)
                text.data[text.size++] = ',';
            text.data[text.size++] = i + 1 < LINE_WORDS ? ' ' : '.';
        }
        text.data[text.size++] = '\n';
    }
    return text;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static uint64_t cpu_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) < 0)
        bench_die("cannot read the processor-time clock: %s", strerror(errno));
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Encodes every line; returns the number of tokens. */
static uint64_t encode_lines(const sw_tokenizer *tokenizer, struct bytes text,
                             struct sw_encoding *encoding)
{
    uint64_t tokens = 0;
    for (size_t at = 0, end; at < text.size; at = end + 1) {
        const char *feed = memchr(text.data + at, '\n', text.size - at);
        end = feed ? (size_t)(feed - text.data) : text.size;
        bench_check(
            sw_tokenizer_encode(tokenizer, text.data + at, end - at, NULL, 0, NULL, encoding), NULL,
            "encoding");
        tokens += encoding->count;
    }
    return tokens;
}

static uint64_t count_words(struct bytes text)
{
    uint64_t words = 0;
    bool inside = false;
    for (size_t i = 0; i < text.size; i++) {
        bool space = text.data[i] == ' ' || text.data[i] == '\n';
        words += !space && !inside;
        inside = !space;
    }
    return words;
}

static sw_tokenizer *create(const struct settings *settings, double *ret_ms)
{
    struct bytes vocab = settings->vocab ? read_whole(settings->vocab) : synthetic_vocab();
    struct bytes config = settings->config ? read_whole(settings->config) : (struct bytes){0};
    struct sw_tokenizer_files files = SW_INIT(struct sw_tokenizer_files);
    files.vocab = vocab.data;
    files.vocab_size = vocab.size;
    files.tokenizer_config = config.data;
    files.tokenizer_config_size = config.size;
    char message[512];
    sw_tokenizer *tokenizer;
    uint64_t start = cpu_ns();
    if (sw_tokenizer_create(&files, message, sizeof message, &tokenizer) < 0)
        bench_die("%s", message);
    *ret_ms = (double)(cpu_ns() - start) / 1e6;
    free(vocab.data);
    free(config.data);
    return tokenizer;
}

static void measure(const sw_tokenizer *tokenizer, struct bytes text, unsigned rounds,
                    struct report *report)
{
    struct series encode = {0}, split = {0};
    struct sw_encoding encoding = {0};
    uint64_t tokens = encode_lines(tokenizer, text, &encoding), words = 0;
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t start = cpu_ns();
        (void)encode_lines(tokenizer, text, &encoding);
        uint64_t middle = cpu_ns();
        words = count_words(text);
        series_add(&encode, (double)text.size * 1e3 / (double)(middle - start));
        series_add(&split, (double)text.size * 1e3 / (double)(cpu_ns() - middle));
    }
    double rate = series_median(&encode);
    report_integer(report, "text_bytes", (int64_t)text.size, "text, bytes");
    report_integer(report, "words", (int64_t)words, "words separated by white space");
    report_integer(report, "tokens", (int64_t)tokens, "tokens");
    report_number(report, "tokenize_mb_per_s", rate, 1, "tokenizing, MB/s");
    report_number(report, "tokenize_mb_per_s_p10", series_quantile(&encode, 0.1), 1,
                  "  the slowest tenth");
    report_number(report, "tokenize_mb_per_s_p90", series_quantile(&encode, 0.9), 1,
                  "  the fastest tenth");
    report_number(report, "tokens_per_s", rate * 1e6 / (double)text.size * (double)tokens, 0,
                  "tokens a second");
    report_number(report, "baseline_split_mb_per_s", series_median(&split), 1,
                  "only finding white space, MB/s");
    series_fini(&encode);
    series_fini(&split);
    sw_encoding_fini(&encoding);
}

int bench_tokenize(int argc, char **argv)
{
    struct settings settings = parse(argc, argv);
    double create_ms;
    sw_tokenizer *tokenizer = create(&settings, &create_ms);
    struct bytes text = settings.text ? read_whole(settings.text)
                                      : make_text(tokenizer, (size_t)settings.megabytes << 20);
    if (text.size == 0)
        bench_die("%s is empty", settings.text);
    struct report report;
    report_init(&report, "tokenize");
    report_integer(&report, "vocab_size", sw_tokenizer_vocab_size(tokenizer), "vocabulary, tokens");
    report_number(&report, "create_ms", create_ms, 2, "making the tokenizer, ms");
    measure(tokenizer, text, settings.rounds, &report);
    free(text.data);
    sw_tokenizer_destroy(tokenizer);
    return report_print(&report, settings.json);
}
