"""sumi and its peers side by side; see bench/compare, which calls this. Python's standard library
only: the peers run in a Python of their own."""

import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TORCH = ["eager", "channels_last", "compile", "channels_last_compile"]
RUNTIMES = ["onnxruntime", "openvino", "openvino_default"]
DEFAULTS = {"train": ((28, 28), 128), "sample": ((32, 32), 64)}


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "an unknown CPU"


class Sumi:
    """A new process each round: it starts in no time and warms up by itself."""

    name = "sumi"

    def __init__(self, setting):
        self.setting, self.note, self.version = setting, "", ""

    def ready(self):
        self.times(1)

    def times(self, steps):
        s = self.setting
        command = [s.sumi, "bench", s.what, "--size", f"{s.height}x{s.width}", "--batch",
                   str(s.batch), "--threads", str(s.threads), "--steps", str(steps), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
        result = json.loads(done.stdout)
        self.version, self.note = result["version"], result["isa"]
        return [result["ms"]]

    def close(self):
        pass


class Peer:
    """A process that waits between its turns."""

    def __init__(self, setting, script, variant):
        self.name = f"torch {variant}" if script == "torch_peer.py" else variant
        self.note = self.version = ""
        s = setting
        command = [s.python, os.path.join(HERE, "peers", script), "--what", s.what, "--variant",
                   variant, "--height", str(s.height), "--width", str(s.width), "--batch",
                   str(s.batch), "--threads", str(s.threads)]
        environment = dict(os.environ, OMP_NUM_THREADS=str(s.threads), PYTHONDONTWRITEBYTECODE="1")
        self.errors = tempfile.TemporaryFile("w+")  # not a pipe: nobody would empty it
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True, env=environment)

    def answer(self):
        for line in self.process.stdout:
            if line.startswith(("{", "[")):  # libraries may print, too
                return json.loads(line)
        return None

    def ready(self):
        told = self.answer()
        if told is None:
            self.process.wait()
            self.errors.seek(0)
            error = self.errors.read().strip().splitlines()
            return error[-1] if error else "it ended without a word"
        self.version, self.note = told["version"].split("+")[0], told["note"]
        return None

    def times(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return self.answer() or []

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def start(setting, names):
    """Every contender, ready and warm; one after the other, so that none slows another down."""
    peers = [("torch_peer.py", v) for v in TORCH]
    if setting.what == "sample":
        peers += [("runtime_peer.py", v) for v in RUNTIMES]
    contenders = [Sumi(setting)]
    contenders[0].ready()
    for script, variant in peers if setting.python else []:
        if names and variant not in names:
            continue
        peer = Peer(setting, script, variant)
        failure = peer.ready()
        if failure is None:
            contenders.append(peer)
        else:
            print(f"  {peer.name} is left out: {failure}", file=sys.stderr)
            peer.close()
    return contenders


def compare(setting, args):
    """Medians of rounds in which all take turns, so that a busy moment hits all alike."""
    contenders = start(setting, args.peers)
    times = {c.name: [] for c in contenders}
    for number in range(args.rounds):
        for contender in contenders:
            times[contender.name] += contender.times(args.steps)
        print(f"\r  round {number + 1} of {args.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = []
    for contender in contenders:
        contender.close()
        ms = median(times[contender.name])
        rows.append({"what": setting.what, "size": f"{setting.height}x{setting.width}",
                     "batch": setting.batch, "threads": setting.threads, "name": contender.name,
                     "version": contender.version, "note": contender.note, "ms": ms,
                     "min_ms": min(times[contender.name]), "max_ms": max(times[contender.name]),
                     "images_per_s": 1e3 * setting.batch / ms})
    return rows


def print_table(rows):
    first, ours = rows[0], rows[0]["images_per_s"]
    unit = "images/s" if first["what"] == "train" else "evaluations/s"
    print(f"{first['what']} {first['size']}, batch {first['batch']}, {first['threads']} threads")
    print(f"  {'':36} {unit:>13} {'ms':>9} {'fastest':>9} {'slowest':>9}  sumi is")
    for r in rows:
        name = f"{r['name']} {r['version']}"
        ratio = "" if r is first else f"{ours / r['images_per_s']:.2f} x"
        note = f"  ({r['note']})" if r["note"] else ""
        print(f"  {name:36} {r['images_per_s']:13.1f} {r['ms']:9.2f} {r['min_ms']:9.2f}"
              f" {r['max_ms']:9.2f}  {ratio:>7}{note}")


def parse():
    p = argparse.ArgumentParser(prog="bench/compare", description="Times sumi and its peers in turns.")
    p.add_argument("what", nargs="?", choices=["train", "sample", "both"], default="both")
    p.add_argument("--size", help="HxW; 28x28 for training and 32x32 for sampling")
    p.add_argument("--batch", type=int, help="128 for training and 64 for sampling")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int, default=3, help="timed steps of each in a round")
    p.add_argument("--peers", nargs="+", choices=TORCH + RUNTIMES, metavar="PEER",
                   help="only these: " + " ".join(TORCH + RUNTIMES))
    p.add_argument("--sumi", default=os.path.join(ROOT, "build", "sumi"), help="the program")
    p.add_argument("--python", default=os.environ.get("SUMI_PEERS_PYTHON"),
                   help="a Python that has the peers ($SUMI_PEERS_PYTHON, else .venv)")
    p.add_argument("--json", action="store_true")
    return p.parse_args()


def main():
    args = parse()
    local = os.path.join(ROOT, ".venv", "bin", "python")
    if not args.python and os.path.exists(local):
        args.python = local
    if not args.python:
        print("No Python with the peers: only sumi is timed (./dev setup --oracle makes .venv)",
              file=sys.stderr)
    all_rows = []
    if not args.json:
        busy = "; the machine is busy: ratios of such times say little"
        load = os.getloadavg()[0]
        print(f"{cpu_name()}, load {load:.1f} before{busy if load > 0.5 else ''}", flush=True)
    for what in DEFAULTS if args.what == "both" else [args.what]:
        (height, width), batch = DEFAULTS[what]
        if args.size:
            height, width = (int(side) for side in args.size.split("x"))
        setting = argparse.Namespace(what=what, height=height, width=width,
                                     batch=args.batch or batch, threads=args.threads,
                                     sumi=args.sumi, python=args.python)
        rows = compare(setting, args)
        all_rows += rows
        if not args.json:
            print_table(rows)
    if args.json:
        print(json.dumps({"cpu": cpu_name(), "rows": all_rows}, indent=2))


main()
