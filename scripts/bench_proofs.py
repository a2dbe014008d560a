"""How long a proof takes to make and to check, and how long it is.

    python scripts/bench_proofs.py                                        # two minutes, on one core
    python scripts/bench_proofs.py --network runs/digits.npz --epsilon 1  # of a network of your own

Tickets of 8-8-1, the hardest target, and of a random 64-32-10, or of a network of one's own; then
cells of a record. Medians of processor time; that of the checker is a process of its own,
start included, with nothing but the standard library. What --proof adds is in parts of the time
that `ltjax ticket` takes without, compiled.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ltjax.counting import records
from ltjax.errors import UnprovedError
from ltjax.networks import targets
from ltjax.system import files
from ltjax.tickets import archive, cells, proving, pruning, verifying

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "figures" / "data" / "network.jsonl"


def seconds(work):
    """What work returns, and its processor time."""
    begun = time.process_time()
    found = work()
    return found, time.process_time() - begun


def checked(*paths):
    """Processor time of the checker, which must accept."""
    command = [sys.executable, "-S", "-I", ROOT / "check_proof.py", *paths]
    begun = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    ended = os.times()
    return sum(ended[2:4]) - sum(begun[2:4])


def of_ticket(name, layers, epsilon, rounds, folder):
    """The line of one ticket, narrowed to where norms alone hardly do."""
    make = lambda: pruning.prune(layers, epsilon=epsilon, narrow=True)
    verify = lambda ticket: verifying.verify(ticket, layers, lower=True)
    network, path, proof = (folder / part for part in ("net.npz", "ticket.npz", "ticket.proof"))
    files.write_network(network, layers)
    ticket = make()
    verify(ticket)  # compiled
    path.write_bytes(archive.to_bytes(ticket))
    without, made, read = [], [], []
    for _ in range(rounds):
        without.append(seconds(lambda: verify(make()))[1])
        data, took = seconds(lambda: proving.of_ticket(ticket, layers))
        made.append(took)
        proof.write_bytes(data)
        read.append(checked(path, network, proof))
    content = json.loads(data)
    rule = content["upper"]["by"] if "upper" in content else "point"
    plain, prove, check = map(statistics.median, (without, made, read))
    print(
        f"{name} at {epsilon:g}: by {rule}; prove {prove:.2f} s, check {check:.2f} s, "
        f"{len(data):,} bytes; ticket with a proof over without {1 + prove / plain:.2f}"
    )


def of_cells(path, number, folder):
    """The line of some verdicts of a record: all of what `ltjax prove` does."""

    def work():
        tally, proved = records.load([path]), 0
        layers = tally.problem.arrays
        files.write_network(folder / "net.npz", layers)
        for cell in cells.drawn(tally, number, 0):
            files.write_atomic(folder / "cell.npz", archive.to_bytes(cell.ticket))
            try:
                proof = proving.of_ticket(cell.ticket, layers, cell.trial)
                proving.check(folder / "cell.npz", folder / "net.npz", proof)
                proved += 1
            except UnprovedError as error:
                print(f"trial {cell.trial}, {cell.criterion} at {cell.width}: {error}")
        return proved

    begun = time.perf_counter()
    proved, took = seconds(work)
    wall = time.perf_counter() - begun
    print(
        f"{number} cells of {path.name}: {proved} proved, {took:.1f} s of this process, compiling "
        f"included, {wall:.1f} s by the clock"
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", type=Path, help="in place of 64-32-10")
    parser.add_argument("--epsilon", type=float, default=1.0, help="of that network")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--cells", type=int, default=20)
    args = parser.parse_args(argv)
    large = targets.random_target(0, (64, 32, 10))
    if args.network:
        large = files.read_network(args.network, "network")
    name = "-".join(map(str, (np.shape(large[0])[1], *map(len, large))))
    with tempfile.TemporaryDirectory() as folder:
        for epsilon in (0.5, 0.2):
            small = targets.worst_target((8, 8, 1))
            of_ticket("8-8-1", small, epsilon, args.rounds, Path(folder))
        of_ticket(name, large, args.epsilon, args.rounds, Path(folder))
        of_cells(args.record, args.cells, Path(folder))


if __name__ == "__main__":
    main()
