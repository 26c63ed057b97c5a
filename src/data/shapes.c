/*
 * The built-in data set: ten classes of figures, drawn when they are read.
 *
 * Picture i of a split takes all its choices (place, size, turn, thickness, tone or colour) from
 * Philox numbers addressed by (split, i), so no file and no memory is needed, and any picture can
 * be had alone. A figure is a signed distance to its outline, in units of its own radius; a pixel's
 * coverage is how far its centre lies inside, in pixels, which smooths the edges (Green 2007,
 * "Improved alpha-tested magnification for vector textures and special effects"). Only + - * / and
 * sqrt are used, so that the bytes are the same on every machine.
 */
#include "data/data.h"

#include <math.h>
#include <stdlib.h>

enum { CLASSES = 10, TRAIN_COUNT = 60000, TEST_COUNT = 10000, SIDE = 28, SIDE_MIN = 4 };

/* Half the side of the square whose corners lie on the unit circle. */
static const float half_side = 0.70710678f;

typedef struct {
    float x, y;
} vec;

/* ---- Distances: negative inside, about 1 for each radius away from the outline ----------------
 */

/* Plain comparisons compile to one instruction, where fminf and fmaxf must look for NaN. */
static float smaller(float a, float b)
{
    return a < b ? a : b;
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

static float length(float x, float y)
{
    return sqrtf(x * x + y * y);
}

static float box(vec p, float a, float b)
{
    return larger(fabsf(p.x) - a, fabsf(p.y) - b);
}

static float disc(vec p, float detail)
{
    (void)detail;
    return length(p.x, p.y) - 1.0f;
}

static float ring(vec p, float detail)
{
    float half = 0.13f + 0.08f * detail;
    return fabsf(length(p.x, p.y) - (1.0f - half)) - half;
}

static float square(vec p, float detail)
{
    (void)detail;
    return box(p, half_side, half_side);
}

static float frame(vec p, float detail)
{
    float inner = half_side - (0.2f + 0.1f * detail);
    return larger(box(p, half_side, half_side), -box(p, inner, inner));
}

static float triangle(vec p, float detail)
{
    (void)detail;
    const float sin60 = 0.86602540f;
    return larger(sin60 * fabsf(p.x) + 0.5f * p.y, -p.y) - 0.5f;
}

static float cross(vec p, float detail)
{
    float arm = 0.2f + 0.1f * detail;
    return smaller(box(p, arm, 0.95f), box(p, 0.95f, arm));
}

/* Five points: mirrored into the wedge of 36 degrees beside one tip, where one edge is left. */
static float star(vec p, float detail)
{
    const float cos36 = 0.80901699f, sin36 = 0.58778525f;
    p.x = fabsf(p.x);
    /* Mirror at the lines through the centre at 36 degrees to the right and left of the tip. */
    float over = larger(cos36 * p.x - sin36 * p.y, 0.0f);
    p.x -= 2.0f * over * cos36;
    p.y += 2.0f * over * sin36;
    over = larger(-cos36 * p.x - sin36 * p.y, 0.0f);
    p.x += 2.0f * over * cos36;
    p.y += 2.0f * over * sin36;
    p.x = fabsf(p.x);
    /* The edge from the tip (0, 1) to the notch at 36 degrees and radius `inner`. */
    float inner = 0.42f + 0.08f * detail;
    float ex = inner * sin36, ey = inner * cos36 - 1.0f;
    float along = length(ex, ey);
    return (p.x * -ey + (p.y - 1.0f) * ex) / along;
}

/* Three bars with gaps of their own width. */
static float bars(vec p, float detail)
{
    (void)detail;
    const float pitch = 0.4f * half_side;
    float x = fabsf(p.x);
    x = x > pitch ? x - 2.0f * pitch : x;
    return larger(fabsf(x) - 0.5f * pitch, fabsf(p.y) - half_side);
}

/* Three by three fields, the corners and the middle filled. */
static float checker(vec p, float detail)
{
    (void)detail;
    const float sixth = half_side / 3.0f;
    float x = sixth - fabsf(p.x), y = sixth - fabsf(p.y);
    float edge = smaller(fabsf(x), fabsf(y));
    bool filled = (x > 0.0f) == (y > 0.0f);
    return larger(filled ? -edge : edge, box(p, half_side, half_side));
}

static float crescent(vec p, float detail)
{
    float bite = 0.45f + 0.15f * detail;
    return larger(length(p.x, p.y) - 1.0f, 0.85f - length(p.x - bite, p.y));
}

/* ---- One picture ------------------------------------------------------------------------------
 */

typedef float (*distance_fn)(vec p, float detail);

static const distance_fn distances[CLASSES] = {disc,  ring, square, frame,   triangle,
                                               cross, star, bars,   checker, crescent};
static const char *const class_names[CLASSES] = {"disc",  "ring", "square", "frame",   "triangle",
                                                 "cross", "star", "bars",   "checker", "crescent"};

typedef struct {
    distance_fn distance;
    float x, y, radius; /* in pixels */
    vec turn;           /* cosine and sine */
    vec shade;          /* direction in which it darkens */
    float detail;
    float fore[3], back[3]; /* in 0..255 */
} figure;

/* A direction from u in [0, 1): the rational circle, which needs no sine and is even enough. */
static vec direction(float u)
{
    float quarter = 4.0f * u;
    int turns = (int)quarter;
    float t = (quarter - (float)turns) * 0.41421356f;
    float c = (1.0f - t * t) / (1.0f + t * t), s = 2.0f * t / (1.0f + t * t);
    /* t up to tan(22.5 degrees) covers 45 degrees; its double covers the quarter. */
    vec half = {c * c - s * s, 2.0f * c * s};
    switch (turns) {
    case 0:
        return half;
    case 1:
        return (vec){-half.y, half.x};
    case 2:
        return (vec){-half.x, -half.y};
    default:
        return (vec){half.y, -half.x};
    }
}

/* hue, saturation and value in [0, 1) to red, green, blue in 0..255. */
static void colour(float hue, float saturation, float value, float out[3])
{
    static const float offset[3] = {5.0f, 3.0f, 1.0f};
    for (int i = 0; i < 3; i++) {
        float k = offset[i] + 6.0f * hue;
        k = k >= 6.0f ? k - 6.0f : k;
        float ramp = larger(0.0f, smaller(smaller(k, 4.0f - k), 1.0f));
        out[i] = 255.0f * value * (1.0f - saturation * ramp);
    }
}

static figure choose(const sumi_dataset *set, int64_t index)
{
    enum { X, Y, SIZE, TURN, SHADE, DETAIL, VALUE, HUE, SATURATION, BACK_HUE, BACK_VALUE, DRAWS };
    sumi_random at = {.seed = 0,
                      .stream = SUMI_STREAM_SHAPES,
                      .step = (uint32_t)set->split,
                      .image = (uint64_t)index};
    float u[DRAWS];
    for (int i = 0; i < DRAWS; i++)
        u[i] = sumi_random_uniform(&at, (uint64_t)i);
    float w = (float)set->width, h = (float)set->height;
    figure f = {.distance = distances[index % CLASSES], .detail = u[DETAIL]};
    f.radius = smaller(w, h) * (0.28f + 0.18f * u[SIZE]);
    f.x = f.radius + u[X] * (w - 2.0f * f.radius);
    f.y = f.radius + u[Y] * (h - 2.0f * f.radius);
    f.turn = direction(u[TURN]);
    f.shade = direction(u[SHADE]);
    if (set->channels == 1) {
        f.fore[0] = 255.0f * (0.6f + 0.4f * u[VALUE]);
        return f;
    }
    colour(u[HUE], 0.45f + 0.5f * u[SATURATION], 0.7f + 0.3f * u[VALUE], f.fore);
    colour(u[BACK_HUE], 0.6f, 0.05f + 0.15f * u[BACK_VALUE], f.back);
    return f;
}

static void shade_pixel(const figure *f, float px, float py, int channels, uint8_t *out)
{
    float x = (px - f->x) / f->radius, y = (py - f->y) / f->radius;
    vec p = {f->turn.x * x + f->turn.y * y, f->turn.x * y - f->turn.y * x};
    float cover = 0.5f - f->distance(p, f->detail) * f->radius;
    cover = larger(0.0f, smaller(cover, 1.0f));
    float light = 0.85f - 0.15f * (x * f->shade.x + y * f->shade.y);
    for (int c = 0; c < channels; c++)
        out[c] = (uint8_t)(f->back[c] + cover * (light * f->fore[c] - f->back[c]) + 0.5f);
}

static void draw(const sumi_dataset *set, int64_t index, int row, int rows, uint8_t *pixels)
{
    figure f = choose(set, index);
    int channels = set->channels;
    uint8_t back[3];
    for (int c = 0; c < 3; c++)
        back[c] = (uint8_t)(f.back[c] + 0.5f);
    for (int y = row; y < row + rows; y++) {
        float py = (float)y + 0.5f;
        bool beside = fabsf(py - f.y) > f.radius + 1.0f;
        for (int x = 0; x < set->width; x++, pixels += channels) {
            float px = (float)x + 0.5f;
            if (beside || fabsf(px - f.x) > f.radius + 1.0f) {
                for (int c = 0; c < channels; c++)
                    pixels[c] = back[c];
            } else {
                shade_pixel(&f, px, py, channels, pixels);
            }
        }
    }
}

sumi_status sumi_shapes_open(const sumi_dataset_config *config, sumi_dataset *out, sumi_error *err)
{
    out->height = config->height ? config->height : SIDE;
    out->width = config->width ? config->width : SIDE;
    out->channels = config->channels ? config->channels : 1;
    if (out->height < SIDE_MIN || out->width < SIDE_MIN)
        return sumi_fail(err, SUMI_EINVAL, "shapes: expected sides of at least %d, found %dx%d",
                         SIDE_MIN, out->height, out->width);
    if (out->channels != 1 && out->channels != 3)
        return sumi_fail(err, SUMI_EINVAL, "shapes: they have 1 or 3 channels, not %d",
                         out->channels);
    out->count = out->split == SUMI_SPLIT_TEST ? TEST_COUNT : TRAIN_COUNT;
    out->draw = draw;
    out->labels = sumi_calloc((size_t)out->count, sizeof *out->labels);
    if (!out->labels)
        return sumi_fail_memory(err, "labels", (size_t)out->count * sizeof *out->labels);
    for (int64_t i = 0; i < out->count; i++)
        out->labels[i] = (int32_t)(i % CLASSES);
    return sumi_data_set_classes(out, class_names, CLASSES, err);
}
