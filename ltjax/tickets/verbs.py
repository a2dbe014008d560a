"""Tickets and gaps from Python: the functions behind `ltjax ticket`, `verify` and `gap`."""

import os
from collections.abc import Sequence

import numpy as np

from ltjax.errors import InputError
from ltjax.networks import arrays, domains, reading
from ltjax.networks.affine import ReluNetwork
from ltjax.supnorm import brackets, posing
from ltjax.system import files, stops
from ltjax.system.files import FilePath
from ltjax.tickets import archive, pruning, verifying
from ltjax.tickets.archive import Ticket
from ltjax.tickets.verifying import Verdict

Weights = FilePath | Sequence  # .npz, .safetensors or .onnx, or matrices [n_out, n_in] in order


def prune(
    network: Weights,
    epsilon: float,
    out: FilePath | None = None,
    *,
    last: str = "linear",
    delta: float = 0.05,
    seed: int = 0,
    construction: str | None = None,
    rule: str = "nearest",
    narrow: bool = False,
    max_width: int = pruning.DEFAULT_MAX_WIDTH,
) -> Ticket:
    """Prune a random network to a network of your own.

    Args:
        network: its weight matrices, without biases.
        epsilon: error allowed over the unit ball, in the L2 norm of the outputs.
        out: file to write the ticket to, .npz.
        last: linear or relu, what the last layer ends with.
        delta: failure probability that the block sizes allow for; by rule nearest.
        seed: of the random network.
        construction: blocks (of neurons for each input of a layer), separate (for each weight) or
            pooled (one for the whole layer); by default pooled or blocks, whichever takes fewer
            hidden neurons, and blocks by rule subset.
        rule: nearest, for the product nearest to each weight, in blocks of the size that theory
            asks for; or subset, for the nearest sum of several products, in the smallest blocks
            that are certified.
        narrow: whether to halve the random network as often as the ticket is still certified; by
            rule nearest.
        max_width: hidden neurons that a random layer may have.

    Returns:
        The ticket; `verify` says whether it holds.
    """
    if out is not None:
        files.check_output(out, "out", (".npz",))
    ticket = pruning.prune(
        _layers(network, "network", last),
        last,
        epsilon=epsilon,
        delta=delta,
        seed=seed,
        construction=construction,
        rule=rule,
        narrow=narrow,
        max_width=max_width,
    )
    if out is not None:
        files.write_atomic(out, archive.to_bytes(ticket))
    return ticket


def read_ticket(path: FilePath) -> Ticket:
    """The ticket of a file; `InputError` unless the file is one, to the byte."""
    return archive.read(path)


def verify(
    ticket: Ticket | FilePath,
    network: Weights,
    gap: float | None = None,
    seconds: float = 60.0,
) -> Verdict:
    """Certify a ticket, from itself and the network it was made for.

    Args:
        ticket: from `prune`, or its file.
        network: the target.
        gap: to close the bracket until upper <= (1 + gap) lower; by default only until it is clear
            on which side of epsilon the supremum is.
        seconds: to work on the bracket at most.

    Returns:
        A verdict: `holds`, and a bracket `lower`, `upper` on the supremum of the error.
    """
    brackets.check(gap, seconds)
    one = ticket if isinstance(ticket, Ticket) else archive.read(ticket)
    stop = stops.deadline(seconds)
    return verifying.verify(one, _layers(network, "network", one.last), True, gap, stop)


def gap(
    first: Weights,
    second: Weights,
    gap: float = 0.01,
    *,
    center: Sequence[float] | np.ndarray | None = None,
    radius: float | None = None,
    box: Sequence | np.ndarray | None = None,
    norm: str = "l2",
    last: str = "linear",
    seconds: float = 60.0,
) -> tuple[float, float]:
    """Certified bounds on the supremum of ||f - g|| over a ball or a box, for two networks.

    Args:
        first, second: a file, or weight matrices with or without a vector of biases behind each: of
            one depth, with the same inputs and outputs; hidden layers may be of any size.
        gap: until upper <= (1 + gap) lower, or the time is over; any bracket is valid.
        center: of the ball of inputs, [d]; 0 by default.
        radius: of the ball, 1 by default; 0 about a center is the difference at that point.
        box: in place of the ball, the least and the largest inputs: two numbers, or [2, d].
        norm: of the difference of the outputs, l2 or max.
        last: linear or relu, what the last layer ends with.
        seconds: to work on the bracket at most.

    Returns:
        lower, upper.
    """
    brackets.check(gap, seconds)
    if norm not in ("l2", "max"):
        raise InputError(f"norm must be one of l2, max, got {norm}.")
    a, b = _network(first, "first", last), _network(second, "second", last)
    region = domains.region(a.weights[0].shape[1], center, radius, box)
    *_, found = posing.posed(a, b, region).closing(gap, norm, stops.deadline(seconds))
    return found.lower, found.upper


def _network(network: Weights, name: str, last: str) -> ReluNetwork:
    if isinstance(network, str | os.PathLike):
        return reading.read_network(network, name, last)
    return arrays.given(network, name, last)


def _layers(network: Weights, name: str, last: str) -> list[np.ndarray]:
    if isinstance(network, str | os.PathLike):
        return reading.read_matrices(network, name, last)
    return files.given([np.asarray(layer) for layer in network], name)
