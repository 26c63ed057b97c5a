/*
 * Solvers that evaluate the network once in a step and look at the predictions before.
 *
 * Along lambda = ln(alpha / sigma), with h = lambda' - lambda:
 *   dpmpp-2m      Lu et al. 2022, "DPM-Solver++", algorithm 2
 *   dpmpp-2m-sde  its stochastic form, the noise being that of eta h (k-diffusion's "midpoint")
 *   dpmpp-3m-sde  one prediction more (k-diffusion)
 *   unipc         Zhao et al. 2023, "UniPC", with B(h) = e^h - 1, order 3
 * Along v = sigma / alpha, y = x / alpha, where y' = y + the integral of a polynomial through the
 * last predictions of eps:
 *   lms           the polynomial in v (k-diffusion)
 *   deis          in ln v (Zhang and Chen 2023, "Fast sampling of diffusion models with exponential
 *                 integrator")
 *   ipndm         in the number of the step (there, section 3.3: Adams and Bashforth's numbers)
 */
#include "diffusion/solvers.h"

#include <math.h>

#define ORDER_MAX SUMI_HISTORY_MAX

static bool to_image(const sumi_path *path, int i)
{
    return path->levels[i + 1].sigma2 == 0;
}

/* h of the step that ended at levels[i + 1 - back]. */
static double step_of(const sumi_path *path, int i)
{
    return sumi_level_lambda(&path->levels[i + 1]) - sumi_level_lambda(&path->levels[i]);
}

/* ---- DPM-Solver++ ---------------------------------------------------------------------------- */

/* x' = alpha' x_0, where the image is next. */
static void image_step(const sumi_path *path, int i, sumi_mix *mix)
{
    mix->x = 0;
    mix->h[0] = (float)sqrt(path->levels[i + 1].alpha2);
}

/* Both deterministic and with eta: x' = sigma' / sigma e^(-eta h) x + alpha' (1 - e^-(1 + eta) h)
 * times x_0 and what the earlier prediction adds to it. */
static void dpmpp_2m(const sumi_path *path, int i, double eta, sumi_mix *mix)
{
    const sumi_level *at = &path->levels[i], *to = &path->levels[i + 1];
    if (to_image(path, i)) {
        image_step(path, i, mix);
        return;
    }
    double h = step_of(path, i), gain = sqrt(to->alpha2) * -expm1(-(1 + eta) * h);
    double more = i > 0 ? gain * .5 * h / step_of(path, i - 1) : 0;
    mix->x = (float)(sqrt(to->sigma2 / at->sigma2) * exp(-eta * h));
    mix->h[0] = (float)(gain + more);
    mix->h[1] = (float)-more;
    mix->z = (float)sqrt(to->sigma2 * -expm1(-2 * eta * h));
}

void sumi_plan_dpmpp_2m(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    (void)stage;
    dpmpp_2m(path, i, 0, &plan->mix[0]);
}

void sumi_plan_dpmpp_2m_sde(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    (void)stage;
    dpmpp_2m(path, i, (double)path->eta, &plan->mix[0]);
}

void sumi_plan_dpmpp_3m_sde(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    (void)stage;
    const sumi_level *at = &path->levels[i], *to = &path->levels[i + 1];
    sumi_mix *mix = &plan->mix[0];
    if (to_image(path, i)) {
        image_step(path, i, mix);
        return;
    }
    double eta = (double)path->eta, h = step_of(path, i), all = (1 + eta) * h;
    double alpha = sqrt(to->alpha2), c[3] = {-expm1(-all), 0, 0};
    double phi_2 = expm1(-all) / all + 1, phi_3 = phi_2 / all - .5;
    if (i == 1) {
        double r = step_of(path, 0) / h;
        c[0] += phi_2 / r;
        c[1] -= phi_2 / r;
    } else if (i > 1) {
        /* The slope and half the second derivative of the parabola through the predictions, which
         * is integrated as it is (the published programs weigh the second half as much). */
        double r0 = step_of(path, i - 1) / h, r1 = step_of(path, i - 2) / h;
        const double near[3] = {1 / r0, -1 / r0, 0}, far[3] = {0, 1 / r1, -1 / r1};
        for (int k = 0; k < 3; k++) {
            double bend = (near[k] - far[k]) / (r0 + r1);
            c[k] += phi_2 * (near[k] + bend * r0) - 2 * phi_3 * bend;
        }
    }
    mix->x = (float)(sqrt(to->sigma2 / at->sigma2) * exp(-eta * h));
    for (int k = 0; k < 3; k++)
        mix->h[k] = (float)(alpha * c[k]);
    mix->z = (float)sqrt(to->sigma2 * -expm1(-2 * eta * h));
}

/* ---- UniPC ----------------------------------------------------------------------------------- */

/* Solves the n x n system a x = b in place, b becoming x. Small, and far from singular: its rows
 * are powers of different numbers. */
static void solve(double a[ORDER_MAX][ORDER_MAX], double *b, int n)
{
    for (int k = 0; k < n; k++) {
        int pivot = k;
        for (int r = k + 1; r < n; r++)
            pivot = fabs(a[r][k]) > fabs(a[pivot][k]) ? r : pivot;
        for (int c = 0; c < n; c++) {
            double swap = a[k][c];
            a[k][c] = a[pivot][c];
            a[pivot][c] = swap;
        }
        double swap = b[k];
        b[k] = b[pivot];
        b[pivot] = swap;
        for (int r = 0; r < n; r++) {
            double factor = r == k ? 0 : a[r][k] / a[k][k];
            for (int c = k; c < n; c++)
                a[r][c] -= factor * a[k][c];
            b[r] -= factor * b[k];
        }
    }
    for (int k = 0; k < n; k++)
        b[k] /= a[k][k];
}

/* The step from levels[i] with `order` predictions at places of levels[i], levels[i - 1], ..., and,
 * for the corrector, one at its end. c [order + 1] receives their weights, that of the end first
 * where there is one. */
static void unipc_weights(const sumi_path *path, int i, int order, bool corrects, double *c)
{
    double h = step_of(path, i), back = 0, place[ORDER_MAX], a[ORDER_MAX][ORDER_MAX];
    double rho[ORDER_MAX], grow = expm1(-h), phi = grow / -h - 1, factorial = 1;
    int unknowns = order - 1;
    for (int k = 0; k < unknowns; k++) {
        back += step_of(path, i - 1 - k);
        place[k] = -back / h;
    }
    if (corrects)
        place[unknowns++] = 1;
    for (int k = 0; k < unknowns; k++) {
        for (int j = 0; j < unknowns; j++)
            a[k][j] = k == 0 ? 1 : a[k - 1][j] * place[j];
        rho[k] = phi * factorial / grow;
        factorial *= k + 2;
        phi = phi / -h - 1 / factorial;
    }
    /* As in the paper, a system of one unknown is not solved: B(h) then is any such function. */
    if (unknowns == 1)
        rho[0] = .5;
    else
        solve(a, rho, unknowns);
    double *now = c + (corrects ? 1 : 0), alpha = sqrt(path->levels[i + 1].alpha2);
    now[0] = -alpha * grow;
    for (int k = 0; k < unknowns; k++) {
        double weight = -alpha * grow * rho[k] / place[k];
        bool end = corrects && k == unknowns - 1;
        *(end ? &c[0] : &now[1 + k]) = weight;
        now[0] -= weight;
    }
}

static void unipc_mix(const sumi_path *path, int i, int order, bool corrects, sumi_mix *mix)
{
    double c[ORDER_MAX + 1] = {0};
    unipc_weights(path, i, order, corrects, c);
    mix->x = (float)sqrt(path->levels[i + 1].sigma2 / path->levels[i].sigma2);
    for (int k = 0; k < SUMI_HISTORY_MAX; k++)
        mix->h[k] = (float)c[k];
    mix->from_kept = true;
}

/* Of the step from levels[i]: fewer predictions where there are no earlier ones, and towards the
 * image, whose lambda is infinite. */
static int unipc_order(const sumi_path *path, int i)
{
    int before = i + 1, left = to_image(path, path->steps - 1) ? path->steps - i : 3;
    int order = before < left ? before : left;
    return order < 3 ? order : 3;
}

void sumi_plan_unipc(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    (void)stage;
    sumi_mix *mix = &plan->mix[0];
    if (i > 0) {
        /* The step that led here once more, from where it began, now with the prediction at its
         * end: that x is kept. */
        unipc_mix(path, i - 1, unipc_order(path, i - 1), true, mix);
        mix->keep = true;
        mix = &plan->mix[plan->count++];
        *mix = (sumi_mix){.x = 1, .divisor = 1};
    }
    if (to_image(path, i))
        image_step(path, i, mix);
    else
        unipc_mix(path, i, unipc_order(path, i), false, mix);
}

/* ---- Polynomials of eps ---------------------------------------------------------------------- */

static double same(double v)
{
    return v;
}

static double ratio_at(const sumi_path *path, int i)
{
    return sumi_place_ratio(&path->levels[i]).v;
}

/* x' = alpha' (x / alpha + sum c_k eps_k) */
static void eps_mix(const sumi_path *path, int i, const double *c, int count, sumi_mix *mix)
{
    double alpha = sqrt(path->levels[i + 1].alpha2);
    mix->x = (float)(alpha / sqrt(path->levels[i].alpha2));
    for (int k = 0; k < count; k++)
        mix->h[k] = (float)(alpha * c[k]);
}

/* Integrals over v of the polynomials in scale(v) that are 1 at one of the last `order` levels and
 * 0 at the others: Gauss and Legendre's three points in each of equal pieces. */
static void polynomial_step(const sumi_path *path, int i, int order, double (*scale)(double),
                            sumi_mix *mix)
{
    enum { PIECES = 32 };
    static const double points[] = {-.774596669241483377, 0, .774596669241483377};
    static const double weights[] = {5. / 18, 4. / 9, 5. / 18};
    double begin = ratio_at(path, i), piece = (ratio_at(path, i + 1) - begin) / PIECES;
    double c[ORDER_MAX] = {0}, place[ORDER_MAX];
    order = order < i + 1 ? order : i + 1;
    for (int k = 0; k < order; k++)
        place[k] = scale(ratio_at(path, i - k));
    for (int p = 0; p < 3 * PIECES; p++) {
        double at = scale(begin + piece * (p / 3 + .5 + .5 * points[p % 3]));
        for (int k = 0; k < order; k++) {
            double value = weights[p % 3] * piece;
            for (int j = 0; j < order; j++)
                value *= j == k ? 1 : (at - place[j]) / (place[k] - place[j]);
            c[k] += value;
        }
    }
    eps_mix(path, i, c, order, mix);
}

void sumi_plan_lms(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    (void)stage;
    polynomial_step(path, i, 4, same, &plan->mix[0]);
}

/* ln v has no value at the image: the last step holds eps. */
void sumi_plan_deis(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    (void)stage;
    polynomial_step(path, i, to_image(path, i) ? 1 : 3, log, &plan->mix[0]);
}

void sumi_plan_ipndm(const sumi_path *path, int i, int stage, sumi_plan *plan)
{
    (void)stage;
    static const double rows[4][4] = {{1},
                                      {3. / 2, -1. / 2},
                                      {23. / 12, -16. / 12, 5. / 12},
                                      {55. / 24, -59. / 24, 37. / 24, -9. / 24}};
    double step = ratio_at(path, i + 1) - ratio_at(path, i), c[4];
    int order = i < 3 ? i + 1 : 4;
    for (int k = 0; k < order; k++)
        c[k] = step * rows[order - 1][k];
    eps_mix(path, i, c, order, &plan->mix[0]);
}
