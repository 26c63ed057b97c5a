"""TensorBoard itself reads a run's event file: every step once, as in metrics.jsonl, also after a
kill, and the sample grids as pictures."""

import json
import os
import signal
import subprocess
import tempfile
import time

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SUMI = os.environ["SUMI"]
SETTINGS = ("--size 8 --batch 8 --base-channels 4 --time-dim 4 --timesteps 8 --grid 4 "
            "--checkpoint-every 7").split()

with tempfile.TemporaryDirectory() as folder:
    run = os.path.join(folder, "run")
    process = subprocess.Popen([SUMI, "train", "shapes", "--steps", "1000000", "--out", run, "-q"] + SETTINGS)
    while not os.path.exists(os.path.join(run, "checkpoints", "step_70")):
        assert process.poll() is None
        time.sleep(.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    steps = int(open(os.path.join(run, "latest")).read().split("_")[1]) + 30
    subprocess.run([SUMI, "train", "--resume", run, "--steps", str(steps), "-q"], check=True)
    events = EventAccumulator(run, size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    lines = [json.loads(line) for line in open(os.path.join(run, "metrics.jsonl"))]
    for tag, key in [("train/loss", "loss"), ("train/learning_rate", "lr")]:
        scalars = events.Scalars(tag)
        assert [s.step for s in scalars] == [line["step"] for line in lines] == list(range(1, steps + 1))
        for scalar, line in zip(scalars, lines):
            assert abs(scalar.value - line[key]) <= 1e-6 * abs(line[key])
    images = events.Images("samples")
    assert [i.step for i in images] == [steps], images
    assert images[0].encoded_image_string.startswith(b"\x89PNG") and images[0].width > 8
print("read by TensorBoard:", steps, "steps")
