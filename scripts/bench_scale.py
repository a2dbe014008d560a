"""What scale costs: devices, processes, durability, starts, stopping rules, a million trials.

As in `bench.py`, what counts are ratios within one run: every part runs in a process of its own,
the parts take turns, and medians are compared.

    python scripts/bench_scale.py                    # about four minutes
    python scripts/bench_scale.py --other PYTHON     # also with another interpreter and its jax
    python scripts/bench_scale.py --million          # a million trials instead: ten minutes
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import bench
import layouts

DIM = bench.DIM
CURVE = ["curve", "neuron", "--dim", DIM, "--quiet"]
SECONDS = 8.0  # of a run that is timed by its own record
ENDLESS = 100_000_000  # trials of a run that something else stops
RULES = (
    {"half_width": 0.1},
    {"half_width": 0.05},
    {"half_width": 0.03},
    {"failures": 30},
    {"failures": 500},
)
MILLION, FEW = 1_000_000, 10_000
WIDER = 8  # times the widths of the default grid


def speed(devices):
    """Trials a second of the engine on so many devices, whatever the cores."""
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    return {"rate": bench.ours(bench.WIDTHS, bench.EPSILONS, devices)}


def durability():
    """Seconds that an append takes, and its share of a batch of a second."""
    import ltjax
    from ltjax.counting.records import Log
    from ltjax.system import devices

    append, spent = Log.append, []

    def timed(log, batch):
        begun = time.perf_counter()
        append(log, batch)
        spent.append((time.perf_counter() - begun, batch.seconds))

    Log.append = timed
    with tempfile.TemporaryDirectory() as folder:
        devices.use_cores()
        ltjax.run(ltjax.neuron(dim=DIM), ENDLESS, Path(folder, "run.jsonl"), seconds=SECONDS)
    appends, batches = zip(*whole(spent, lambda pair: pair[1]), strict=True)
    return {"share": sum(appends) / sum(batches), "seconds": statistics.median(appends)}


def whole(items, seconds):
    """Those of batches as long as they are to be: the first ones find out what a second holds."""
    from ltjax.counting import engine

    return [item for item in items if seconds(item) > engine.BATCH_SECONDS / 2]


def starts():
    """Seconds of one trial where nothing has been compiled before, and of the same again."""

    def seconds():
        begun = time.perf_counter()
        layouts.finish(layouts.launch(words))
        return time.perf_counter() - begun

    with tempfile.TemporaryDirectory() as folder:
        words = ["curve", "neuron", "--trials", 1, "--quiet", "--compile-cache", folder]
        return {name: seconds() for name in ("cold", "warm")}


def processes(number):
    """Trials a second of so many processes of one device, by their record."""
    words = [*CURVE, "--trials", ENDLESS, "--max-seconds", SECONDS]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run.jsonl")
        words += ["--compile-cache", folder]
        if number == 1:
            layouts.plain(words, out, devices=bench.CORES)
        else:
            layouts.team(words, out, number)
        rows = [json.loads(line) for line in out.read_bytes().splitlines()[1:]]
    rows = whole(rows, lambda row: row["seconds"])
    trials = sum(row["stop"] - row["start"] for row in rows)
    return {"rate": trials / sum(row["seconds"] for row in rows)}


def overshoot():
    """Trials that each rule has run, over the least number at which it is met."""
    import numpy as np

    import ltjax
    from ltjax.counting import engine, plans
    from ltjax.experiments.neuron import device
    from ltjax.system import devices

    problem = ltjax.neuron(
        dim=2, epsilons=(0.3,), widths=(120,), constructions=("blocks",), rules=("tight",)
    )
    rules = [ltjax.until(problem, **rule) for rule in RULES]
    devices.use_cores()
    tallies = [ltjax.run(problem, ENDLESS, until=rule) for rule in rules]
    most = max(tally.trials for tally in tallies)
    program = engine.prepare(device, problem, devices.devices("cpu")[:1], lanes=1)
    singles = list(engine.run(program, [(i, i + 1) for i in range(most)]))
    certified, refuted = (
        np.cumsum([getattr(batch, name) for batch in singles], axis=0)
        for name in ("certified", "refuted")
    )

    def met(rule, n):
        counts = {"certified": certified[n - 1], "refuted": refuted[n - 1], "invalid": 0}
        return rule.met(replace(tallies[0], ranges=((0, n),), **counts))

    found = {}
    for asked, rule, tally in zip(RULES, rules, tallies, strict=True):
        least = next(n for n in range(plans.FIRST_LOOK, most + 1) if met(rule, n))
        found[" ".join(f"{name} {value:g}" for name, value in asked.items())] = tally.trials / least
    return found


def long_run(trials, wider=1):
    """The command line on its default grid: seconds, trials a second, peak MiB.

    A short run comes before it: compiling takes more memory than all trials, and would hide theirs.
    """
    import ltjax

    widths = [wider * k for k in ltjax.neuron(dim=DIM).grid.widths]
    words = [*CURVE, "--trials", trials, "--widths", *widths]
    with tempfile.TemporaryDirectory() as folder:
        words += ["--compile-cache", folder]
        layouts.finish(layouts.launch([*words, "--max-seconds", 1], devices=bench.CORES))
        begun = time.perf_counter()
        words += ["--out", Path(folder, "run.jsonl")]
        process = layouts.launch(words, devices=bench.CORES)
        _, status, used = os.wait4(process.pid, 0)
        took = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        layouts.finish(process)
    return {"seconds": took, "rate": trials / took, "peak": used.ru_maxrss / 2**10}


PARTS = {
    "2 devices": partial(speed, 2),
    "8 devices": partial(speed, 8),
    "durability": durability,
    "starts": starts,
    "1 process": partial(processes, 1),
    "2 processes": partial(processes, 2),
    "overshoot": overshoot,
}
MILLION_PARTS = {
    f"{FEW:,} trials": partial(long_run, FEW),
    f"{WIDER} times the widths": partial(long_run, FEW, WIDER),
    f"{MILLION:,} trials": partial(long_run, MILLION),
}
OTHER = "2 devices, other"


def report(median):
    """The ratios promised, and what they were made of, beside their goals."""
    two = median["2 devices"]["rate"]
    lines = [("8 devices over 2", median["8 devices"]["rate"] / two, ">= 0.9")]
    if OTHER in median:
        lines += [("the other jax over this one", median[OTHER]["rate"] / two, ">= 0.8")]
    durable, begun = median["durability"], median["starts"]
    lines += [
        ("durability, % of a run", 100 * durable["share"], "< 1"),
        ("an append, milliseconds", 1e3 * durable["seconds"], ""),
        ("first start, seconds", begun["cold"], ""),
        ("second start, seconds", begun["warm"], ""),
        ("second start over first", begun["warm"] / begun["cold"], ""),
        (
            "2 processes over 1, the same cores",
            median["2 processes"]["rate"] / median["1 process"]["rate"],
            "",
        ),
    ]
    for rule, ratio in median["overshoot"].items():
        lines += [(f"overshoot, {rule}", ratio, "<= 1.125")]
    return lines


def report_million(median):
    """What a million trials take, and that memory grows neither with them nor with widths.

    Peaks of equal runs differ by a few per cent; stored, a million trials would be gigabytes.
    """
    few, wide, million = (median[name] for name in MILLION_PARTS)
    return [
        (f"{MILLION:,} trials, seconds", million["seconds"], ""),
        ("trials a second", million["rate"], ""),
        ("peak memory, MiB", million["peak"], ""),
        (f"peak over that of {FEW:,} trials", million["peak"] / few["peak"], "<= 1.2"),
        (f"the same of {WIDER} times the widths", wide["peak"] / few["peak"], "<= 1.2"),
    ]


def measure(name, python=sys.executable):
    """What a part finds, in a process of its own."""
    run = subprocess.run(
        [python, __file__, "--part", name],
        env=os.environ | {"PYTHONPATH": str(layouts.ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns of every part")
    parser.add_argument("--other", metavar="PYTHON", help="interpreter with another jax")
    parser.add_argument("--million", action="store_true", help="a million trials instead")
    parser.add_argument("--part", choices=PARTS | MILLION_PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.part:
        print(json.dumps((PARTS | MILLION_PARTS)[args.part]()))
        return
    turns = {name: partial(measure, name) for name in (MILLION_PARTS if args.million else PARTS)}
    versions = layouts.version(sys.executable)
    if args.other and not args.million:
        turns[OTHER] = partial(measure, "2 devices", args.other)
        versions += f", other {layouts.version(args.other)}"
    rounds = 1 if args.million else args.rounds
    print(f"{bench.CORES} cores, jax {versions}, medians of {rounds}", flush=True)
    seen = [{name: part() for name, part in turns.items()} for _ in range(rounds)]
    median = {
        name: {key: statistics.median(turn[name][key] for turn in seen) for key in found}
        for name, found in seen[0].items()
    }
    for name, value, goal in (report_million if args.million else report)(median):
        print(f"{name:<40} {value:12,.3f}   {goal}".rstrip())


if __name__ == "__main__":
    main()
