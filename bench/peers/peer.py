"""What every peer does: say what it is, then time calls when bench/compare asks for them.

A peer is a process that lives through all rounds, so that compiling and warming up happen once and
before any timing. It prints a line of JSON when it is ready; then, for each line of input that is a
number k, it runs k steps and prints their times in milliseconds as a JSON list, and for the line
"memory" the bytes of its peak, and of what it had after its imports.
"""

import argparse
import json
import os
import resource
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "golden"))

WARM_UP = 3


def peak_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def arguments(variants):
    parser = argparse.ArgumentParser()
    parser.add_argument("--what", choices=["train", "sample"], required=True)
    parser.add_argument("--variant", choices=variants, required=True)
    parser.add_argument("--net", choices=["tutorial", "unet"], default="tutorial")
    parser.add_argument("--height", type=int, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", default="cpu", help="PyTorch's name of it")
    return parser.parse_args()


def network(args):
    """What `sumi bench` makes of --net, with NET_OPTIONS of compare.py."""
    if args.net == "unet":
        from torch_unet import UNet
        model = UNet(classes=0, attention=(3,))
        for values in model.parameters():  # it starts as zeros, which say nothing of exactness
            if not values.any():
                values.data.uniform_(-0.05, 0.05)
        return model
    from torch_seed import UNetWithTime
    return UNetWithTime()


def serve(step, version, note="", imported=0):
    """imported: peak_bytes() before a network was made."""
    for _ in range(WARM_UP):
        step()
    print(json.dumps({"version": version, "note": note}), flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(json.dumps({"peak": peak_bytes(), "imported": imported}), flush=True)
            continue
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - start))
        print(json.dumps(times), flush=True)
