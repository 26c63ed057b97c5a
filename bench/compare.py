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
                   "--precision", self.precision, *NET_OPTIONS[s.net]]
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
    peers = [("torch_peer.py", v) for v in TORCH]
    if COMMANDS[setting.what] == "sample":
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
            "version": contender.version, "note": contender.note, **measured}


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
    print(f"{first['what']} {first['net']} {first['size']}, batch {first['batch']}, {first['threads']} threads")


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
    p.add_argument("--net", choices=NETS, default=NETS[0],
                   help="the tutorial's network, or unet with attention at its third level")
    p.add_argument("--size", help="HxW; 28x28 for training and 32x32 for sampling")
    p.add_argument("--batch", type=int, help="128 for training, 64 for sampling, 1 for latency")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--steps", type=int,
                   help="timed steps of each in a round; 3, for latency 50")
    p.add_argument("--peers", nargs="+", choices=TORCH + RUNTIMES, metavar="PEER",
                   help="only these: " + " ".join(TORCH + RUNTIMES))
    p.add_argument("--precision", nargs="+", choices=PRECISIONS, default=["fp32"],
                   help="sumi's; with several, ratios are those of the first")
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
    for what in GROUPS.get(args.what, [args.what]):
        (height, width), batch, steps = DEFAULTS[what]
        if args.size:
            height, width = (int(side) for side in args.size.split("x"))
        setting = argparse.Namespace(what=what, net=args.net, height=height, width=width,
                                     batch=args.batch or batch, threads=args.threads,
                                     steps=args.steps or steps,
                                     sumi=args.sumi, python=args.python)
        rows = weigh(setting, args) if what == "memory" else compare(setting, args)
        all_rows += rows
        if not args.json:
            (print_memory if what == "memory" else print_table)(rows)
    if args.json:
        print(json.dumps({"cpu": cpu_name(), "rows": all_rows}, indent=2))


main()
