/*
 * What kernels share. Sums and products round one after the other, as they are written; where both
 * in one are meant it says fma.
 */
#pragma OPENCL FP_CONTRACT OFF

float activate(int act, float z)
{
    if (act == 1)
        return z > 0.0f ? z : 0.0f;
    if (act == 2)
        return z / (1.0f + exp(-z));
    return z;
}

/* A number of a view: of image n, of all images' pixel p, channel c. */
float view_at(__global const float *a, const sumi_cl_view *v, uint n, size_t p, uint c)
{
    float z = a[v->at + p * (uint)v->c + c];
    if (v->scale != SUMI_CL_NOWHERE) {
        size_t row = (size_t)n * (uint)v->row + c;
        z = fma(z, a[v->scale + row], a[v->shift + row]);
    }
    z = activate(v->act, z);
    if (v->post != SUMI_CL_NOWHERE)
        z += a[v->post + (size_t)n * (uint)v->post_row + c];
    return z;
}

/* Whether the step, or one before it, was bad: it must then change nothing. */
bool is_closed(__global const uint *words, uint ledger)
{
    return ledger != SUMI_CL_NOWHERE && words[ledger + SUMI_CL_LEDGER_BAD] != 0;
}

/* What gradients are multiplied by. */
float clip_factor(__global const uint *words, uint ledger)
{
    return ledger != SUMI_CL_NOWHERE ? as_float(words[ledger + SUMI_CL_LEDGER_FACTOR]) : 1.0f;
}

/* The sum of what a group's items have, the same in all of them, in one order; size is a power of
 * two, and room has as many floats. */
float group_sum(__local float *room, uint item, uint size, float x)
{
    barrier(CLK_LOCAL_MEM_FENCE);
    room[item] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint step = size / 2; step > 0; step /= 2) {
        if (item < step)
            room[item] += room[item + step];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return room[0];
}

float group_max(__local float *room, uint item, uint size, float x)
{
    barrier(CLK_LOCAL_MEM_FENCE);
    room[item] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint step = size / 2; step > 0; step /= 2) {
        if (item < step)
            room[item] = fmax(room[item], room[item + step]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return room[0];
}

/* ---- Backward -------------------------------------------------------------------------------- */

float slope_of(int act, float z)
{
    if (act == 1)
        return z > 0.0f ? 1.0f : 0.0f;
    if (act == 2) {
        float s = 1.0f / (1.0f + exp(-z));
        return s * (1.0f + z * (1.0f - s));
    }
    return 1.0f;
}

/* Of a form's activation, where channel c of image n is r in the value. */
float slope_at(__global const float *a, const sumi_cl_term_args *t, uint n, uint c, float r)
{
    float z = r;
    if (t->act != 0 && t->scale != SUMI_CL_NOWHERE) {
        size_t row = (size_t)n * (uint)t->row + c;
        z = fma(r, a[t->scale + row], a[t->shift + row]);
    }
    return slope_of(t->act, z);
}

/* How many sums there are of an image n, and where number k of them stands among all: of `bands`
 * of each image; or, with segments, of tiles of SUMI_CL_TILE of all images' pixels, each with a sum
 * for the images that it has pixels of. */
uint count_of_sums(int segments, int bands, int pixels, uint n)
{
    uint size = (uint)pixels;
    return segments > 0 ? ((n + 1) * size - 1) / SUMI_CL_TILE - n * size / SUMI_CL_TILE + 1
                        : (uint)bands;
}

size_t place_of_sum(int segments, int bands, int pixels, uint n, uint k)
{
    uint size = (uint)pixels, tile = n * size / SUMI_CL_TILE + k;
    return segments > 0 ? (size_t)tile * (uint)segments + n - tile * SUMI_CL_TILE / size
                        : (size_t)n * (uint)bands + k;
}
