/* SPDX-License-Identifier: MIT */
/* Special tokens, characters, words, endings, syllables, in this order, each once. */
#include "programs/chunk/source/synth_vocabulary.h"

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Common words of English prose; short ones matter most. */
static const char words[] =
    "the of and to in a is that for it as was with be by on not he his but at are this have from "
    "or had an "
    "they which one you were all her she there would their we him been has when who will no more "
    "if out so "
    "up said what its about than into them can only other time new some could these two may first "
    "then do "
    "any like my now over such our man me even most made after also did many off before must well "
    "back "
    "through years much where your way down should because long each just state those people too "
    "mr how "
    "little good make very year still own see men work here get between both being under never day "
    "same "
    "another know while last us might great old since against go came right used take three house "
    "without "
    "again place around high small found thought went say part once general upon school every "
    "think does "
    "number united left until got war always away something fact water less public put almost hand "
    "enough "
    "took far government system set told nothing night end why called eyes find going look asked "
    "later knew "
    "point next city business give group toward young days let room word light large small order "
    "during "
    "country face home head best need want ask try leave call keep begin seem help show hear play "
    "run move "
    "live believe hold bring happen write provide sit stand lose pay meet include continue learn "
    "change "
    "lead understand watch follow stop create speak read allow add spend grow open walk win offer "
    "remember "
    "love consider appear buy wait serve die send expect build stay fall cut reach kill remain "
    "suggest "
    "raise pass sell require report decide pull child world life week company program question "
    "side kind "
    "study book eye job issue friend father mother power hour game line member law car name "
    "president team "
    "minute idea body information parent others level office door health person art history party "
    "result "
    "morning reason research girl guy moment air teacher force education food land sea river tree "
    "animal "
    "dog cat bird horse fish music language paper letter story movie picture song color white "
    "black red "
    "blue green yellow brown north south east west summer winter spring rain snow sun moon star "
    "earth fire "
    "stone iron gold silver machine computer model data memory page file weight layer cache server "
    "process "
    "network token sentence text value test table input output error type code number user address "
    "bank "
    "price market money dollar cost tax trade sign window street road bridge village town church "
    "king queen "
    "army police court judge doctor hospital patient science nature theory method problem answer "
    "example "
    "quick slow fast early late strong weak rich poor happy sad hot cold warm cool hard soft big "
    "long short "
    "deep wide full empty clean dark bright easy simple clear certain sure possible real true "
    "false free "
    "ready important different similar common special single whole several few half second third "
    "hundred "
    "thousand million yes please thanks hello today tomorrow yesterday monday tuesday wednesday "
    "thursday "
    "friday saturday sunday january february march april june july august september october "
    "november "
    "december one four five six seven eight nine ten american english french german british";

static const char endings[] = "s es ed ing er ers est ly ness ment ments less ful able ible tion "
                              "tions sion ation ations ity ies al "
                              "ial ic ical ive ous ious ant ent ance ence ancy ency ism ist ists "
                              "ize ized izing ise ised ate ated "
                              "ating en ened ening y ty th ward wards wise like land man men ship "
                              "hood dom age ary ory ure ture "
                              "ling let ette ish ian ean an on in ion or ar ir ur un re le el et "
                              "it at ot ut st nd ng nt ck ll ss ff "
                              "tt rs ts ds ns ks ps ms 's 't 're 've 'll 'd";

static const char *const onsets[] = {
    "b",  "bl", "br", "c",   "ch", "cl", "cr", "d",  "dr", "f",  "fl", "fr", "g", "gl", "gr",
    "h",  "j",  "k",  "l",   "m",  "n",  "p",  "ph", "pl", "pr", "qu", "r",  "s", "sc", "sh",
    "sl", "sp", "st", "str", "t",  "th", "tr", "v",  "w",  "wh", "y",  "z",  ""};
static const char *const vowels[] = {"a",  "e",  "i",  "o",  "u",  "y",
                                     "ai", "ea", "ee", "ie", "oo", "ou"};
static const char *const codas[] = {"",   "b", "ck", "d",  "f",  "g", "l", "ll",
                                    "m",  "n", "nd", "ng", "nt", "p", "r", "rd",
                                    "rn", "s", "st", "t",  "th", "w", "x"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TOKEN_MAX    24u
/* characters twice, the lists, and syllables twice come to less than this; only [unusedN] go beyond
 */
#define NAMES_MAX 32768u

struct vocabulary {
    FILE *out;
    struct hsearch_data seen;
    char *names; /* [NAMES_MAX], the keys of `seen`, TOKEN_MAX bytes each */
    uint32_t count, wanted;
};

/* Adds a token unless there are enough or it is there. */
static void add(struct vocabulary *vocabulary, const char *prefix, const char *text, size_t length)
{
    if (vocabulary->count == vocabulary->wanted || length == 0)
        return;
    assert(vocabulary->count < NAMES_MAX);
    char *name = vocabulary->names + (size_t)vocabulary->count * TOKEN_MAX;
    (void)snprintf(name, TOKEN_MAX, "%s%.*s", prefix, (int)length, text);
    ENTRY *entry;
    if (hsearch_r((ENTRY){.key = name}, FIND, &entry, &vocabulary->seen))
        return;
    if (!hsearch_r((ENTRY){.key = name}, ENTER, &entry, &vocabulary->seen))
        return; /* the table has room for all: cannot be */
    (void)fprintf(vocabulary->out, "%s\n", name);
    vocabulary->count++;
}

static void add_list(struct vocabulary *vocabulary, const char *prefix, const char *list)
{
    while (*list) {
        size_t length = strcspn(list, " ");
        add(vocabulary, prefix, list, length);
        list += length;
        list += strspn(list, " ");
    }
}

static void add_characters(struct vocabulary *vocabulary, const char *prefix)
{
    for (char character = '!'; character <= '~'; character++)
        add(vocabulary, prefix, &character, 1);
}

static void add_syllables(struct vocabulary *vocabulary, const char *prefix)
{
    for (size_t coda = 0; coda < COUNT(codas); coda++)
        for (size_t onset = 0; onset < COUNT(onsets); onset++)
            for (size_t vowel = 0; vowel < COUNT(vowels); vowel++) {
                char syllable[TOKEN_MAX];
                int length = snprintf(syllable, sizeof syllable, "%s%s%s", onsets[onset],
                                      vowels[vowel], codas[coda]);
                add(vocabulary, prefix, syllable, (size_t)length);
            }
}

static void add_unused(struct vocabulary *vocabulary)
{
    for (uint32_t i = 0; vocabulary->count < vocabulary->wanted; i++, vocabulary->count++)
        (void)fprintf(vocabulary->out, "[unused%u]\n", i);
}

int synth_vocabulary(uint32_t tokens, char **ret_text, size_t *ret_size)
{
    struct vocabulary vocabulary = {.wanted = tokens};
    char *text = NULL;
    size_t size = 0;
    int result = -ENOMEM;
    vocabulary.names = calloc(NAMES_MAX, TOKEN_MAX);
    vocabulary.out = open_memstream(&text, &size);
    if (vocabulary.names && vocabulary.out && hcreate_r((size_t)2 * NAMES_MAX, &vocabulary.seen)) {
        add_list(&vocabulary, "", "[PAD] [UNK] [CLS] [SEP] [MASK]");
        add_characters(&vocabulary, "");
        add_characters(&vocabulary, "##");
        add_list(&vocabulary, "", words);
        add_list(&vocabulary, "##", endings);
        add_syllables(&vocabulary, "##");
        add_syllables(&vocabulary, "");
        add_unused(&vocabulary);
        hdestroy_r(&vocabulary.seen);
        result = 0;
    }
    if (vocabulary.out && fclose(vocabulary.out) != 0)
        result = -ENOMEM;
    free(vocabulary.names);
    if (result < 0) {
        free(text);
        return result;
    }
    *ret_text = text;
    *ret_size = size;
    return 0;
}
