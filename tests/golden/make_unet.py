"""Makes tests/golden/unet.safetensors, unet_attention.safetensors and unet_told.safetensors from
PyTorch in float64. See README.md there.

    python tests/golden/make_unet.py [NAME...]

Made with Python 3.11, torch 2.15.0, numpy 2.4.6, safetensors 0.8.0.
"""

import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

import formula
from make_golden import nhwc, sample_stride
from torch_unet import UNet

HERE = os.path.dirname(os.path.abspath(__file__))
# Sizes, each with the number of its batch; images in it; how many elements of a gradient are kept.
NETWORKS = {
    "unet": dict(
        config=dict(channels=3, width=24, multipliers=(1, 2, 3), blocks=(1, 2, 1), embedding=32,
                    classes=5),
        sizes={(16, 16): 200, (12, 20): 201}, n=3, limit=512),
    "unet_attention": dict(
        config=dict(channels=2, width=16, multipliers=(1, 2, 3), blocks=(1, 1, 2), embedding=16,
                    classes=0, attention=(2, 3), head_channels=16),
        sizes={(13, 18): 202, (7, 5): 203}, n=2, limit=128),
    "unet_told": dict(
        config=dict(channels=1, width=8, multipliers=(1, 2), blocks=(1, 1), embedding=16,
                    classes=3, augmentation=9),
        sizes={(10, 12): 204, (9, 8): 205}, n=3, limit=128),
}
TARGET_OFFSET, TOLD_OFFSET, STEPS, RATE = 50, 70, 4, 1e-3


def value(index, name, shape):
    """As formula.parameter, and norms of any name."""
    u = formula.uniform(index, int(np.prod(shape)))
    leaf, module = name.rsplit(".", 1)[1], name.rsplit(".", 1)[0]
    if leaf == "bias":
        v = 0.5 * u - (0.25 if "norm" in module else 0.125)
    elif "norm" in module:
        v = np.where(np.arange(u.size) % 8 == 3, -0.5 - u, 0.5 + u)
    elif module == "label":
        v = 2 * u - 1
    else:
        gain = 6.0 if shape[2:] == (3, 3) else 3.0 if len(shape) == 2 else 1.0
        gain = 9.0 if "qkv" in module else gain  # so that pixels look at some, not at all alike
        v = (2 * u - 1) * np.sqrt(gain / np.prod(shape[1:]))
    return torch.from_numpy(v.astype(np.float32).reshape(shape))


def batch_of(number, n, h, w, channels, classes, augmentation=0):
    """x, target, time, labels, and what training is told of each image, or None."""
    return (formula.noise(number, n, h, w, channels).double(),
            formula.noise(number + TARGET_OFFSET, n, h, w, channels).double(),
            formula.timesteps(number, n).double(),
            torch.arange(n) * 3 % (classes + 1) - 1,
            formula.noise(number + TOLD_OFFSET, n, 1, augmentation, 1).double().reshape(n, -1)
            if augmentation else None)


def steps(model, batch, out, key):
    """Losses of some steps of Adam, and what is predicted behind them."""
    x, target, time, labels, told = batch
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x, time, labels, told), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    out[f"losses.{key}"] = np.array(losses)
    out[f"after.{key}"] = nhwc(model(x, time, labels)).astype(np.float32)


def make(name, config, sizes, n, limit):
    model = UNet(**config).double()
    state = model.state_dict()
    values = {k: value(i, k, tuple(v.shape)) for i, (k, v) in enumerate(state.items())}
    model.load_state_dict(values)
    out = {}
    for (h, w), number in sizes.items():
        batch = batch_of(number, n, h, w, config["channels"], config["classes"],
                         config.get("augmentation", 0))
        model.zero_grad()
        y = model(batch[0], batch[2], batch[3])
        told = model(batch[0], batch[2], batch[3], batch[4])
        loss = F.mse_loss(told, batch[1])
        loss.backward()
        key = f"{h}x{w}"
        print(f"{name} {key}: standard deviation {y.std():.3f}, loss {loss.item():.6f}")
        out[f"predict.{key}"] = nhwc(y).astype(np.float32)
        out[f"loss.{key}"] = np.array([loss.item()])
        for k, p in model.named_parameters():
            g = p.grad.numpy().ravel()
            assert np.linalg.norm(g) > 1e-6, k
            out[f"norm.{key}.{k}"] = np.array([np.linalg.norm(g)])
            out[f"gradient.{key}.{k}"] = g[:: sample_stride(g.size, limit)].astype(np.float32)
    if config.get("attention") or config.get("augmentation"):
        steps(model, batch_of(*[(v, n, *k) for k, v in sizes.items()][0], config["channels"],
                              config["classes"], config.get("augmentation", 0)), out, "%dx%d" % next(iter(sizes)))
    save_file(out, os.path.join(HERE, f"{name}.safetensors"))
    print(len(state), "tensors,", sum(p.numel() for p in model.parameters()), "parameters")


def main():
    for name in sys.argv[1:] or NETWORKS:
        of = NETWORKS[name]
        make(name, of["config"], of["sizes"], of["n"], of["limit"])


if __name__ == "__main__":
    main()
