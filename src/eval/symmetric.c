/*
 * Eigenvalues and square roots of symmetric matrices in double.
 *
 * Householder reflections give a tridiagonal matrix, the implicit QL algorithm with Wilkinson's
 * shift its eigenvalues (Golub and Van Loan, Matrix Computations, 8.3). Inner loops add multiples
 * of one row to another, so that a compiler can use vectors without changing a sum's order.
 */
#include <float.h>

#include "eval/internal.h"

void sumi_eval_add_multiple(double a, const double *restrict x, double *restrict y, int count)
{
    for (int i = 0; i < count; i++)
        y[i] += a * x[i];
}

/* row -= a * x + b * y */
static void take_both(double a, const double *restrict x, double b, const double *restrict y,
                      double *restrict row, int count)
{
    for (int i = 0; i < count; i++)
        row[i] -= a * x[i] + b * y[i];
}

/* to = the sum of four rows, each times its factor, and of what to was. */
static void add_four(const double factors[4], const double *restrict rows, size_t stride,
                     double *restrict to, int count)
{
    const double *x0 = rows, *x1 = rows + stride, *x2 = rows + 2 * stride, *x3 = rows + 3 * stride;
    double a0 = factors[0], a1 = factors[1], a2 = factors[2], a3 = factors[3];
    for (int i = 0; i < count; i++)
        to[i] += (a0 * x0[i] + a1 * x1[i]) + (a2 * x2[i] + a3 * x3[i]);
}

/* to += sum of factors[r] * row r, for rows that are `stride` apart. */
static void add_rows(const double *factors, const double *rows, size_t stride, int row_count,
                     double *to, int count)
{
    int r = 0;
    for (; r + 4 <= row_count; r += 4)
        add_four(factors + r, rows + (size_t)r * stride, stride, to, count);
    for (; r < row_count; r++)
        sumi_eval_add_multiple(factors[r], rows + (size_t)r * stride, to, count);
}

static double dot(const double *a, const double *b, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* The reflection I - beta v v' that takes x to a multiple of its first axis: v replaces x, the
 * multiple is *first. Scaled by the largest number, so that squares neither vanish nor overflow. */
static double reflect(double *x, int count, double *first)
{
    double largest = 0;
    for (int i = 0; i < count; i++)
        largest = fmax(largest, fabs(x[i]));
    double rest = 0;
    for (int i = 1; i < count && largest > 0; i++)
        rest += x[i] / largest * (x[i] / largest);
    if (rest == 0) {
        *first = x[0];
        return 0;
    }
    for (int i = 0; i < count; i++)
        x[i] /= largest;
    double norm = copysign(sqrt(x[0] * x[0] + rest), x[0]);
    x[0] += norm;
    *first = -norm * largest;
    return 2 / (x[0] * x[0] + rest);
}

/* a ([d][d], symmetric, overwritten) = Q T Q'; vectors ([d][d] or NULL) gets Q'. work: 2 * d. */
static void tridiagonal(double *a, int d, double *diagonal, double *beside, double *vectors,
                        double *work)
{
    double *v = work, *p = work + d;
    size_t n = (size_t)d;
    for (size_t i = 0; vectors && i < n; i++) {
        memset(vectors + i * n, 0, n * sizeof *vectors);
        vectors[i * n + i] = 1;
    }
    for (int k = 0; k < d - 1; k++) {
        int rest = d - k - 1;
        size_t from = (size_t)k + 1;
        for (int i = 0; i < rest; i++)
            v[i] = a[(from + (size_t)i) * n + (size_t)k];
        double beta = reflect(v, rest, &beside[k]);
        diagonal[k] = a[(size_t)k * n + (size_t)k];
        if (beta == 0)
            continue;
        memset(p, 0, (size_t)rest * sizeof *p);
        add_rows(v, a + from * n + from, n, rest, p, rest);
        for (int i = 0; i < rest; i++)
            p[i] *= beta;
        sumi_eval_add_multiple(-beta / 2 * dot(p, v, rest), v, p, rest);
        for (int i = 0; i < rest; i++)
            take_both(v[i], p, p[i], v, a + (from + (size_t)i) * n + from, rest);
        if (!vectors)
            continue;
        memset(p, 0, n * sizeof *p);
        for (int i = 0; i < rest; i++)
            sumi_eval_add_multiple(beta * v[i], vectors + (from + (size_t)i) * n, p, d);
        for (int i = 0; i < rest; i++)
            sumi_eval_add_multiple(-v[i], p, vectors + (from + (size_t)i) * n, d);
    }
    diagonal[d - 1] = a[n * n - 1];
    beside[d - 1] = 0;
}

/* x = c x - s y, y = s x + c y */
static void rotate(double c, double s, double *restrict x, double *restrict y, int count)
{
    for (int i = 0; i < count; i++) {
        double was = y[i];
        y[i] = s * x[i] + c * was;
        x[i] = c * x[i] - s * was;
    }
}

/* One sweep on rows low to high, which no small number beside the diagonal cuts. */
static void sweep(double *diagonal, double *beside, int low, int high, double *vectors, int d)
{
    double half = (diagonal[low + 1] - diagonal[low]) / (2 * beside[low]);
    double g =
        diagonal[high] - diagonal[low] + beside[low] / (half + copysign(hypot(half, 1), half));
    double s = 1, c = 1, moved = 0;
    for (int i = high - 1; i >= low; i--) {
        double f = s * beside[i], b = c * beside[i], r = hypot(f, g);
        beside[i + 1] = r;
        if (r == 0) { /* The matrix falls into two already. */
            diagonal[i + 1] -= moved;
            beside[high] = 0;
            return;
        }
        s = f / r;
        c = g / r;
        g = diagonal[i + 1] - moved;
        r = (diagonal[i] - g) * s + 2 * c * b;
        moved = s * r;
        diagonal[i + 1] = g + moved;
        g = c * r - b;
        if (vectors)
            rotate(c, s, vectors + (size_t)i * (size_t)d, vectors + (size_t)(i + 1) * (size_t)d, d);
    }
    diagonal[low] -= moved;
    beside[low] = g;
    beside[high] = 0;
}

static bool diagonalise(double *diagonal, double *beside, int d, double *vectors)
{
    enum { SWEEPS_MAX = 80 };
    double size = 0;
    for (int i = 0; i < d; i++)
        size = fmax(size, fabs(diagonal[i]) + fabs(beside[i]));
    for (int low = 0; low < d; low++) {
        for (int sweeps = 0;; sweeps++) {
            int high = low;
            while (high < d - 1 && !(fabs(beside[high]) <=
                                     DBL_EPSILON * (fabs(diagonal[high]) +
                                                    fabs(diagonal[high + 1]) + DBL_EPSILON * size)))
                high++;
            if (high == low)
                break;
            if (sweeps == SWEEPS_MAX)
                return false;
            sweep(diagonal, beside, low, high, vectors, d);
        }
    }
    return true;
}

static void sort_ascending(double *values, double *vectors, int d)
{
    for (int i = 0; i < d - 1; i++) {
        int least = i;
        for (int k = i + 1; k < d; k++)
            least = values[k] < values[least] ? k : least;
        if (least == i)
            continue;
        double kept = values[i];
        values[i] = values[least];
        values[least] = kept;
        double *a = vectors ? vectors + (size_t)i * (size_t)d : NULL,
               *b = vectors ? vectors + (size_t)least * (size_t)d : NULL;
        for (int k = 0; vectors && k < d; k++) {
            kept = a[k];
            a[k] = b[k];
            b[k] = kept;
        }
    }
}

bool sumi_symmetric_eigen(const double *matrix, int d, double *values, double *vectors,
                          double *scratch)
{
    size_t n = (size_t)d;
    double *a = scratch, *beside = scratch + n * n, *work = beside + n;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k <= i; k++)
            a[i * n + k] = a[k * n + i] = matrix[i * n + k];
    tridiagonal(a, d, values, beside, vectors, work);
    if (!diagonalise(values, beside, d, vectors))
        return false;
    for (int i = 0; i < d; i++)
        if (!isfinite(values[i]))
            return false;
    sort_ascending(values, vectors, d);
    return true;
}

double sumi_symmetric_noise(const double *values, int d)
{
    return fmax(fabs(values[0]), fabs(values[d - 1])) * DBL_EPSILON * d;
}

sumi_status sumi_symmetric_root(const double *matrix, int d, double *root, sumi_error *err)
{
    size_t n = (size_t)d, count = 2 * n * n + 4 * n;
    double *values = sumi_calloc(count, sizeof *values);
    if (!values)
        return sumi_fail_memory(err, "the square root of a matrix", count * sizeof *values);
    double *vectors = values + n, *scratch = vectors + n * n;
    bool found = sumi_symmetric_eigen(matrix, d, values, vectors, scratch);
    memset(root, 0, n * n * sizeof *root);
    double noise = found ? sumi_symmetric_noise(values, d) : 0;
    for (size_t k = 0; found && k < n; k++) {
        if (values[k] <= noise)
            continue;
        double *vector = vectors + k * n, size = sqrt(values[k]);
        for (size_t i = 0; i < n; i++)
            sumi_eval_add_multiple(size * vector[i], vector, root + i * n, d);
    }
    free(values);
    return found ? SUMI_OK
                 : sumi_fail(err, SUMI_EINVAL, "the eigenvalues of a covariance cannot be found");
}

void sumi_eval_multiply(const double *a, const double *b, int d, double *out)
{
    size_t n = (size_t)d;
    memset(out, 0, n * n * sizeof *out);
    for (size_t i = 0; i < n; i++)
        add_rows(a + i * n, b, n, d, out + i * n, d);
}

void sumi_eval_transform(const double *matrix, const double *x, int d, double *out)
{
    memset(out, 0, (size_t)d * sizeof *out);
    add_rows(x, matrix, (size_t)d, d, out, d);
}
