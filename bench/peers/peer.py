"""What every peer does: say what it is, then time calls when bench/compare asks for them.

A peer is a process that lives through all rounds, so that compiling and warming up happen once and
before any timing. It prints a line of JSON when it is ready; then, for each line of input that is a
number k, it runs k steps and prints their times in milliseconds as a JSON list.
"""

import argparse
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "golden"))

WARM_UP = 3


def arguments(variants):
    parser = argparse.ArgumentParser()
    parser.add_argument("--what", choices=["train", "sample"], required=True)
    parser.add_argument("--variant", choices=variants, required=True)
    parser.add_argument("--height", type=int, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    return parser.parse_args()


def serve(step, version, note=""):
    for _ in range(WARM_UP):
        step()
    print(json.dumps({"version": version, "note": note}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - start))
        print(json.dumps(times), flush=True)
