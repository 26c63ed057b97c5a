/*
 * The elementwise work of sampling. Random numbers are those of src/base/random.c, operation for
 * operation.
 */
uint4 philox(uint k0, uint k1, uint4 c)
{
    for (int round = 0; round < 10; round++) {
        uint high0 = mul_hi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
        uint high1 = mul_hi(0xCD9E8D57u, c.z), low1 = 0xCD9E8D57u * c.z;
        c = (uint4)(high1 ^ c.y ^ k0, low1, high0 ^ c.w ^ k1, low0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

float log_of(float x)
{
    const uint half_root = 0x3F3504F3u;
    uint shifted = as_uint(x) - half_root;
    int e = as_int(shifted) >> 23;
    float f = as_float((shifted & 0x007FFFFFu) + half_root) - 1.0f;
    float p = 0.0697161183f;
    p = p * f - 0.114797339f;
    p = p * f + 0.116854198f;
    p = p * f - 0.124256872f;
    p = p * f + 0.142490581f;
    p = p * f - 0.166678026f;
    p = p * f + 0.200007156f;
    p = p * f - 0.24999997f;
    p = p * f + 0.333333313f;
    float f2 = f * f;
    float small = (p * f) * f2 + (float)e * -2.12194440e-4f;
    return ((small - 0.5f * f2) + f) + (float)e * 0.693359375f;
}

float2 turn_of(uint v)
{
    uint quadrant = (v + 0x20000000u) >> 30;
    float a = (float)as_int(v - (quadrant << 30)) * 1.46291812e-9f;
    float z = a * a;
    float s = a + a * (-2.78275344e-8f +
                       z * (-0.166666642f + z * (0.00833274797f + z * -0.000195878907f)));
    float c =
        1.0f - 0.5f * z + (z * z) * (0.0416666642f + z * (-0.00138883025f + z * 2.45479423e-05f));
    uint swap = 0u - (quadrant & 1u);
    uint sb = as_uint(s), cb = as_uint(c);
    uint cosine = (cb & ~swap) | (sb & swap);
    uint sine = (sb & ~swap) | (cb & swap);
    return (float2)(as_float(cosine ^ ((quadrant + 1u) & 2u) << 30),
                    as_float(sine ^ (quadrant & 2u) << 30));
}

float2 box_muller(uint first, uint second)
{
    float u = ((float)as_int(first >> 1) + 0.5f) * 0x1p-31f;
    float radius = sqrt(-2.0f * log_of(u));
    float2 turn = turn_of(second);
    return (float2)(radius * turn.x, radius * turn.y);
}

/* Four numbers of an image by an item: the normals of one block. */
__kernel void sumi_mix(__global float *out, __global float *copy, __global const float *given,
                       __global const float *s0, __global const float *s1,
                       __global const float *s2, __global const float *s3,
                       __global const float *s4, __global const float *table,
                       sumi_cl_mix_args g)
{
    uint block = get_global_id(0), image = get_global_id(1), first = 4 * block;
    size_t at = (size_t)image * g.count + first;
    float factor[SUMI_CL_MIX_SOURCES + 2], z[4] = {0, 0, 0, 0};
    if (first >= g.count)
        return;
    for (int k = 0; k < SUMI_CL_MIX_SOURCES + 2; k++)
        factor[k] = g.factors != SUMI_CL_NOWHERE
                        ? table[g.factors + image * (SUMI_CL_MIX_SOURCES + 2) + (uint)k]
                        : g.factor[k];
    if (g.noise == 1) {
        uint low = g.image_low + image, high = g.image_high + (low < image ? 1u : 0u);
        uint4 w = philox(g.key_low, g.key_high, (uint4)(block, low, g.step, g.stream | high << 8));
        float2 a = box_muller(w.x, w.y), b = box_muller(w.z, w.w);
        z[0] = a.x;
        z[1] = a.y;
        z[2] = b.x;
        z[3] = b.y;
    }
    for (uint i = 0; i < 4 && first + i < g.count; i++, at++) {
        float x = 0.0f;
        if (g.noise == 2)
            z[i] = given[g.given + at];
        if (g.sources > 0)
            x = factor[0] * s0[g.source[0] + at];
        if (g.sources > 1)
            x = x + factor[1] * s1[g.source[1] + at];
        if (g.sources > 2)
            x = x + factor[2] * s2[g.source[2] + at];
        if (g.sources > 3)
            x = x + factor[3] * s3[g.source[3] + at];
        if (g.sources > 4)
            x = x + factor[4] * s4[g.source[4] + at];
        if (g.sources > 0 && factor[SUMI_CL_MIX_SOURCES] != 1.0f)
            x = x / factor[SUMI_CL_MIX_SOURCES];
        float n = z[i] * factor[SUMI_CL_MIX_SOURCES + 1];
        if (g.noise)
            x = g.sources > 0 ? x + n : n;
        out[g.out + at] = x;
        if (g.copies)
            copy[g.copy + at] = x;
    }
}

/* Numbers of a batch's images from bytes of a data set's: an item for each of an image. */
__kernel void sumi_gather_images(__global const uchar *images, __global const int *picks,
                                 __global const float *values, __global float *out,
                                 sumi_cl_gather_images_args g)
{
    uint i = get_global_id(0), n = get_global_id(1);
    uint floats = (uint)(g.h * g.w * g.c);
    if (i >= floats)
        return;
    uint c = i % (uint)g.c, p = i / (uint)g.c;
    __global const int *pick = picks + g.picks + 4 * n;
    int y = clamp((int)(p / (uint)g.w) - pick[2], 0, g.h - 1);
    int x = clamp((int)(p % (uint)g.w) - pick[3], 0, g.w - 1);
    x = pick[1] ? g.w - 1 - x : x;
    size_t at = (size_t)(uint)pick[0] * floats + (size_t)(uint)((y * g.w + x) * g.c) + c;
    uint byte = images[4 * (size_t)g.images + at];
    out[g.out + (size_t)n * floats + i] = values[g.values + 256 * c + byte];
}

/* One where some number is not finite. */
__kernel void sumi_find_bad(__global const float *x, __global int *out, sumi_cl_flat_args g)
{
    bool bad = false;
    for (size_t i = get_global_id(0); i < g.count; i += get_global_size(0))
        bad |= !isfinite(x[g.x + i]);
    if (bad)
        atomic_or(&out[g.out], 1);
}

__kernel void sumi_blend(__global const float *mask, __global const float *other,
                         __global float *x, sumi_cl_blend_args g)
{
    size_t i = get_global_id(0);
    if (i < g.count) {
        float m = mask[g.mask + i];
        x[g.x + i] = m * x[g.x + i] + (1.0f - m) * other[g.other + i];
    }
}

/* A group for each image: the mean of the squares of errors, each in units of what it may be. */
__kernel void sumi_measure(__global const float *error, __global const float *a,
                           __global const float *b, __global float *out, sumi_cl_measure_args g)
{
    __local float room[SUMI_CL_GROUP];
    uint item = get_local_id(0), image = get_group_id(1);
    size_t begin = (size_t)image * g.count;
    float sum = 0.0f;
    for (uint i = item; i < g.count; i += SUMI_CL_GROUP) {
        float size = fmax(fabs(a[g.a + begin + i]), fabs(b[g.b + begin + i]));
        float off = error[g.error + begin + i] / (g.absolute + g.relative * size);
        sum += off * off;
    }
    sum = group_sum(room, item, SUMI_CL_GROUP, sum);
    if (item == 0)
        out[g.out + image] = sum / (float)g.count;
}

/* The distance number k in rising order, a byte at a time: bits of numbers that are not negative
 * have their order. Counts are whole numbers, whose sums know no order. */
float kth_distance(__global const float *x, uint count, float middle, uint k, __local uint *counts,
                   __local uint *found)
{
    uint item = get_local_id(0), prefix = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        uint above = shift == 24 ? 0u : 0xFFFFFFFFu << (shift + 8);
        counts[item] = 0;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint i = item; i < count; i += SUMI_CL_GROUP) {
            uint bits = as_uint(fabs(x[i] - middle));
            if ((bits & above) == prefix)
                atomic_inc(&counts[bits >> shift & 255]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item == 0) {
            uint byte = 0, left = k;
            while (byte < 255 && left >= counts[byte])
                left -= counts[byte++];
            found[0] = byte;
            found[1] = left;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        prefix |= found[0] << shift;
        k = found[1];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return as_float(prefix);
}

/* A group for each image: into the range, which is of the images where the network is told others. */
__kernel void sumi_limit(__global float *all, sumi_cl_limit_args g)
{
    __local uint counts[SUMI_CL_GROUP], found[2];
    uint item = get_local_id(0), image = get_group_id(1);
    __global float *x = all + g.x + (size_t)image * g.count;
    float middle = g.low + (g.high - g.low) / 2, half_range = (g.high - g.low) / 2, reach = 0.0f;
    for (uint i = item; g.channels > 0 && i < g.count; i += SUMI_CL_GROUP) {
        uint c = i % (uint)g.channels;
        x[i] = x[i] * (g.deviation[c] / g.to) + g.mean[c];
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    if (g.dynamic) {
        float at = kth_distance(x, g.count, middle, g.rank, counts, found), next = at;
        if (g.rest > 0.0f)
            next = kth_distance(x, g.count, middle, g.rank + 1, counts, found);
        reach = fma(g.rest, next - at, at);
    }
    for (uint i = item; i < g.count; i += SUMI_CL_GROUP) {
        float y = x[i];
        if (reach <= half_range) {
            y = y < g.low ? g.low : y > g.high ? g.high : y;
        } else {
            float off = y - middle;
            off = off < -reach ? -reach : off > reach ? reach : off;
            y = middle + off * (half_range / reach);
        }
        if (g.channels > 0) {
            uint c = i % (uint)g.channels;
            y = (y - g.mean[c]) * (g.to / g.deviation[c]);
        }
        x[i] = y;
    }
}
