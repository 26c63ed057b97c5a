/*
 * Pictures of a sampling on its way: what the library shows at its evaluations is kept, thinned
 * out, and written as a strip, a GIF or an APNG.
 */
#ifndef SUMI_CLI_FILM_H
#define SUMI_CLI_FILM_H

#include "cli.h"

enum { SUMI_FILM_FRAMES = 100, SUMI_FILM_COLUMNS = 10 };

typedef struct {
    uint8_t *x_t, *x_0; /* [n][h][w][c] */
} sumi_film_frame;

/* Zero it, set the sizes and the model's range, then show, add images, write and free. */
typedef struct {
    int n, h, w, c; /* n: images of the whole call */
    float low, high;
    int first; /* of the images of the present batch */
    int seen;  /* evaluations of the batch */
    int stride, count;
    sumi_film_frame frames[SUMI_FILM_FRAMES]; /* at evaluations 0, stride, 2 stride, ... */
    uint8_t *images;                          /* that are whole: [n][h][w][c] */
    float *sorted;                            /* room for finding a range */
    size_t room;                              /* its numbers */
    bool failed;                              /* memory was out */
} sumi_film;

/* x_t and x_0 of n images at an evaluation. False where memory is out. */
bool sumi_film_show(sumi_film *film, const float *x_t, const float *x_0, int n);
/* The images of the batch, which are whole, as bytes. */
bool sumi_film_add(sumi_film *film, const uint8_t *pixels, int n);
/* For each image two rows, x_t and the x_0 that is predicted there, at SUMI_FILM_COLUMNS - 1
 * evaluations at most, and the image last. */
sumi_status sumi_film_strip(const sumi_film *film, sumi_image *out, sumi_error *err);
/* x_t of all images on a grid, moving, then the images for two seconds; by the ending, .gif or
 * .png. */
sumi_status sumi_film_write(const sumi_film *film, const char *path, const char *comment,
                            sumi_error *err);
void sumi_film_free(sumi_film *film);

#endif
