/*
 * Reads the subset of Python's pickle protocol 2 that torch.save writes for a state_dict.
 *
 * Lib/pickletools.py of CPython documents the opcodes, torch/_weights_only_unpickler.py PyTorch's
 * own subset. A pickle is a program for a stack machine; this one can only build the kinds of value
 * in pickle.h. A name outside the table `globals` stops it, nothing is ever called, and the counts
 * of steps, marks, strings and remembered values have limits.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "io/internal.h"
#include "io/pickle.h"

enum {
    BYTES_MAX = 64 << 20,
    STEPS_MAX = 4000000,
    MARKS_MAX = 64,
    STACK_MAX = 1 << 20,
    STRING_MAX = 1 << 16
};

typedef enum {
    ROLE_DICT,
    ROLE_TENSOR,
    ROLE_PARAMETER, /* a tensor with what a network keeps beside it */
    ROLE_TYPED,     /* a tensor of a subclass, or with attributes */
    ROLE_STORAGE,
    ROLE_PLAIN, /* what a training keeps beside its tensors: accepted, and never looked at */
} role;

static const struct {
    const char *module, *name;
    role role;
    sumi_file_dtype dtype;
} globals[] = {
    {"collections", "OrderedDict", ROLE_DICT, SUMI_FILE_F32},
    {"torch._utils", "_rebuild_tensor_v2", ROLE_TENSOR, SUMI_FILE_F32},
    {"torch._utils", "_rebuild_parameter", ROLE_PARAMETER, SUMI_FILE_F32},
    {"torch._utils", "_rebuild_parameter_with_state", ROLE_PARAMETER, SUMI_FILE_F32},
    {"torch._tensor", "_rebuild_from_type_v2", ROLE_TYPED, SUMI_FILE_F32},
    {"torch", "Tensor", ROLE_PLAIN, SUMI_FILE_F32},
    {"torch.nn.parameter", "Parameter", ROLE_PLAIN, SUMI_FILE_F32},
    {"torch.nn.parameter", "Buffer", ROLE_PLAIN, SUMI_FILE_F32},
    {"torch", "Size", ROLE_PLAIN, SUMI_FILE_F32},
    {"torch", "device", ROLE_PLAIN, SUMI_FILE_F32},
    {"torch", "float32", ROLE_PLAIN, SUMI_FILE_F32},
    {"torch", "float16", ROLE_PLAIN, SUMI_FILE_F32},
    {"torch", "bfloat16", ROLE_PLAIN, SUMI_FILE_F32},
    {"torch", "FloatStorage", ROLE_STORAGE, SUMI_FILE_F32},
    {"torch", "DoubleStorage", ROLE_STORAGE, SUMI_FILE_F64},
    {"torch", "HalfStorage", ROLE_STORAGE, SUMI_FILE_F16},
    {"torch", "BFloat16Storage", ROLE_STORAGE, SUMI_FILE_BF16},
    {"torch", "LongStorage", ROLE_STORAGE, SUMI_FILE_I64},
    {"torch", "IntStorage", ROLE_STORAGE, SUMI_FILE_I32},
    {"torch", "ByteStorage", ROLE_STORAGE, SUMI_FILE_U8},
    {"torch", "BoolStorage", ROLE_STORAGE, SUMI_FILE_BOOL},
    {"torch.storage", "UntypedStorage", ROLE_STORAGE, SUMI_FILE_U8},
};

enum { GLOBAL_COUNT = sizeof globals / sizeof globals[0] };

typedef struct {
    const char *where;
    const uint8_t *data;
    size_t size, at;
    sumi_pickle *pickle;
    uint32_t *stack, stack_count, stack_capacity;
    uint32_t *memo, memo_count, memo_capacity;
    uint32_t marks[MARKS_MAX]; /* stack heights */
    int mark_count;
    sumi_error *err;
} machine;

static sumi_status bad(const machine *m, sumi_status status, const char *what)
{
    return sumi_fail(m->err, status, "%s: byte %zu: %s", m->where, m->at, what);
}

static sumi_status malformed(const machine *m, const char *what)
{
    return bad(m, SUMI_EFORMAT, what);
}

/* Appends to a growing array of indices; false where memory is out. */
static bool append(uint32_t **items, uint32_t *count, uint32_t *capacity, uint32_t value)
{
    if (*count == *capacity) {
        uint32_t grown = *capacity ? *capacity * 2 : 4;
        uint32_t *moved = realloc(*items, grown * sizeof *moved);
        if (!moved)
            return false;
        *items = moved;
        *capacity = grown;
    }
    (*items)[(*count)++] = value;
    return true;
}

static sumi_status no_memory(const machine *m)
{
    return sumi_fail_memory(m->err, "a pickle", m->size);
}

/* ---- The stack ------------------------------------------------------------------------------- */

static sumi_status push_index(machine *m, uint32_t index)
{
    if (m->stack_count >= STACK_MAX)
        return bad(m, SUMI_EUNSUPPORTED, "the stack grows too high");
    if (!append(&m->stack, &m->stack_count, &m->stack_capacity, index))
        return no_memory(m);
    return SUMI_OK;
}

/* Adds a value to the table and pushes it; on failure the value's own items are released. */
static sumi_status push(machine *m, sumi_pickle_value value)
{
    sumi_pickle *p = m->pickle;
    if (p->count == p->capacity) {
        uint32_t grown = p->capacity ? p->capacity * 2 : 64;
        sumi_pickle_value *moved = realloc(p->values, grown * sizeof *moved);
        if (!moved) {
            if (value.kind == SUMI_PICKLE_TUPLE)
                free(value.as.list.items);
            return no_memory(m);
        }
        p->values = moved;
        p->capacity = grown;
    }
    p->values[p->count] = value;
    return push_index(m, p->count++);
}

static sumi_pickle_value *value_at(const machine *m, uint32_t index)
{
    return &m->pickle->values[index];
}

/* How many values lie above the last mark. */
static uint32_t above_mark(const machine *m)
{
    return m->stack_count - (m->mark_count ? m->marks[m->mark_count - 1] : 0);
}

static sumi_status pop(machine *m, uint32_t *index)
{
    *index = 0;
    if (above_mark(m) == 0)
        return malformed(m, "takes from an empty stack");
    *index = m->stack[--m->stack_count];
    return SUMI_OK;
}

/* Takes everything above the last mark, and the mark: items lie at stack[*first..*first + *count),
 * valid until the next push. */
static sumi_status pop_mark(machine *m, uint32_t *first, uint32_t *count)
{
    if (m->mark_count == 0)
        return malformed(m, "goes back to a mark that is not there");
    *count = above_mark(m);
    *first = m->marks[--m->mark_count];
    m->stack_count = *first;
    return SUMI_OK;
}

/* The container of the wanted kind that is now on top. */
static sumi_status top(machine *m, sumi_pickle_kind kind, sumi_pickle_value **out)
{
    if (above_mark(m) == 0)
        return malformed(m, "takes from an empty stack");
    *out = value_at(m, m->stack[m->stack_count - 1]);
    if ((*out)->kind != kind)
        return sumi_fail(m->err, SUMI_EFORMAT, "%s: byte %zu: puts items into %s instead of %s",
                         m->where, m->at, sumi_pickle_kind_name((*out)->kind),
                         sumi_pickle_kind_name(kind));
    return SUMI_OK;
}

/* ---- Operands -------------------------------------------------------------------------------- */

static sumi_status take(machine *m, size_t size, const uint8_t **out)
{
    *out = m->data + m->at;
    if (m->size - m->at < size)
        return malformed(m, "it ends in the middle of an operation");
    m->at += size;
    return SUMI_OK;
}

/* An unsigned number of `size` bytes. */
static sumi_status take_number(machine *m, size_t size, uint32_t *out)
{
    const uint8_t *p;
    sumi_status status = take(m, size, &p);
    *out = 0;
    for (size_t i = 0; i < size && status == SUMI_OK; i++)
        *out |= (uint32_t)p[i] << 8 * i;
    return status;
}

static sumi_status take_line(machine *m, sumi_pickle_string *out)
{
    const uint8_t *begin = m->data + m->at;
    const uint8_t *end = memchr(begin, '\n', m->size - m->at);
    if (!end)
        return malformed(m, "it ends in the middle of a name");
    *out = (sumi_pickle_string){(const char *)begin, (size_t)(end - begin)};
    if (!sumi_utf8_valid(out->text, out->size))
        return malformed(m, "a name that is not UTF-8");
    m->at += out->size + 1;
    return SUMI_OK;
}

static bool string_is(sumi_pickle_string string, const char *text)
{
    return string.size == strlen(text) && memcmp(string.text, text, string.size) == 0;
}

/* ---- Operations: constants ------------------------------------------------------------------- */

static sumi_status push_integer(machine *m, sumi_pickle_kind kind, int64_t integer)
{
    return push(m, (sumi_pickle_value){.kind = kind, .as.integer = integer});
}

static sumi_status op_int(machine *m, size_t size)
{
    uint32_t number;
    sumi_status status = take_number(m, size, &number);
    if (status != SUMI_OK)
        return status;
    return push_integer(m, SUMI_PICKLE_INT, size == 4 ? (int64_t)(int32_t)number : number);
}

static sumi_status op_long(machine *m)
{
    uint32_t size;
    const uint8_t *p;
    sumi_status status = take_number(m, 1, &size);
    if (status == SUMI_OK)
        status = take(m, size, &p);
    if (status != SUMI_OK)
        return status;
    if (size > 8)
        return bad(m, SUMI_EUNSUPPORTED, "a whole number of more than 64 bits");
    uint64_t bits = size && p[size - 1] & 0x80 ? UINT64_MAX : 0;
    for (uint32_t i = 0; i < size; i++)
        bits = (bits & ~((uint64_t)0xFF << 8 * i)) | (uint64_t)p[i] << 8 * i;
    return push_integer(m, SUMI_PICKLE_INT, (int64_t)bits);
}

static sumi_status op_float(machine *m)
{
    const uint8_t *p;
    sumi_status status = take(m, 8, &p);
    if (status != SUMI_OK)
        return status;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | p[i];
    sumi_pickle_value value = {.kind = SUMI_PICKLE_FLOAT};
    memcpy(&value.as.real, &bits, 8);
    return push(m, value);
}

static sumi_status op_string(machine *m, size_t length_size)
{
    uint32_t size;
    const uint8_t *p;
    sumi_status status = take_number(m, length_size, &size);
    if (status == SUMI_OK && size > STRING_MAX)
        status = bad(m, SUMI_EUNSUPPORTED, "a string that is too long");
    if (status == SUMI_OK)
        status = take(m, size, &p);
    if (status != SUMI_OK)
        return status;
    if (!sumi_utf8_valid((const char *)p, size))
        return malformed(m, "a string that is not UTF-8");
    return push(m,
                (sumi_pickle_value){.kind = SUMI_PICKLE_STR, .as.string = {(const char *)p, size}});
}

/* Names the object; the lines of a hostile file may have any length. */
static sumi_status refuse_global(const machine *m, sumi_pickle_string module,
                                 sumi_pickle_string name)
{
    enum { SHOWN_MAX = 100 };
    int module_shown = module.size < SHOWN_MAX ? (int)module.size : SHOWN_MAX;
    int name_shown = name.size < SHOWN_MAX ? (int)name.size : SHOWN_MAX;
    const char *ending = "Storage";
    size_t length = strlen(ending);
    if (string_is(module, "torch") && name.size > length &&
        memcmp(name.text + name.size - length, ending, length) == 0)
        return sumi_fail(m->err, SUMI_EUNSUPPORTED,
                         "%s: byte %zu: tensors of the type torch.%.*s are not supported", m->where,
                         m->at, name_shown, name.text);
    return sumi_fail(m->err, SUMI_EUNSUPPORTED,
                     "%s: byte %zu: it asks for the Python object \"%.*s.%.*s\", which a file of "
                     "plain tensors does not need; it was refused and nothing was run",
                     m->where, m->at, module_shown, module.text, name_shown, name.text);
}

static sumi_status op_global(machine *m)
{
    sumi_pickle_string module, name;
    sumi_status status = take_line(m, &module);
    if (status == SUMI_OK)
        status = take_line(m, &name);
    if (status != SUMI_OK)
        return status;
    for (int i = 0; i < GLOBAL_COUNT; i++)
        if (string_is(module, globals[i].module) && string_is(name, globals[i].name))
            return push_integer(m, SUMI_PICKLE_GLOBAL, i);
    return refuse_global(m, module, name);
}

/* ---- Operations: containers ------------------------------------------------------------------ */

static sumi_status push_container(machine *m, sumi_pickle_kind kind)
{
    return push(m, (sumi_pickle_value){.kind = kind});
}

/* A tuple of count values at stack[first...], which are already popped. */
static sumi_status push_tuple(machine *m, uint32_t first, uint32_t count)
{
    sumi_pickle_value value = {.kind = SUMI_PICKLE_TUPLE};
    if (count) {
        value.as.list.items = sumi_calloc(count, sizeof *value.as.list.items);
        if (!value.as.list.items)
            return no_memory(m);
        memcpy(value.as.list.items, m->stack + first, count * sizeof *m->stack);
        value.as.list.count = value.as.list.capacity = count;
    }
    return push(m, value);
}

static sumi_status op_mark(machine *m)
{
    if (m->mark_count == MARKS_MAX)
        return bad(m, SUMI_EUNSUPPORTED, "values are nested too deeply");
    m->marks[m->mark_count++] = m->stack_count;
    return SUMI_OK;
}

static sumi_status op_tuple(machine *m)
{
    uint32_t first = 0, count = 0;
    sumi_status status = pop_mark(m, &first, &count);
    return status == SUMI_OK ? push_tuple(m, first, count) : status;
}

static sumi_status op_short_tuple(machine *m, uint32_t count)
{
    if (above_mark(m) < count)
        return malformed(m, "takes from an empty stack");
    m->stack_count -= count;
    return push_tuple(m, m->stack_count, count);
}

/* Appends count values at stack[first...] to the container on top; dicts take them in pairs. */
static sumi_status add_items(machine *m, sumi_pickle_kind kind, uint32_t first, uint32_t count)
{
    sumi_pickle_value *container;
    sumi_status status = top(m, kind, &container);
    if (status != SUMI_OK)
        return status;
    if (kind == SUMI_PICKLE_DICT && count % 2)
        return malformed(m, "a key without a value");
    sumi_pickle_list *list = &container->as.list;
    for (uint32_t i = 0; i < count; i++)
        if (!append(&list->items, &list->count, &list->capacity, m->stack[first + i]))
            return no_memory(m);
    return SUMI_OK;
}

static sumi_status op_add_marked(machine *m, sumi_pickle_kind kind)
{
    uint32_t first = 0, count = 0;
    sumi_status status = pop_mark(m, &first, &count);
    return status == SUMI_OK ? add_items(m, kind, first, count) : status;
}

static sumi_status op_add(machine *m, sumi_pickle_kind kind, uint32_t count)
{
    if (above_mark(m) < count)
        return malformed(m, "takes from an empty stack");
    m->stack_count -= count;
    return add_items(m, kind, m->stack_count, count);
}

/* Sets attributes. A state_dict has one, _metadata, which nothing here needs: it is dropped. */
static sumi_status op_build(machine *m)
{
    uint32_t state;
    sumi_pickle_value *target;
    sumi_status status = pop(m, &state);
    if (status == SUMI_OK)
        status = top(m, SUMI_PICKLE_DICT, &target);
    if (status == SUMI_OK && value_at(m, state)->kind != SUMI_PICKLE_DICT)
        status = malformed(m, "attributes that are not a dict");
    return status;
}

/* ---- Operations: the memo -------------------------------------------------------------------- */

static sumi_status op_get(machine *m, size_t size)
{
    uint32_t slot;
    sumi_status status = take_number(m, size, &slot);
    if (status != SUMI_OK)
        return status;
    if (slot >= m->memo_count)
        return malformed(m, "recalls a value that it never remembered");
    return push_index(m, m->memo[slot]);
}

/* Python numbers what it remembers from 0 without gaps, so a slot past the end is refused: that
 * also bounds the memo by the pickle's own size. */
static sumi_status op_put(machine *m, size_t size)
{
    uint32_t slot;
    sumi_status status = take_number(m, size, &slot);
    if (status != SUMI_OK)
        return status;
    if (above_mark(m) == 0)
        return malformed(m, "remembers a value that is not there");
    uint32_t index = m->stack[m->stack_count - 1];
    if (slot > m->memo_count)
        return malformed(m, "remembers values out of order");
    if (slot < m->memo_count)
        m->memo[slot] = index;
    else if (!append(&m->memo, &m->memo_count, &m->memo_capacity, index))
        return no_memory(m);
    return SUMI_OK;
}

/* ---- Operations: storages and tensors -------------------------------------------------------- */

/* Item i of a tuple, or NULL where it has another kind. */
static const sumi_pickle_value *item(const sumi_pickle *p, const sumi_pickle_value *tuple,
                                     uint32_t i, sumi_pickle_kind kind)
{
    const sumi_pickle_value *value = &p->values[tuple->as.list.items[i]];
    return value->kind == kind ? value : NULL;
}

/* ("storage", type, key, device, count): torch's persistent id. */
static sumi_status op_storage(machine *m)
{
    uint32_t index;
    sumi_status status = pop(m, &index);
    if (status != SUMI_OK)
        return status;
    const sumi_pickle_value *id = value_at(m, index);
    const sumi_pickle *p = m->pickle;
    if (id->kind != SUMI_PICKLE_TUPLE || id->as.list.count != 5)
        return malformed(m, "a storage that is not described by five values");
    const sumi_pickle_value *tag = item(p, id, 0, SUMI_PICKLE_STR);
    const sumi_pickle_value *type = item(p, id, 1, SUMI_PICKLE_GLOBAL);
    const sumi_pickle_value *count = item(p, id, 4, SUMI_PICKLE_INT);
    if (!tag || !string_is(tag->as.string, "storage") || !type ||
        globals[type->as.integer].role != ROLE_STORAGE || !item(p, id, 2, SUMI_PICKLE_STR) ||
        !item(p, id, 3, SUMI_PICKLE_STR) || !count || count->as.integer < 0)
        return malformed(m, "a storage's description has wrong kinds of values");
    return push(m, (sumi_pickle_value){.kind = SUMI_PICKLE_STORAGE, .as.arguments = index});
}

/* A tuple of whole numbers from 0. */
static bool is_sizes(const sumi_pickle *p, const sumi_pickle_value *tuple)
{
    for (uint32_t i = 0; i < tuple->as.list.count; i++) {
        const sumi_pickle_value *size = item(p, tuple, i, SUMI_PICKLE_INT);
        if (!size || size->as.integer < 0)
            return false;
    }
    return true;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]) */
static sumi_status make_tensor(machine *m, uint32_t index)
{
    const sumi_pickle_value *args = value_at(m, index);
    const sumi_pickle *p = m->pickle;
    uint32_t count = args->as.list.count;
    if (count != 6 && count != 7)
        return malformed(m, "a tensor that is not described by six or seven values");
    const sumi_pickle_value *offset = item(p, args, 1, SUMI_PICKLE_INT);
    const sumi_pickle_value *size = item(p, args, 2, SUMI_PICKLE_TUPLE);
    const sumi_pickle_value *stride = item(p, args, 3, SUMI_PICKLE_TUPLE);
    const sumi_pickle_value *hooks = item(p, args, 5, SUMI_PICKLE_DICT);
    if (!item(p, args, 0, SUMI_PICKLE_STORAGE) || !offset || offset->as.integer < 0 || !size ||
        !stride || !is_sizes(p, size) || !is_sizes(p, stride) ||
        size->as.list.count != stride->as.list.count || !item(p, args, 4, SUMI_PICKLE_BOOL) ||
        !hooks || hooks->as.list.count)
        return malformed(m, "a tensor's description has wrong kinds of values");
    if (size->as.list.count > SUMI_TENSOR_RANK_MAX)
        return bad(m, SUMI_EUNSUPPORTED, "a tensor of more than 8 dimensions");
    return push(m, (sumi_pickle_value){.kind = SUMI_PICKLE_TENSOR, .as.arguments = index});
}

/* _rebuild_parameter[_with_state](tensor, requires_grad, hooks[, state]): the tensor. */
static sumi_status make_parameter(machine *m, const sumi_pickle_value *args)
{
    if (args->as.list.count < 3 || !item(m->pickle, args, 0, SUMI_PICKLE_TENSOR))
        return malformed(m, "a parameter that is no tensor");
    return push_index(m, args->as.list.items[0]);
}

/* _rebuild_from_type_v2(function, type, arguments, state): what the function makes. */
static sumi_status make_typed(machine *m, const sumi_pickle_value *args)
{
    const sumi_pickle_value *function =
        args->as.list.count == 4 ? item(m->pickle, args, 0, SUMI_PICKLE_GLOBAL) : NULL;
    if (!function || globals[function->as.integer].role != ROLE_TENSOR ||
        !item(m->pickle, args, 1, SUMI_PICKLE_GLOBAL) ||
        !item(m->pickle, args, 2, SUMI_PICKLE_TUPLE))
        return malformed(m, "a tensor of a type that is none");
    return make_tensor(m, args->as.list.items[2]);
}

static sumi_status op_reduce(machine *m)
{
    uint32_t args_index, function_index;
    sumi_status status = pop(m, &args_index);
    if (status == SUMI_OK)
        status = pop(m, &function_index);
    if (status != SUMI_OK)
        return status;
    const sumi_pickle_value *function = value_at(m, function_index);
    const sumi_pickle_value *args = value_at(m, args_index);
    if (function->kind != SUMI_PICKLE_GLOBAL || args->kind != SUMI_PICKLE_TUPLE)
        return malformed(m, "calls something that is not a function");
    switch (globals[function->as.integer].role) {
    case ROLE_DICT:
        if (args->as.list.count)
            return bad(m, SUMI_EUNSUPPORTED, "an OrderedDict in the form of Python 2");
        return push_container(m, SUMI_PICKLE_DICT);
    case ROLE_TENSOR:
        return make_tensor(m, args_index);
    case ROLE_PARAMETER:
        return make_parameter(m, args);
    case ROLE_TYPED:
        return make_typed(m, args);
    case ROLE_PLAIN:
        return push_container(m, SUMI_PICKLE_NONE);
    default:
        return malformed(m, "calls something that is not a function");
    }
}

/* ---- The machine ----------------------------------------------------------------------------- */

static sumi_status op_protocol(machine *m)
{
    uint32_t protocol;
    sumi_status status = take_number(m, 1, &protocol);
    if (status == SUMI_OK && protocol != 2)
        status = sumi_fail(m->err, SUMI_EUNSUPPORTED,
                           "%s: pickle protocol %u, but only 2, which torch.save uses unless told "
                           "otherwise, is supported",
                           m->where, (unsigned)protocol);
    return status;
}

static sumi_status step(machine *m, uint8_t code)
{
    switch (code) {
    case 'N': /* NONE */
        return push_container(m, SUMI_PICKLE_NONE);
    case 0x88: /* NEWTRUE */
        return push_integer(m, SUMI_PICKLE_BOOL, 1);
    case 0x89: /* NEWFALSE */
        return push_integer(m, SUMI_PICKLE_BOOL, 0);
    case 'K': /* BININT1 */
        return op_int(m, 1);
    case 'M': /* BININT2 */
        return op_int(m, 2);
    case 'J': /* BININT */
        return op_int(m, 4);
    case 0x8A: /* LONG1 */
        return op_long(m);
    case 'G': /* BINFLOAT */
        return op_float(m);
    case 'U': /* SHORT_BINSTRING */
        return op_string(m, 1);
    case 'X': /* BINUNICODE */
        return op_string(m, 4);
    case 'c': /* GLOBAL */
        return op_global(m);
    case ')': /* EMPTY_TUPLE */
        return push_container(m, SUMI_PICKLE_TUPLE);
    case ']': /* EMPTY_LIST */
        return push_container(m, SUMI_PICKLE_LIST);
    case '}': /* EMPTY_DICT */
        return push_container(m, SUMI_PICKLE_DICT);
    case '(': /* MARK */
        return op_mark(m);
    case 't': /* TUPLE */
        return op_tuple(m);
    case 0x85: /* TUPLE1 to TUPLE3 */
    case 0x86:
    case 0x87:
        return op_short_tuple(m, code - 0x84u);
    case 'a': /* APPEND */
        return op_add(m, SUMI_PICKLE_LIST, 1);
    case 'e': /* APPENDS */
        return op_add_marked(m, SUMI_PICKLE_LIST);
    case 's': /* SETITEM */
        return op_add(m, SUMI_PICKLE_DICT, 2);
    case 'u': /* SETITEMS */
        return op_add_marked(m, SUMI_PICKLE_DICT);
    case 'b': /* BUILD */
        return op_build(m);
    case 'h': /* BINGET */
        return op_get(m, 1);
    case 'j': /* LONG_BINGET */
        return op_get(m, 4);
    case 'q': /* BINPUT */
        return op_put(m, 1);
    case 'r': /* LONG_BINPUT */
        return op_put(m, 4);
    case 'Q': /* BINPERSID */
        return op_storage(m);
    case 'R': /* REDUCE */
        return op_reduce(m);
    case 0x80: /* PROTO */
        return op_protocol(m);
    default:
        return sumi_fail(m->err, SUMI_EUNSUPPORTED,
                         "%s: byte %zu: operation 0x%02X is not one that torch.save writes",
                         m->where, m->at - 1, code);
    }
}

static sumi_status run(machine *m)
{
    if (m->size > BYTES_MAX)
        return bad(m, SUMI_EUNSUPPORTED, "it is larger than 64 MiB");
    if (m->size < 2 || m->data[0] != 0x80)
        return malformed(m, "it is not a pickle");
    for (uint32_t steps = 0;; steps++) {
        const uint8_t *code;
        if (steps == STEPS_MAX)
            return bad(m, SUMI_EUNSUPPORTED, "it has more than 4 million operations");
        sumi_status status = take(m, 1, &code);
        if (status != SUMI_OK)
            return status;
        if (*code == '.')
            break;
        status = step(m, *code);
        if (status != SUMI_OK)
            return status;
    }
    if (m->stack_count != 1 || m->mark_count)
        return malformed(m, "it does not end with one value");
    if (m->at != m->size)
        return malformed(m, "more follows behind its end");
    m->pickle->root = m->stack[0];
    return SUMI_OK;
}

sumi_status sumi_pickle_parse(const char *where, const uint8_t *data, size_t size, sumi_pickle *out,
                              sumi_error *err)
{
    sumi_pickle pickle = {0};
    machine m = {.where = where, .data = data, .size = size, .pickle = &pickle, .err = err};
    sumi_status status = run(&m);
    free(m.stack);
    free(m.memo);
    if (status == SUMI_OK)
        *out = pickle;
    else
        sumi_pickle_free(&pickle);
    return status;
}

void sumi_pickle_free(sumi_pickle *pickle)
{
    for (uint32_t i = 0; i < pickle->count; i++) {
        sumi_pickle_kind kind = pickle->values[i].kind;
        if (kind == SUMI_PICKLE_LIST || kind == SUMI_PICKLE_TUPLE || kind == SUMI_PICKLE_DICT)
            free(pickle->values[i].as.list.items);
    }
    free(pickle->values);
    *pickle = (sumi_pickle){0};
}

void sumi_pickle_get_tensor(const sumi_pickle *pickle, uint32_t index, sumi_pickle_tensor *out)
{
    const sumi_pickle_value *args = &pickle->values[pickle->values[index].as.arguments];
    const sumi_pickle_value *storage = item(pickle, args, 0, SUMI_PICKLE_STORAGE);
    const sumi_pickle_value *size = item(pickle, args, 2, SUMI_PICKLE_TUPLE);
    const sumi_pickle_value *stride = item(pickle, args, 3, SUMI_PICKLE_TUPLE);
    const sumi_pickle_value *id = &pickle->values[storage->as.arguments];
    out->dtype = globals[item(pickle, id, 1, SUMI_PICKLE_GLOBAL)->as.integer].dtype;
    out->key = item(pickle, id, 2, SUMI_PICKLE_STR)->as.string;
    out->storage_count = item(pickle, id, 4, SUMI_PICKLE_INT)->as.integer;
    out->offset = item(pickle, args, 1, SUMI_PICKLE_INT)->as.integer;
    out->rank = (int)size->as.list.count;
    for (uint32_t i = 0; i < size->as.list.count; i++) {
        out->shape[i] = item(pickle, size, i, SUMI_PICKLE_INT)->as.integer;
        out->stride[i] = item(pickle, stride, i, SUMI_PICKLE_INT)->as.integer;
    }
}

const char *sumi_pickle_kind_name(sumi_pickle_kind kind)
{
    static const char *const names[] = {
        [SUMI_PICKLE_NONE] = "None",       [SUMI_PICKLE_BOOL] = "a bool",
        [SUMI_PICKLE_INT] = "an int",      [SUMI_PICKLE_FLOAT] = "a float",
        [SUMI_PICKLE_STR] = "a string",    [SUMI_PICKLE_LIST] = "a list",
        [SUMI_PICKLE_TUPLE] = "a tuple",   [SUMI_PICKLE_DICT] = "a dict",
        [SUMI_PICKLE_GLOBAL] = "a class",  [SUMI_PICKLE_STORAGE] = "a storage",
        [SUMI_PICKLE_TENSOR] = "a tensor",
    };
    return names[kind];
}

const char *sumi_pickle_storage_name(sumi_file_dtype dtype)
{
    for (int i = 0; i < GLOBAL_COUNT; i++)
        if (globals[i].role == ROLE_STORAGE && globals[i].dtype == dtype)
            return globals[i].name;
    return NULL;
}
