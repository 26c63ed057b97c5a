/*
 * Exif's orientation (CIPA DC-008, tag 274): which way up a camera says that a picture is.
 *
 * Exif is a TIFF file of tags in either byte order. Only the one tag in its first directory is
 * read; whatever is not as it should be says nothing, as in other readers.
 */
#include <stdlib.h>

#include "io/internal.h"

enum { TAG = 0x0112, BYTE = 1, SHORT = 3, LONG = 4, ENTRY_SIZE = 12 };

typedef struct {
    const uint8_t *data;
    size_t size;
    bool big; /* the most significant byte comes first */
} tags;

/* The number of count bytes at `at`; 0 where it leaves the data. */
static uint32_t number(const tags *t, size_t at, size_t count)
{
    uint32_t value = 0;
    if (at > t->size || t->size - at < count)
        return 0;
    for (size_t i = 0; i < count; i++)
        value |= (uint32_t)t->data[at + i] << 8 * (t->big ? count - 1 - i : i);
    return value;
}

int sumi_exif_orientation(const uint8_t *data, size_t size)
{
    tags t = {data, size, false};
    while (t.size >= 6 && memcmp(t.data, "Exif\0\0", 6) == 0) {
        t.data += 6;
        t.size -= 6;
    }
    if (t.size < 8)
        return 0;
    t.big = t.data[0] == 'M';
    if (memcmp(t.data, t.big ? "MM\0*" : "II*\0", 4) != 0)
        return 0;
    size_t at = number(&t, 4, 4), count = number(&t, at, 2);
    for (size_t i = 0; i < count && at + 2 + (i + 1) * ENTRY_SIZE <= t.size; i++) {
        size_t entry = at + 2 + i * ENTRY_SIZE;
        uint32_t type = number(&t, entry + 2, 2);
        if (number(&t, entry, 2) != TAG)
            continue;
        size_t bytes = type == SHORT ? 2 : type == LONG ? 4 : type == BYTE ? 1 : 0;
        uint32_t value = number(&t, entry + 8, bytes);
        return value >= 1 && value <= 8 ? (int)value : 0;
    }
    return 0;
}

sumi_status sumi_image_orient(const char *path, sumi_image *image, int orientation, sumi_error *err)
{
    if (orientation < 2 || orientation > 8)
        return SUMI_OK;
    /* What is seen at (y, x) was stored with rows and columns exchanged, then counted from the
     * other end. */
    bool exchanged = orientation >= 5;
    bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    size_t c = (size_t)image->channels, bytes = (size_t)image->height * (size_t)image->width * c;
    sumi_image seen = {exchanged ? image->width : image->height,
                       exchanged ? image->height : image->width, image->channels, malloc(bytes)};
    uint8_t *to = seen.pixels;
    if (!to)
        return sumi_fail_memory(err, path, bytes);
    for (int y = 0; y < seen.height; y++)
        for (int x = 0; x < seen.width; x++, to += c) {
            int row = exchanged ? x : y, column = exchanged ? y : x;
            row = from_bottom ? image->height - 1 - row : row;
            column = from_right ? image->width - 1 - column : column;
            memcpy(to, image->pixels + ((size_t)row * (size_t)image->width + (size_t)column) * c,
                   c);
        }
    free(image->pixels);
    *image = seen;
    return SUMI_OK;
}
