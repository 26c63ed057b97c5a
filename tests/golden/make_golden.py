"""Makes the golden files of tests/golden from PyTorch. See README.md there.

    python tests/golden/make_golden.py             seed.safetensors, trajectory.safetensors
    python tests/golden/make_golden.py --retrain   small.pth too: a few minutes, other bits

Made with Python 3.11, torch 2.15.0, numpy 2.4.6, safetensors 0.8.0.
"""

import argparse
import gzip
import math
import os
import struct

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.numpy import save_file

import formula
from torch_seed import Diffuser, UNetWithTime, parameter_count, to_image, train_step

HERE = os.path.dirname(os.path.abspath(__file__))
FASHION_MNIST = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"

# Batch numbers of the formula. GRADIENT_BATCH is the one of 100..139 whose ReLU inputs and pool
# maxima are furthest from a tie, so that float32 rounding cannot change which way a gradient goes.
PREDICT_BATCHES = {(28, 28): 0, (32, 32): 1, (20, 36): 2}
GRADIENT_BATCH, LARGE_BATCH, ADAM_BATCH, TARGET_OFFSET = 126, 11, 20, 50
CLEAR_MARGIN = 4e-6

SMALL = dict(time_dim=100, width=8)
SMALL_SIZE, SMALL_IMAGES = 12, 2
KEPT = [1000, 999, 998, 990, 950, 900, 800, 700, 600, 500, 400, 300, 200, 100, 50, 20, 10, 5, 2, 1]


def nhwc(x):
    return np.ascontiguousarray(x.detach().permute(0, 2, 3, 1).numpy())


def sample_stride(count, limit):
    """1 where the tensor is stored whole; else coprime to the sizes that tensors have (2s and 3s)."""
    if count <= limit:
        return 1
    stride = -(-count // (limit // 2))
    while math.gcd(stride, 6) != 1:
        stride += 1
    return stride


def seed_model(dtype, clear):
    model = UNetWithTime()
    formula.fill(model, clear)
    return model.to(dtype)


def predictions(out):
    model = seed_model(torch.float64, clear=False).eval()
    for (h, w), batch in PREDICT_BATCHES.items():
        x, t = formula.noise(batch, 3, h, w), formula.timesteps(batch, 3)
        with torch.no_grad():
            y = model(x.double(), t)
        print(f"predict {h}x{w}: standard deviation {y.std():.3f}, t = {t.tolist()}")
        out[f"predict.{h}x{w}"] = nhwc(y).astype(np.float32)


def tie_margin(model, x, t):
    """How far the nearest ReLU input is from 0, and a pool's maximum from its second."""
    margin = [math.inf]

    def relu(_, inputs, __):
        margin[0] = min(margin[0], inputs[0].abs().min().item())

    def pool(_, inputs, __):
        four = inputs[0].unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).sort(-1).values
        gap = (four[..., 3] - four[..., 2])[four[..., 3] > 0]
        margin[0] = min(margin[0], gap.min().item())

    hooks = [m.register_forward_hook(relu) for m in model.modules() if isinstance(m, nn.ReLU)]
    hooks += [m.register_forward_hook(pool) for m in model.modules() if isinstance(m, nn.MaxPool2d)]
    with torch.no_grad():
        model(x, t)
    for hook in hooks:
        hook.remove()
    return margin[0]


def gradients(out, n, batch, limit):
    x = formula.noise(batch, n, 28, 28).double()
    target = formula.noise(batch + TARGET_OFFSET, n, 28, 28).double()
    t = formula.timesteps(batch, n)
    if n == 4:
        margin = tie_margin(seed_model(torch.float64, clear=True), x, t)
        assert margin > CLEAR_MARGIN, margin
    model = seed_model(torch.float64, clear=True).train()
    loss = F.mse_loss(model(x, t), target)
    loss.backward()
    print(f"gradients n = {n}: loss {loss.item():.6f}")
    out[f"loss.{n}"] = np.array([loss.item()])
    for name, p in model.named_parameters():
        if name.endswith((".conv.0.bias", ".conv.3.bias")):
            continue  # 0 but for rounding: the batch norm that follows takes any bias away
        g = p.grad.numpy().ravel()
        assert np.linalg.norm(g) > 1e-7, name
        out[f"norm.{n}.{name}"] = np.array([np.linalg.norm(g)])
        out[f"gradient.{n}.{name}"] = g[:: sample_stride(g.size, limit)].astype(np.float32)
    for name, v in model.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            out[f"running.{n}.{name}"] = v.numpy().astype(np.float32)


def adam_losses(out):
    """Losses of four steps: three updates lie between the first and the last."""
    model, diffuser = seed_model(torch.float64, clear=False).train(), Diffuser()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for step in range(4):
        batch = ADAM_BATCH + step
        x, t = formula.images(batch, 8, 28, 28), formula.timesteps(batch, 8)
        losses.append(train_step(model, diffuser, optimizer, x, t, formula.noise(batch, 8, 28, 28).double()))
    print("Adam's losses", losses)
    out["adam.losses"] = np.array(losses)


def small_images():
    """Fashion-MNIST, centre 24x24, averaged down to 12x12, in [0, 1]."""
    with gzip.open(FASHION_MNIST) as f:
        magic, count, h, w = struct.unpack(">4i", f.read(16))
        pixels = np.frombuffer(f.read(), np.uint8).reshape(count, h, w)
    assert magic == 0x803
    x = pixels[:, 2:26, 2:26].astype(np.float32).reshape(count, 12, 2, 12, 2).mean((2, 4)) / 255
    return torch.from_numpy(x)[:, None]


def train_small(steps=6000):
    torch.manual_seed(0)
    images = small_images()
    model, diffuser = UNetWithTime(**SMALL), Diffuser()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    total = 0.0
    for step in range(steps):
        x = images[torch.randint(len(images), (128,))]
        t = torch.randint(1, 1001, (128,))
        total += train_step(model, diffuser, optimizer, x, t, torch.randn_like(x))
        if step % 1000 == 999:
            print(f"step {step + 1}: mean loss {total / 1000:.4f}", flush=True)
            total = 0.0
            optimizer.param_groups[0]["lr"] *= 0.6
    print(f"{parameter_count(model)} parameters")
    torch.save(model.state_dict(), os.path.join(HERE, "small.pth"))


def trajectory():
    """The tutorial's own float32 sampling of the small network, with PyTorch's normal noise rounded
    to 1/32 so that it fits in bytes."""
    model, diffuser = UNetWithTime(**SMALL), Diffuser()
    model.load_state_dict(torch.load(os.path.join(HERE, "small.pth"), weights_only=True))
    generator = torch.Generator().manual_seed(1)
    shape = (1001, SMALL_IMAGES, 1, SMALL_SIZE, SMALL_SIZE)
    bytes_ = torch.randn(shape, generator=generator).mul(32).round().clamp(-128, 127) + 128
    noise = (bytes_ - 128) / 32
    x0, kept = diffuser.sample(model, noise, KEPT)
    exact, _ = diffuser.sample(model.double(), noise.double(), KEPT)
    print(f"trajectory: float32 is {(x0 - exact).abs().max():.1e} from float64 at x_0")
    print(f"x_0: mean {x0.mean():.3f}, standard deviation {x0.std():.3f}")
    out = {
        "noise": np.ascontiguousarray(bytes_.permute(0, 1, 3, 4, 2).numpy().astype(np.uint8)),
        "t": np.array(KEPT, dtype=np.int64),
        "x_t": np.stack([nhwc(kept[t]) for t in KEPT]),
        "x_0": nhwc(x0),
        "picture": nhwc(to_image(x0)),
    }
    save_file(out, os.path.join(HERE, "trajectory.safetensors"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--retrain", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    out = {}
    predictions(out)
    gradients(out, 4, GRADIENT_BATCH, 4096)
    gradients(out, 128, LARGE_BATCH, 256)
    adam_losses(out)
    save_file(out, os.path.join(HERE, "seed.safetensors"))
    if args.retrain or not os.path.exists(os.path.join(HERE, "small.pth")):
        train_small()
    trajectory()


if __name__ == "__main__":
    main()
