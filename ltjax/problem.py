"""What is asked: configuration, target and grid. Plain data, no jax, JSON both ways.

A `Problem` is the identity of a record: two runs may be added up exactly when their problems are
equal. How many trials, in what batches and on which devices is not part of it.

Notation, the same in every docstring of the package:

    d    input dimension                      `dim`
    k    hidden neurons of the random net     `width`
    m    hidden neurons reserved for a weight `block`
    A, W output and hidden weights, all i.i.d. U[-1, 1]
    w    target weights                       `target`
    n, l hidden width and depth of a target   `hidden`, `depth`
    eta  tolerance per weight; epsilon the error allowed, in the supremum over the unit ball
    delta failure probability; what is measured is 1 - delta
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np

CONSTRUCTIONS = ("blocks", "pooled")
RULES = ("slides", "tight", "l2", "sup")
NETWORK_CONSTRUCTIONS = ("blocks", "separate")
NETWORK_RULES = ("slides", "tight", "sup")
LASTS = ("linear", "relu")
MAX_DIM = 2048  # low bits of an error tell slots apart, twelve of its 23 at most
GRACE = 1 + 1e-12  # a bound computed elsewhere may differ from ours in its last bits
MAX_WIDTH = 2**30  # neurons are numbered by non-negative int32, with room for the last chunk


Matrices = tuple[tuple[tuple[float, ...], ...], ...]  # layers of rows of weights


class InputError(ValueError):
    """Unusable input. The message is one line: the argument, the rule, the value found."""


class FalseClaimError(Exception):
    """What was to be verified does not hold. The message is one line."""


class WrongKernelError(RuntimeError):
    """A compiled kernel failed its known-answer check: nothing it computes can be trusted."""


class LostProcessError(RuntimeError):
    """One of several processes on one problem is gone; what was recorded is kept."""


class Criterion(NamedTuple):
    """One event whose frequency is counted.

    A monotone criterion, once met at a width, is met at every larger width of the same draw: its
    curve is the distribution of a first-hit width, and a band over all widths at once holds.
    """

    name: str
    monotone: bool


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where success is counted: `widths` ascending, `epsilons` descending, both without repeats."""

    widths: tuple[int, ...]
    epsilons: tuple[float, ...]

    def __post_init__(self):
        widths = tuple(sorted({int(k) for k in self.widths}))
        epsilons = tuple(sorted({float(e) for e in self.epsilons}, reverse=True))
        if not widths:
            raise InputError("widths must name at least one width, got none.")
        if not epsilons:
            raise InputError("epsilon must name at least one value, got none.")
        for k in widths:
            if not 1 <= k <= MAX_WIDTH:
                raise InputError(f"widths must be between 1 and {MAX_WIDTH}, got {k}.")
        for e in epsilons:
            if not 0.0 < e < 1.0:
                raise InputError(f"epsilon must lie strictly between 0 and 1, got {e:g}.")
        object.__setattr__(self, "widths", widths)
        object.__setattr__(self, "epsilons", epsilons)


@dataclass(frozen=True, kw_only=True)
class Neuron:
    """One target neuron f(x) = relu(w.x), pruned from a random two-layer network.

    dim: input dimension d.
    constructions: which masks are searched.
        blocks: the paper's partition; neuron j serves input j mod d and no other.
        pooled: every neuron may serve any one input. Brings `shared` along, the same search
            without regard to two inputs wanting one neuron: a necessary event, not a ticket.
    rules: how slot errors become an error over the ball.
        slides: 2 d max, the tolerance epsilon / 2d of the slides.
        tight: sqrt(d) max, which is enough, because |v - w.x| <= eta ||x||_1 <= eta sqrt(d).
        l2: root of the sum over inputs of the squared worse slot.
        sup: the exact supremum of the ticket found; the dearest.
    """

    axis: ClassVar[str] = "width k"  # what the widths of its grid are
    headline: ClassVar[str] = "tight"  # the rule shown where none is asked for
    most_blocks: ClassVar[int] = 1  # hidden neurons that a width of its grid stands for, at most
    share: ClassVar[int] = 4096  # trials that stay together in a shard: a fraction of a second

    dim: int
    constructions: tuple[str, ...] = CONSTRUCTIONS
    rules: tuple[str, ...] = RULES

    def __post_init__(self):
        if not 1 <= self.dim <= MAX_DIM:
            raise InputError(f"dim must be between 1 and {MAX_DIM}, got {self.dim}.")
        _keep(self, "constructions", CONSTRUCTIONS)
        _keep(self, "rules", RULES)

    @property
    def title(self) -> str:
        return f"d = {self.dim}"

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Those counted, construction / rule."""
        return tuple(c for c in self.all_criteria if c.name.split("/")[1] in self.rules)

    @property
    def all_criteria(self) -> tuple[Criterion, ...]:
        """Those of the constructions chosen, by every rule."""
        blocks = [("slides", True), ("tight", True), ("l2", True), ("sup", False)]
        shared = blocks[:3]
        # A bottleneck ticket minimises the largest slot error alone: its l2 and sup may rise.
        pooled = [("slides", True), ("tight", True), ("l2", False), ("sup", False)]
        families = {"blocks": {"blocks": blocks}, "pooled": {"shared": shared, "pooled": pooled}}
        return tuple(
            Criterion(f"{family}/{rule}", monotone)
            for construction in self.constructions
            for family, rules in families[construction].items()
            for rule, monotone in rules
        )

    def check_target(self, target) -> tuple[float, ...]:
        return check_target(target, self.dim)

    def arrays(self, target) -> np.ndarray:
        return np.array(target)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A target network of l layers, pruned layer by layer from a random one of depth 2 l.

    Widths of its grid are block sizes m: the neurons reserved for one weight, or for the weights of
    one input.

    sizes: d, n_1, ..., outputs; l + 1 numbers.
    last: linear or relu, what the last layer ends with.
    constructions: which masks are searched.
        blocks: neuron j serves input j mod n_in; its W is shared by all outputs.
        separate: neuron j serves one weight, from input j mod n_in to output j div n_in mod n_out.
    rules: how slot errors become an error over the ball.
        slides: the proof's tolerance, epsilon / (4 l n_in sqrt(n_out)) for a slot: epsilon / 2l for
            a layer, sqrt(n_out) less for a neuron, 2 n_in less for a weight.
        tight: ((1 + epsilon)^(1/l) - 1) / sqrt(n_in n_out), which is enough, because the error is
            at most prod(1 + ||E_i||) - 1.
        sup: a bracket on the supremum of the ticket found.
    """

    axis: ClassVar[str] = "block size m"
    headline: ClassVar[str] = "sup"
    share: ClassVar[int] = 256

    sizes: tuple[int, ...]
    last: str = "linear"
    constructions: tuple[str, ...] = NETWORK_CONSTRUCTIONS
    rules: tuple[str, ...] = NETWORK_RULES

    def __post_init__(self):
        sizes = tuple(int(n) for n in self.sizes)
        if len(sizes) < 2:
            raise InputError(f"depth must be at least 1, got {len(sizes) - 1}.")
        for name, n in zip(("dim", *["hidden"] * (len(sizes) - 2), "outputs"), sizes, strict=True):
            if not 1 <= n <= MAX_DIM:
                raise InputError(f"{name} must be between 1 and {MAX_DIM}, got {n}.")
        if self.last not in LASTS:
            raise InputError(f"last must be one of {', '.join(LASTS)}, got {self.last}.")
        object.__setattr__(self, "sizes", sizes)
        _keep(self, "constructions", NETWORK_CONSTRUCTIONS)
        _keep(self, "rules", NETWORK_RULES)

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
            Criterion(f"{construction}/{rule}", rule != "sup")
            for construction in self.constructions
            for rule in self.rules
        )

    @property
    def most_blocks(self) -> int:
        """Blocks of the layer and construction that have most of them."""
        separate = "separate" in self.constructions
        return max(n_in * n_out if separate else n_in for n_out, n_in in self.shapes)

    def check_target(self, target) -> Matrices:
        return check_network(target, self.shapes)

    def arrays(self, target) -> tuple[np.ndarray, ...]:
        return tuple(map(np.array, target))


CONFIGS: dict[str, type[Neuron] | type[Network]] = {"neuron": Neuron, "network": Network}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Experiment, configuration, target, grid and seed: all that a count depends on.

    target: the weights: of a neuron d numbers with |w_i| <= 1/sqrt(d); of a network a matrix a
        layer, rows of numbers, with ||W|| <= 1 and |w| <= 1/sqrt(n_in).
    layout: version of the address scheme by which random words are drawn.
    """

    config: Neuron | Network
    target: tuple
    grid: Grid
    seed: int
    experiment: str = "neuron"
    layout: str = "ltjax-draws/1"

    def __post_init__(self):
        if not isinstance(self.config, CONFIGS[self.experiment]):
            raise InputError(f"config must be that of a {self.experiment}, got {self.config!r}.")
        object.__setattr__(self, "target", self.config.check_target(self.target))
        widest = max(self.grid.widths) * self.config.most_blocks
        if widest > MAX_WIDTH:
            raise InputError(f"blocks must make at most {MAX_WIDTH} neurons a layer, got {widest}.")
        check_seed(self.seed)

    @property
    def weights(self):
        """The target as float64: [d] of a neuron, of a network a matrix [n_out, n_in] a layer."""
        return self.config.arrays(self.target)

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        return self.config.criteria

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of every count: criteria, widths, epsilons."""
        return len(self.criteria), len(self.grid.widths), len(self.grid.epsilons)

    def to_json(self) -> dict:
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, data: dict) -> "Problem":
        """Rebuild from `to_json`; `InputError` where a field is missing or out of range."""
        try:
            data = _tuples(data)
            config = CONFIGS[data["experiment"]](**data["config"])
            return cls(**{**data, "config": config, "grid": Grid(**data["grid"])})
        except InputError:
            raise
        except Exception as error:  # whatever a foreign value can do to a constructor
            raise InputError(f"the problem is not one of ltjax's: {error!r}.") from None

    def digest(self) -> str:
        """Sixteen hex digits that name this problem."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tuples(value):
    """JSON knows lists alone; a problem is made of tuples."""
    if isinstance(value, dict):
        return {name: _tuples(entry) for name, entry in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _keep(config, name: str, known: tuple[str, ...]) -> None:
    """Put the names asked for in their order; `InputError` unless all are known."""
    asked = tuple(getattr(config, name))
    if not asked or not set(asked) <= set(known):
        found = ", ".join(map(str, asked)) or "none"
        raise InputError(f"{name} must be taken from {', '.join(known)}, got {found}.")
    object.__setattr__(config, name, tuple(one for one in known if one in asked))


def check_seed(seed: int) -> int:
    if not 0 <= seed < 2**32:
        raise InputError(f"seed must be at least 0 and below 2^32, got {seed}.")
    return seed


def check_delta(delta: float) -> float:
    if not 0.0 < delta < 1.0:
        raise InputError(f"delta must lie strictly between 0 and 1, got {delta:g}.")
    return delta


def check_target(target, dim: int, name: str = "target") -> tuple[float, ...]:
    """The weights as d finite floats with |w_i| <= 1/sqrt(d), or `InputError`."""
    values = np.asarray(target, np.float64)
    if values.shape != (dim,):
        raise InputError(f"{name} must hold {dim} weights (dim), got shape {list(values.shape)}.")
    if not np.all(np.isfinite(values)):
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(f"{name} must be finite, got {values[at]} at index {at}.")
    bound = dim**-0.5
    at = int(np.argmax(np.abs(values)))
    if abs(values[at]) > bound * GRACE:
        raise InputError(
            f"{name} must satisfy |w_i| <= 1/sqrt({dim}) = {bound:.6g}, got {values[at]:.6g} at "
            f"index {at}; relu is homogeneous: multiply the weights and epsilon by "
            f"{bound / abs(values[at]):.6g}."
        )
    return tuple(float(v) for v in values)


def check_network(target, shapes, name: str = "target") -> Matrices:
    """The weight matrices as rows of finite floats within the theorem's hypotheses."""
    if len(target) != len(shapes):
        raise InputError(f"{name} must hold {len(shapes)} layers (depth), got {len(target)}.")
    layers = [np.asarray(layer, np.float64) for layer in target]
    for i, (layer, shape) in enumerate(zip(layers, shapes, strict=True), 1):
        if layer.shape != shape:
            raise InputError(
                f"{name} must have layer {i} of shape {list(shape)}, got {list(layer.shape)}."
            )
        if not np.all(np.isfinite(layer)):
            raise InputError(f"{name} must be finite, got {layer[~np.isfinite(layer)][0]}.")
        for rule, found in zip(HYPOTHESES, hypotheses(layer), strict=True):
            if found > GRACE:
                raise InputError(
                    f"{name} must satisfy {rule}, got {found:.6g} times that in layer {i}; relu is "
                    f"homogeneous: divide the layer and epsilon by {found:.6g}."
                )
    return tuple(tuple(tuple(row) for row in layer.tolist()) for layer in layers)


HYPOTHESES = ("||W|| <= 1", "|w| <= 1/sqrt(n_in)")


def hypotheses(layer: np.ndarray) -> tuple[float, float]:
    """By what factor a layer [n_out, n_in] fills the bounds of the theorem: norm and entries."""
    entry = np.sqrt(layer.shape[1]) * np.abs(layer).max()
    return float(np.linalg.norm(layer, 2)), float(entry)
