/* SPDX-License-Identifier: MIT */
/* JSON that other programs wrote, read as Python's json module reads it.
 *
 * jansson is stricter than the programs that write a model's files: it refuses NaN and Infinity,
 * integers beyond 64 bits, lone surrogates and NUL in keys, although nobody looks at the keys that
 * hold them. Our own files (manifest, wire, settings) are read by jansson alone, strictly.
 */
#ifndef SWI_CORE_JSON_H
#define SWI_CORE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

/* A value that is cut out of the document before it is parsed: a vocabulary of 30,000 entries costs
 * jansson 20 ms, a scanner that knows what to expect 2 ms. */
struct swi_json_cut {
    const char *outer, *inner; /* the keys that lead to it: an object in an object */
    const char *text;          /* out: the object's text as it is in the file, borrowed from it;
                                  only its brackets and quotes have been looked at; or NULL */
    size_t size;
};

/* Parses a whole file. Of a key that occurs twice, the last value counts. NaN, Infinity and numbers
 * beyond a double become strings ("NaN", "Infinity", "-Infinity"), so that a reader that wants a
 * number there refuses them; integers beyond 64 bits become reals; a NUL in a key and a lone
 * surrogate become U+FFFD. name begins every message. cut may be NULL; where its value is an
 * object, the document holds {} in its place.
 * Errors: SW_EFORMAT, also for a file that is no JSON at all (see swi_foreign_check), -ENOMEM. */
int swi_json_read(const char *name, const void *data, size_t size, struct swi_json_cut *cut,
                  json_t **ret, struct swi_error *error);
/* The same, and the document must be an object. */
int swi_json_read_object(const char *name, const void *data, size_t size, json_t **ret,
                         struct swi_error *error);

/* Names a file that cannot be what its name says: empty, a git-lfs pointer, an HTML page. Call it
 * with the beginning of the file, at least 64 bytes where there are as many. Returns 0 or
 * SW_EFORMAT. */
int swi_foreign_check(const char *name, const void *data, size_t size, struct swi_error *error);

/* A number of the document, or the fallback when the key is absent or null. Errors: SW_EFORMAT. */
int swi_json_get_uint(const json_t *object, const char *file, const char *key, uint32_t lowest,
                      uint32_t highest, uint32_t *value, struct swi_error *error);
/* Python's truth of a value: false, 0, null, "" and empty containers are false. */
bool swi_json_truth(const json_t *value);

#endif
