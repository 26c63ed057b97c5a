/* What the files of solvers share: a level in the coordinates in which they integrate. */
#ifndef SUMI_DIFFUSION_SOLVERS_H
#define SUMI_DIFFUSION_SOLVERS_H

#include "diffusion/diffusion.h"

/* A path from image to noise obeys, for y = x / scale,
 *     dy / dv = (y - x_0) / v,
 * both where scale is alpha and v = sigma / alpha (Karras et al. 2022, equation 3), then the right
 * side is eps, and where scale is alpha + sigma and v = sigma / (alpha + sigma), then it is
 * eps - x_0, the velocity of flow matching. A step is Euler's where x_0 is held. */
typedef struct {
    double scale, v;
} sumi_place;

sumi_place sumi_place_ratio(const sumi_level *level);
sumi_place sumi_place_flow(const sumi_level *level);
/* ln(alpha / sigma): what the exponential solvers go along. */
double sumi_level_lambda(const sumi_level *level);
/* The level of sigma / alpha. */
sumi_level sumi_level_of_ratio(const sumi_process *process, double ratio);

/* Rows of the solvers' table, one file each. */
void sumi_plan_dpmpp_2m(const sumi_path *path, int i, int stage, sumi_plan *plan);
void sumi_plan_dpmpp_2m_sde(const sumi_path *path, int i, int stage, sumi_plan *plan);
void sumi_plan_dpmpp_3m_sde(const sumi_path *path, int i, int stage, sumi_plan *plan);
void sumi_plan_unipc(const sumi_path *path, int i, int stage, sumi_plan *plan);
void sumi_plan_lms(const sumi_path *path, int i, int stage, sumi_plan *plan);
void sumi_plan_deis(const sumi_path *path, int i, int stage, sumi_plan *plan);
void sumi_plan_ipndm(const sumi_path *path, int i, int stage, sumi_plan *plan);
sumi_level sumi_heun_asks(const sumi_path *path, int i);
void sumi_plan_heun(const sumi_path *path, int i, int stage, sumi_plan *plan);
void sumi_plan_flow_heun(const sumi_path *path, int i, int stage, sumi_plan *plan);
void sumi_plan_flow_midpoint(const sumi_path *path, int i, int stage, sumi_plan *plan);
void sumi_plan_dpmpp_2s_a(const sumi_path *path, int i, int stage, sumi_plan *plan);

#endif
