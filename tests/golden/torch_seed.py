"""The tutorial's network and diffusion loop in PyTorch: what sumi's seed recipe is compared with.

UNetWithTime has the tutorial's state_dict (down_conv1.conv.{0,1,3,4}, down_conv1.linear.{0,2},
down_conv2, bottleneck, up_conv2, up_conv1, out). Two things are added to it: `width`, the channels
of the first level (the tutorial's is 64), so that small networks can be kept in a repository; and
the precision of the time embedding follows that of the weights, so that a network that was moved to
float64 is float64 throughout.

Needs torch only. Used by make_golden.py, tests/oracle and bench/peers.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def time_embedding(t, dim, dtype=torch.float32):
    """[n] timesteps -> [n][dim]: sin (even places) and cos (odd places) of t / 10000^(i / 2 dim)."""
    i = torch.arange(dim, dtype=dtype)
    divisor = torch.exp(i / (2 * dim) * torch.log(torch.tensor(10000.0, dtype=dtype)))
    angle = t.to(dtype)[:, None] / divisor[None, :]
    return torch.where(torch.arange(dim) % 2 == 0, torch.sin(angle), torch.cos(angle))


class ConvBlock(nn.Module):
    """Shift every channel by an MLP of the embedding, then conv, norm, ReLU, twice."""

    def __init__(self, in_channels, out_channels, time_dim):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )
        self.linear = nn.Sequential(
            nn.Linear(time_dim, 2 * in_channels),
            nn.ReLU(),
            nn.Linear(2 * in_channels, in_channels),
        )

    def forward(self, x, embedding):
        return self.conv(x + self.linear(embedding)[:, :, None, None])


class UNetWithTime(nn.Module):
    def __init__(self, in_channels=1, out_channels=1, time_dim=100, width=64):
        super().__init__()
        w = width
        self.time_dim = time_dim
        self.down_conv1 = ConvBlock(in_channels, w, time_dim)
        self.down_conv2 = ConvBlock(w, 2 * w, time_dim)
        self.bottleneck = ConvBlock(2 * w, 4 * w, time_dim)
        self.up_conv2 = ConvBlock(4 * w + 2 * w, 2 * w, time_dim)
        self.up_conv1 = ConvBlock(2 * w + w, w, time_dim)
        self.out = nn.Conv2d(w, out_channels, 1)
        self.max_pool = nn.MaxPool2d(2, stride=2)
        self.up_sample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

    def forward(self, x, t):
        e = time_embedding(t, self.time_dim, self.out.weight.dtype)
        x1 = self.down_conv1(x, e)
        x2 = self.down_conv2(self.max_pool(x1), e)
        x = self.bottleneck(self.max_pool(x2), e)
        x = self.up_conv2(torch.cat([self.up_sample(x), x2], dim=1), e)
        x = self.up_conv1(torch.cat([self.up_sample(x), x1], dim=1), e)
        return self.out(x)


class Diffuser:
    """Linear betas, q(x_t | x_0), and the ancestral step with the fixed small variance."""

    def __init__(self, timesteps=1000, beta_start=0.001, beta_end=0.01):
        self.timesteps = timesteps
        self.betas = torch.linspace(beta_start, beta_end, timesteps)
        self.alphas = 1 - self.betas
        self.alphas_cumprod = self.alphas.cumprod(dim=0)

    def diffuse(self, x, t, noise):
        a = self.alphas_cumprod[t - 1].view(-1, 1, 1, 1)
        return torch.sqrt(a) * x + torch.sqrt(1 - a) * noise

    @torch.no_grad()
    def denoise(self, model, x, t, noise):
        """One step from x_t to x_(t-1), t an int; noise is ignored at t = 1. model in eval mode."""
        steps = torch.full((x.shape[0],), t)
        eps = model(x, steps)
        alpha = self.alphas[t - 1].to(x.dtype)
        bar = self.alphas_cumprod[t - 1].to(x.dtype)
        mean = (x - (1 - alpha) / torch.sqrt(1 - bar) * eps) / torch.sqrt(alpha)
        if t == 1:
            return mean
        bar_before = self.alphas_cumprod[t - 2].to(x.dtype)
        return mean + noise * torch.sqrt((1 - alpha) * (1 - bar_before) / (1 - bar))

    def sample(self, model, noise, keep=()):
        """noise: [1 + timesteps][n][c][h][w], x_T and then each step's. Returns x_0 and the x_t,
        before the step from t, for each t of keep."""
        model.eval()
        x, kept = noise[0], {}
        for i, t in enumerate(range(self.timesteps, 0, -1)):
            if t in keep:
                kept[t] = x
            x = self.denoise(model, x, t, noise[1 + i])
        return x, kept


def to_image(x):
    """The tutorial's picture: clamped, times 255, cut off (not rounded)."""
    return (x.clamp(0, 1) * 255).type(torch.uint8)


def train_step(model, diffuser, optimizer, x, t, noise):
    """One step of the tutorial's loop; returns the loss before the update."""
    optimizer.zero_grad()
    loss = F.mse_loss(noise, model(diffuser.diffuse(x, t, noise).to(noise.dtype), t))
    loss.backward()
    optimizer.step()
    return loss.item()


def parameter_count(model):
    return sum(math.prod(p.shape) for p in model.parameters())
