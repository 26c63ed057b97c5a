"""libsumi through ctypes, as far as the oracle tests need it. CTest sets SUMI_LIBRARY and SUMI."""

import ctypes as c
import os
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden")
sys.path.insert(0, GOLDEN)

library = c.CDLL(os.environ["SUMI_LIBRARY"])
library.sumi_last_error.restype = c.c_char_p
library.sumi_status_name.restype = c.c_char_p

FLOATS, INTS = c.POINTER(c.c_float), c.POINTER(c.c_int32)
ON_STEP = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_int, FLOATS, FLOATS, c.c_int)


class Batch(c.Structure):
    _fields_ = [("size", c.c_size_t), ("n", c.c_int), ("h", c.c_int), ("w", c.c_int), ("x", FLOATS),
                ("t", INTS), ("noise", FLOATS), ("labels", INTS)]


class SampleConfig(c.Structure):
    _fields_ = [("size", c.c_size_t), ("count", c.c_int), ("height", c.c_int), ("width", c.c_int),
                ("steps", c.c_int), ("solver", c.c_char_p), ("eta", c.c_float),
                ("seed", c.c_uint64), ("first_index", c.c_int64), ("noise", FLOATS),
                ("on_step", ON_STEP), ("progress", c.c_void_p), ("user", c.c_void_p),
                ("batch", c.c_int)]


def floats(array):
    assert array.dtype == np.float32 and array.flags.c_contiguous
    return array.ctypes.data_as(FLOATS)


class Context:
    def __init__(self, threads=0):
        self.handle = c.c_void_p()
        self.check(library.sumi_context_create(threads, c.byref(self.handle)))

    def check(self, status):
        if status != 0:
            name = library.sumi_status_name(status).decode()
            raise RuntimeError(f"{name}: {library.sumi_last_error(self.handle).decode()}")

    def create(self):
        """The seed recipe's model."""
        model = c.c_void_p()
        self.check(library.sumi_model_create(self.handle, None, c.byref(model)))
        return model

    def load(self, path):
        model = c.c_void_p()
        self.check(library.sumi_model_load(self.handle, os.fsencode(path), c.byref(model)))
        return model

    def save(self, model, path):
        self.check(library.sumi_model_save(self.handle, model, os.fsencode(path)))

    def predict(self, model, x, t):
        """x [n][h][w][c], t [n] -> eps like x."""
        x, t = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(t, np.int32)
        out = np.empty_like(x)
        n, h, w, _ = x.shape
        batch = Batch(c.sizeof(Batch), n, h, w, floats(x), t.ctypes.data_as(INTS), None, None)
        self.check(library.sumi_model_predict(self.handle, model, c.byref(batch), floats(out)))
        return out

    def sample(self, model, noise, keep):
        """DDPM with every step's noise [1 + steps][n][h][w][c]. Returns x_0 and {t: x_t}."""
        noise = np.ascontiguousarray(noise, np.float32)
        steps, shape = noise.shape[0] - 1, noise.shape[1:]
        out, kept = np.empty(shape, np.float32), {}

        def on_step(_, t, x_t, __, n):
            assert n == shape[0]
            if t in keep:
                kept[t] = np.ctypeslib.as_array(x_t, shape).copy()
            return 0

        config = SampleConfig(c.sizeof(SampleConfig), shape[0], shape[1], shape[2], steps, b"ddpm",
                              0, 0, 0, floats(noise), ON_STEP(on_step), None, None, shape[0])
        self.check(library.sumi_sample(self.handle, model, c.byref(config), floats(out),
                                       c.c_size_t(out.size)))
        return out, kept


def run(*arguments):
    """The program: what it printed."""
    command = [os.environ["SUMI"], *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")
    return done.stdout


def near(name, got, want, tolerance):
    distance = float(np.abs(np.asarray(got, np.float64) - np.asarray(want, np.float64)).max())
    print(f"{name}: within {distance:.1e}")
    assert distance <= tolerance, f"{name}: {distance} is more than {tolerance}"
