/*
 * Pictures of a sampling on its way. How many evaluations there will be is not asked: all are kept
 * until there are too many, then every second one is dropped, and only every second one kept from
 * there on.
 */
#include "film.h"

#include <stdlib.h>
#include <string.h>

enum { SHORTEST_MS = 40, LONGEST_MS = 400, ALL_MS = 4000, LAST_MS = 2000 };

static size_t bytes_of(const sumi_film *film, int n)
{
    return (size_t)n * (size_t)film->h * (size_t)film->w * (size_t)film->c;
}

static void drop_frame(sumi_film_frame *frame)
{
    free(frame->x_t);
    free(frame->x_0);
    *frame = (sumi_film_frame){0};
}

static void thin_out(sumi_film *film)
{
    for (int i = 0; i < film->count; i++) {
        if (i % 2 == 1) {
            drop_frame(&film->frames[i]);
        } else if (i > 0) {
            film->frames[i / 2] = film->frames[i];
            film->frames[i] = (sumi_film_frame){0};
        }
    }
    film->count = (film->count + 1) / 2;
    film->stride *= 2;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Bytes of noised images: most of their numbers are to be seen, and without noise they look as
 * images do. So the range is the model's, or what all but a fiftieth on either side lie in. */
static bool expose(sumi_film *film, const float *x, size_t count, uint8_t *out)
{
    if (count > film->room) {
        free(film->sorted);
        film->sorted = sumi_calloc(count, sizeof *film->sorted);
        film->room = film->sorted != NULL ? count : 0;
    }
    if (film->sorted == NULL)
        return false;
    memcpy(film->sorted, x, count * sizeof *x);
    qsort(film->sorted, count, sizeof *x, by_size);
    float low = film->sorted[count / 50], high = film->sorted[count - 1 - count / 50];
    sumi_range_to_bytes(x, count, low < film->low ? low : film->low,
                        high > film->high ? high : film->high, out);
    return true;
}

/* The frame of the present evaluation; NULL where it is not kept, or memory is out. */
static sumi_film_frame *frame_of(sumi_film *film)
{
    int evaluation = film->seen++;
    if (film->stride == 0)
        film->stride = 1;
    if (film->first == 0 && evaluation == film->stride * SUMI_FILM_FRAMES)
        thin_out(film);
    int i = evaluation / film->stride;
    if (evaluation % film->stride != 0 || (film->first > 0 && i >= film->count))
        return NULL;
    sumi_film_frame *frame = &film->frames[i];
    if (film->first == 0) {
        frame->x_t = sumi_calloc(bytes_of(film, film->n), 1);
        frame->x_0 = sumi_calloc(bytes_of(film, film->n), 1);
        film->count = i + 1;
        film->failed = film->failed || frame->x_t == NULL || frame->x_0 == NULL;
    }
    return film->failed ? NULL : frame;
}

bool sumi_film_show(sumi_film *film, const float *x_t, const float *x_0, int n)
{
    const sumi_film_frame *frame = frame_of(film);
    size_t at = bytes_of(film, film->first), count = bytes_of(film, n);
    if (frame != NULL) {
        film->failed = !expose(film, x_t, count, frame->x_t + at);
        sumi_range_to_bytes(x_0, count, film->low, film->high, frame->x_0 + at);
    }
    return !film->failed;
}

bool sumi_film_add(sumi_film *film, const uint8_t *pixels, int n)
{
    if (film->images == NULL)
        film->images = sumi_calloc(bytes_of(film, film->n), 1);
    if (film->images == NULL)
        return false;
    memcpy(film->images + bytes_of(film, film->first), pixels, bytes_of(film, n));
    film->first += n;
    film->seen = 0;
    return true;
}

/* ---- The strip ------------------------------------------------------------------------------- */

sumi_status sumi_film_strip(const sumi_film *film, sumi_image *out, sumi_error *err)
{
    int columns = film->count < SUMI_FILM_COLUMNS ? film->count + 1 : SUMI_FILM_COLUMNS;
    int rows = 2 * film->first, shown = columns - 1;
    size_t one = bytes_of(film, 1);
    const int64_t sizes[] = {rows, columns, film->h, film->w, film->c};
    size_t bytes;
    uint8_t *pixels = sumi_size_product(sizes, 5, &bytes) ? sumi_calloc(bytes, 1) : NULL;
    if (pixels == NULL)
        return sumi_fail(err, SUMI_ENOMEM, "out of memory for the strip; give a smaller -n");
    for (int i = 0; i < rows; i++)
        for (int k = 0; k < columns; k++) {
            size_t image = (size_t)(i / 2) * one;
            int frame = shown > 1 ? k * (film->count - 1) / (shown - 1) : 0;
            const uint8_t *from = film->images;
            if (k < shown)
                from = i % 2 == 0 ? film->frames[frame].x_t : film->frames[frame].x_0;
            memcpy(pixels + ((size_t)i * (size_t)columns + (size_t)k) * one, from + image, one);
        }
    sumi_status status =
        sumi_image_table(pixels, rows, columns, film->h, film->w, film->c, out, err);
    free(pixels);
    return status;
}

/* ---- Moving pictures ------------------------------------------------------------------------- */

sumi_status sumi_film_write(const sumi_film *film, const char *path, const char *comment,
                            sumi_error *err)
{
    sumi_image grids[SUMI_FILM_FRAMES + 1] = {{0}};
    const uint8_t *frames[SUMI_FILM_FRAMES + 1];
    int ms = ALL_MS / film->count;
    ms = ms < SHORTEST_MS ? SHORTEST_MS : ms > LONGEST_MS ? LONGEST_MS : ms;
    sumi_animation animation = {
        .count = film->count + 1, .frames = frames, .frame_ms = ms, .last_ms = LAST_MS};
    sumi_status status = SUMI_OK;
    for (int i = 0; i <= film->count && status == SUMI_OK; i++) {
        const uint8_t *from = i < film->count ? film->frames[i].x_t : film->images;
        status = sumi_image_grid(from, film->first, film->h, film->w, film->c, &grids[i], err);
        frames[i] = grids[i].pixels;
    }
    animation.height = grids[0].height;
    animation.width = grids[0].width;
    animation.channels = sumi_shown_channels(film->c);
    if (status == SUMI_OK)
        status = sumi_ends_with(path, ".gif") ? sumi_gif_write(path, &animation, comment, err)
                                              : sumi_apng_write(path, &animation, comment, err);
    for (int i = 0; i <= film->count; i++)
        sumi_image_free(&grids[i]);
    return status;
}

void sumi_film_free(sumi_film *film)
{
    for (int i = 0; i < film->count; i++)
        drop_frame(&film->frames[i]);
    free(film->images);
    free(film->sorted);
    *film = (sumi_film){0};
}
