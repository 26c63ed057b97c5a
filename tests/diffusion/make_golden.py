#!/usr/bin/env python3
"""Writes golden.h: what the tutorial's Diffuser computes in PyTorch (run with torch >= 2.0).

    python3 tests/diffusion/make_golden.py > tests/diffusion/golden.h
"""
import hashlib
import torch


class Diffuser:
    """The tutorial's, with the noise given and the network replaced by a function."""

    def __init__(self, max_steps, beta_start=0.001, beta_end=0.01):
        self.max_steps = max_steps
        self.betas = torch.linspace(beta_start, beta_end, max_steps)
        self.alphas = 1 - self.betas
        self.alphas_cumprod = self.alphas.cumprod(dim=0)

    def diffuse(self, x, t, noise):
        alpha_cumprod = self.alphas_cumprod[t - 1].view(-1, 1)
        return torch.sqrt(alpha_cumprod) * x + torch.sqrt(1 - alpha_cumprod) * noise

    def denoise(self, model, x, t, noise):
        _t = t - 1
        alpha = self.alphas[_t].view(-1, 1)
        alpha_cumprod = self.alphas_cumprod[_t].view(-1, 1)
        alpha_cumprod_prev = self.alphas_cumprod[_t - 1].view(-1, 1)
        pred_noise = model(x, t)
        noise = noise.clone()
        noise[t == 1] = 0
        mu = (x - ((1 - alpha) / torch.sqrt(1 - alpha_cumprod)) * pred_noise) / torch.sqrt(alpha)
        std = torch.sqrt((1 - alpha) * (1 - alpha_cumprod_prev) / (1 - alpha_cumprod))
        return mu + noise * std


def model(x, t):
    """Stands for the network: 0.5 x + t / 64, which has the same bits everywhere."""
    return x * 0.5 + (t.float() / 64).view(-1, 1)


def sha(values):
    return hashlib.sha256(values.numpy().astype("<f4").tobytes()).hexdigest()


def array(name, values):
    numbers = [float(v).hex() + "f" for v in values.flatten()]
    lines = [", ".join(numbers[i : i + 3]) for i in range(0, len(numbers), 3)]
    print(f"static const float {name}[] = {{\n    " + ",\n    ".join(lines) + "};\n")


print("/* Made by make_golden.py with PyTorch; do not edit. */")
print("#ifndef SUMI_TEST_DIFFUSION_GOLDEN_H\n#define SUMI_TEST_DIFFUSION_GOLDEN_H\n")
print("typedef struct {\n    int timesteps;\n    float beta_start, beta_end;")
print("    const char *alpha, *alpha_bar; /* SHA-256 of the float32 values */")
print("} golden_schedule;\n\nstatic const golden_schedule golden_schedules[] = {")
for timesteps, start, end in [(1000, 0.001, 0.01), (1000, 0.0001, 0.02), (1, 0.001, 0.01),
                              (2, 0.001, 0.01), (777, 0.001, 0.01), (4000, 0.0001, 0.02)]:
    d = Diffuser(timesteps, start, end)
    print(f"    {{{timesteps}, {start}f, {end}f,")
    print(f'     "{sha(d.alphas)}",\n     "{sha(d.alphas_cumprod)}"}},')
print("};\n")

torch.manual_seed(0)
steps, images, floats = 8, 3, 5
d = Diffuser(steps, 0.05, 0.3)
noise = torch.randn(1 + steps, images, floats)
array("golden_noise", noise)
x = noise[0]
for k, i in enumerate(range(steps, 0, -1)):
    x = d.denoise(model, x, torch.full((images,), i), noise[1 + k])
array("golden_sample", x)
t = torch.tensor([1, 8, 5])
x_t = d.diffuse(noise[1], t, noise[2])
array("golden_diffused", x_t)
array("golden_denoised", d.denoise(model, x_t, t, noise[3]))
print("#endif")
