#!/usr/bin/env python3
"""Writes golden/*.npy and golden.h: what numpy and scipy compute from the same features.

    python3 tests/eval/make_golden.py          (numpy, scipy)
"""
import os
import numpy
import scipy.linalg
import scipy.stats

here = os.path.dirname(os.path.abspath(__file__))
lines = ["/* Made by make_golden.py with numpy and scipy; do not edit. */",
         "#ifndef SUMI_TEST_EVAL_GOLDEN_H", "#define SUMI_TEST_EVAL_GOLDEN_H", ""]


def value(name, number):
    lines.append(f"static const double golden_{name} = {float(number).hex()}; /* {float(number):.9g} */")


def array(name, numbers):
    texts = [float(x).hex() for x in numpy.ravel(numbers)]
    rows = [", ".join(texts[i:i + 3]) for i in range(0, len(texts), 3)]
    lines.append(f"static const double golden_{name}[] = {{\n    " + ",\n    ".join(rows) + "};")


def save(name, data):
    numpy.save(os.path.join(here, "golden", name + ".npy"), data)
    return data


def frechet(x, y):
    """As it is written down, with scipy's general square root."""
    s, t = numpy.cov(x, rowvar=False), numpy.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(s @ t)
    distance = numpy.sum((x.mean(0) - y.mean(0)) ** 2) + numpy.trace(s + t - 2 * root.real)
    return distance


def frechet_factors(x, y):
    """Without a product of covariances: the nuclear norm of a product of centred features, which
    keeps its digits where a covariance has no full rank."""
    a, b = x - x.mean(0), y - y.mean(0)
    a /= numpy.sqrt(len(x) - 1)
    b /= numpy.sqrt(len(y) - 1)
    singular = numpy.linalg.svd(numpy.linalg.qr(a)[1] @ numpy.linalg.qr(b)[1].T, compute_uv=False)
    return (numpy.sum((x.mean(0) - y.mean(0)) ** 2) + numpy.sum(a * a) + numpy.sum(b * b)
            - 2 * singular.sum())


def kernel(x, y):
    d = x.shape[1]
    k = lambda u, v: (u @ v.T / d + 1) ** 3
    xx, yy, xy = k(x, x), k(y, y), k(x, y)
    m, n = len(x), len(y)
    return ((xx.sum() - numpy.trace(xx)) / (m * (m - 1)) + (yy.sum() - numpy.trace(yy)) / (n * (n - 1))
            - 2 * xy.mean())


def distances(x, y):
    return numpy.sqrt(((x[:, None, :] - y[None, :, :]) ** 2).sum(-1))


def radii(x, k):
    return numpy.sort(distances(x, x), axis=1)[:, k]  # number 0 is itself


def manifold(samples, reals, k):
    d = distances(samples, reals)
    real, fake = radii(reals, k), radii(samples, k)
    return [(d <= real[None, :]).any(1).mean(), (d <= fake[:, None]).any(0).mean(),
            (d <= real[None, :]).sum(1).mean() / k, (d.min(0) <= real).mean()]


random = numpy.random.default_rng(5)
mix = random.normal(size=(24, 24)) / 4
a = save("a", numpy.maximum(random.normal(size=(240, 24)) @ mix + 0.3, 0).astype(numpy.float32))
b = save("b", numpy.maximum(1.1 * random.normal(size=(200, 24)) @ mix + 0.4, 0).astype(numpy.float32))
x, y = a.astype(float), b.astype(float)

array("mean", x.mean(0))
array("covariance", numpy.cov(x, rowvar=False)[:3])
array("eigenvalues", numpy.linalg.eigvalsh(numpy.cov(x, rowvar=False)))
value("frechet", frechet(x, y))
value("frechet_factors", frechet_factors(x, y))
# Half of the numbers of a feature are sums of others, and two are always 0.
x2, y2 = x.copy(), y.copy()
for data in (x2, y2):
    data[:, 12:22] = (data[:, 0:10].astype(numpy.float32) + data[:, 2:12].astype(numpy.float32))
    data[:, 22:] = 0
value("frechet_deficient", frechet_factors(x2, y2))
value("kernel", kernel(x, y))
value("kernel_same", kernel(x[:120], x[120:]))
for k in (1, 3, 5):
    array(f"manifold_{k}", manifold(x, y, k))
array("nearest", numpy.sort(distances(x, y), axis=1)[:, :3])

logits = 3 * random.normal(size=(120, 5))
p = numpy.exp(logits) / numpy.exp(logits).sum(1, keepdims=True)
p[7] = [0, 0, 1, 0, 0]
p = save("probabilities", p.astype(numpy.float32)).astype(float)
p /= p.sum(1, keepdims=True)
inner, outer = scipy.stats.entropy(p, axis=1).mean(), scipy.stats.entropy(p.mean(0))
array("classes", [inner, outer, numpy.exp(outer - inner), (p.argmax(1) == numpy.arange(120) % 5).mean()])
array("histogram", numpy.bincount(p.argmax(1), minlength=5) / 120)


def spectrum(images):
    h, w = images.shape[1:3]
    power = (numpy.abs(numpy.fft.fft2(images / 255, axes=(1, 2))) ** 2 / (h * w)).mean((0, 3))
    radius = numpy.hypot(numpy.fft.fftfreq(h)[:, None], numpy.fft.fftfreq(w)[None, :]) * min(h, w)
    ring = numpy.floor(radius + 0.5).astype(int)
    return numpy.array([power[ring == r].mean() for r in range(1, min(h, w) // 2 + 1)])


u = save("images_u", random.integers(0, 256, size=(9, 14, 15, 3), dtype=numpy.uint8))
v = save("images_v", (random.normal(size=(11, 14, 15, 3)).cumsum(2) * 9 + 128).clip(0, 255).astype(numpy.uint8))
value("spectrum", numpy.sqrt(numpy.mean((numpy.log10(spectrum(u) + 1e-10) - numpy.log10(spectrum(v) + 1e-10)) ** 2)))
value("wasserstein", scipy.stats.wasserstein_distance(u.ravel() / 255, v.ravel() / 255))
lines += ["", "#endif"]
with open(os.path.join(here, "golden.h"), "w") as file:
    file.write("\n".join(lines) + "\n")
