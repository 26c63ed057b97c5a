/* Gradients of what is neither a product of matrices nor a norm. Nothing is added atomically: an
 * item gathers what belongs to its number, in one order. */

/* The gradient at a form's norm, or at the value where it has none: of number i, which is channel c
 * of image n and r in the value. */
float term_at(__global const float *a, const sumi_cl_term_args *t, size_t i, uint n, uint c,
              float r)
{
    return t->act == 0 ? a[t->at + i] : a[t->at + i] * slope_at(a, t, n, c, r);
}

/* A value's gradient: the sum of its terms. */
__kernel void sumi_terms(__global const float *a, __global float *out, sumi_cl_terms_args g)
{
    size_t i = get_global_id(0);
    if (i >= g.count)
        return;
    uint c = (uint)(i % (uint)g.c), n = (uint)(i / (uint)g.c / (uint)g.pixels);
    float r = g.x != SUMI_CL_NOWHERE ? a[g.x + i] : 0.0f;
    float sum = g.adds ? a[g.out + i] : 0.0f;
    for (int k = 0; k < g.terms; k++) {
        const sumi_cl_term_args *t = &g.term[k];
        size_t row = (size_t)n * (uint)t->row + c;
        float d = term_at(a, t, i, n, c, r);
        if (t->ga != SUMI_CL_NOWHERE)
            d *= a[t->ga + row];
        if (t->gb != SUMI_CL_NOWHERE)
            d += fma(a[t->gb + row], r, a[t->gk + row]);
        sum += d;
    }
    out[g.out + i] = sum;
}

/* The gradient of a shift, of an image's pixels or of what the store added up of them: an item for
 * each channel of an image. */
__kernel void sumi_post(__global const float *a, __global float *out, sumi_cl_post_args g)
{
    uint c = get_global_id(0), n = get_global_id(1);
    float sum = 0.0f;
    if (c >= (uint)g.c)
        return;
    uint count = count_of_sums(g.segments, g.bands, g.pixels, n);
    for (uint k = 0; k < count; k++)
        sum += a[g.dy + place_of_sum(g.segments, g.bands, g.pixels, n, k) * (uint)g.c + c];
    out[g.out + (size_t)n * (uint)g.row + c] += sum;
}

__kernel void sumi_reduce(__global const float *a, __global float *out, sumi_cl_reduce_args g)
{
    size_t i = get_global_id(0);
    float sum = 0.0f;
    if (i >= g.count)
        return;
    for (uint piece = 0; piece < (uint)g.pieces; piece++)
        sum += a[g.from + (size_t)piece * g.count + i];
    out[g.out + i] = sum;
}

__kernel void sumi_columns(__global const float *a, __global float *out, sumi_cl_columns_args g)
{
    uint c = get_global_id(0), piece = get_global_id(1);
    if (c >= (uint)g.c)
        return;
    uint begin = (uint)((ulong)g.rows * piece / (uint)g.pieces);
    uint end = (uint)((ulong)g.rows * (piece + 1) / (uint)g.pieces);
    float sum = 0.0f;
    for (uint i = begin; i < end; i++)
        sum += a[g.x + (size_t)i * (uint)g.c + c];
    out[g.out + (size_t)piece * (uint)g.c + c] = sum;
}

/* In the order of the images, so that rows of several add up in one way. */
__kernel void sumi_embedding_back(__global const float *a, __global float *out,
                                  sumi_cl_embedding_back_args g)
{
    uint k = get_global_id(0), row = get_global_id(1);
    float sum = 0.0f;
    if (k >= (uint)g.dim)
        return;
    for (uint n = 0; n < (uint)g.n; n++) {
        int label = as_int(a[g.labels + n]);
        uint of = (uint)(label < 0 || label >= g.rows ? g.rows - 1 : label);
        if (of == row)
            sum += a[g.dy + (size_t)n * (uint)g.dim + k];
    }
    out[g.out + (size_t)row * (uint)g.dim + k] = sum;
}

/* ---- Sizes ----------------------------------------------------------------------------------- */

/* The output's gradient, of the dense [n][to_h][to_w][c] at dy. */
float back(__global const float *a, const sumi_cl_resample_args *g, uint n, int y, int x, uint c)
{
    size_t p = ((size_t)n * (uint)g->to_h + (uint)y) * (uint)g->to_w + (uint)x;
    return a[g->dy + p * (uint)g->source.c + c];
}

/* Of the pixels that went into a maximum, the first that has it. */
float max_back(__global const float *a, const sumi_cl_resample_args *g, uint n, int y, int x,
               uint c)
{
    int y0 = y & ~1, x0 = x & ~1, at = 0;
    float best = pixel(a, g, n, y0, x0, c);
    for (int q = 1; q < 4; q++) {
        float r = pixel(a, g, n, y0 + q / 2, x0 + q % 2, c);
        if (r > best) {
            best = r;
            at = q;
        }
    }
    return at == (y & 1) * 2 + (x & 1) ? back(a, g, n, y / 2, x / 2, c) : 0.0f;
}

/* The rows (or columns) of the result that row i of the source has a share in. */
int first_of(int i, int from, int to)
{
    return i == 0 || from == 1 ? 0 : ((i - 1) * (to - 1) + from - 2) / (from - 1);
}

int last_of(int i, int from, int to)
{
    int last = from == 1 ? to - 1 : ((i + 1) * (to - 1) + from - 2) / (from - 1) - 1;
    return last < to - 1 ? last : to - 1;
}

/* The share of row i in row k of the result. */
float share_of(int i, int k, int from, int to)
{
    int fall = k * (from - 1), first = fall / (to - 1);
    float rest = (float)(fall - first * (to - 1)) / (float)(to - 1);
    return first == i ? 1.0f - rest : first + 1 == i ? rest : 0.0f;
}

float bilinear_back(__global const float *a, const sumi_cl_resample_args *g, uint n, int y, int x,
                    uint c)
{
    float sum = 0.0f;
    int last_y = last_of(y, g->h, g->to_h), last_x = last_of(x, g->w, g->to_w);
    for (int i = first_of(y, g->h, g->to_h); i <= last_y; i++) {
        float row = 0.0f;
        for (int k = first_of(x, g->w, g->to_w); k <= last_x; k++)
            row = fma(share_of(x, k, g->w, g->to_w), back(a, g, n, i, k, c), row);
        sum = fma(share_of(y, i, g->h, g->to_h), row, sum);
    }
    return sum;
}

/* An item for each number of the source. */
__kernel void sumi_resample_back(__global const float *a, __global float *out,
                                 sumi_cl_resample_args g)
{
    size_t i = get_global_id(0);
    if (i >= g.count)
        return;
    uint c = (uint)(i % (uint)g.source.c);
    size_t p = i / (uint)g.source.c;
    int x = (int)(p % (uint)g.w), y = (int)(p / (uint)g.w % (uint)g.h);
    uint n = (uint)(p / ((size_t)g.w * (uint)g.h));
    float d = 0.0f;
    if (g.how == SUMI_CL_MAX) {
        d = max_back(a, &g, n, y, x, c);
    } else if (g.how == SUMI_CL_AVERAGE) {
        d = 0.25f * back(a, &g, n, y / 2, x / 2, c);
    } else if (g.how == SUMI_CL_FIRST) {
        d = y % 2 == 0 && x % 2 == 0 ? back(a, &g, n, y / 2, x / 2, c) : 0.0f;
    } else if (g.how == SUMI_CL_NEAREST) {
        d = (back(a, &g, n, 2 * y, 2 * x, c) + back(a, &g, n, 2 * y, 2 * x + 1, c)) +
            (back(a, &g, n, 2 * y + 1, 2 * x, c) + back(a, &g, n, 2 * y + 1, 2 * x + 1, c));
    } else if (g.how == SUMI_CL_BILINEAR) {
        d = bilinear_back(a, &g, n, y, x, c);
    } else { /* what was cut off has none */
        int fy = y - (g.h - g.to_h) / 2, fx = x - (g.w - g.to_w) / 2;
        if (fy >= 0 && fy < g.to_h && fx >= 0 && fx < g.to_w)
            d = back(a, &g, n, fy, fx, c);
    }
    out[g.out + i] = d;
}

/* Of the mean of an image's pixels. */
__kernel void sumi_mean_back(__global const float *a, __global float *out, sumi_cl_mean_args g)
{
    uint c = get_global_id(0), p = get_global_id(1), n = get_global_id(2);
    uint pixels = (uint)(g.h * g.w), all = (uint)g.source.c;
    if (c < all)
        out[g.out + ((size_t)n * pixels + p) * all + c] =
            a[g.dy + (size_t)n * all + c] / (float)pixels;
}

/* ---- Attention ------------------------------------------------------------------------------- */

/* The product of some channels of two pixels. */
float product_of(__global const float *a, const sumi_cl_view *v, uint n, size_t p, uint c, size_t q,
                 uint e, int d)
{
    float sum = 0.0f;
    for (uint k = 0; k < (uint)d; k++)
        sum = fma(view_at(a, v, n, p, c + k), view_at(a, v, n, q, e + k), sum);
    return sum;
}

/* The output's gradient of a query times the values of a key. */
float value_product(__global const float *a, const sumi_cl_attention_args *g, uint n, size_t query,
                    size_t key, uint first)
{
    float sum = 0.0f;
    uint c = (uint)g->source.c / 3;
    for (uint k = 0; k < (uint)g->d; k++)
        sum = fma(a[g->dy + query * c + first + k],
                  view_at(a, &g->source, n, key, 2 * c + first + k), sum);
    return sum;
}

/* A group for each query of a head of an image: its gradient, and what keys need to know of it: the
 * largest score, 1 over the sum of its exponentials, and the mean of what flows back into them. */
__kernel void sumi_attention_queries(__global const float *a, __global float *out,
                                     sumi_cl_attention_args g, __local float *scores)
{
    __local float room[SUMI_CL_LANE];
    uint item = get_local_id(0), query = get_group_id(0), head = get_group_id(1);
    uint n = get_group_id(2), c = (uint)g.source.c / 3, first = head * (uint)g.d;
    size_t p0 = (size_t)n * (uint)g.pixels;
    float most = -INFINITY, sum = 0.0f, flow = 0.0f;
    for (uint key = item; key < (uint)g.pixels; key += SUMI_CL_LANE) {
        scores[key] =
            product_of(a, &g.source, n, p0 + query, first, p0 + key, c + first, g.d) * g.factor;
        most = fmax(most, scores[key]);
    }
    most = group_max(room, item, SUMI_CL_LANE, most);
    for (uint key = item; key < (uint)g.pixels; key += SUMI_CL_LANE) {
        scores[key] = exp(scores[key] - most);
        sum += scores[key];
    }
    float inverse = 1.0f / group_sum(room, item, SUMI_CL_LANE, sum);
    for (uint key = item; key < (uint)g.pixels; key += SUMI_CL_LANE)
        flow = fma(scores[key] * inverse, value_product(a, &g, n, p0 + query, p0 + key, first),
                   flow);
    flow = group_sum(room, item, SUMI_CL_LANE, flow);
    for (uint key = item; key < (uint)g.pixels; key += SUMI_CL_LANE)
        scores[key] *=
            inverse * (value_product(a, &g, n, p0 + query, p0 + key, first) - flow) * g.factor;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint k = item; k < (uint)g.d; k += SUMI_CL_LANE) {
        float d = 0.0f;
        for (uint key = 0; key < (uint)g.pixels; key++)
            d = fma(scores[key], view_at(a, &g.source, n, p0 + key, c + first + k), d);
        out[g.dx + (p0 + query) * 3 * c + first + k] = d;
    }
    if (item == 0) {
        size_t at = g.notes + ((size_t)(n * (uint)g.heads + head) * (uint)g.pixels + query) * 3;
        out[at] = most;
        out[at + 1] = inverse;
        out[at + 2] = flow;
    }
}

/* A group for each key: its gradient and that of its values; scores has two floats for each query. */
__kernel void sumi_attention_keys(__global const float *a, __global float *out,
                                  sumi_cl_attention_args g, __local float *scores)
{
    uint item = get_local_id(0), key = get_group_id(0), head = get_group_id(1);
    uint n = get_group_id(2), c = (uint)g.source.c / 3, first = head * (uint)g.d;
    uint pixels = (uint)g.pixels;
    size_t p0 = (size_t)n * pixels;
    for (uint query = item; query < pixels; query += SUMI_CL_LANE) {
        size_t at = g.notes + ((size_t)(n * (uint)g.heads + head) * pixels + query) * 3;
        float score =
            product_of(a, &g.source, n, p0 + query, first, p0 + key, c + first, g.d) * g.factor;
        float share = exp(score - a[at]) * a[at + 1];
        float flow = value_product(a, &g, n, p0 + query, p0 + key, first) - a[at + 2];
        scores[query] = share;
        scores[pixels + query] = share * flow * g.factor;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint k = item; k < (uint)g.d; k += SUMI_CL_LANE) {
        float dk = 0.0f, dv = 0.0f;
        for (uint query = 0; query < pixels; query++) {
            dk = fma(scores[pixels + query], view_at(a, &g.source, n, p0 + query, first + k), dk);
            dv = fma(scores[query], a[g.dy + (p0 + query) * c + first + k], dv);
        }
        size_t at = g.dx + (p0 + key) * 3 * c + first + k;
        out[at + c] = dk;
        out[at + 2 * c] = dv;
    }
}

/* ---- Losses ---------------------------------------------------------------------------------- */

/* A group for each image: the weighted sum of squared differences, and the gradient. */
__kernel void sumi_mse(__global const float *a, __global float *out, __global const float *target,
                       __global const float *weights, sumi_cl_loss_args g)
{
    __local float room[SUMI_CL_GROUP];
    uint item = get_local_id(0), n = get_group_id(1);
    size_t begin = (size_t)n * (uint)g.count;
    float weight = g.weight != SUMI_CL_NOWHERE ? weights[g.weight + n] : 1.0f, sum = 0.0f;
    for (uint i = item; i < (uint)g.count; i += SUMI_CL_GROUP) {
        float d = a[g.y + begin + i] - target[g.target + begin + i];
        out[g.dy + begin + i] = g.factor * weight * d;
        sum = fma(d, d, sum);
    }
    sum = group_sum(room, item, SUMI_CL_GROUP, sum);
    if (item == 0)
        out[g.sums + n] = weight * sum;
}

/* An item for each image. */
__kernel void sumi_cross_entropy(__global const float *a, __global float *out, sumi_cl_loss_args g)
{
    uint n = get_global_id(0);
    if (n >= (uint)g.n)
        return;
    int label = as_int(a[g.labels + n]);
    __global const float *y = a + g.y + (size_t)n * (uint)g.count;
    __global float *dy = out + g.dy + (size_t)n * (uint)g.count;
    float most = y[0], sum = 0.0f, mean = 0.0f;
    for (int k = 1; k < g.count; k++)
        most = y[k] <= most ? most : y[k];
    for (int k = 0; k < g.count; k++) {
        sum += exp(y[k] - most);
        mean += y[k] - most;
    }
    float each = g.smoothing / (float)g.count, at_label = 1.0f - g.smoothing;
    for (int k = 0; k < g.count; k++) {
        float q = each + (k == label ? at_label : 0.0f);
        dy[k] = label < 0 ? 0.0f : g.factor * (exp(y[k] - most) / sum - q);
    }
    out[g.sums + n] =
        label < 0 ? 0.0f : log(sum) - at_label * (y[label < 0 ? 0 : label] - most) - each * mean;
}

/* One group. */
__kernel void sumi_loss_sum(__global float *a, sumi_cl_loss_sum_args g)
{
    __local float room[SUMI_CL_GROUP];
    uint item = get_local_id(0);
    float sum = 0.0f;
    for (uint i = item; i < (uint)g.n; i += SUMI_CL_GROUP)
        sum += a[g.sums + i];
    sum = group_sum(room, item, SUMI_CL_GROUP, sum);
    if (item == 0)
        a[g.out] += sum / g.divisor;
}
