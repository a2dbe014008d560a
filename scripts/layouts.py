"""The same counts and tickets, however a run is cut: devices, lanes, processes, shards, kills,
processors, versions of jax.

Runs small problems through the command line, once plainly and then cut in every way there is. Each
line: trials counted, a digest of all counts, and whether both are the plain run's; of a ticket, the
bytes of its file and their digest. Exits with 1 if any differs. Older processors are stood for by
this one, with the compiler and the linear algebra held to what they know.

    python scripts/layouts.py                      # about four minutes on two cores
    python scripts/layouts.py --other PYTHON       # also with another interpreter and its jax
    python scripts/layouts.py --part ticket        # neuron, network or ticket alone
"""

import argparse
import hashlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
KILLS = 4
# The instructions that XLA may use, and the kernels of OpenBLAS for a processor of that time.
PROCESSORS = {"SSE4_2": "Nehalem", "AVX2": "Haswell", "AVX512": "SkylakeX"}
# The command line under a condition for which it has no flag: a statement, before its words.
ALTERED = (
    "import sys; from ltjax.cli import program; from ltjax.counting import engine; "
    "from ltjax.experiments.network import device as network; "
    "from ltjax.experiments.neuron import device as neuron; "
    "exec(sys.argv.pop(1)); sys.exit(program.main())"
)
NEURON = "neuron --dim 3 --epsilon 0.4 0.15 --trials 20000"
# Not in the plane: there the supremum is exact, and no ascent is run.
NETWORK = (
    "network --dim 3 --hidden 3 --depth 2 --epsilon 0.5 0.3 --blocks 8 27 91 "
    "--constructions blocks --rules tight sup --trials 1300"
)
SMALL = "neuron --dim 2 --epsilon 0.3 --widths 4 8 16 --constructions blocks --rules tight"
QUICK = f"{SMALL} --trials 6000"
TARGET, TICKET = (6, 8, 8, 2), "--epsilon 0.5 --seed 1 --narrow"
QUICK_TARGET, QUICK_TICKET = (2, 2, 1), "--epsilon 0.5 --seed 1"


def launch(words, devices=2, python=sys.executable, altered=None, processor=None):
    """Start the command line in a process of its own, on so many CPU devices.

    Args:
        words: of the command line, after ltjax.
        altered: statement to be executed before it.
        processor: one of PROCESSORS, beyond which nothing is used.
    """
    program = ["-m", "ltjax.cli.program"] if altered is None else ["-c", ALTERED, altered]
    settings = {
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",  # as `cli` sets it, where a statement has not come before
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    if processor is not None:
        settings["XLA_FLAGS"] += f" --xla_cpu_max_isa={processor}"
        settings["OPENBLAS_CORETYPE"] = PROCESSORS[processor]
    return subprocess.Popen(
        [python, *program, *map(str, words)],
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes):
    """Wait for all; end with the last words of one that failed."""
    said = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, said, strict=True):
        if process.returncode:
            sys.exit(f"a run ended with {process.returncode}: {errors.strip()[-300:]}")


def digest(tally):
    """Sixteen hex digits for all counts of a tally."""
    import numpy as np

    counts = np.concatenate([tally.certified.ravel(), tally.refuted.ravel(), [tally.invalid]])
    return hashlib.sha256(counts.astype("<i8").tobytes()).hexdigest()[:16]


def trials(path):
    from ltjax.counting import records

    return records.load([path]).trials


# Layouts: each runs a curve into the record `out`, and may have something to tell of it.


def plain(words, out, **how):
    finish(launch([*words, "--out", out], **how))


def team(words, out, number):
    """Processes that talk to each other over loopback, one device each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = "{}:{}".format(*free.getsockname())
    places = [["--distributed", where, "--process", f"{k}/{number}"] for k in range(1, number + 1)]
    finish(*(launch([*words, "--out", out, *place], devices=1) for place in places))


def shards(words, out, number):
    """Processes that know nothing of each other, and their records merged."""
    parts = {f"{k}/{number}": f"{out}-{k}" for k in range(1, number + 1)}
    finish(*(launch([*words, "--shard", k, "--out", part]) for k, part in parts.items()))
    finish(launch(["merge", *parts.values(), "--out", out]))


def lanes(number):
    return f"neuron.lanes = network.lanes = lambda config: {number}"


def killed(words, out, kills):
    """Killed at random moments, each after a batch more is recorded; then run to its end."""
    rng, at = random.Random(0), []
    altered = f"engine.BATCH_SECONDS = 0.0; {lanes(16)}"  # many batches
    lines = lambda: out.read_bytes().count(b"\n") if out.exists() else 0
    for _ in range(kills):
        before = max(lines(), 1)  # the header is no batch
        process = launch([*words, "--out", out], altered=altered)
        while lines() <= before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.communicate()
        if process.returncode == 0:
            break
        at.append(f"{trials(out):,}")
    if not at:
        sys.exit("the run was over before it could be killed.")
    plain(words, out, altered=altered)
    return f"at {', '.join(at)} trials"


def layouts(quick, other):
    """Those to be compared with the plain run on two devices with automatic lanes, by name."""
    devices, sides, teams, parts = (1, 3, 8), (37, 256), (2, 4), 5
    if quick:
        devices, sides, teams, parts = (3,), (37,), (2,), 2
    named = {f"{n} device{'s' * (n > 1)}": partial(plain, devices=n) for n in devices}
    named |= {f"{n} lanes": partial(plain, altered=lanes(n)) for n in sides}
    named |= {f"{n} processes": partial(team, number=n) for n in teams}
    named |= {f"{parts} shards, merged": partial(shards, number=parts)}
    named |= {"killed and resumed": partial(killed, kills=1 if quick else KILLS)}
    return named | {name: partial(plain, **how) for name, how in machines(quick, other).items()}


def machines(quick, other):
    """Other processors, and with another interpreter its jax on each: arguments of `launch`."""
    processors = ("AVX2",) if quick else tuple(PROCESSORS)
    named = {f"up to {name}": {"processor": name} for name in processors}
    if other is not None:
        jax = f"jax {version(other)}"
        named |= {jax: {"python": other}}
        named |= {f"{jax}, {n}": {"python": other, "processor": n} for n in processors}
    return named


def version(python):
    code = "import jax; print(jax.__version__)"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout[
        :-1
    ]


def compare(curve, others, folder):
    """Print a line for the plain run of a curve and for each other; return how many differ."""
    from ltjax.counting import records

    print(f"ltjax curve {curve}", flush=True)
    words = ["curve", *curve.split(), "--quiet", "--compile-cache", folder / "programs"]
    count = int(words[words.index("--trials") + 1])

    def run(name, layout):
        out = folder / f"{name}.jsonl".replace(" ", "-")
        said = layout(words, out)
        tally = records.load([out])
        return tally.ranges, digest(tally), said or ""

    def line(name, ranges, found, verdict, said):
        number = sum(stop - start for start, stop in ranges)
        print(
            f"  {name:<20} {number:>6,} trials  {found}  {verdict:<9} {said}".rstrip(), flush=True
        )

    ranges, expected, _ = run("2 devices", plain)
    if ranges != ((0, count),):
        sys.exit(f"the plain run counted trials {ranges}.")
    line("2 devices", ranges, expected, "", "all others against this one")
    differ = 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for name, found in zip(others, pool.map(run, others, others.values()), strict=True):
            same = found[:2] == (ranges, expected)
            line(name, *found[:2], "same" if same else "DIFFERENT", found[2])
            differ += not same
    return differ


def compare_tickets(sizes, words, others, folder):
    """The same of the file of a ticket."""
    import numpy as np

    from ltjax.networks import targets

    print(f"ltjax ticket {words}, of a target {'-'.join(map(str, sizes))}", flush=True)
    np.savez(folder / "target.npz", *(4.0 * layer for layer in targets.random_target(0, sizes)))
    digests, out = [], folder / "ticket.npz"
    for name, how in ({"2 devices": {}} | others).items():
        finish(launch(["ticket", folder / "target.npz", *words.split(), "--out", out], **how))
        data = out.read_bytes()
        out.unlink()
        digests.append(hashlib.sha256(data).hexdigest()[:16])
        verdict = "same" if digests[-1] == digests[0] else "DIFFERENT"
        verdict = verdict if len(digests) > 1 else "all others against this one"
        print(f"  {name:<20} {len(data):>6,} bytes   {digests[-1]}  {verdict}", flush=True)
    return sum(found != digests[0] for found in digests)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", metavar="PYTHON", help="interpreter with another jax")
    parser.add_argument("--quick", action="store_true", help="a smaller problem, fewer layouts")
    parser.add_argument("--part", choices=["neuron", "network", "ticket"], help="one part")
    args = parser.parse_args(argv)
    if args.quick and args.part == "network":
        parser.error(
            "part must not be network beside --quick, which has none: nothing would be compared."
        )
    others, differ = layouts(args.quick, args.other), 0
    for curve in [QUICK] if args.quick else [NEURON, NETWORK]:
        if args.part in (None, curve.split()[0]):
            with tempfile.TemporaryDirectory() as folder:
                differ += compare(curve, others, Path(folder))
    if args.part in (None, "ticket"):
        some = (QUICK_TARGET, QUICK_TICKET) if args.quick else (TARGET, TICKET)
        with tempfile.TemporaryDirectory() as folder:
            differ += compare_tickets(*some, machines(args.quick, args.other), Path(folder))
    if args.other is None:
        print("another jax: not compared, as no --other interpreter was named")
    print("the same in every layout" if not differ else f"{differ} layouts DIFFER")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
