"""Makes tests/golden/unet.safetensors from PyTorch in float64. See README.md there.

    python tests/golden/make_unet.py

Made with Python 3.11, torch 2.15.0, numpy 2.4.6, safetensors 0.8.0.
"""

import os

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

import formula
from make_golden import nhwc, sample_stride
from torch_unet import UNet

HERE = os.path.dirname(os.path.abspath(__file__))
CONFIG = dict(channels=3, width=24, multipliers=(1, 2, 3), blocks=(1, 2, 1), embedding=32, classes=5)
N, SIZES = 3, {(16, 16): 200, (12, 20): 201}
TARGET_OFFSET, LIMIT = 50, 512


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
        v = (2 * u - 1) * np.sqrt(gain / np.prod(shape[1:]))
    return torch.from_numpy(v.astype(np.float32).reshape(shape))


def main():
    model = UNet(**CONFIG).double()
    state = model.state_dict()
    model.load_state_dict({n: value(i, n, tuple(v.shape)) for i, (n, v) in enumerate(state.items())})
    out = {}
    for (h, w), batch in SIZES.items():
        x = formula.noise(batch, N, h, w, 3).double()
        target = formula.noise(batch + TARGET_OFFSET, N, h, w, 3).double()
        time = formula.timesteps(batch, N).double()
        labels = torch.arange(N) * 3 % (CONFIG["classes"] + 1) - 1
        model.zero_grad()
        y = model(x, time, labels)
        loss = F.mse_loss(y, target)
        loss.backward()
        key = f"{h}x{w}"
        print(f"{key}: standard deviation {y.std():.3f}, loss {loss.item():.6f}")
        out[f"predict.{key}"] = nhwc(y).astype(np.float32)
        out[f"loss.{key}"] = np.array([loss.item()])
        for name, p in model.named_parameters():
            g = p.grad.numpy().ravel()
            assert np.linalg.norm(g) > 1e-6, name
            out[f"norm.{key}.{name}"] = np.array([np.linalg.norm(g)])
            out[f"gradient.{key}.{name}"] = g[:: sample_stride(g.size, LIMIT)].astype(np.float32)
    save_file(out, os.path.join(HERE, "unet.safetensors"))
    print(len(state), "tensors,", sum(p.numel() for p in model.parameters()), "parameters")


if __name__ == "__main__":
    main()
