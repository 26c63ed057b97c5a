#!/usr/bin/env python3
"""Writes losses.h: what PyTorch makes of the losses of a small classifier with two outputs.

usage: make_losses.py > losses.h

An image of 4 channels goes through a 1x1 convolution, the output "image", and from there through SiLU,
the mean over pixels and a linear layer to 5 logits. The loss is the weighted mean of squared errors of
the image plus the cross entropy of the logits with label smoothing 0.1, in which an image without a label
counts as 0. tests/cpu/test_losses.c has the same numbers of inputs and parameters.
"""
import torch

torch.set_default_dtype(torch.float64)


def numbers(count, step, scale):
    return torch.tensor([(i * step % 17 - 8) * scale for i in range(count)])


def text(name, tensor):
    values = [repr(float(x)) for x in tensor.detach().flatten()]
    lines = [", ".join(values[i : i + 4]) for i in range(0, len(values), 4)]
    return f"static const double {name}[] = {{\n    " + ",\n    ".join(lines) + "};"


image = numbers(3 * 2 * 2 * 4, 5, 0.125).reshape(3, 2, 2, 4)
target = numbers(3 * 2 * 2 * 3, 7, 0.125).reshape(3, 2, 2, 3)
weight = torch.tensor([0.5, 1.5, 2.5])
labels = torch.tensor([4, -1, 0])
conv = numbers(12, 3, 0.0625).reshape(3, 4).requires_grad_()
conv_bias = numbers(3, 6, 0.125).requires_grad_()
linear = numbers(15, 11, 0.25).reshape(5, 3).requires_grad_()
linear_bias = numbers(5, 9, 0.25).requires_grad_()

out = image @ conv.T + conv_bias
logits = torch.nn.functional.silu(out).mean((1, 2)) @ linear.T + linear_bias
mse = (weight * ((out - target) ** 2).mean((1, 2, 3))).mean()
entropy = torch.nn.functional.cross_entropy(
    logits, labels, ignore_index=-1, label_smoothing=0.1, reduction="sum"
)
loss = mse + entropy / 3
loss.backward()

print("/* Made by make_losses.py with PyTorch. */")
for name, tensor in (
    ("torch_loss", loss),
    ("torch_image", out),
    ("torch_logits", logits),
    ("torch_conv", conv.grad),
    ("torch_conv_bias", conv_bias.grad),
    ("torch_linear", linear.grad),
    ("torch_linear_bias", linear_bias.grad),
):
    print(text(name, tensor))
