"""A neuron or a network under any law and any mask rule, named by their texts."""

import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from ltjax.errors import InputError
from ltjax.networks.hypotheses import check_network, check_target
from ltjax.problem.criterion import Criterion
from ltjax.validate import check_dim, keep_known

MEASURES = {"neuron": ("slides", "tight", "l2", "sup"), "network": ("slides", "tight", "sup")}
MAX_BLOCK = 2**14  # neurons that one slot chooses from: a trial holds them all


def check_rules(rules: Sequence[str], sources: Sequence[str]) -> None:
    """`InputError` unless some mask rules are named once each, with a digest of each."""
    if not rules or len(set(rules)) < len(rules):
        found = ", ".join(rules) or "none"
        raise InputError(f"rules must name each mask rule once, got {found}.")
    if len(sources) != len(rules):
        raise InputError(f"sources must be one a rule, got {len(sources)}.")


@dataclass(frozen=True, kw_only=True)
class Own:
    """A target pruned from a random network by blocks, each slot of which is a mask rule's to fill.

    Neuron j serves input j mod n_in of its layer, as in `neuron` and `network`, whose notation,
    widths and addresses of weights these are. A rule that keeps several neurons adds them up.

    of: neuron or network.
    sizes: d, n_1, ..., outputs; of a neuron (d, 1).
    last: linear or relu, what the last layer ends with; relu of a neuron.
    law, law_source: name and digest of the law of all weights.
    rules, sources: names and digests of the mask rules.
    measures: how slot errors become an error over the ball, as in `neuron` and `network`.
    most: the largest width of the grid; shapes are static.
    """

    default_rule: ClassVar[str] = "tight"
    neurons_per_width: ClassVar[int] = 1
    trials_per_shard: ClassVar[int] = 64

    of: str
    sizes: tuple[int, ...]
    last: str
    law: str
    law_source: str
    rules: tuple[str, ...]
    sources: tuple[str, ...]
    measures: tuple[str, ...]
    most: int

    def __post_init__(self):
        if self.of not in MEASURES:
            raise InputError(f"of must be neuron or network, got {self.of}.")
        if len(self.sizes) < 2 or (self.of == "neuron" and self.sizes[1:] != (1,)):
            raise InputError(f"sizes must be those of a {self.of}, got {self.sizes}.")
        for size in self.sizes:
            check_dim(size)
        if self.last not in ("linear", "relu"):
            raise InputError(f"last must be one of linear, relu, got {self.last}.")
        check_rules(self.rules, self.sources)
        for name in (self.law, *self.rules):
            if not re.fullmatch(r"[A-Za-z_][\w.]{0,39}", name):
                raise InputError(f"law and rules must be names, got {reprlib.repr(name)}.")
        keep_known(self, "measures", MEASURES[self.of])
        if not 1 <= self.block <= MAX_BLOCK:
            raise InputError(f"widths must make blocks of 1 to {MAX_BLOCK}, got {self.block}.")

    @property
    def width_label(self) -> str:
        return "width k" if self.of == "neuron" else "block size m"

    @property
    def title(self) -> str:
        shape = f"d = {self.dim}" if self.of == "neuron" else "-".join(map(str, self.sizes))
        return f"{shape}, {self.law}"

    @property
    def dim(self) -> int:
        return self.sizes[0]

    @property
    def block(self) -> int:
        """Neurons of the largest block of a slot."""
        return -(-self.most // self.dim) if self.of == "neuron" else self.most

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(n_out, n_in) of every layer."""
        return tuple((n_out, n_in) for n_in, n_out in pairwise(self.sizes))

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Mask rule / measure. A wider block may be given a worse ticket."""
        return tuple(Criterion(rule, m, False) for rule in self.rules for m in self.measures)

    def check_widths(self, widths: Sequence[int]) -> None:
        """`InputError` of more neurons than are drawn."""
        if max(widths) > self.most:
            raise InputError(f"widths must be at most {self.most}, got {max(widths)}.")

    def check_target(self, target) -> tuple:
        if self.of == "neuron":
            return check_target(target, self.dim)
        return check_network(target, self.shapes)

    def arrays(self, target) -> tuple[np.ndarray, ...]:
        """W of each layer, float64 [n_out, n_in]; of a neuron one row."""
        layers = [[target]] if self.of == "neuron" else [*target]
        return tuple(np.array(layer, np.float64) for layer in layers)
