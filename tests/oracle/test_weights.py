"""Weights go both ways between sumi and PyTorch, by .pth and by .safetensors, through the library
and through the program, and mean the same on both sides."""

import os
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import sumi
from formula import fill, noise, timesteps
from torch_seed import UNetWithTime

context = sumi.Context()


def nhwc(x):
    return np.ascontiguousarray(x.detach().permute(0, 2, 3, 1).numpy())


def torch_prediction(state, x, t, **sizes):
    model = UNetWithTime(**sizes)
    model.load_state_dict(state, strict=True)
    model = model.double().eval()
    with torch.no_grad():
        return nhwc(model(x.double(), t))


def same_state(a, b):
    assert list(a) == list(b), "names or their order differ"
    for name in a:
        assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), name


def sumi_to_torch(folder):
    """A fresh model of sumi's: PyTorch loads it strictly, with weights_only, and predicts alike."""
    x, t = noise(0, 3, 28, 28), timesteps(0, 3)
    model = context.create()
    want = context.predict(model, nhwc(x), t.numpy())
    states = []
    for ending in ("pth", "safetensors"):
        path = os.path.join(folder, "from_sumi." + ending)
        context.save(model, path)
        state = torch.load(path, weights_only=True) if ending == "pth" else load_file(path)
        sumi.near(f"sumi -> {ending} -> PyTorch", torch_prediction(state, x, t), want, 2e-5)
        states.append(state)
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name
    assert list(states[0]) == list(UNetWithTime().state_dict()), "not PyTorch's order"


def torch_to_sumi(folder, **sizes):
    """A model of PyTorch's through every kind of file that there is."""
    channels = sizes.get("in_channels", 1)
    x, t = noise(1, 3, 12, 20, channels), timesteps(1, 3)
    model = UNetWithTime(**sizes)
    fill(model)
    state = model.state_dict()
    want = torch_prediction(state, x, t, **sizes)
    plain = os.path.join(folder, "new.pth")
    tensors = os.path.join(folder, "new.safetensors")
    torch.save(state, plain)
    save_file(state, tensors)
    back = os.path.join(folder, "back.pth")
    for path in (plain, tensors):
        loaded = context.load(path)
        name = f"PyTorch -> {os.path.basename(path)} -> sumi {sizes}"
        sumi.near(name, context.predict(loaded, nhwc(x), t.numpy()), want, 2e-5)
        context.save(loaded, back)
        same_state(torch.load(back, weights_only=True), state)


def unusual_file(folder):
    """What torch.save does not do by itself is refused, and by name."""
    path = os.path.join(folder, "four.pth")
    torch.save(UNetWithTime(width=8).state_dict(), path, pickle_protocol=4)
    try:
        context.load(path)
    except RuntimeError as error:
        assert "SUMI_EUNSUPPORTED" in str(error) and "protocol 4" in str(error), error
    else:
        raise AssertionError("pickle protocol 4 was read")


def through_the_program(folder):
    """convert there and back, and predict."""
    model = UNetWithTime(width=8)
    fill(model)
    state = model.state_dict()
    start, middle, end = (os.path.join(folder, n) for n in ("a.pth", "b.safetensors", "c.pth"))
    torch.save(state, start)
    sumi.run("convert", start, middle)
    sumi.run("convert", middle, end)
    same_state(torch.load(end, weights_only=True), state)

    x, t = noise(2, 3, 16, 16), timesteps(2, 3)
    x_file, t_file, eps_file = (os.path.join(folder, n) for n in ("x.npy", "t.npy", "eps.npy"))
    np.save(x_file, nhwc(x))
    np.save(t_file, t.numpy())
    sumi.run("predict", end, "--x", x_file, "--t", t_file, "--out", eps_file)
    want = torch_prediction(state, x, t, width=8)
    sumi.near("sumi predict", np.load(eps_file), want, 2e-5)


with tempfile.TemporaryDirectory() as temporary:
    sumi_to_torch(temporary)
    torch_to_sumi(temporary)
    torch_to_sumi(temporary, width=16, time_dim=33, in_channels=3, out_channels=3)
    unusual_file(temporary)
    through_the_program(temporary)
