#!/usr/bin/env python3
"""Makes the pictures that test_resize.c compares with, by Pillow (needs pillow and numpy).

A noisy gradient with hard edges, 37x53 RGB, is covered and centre-cropped to several sizes by
ImageOps.fit(BILINEAR), made grey by convert("L"), and that resized too. Every file is a small
uint8 .npy array [h][w][c] or [h][w]. dot.jpg is 8x8 of one colour, for test_folder.c.
"""
import pathlib

import numpy as np
from PIL import Image, ImageOps

SIZES = [(28, 28), (16, 40), (100, 60), (37, 37), (5, 4), (74, 106)]


def main():
    folder = pathlib.Path(__file__).parent / "golden"
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(57)
    y, x = np.mgrid[0:37, 0:53]
    picture = np.stack([y * 255 / 36, x * 255 / 52, (x + y) % 16 * 17], axis=-1)
    picture += rng.normal(0, 25, picture.shape)
    picture[8:20, 10:30] = (255, 0, 40)
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    rgb = Image.fromarray(picture)
    grey = rgb.convert("L")
    np.save(folder / "rgb.npy", picture)
    np.save(folder / "grey.npy", np.asarray(grey))
    for height, width in SIZES:
        for name, image in (("rgb", rgb), ("grey", grey)):
            fitted = ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)
            np.save(folder / f"{name}_{height}x{width}.npy", np.asarray(fitted))
    Image.new("RGB", (8, 8), (200, 100, 50)).save(folder / "dot.jpg", quality=95, subsampling=0)


if __name__ == "__main__":
    main()
