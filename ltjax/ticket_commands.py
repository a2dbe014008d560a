"""The commands about one ticket: make it for a network of the user's own, and check it again.

As in `curve_commands`, a command yields what is to be printed, and its docstring and help are the
manual.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from ltjax.flags import CompileCache, File, Flag, Watching

Closeness = Annotated[
    float | None,
    arg(
        metavar="G",
        help="Close the bracket until upper <= (1 + G) lower; by default only until the verdict is "
        "clear.",
        help_behavior_hint="",
    ),
]
MaxSeconds = Annotated[float, arg(metavar="S", help="To work on the bracket at most.")]
NETWORK = "Weight matrices [out, in] in order, without biases: .npz."


@dataclass(frozen=True)
class Make:
    """Prune a random network to yours, and certify the error over the whole unit ball.

    The ticket holds a seed and the positions kept, not one weight. Block sizes are those for which
    theory promises success. Exit code 1 where the ticket is not certified.

    Try:
      ltjax ticket mynet.npz --epsilon 0.1 --seed 3 --out ticket.npz
      ltjax ticket mynet.npz --epsilon 0.1 --narrow --out ticket.npz
    """

    network: Positional[Annotated[File, arg(help=NETWORK)]]
    out: Annotated[File, arg(help="Ticket to write: .npz.")]
    epsilon: Annotated[
        float, arg(help="Error allowed over the unit ball, in the L2 norm of the outputs.")
    ] = 0.1
    delta: Annotated[float, arg(help="Failure probability that the block sizes allow for.")] = 0.05
    seed: Annotated[int, arg(help="Of the random network, 0 to 2^32 - 1.")] = 0
    last: Annotated[
        Literal["linear", "relu"], arg(help="What the last layer of the network ends with.")
    ] = "linear"
    construction: Annotated[
        Literal["blocks", "separate"],
        arg(help="A block of neurons for each input of a layer, or for each weight."),
    ] = "blocks"
    max_width: Annotated[int, arg(help="Hidden neurons that a random layer may have.")] = 2**24
    narrow: Annotated[
        Flag, arg(help="Halve the random network as often as the ticket is still certified.")
    ] = False
    as_it_is: Annotated[
        Flag, arg(help="Refuse a network outside the theorem's hypotheses: do not rescale it.")
    ] = False
    gap: Closeness = None
    max_seconds: MaxSeconds = 60.0
    compile_cache: CompileCache = None

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax import files, gaps, machine, ticket_report, tickets
        from ltjax.errors import FalseClaimError

        gaps.check(self.gap, self.max_seconds)
        files.check_output(self.out, "out", (".npz",))
        layers = files.read_network(self.network, "network")
        machine.keep_programs(self.compile_cache)
        ticket = tickets.prune(
            layers,
            self.last,
            epsilon=self.epsilon,
            delta=self.delta,
            seed=self.seed,
            construction=self.construction,
            max_width=self.max_width,
            rescaling=not self.as_it_is,
            narrow=self.narrow,
        )
        stop = machine.deadline(self.max_seconds)
        verdict = tickets.verify(ticket, layers, lower=True, gap=self.gap, stop=stop)
        files.write_atomic(self.out, tickets.to_bytes(ticket))
        yield ticket_report.report(ticket, layers, verdict)
        yield f"ticket: {self.out}"
        if not verdict.holds:
            raise FalseClaimError(f"{self.out} is {verdict.word.lower()} at {self.epsilon:g}.")


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
        from ltjax import files, gaps, machine, ticket_report, tickets
        from ltjax.errors import FalseClaimError

        gaps.check(self.gap, self.max_seconds)
        ticket = tickets.read(self.ticket)
        layers = files.read_network(self.network, "network")
        machine.keep_programs(self.compile_cache)
        stop = machine.deadline(self.max_seconds)
        verdict = tickets.verify(ticket, layers, lower=True, gap=self.gap, stop=stop)
        if not verdict.belongs:
            raise FalseClaimError(
                f"{self.ticket} was made for another network, not {self.network}."
            )
        yield ticket_report.report(ticket, layers, verdict)
        if not verdict.holds:
            raise FalseClaimError(
                f"{self.ticket} is {verdict.word.lower()} at {ticket.epsilon:g}: the error is "
                f"between {verdict.lower:.6g} and {verdict.upper:.6g}."
            )


@dataclass(frozen=True)
class Gap:
    """Tell how far two networks are apart over a ball, by a certified bracket that closes.

    Any two bias-free ReLU networks of one shape: quantised, pruned, distilled. An interrupt ends
    the search with the bracket found so far.

    Try:
      ltjax gap netA.npz netB.npz
      ltjax gap netA.npz netB.npz --gap 0.001 --norm max --max-seconds 600
    """

    first: Positional[Annotated[File, arg(help=NETWORK)]]
    second: Positional[Annotated[File, arg(help="Another one of the same shape.")]]
    radius: Annotated[float, arg(help="Of the ball of inputs.")] = 1.0
    norm: Annotated[Literal["l2", "max"], arg(help="Of the difference of the outputs.")] = "l2"
    last: Annotated[
        Literal["linear", "relu"], arg(help="What the last layer of the networks ends with.")
    ] = "linear"
    gap: Annotated[
        float, arg(metavar="G", help="Close the bracket until upper <= (1 + G) lower.")
    ] = 0.01
    max_seconds: MaxSeconds = 60.0
    compile_cache: CompileCache = None

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax import files, gaps, machine

        gaps.check(self.gap, self.max_seconds, self.radius)
        first = files.read_network(self.first, "first")
        second = files.read_network(self.second, "second")
        pair, scale = gaps.pair_of(first, second, self.last, self.radius)
        machine.keep_programs(self.compile_cache)
        stop = machine.deadline(self.max_seconds)
        brackets = gaps.closing(pair, scale, self.gap, norm=self.norm, stop=stop, divided=False)
        found = [next(brackets)]
        try:
            found.extend(brackets)
        finally:  # interrupted, too
            yield gaps.report(found[0], found[-1])


TicketCommand = Annotated[Make, subcommand("ticket")] | Verify | Gap
