#!/usr/bin/env python3
"""Writes power.h: averages by a power of the step after Karras et al. 2024 (arXiv:2312.02696), in float64.

usage: make_power.py > power.h

Widths and exponents (the paper's sigma_rel and gamma) by its equation for them, whose root numpy finds, and
the factors of snapshots by its appendix's least squares, which numpy solves.
"""
import numpy as np

WIDTHS = (0.02, 0.05, 0.1, 0.15, 0.25)
STEPS = (250, 500, 750, 1000)  # after each, a snapshot of either average
KEPT = (0.05, 0.1)
WANTED = ((1000, 0.07), (1000, 0.15), (1000, 0.1), (900, 0.08))


def exponent_of(width):
    t = width**-2
    return np.roots([1, 7, 16 - t, 12 - t]).real.max()


def product(t_a, g_a, t_b, g_b):
    ratio = t_a / t_b
    power = np.where(t_a < t_b, g_b, -g_a)
    return (g_a + 1) * (g_b + 1) * ratio**power / ((g_a + g_b + 1) * np.maximum(t_a, t_b))


def factors(t, g, at, wanted):
    a = product(t[:, None], g[:, None], t[None, :], g[None, :])
    x = np.linalg.solve(a, product(t, g, at, wanted))
    return x / x.sum()


def text(name, values):
    return f"static const double {name}[] = {{" + ", ".join(f"{v:.15g}" for v in values) + "};"


t = np.repeat(np.float64(STEPS), len(KEPT))
g = np.tile([exponent_of(w) for w in KEPT], len(STEPS))
print("/* Made by make_power.py with numpy. */")
print(text("power_widths", WIDTHS))
print(text("power_exponents", [exponent_of(w) for w in WIDTHS]))
print(text("power_steps", t))
print(text("power_kept", np.tile(KEPT, len(STEPS))))
print(text("power_wanted_steps", [w[0] for w in WANTED]))
print(text("power_wanted_widths", [w[1] for w in WANTED]))
print(text("power_factors", np.concatenate([factors(t, g, at, exponent_of(w)) for at, w in WANTED])))
