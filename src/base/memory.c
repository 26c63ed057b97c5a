/*
 * Overflow-checked sizes, zeroed allocations, and large page-aligned blocks.
 *
 * No object is larger than PTRDIFF_MAX bytes: beyond that the difference of two pointers into it
 * would overflow.
 */
#include "base/base.h"
#include "base/grow.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)

bool sumi_size_mul(size_t a, size_t b, size_t *out)
{
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *out = a * b;
    return true;
}

bool sumi_size_add(size_t a, size_t b, size_t *out)
{
    if (a > SIZE_MAX - b)
        return false;
    *out = a + b;
    return true;
}

bool sumi_size_product(const int64_t *factors, int count, size_t *out)
{
    /* A zero factor makes the product zero, but must not hide a negative or absurd one. */
    size_t product = 1;
    bool zero = false;
    for (int i = 0; i < count; i++) {
        if (factors[i] < 0 || (uint64_t)factors[i] > SIZE_MAX)
            return false;
        if (factors[i] == 0)
            zero = true;
        else if (!sumi_size_mul(product, (size_t)factors[i], &product))
            return false;
    }
    *out = zero ? 0 : product;
    return true;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double sumi_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

void *sumi_grow(void *array, size_t *capacity, size_t count, size_t size, size_t first)
{
    if (count < *capacity)
        return array;
    /* An array of half of these bytes is there, so that they cannot overflow. */
    size_t more = *capacity ? 2 * *capacity : first;
    void *grown = realloc(array, more * size);
    if (grown)
        *capacity = more;
    return grown;
}

void *sumi_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (!sumi_size_mul(count, size, &bytes) || bytes > PTRDIFF_MAX)
        return NULL;
    /* Never NULL for nothing: NULL means that memory is out. */
    return calloc(1, bytes ? bytes : 1);
}

char *sumi_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = malloc(bytes);
    if (copy)
        memcpy(copy, text, bytes);
    return copy;
}

/* What a block of `bytes` takes in whole pages; 0 where that is not a valid size. */
static size_t whole_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (bytes > (size_t)PTRDIFF_MAX - HUGE_PAGE - page)
        return 0;
    return bytes ? (bytes + page - 1) / page * page : page;
}

void *sumi_pages_alloc(size_t bytes)
{
    size_t size = whole_pages(bytes);
    if (size == 0)
        return NULL;
    /* One huge page more than needed, so that an aligned start is inside; the rest goes back. */
    char *map = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    size_t head = (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
    size_t tail = HUGE_PAGE - head;
    char *block = map + head;
    if (head)
        munmap(map, head);
    munmap(block + size, tail);
#ifdef MADV_HUGEPAGE
    madvise(block, size, MADV_HUGEPAGE); /* advice: a refusal changes the speed only */
#endif
    return block;
}

void sumi_pages_free(void *block, size_t bytes)
{
    if (block)
        munmap(block, whole_pages(bytes));
}
