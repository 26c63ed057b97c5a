#!/usr/bin/env python3
"""Writes muon.h: what the published Muon makes of two gradients, one after the other.

usage: make_muon.py muon.py > muon.h

muon.py is that of https://github.com/KellerJordan/Muon at commit 857d1ad. It rounds to bfloat16 before its
Newton-Schulz steps; here that is left out, so that the values are those of its formulas in float64. A
convolution's gradient is handed over as the matrix [out][in * taps] that it makes of it, so that the factor
max(1, rows / columns)^(1/2) is that matrix's, too. tests/cpu/test_orthogonal.c has the same gradients.
"""
import importlib.util
import sys

import numpy as np
import torch

SHAPES = {"conv": (12, 5 * 9), "linear": (40, 6), "square": (17, 17)}


def numbers(seed, count):
    """Numbers of 24 bits in [-1, 1) from a hash of their index."""
    with np.errstate(over="ignore"):
        x = np.arange(count, dtype=np.uint32) * np.uint32(747796405) + np.uint32(seed) * np.uint32(2891336453)
        for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39)):
            x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
        x ^= x >> np.uint32(15)
    return torch.from_numpy((x >> np.uint32(8)).astype(np.float64) / 2**23 - 1)


def text(name, tensor):
    values = [f"{x:.9g}" for x in tensor.flatten().tolist()]
    lines = [", ".join(values[i : i + 6]) for i in range(0, len(values), 6)]
    return f"static const double muon_{name}[] = {{\n    " + ",\n    ".join(lines) + "};"


def main():
    spec = importlib.util.spec_from_file_location("muon", sys.argv[1])
    muon = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(muon)
    torch.Tensor.bfloat16 = lambda tensor: tensor
    print("/* Made by make_muon.py with the published Muon. */")
    for i, (name, shape) in enumerate(SHAPES.items()):
        momentum = torch.zeros(shape, dtype=torch.float64)
        for step in range(2):
            gradient = numbers(10 * i + step, shape[0] * shape[1]).reshape(shape)
            update = muon.muon_update(gradient, momentum)
        print(text(name, update))


main()
