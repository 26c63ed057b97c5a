"""PyTorch as a peer: a training step of the tutorial's, or one network evaluation of a sampling step."""

import importlib

import torch

from peer import arguments, network, peak_bytes, serve
from torch_seed import Diffuser, train_step

VARIANTS = ["eager", "channels_last", "compile", "channels_last_compile",
            "channels_last_autocast", "channels_last_compile_autocast", "eager_tf32", "compile_tf32",
            "eager_autocast", "compile_autocast"]


def autocast(model, kind):
    """The model with bfloat16 arithmetic where PyTorch thinks it is safe, as users ask for it."""
    def run(*inputs):
        with torch.autocast(kind, dtype=torch.bfloat16):
            return model(*inputs).float()
    return run


def on_device(args):
    """Everything is made there. Float32 is float32, unless TF32 is asked for: convolutions on
    cards of NVIDIA have ten bits of it by default."""
    device = torch.device(args.device)
    torch.set_default_device(device)
    torch.backends.cuda.matmul.allow_tf32 = "tf32" in args.variant
    torch.backends.cudnn.allow_tf32 = "tf32" in args.variant
    return device


def waited_for(step, device):
    """A step that is over when the device is done with it."""
    if device.type == "cpu":
        return step
    wait = torch.cuda.synchronize if device.type == "cuda" else torch.mps.synchronize

    def run():
        step()
        wait()

    return run


def main():
    args = arguments(VARIANTS)
    if "compile" in args.variant:
        importlib.import_module("torch._inductor.compile_fx")  # a part of the library, too
    imported = peak_bytes()
    torch.set_num_threads(args.threads)
    device = on_device(args)
    torch.manual_seed(0)
    model = network(args)
    if "channels_last" in args.variant:
        model = model.to(memory_format=torch.channels_last)
    run = torch.compile(model) if "compile" in args.variant else model
    if "autocast" in args.variant:
        run = autocast(run, device.type)
    shape = (args.batch, 1, args.height, args.width)
    images = torch.rand(shape)

    if args.what == "train":
        diffuser = Diffuser()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

        def step():
            t = torch.randint(1, diffuser.timesteps + 1, (args.batch,))
            return train_step(run, diffuser, optimizer, images, t, torch.randn(shape))

    else:
        model.eval()
        t = torch.arange(args.batch) * 999 // args.batch + 1

        @torch.no_grad()
        def step():
            return run(images, t)

    note = "bf16 autocast" if "autocast" in args.variant else "TF32" if "tf32" in args.variant else ""
    serve(waited_for(step, device), torch.__version__, note=note, imported=imported)


main()
