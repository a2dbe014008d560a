"""What is asked: configuration, target and grid. Plain data, no jax, JSON both ways.

A `Problem` is the identity of a record: two runs may be added up exactly when their problems are
equal. How many trials, in what batches and on which devices is not part of it.

Notation, the same in every docstring of the package:

    d    input dimension                      `dim`
    k    hidden neurons of the random net     `width`
    m    hidden neurons reserved for a weight `block`
    A, W output and hidden weights, all i.i.d. U[-1, 1]
    w    target weights                       `target`
    eta  tolerance per weight; epsilon the error allowed, in the supremum over the unit ball
    delta failure probability; what is measured is 1 - delta
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

CONSTRUCTIONS = ("blocks", "pooled")
RULES = ("slides", "tight", "l2", "sup")
MAX_DIM = 2048  # low bits of an error tell slots apart, twelve of its 23 at most
MAX_WIDTH = 2**30  # neurons are numbered by non-negative int32, with room for the last chunk


class InputError(ValueError):
    """Unusable input. The message is one line: the argument, the rule, the value found."""


class WrongKernelError(RuntimeError):
    """A compiled kernel failed its known-answer check: nothing it computes can be trusted."""


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

    dim: int
    constructions: tuple[str, ...] = CONSTRUCTIONS
    rules: tuple[str, ...] = RULES

    def __post_init__(self):
        if not 1 <= self.dim <= MAX_DIM:
            raise InputError(f"dim must be between 1 and {MAX_DIM}, got {self.dim}.")
        self._keep("constructions", CONSTRUCTIONS)
        self._keep("rules", RULES)

    def _keep(self, name: str, known: tuple[str, ...]) -> None:
        """Put the names asked for in their order; `InputError` unless all are known."""
        asked = tuple(getattr(self, name))
        if not asked or not set(asked) <= set(known):
            found = ", ".join(map(str, asked)) or "none"
            raise InputError(f"{name} must be taken from {', '.join(known)}, got {found}.")
        object.__setattr__(self, name, tuple(one for one in known if one in asked))

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


CONFIGS: dict[str, type[Neuron]] = {"neuron": Neuron}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Experiment, configuration, target, grid and seed: all that a count depends on.

    target: the weights w, d numbers with |w_i| <= 1/sqrt(d).
    layout: version of the address scheme by which random words are drawn.
    """

    config: Neuron
    target: tuple[float, ...]
    grid: Grid
    seed: int
    experiment: str = "neuron"
    layout: str = "ltjax-draws/1"

    def __post_init__(self):
        object.__setattr__(self, "target", check_target(self.target, self.config.dim))
        check_seed(self.seed)

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


def check_seed(seed: int) -> int:
    if not 0 <= seed < 2**32:
        raise InputError(f"seed must be at least 0 and below 2^32, got {seed}.")
    return seed


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
    # One part in 10^12 of grace: 1/sqrt(d) computed elsewhere may differ in its last bits.
    if abs(values[at]) > bound * (1 + 1e-12):
        raise InputError(
            f"{name} must satisfy |w_i| <= 1/sqrt({dim}) = {bound:.6g}, got {values[at]:.6g} at "
            f"index {at}; relu is homogeneous: multiply the weights and epsilon by "
            f"{bound / abs(values[at]):.6g}."
        )
    return tuple(float(v) for v in values)
