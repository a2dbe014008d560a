"""A target network of l layers, pruned from a random one of l + 1, and not of 2 l."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from ltjax.errors import InputError
from ltjax.experiments.own.config import check_rules
from ltjax.networks.hypotheses import check_network
from ltjax.problem.criterion import Criterion
from ltjax.validate import check_dim

MAX_COPIES = 64  # a trial holds all weights between two layers of them
CANDIDATES = 16  # of a slot, the largest in size: there are thousands of slots to search


@dataclass(frozen=True, kw_only=True)
class Copies:
    """A target network of l layers, pruned layer by layer from a random one of depth l + 1.

    Only the first layer of the target has a pair of random layers, as in `network`: block i of m
    neurons serves input i. Their products meet the weights of layer 1, m times for as many copies
    of each neuron. From layer 2 on plain weights meet a weight: a sum over copies of the neuron
    that it comes from. The last layer is not copied.

    Of the copies of a neuron the better half is used: those that err least in their worst slot. So
    a slot has m / 2 candidates in every layer, and none depends on a copy that cannot be met.

    Widths of its grid are m: neurons of a block, and copies of a neuron.

    sizes: d, n_1, ..., outputs.
    last: linear or relu, what the last layer ends with.
    rules, sources: names and digests of the mask rules.
    most: the largest m of the grid; shapes are static.
    """

    default_rule: ClassVar[str] = "sup"
    width_label: ClassVar[str] = "block size m"
    trials_per_shard: ClassVar[int] = 16

    sizes: tuple[int, ...]
    last: str
    rules: tuple[str, ...]
    sources: tuple[str, ...]
    most: int

    def __post_init__(self):
        if len(self.sizes) < 2:
            raise InputError(f"sizes must be those of a network, got {self.sizes}.")
        for size in self.sizes:
            check_dim(size)
        if self.last not in ("linear", "relu"):
            raise InputError(f"last must be one of linear, relu, got {self.last}.")
        check_rules(self.rules, self.sources)
        if not 1 <= self.most <= MAX_COPIES:
            raise InputError(f"blocks must be of 1 to {MAX_COPIES} with copies, got {self.most}.")

    @property
    def neurons_per_width(self) -> int:
        """Blocks of the first hidden layer, or neurons that a later one holds copies of."""
        return max(self.sizes[:-1])

    @property
    def title(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, copies"

    @property
    def dim(self) -> int:
        return self.sizes[0]

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(n_out, n_in) of every layer."""
        return tuple((n_out, n_in) for n_in, n_out in pairwise(self.sizes))

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Mask rule / sup. More copies may be given a worse ticket."""
        return tuple(Criterion(rule, "sup", False) for rule in self.rules)

    def copies(self, layer: int, width: int) -> int:
        """Copies of every output of a layer."""
        return width if layer + 1 < len(self.shapes) else 1

    def check_widths(self, widths: Sequence[int]) -> None:
        """`InputError` of more copies than are drawn."""
        if max(widths) > self.most:
            raise InputError(f"widths must be at most {self.most}, got {max(widths)}.")

    def check_target(self, target) -> tuple:
        return check_network(target, self.shapes)

    def arrays(self, target) -> tuple[np.ndarray, ...]:
        return tuple(map(np.array, target))
