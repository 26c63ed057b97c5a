"""Arrays and tensor files go both ways between sumi and the libraries that their formats come from:
NumPy's .npy and .npz, and the reference implementation of safetensors."""

import json
import os
import subprocess
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

SUMI = os.environ["SUMI"]


def run(*words):
    done = subprocess.run([SUMI, *words], capture_output=True, text=True)
    assert done.returncode == 0, (words, done.returncode, done.stderr)
    return done.stdout


def numpy_to_sumi(folder):
    """Every kind of array that is a data set, in both versions of the format."""
    generator = np.random.default_rng(0)
    for shape in [(5, 8, 6), (5, 8, 6, 1), (5, 8, 6, 3)]:
        images = generator.integers(0, 256, shape, dtype=np.uint8)
        for version in [(1, 0), (2, 0)]:
            path = os.path.join(folder, "set.npy")
            with open(path, "wb") as file:
                np.lib.format.write_array(file, images, version=version)
            info = json.loads(run("data", "info", path, "--json"))
            found = [info[key] for key in ("count", "height", "width", "channels")]
            assert found == [5, 8, 6, shape[3] if len(shape) > 3 else 1], info


def sumi_to_numpy(folder, model):
    """What is drawn has the same bytes as an array and as pictures; noise is float32."""
    array, pictures, noise, back = (os.path.join(folder, name)
                                    for name in ("x.npy", "pictures", "noise.npy", "y.npy"))
    words = ["sample", model, "--size", "8", "-n", "5", "-q"]
    run(*words, "--out", array)
    run(*words, "--out", pictures + "/")
    drawn = np.load(array, allow_pickle=False)
    assert drawn.shape == (5, 8, 8, 1) and drawn.dtype == np.uint8, (drawn.shape, drawn.dtype)
    names = sorted(os.listdir(pictures))
    assert len(names) == 5, names
    for image, name in zip(drawn, names):
        assert np.array_equal(np.asarray(Image.open(os.path.join(pictures, name))), image[:, :, 0]), name
    x, t = np.zeros((3, 8, 8, 1), np.float32), np.array([1, 2, 3])
    np.save(noise, x)
    np.save(os.path.join(folder, "t.npy"), t)
    run("predict", model, "--x", noise, "--t", os.path.join(folder, "t.npy"), "--out", back)
    predicted = np.load(back, allow_pickle=False)
    assert predicted.shape == x.shape and predicted.dtype == np.float32


def reference_safetensors(folder, model):
    """Each file of a checkpoint is one to the reference, and what that writes is one to sumi."""
    checkpoint = os.path.join(model, "checkpoints", open(os.path.join(model, "latest")).read().strip())
    for name in ("model", "optim", "ema"):
        path = os.path.join(checkpoint, name + ".safetensors")
        with safe_open(path, "np") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        assert len(tensors) > 10 and all(np.isfinite(t).all() for t in tensors.values()), name
        if name == "optim":
            continue
        again = os.path.join(folder, name + ".safetensors")
        save_file(tensors, again, metadata)
        run("diff", path, again)
        plain = os.path.join(folder, name + ".pth")
        run("convert", again, plain)
        loaded = torch.load(plain, weights_only=True)
        assert {k: v.numpy().tobytes() for k, v in loaded.items()} == {
            k: v.tobytes() for k, v in tensors.items()}, name


with tempfile.TemporaryDirectory() as temporary:
    made = os.path.join(temporary, "run")
    run("train", "shapes", "--recipe", "tutorial", "--size", "8", "--batch", "8", "--base-channels", "4",
        "--time-dim", "4", "--timesteps", "8", "--grid", "0", "--ema", "0.9", "--steps", "5", "-q",
        "--out", made)
    numpy_to_sumi(temporary)
    sumi_to_numpy(temporary, made)
    reference_safetensors(temporary, made)
print("NumPy and the reference of safetensors read and write the same")
