/*
 * Normalisation: what is pending on its sources, and its gradients. With d the gradient at the
 * norm's output z = (1 + a) (gamma x^ + beta) + b, where x^ = (r - mean) s, and e = d (1 + a) gamma
 * that at x^, E1 and E2 the means of e and of e x^ over what the statistics were taken of:
 *     da = sum(d (gamma x^ + beta)),  db = sum(d),  dr = s (e - E1 - x^ E2) = ga d + gb r + gk.
 * Sums over an image of d and of d (r - mean) are all that is needed of d.
 */

/* Mean and sum of squared differences of each channel over SUMI_CL_BAND pixels of an image: an item
 * for each channel. */
__kernel void sumi_moments(__global float *a, sumi_cl_moments_args g)
{
    uint c = get_global_id(0), band = get_global_id(1), n = get_global_id(2);
    if (c >= (uint)g.c)
        return;
    uint first = band * SUMI_CL_BAND, left = (uint)g.pixels - first;
    uint count = left < SUMI_CL_BAND ? left : SUMI_CL_BAND;
    __global const float *x = a + g.x + ((size_t)n * (uint)g.pixels + first) * (uint)g.c + c;
    float sum = 0.0f, m2 = 0.0f;
    for (uint i = 0; i < count; i++)
        sum += x[(size_t)i * (uint)g.c];
    float mean = sum / (float)count;
    for (uint i = 0; i < count; i++) {
        float off = x[(size_t)i * (uint)g.c] - mean;
        m2 = fma(off, off, m2);
    }
    size_t at = g.out + ((size_t)n * (uint)g.bands + band) * 2 * (uint)g.c + c;
    a[at] = mean;
    a[at + (uint)g.c] = m2;
}

/* Pixels of a band. */
float band_count(const sumi_cl_rows_args *g, int band)
{
    int left = g->pixels - band * SUMI_CL_BAND;
    return (float)(left < SUMI_CL_BAND ? left : SUMI_CL_BAND);
}

/* Where the moments of the norm's channel k of an image begin, and the floats of a row of them. */
size_t moments_of(const sumi_cl_rows_args *g, uint n, int k, uint *c)
{
    int s = 0;
    while (s + 1 < g->sources && k >= g->channels[s])
        k -= g->channels[s++];
    *c = (uint)g->channels[s];
    return g->moments[s] + (size_t)n * (uint)g->bands * 2 * *c + (uint)k;
}

/* Scale and shift of channel k of an image, from its mean and 1 / sqrt(variance + eps). */
void set_row(__global float *a, __global const float *weights, const sumi_cl_rows_args *g, uint n,
             int k, float mean, float inverse)
{
    float gain = inverse, offset, factor = 1.0f, b = 0.0f;
    if (g->gamma != SUMI_CL_NOWHERE)
        gain *= weights[g->gamma + (uint)k];
    offset = -mean * gain;
    if (g->beta != SUMI_CL_NOWHERE)
        offset += weights[g->beta + (uint)k];
    if (g->vector != SUMI_CL_NOWHERE) {
        __global const float *vector = a + g->vector + 2 * (size_t)n * (uint)g->c;
        factor = 1.0f + vector[k];
        b = vector[g->c + k];
    }
    size_t at = (size_t)n * (uint)g->c + (uint)k;
    a[g->scale + at] = gain * factor;
    a[g->shift + at] = fma(offset, factor, b);
    if (g->means != SUMI_CL_NOWHERE) {
        a[g->means + at] = mean;
        a[g->inverses + at] = inverse;
    }
}

/* Group normalisation: an item for each group of an image. First the mean of all, then each band's
 * own spread and how far its mean is from that. */
__kernel void sumi_group_rows(__global float *a, __global const float *weights, sumi_cl_rows_args g)
{
    uint group = get_global_id(0), n = get_global_id(1);
    int each = g.c / g.groups, first = (int)group * each;
    float all = (float)g.pixels * (float)each, mean = 0.0f, m2 = 0.0f;
    if (group >= (uint)g.groups)
        return;
    for (int pass = 0; pass < 2; pass++)
        for (int k = first; k < first + each; k++) {
            uint c;
            size_t at = moments_of(&g, n, k, &c);
            for (int band = 0; band < g.bands; band++, at += 2 * c) {
                float count = band_count(&g, band), off = a[at] - mean;
                if (pass == 0)
                    mean = fma(count / all, a[at], mean);
                else
                    m2 += a[at + c] + count * off * off;
            }
        }
    float inverse = 1.0f / sqrt(m2 / all + 1e-5f);
    for (int k = first; k < first + each; k++)
        set_row(a, weights, &g, n, k, mean, inverse);
}

/* Of running statistics. */
__kernel void sumi_batch_rows(__global float *a, __global const float *weights,
                              __global const float *statistics, sumi_cl_rows_args g)
{
    uint k = get_global_id(0), n = get_global_id(1);
    if (k >= (uint)g.c)
        return;
    float inverse = 1.0f / sqrt(statistics[g.variance + k] + 1e-5f);
    set_row(a, weights, &g, n, (int)k, statistics[g.mean + k], inverse);
}

/* Statistics of a channel over all images: its items take its moments in turns, first for the mean
 * of all, then for each one's own spread and how far its mean is from that. */
__kernel __attribute__((reqd_work_group_size(SUMI_CL_STATS_CHANNELS, SUMI_CL_STATS_CHANNELS, 1)))
void sumi_batch_stats(__global float *a, sumi_cl_stats_args g)
{
    __local float room[SUMI_CL_STATS_CHANNELS][SUMI_CL_STATS_CHANNELS + 1];
    uint lane = get_local_id(0), item = get_local_id(1), c = get_global_id(0);
    uint pieces = (uint)(g.n * g.bands);
    float all = (float)g.n * (float)g.pixels, mean = 0.0f, total = 0.0f;
    for (int pass = 0; pass < 2; pass++) {
        float sum = 0.0f;
        for (uint i = item; i < pieces && c < (uint)g.c; i += SUMI_CL_STATS_CHANNELS) {
            size_t at = g.moments + (size_t)i * 2 * (uint)g.c + c;
            int left = g.pixels - (int)(i % (uint)g.bands) * SUMI_CL_BAND;
            float count = (float)(left < SUMI_CL_BAND ? left : SUMI_CL_BAND), off = a[at] - mean;
            sum += pass == 0 ? count / all * a[at] : a[at + (uint)g.c] + count * off * off;
        }
        room[item][lane] = sum;
        barrier(CLK_LOCAL_MEM_FENCE);
        total = 0.0f;
        for (int i = 0; i < SUMI_CL_STATS_CHANNELS; i++)
            total += room[i][lane];
        mean = pass == 0 ? total : mean;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (item > 0 || c >= (uint)g.c)
        return;
    float variance = total / all;
    a[g.mean + c] = mean;
    a[g.variance + c] = variance;
    a[g.inverse + c] = 1.0f / sqrt(variance + 1e-5f);
    if (!isfinite(mean) || !isfinite(variance))
        atomic_or((volatile __global int *)a + g.bad, 1);
}

/* As torch.nn.BatchNorm2d, with its momentum. */
__kernel void sumi_running(__global const float *a, __global float *statistics,
                           __global const uint *ledger, sumi_cl_running_args g)
{
    uint c = get_global_id(0);
    if (c >= (uint)g.c || is_closed(ledger, g.ledger))
        return;
    float mean = statistics[g.to_mean + c], variance = statistics[g.to_variance + c];
    statistics[g.to_mean + c] = mean + 0.1f * (a[g.mean + c] - mean);
    statistics[g.to_variance + c] = variance + 0.1f * (a[g.variance + c] * g.unbiased - variance);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* Of SUMI_CL_BAND pixels of an image: an item for each channel. */
__kernel void sumi_norm_sums(__global float *a, sumi_cl_sums_args g)
{
    uint c = get_global_id(0), band = get_global_id(1), n = get_global_id(2);
    if (c >= (uint)g.c)
        return;
    uint first = band * SUMI_CL_BAND, left = (uint)g.pixels - first;
    uint count = left < SUMI_CL_BAND ? left : SUMI_CL_BAND;
    size_t out = g.out + ((size_t)n * (uint)g.bands + band) * 2 * (uint)g.c + c;
    float mean = a[g.mean + (size_t)n * (uint)g.mean_row + c], sum = 0.0f, product = 0.0f;
    if (g.adds) {
        sum = a[out];
        product = a[out + (uint)g.c];
    }
    for (uint p = 0; p < count; p++) {
        size_t i = ((size_t)n * (uint)g.pixels + first + p) * (uint)g.c + c;
        float r = a[g.x + i];
        for (int k = 0; k < g.terms; k++) {
            float d = term_at(a, &g.term[k], i, n, c, r);
            sum += d;
            product = fma(d, r - mean, product);
        }
    }
    a[out] = sum;
    a[out + (uint)g.c] = product;
}

float gamma_of(__global const float *weights, const sumi_cl_norm_args *g, uint k)
{
    return g->gamma != SUMI_CL_NOWHERE ? weights[g->gamma + k] : 1.0f;
}

/* 1 + a, of an image. */
float factor_of(__global const float *a, const sumi_cl_norm_args *g, uint n, uint k)
{
    return g->vector != SUMI_CL_NOWHERE ? 1.0f + a[g->vector + 2 * (size_t)n * (uint)g->c + k]
                                        : 1.0f;
}

float inverse_of(__global const float *a, const sumi_cl_norm_args *g, uint n, uint k)
{
    return a[g->inverse + (size_t)n * (uint)g->stat_row + k];
}

/* An image's sums, and from them the modulation's gradient: an item for each channel. */
__kernel void sumi_norm_totals(__global float *a, __global const float *weights,
                               sumi_cl_norm_args g)
{
    uint k = get_global_id(0), n = get_global_id(1), c = k;
    int s = 0;
    if (k >= (uint)g.c)
        return;
    while (s + 1 < g.sources && c >= (uint)g.channels[s])
        c -= (uint)g.channels[s++];
    uint row = (uint)g.channels[s];
    float d = 0.0f, dr = 0.0f;
    uint count = count_of_sums(g.segments[s], g.bands, g.pixels, n);
    for (uint i = 0; i < count; i++) {
        size_t from = place_of_sum(g.segments[s], g.bands, g.pixels, n, i) * 2 * row;
        d += a[g.sums[s] + from + c];
        dr += a[g.sums[s] + from + row + c];
    }
    size_t at = g.totals + (size_t)n * 2 * (uint)g.c + k;
    a[at] = d;
    a[at + (uint)g.c] = dr;
    if (g.added == SUMI_CL_NOWHERE)
        return;
    float beta = g.beta != SUMI_CL_NOWHERE ? weights[g.beta + k] : 0.0f;
    size_t to = g.added + (size_t)n * 2 * (uint)g.c + k;
    a[to] += gamma_of(weights, &g, k) * inverse_of(a, &g, n, k) * dr + beta * d;
    a[to + (uint)g.c] += d;
}

/* The rows of channel k of an image, from the means of e and of e x^. */
void set_back(__global float *a, __global const float *weights, const sumi_cl_norm_args *g, uint n,
              uint k, float e1, float e2)
{
    float inverse = inverse_of(a, g, n, k), gb = -inverse * inverse * e2;
    float mean = a[g->mean + (size_t)n * (uint)g->stat_row + k];
    size_t at = (size_t)n * (uint)g->row + k;
    a[g->ga + at] = inverse * gamma_of(weights, g, k) * factor_of(a, g, n, k);
    a[g->gb + at] = gb;
    a[g->gk + at] = -inverse * e1 - gb * mean;
}

/* Adds what channel k of an image has to the sums of e and of e x^. */
float2 shares_of(__global const float *a, __global const float *weights, const sumi_cl_norm_args *g,
                 uint n, uint k)
{
    size_t at = g->totals + (size_t)n * 2 * (uint)g->c + k;
    float e = factor_of(a, g, n, k) * gamma_of(weights, g, k);
    return (float2)(e * a[at], e * inverse_of(a, g, n, k) * a[at + (uint)g->c]);
}

/* An item for each group of an image. */
__kernel void sumi_norm_group(__global float *a, __global const float *weights, sumi_cl_norm_args g)
{
    uint group = get_global_id(0), n = get_global_id(1);
    uint each = (uint)(g.c / g.groups), first = group * each;
    float2 sums = (float2)(0.0f, 0.0f);
    if (group >= (uint)g.groups)
        return;
    for (uint k = first; k < first + each; k++)
        sums += shares_of(a, weights, &g, n, k);
    sums /= (float)g.pixels * (float)each;
    for (uint k = first; k < first + each; k++)
        set_back(a, weights, &g, n, k, sums.x, sums.y);
}

/* Of statistics over all images: an item for each channel. */
__kernel void sumi_norm_batch(__global float *a, __global const float *weights, sumi_cl_norm_args g)
{
    uint k = get_global_id(0);
    float2 sums = (float2)(0.0f, 0.0f);
    if (k >= (uint)g.c)
        return;
    for (uint n = 0; n < (uint)g.n; n++)
        sums += shares_of(a, weights, &g, n, k);
    sums /= (float)g.n * (float)g.pixels;
    for (uint n = 0; n < (g.row > 0 ? (uint)g.n : 1); n++)
        set_back(a, weights, &g, n, k, sums.x, sums.y);
}

__kernel void sumi_norm_params(__global const float *a, __global float *gradients,
                               sumi_cl_norm_args g)
{
    uint k = get_global_id(0);
    float dgamma = 0.0f, dbeta = 0.0f;
    if (k >= (uint)g.c)
        return;
    for (uint n = 0; n < (uint)g.n; n++) {
        size_t at = g.totals + (size_t)n * 2 * (uint)g.c + k;
        float factor = factor_of(a, &g, n, k);
        dgamma += factor * inverse_of(a, &g, n, k) * a[at + (uint)g.c];
        dbeta += factor * a[at];
    }
    gradients[g.dgamma + k] = dgamma;
    gradients[g.dbeta + k] = dbeta;
}
