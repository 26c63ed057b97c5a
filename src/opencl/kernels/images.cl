/* Operations on images that are no product of matrices. */

__kernel void sumi_add(__global const float *a, __global float *out, sumi_cl_add_args g)
{
    size_t i = get_global_id(0);
    if (i >= g.count)
        return;
    uint c = (uint)(i % (uint)g.source[0].c);
    size_t p = i / (uint)g.source[0].c;
    uint n = (uint)(p / (uint)g.pixels);
    float sum = view_at(a, &g.source[0], n, p, c);
    if (g.sources > 1)
        sum += view_at(a, &g.source[1], n, p, c);
    out[g.out + i] = sum;
}

float pixel(__global const float *a, const sumi_cl_resample_args *g, uint n, int y, int x, uint c)
{
    size_t p = ((size_t)n * (uint)g->h + (uint)y) * (uint)g->w + (uint)x;
    return view_at(a, &g->source, n, p, c);
}

/* Between pixels y and y + 1 it goes straight; both ends of the image are kept. */
float bilinear(__global const float *a, const sumi_cl_resample_args *g, uint n, int y, int x,
               uint c)
{
    int fall = y * (g->h - 1), right = x * (g->w - 1);
    int y0 = fall / (g->to_h - 1), x0 = right / (g->to_w - 1);
    float dy = (float)(fall - y0 * (g->to_h - 1)) / (float)(g->to_h - 1);
    float dx = (float)(right - x0 * (g->to_w - 1)) / (float)(g->to_w - 1);
    int y1 = y0 + 1 < g->h ? y0 + 1 : y0, x1 = x0 + 1 < g->w ? x0 + 1 : x0;
    float top = (1.0f - dx) * pixel(a, g, n, y0, x0, c) + dx * pixel(a, g, n, y0, x1, c);
    float low = (1.0f - dx) * pixel(a, g, n, y1, x0, c) + dx * pixel(a, g, n, y1, x1, c);
    return (1.0f - dy) * top + dy * low;
}

/* An item for each number of the result. */
__kernel void sumi_resample(__global const float *a, __global float *out, sumi_cl_resample_args g)
{
    size_t i = get_global_id(0);
    if (i >= g.count)
        return;
    uint c = (uint)(i % (uint)g.source.c);
    size_t p = i / (uint)g.source.c;
    int x = (int)(p % (uint)g.to_w), y = (int)(p / (uint)g.to_w % (uint)g.to_h);
    uint n = (uint)(p / ((size_t)g.to_w * (uint)g.to_h));
    float r;
    if (g.how == SUMI_CL_FIRST) {
        r = pixel(a, &g, n, 2 * y, 2 * x, c);
    } else if (g.how == SUMI_CL_NEAREST) {
        r = pixel(a, &g, n, y / 2, x / 2, c);
    } else if (g.how == SUMI_CL_BILINEAR) {
        r = bilinear(a, &g, n, y, x, c);
    } else if (g.how == SUMI_CL_REFRAME) {
        int fy = y - (g.to_h - g.h) / 2, fx = x - (g.to_w - g.w) / 2; /* edges are repeated */
        r = pixel(a, &g, n, clamp(fy, 0, g.h - 1), clamp(fx, 0, g.w - 1), c);
    } else {
        float r00 = pixel(a, &g, n, 2 * y, 2 * x, c), r01 = pixel(a, &g, n, 2 * y, 2 * x + 1, c);
        float r10 = pixel(a, &g, n, 2 * y + 1, 2 * x, c);
        float r11 = pixel(a, &g, n, 2 * y + 1, 2 * x + 1, c);
        r = g.how == SUMI_CL_MAX ? fmax(fmax(r00, r01), fmax(r10, r11))
                                 : 0.25f * ((r00 + r01) + (r10 + r11));
    }
    out[g.out + i] = r;
}

/* The mean of an image's pixels, rows first: an item for each channel. */
__kernel void sumi_mean(__global const float *a, __global float *out, sumi_cl_mean_args g)
{
    uint c = get_global_id(0), n = get_global_id(1);
    if (c >= (uint)g.source.c)
        return;
    float all = 0.0f;
    for (int y = 0; y < g.h; y++) {
        float sum = 0.0f;
        for (int x = 0; x < g.w; x++)
            sum += view_at(a, &g.source, n, ((size_t)n * (uint)g.h + (uint)y) * (uint)g.w + (uint)x,
                           c);
        all += sum;
    }
    out[g.out + (size_t)n * (uint)g.source.c + c] = all / (float)(g.h * g.w);
}

/* A group for each query of a head of an image; `scores` has a float for each key. */
__kernel void sumi_attention(__global const float *a, __global float *out,
                             sumi_cl_attention_args g, __local float *scores)
{
    __local float room[SUMI_CL_LANE];
    uint item = get_local_id(0), query = get_group_id(0), head = get_group_id(1);
    uint n = get_group_id(2), c = (uint)g.source.c / 3, first = head * (uint)g.d;
    size_t p0 = (size_t)n * (uint)g.pixels;
    float most = -INFINITY, sum = 0.0f;
    for (uint key = item; key < (uint)g.pixels; key += SUMI_CL_LANE) {
        float product = 0.0f;
        for (uint k = 0; k < (uint)g.d; k++)
            product = fma(view_at(a, &g.source, n, p0 + query, first + k),
                          view_at(a, &g.source, n, p0 + key, c + first + k), product);
        scores[key] = product * g.factor;
        most = fmax(most, scores[key]);
    }
    most = group_max(room, item, SUMI_CL_LANE, most);
    for (uint key = item; key < (uint)g.pixels; key += SUMI_CL_LANE) {
        scores[key] = exp(scores[key] - most);
        sum += scores[key];
    }
    sum = group_sum(room, item, SUMI_CL_LANE, sum);
    for (uint k = item; k < (uint)g.d; k += SUMI_CL_LANE) {
        float result = 0.0f;
        for (uint key = 0; key < (uint)g.pixels; key++)
            result = fma(scores[key], view_at(a, &g.source, n, p0 + key, 2 * c + first + k),
                         result);
        out[g.out + (p0 + query) * c + first + k] = result / sum;
    }
}
