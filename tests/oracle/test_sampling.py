"""1000 DDPM steps of the small trained network with PyTorch's own normal noise: sumi's x_t follows
PyTorch's."""

import os

import numpy as np
import torch

import sumi
from torch_seed import Diffuser, UNetWithTime

KEPT = [1000, 900, 700, 500, 300, 100, 30, 10, 3, 1]
weights = os.path.join(sumi.GOLDEN, "small.pth")
model = UNetWithTime(width=8)
model.load_state_dict(torch.load(weights, weights_only=True))
noise = torch.randn((1001, 3, 1, 16, 12), generator=torch.Generator().manual_seed(5))
want, want_kept = Diffuser().sample(model, noise, KEPT)

context = sumi.Context()
got, got_kept = context.sample(context.load(weights), noise.permute(0, 1, 3, 4, 2).numpy(), KEPT)
assert sorted(got_kept) == sorted(KEPT)
for t in KEPT:
    sumi.near(f"x_t at t = {t}", got_kept[t], want_kept[t].permute(0, 2, 3, 1).numpy(), 1e-3)
sumi.near("x_0", got, want.permute(0, 2, 3, 1).numpy(), 1e-3)
