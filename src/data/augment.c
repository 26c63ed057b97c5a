/*
 * Pictures made of a picture: mirrored, moved, and the set of changes that a network is told of.
 *
 * What is done to an image is a function of (seed, step, image): whatever thread fills the batch,
 * and wherever a run was stopped. Changes of place are one affine map, through which the picture is
 * read with bilinear weights; beyond its edges it is reflected, so that nothing new appears there.
 */
#include "data/augment.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846
#define SCALE_STD .2  /* of the logarithms, base 2, of scale and stretch */
#define MOVE_STD .125 /* of a side */

/* Numbers of one image's stream. */
enum { OF_FLIP, OF_CROP_Y, OF_CROP_X, OF_MIRROR, OF_WHETHER = 8, OF_TURN = 16, OF_DIRECTION };
enum { UPSIDE_DOWN, SCALE, TURN, STRETCH, MOVE };

bool sumi_augment_wanted(const sumi_augment *augment)
{
    return augment->flip || augment->crop > 0 || augment->told > 0;
}

sumi_status sumi_augment_check(const sumi_augment *augment, int h, int w, sumi_error *err)
{
    int side = h < w ? h : w;
    if (augment->crop < 0 || (augment->crop > 0 && augment->crop >= side))
        return sumi_fail(err, SUMI_EINVAL, "crop is %d, expected 0 to below %d, the images' side",
                         augment->crop, side);
    if (!(augment->told >= 0 && augment->told <= 1))
        return sumi_fail(err, SUMI_EINVAL, "augment is %g, expected 0 to 1", (double)augment->told);
    return SUMI_OK;
}

/* ---- Mirroring and moving -------------------------------------------------------------------- */

static void mirror(const int shape[3], bool upside_down, float *pixels, float *room)
{
    size_t h = (size_t)shape[0], w = (size_t)shape[1], c = (size_t)shape[2];
    memcpy(room, pixels, h * w * c * sizeof *room);
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++)
            memcpy(pixels + (y * w + x) * c,
                   room + (upside_down ? (h - 1 - y) * w + x : y * w + w - 1 - x) * c,
                   c * sizeof *room);
}

static int clamp(int value, int count)
{
    return value < 0 ? 0 : value >= count ? count - 1 : value;
}

static void move(const int shape[3], int down, int right, float *pixels, float *room)
{
    int h = shape[0], w = shape[1];
    size_t c = (size_t)shape[2];
    memcpy(room, pixels, (size_t)h * (size_t)w * c * sizeof *room);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            memcpy(pixels + ((size_t)y * (size_t)w + (size_t)x) * c,
                   room +
                       ((size_t)clamp(y - down, h) * (size_t)w + (size_t)clamp(x - right, w)) * c,
                   c * sizeof *room);
}

/* ---- The set that is told -------------------------------------------------------------------- */

/* (x, y) -> (a x + b y + u, c x + d y + v), about the picture's centre and in pixels. */
typedef struct {
    double a, b, c, d, u, v;
} map;

/* First `second`, then `first`: as matrices are multiplied. */
static map after(map first, map second)
{
    return (map){first.a * second.a + first.b * second.c,
                 first.a * second.b + first.b * second.d,
                 first.c * second.a + first.d * second.c,
                 first.c * second.b + first.d * second.d,
                 first.a * second.u + first.b * second.v + first.u,
                 first.c * second.u + first.d * second.v + first.v};
}

static map turned(double cosine, double sine)
{
    return (map){cosine, -sine, sine, cosine, 0, 0};
}

static map scaled(double x, double y)
{
    return (map){x, 0, 0, y, 0, 0};
}

/* A pixel's number beyond the edges, which it is reflected by: ... 2 1 0 0 1 2 ... */
static int reflect(int64_t at, int count)
{
    int64_t period = 2 * (int64_t)count, in = at % period;
    in = in < 0 ? in + period : in;
    return (int)(in < count ? in : period - 1 - in);
}

/* Each pixel is read where the inverse of what happens to the picture leads. */
static void apply(const map *from, const int shape[3], float *pixels, float *room)
{
    int h = shape[0], w = shape[1], c = shape[2];
    double middle_y = .5 * (h - 1), middle_x = .5 * (w - 1);
    memcpy(room, pixels, (size_t)h * (size_t)w * (size_t)c * sizeof *room);
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            double px = x - middle_x, py = y - middle_y;
            double sx = from->a * px + from->b * py + from->u + middle_x;
            double sy = from->c * px + from->d * py + from->v + middle_y;
            double left = floor(sx), top = floor(sy);
            float fx = (float)(sx - left), fy = (float)(sy - top);
            const int columns[2] = {reflect((int64_t)left, w), reflect((int64_t)left + 1, w)};
            const int rows[2] = {reflect((int64_t)top, h), reflect((int64_t)top + 1, h)};
            const float by_x[2] = {1 - fx, fx}, by_y[2] = {1 - fy, fy};
            float *to = pixels + ((size_t)y * (size_t)w + (size_t)x) * (size_t)c;
            for (int k = 0; k < c; k++) {
                float sum = 0;
                for (int i = 0; i < 4; i++)
                    sum += by_y[i / 2] * by_x[i % 2] *
                           room[((size_t)rows[i / 2] * (size_t)w + (size_t)columns[i % 2]) *
                                    (size_t)c +
                                (size_t)k];
                to[k] = sum;
            }
        }
    }
}

static bool happens(const sumi_random *at, int change, float probability)
{
    return sumi_random_uniform(at, (uint64_t)(OF_WHETHER + change)) < probability;
}

/* An angle, even over the circle. */
static double angle(const sumi_random *at, int number)
{
    return PI * (2 * (double)sumi_random_uniform(at, (uint64_t)number) - 1);
}

/* The changes in the order of the paper; what is built up is the way back. */
static bool draw_map(const sumi_augment *augment, const sumi_random *at, const int shape[3],
                     map *out, float numbers[SUMI_AUGMENT_NUMBERS])
{
    sumi_random of_normals = *at;
    float normal[4]; /* of scale, stretch and the two ways to move */
    bool any = false;
    of_normals.image |= UINT64_C(1) << 55;
    sumi_random_normals(&of_normals, 0, normal, 4);
    *out = scaled(1, 1);
    if (happens(at, SCALE, augment->told)) {
        double s = exp2(-SCALE_STD * (double)normal[0]);
        *out = after(*out, scaled(s, s));
        numbers[2] = normal[0];
        any = true;
    }
    if (happens(at, TURN, augment->told)) {
        double turn = angle(at, OF_TURN);
        *out = after(*out, turned(cos(turn), -sin(turn)));
        numbers[3] = (float)(cos(turn) - 1);
        numbers[4] = (float)sin(turn);
        any = true;
    }
    if (happens(at, STRETCH, augment->told)) {
        double direction = angle(at, OF_DIRECTION), x = cos(direction), y = sin(direction);
        double s = exp2(SCALE_STD * (double)normal[1]);
        *out = after(*out, after(turned(x, y), after(scaled(1 / s, s), turned(x, -y))));
        numbers[5] = (float)((double)normal[1] * x);
        numbers[6] = (float)((double)normal[1] * y);
        any = true;
    }
    if (happens(at, MOVE, augment->told)) {
        const map back = {1,
                          0,
                          0,
                          1,
                          -MOVE_STD * (double)normal[2] * shape[1],
                          -MOVE_STD * (double)normal[3] * shape[0]};
        *out = after(*out, back);
        numbers[7] = normal[2];
        numbers[8] = normal[3];
        any = true;
    }
    return any;
}

static void change_and_tell(const sumi_augment *augment, const sumi_random *at, const int shape[3],
                            float *pixels, float *room, float numbers[SUMI_AUGMENT_NUMBERS])
{
    map from;
    if (sumi_random_uniform(at, OF_MIRROR) < .5f) {
        mirror(shape, false, pixels, room);
        numbers[0] = 1;
    }
    if (happens(at, UPSIDE_DOWN, augment->told)) {
        mirror(shape, true, pixels, room);
        numbers[1] = 1;
    }
    if (draw_map(augment, at, shape, &from, numbers))
        apply(&from, shape, pixels, room);
}

/* ---- All of it ------------------------------------------------------------------------------- */

static sumi_random address(const sumi_augment *augment, uint32_t step, uint64_t image)
{
    return (sumi_random){
        .seed = augment->seed, .stream = SUMI_STREAM_AUGMENT, .step = step, .image = image};
}

void sumi_augment_pick(const sumi_augment *augment, uint32_t step, uint64_t image, sumi_pick *out)
{
    const sumi_random at = address(augment, step, image);
    double ways = 2 * augment->crop + 1;
    out->mirrored = augment->flip && sumi_random_uniform(&at, OF_FLIP) < .5f;
    out->down = out->right = 0;
    if (augment->crop == 0)
        return;
    out->down = (int)((double)sumi_random_uniform(&at, OF_CROP_Y) * ways) - augment->crop;
    out->right = (int)((double)sumi_random_uniform(&at, OF_CROP_X) * ways) - augment->crop;
}

void sumi_augment_image(const sumi_augment *augment, uint32_t step, uint64_t image,
                        const int shape[3], float *pixels, float *room, float *numbers)
{
    const sumi_random at = address(augment, step, image);
    float told[SUMI_AUGMENT_NUMBERS] = {0};
    sumi_pick pick;
    sumi_augment_pick(augment, step, image, &pick);
    if (pick.mirrored)
        mirror(shape, false, pixels, room);
    if (pick.down != 0 || pick.right != 0)
        move(shape, pick.down, pick.right, pixels, room);
    if (augment->told > 0)
        change_and_tell(augment, &at, shape, pixels, room, told);
    if (numbers)
        memcpy(numbers, told, sizeof told);
}
