/* SPDX-License-Identifier: MIT */
/* The values of a pickle and the stack they are on. Values are numbered and refer to each other by
 * number; a dictionary is nothing but its number, and its pairs are in one list with those of all
 * others. Nothing here knows torch, and nothing is executed: this is the part of the reader that
 * every pickle needs. See pickle.h. */
#ifndef SWI_PROGRAMS_CHUNK_SOURCE_PICKLE_MACHINE_H
#define SWI_PROGRAMS_CHUNK_SOURCE_PICKLE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sw/base.h>

#include "core/error.h"

#define MACHINE_STACK_MAX (1u << 20)

struct known; /* a global, to the machine just an address */

enum kind { NOTHING, BOOLEAN, NUMBER, TEXT, TUPLE, DICTIONARY, GLOBAL, STORAGE, TENSOR };

struct span {
    const char *bytes;
    size_t length;
};

struct value {
    enum kind kind;
    union {
        int64_t number; /* also of a BOOLEAN */
        struct span text;
        struct {
            uint32_t first, count; /* in items */
        } tuple;
        const struct known *global;
        struct {
            struct span key;
            const struct known *type;
            uint64_t elements;
        } storage;
        uint32_t tensor; /* in tensors */
    } as;
};

/* key: value in the dictionary that is that value */
struct entry {
    uint32_t dictionary, key, value;
};

/* Growing arrays of one element size; `count` elements are in use. */
struct list {
    void *elements;
    size_t count, capacity;
};

struct machine {
    const unsigned char *at, *end;
    size_t size;         /* of the whole pickle */
    struct list values;  /* of struct value */
    struct list stack;   /* of uint32_t: numbers of values */
    struct list marks;   /* of uint32_t: heights of the stack */
    struct list memo;    /* of uint32_t: number of a value + 1; 0: not set */
    struct list items;   /* of uint32_t: tuples' elements */
    struct list entries; /* of struct entry */
    struct list tensors; /* of struct pickle_tensor, without names */
    struct swi_error *error;
};

/* ---- lists and values ------------------------------------------------------------------------ */

/* Makes room for one more element. Errors: SW_EFORMAT over `most`, -ENOMEM. */
int machine_grow(struct machine *machine, struct list *list, size_t element, size_t most);
int machine_append(struct machine *machine, struct list *list, uint32_t number, size_t most);

struct value *machine_value_at(const struct machine *machine, uint32_t number);
/* A tuple's element: its number, and itself. Neither stays valid across a push. */
uint32_t machine_item_at(const struct machine *machine, const struct value *tuple, uint32_t index);
const struct value *machine_element(const struct machine *machine, const struct value *tuple,
                                    uint32_t index);
bool machine_text_is(struct span text, const char *wanted);

/* SW_EFORMAT, "the pickle is malformed". */
int machine_malformed(const struct machine *machine);
void machine_fini(struct machine *machine);

/* ---- stack and input: false when there is nothing (left) to take ----------------------------- */

int machine_push(struct machine *machine, const struct value *value);
/* A value that is there already. */
int machine_push_again(struct machine *machine, uint32_t number);
/* Neither reaches below the latest mark. */
bool machine_pop(struct machine *machine, uint32_t *ret);
bool machine_top(const struct machine *machine, uint32_t *ret);

bool machine_take(struct machine *machine, size_t size, const unsigned char **ret);
bool machine_take_line(struct machine *machine, struct span *ret);

/* ---- opcodes --------------------------------------------------------------------------------- */

int machine_push_integer(struct machine *machine, size_t size, bool is_signed);
int machine_push_long(struct machine *machine);
int machine_push_text(struct machine *machine, size_t length_bytes);
int machine_push_number_line(struct machine *machine);
int machine_push_text_line(struct machine *machine);
int machine_push_marked_dictionary(struct machine *machine);
int machine_put_memo_at(struct machine *machine, uint64_t index);
int machine_put_memo_line(struct machine *machine);
int machine_get_memo_line(struct machine *machine);
int machine_push_marked_tuple(struct machine *machine);
int machine_push_short_tuple(struct machine *machine, size_t count);
int machine_put_memo(struct machine *machine, size_t size);
int machine_get_memo(struct machine *machine, size_t size);
int machine_set_marked_items(struct machine *machine);
int machine_set_item(struct machine *machine);
int machine_drop_state(struct machine *machine);

#endif
