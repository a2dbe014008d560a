"""What a record survives: kills, a full disk, a second writer, a torn end.

The command line runs in processes of its own, as a user would run it, but in batches of a
millisecond, so that a kill strikes within a write about as often as between two. After each append
it says on stdout which trials are recorded: what has been said must never be lost. Prints a line
for each property; exits with 1 at the first that does not hold. A power cut is not tried.

    python scripts/crashes.py                  # a hundred kills, about three minutes on two cores
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import layouts

from ltjax.counting import records
from ltjax.errors import InputError

CURVE = ["curve", *layouts.SMALL.split(), "--quiet"]
WHOLE = 2000  # trials of a run that may end
ENDLESS = 100_000_000  # trials of one that is killed
LONGEST = 0.3  # seconds from a run's first word to its kill
INTERRUPTED, UNUSABLE = 75, 2  # exit codes of the command line
SMALL_BATCHES = "engine.BATCH_SECONDS = 0.0; neuron.lanes = lambda config: 16"
SPEAKING = """
from ltjax.counting.records import Log
append = Log.append
Log.append = lambda log, batch: (append(log, batch), print(batch.stop, flush=True))
"""


class BrokenError(Exception):
    """A property that does not hold."""


class Kill(NamedTuple):
    """trials: said to be recorded. late: a batch was recorded and not said to be. torn: bytes."""

    trials: int
    late: bool
    torn: int


def check(holds, otherwise):
    if not holds:
        raise BrokenError(otherwise)


def start(out, trials=WHOLE, room=None):
    """A run of so many trials into `out`, which speaks; compiled once for all runs of a folder.

    Args:
        room: bytes that a file may have, as on a disk that is then full.
    """
    programs = out.parent / "programs"
    words = [*CURVE, "--trials", trials, "--out", out, "--compile-cache", programs]
    altered = SMALL_BATCHES + SPEAKING
    if room is not None:  # the signal that comes with it is one that Python ignores
        altered += f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))"
    return layouts.launch(words, devices=1, altered=altered)


def complete(*outs):
    """Run what each record lacks of `WHOLE` trials, side by side; their sums."""
    layouts.finish(*(start(out) for out in outs))
    return [records.load([out]) for out in outs]


def check_same(tally, other):
    same = tally.ranges == other.ranges and layouts.digest(tally) == layouts.digest(other)
    check(same, "the counts are not those of a whole run.")


def words_of(process):
    """A list that grows with what the run says, and the thread that listens until it ends."""
    said = []

    def listen():
        for line in process.stdout:
            if line.endswith("\n") and line[:-1].isdecimal():
                said.append(int(line))

    listener = threading.Thread(target=listen)
    listener.start()
    while not said and process.poll() is None:
        time.sleep(0.001)
    return said, listener


def kill(process, said, listener, out):
    """Read a record that is being written, kill the writer, and hold what is left against `said`.

    Reading refuses damage, and any trial that is counted twice.
    """
    before = said[-1] if said else 0
    try:
        read = records.load([out]).trials if said else 0
    finally:
        process.kill()
        listener.join()
        _, errors = process.communicate()
    ended = process.returncode
    check(ended == -signal.SIGKILL, f"a run ended with {ended}: {errors[-300:]}")
    check(read >= before, f"{before - read} trials said to be recorded are not in the file.")
    tally, heard = records.load([out]), said[-1]
    check(tally.ranges == ((0, tally.trials),), f"the trials recorded have gaps: {tally.ranges}.")
    check(tally.trials >= heard, f"{heard - tally.trials} trials said to be recorded are lost.")
    return Kill(heard, tally.trials > heard, len(out.read_bytes().rpartition(b"\n")[2]))


def kills(folder, number):
    """No trial that was said to be recorded is lost, none counts twice, whenever it is killed."""
    cores = min(len(os.sched_getaffinity(0)), number)

    def torture(worker):
        rng, out, struck = random.Random(worker), folder / f"killed-{worker}.jsonl", []
        for _ in range(worker, number, cores):
            process = start(out, ENDLESS)
            said, listener = words_of(process)
            time.sleep(rng.uniform(0, LONGEST))
            struck.append(kill(process, said, listener, out))
        trials = records.load([out]).trials
        words = [*CURVE, "--trials", trials, "--out", f"{out}-whole"]
        layouts.finish(layouts.launch([*words, "--compile-cache", folder / "programs"]))
        check_same(records.load([out]), records.load([f"{out}-whole"]))
        return struck

    with ThreadPoolExecutor(cores) as pool:
        by_record = list(pool.map(torture, range(cores)))
    struck = [kill for struck in by_record for kill in struck]
    return (
        f"{len(struck)} kills over {sum(struck[-1].trials for struck in by_record):,} trials said "
        f"to be recorded: 0 lost, 0 counted twice, {2 * len(struck)} readings, all whole; "
        f"{sum(kill.late for kill in struck)} kills between write and word, "
        f"{sum(kill.torn > 0 for kill in struck)} torn ends; then counts as of whole runs"
    )


def full_disk(folder):
    """A run stops with one line and leaves whole lines, and goes on once there is room."""
    (whole,) = complete(folder / "roomy.jsonl")
    size = (folder / "roomy.jsonl").stat().st_size
    outs = {folder / f"full-{n}.jsonl": n for n in (100, size // 3, size * 2 // 3)}
    runs = [start(out, room=n) for out, n in outs.items()]
    said = [run.communicate()[1] for run in runs]
    for run, errors in zip(runs, said, strict=True):
        check(run.returncode == INTERRUPTED, f"a full disk ends with {run.returncode}: {errors}")
        check(errors.count("\n") == 1, f"a full disk is told in {errors!r}.")
    left = [out.read_bytes() for out in outs]
    check(all(not data or data.endswith(b"\n") for data in left), "a full disk tears a line.")
    for tally in complete(*outs):
        check_same(tally, whole)
    return (
        f"full disk, {len(outs)} sizes: exit {INTERRUPTED}, one line, whole lines left "
        f"({', '.join(f'{len(data):,}' for data in left)} bytes); then counts as of a whole run"
    )


def two_writers(folder):
    """The second is refused, and the first never knows."""
    out = folder / "wanted.jsonl"
    process = start(out, ENDLESS)
    said, listener = words_of(process)
    second = start(out)
    _, errors = second.communicate()
    before = len(said)
    time.sleep(LONGEST)
    left = kill(process, said, listener, out)
    check(second.returncode == UNUSABLE, f"a second writer ends with {second.returncode}.")
    refused = errors.count("\n") == 1 and "is being written by another process" in errors
    check(refused, f"a second writer is told {errors!r}.")
    check(len(said) > before, "the first writer has stopped.")
    return f"two writers: the second exit {UNUSABLE}, one line; the first {left.trials:,} trials on"


def torn_ends(folder):
    """Wherever a file is cut, its whole lines are kept and the rest is run again."""
    untorn = folder / "untorn.jsonl"
    (whole,) = complete(untorn)
    data = untorn.read_bytes()
    header = data.index(b"\n") + 1
    cuts = (header // 2, header - 1, header + 40, len(data) // 2, len(data) - 1)
    outs = [folder / f"torn-{cut}.jsonl" for cut in cuts]
    for cut, out in zip(cuts, outs, strict=True):
        out.write_bytes(data[:cut])
    for tally in complete(*outs):
        check_same(tally, whole)
    places = ", ".join(f"{cut:,}" for cut in cuts)
    return f"torn ends: cut at {places} of {len(data):,} bytes; then counts as of a whole run"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for prove in (partial(kills, number=args.kills), full_disk, two_writers, torn_ends):
            try:
                print(prove(folder), flush=True)
            except (BrokenError, InputError) as error:
                print(f"FAILED: {error}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
