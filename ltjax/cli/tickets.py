"""The commands about one ticket: make it for a network of the user's own, and check it again.

As in `cli.curve`, a command yields what is to be printed, and its docstring and help are the
manual.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from tyro.conf import Positional, arg, subcommand

from ltjax.cli.flags import CompileCache, File, Flag, NewFile, Watching

Closeness = Annotated[
    float | None,
    arg(
        metavar="G",
        help="Close the bracket until upper <= (1 + G) lower; by default only until the verdict is "
        "clear.",
        help_behavior_hint="",
    ),
]
Proof = Annotated[
    NewFile,
    arg(help="Proof to write, which check_proof.py checks exactly with Python alone: .proof."),
]
MaxSeconds = Annotated[float, arg(metavar="S", help="To work on the bracket at most.")]
Better = TypeVar("Better")
NETWORK = "A ReLU network without biases: .npz, .safetensors or .onnx."


def _ends(
    found: Iterator[Better], early: Callable[[Better], bool] = lambda _: True
) -> tuple[Better, Better, bool]:
    """The last of what is early, and the last of all; and whether a signal came before the end."""
    from ltjax.system import interrupts

    first = last = next(found)
    try:
        for last in found:
            first = last if early(last) else first
    except KeyboardInterrupt:
        return first, last, True
    return first, last, interrupts.asked()


def _limit(seconds: float):
    """Whether the time is over or a signal has come."""
    from ltjax.system import interrupts, stops

    return stops.either(stops.deadline(seconds), interrupts.asked)


def _judged(ticket, layers, gap: float | None, seconds: float):
    """The last verdict on a ticket; the limit, over once a signal came; and whether one did."""
    from ltjax.system import stops
    from ltjax.tickets import verifying

    stop = _limit(seconds)
    found = verifying.verdicts(ticket, layers, lower=True, gap=gap, stop=stop)
    _, verdict, interrupted = _ends(found)
    return verdict, stops.either(stop, lambda: interrupted), interrupted


def _proved(path: str, made: Callable[[], bytes], first: str, second: str) -> Iterator[str]:
    """Write a proof about two files once the checker has accepted it; or tell why there is none."""
    from ltjax.errors import UnprovedError
    from ltjax.system import files
    from ltjax.tickets import proving

    try:
        proof = made()
        said = proving.check(first, second, proof)
    except UnprovedError as error:
        yield f"proof: none, as {error}"
        return
    files.write_atomic(path, proof)
    yield f"proof: {path}"
    yield f"proved: {said}"


def _check_proof(path: str | None, inputs: list[str]) -> None:
    """`InputError` of a name that a proof may not have, and of networks that none is made for."""
    from ltjax.errors import InputError
    from ltjax.system import files

    if path is not None:
        files.check_output(path, "proof", (".proof",))
        files.check_no_input(path, "proof", inputs)
        for name in inputs:
            if not name.endswith(".npz"):
                raise InputError(f"proof must be one of networks in .npz files, got {name}.")


def _end(interrupted: bool) -> None:
    """What was found is told; the exit code says that it is not all."""
    if interrupted:
        raise KeyboardInterrupt


@dataclass(frozen=True)
class Make:
    """Prune a random network to yours, and certify the error over the whole unit ball.

    The ticket holds a seed and the positions kept, not one weight. Block sizes are those for which
    theory promises success, or by rule subset the least that is certified. Exit code 1 where the
    ticket is not certified.

    Try:
      ltjax ticket mynet.npz --epsilon 0.1 --seed 3 --out ticket.npz
      ltjax ticket mynet.npz --epsilon 0.1 --narrow --out ticket.npz
      ltjax ticket mynet.npz --epsilon 0.1 --rule subset --out ticket.npz
      ltjax ticket mynet.npz --epsilon 0.1 --out ticket.npz --proof ticket.proof
    """

    network: Positional[Annotated[File, arg(help=NETWORK)]]
    out: Annotated[File, arg(help="Ticket to write: .npz.")]
    epsilon: Annotated[
        float, arg(help="Error allowed over the unit ball, in the L2 norm of the outputs.")
    ] = 0.1
    delta: Annotated[
        float, arg(help="Failure probability that the block sizes allow for, by rule nearest.")
    ] = 0.05
    seed: Annotated[int, arg(help="Of the random network, 0 to 2^32 - 1.")] = 0
    last: Annotated[
        Literal["linear", "relu"], arg(help="What the last layer of the network ends with.")
    ] = "linear"
    construction: Annotated[
        Literal["blocks", "separate", "pooled"] | None,
        arg(
            help="A block of neurons for each input of a layer, for each weight, or one pool for "
            "the whole layer; by default pooled or blocks, whichever takes fewer hidden neurons.",
            help_behavior_hint="",
        ),
    ] = None
    rule: Annotated[
        Literal["nearest", "subset"],
        arg(
            help="Meet a weight by the nearest product, or by the nearest sum of several products "
            "of a block: a narrower network, of which several times as many weights are kept."
        ),
    ] = "nearest"
    max_width: Annotated[int, arg(help="Hidden neurons that a random layer may have.")] = 2**24
    narrow: Annotated[
        Flag,
        arg(
            help="Halve the random network as often as the ticket is still certified; by rule "
            "nearest."
        ),
    ] = False
    as_it_is: Annotated[
        Flag, arg(help="Refuse a network outside the theorem's hypotheses: do not rescale it.")
    ] = False
    gap: Closeness = None
    proof: Proof = None
    max_seconds: MaxSeconds = 60.0
    compile_cache: CompileCache = None

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax import decimals
        from ltjax.errors import FalseClaimError
        from ltjax.networks import reading
        from ltjax.supnorm import brackets
        from ltjax.system import devices, files, interrupts
        from ltjax.tickets import archive, proving, pruning, report

        brackets.check(self.gap, self.max_seconds)
        _check_proof(self.proof, [self.network])
        files.check_output(self.out, "out", (".npz",))
        files.check_no_input(self.out, "out", [self.network])
        layers = reading.read_matrices(self.network, "network", self.last)
        devices.keep_programs(self.compile_cache)
        ticket = pruning.prune(
            layers,
            self.last,
            epsilon=self.epsilon,
            delta=self.delta,
            seed=self.seed,
            construction=self.construction,
            rule=self.rule,
            max_width=self.max_width,
            rescaling=not self.as_it_is,
            narrow=self.narrow,
            stop=interrupts.asked,
        )
        verdict, stop, interrupted = _judged(ticket, layers, self.gap, self.max_seconds)
        files.write_atomic(self.out, archive.to_bytes(ticket))
        yield report.report(ticket, layers, verdict, self.gap, stop)
        yield f"ticket: {self.out}"
        if self.proof and not interrupted:
            made = lambda: proving.of_ticket(ticket, layers, stop=_limit(self.max_seconds))
            yield from _proved(self.proof, made, self.out, self.network)
        _end(interrupted)
        if not verdict.holds:
            epsilon = decimals.exact(self.epsilon)
            raise FalseClaimError(f"{self.out} is {verdict.word.lower()} at {epsilon}.")


@dataclass(frozen=True)
class Verify:
    """Certify a ticket again, from its file and the network it was made for.

    Every kept weight is drawn again from the seed, and the error over the unit ball is bounded in
    float64. Exit code 0: it holds; 1: it does not, or belongs to another network; 2: unreadable.

    Try:
      ltjax verify ticket.npz mynet.npz
      ltjax verify ticket.npz mynet.npz --gap 0.01
    """

    ticket: Positional[Annotated[File, arg(help="Ticket.")]]
    network: Positional[Annotated[File, arg(help=NETWORK)]]
    gap: Closeness = None
    max_seconds: MaxSeconds = 60.0
    compile_cache: CompileCache = None

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax import decimals
        from ltjax.errors import FalseClaimError
        from ltjax.networks import reading
        from ltjax.supnorm import brackets
        from ltjax.system import devices
        from ltjax.tickets import archive, report

        brackets.check(self.gap, self.max_seconds)
        ticket = archive.read(self.ticket)
        layers = reading.read_matrices(self.network, "network", ticket.last)
        devices.keep_programs(self.compile_cache)
        verdict, stop, interrupted = _judged(ticket, layers, self.gap, self.max_seconds)
        if not verdict.belongs:
            raise FalseClaimError(
                f"{self.ticket} was made for another network, not {self.network}."
            )
        yield report.report(ticket, layers, verdict, self.gap, stop)
        _end(interrupted)
        if not verdict.holds:
            epsilon = decimals.exact(ticket.epsilon)
            lower, upper = decimals.bracket(verdict.lower, verdict.upper)
            raise FalseClaimError(
                f"{self.ticket} is {verdict.word.lower()} at {epsilon}: the error is between "
                f"{lower} and {upper}."
            )


@dataclass(frozen=True)
class Gap:
    """Tell how far two networks are apart over a ball or a box, by a certified bracket that closes.

    Any two ReLU networks of one depth, with or without biases: quantised, pruned, distilled. A
    first bracket is there at once; the time, or an interrupt, ends the search with the one found so
    far, and a line tells where it is wider than was asked for.

    Try:
      ltjax gap netA.npz netB.npz
      ltjax gap netA.npz netB.npz --gap 0.001 --norm max --max-seconds 600
      ltjax gap model.onnx model_int8.onnx --center x0.npy --radius 0.1
      ltjax gap model.onnx pruned.onnx --box 0 1 --norm max --gap 0.05
      ltjax gap netA.npz netB.npz --proof gap.proof
    """

    first: Positional[Annotated[File, arg(help="A ReLU network: .npz, .safetensors or .onnx.")]]
    second: Positional[
        Annotated[
            File, arg(help="Another one of the same depth; hidden layers may be of any size.")
        ]
    ]
    center: Annotated[
        str | None,
        arg(
            metavar="FILE", help="Of the ball of inputs: .npy; 0 by default.", help_behavior_hint=""
        ),
    ] = None
    radius: Annotated[
        float | None,
        arg(
            metavar="R",
            help="Of the ball, 1 by default; 0 about a center for the difference at that point.",
            help_behavior_hint="",
        ),
    ] = None
    box: Annotated[
        tuple[str, ...],
        arg(
            metavar="LO HI | FILE",
            help="Inputs between two numbers, or between the rows of a .npy file, not in a ball.",
            help_behavior_hint="",
        ),
    ] = ()
    norm: Annotated[Literal["l2", "max"], arg(help="Of the difference of the outputs.")] = "l2"
    last: Annotated[
        Literal["linear", "relu"], arg(help="What the last layer of the networks ends with.")
    ] = "linear"
    gap: Annotated[
        float, arg(metavar="G", help="Close the bracket until upper <= (1 + G) lower.")
    ] = 0.01
    proof: Proof = None
    max_seconds: MaxSeconds = 60.0
    compile_cache: CompileCache = None

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax.errors import InputError
        from ltjax.networks import domains, reading
        from ltjax.supnorm import brackets, posing
        from ltjax.system import devices, files
        from ltjax.tickets import gap_report, proving

        brackets.check(self.gap, self.max_seconds)
        _check_proof(self.proof, [self.first, self.second])
        first = reading.read_network(self.first, "first", self.last)
        second = reading.read_network(self.second, "second", self.last)
        center = None if self.center is None else files.read_array(self.center, "center")
        dim = first.weights[0].shape[1]
        region = domains.region(dim, center, self.radius, self._ends())
        posed = posing.posed(first, second, region)
        if self.proof is not None and posed.pair.domain is not None:
            raise InputError("proof must be left out with biases, a center or a box: none is made.")
        devices.keep_programs(self.compile_cache)
        known = posed.closing(self.gap, self.norm, _limit(self.max_seconds))
        # What is known before any node is where the search begins.
        start, found, interrupted = _ends(known, lambda known: known.nodes == 0)
        yield gap_report.report(start, found, self.gap, region)
        if self.proof and not interrupted:
            made = lambda: proving.of_gap(
                first.weights,
                second.weights,
                self.gap,
                last=self.last,
                radius=1.0 if self.radius is None else self.radius,
                norm=self.norm,
                stop=_limit(self.max_seconds),
            )
            yield from _proved(self.proof, made, self.first, self.second)
        _end(interrupted)

    def _ends(self):
        """The ends of the box: two numbers, or an array [2, d]; None where there is none."""
        from ltjax.cli import values
        from ltjax.errors import InputError
        from ltjax.system import files

        if not self.box:
            return None
        if len(self.box) == 1:
            return files.read_array(self.box[0], "box")
        try:
            low, high = map(values.number, self.box)
        except ValueError:  # more of them, too
            found = " ".join(self.box)
            raise InputError(f"box must be two numbers or one .npy file, got {found}.") from None
        return low, high


@dataclass(frozen=True)
class Prove:
    """Draw verdicts of a record of networks at random, and prove each of them.

    The trial is run again, and what it keeps is a ticket whose error is proved to be at most
    epsilon, or above it, as the record counts it. Exit code 1 where the proof says otherwise.

    Try:
      ltjax prove runs/network.jsonl --cells 20
      ltjax prove runs/network.jsonl --cells 100 --seed 1 --out proofs
    """

    record: Positional[Annotated[File, arg(help="Record of `ltjax curve network`.")]]
    cells: Annotated[int, arg(help="How many verdicts.")] = 20
    seed: Annotated[int, arg(help="Of the lot.")] = 0
    out: Annotated[
        NewFile,
        arg(help="Folder to leave network.npz, and a ticket and a proof of each cell in."),
    ] = None
    max_seconds: Annotated[float, arg(metavar="S", help="To work on one proof at most.")] = 60.0
    compile_cache: CompileCache = None

    def __call__(self, watching: Watching) -> Iterator[str]:
        import tempfile
        from pathlib import Path

        from ltjax.counting import records
        from ltjax.errors import FalseClaimError, UnprovedError
        from ltjax.supnorm import brackets
        from ltjax.system import devices, files, interrupts
        from ltjax.tickets import archive, cells, proving
        from ltjax.validate import check_seed

        brackets.check(None, self.max_seconds)
        check_seed(self.seed)
        tally = records.load([self.record])
        cells.check(tally, self.cells)
        devices.keep_programs(self.compile_cache)
        layers, proved, wrong = tally.problem.arrays, 0, []
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(self.out or temporary)
            files.write_network(folder / "network.npz", layers)
            for n, cell in enumerate(cells.drawn(tally, self.cells, self.seed), 1):
                interrupts.check()
                path = folder / f"{n}.npz"
                files.write_atomic(path, archive.to_bytes(cell.ticket))
                name = f"trial {cell.trial}, {cell.criterion} at {cell.width}, epsilon "
                name += f"{cell.ticket.epsilon:g}: {cell.word}"
                try:
                    stop = _limit(self.max_seconds)
                    proof = proving.of_ticket(cell.ticket, layers, cell.trial, stop)
                    said = proving.check(path, folder / "network.npz", proof)
                except UnprovedError as error:
                    yield f"{name}, no proof, as {error}"
                    continue
                files.write_atomic(folder / f"{n}.proof", proof)
                proved += 1
                word = "REFUTED" if "REFUTED" in said else "HOLDS"
                wrong += [n] * (cell.word not in (word, "UNDECIDED"))
                yield f"{name}, proved {word}"
        yield f"proved: {proved} of {self.cells}"
        if wrong:
            raise FalseClaimError(
                f"{self.record} counts otherwise what is proved of cell {wrong[0]}."
            )


TicketCommand = Annotated[Make, subcommand("ticket")] | Verify | Gap | Prove
