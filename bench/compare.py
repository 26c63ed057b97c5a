"""sumi and its peers side by side; see bench/compare, which calls this. Python's standard library
only: the peers run in a Python of their own."""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TORCH = ["eager", "channels_last", "compile", "channels_last_compile", "channels_last_autocast",
         "channels_last_compile_autocast"]
# On a card: float32, with TF32 in its place, and with bfloat16 where PyTorch thinks it is safe.
DEVICE_TORCH = ["eager", "compile", "eager_tf32", "compile_tf32", "eager_autocast",
                "compile_autocast"]
# Float32 without tensor cores in TFLOP/s, and memory in GB/s: from data sheets, by what is in a name.
CARDS = {"RTX 4090": (82.6, 1008), "A100": (19.5, 1555), "7900 XTX": (61.4, 960)}
PRECISIONS = ["fp32", "bf16", "fixed16"]
RUNTIMES = ["onnxruntime", "openvino", "openvino_default"]
# what: height and width, batch, timed steps of each in a round
DEFAULTS = {"train": ((28, 28), 128, 3), "sample": ((32, 32), 64, 3), "latency": ((32, 32), 1, 50),
            "memory": ((28, 28), 128, 3)}
NETS = ["tutorial", "unet"]
NET_OPTIONS = {"tutorial": [], "unet": ["--net", "unet", "--attention", "3"]}
GROUPS = {"both": ["train", "sample"], "all": list(DEFAULTS)}
COMMANDS = {"train": "train", "sample": "sample", "latency": "sample", "memory": "train"}
MIB = 1024.0 * 1024.0


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


def torch_device(name):
    """PyTorch's name of a device of sumi's; the CPU stands in for what PyTorch has not."""
    return name if name in ("cuda", "mps") else "cpu"


def find_device(args):
    """The name of the device that sumi finds; where there is none, its line and its exit code."""
    command = [args.sumi, "bench", "sample", "--device", args.device, "--size", "8", "--batch", "1",
               "--steps", "1", "--base-channels", "4", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it ended without a word").splitlines()[-1]
        line = json.loads(said)["error"] if said.startswith("{") else said
        print(f"bench/compare: {line}", file=sys.stderr)
        sys.exit(done.returncode)
    return json.loads(done.stdout)["device"]


def roofline(setting, limits):
    """The least time in ms, by the operations and bytes of each node of the CPU's plan at a small
    batch, which grow with the batch: of each node that of its operations or of its bytes."""
    small = min(setting.batch, 8)
    command = [setting.sumi, "bench", COMMANDS[setting.what], "--profile", "--json", "--device", "cpu",
               "--size", f"{setting.height}x{setting.width}", "--batch", str(small), "--steps", "1",
               "--threads", str(setting.threads), *NET_OPTIONS[setting.net]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stdout.strip()} {done.stderr.strip()}")
    times = setting.batch / small
    ops = json.loads(done.stdout)["ops"]
    flops, moved = sum(op["gflop"] for op in ops) * 1e9, sum(op["bytes"] for op in ops)
    least = sum(max(1e9 * op["gflop"] / (limits[0] * 1e12), op["bytes"] / (limits[1] * 1e9))
                for op in ops)
    return {"gflop": 1e-9 * flops * times, "gb": 1e-9 * moved * times, "least_ms": 1e3 * least * times}


def print_roofline(setting, rows, args):
    """What the first row is of the device's limits, where these are known."""
    known = [limits for name, limits in CARDS.items() if name in setting.device_name]
    limits = args.limits or (known[0] if known else None)
    if limits is None:
        print("  no limits of this device are known: --limits TFLOPS GBYTES", file=sys.stderr)
        return
    at = roofline(setting, limits)
    print(f"  at {limits[0]:g} TFLOP/s and {limits[1]:g} GB/s {at['gflop']:.1f} GFLOP and {at['gb']:.2f} GB"
          f" take {at['least_ms']:.2f} ms at least; {rows[0]['name']} is at"
          f" {100 * at['least_ms'] / rows[0]['ms']:.0f} % of that")


class Sumi:
    """A new process each round: it starts in no time and warms up by itself."""

    def __init__(self, setting, precision):
        self.setting, self.note, self.version = setting, "", ""
        self.precision, self.name = precision, f"sumi {precision}"

    def ready(self):
        self.times(1)

    def times(self, steps):
        s = self.setting
        command = [s.sumi, "bench", COMMANDS[s.what], "--size", f"{s.height}x{s.width}", "--batch",
                   str(s.batch), "--threads", str(s.threads), "--steps", str(steps), "--json",
                   "--precision", self.precision, *NET_OPTIONS[s.net], "--device", s.device]
        with tempfile.TemporaryFile("w+") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            text = out.read()
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}: {text.strip()}")
        result = json.loads(text)
        self.version, self.note = result["version"], result["isa"]
        self.peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return [result["ms"]]

    def memory(self, steps):
        """Bytes: the peak, and what of it the program itself is, which is all but nothing."""
        self.times(steps)
        return self.peak, 0

    def close(self):
        pass


class Peer:
    """A process that waits between its turns."""

    def __init__(self, setting, script, variant):
        self.name = f"torch {variant}" if script == "torch_peer.py" else variant
        self.note = self.version = ""
        s = setting
        command = [s.python, os.path.join(HERE, "peers", script), "--what", COMMANDS[s.what],
                   "--variant",
                   variant, "--net", s.net, "--height", str(s.height), "--width", str(s.width), "--batch",
                   str(s.batch), "--threads", str(s.threads), "--device", torch_device(s.device)]
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

    def memory(self, steps):
        """Bytes: the peak, and what the process had before it made a network."""
        self.times(steps)
        self.process.stdin.write("memory\n")
        self.process.stdin.flush()
        told = self.answer() or {"peak": 0, "imported": 0}
        return told["peak"], told["imported"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def peers_of(setting, names):
    """Every peer, ready and warm; one after the other, so that none slows another down."""
    on_cpu = setting.device == "cpu"
    peers = [("torch_peer.py", v) for v in (TORCH if on_cpu else DEVICE_TORCH)]
    if COMMANDS[setting.what] == "sample" and on_cpu:
        peers += [("runtime_peer.py", v) for v in RUNTIMES]
    for script, variant in peers if setting.python else []:
        if names and variant not in names:
            continue
        peer = Peer(setting, script, variant)
        failure = peer.ready()
        if failure is None:
            yield peer
        else:
            print(f"  {peer.name} is left out: {failure}", file=sys.stderr)
            peer.close()


def row_of(setting, contender, **measured):
    return {"what": setting.what, "net": setting.net, "size": f"{setting.height}x{setting.width}",
            "batch": setting.batch, "threads": setting.threads, "name": contender.name,
            "device": setting.device_name, "version": contender.version, "note": contender.note, **measured}


def compare(setting, args):
    """Medians of rounds in which all take turns, so that a busy moment hits all alike."""
    ours = [Sumi(setting, precision) for precision in args.precision]
    for sumi in ours:
        sumi.ready()
    contenders = [*ours, *peers_of(setting, args.peers)]
    times = {c.name: [] for c in contenders}
    for number in range(args.rounds):
        for contender in contenders:
            times[contender.name] += contender.times(setting.steps)
        print(f"\r  round {number + 1} of {args.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = []
    for contender in contenders:
        contender.close()
        ms = median(times[contender.name])
        rows.append(row_of(setting, contender, ms=ms, min_ms=min(times[contender.name]),
                           max_ms=max(times[contender.name]),
                           images_per_s=1e3 * setting.batch / ms))
    return rows


def weigh(setting, args):
    """Peak memory, one process after the other."""
    rows = []
    ours = [Sumi(setting, precision) for precision in args.precision]
    for contender in itertools.chain(ours, peers_of(setting, args.peers)):
        peak, imported = contender.memory(setting.steps)
        contender.close()
        rows.append(row_of(setting, contender, peak_mib=peak / MIB, own_mib=(peak - imported) / MIB))
    return rows


def print_heading(first):
    device = "" if first["device"] == "cpu" else f", {first['device']}"
    print(f"{first['what']} {first['net']} {first['size']}, batch {first['batch']}, {first['threads']} threads{device}")


def print_memory(rows):
    first = rows[0]
    print_heading(first)
    print(f"  {'':36} {'peak MiB':>10} {'sumi takes':>12} {'less imports':>13} {'sumi takes':>12}")
    for r in rows:
        line = f"  {r['name'] + ' ' + r['version']:36}"
        for key, width in (("peak_mib", 10), ("own_mib", 13)):
            share = "" if r is first else f"{r[key] / first[key]:.2f} x less"
            line += f" {r[key]:{width}.0f} {share:>12}"
        print(f"{line}{'  (' + r['note'] + ')' if r['note'] else ''}")


def print_table(rows):
    first, ours = rows[0], rows[0]["images_per_s"]
    unit = "images/s" if first["what"] == "train" else "evaluations/s"
    print_heading(first)
    print(f"  {'':36} {unit:>13} {'ms':>9} {'fastest':>9} {'slowest':>9}  sumi is")
    for r in rows:
        name = f"{r['name']} {r['version']}"
        ratio = "" if r is first else f"{ours / r['images_per_s']:.2f} x"
        note = f"  ({r['note']})" if r["note"] else ""
        print(f"  {name:36} {r['images_per_s']:13.1f} {r['ms']:9.2f} {r['min_ms']:9.2f}"
              f" {r['max_ms']:9.2f}  {ratio:>7}{note}")


def parse():
    p = argparse.ArgumentParser(prog="bench/compare", description="Times sumi and its peers in turns.")
    p.add_argument("what", nargs="?", choices=[*DEFAULTS, *GROUPS], default="both",
                   help="train: a training step; sample: an evaluation of many images; latency: "
                        "of one image; memory: the peak of training; both: train and sample")
    p.add_argument("--net", choices=NETS,
                   help="the tutorial's network, or unet with attention at its third level; the "
                        "tutorial's if not given, and with --device both")
    p.add_argument("--device", default="cpu",
                   help="where both compute: cuda, mps, or opencl:N, for which the CPU stands in on "
                        "PyTorch's side; exit code 17 where there is none")
    p.add_argument("--limits", nargs=2, type=float, metavar=("TFLOPS", "GBYTES"),
                   help="what the device can do in a second, for what a step takes at least")
    p.add_argument("--alone", action="store_true", help="only sumi, without the peers")
    p.add_argument("--size", help="HxW; 28x28 for training and 32x32 for sampling")
    p.add_argument("--batch", type=int, help="128 for training, 64 for sampling, 1 for latency")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int,
                   help="timed steps of each in a round; 3, for latency 50")
    p.add_argument("--peers", nargs="+", choices=TORCH + RUNTIMES + DEVICE_TORCH,
                   metavar="PEER", help="only these: " + " ".join(TORCH + RUNTIMES)
                   + "; on a device " + " ".join(DEVICE_TORCH))
    p.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["fp32"],
                   help="sumi's; with several, ratios are those of the first")
    p.add_argument("--sumi", default=os.path.join(ROOT, "build", "sumi"), help="the program")
    p.add_argument("--python", default=os.environ.get("SUMI_PEERS_PYTHON"),
                   help="a Python that has the peers ($SUMI_PEERS_PYTHON, else .venv)")
    p.add_argument("--json", action="store_true")
    return p.parse_args()


def main():
    args = parse()
    on_cpu = args.device == "cpu"
    if not on_cpu and args.what in ("memory", "all"):
        sys.exit("bench/compare: the memory that training takes is told of the CPU only")
    device_name = "cpu" if on_cpu else find_device(args)
    local = os.path.join(ROOT, ".venv", "bin", "python")
    if not args.python and os.path.exists(local):
        args.python = local
    if args.alone:
        args.python = None
    elif not args.python:
        print("No Python with the peers: only sumi is timed (./dev setup --oracle makes .venv)",
              file=sys.stderr)
    all_rows = []
    if not args.json:
        busy = "; the machine is busy: ratios of such times say little"
        load = os.getloadavg()[0]
        print(f"{cpu_name()}, load {load:.1f} before{busy if load > 0.5 else ''}", flush=True)
    nets = [args.net] if args.net else NETS[:1] if on_cpu else NETS
    for what, net in itertools.product(GROUPS.get(args.what, [args.what]), nets):
        (height, width), batch, steps = DEFAULTS[what]
        if args.size:
            height, width = (int(side) for side in args.size.split("x"))
        setting = argparse.Namespace(what=what, net=net, height=height, width=width,
                                     batch=args.batch or batch, threads=args.threads,
                                     steps=args.steps or steps, device=args.device,
                                     device_name=device_name, sumi=args.sumi, python=args.python)
        rows = weigh(setting, args) if what == "memory" else compare(setting, args)
        all_rows += rows
        if not args.json:
            (print_memory if what == "memory" else print_table)(rows)
        if not args.json and not on_cpu:
            print_roofline(setting, rows, args)
    if args.json:
        print(json.dumps({"cpu": cpu_name(), "rows": all_rows}, indent=2))


main()
