#!/usr/bin/env python3
"""Writes levels.h: levels, terms, weights and spacings from the papers' formulas (needs numpy).

    python3 tests/diffusion/make_levels.py > tests/diffusion/levels.h

Written apart from src/diffusion, in double precision, and by other routes where there are some: the
terms of an objective come from solving two equations, inverses of schedules from a search.
"""
import numpy as np

T = 1000
SIGMA_MIN, SIGMA_MAX, SIGMA_DATA, GAMMA = 0.002, 80.0, 0.5, 5.0
SCHEDULES = ["linear", "cosine", "sigmoid", "edm", "flow"]
OBJECTIVES = ["eps", "x0", "v", "flow", "edm"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def table(name):
    """alpha_bar of t = 1..T, with the float32 roundings of betas, alphas and products."""
    t = np.arange(T + 1) / T
    if name == "linear":
        beta = np.linspace(0.001, 0.01, T)
    else:
        if name == "cosine":
            bar = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
        else:  # the form of Chen 2023, "On the importance of noise scheduling", appendix
            bar = (sigmoid(3.0) - sigmoid(6 * t - 3)) / (sigmoid(3.0) - sigmoid(-3.0))
        beta = np.minimum(1 - bar[1:] / bar[:-1], 0.999)
    alpha = np.float32(1) - beta.astype(np.float32)
    return np.cumprod(alpha.astype(np.float64))


TABLES = {name: table(name) for name in SCHEDULES[:3]}


def level(name, t):
    if name in TABLES:
        low = int(np.floor(t))
        bar = TABLES[name]
        if low == t:
            a2 = bar[low - 1]
        else:
            logits = np.log(bar / (1 - bar))
            a2 = sigmoid(np.interp(t, np.arange(1, T + 1), logits))
        return np.sqrt(a2), np.sqrt(1 - a2)
    if name == "edm":
        return 1.0, np.exp(np.interp(t, [0, T], np.log([SIGMA_MIN, SIGMA_MAX])))
    return 1 - t / T, t / T


def target(objective, a, s):
    """F = x * x_0 + e * eps."""
    if objective == "edm":
        r = s / a if a else np.inf
        skip = SIGMA_DATA**2 / (r**2 + SIGMA_DATA**2)
        out = r * SIGMA_DATA / np.sqrt(r**2 + SIGMA_DATA**2) if a else SIGMA_DATA
        if not a:
            return 1 / SIGMA_DATA, 0.0
        return (1 - skip) / out, -skip * r / out
    return {"eps": (0.0, 1.0), "x0": (1.0, 0.0), "v": (-s, a), "flow": (-1.0, 1.0)}[objective]


def weight(weighting, objective, a, s):
    """Of the squared error of F: that of x_0, times the square of F's part in x_0."""
    if weighting == "uniform":
        return 1.0
    x, e = target(objective, a, s)
    # x_t = a x_0 + s eps and F = x x_0 + e eps, solved for x_0
    q = -s / (a * e - s * x)
    snr = (a / s) ** 2
    on_image = {"snr": snr, "min-snr": min(snr, GAMMA), "soft-min-snr": 1 / (1 / snr + 1 / GAMMA),
                "edm": ((s / a) ** 2 + SIGMA_DATA**2) / (s / a * SIGMA_DATA) ** 2 if a else
                1 / SIGMA_DATA**2}[weighting]
    return on_image * q**2


def ratio(name, t):
    a, s = level(name, t)
    return s / a if a else np.inf


def search(name, wanted, first):
    low, high = float(first), float(T)
    for _ in range(200):
        middle = (low + high) / 2
        if ratio(name, middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def spacing(kind, name, steps):
    first = 0 if name == "edm" else 1
    high = ratio(name, T) if name != "flow" else ratio(name, T - 1)
    low = ratio(name, first)
    i = np.arange(steps)
    if kind == "trailing":
        times = np.arange(T, 0, -T / steps)
    elif kind == "uniform":
        times = np.linspace(first, T, steps)[::-1]
    elif kind == "leading":
        times = (i * (T // steps))[::-1] + first
    elif kind == "quadratic":
        times = np.linspace(np.sqrt(T), np.sqrt(first), steps) ** 2
    else:
        if kind == "karras":
            ratios = (high ** (1 / 7) + i / (steps - 1) * (low ** (1 / 7) - high ** (1 / 7))) ** 7
        else:
            ratios = np.geomspace(high, low, steps)
        times = np.array([search(name, r, first) for r in ratios])
        times[0] = T
    if kind in ("trailing", "uniform", "leading") and name in TABLES:
        times = np.floor(times + 0.5)
    return times


def numbers(values):
    return ", ".join(f"{float(v):.12g}" for v in values)


print("/* Made by make_levels.py with numpy; do not edit. */")
print("#ifndef SUMI_TEST_DIFFUSION_LEVELS_H\n#define SUMI_TEST_DIFFUSION_LEVELS_H\n")
print("static const struct {\n    const char *schedule;\n    double time, alpha, sigma;")
print("} golden_levels[] = {")
for name in SCHEDULES:
    for t in [1, 2, 77, 250.5, 500, 731.25, 999, 1000]:
        a, s = level(name, t)
        print(f'    {{"{name}", {numbers([t, a, s])}}},')
print("};\n")
print("/* The target of F is x_0 * image + eps * noise. */")
print("static const struct {\n    const char *objective, *schedule;\n    double time, x_0, eps;")
print("    double weights[5]; /* uniform, snr, min-snr, soft-min-snr, edm */")
print("} golden_terms[] = {")
for objective in OBJECTIVES:
    for name, t in [("linear", 3), ("linear", 400), ("cosine", 900), ("edm", 50), ("edm", 990),
                    ("flow", 20), ("flow", 600)]:
        a, s = level(name, t)
        kinds = ["uniform", "snr", "min-snr", "soft-min-snr", "edm"]
        weights = numbers(weight(kind, objective, a, s) for kind in kinds)
        print(f'    {{"{objective}", "{name}", {numbers([t, *target(objective, a, s)])},')
        print(f"     {{{weights}}}}},")
print("};\n")
print("static const struct {\n    const char *spacing, *schedule;\n    int steps;")
print("    double times[10];\n} golden_spacings[] = {")
for kind in ["trailing", "uniform", "leading", "karras", "logsnr", "quadratic"]:
    for name in ["linear", "cosine", "edm", "flow"]:
        for steps in [3, 10]:
            print(f'    {{"{kind}", "{name}", {steps},')
            print(f"     {{{numbers(spacing(kind, name, steps))}}}}},")
print("};\n\n#endif")
