"""Numbers that Python and C (tests/api/formula.h) compute alike, so that no weights are stored.

uniform(stream, i) is a hash (the finaliser of splitmix64, Steele et al. 2014) of the pair, as a
multiple of 2^-24 in [0, 1). Parameters use the stream of their index in the state dict.
"""

import numpy as np
import torch

STREAM_X, STREAM_NOISE, STREAM_T = 1000, 2000, 3000


def uniform(stream, count, first=0):
    with np.errstate(over="ignore"):
        z = np.uint64(stream) * np.uint64(1 << 40) + np.uint64(first)
        z = (z + np.arange(count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / (1 << 24)


def parameter(index, name, shape, clear=False):
    """The values of state dict entry `index`: non-trivial everywhere, activations of order 1.

    clear: keeps what a ReLU sees away from 0 in 15 channels of 16 (they are always on or always
    off), so that no rounding error can flip one: a single flip changes a gradient by 1e-3.
    """
    count = int(np.prod(shape)) if len(shape) else 1
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    u = uniform(index, count)
    i = np.arange(count)
    leaf = name.rsplit(".", 1)[1]
    norm = ".conv.1." in name or ".conv.4." in name
    if leaf == "running_var":
        v = 0.5 + u
    elif leaf == "running_mean":
        v = 0.5 * u - 0.25
    elif norm and leaf == "weight":  # every eighth is negative: max pooling must not mind
        v = np.where(i % 8 == 3, -0.5 - u, 0.5 + u)
        v = v * 0.25 if clear else v
    elif norm:
        v = 0.5 * u - 0.25
        v = np.where(i % 16 == 5, v, np.where(i % 2 == 0, 1.75 + v, -1.75 + v)) if clear else v
    elif leaf == "bias":
        v = 0.5 * u - 0.125
    else:
        fan_in = int(np.prod(shape[1:]))
        gain = 6.0 if shape[2:] == (3, 3) else 3.0 if len(shape) == 2 else 1.0
        v = (2 * u - 1) * np.sqrt(gain / fan_in)
    return torch.from_numpy(v.astype(np.float32).reshape(shape))


def fill(model, clear=False):
    """Puts the formula's values into a model."""
    state = model.state_dict()
    model.load_state_dict(
        {n: parameter(i, n, tuple(v.shape), clear) for i, (n, v) in enumerate(state.items())}
    )


def images(batch, n, h, w, c=1):
    """x_0 number `batch`, as [n][h][w][c] -> torch's [n][c][h][w]: uniform in [0, 1)."""
    v = uniform(STREAM_X + batch, n * h * w * c).astype(np.float32)
    return torch.from_numpy(v.reshape(n, h, w, c).transpose(0, 3, 1, 2).copy())


def noise(batch, n, h, w, c=1):
    """Nearly normal: the sum of four uniforms, of mean 0 and variance 1."""
    u = uniform(STREAM_NOISE + batch, 4 * n * h * w * c).reshape(-1, 4)
    v = ((u[:, 0] + u[:, 1] + u[:, 2] + u[:, 3] - 2) * np.sqrt(3.0)).astype(np.float32)
    return torch.from_numpy(v.reshape(n, h, w, c).transpose(0, 3, 1, 2).copy())


def timesteps(batch, n, timesteps=1000):
    """1 and the last one first, then anything between."""
    t = 1 + np.floor(uniform(STREAM_T + batch, n) * timesteps).astype(np.int64)
    t[0] = 1
    if n > 1:
        t[1] = timesteps
    return torch.from_numpy(t)
