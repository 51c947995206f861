/* SPDX-License-Identifier: MIT */
/* Stack, memo and values of the pickle reader: what the opcodes that know nothing of torch do. */
#include "programs/chunk/source/pickle_machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Far above what the largest models need: some twenty values for each tensor. */
#define VALUES_MAX  (1u << 20)
#define ITEMS_MAX   (1u << 22)
#define ENTRIES_MAX (1u << 20)

/* ---- lists ----------------------------------------------------------------------------------- */

int machine_grow(struct machine *machine, struct list *list, size_t element, size_t most)
{
    if (list->count < list->capacity)
        return 0;
    if (list->count >= most)
        return swi_fail(machine->error, SW_EFORMAT, "the pickle is larger than any model's");
    size_t capacity = list->capacity ? list->capacity * 2 : 256;
    void *grown = reallocarray(list->elements, capacity, element);
    if (!grown)
        return swi_fail(machine->error, -ENOMEM, "out of memory");
    list->elements = grown;
    list->capacity = capacity;
    return 0;
}

int machine_append(struct machine *machine, struct list *list, uint32_t number, size_t most)
{
    int result = machine_grow(machine, list, sizeof number, most);
    if (result == 0)
        ((uint32_t *)list->elements)[list->count++] = number;
    return result;
}

struct value *machine_value_at(const struct machine *machine, uint32_t number)
{
    return (struct value *)machine->values.elements + number;
}

uint32_t machine_item_at(const struct machine *machine, const struct value *tuple, uint32_t index)
{
    return ((const uint32_t *)machine->items.elements)[tuple->as.tuple.first + index];
}

const struct value *machine_element(const struct machine *machine, const struct value *tuple,
                                    uint32_t index)
{
    return machine_value_at(machine, machine_item_at(machine, tuple, index));
}

/* ---- the stack ------------------------------------------------------------------------------- */

int machine_malformed(const struct machine *machine)
{
    return swi_fail(machine->error, SW_EFORMAT, "the pickle is malformed");
}

int machine_push_again(struct machine *machine, uint32_t number)
{
    return machine_append(machine, &machine->stack, number, MACHINE_STACK_MAX);
}

int machine_push(struct machine *machine, const struct value *value)
{
    int result = machine_grow(machine, &machine->values, sizeof *value, VALUES_MAX);
    if (result < 0)
        return result;
    uint32_t number = (uint32_t)machine->values.count++;
    *machine_value_at(machine, number) = *value;
    return machine_push_again(machine, number);
}

/* Height below which nothing may be popped: the latest mark's. */
static size_t floor_of(const struct machine *machine)
{
    const uint32_t *marks = machine->marks.elements;
    return machine->marks.count ? marks[machine->marks.count - 1] : 0;
}

bool machine_pop(struct machine *machine, uint32_t *ret)
{
    if (machine->stack.count <= floor_of(machine))
        return false;
    *ret = ((const uint32_t *)machine->stack.elements)[--machine->stack.count];
    return true;
}

bool machine_top(const struct machine *machine, uint32_t *ret)
{
    if (machine->stack.count <= floor_of(machine))
        return false;
    *ret = ((const uint32_t *)machine->stack.elements)[machine->stack.count - 1];
    return true;
}

/* Takes the latest mark away; what is above it on the stack is *ret_first and up. */
static bool pop_mark(struct machine *machine, size_t *ret_first)
{
    if (machine->marks.count == 0)
        return false;
    *ret_first = ((const uint32_t *)machine->marks.elements)[--machine->marks.count];
    return true;
}

/* ---- the input ------------------------------------------------------------------------------- */

bool machine_take(struct machine *machine, size_t size, const unsigned char **ret)
{
    if ((size_t)(machine->end - machine->at) < size)
        return false;
    *ret = machine->at;
    machine->at += size;
    return true;
}

/* size bytes, little-endian. */
static bool take_unsigned(struct machine *machine, size_t size, uint64_t *ret)
{
    const unsigned char *bytes;
    if (!machine_take(machine, size, &bytes))
        return false;
    *ret = 0;
    for (size_t i = 0; i < size; i++)
        *ret |= (uint64_t)bytes[i] << (8 * i);
    return true;
}

bool machine_take_line(struct machine *machine, struct span *ret)
{
    const unsigned char *end = memchr(machine->at, '\n', (size_t)(machine->end - machine->at));
    if (!end)
        return false;
    *ret = (struct span){(const char *)machine->at, (size_t)(end - machine->at)};
    machine->at = end + 1;
    return true;
}

bool machine_text_is(struct span text, const char *wanted)
{
    return text.length == strlen(wanted) && memcmp(text.bytes, wanted, text.length) == 0;
}

/* ---- opcodes that push a value --------------------------------------------------------------- */

int machine_push_integer(struct machine *machine, size_t size, bool is_signed)
{
    uint64_t bits;
    if (!take_unsigned(machine, size, &bits))
        return machine_malformed(machine);
    if (is_signed && size > 0 && size < 8 && bits >> (8 * size - 1))
        bits |= UINT64_MAX << (8 * size);
    return machine_push(machine, &(struct value){.kind = NUMBER, .as.number = (int64_t)bits});
}

/* An integer of one length byte and that many bytes. */
int machine_push_long(struct machine *machine)
{
    uint64_t size;
    if (!take_unsigned(machine, 1, &size) || size > 8)
        return machine_malformed(machine);
    return machine_push_integer(machine, (size_t)size, true);
}

int machine_push_text(struct machine *machine, size_t length_bytes)
{
    uint64_t length;
    const unsigned char *bytes;
    if (!take_unsigned(machine, length_bytes, &length) ||
        !machine_take(machine, (size_t)length, &bytes))
        return machine_malformed(machine);
    return machine_push(
        machine, &(struct value){.kind = TEXT, .as.text = {(const char *)bytes, (size_t)length}});
}

/* ---- protocol 0 writes its arguments as lines ------------------------------------------------ */

/* A decimal number; that of a long ends in L. */
static bool take_number_line(struct machine *machine, int64_t *ret)
{
    struct span line;
    uint64_t number = 0;
    if (!machine_take_line(machine, &line))
        return false;
    bool negative = line.length > 0 && line.bytes[0] == '-';
    size_t at = negative, end = line.length;
    end -= end > 0 && line.bytes[end - 1] == 'L';
    if (at == end || end - at > 18)
        return false;
    for (; at < end; at++) {
        if (line.bytes[at] < '0' || line.bytes[at] > '9')
            return false;
        number = number * 10 + (uint64_t)(line.bytes[at] - '0');
    }
    *ret = negative ? -(int64_t)number : (int64_t)number;
    return true;
}

int machine_push_number_line(struct machine *machine)
{
    int64_t number;
    return take_number_line(machine, &number)
               ? machine_push(machine, &(struct value){.kind = NUMBER, .as.number = number})
               : machine_malformed(machine);
}

/* Names of tensors are ASCII: a text with an escape is none. */
int machine_push_text_line(struct machine *machine)
{
    struct span line;
    if (!machine_take_line(machine, &line) || memchr(line.bytes, '\\', line.length))
        return machine_malformed(machine);
    return machine_push(machine, &(struct value){.kind = TEXT, .as.text = line});
}

static int push_tuple(struct machine *machine, size_t first)
{
    struct value value = {
        .kind = TUPLE,
        .as.tuple = {(uint32_t)machine->items.count, (uint32_t)(machine->stack.count - first)}};
    for (size_t i = first; i < machine->stack.count; i++) {
        int result = machine_append(machine, &machine->items,
                                    ((const uint32_t *)machine->stack.elements)[i], ITEMS_MAX);
        if (result < 0)
            return result;
    }
    machine->stack.count = first;
    return machine_push(machine, &value);
}

int machine_push_marked_tuple(struct machine *machine)
{
    size_t first;
    return pop_mark(machine, &first) ? push_tuple(machine, first) : machine_malformed(machine);
}

int machine_push_short_tuple(struct machine *machine, size_t count)
{
    if (machine->stack.count < floor_of(machine) + count)
        return machine_malformed(machine);
    return push_tuple(machine, machine->stack.count - count);
}

/* ---- the memo -------------------------------------------------------------------------------- */

int machine_put_memo_at(struct machine *machine, uint64_t index)
{
    uint32_t number;
    if (!machine_top(machine, &number) || index >= machine->size)
        return machine_malformed(
            machine); /* writers number from 0, and each number costs them a byte */
    while (machine->memo.count <= index) {
        int result = machine_append(machine, &machine->memo, 0, VALUES_MAX);
        if (result < 0)
            return result;
    }
    ((uint32_t *)machine->memo.elements)[index] = number + 1;
    return 0;
}

int machine_put_memo(struct machine *machine, size_t size)
{
    uint64_t index;
    return take_unsigned(machine, size, &index) ? machine_put_memo_at(machine, index)
                                                : machine_malformed(machine);
}

int machine_put_memo_line(struct machine *machine)
{
    int64_t index;
    return take_number_line(machine, &index) && index >= 0
               ? machine_put_memo_at(machine, (uint64_t)index)
               : machine_malformed(machine);
}

static int get_memo_at(struct machine *machine, uint64_t index)
{
    if (index >= machine->memo.count)
        return machine_malformed(machine);
    uint32_t number = ((const uint32_t *)machine->memo.elements)[index];
    return number ? machine_push_again(machine, number - 1) : machine_malformed(machine);
}

int machine_get_memo(struct machine *machine, size_t size)
{
    uint64_t index;
    return take_unsigned(machine, size, &index) ? get_memo_at(machine, index)
                                                : machine_malformed(machine);
}

int machine_get_memo_line(struct machine *machine)
{
    int64_t index;
    return take_number_line(machine, &index) && index >= 0 ? get_memo_at(machine, (uint64_t)index)
                                                           : machine_malformed(machine);
}

/* ---- dictionaries ---------------------------------------------------------------------------- */

static int add_entry(struct machine *machine, uint32_t dictionary, uint32_t key, uint32_t value)
{
    int result = machine_grow(machine, &machine->entries, sizeof(struct entry), ENTRIES_MAX);
    if (result == 0)
        ((struct entry *)machine->entries.elements)[machine->entries.count++] =
            (struct entry){dictionary, key, value};
    return result;
}

/* The pairs from `first` up go into the dictionary under them, which stays on the stack. */
static int set_items(struct machine *machine, size_t first)
{
    uint32_t dictionary;
    const uint32_t *stack = machine->stack.elements;
    size_t end = machine->stack.count;
    if ((end - first) % 2 != 0)
        return machine_malformed(machine);
    machine->stack.count = first;
    if (!machine_top(machine, &dictionary) ||
        machine_value_at(machine, dictionary)->kind != DICTIONARY)
        return machine_malformed(machine);
    for (size_t i = first; i < end; i += 2) {
        int result = add_entry(machine, dictionary, stack[i], stack[i + 1]);
        if (result < 0)
            return result;
    }
    return 0;
}

int machine_set_marked_items(struct machine *machine)
{
    size_t first;
    return pop_mark(machine, &first) ? set_items(machine, first) : machine_malformed(machine);
}

/* A dictionary that is made of the pairs above the mark. */
int machine_push_marked_dictionary(struct machine *machine)
{
    size_t first;
    uint32_t number;
    if (!pop_mark(machine, &first) || (machine->stack.count - first) % 2 != 0)
        return machine_malformed(machine);
    size_t end = machine->stack.count;
    int result = machine_push(machine, &(struct value){.kind = DICTIONARY});
    if (result < 0)
        return result;
    const uint32_t *stack = machine->stack.elements;
    number = stack[end];
    for (size_t i = first; i < end && result == 0; i += 2)
        result = add_entry(machine, number, stack[i], stack[i + 1]);
    machine->stack.count = first;
    return result < 0 ? result : machine_push_again(machine, number);
}

int machine_set_item(struct machine *machine)
{
    if (machine->stack.count < floor_of(machine) + 3)
        return machine_malformed(machine);
    return set_items(machine, machine->stack.count - 2);
}

/* State of an object. Only a state dictionary has one (its version table), and it says nothing
 * about weights. */
int machine_drop_state(struct machine *machine)
{
    uint32_t state, object;
    if (!machine_pop(machine, &state) || !machine_top(machine, &object) ||
        machine_value_at(machine, state)->kind != DICTIONARY ||
        machine_value_at(machine, object)->kind != DICTIONARY)
        return machine_malformed(machine);
    return 0;
}

/* ---- the end --------------------------------------------------------------------------------- */

void machine_fini(struct machine *machine)
{
    free(machine->values.elements);
    free(machine->stack.elements);
    free(machine->marks.elements);
    free(machine->memo.elements);
    free(machine->items.elements);
    free(machine->entries.elements);
    free(machine->tensors.elements);
}
