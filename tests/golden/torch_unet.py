"""The residual U-Net in PyTorch: what sumi's network `unet` is compared with (src/models/unet.c).

Modules are made in the order of the forward pass, and have the names of sumi's tensors.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

FREQUENCIES = 32


def group_norm(channels, affine=True):
    """Groups of 16 channels, or of the next larger number that divides them."""
    groups = max(channels // 16, 1)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels, affine=affine)


def from_zero(layer):
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Attention(nn.Module):
    """x, and what its pixels say to each other, in heads of head_channels or a few more."""

    def __init__(self, channels, head_channels):
        super().__init__()
        self.heads = max(channels // head_channels, 1)
        while channels % self.heads:
            self.heads -= 1
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = from_zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x):
        n, c, h, w = x.shape
        parts = self.qkv(self.norm(x)).reshape(n, 3, self.heads, c // self.heads, h * w)
        q, k, v = parts.transpose(3, 4).unbind(1)
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(y.transpose(2, 3).reshape(n, c, h, w))


class Block(nn.Module):
    """x [n][c][h][w], e [n][embedding]: norm, SiLU, 3x3, norm, scale and shift from e, SiLU, 3x3,
    and the shortcut; then attention, where head_channels says so."""

    def __init__(self, channels, out, embedding, head_channels=0):
        super().__init__()
        self.norm1 = group_norm(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1)
        self.modulation = from_zero(nn.Linear(embedding, 2 * out))
        self.norm2 = group_norm(out, affine=False)
        self.shortcut = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()
        self.conv2 = from_zero(nn.Conv2d(out, out, 3, padding=1))
        self.attention = Attention(out, head_channels) if head_channels else nn.Identity()

    def forward(self, x, e):
        y = self.conv1(F.silu(self.norm1(x)))
        a, b = self.modulation(e)[:, :, None, None].chunk(2, 1)
        y = F.silu((1 + a) * self.norm2(y) + b)
        return self.attention(self.conv2(y) + self.shortcut(x))


class UNet(nn.Module):
    """multipliers and blocks have a number for each level; a level has half the size of the one
    before. attention lists the levels that have it, the first of which is 1. forward: x
    [n][channels][h][w], time [n], labels [n], where -1 is none. Any h and w: edges are repeated
    around x until they are multiples of what the levels halve, and cut off in the end."""

    def __init__(self, channels=1, width=32, multipliers=(1, 2, 4), blocks=(1, 2, 2),
                 embedding=128, classes=10, time_lowest=0.003, time_highest=3.0, attention=(),
                 head_channels=64, augmentation=0):
        super().__init__()
        widths = [width * m for m in multipliers]
        self.levels, self.classes = len(widths), classes
        k = torch.arange(FREQUENCIES, dtype=torch.float64) / (FREQUENCIES - 1)
        self.frequencies = time_lowest * (time_highest / time_lowest) ** k
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, embedding), nn.SiLU(),
                                  nn.Linear(embedding, embedding))
        if classes:
            self.label = nn.Embedding(classes + 1, embedding)
            with torch.no_grad():
                self.label.weight *= 0.5
        if augmentation:
            self.augmentation = nn.Linear(augmentation, embedding)

        def stage(first, level):
            return nn.ModuleList(
                Block(first if i == 0 else widths[level], widths[level], embedding,
                      head_channels if level + 1 in attention else 0)
                for i in range(blocks[level]))

        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        for level in range(self.levels):
            self.add_module(f"down{level}", stage(widths[level], level))
            if level < self.levels - 1:
                self.add_module(f"shrink{level}",
                                nn.Conv2d(widths[level], widths[level + 1], 3, padding=1))
        self.middle = Block(widths[-1], widths[-1], embedding)
        for level in reversed(range(self.levels - 1)):
            self.add_module(f"grow{level}",
                            nn.Conv2d(widths[level + 1], widths[level], 3, padding=1))
            self.add_module(f"up{level}", stage(2 * widths[level], level))
        self.norm = group_norm(widths[0])
        self.last = from_zero(nn.Conv2d(widths[0], channels, 3, padding=1))

    def embed(self, time, labels, told=None):
        angle = time.double()[:, None] * self.frequencies[None]
        waves = torch.cat([angle.cos(), angle.sin()], 1).to(self.first.weight.dtype)
        e = self.time(waves)
        if self.classes:
            e = e + self.label(torch.where(labels < 0, self.classes, labels))
        if hasattr(self, "augmentation"):
            nothing = e.new_zeros(len(e), self.augmentation.in_features)
            e = e + self.augmentation(nothing if told is None else told)
        return F.silu(e)

    def forward(self, x, time, labels=None, told=None):
        e = self.embed(time, labels, told)
        h, w = x.shape[2:]
        multiple = 2 ** (self.levels - 1)
        high, wide = -h % multiple, -w % multiple
        if high or wide:
            x = F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2), "replicate")
        x, skips = self.first(x), []
        for level in range(self.levels):
            for block in getattr(self, f"down{level}"):
                x = block(x, e)
            if level < self.levels - 1:
                skips.append(x)
                x = getattr(self, f"shrink{level}")(F.avg_pool2d(x, 2))
        x = self.middle(x, e)
        for level in reversed(range(self.levels - 1)):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            x = torch.cat([getattr(self, f"grow{level}")(x), skips[level]], 1)
            for block in getattr(self, f"up{level}"):
                x = block(x, e)
        x = self.last(F.silu(self.norm(x)))
        return x[:, :, high // 2 : high // 2 + h, wide // 2 : wide // 2 + w]
