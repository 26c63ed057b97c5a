#!/usr/bin/env python3
"""Writes diffusers.h: what the schedulers of diffusers (0.42, PyPI) make of given noise.

    python3 tests/diffusion/make_diffusers.py > tests/diffusion/diffusers.h

The network is a fixed linear function, so that both sides have the same one:
    eps = W x_t + b t / 1000

Conventions that differ, and how they are met:
  - diffusers counts t from 0, sumi from 1: the network is told t + 1.
  - Euler, Heun, LMS and their like keep x / alpha there; scale_model_input gives the network x_t,
    and the result is that of sigma = 0, where both are the same. Where a run is compared before its
    end, x is multiplied by alpha again.
  - Levels: "trailing" spacing where a scheduler has it; the test hands the same t to sumi as a list.
  - IPNDMScheduler has its own schedule and predicts v: it is given sumi's sigmas as trained_betas,
    and v = (eps - sigma x) / alpha.
  - DDPM with fixed_large adds noise in a last step of more than one t, DEIS has no last step to
    sigma = 0 that is of first order: they are compared before it.
  - The SDE solvers and DDIM with eta are given their noise; EulerAncestral draws it, so what it
    draws is replaced.
"""
import math

import diffusers
import torch
from diffusers.schedulers import scheduling_euler_ancestral_discrete as ancestral

N, SIZE = 10, 4
BETAS = dict(beta_start=0.001, beta_end=0.01, beta_schedule="linear", num_train_timesteps=1000)
W = torch.tensor([[0.6, 0.1, 0.0, -0.05], [0.0, 0.5, 0.1, 0.0], [0.05, 0.0, 0.7, 0.1], [0.0, -0.1, 0.0, 0.4]])
B = torch.tensor([0.1, -0.2, 0.3, 0.05])
torch.manual_seed(5)
NOISE = torch.randn(N + 1, 1, 1, SIZE)


def eps_of(x, t):
    return x @ W.T + B * t / 1000


def array(values, end=""):
    return "{" + ", ".join(f"{float(v):.9g}{end}" for v in torch.as_tensor(values).flatten()) + "}"


CASES = []


def case(name, solver, result, times, eta=-1, last=True, objective="eps", schedule="linear", **more):
    fields = [f'"{name}"', f'"{solver}"', f'"{objective}"', f'"{schedule}"', f"{eta:g}",
              "true" if last else "false", str(len(times)), array(times), array(result)]
    fields += [f"{more.get('threshold', 0):g}", "true" if more.get("inverse") else "false"]
    CASES.append("    {" + ", ".join(fields) + "},")


def run(scheduler, given="none", stop=0, network=eps_of, start=None, **step):
    """x after all steps but the last `stop`, and the t of the evaluations, counted from 1."""
    scheduler.set_timesteps(N)
    x = NOISE[0].clone() if start is None else start
    if hasattr(scheduler, "init_noise_sigma"):
        x = x * scheduler.init_noise_sigma
    scale = math.sqrt
    # k-diffusion's schedulers begin with noise of sigma (or its root with 1), sumi with x_T ~ N(0, 1).
    if hasattr(scheduler, "sigmas") and scheduler.init_noise_sigma != 1:
        sigma = float(scheduler.sigmas[0])
        x = NOISE[0] * scale(sigma**2 + 1)
    times = []
    steps = list(scheduler.timesteps)
    for k, t in enumerate(steps[: len(steps) - stop]):
        seen = scheduler.scale_model_input(x, t)
        extra = dict(step)
        if given == "argument":
            extra["variance_noise"] = NOISE[k + 1]
        x = scheduler.step(network(seen, float(t) + 1), t, x, **extra).prev_sample
        if float(t) + 1 not in times:
            times.append(float(t) + 1)
    return x, times


trailing = dict(timestep_spacing="trailing")
x, times = run(diffusers.DDIMScheduler(**BETAS, **trailing, clip_sample=False))
case("DDIM", "ddim", x, times, 0)
case("DDIM", "euler", x, times)
x, times = run(diffusers.DDIMScheduler(**BETAS, **trailing, clip_sample=False), "argument", eta=0.5)
case("DDIM, eta 0.5", "ddim", x, times, 0.5)
x, times = run(diffusers.DDIMScheduler(**BETAS, **trailing, clip_sample=False, thresholding=True,
                                       dynamic_thresholding_ratio=0.7, sample_max_value=100),
               use_clipped_model_output=True)
case("DDIM, thresholding", "ddim", x, times, 0, threshold=0.7)
inverse = diffusers.DDIMInverseScheduler(**BETAS, **trailing, clip_sample=False)
x, times = run(inverse)
case("DDIMInverse", "ddim-inverse", x, list(reversed(times)), inverse=True)


def ddpm(variance, stop):
    """Its step draws noise by itself; what it draws is replaced."""
    import diffusers.schedulers.scheduling_ddpm as module
    drawn = iter(NOISE[1:])
    module.randn_tensor = lambda *a, **k: next(drawn)
    scheduler = diffusers.DDPMScheduler(**BETAS, **trailing, clip_sample=False, variance_type=variance)
    return run(scheduler, stop=stop)


x, times = ddpm("fixed_small", 0)
case("DDPM", "ddpm", x, times)
x, _ = ddpm("fixed_large", 1)
case("DDPM, fixed_large", "ddpm-large", x, times, last=False)
x, times = run(diffusers.EulerDiscreteScheduler(**BETAS, **trailing))
case("EulerDiscrete", "euler", x, times)
drawn = iter(NOISE[1:])
ancestral.randn_tensor = lambda *a, **k: next(drawn)
x, times = run(diffusers.EulerAncestralDiscreteScheduler(**BETAS, **trailing))
case("EulerAncestralDiscrete", "euler-a", x, times)
x, times = run(diffusers.HeunDiscreteScheduler(**BETAS, **trailing))
case("HeunDiscrete", "heun", x, times)
x, times = run(diffusers.LMSDiscreteScheduler(**BETAS, **trailing))
case("LMSDiscrete", "lms", x, times)
multistep = dict(final_sigmas_type="zero", **BETAS, **trailing)
x, times = run(diffusers.DPMSolverMultistepScheduler(**multistep))
case("DPMSolverMultistep", "dpmpp-2m", x, times)
x, times = run(diffusers.DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", **multistep), "argument")
case("DPMSolverMultistep, sde", "dpmpp-2m-sde", x, times)
x, times = run(diffusers.UniPCMultistepScheduler(solver_order=3, **multistep))
case("UniPCMultistep", "unipc", x, times)
deis = diffusers.DEISMultistepScheduler(solver_order=3, lower_order_final=False, **BETAS, **trailing)
x, _ = run(deis, stop=1)
case("DEISMultistep", "deis", x, times, last=False)

sigmas = [float((1 - diffusers.DDPMScheduler(**BETAS).alphas_cumprod[int(t) - 1]) ** 0.5) for t in times]
ipndm = diffusers.IPNDMScheduler(trained_betas=torch.tensor(sigmas + [0.0]))
ipndm.set_timesteps(N)
x = NOISE[0].clone()
for t, sigma, mark in zip(times, sigmas, ipndm.timesteps):
    alpha = math.sqrt(1 - sigma**2)
    v = (eps_of(x, t) - sigma * x) / alpha
    x = ipndm.step(v, mark, x).prev_sample
case("IPNDM", "ipndm", x, times)

levels = [1 - k / N for k in range(N)]
flow = diffusers.FlowMatchEulerDiscreteScheduler()
flow.set_timesteps(sigmas=levels)
x = NOISE[0].clone()
for t in flow.timesteps:
    x = flow.step(eps_of(x, float(t)), t, x).prev_sample
case("FlowMatchEulerDiscrete", "flow-euler", x, [1000 * v for v in levels], objective="flow", schedule="flow")

print("/* Made by make_diffusers.py with diffusers; do not edit. */")
print("#ifndef SUMI_TEST_DIFFUSION_DIFFUSERS_H\n#define SUMI_TEST_DIFFUSION_DIFFUSERS_H\n")
print(f"enum {{ DIFFUSERS_SIZE = {SIZE}, DIFFUSERS_STEPS = {N} }};\n")
print("/* x_T, then the noise of each step. */")
print("static const float diffusers_noise[DIFFUSERS_STEPS + 1][DIFFUSERS_SIZE] = {")
print(",\n".join("    " + array(row, "f") for row in NOISE) + "};\n")
print(f"static const double diffusers_bias[DIFFUSERS_SIZE] = {array(B)};")
print("static const double diffusers_weights[DIFFUSERS_SIZE][DIFFUSERS_SIZE] = {")
print(",\n".join("    " + array(row) for row in W) + "};\n")
print("/* last: compared at the end, else before the last step. */")
print("static const struct {\n    const char *name, *solver, *objective, *schedule;\n    float eta;\n    bool last;")
print("    int count;\n    double times[DIFFUSERS_STEPS], result[DIFFUSERS_SIZE], threshold;\n    bool inverse;")
print("} diffusers_cases[] = {")
print("\n".join(CASES))
print("};\n\n#endif")
