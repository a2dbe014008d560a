"""A target network."""

import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from ltjax.errors import InputError
from ltjax.networks import pruned
from ltjax.networks.hypotheses import Matrices, check_network
from ltjax.problem.criterion import Criterion
from ltjax.validate import MAX_DIM, keep_known

PARTITIONS = ("blocks", "separate")
NETWORK_CONSTRUCTIONS = (*PARTITIONS, "pooled")
NETWORK_RULES = ("slides", "tight", "sup", "tree")
SUPREMA = ("sup", "tree")  # rules that ask for the supremum itself
LASTS = ("linear", "relu")
MOST_SLOTS = 4096  # of a pooled layer, which are compared pair by pair


@dataclass(frozen=True, kw_only=True)
class Network:
    """A target network of l layers, pruned layer by layer from a random one of depth 2 l.

    Widths of its grid are block sizes m: the neurons reserved for one weight, or for the weights of
    one input. With pooled among the constructions they are the hidden neurons k of every random
    layer, for all of them: of c blocks each has then floor(k / c) neurons, and the others idle.

    sizes: d, n_1, ..., outputs; l + 1 numbers.
    last: linear or relu, what the last layer ends with.
    constructions: which masks are searched.
        blocks: neuron j serves input j mod n_in; its W is shared by all outputs.
        separate: neuron j serves one weight, from input j mod n_in to output j div n_in mod n_out.
        pooled: any neuron may serve any one slot of its layer, a weight on one side.
    rules: how slot errors become an error over the ball.
        slides: the proof's tolerance, epsilon / (4 l n_in sqrt(n_out)) for a slot: epsilon / 2l for
            a layer, sqrt(n_out) less for a neuron, 2 n_in less for a weight.
        tight: ((1 + epsilon)^(1/l) - 1) / sqrt(n_in n_out), which is enough, because the error is
            at most prod(1 + ||E_i||) - 1.
        sup: a bracket on the supremum of the ticket found.
        tree: the same, closed by search where an epsilon lies inside; dear, and none by default.
    """

    default_rule: ClassVar[str] = "sup"
    trials_per_shard: ClassVar[int] = 256

    sizes: tuple[int, ...]
    last: str = "linear"
    constructions: tuple[str, ...] = PARTITIONS
    rules: tuple[str, ...] = ("slides", "tight", "sup")

    def __post_init__(self):
        sizes = tuple(int(n) for n in self.sizes)
        if len(sizes) < 2:
            raise InputError(f"depth must be at least 1, got {len(sizes) - 1}.")
        for name, n in zip(("dim", *["hidden"] * (len(sizes) - 2), "outputs"), sizes, strict=True):
            if not 1 <= n <= MAX_DIM:
                raise InputError(f"{name} must be between 1 and {MAX_DIM}, got {reprlib.repr(n)}.")
        if self.last not in LASTS:
            raise InputError(f"last must be one of {', '.join(LASTS)}, got {self.last}.")
        object.__setattr__(self, "sizes", sizes)
        keep_known(self, "constructions", NETWORK_CONSTRUCTIONS)
        keep_known(self, "rules", NETWORK_RULES)
        slots = max(math.prod(shape) for shape in pruned.slots(sizes))
        if self.of_layers and slots > MOST_SLOTS:
            raise InputError(
                f"constructions must be without pooled where a layer has more than {MOST_SLOTS} "
                f"slots, got {slots}."
            )

    @property
    def of_layers(self) -> bool:
        """Whether widths are neurons of a layer, and not of a block."""
        return "pooled" in self.constructions

    @property
    def width_label(self) -> str:
        return "layer width k" if self.of_layers else "block size m"

    def counts(self, construction: str) -> list[int]:
        """Blocks of each layer; of a pool one."""
        return pruned.block_counts(construction, self.sizes)

    def neurons(self, construction: str, widths) -> list:
        """Hidden neurons of each layer that a construction uses, at a width or an array of them."""
        counts = self.counts(construction)
        return [(widths // c if self.of_layers else widths) * c for c in counts]

    @property
    def title(self) -> str:
        return "-".join(map(str, self.sizes))

    @property
    def dim(self) -> int:
        return self.sizes[0]

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(n_out, n_in) of every layer."""
        return tuple((n_out, n_in) for n_in, n_out in pairwise(self.sizes))

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Construction / rule. A wider block may find another ticket with a larger supremum."""
        return tuple(
            Criterion(construction, rule, rule not in SUPREMA)
            for construction in self.constructions
            for rule in self.rules
        )

    @property
    def neurons_per_width(self) -> int:
        """Blocks of the layer and construction with most of them; 1 where widths are of a layer."""
        if self.of_layers:
            return 1
        return max(max(self.counts(construction)) for construction in self.constructions)

    def check_widths(self, widths: Sequence[int]) -> None:
        """Any will do."""

    def check_target(self, target) -> Matrices:
        return check_network(target, self.shapes)

    def arrays(self, target) -> tuple[np.ndarray, ...]:
        return tuple(map(np.array, target))
