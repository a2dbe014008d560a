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
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Generic, TypeVar

from ltjax import decimals
from ltjax.errors import InputError
from ltjax.problem.criterion import Criterion
from ltjax.problem.experiment import Config, experiment
from ltjax.validate import MAX_WIDTH, check_seed

MIN_EPSILON = 1e-9  # no network whose neurons can be numbered comes as near to a hard target
LAYOUT = "ltjax-draws/1"  # by which this version counts


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


def asked_grid(widths: Sequence[int] | None, epsilons: Sequence[float]) -> Grid:
    """The grid asked for; with one width where none is."""
    grid = Grid(widths=(1,) if widths is None else tuple(widths), epsilons=tuple(epsilons))
    if min(grid.epsilons) < MIN_EPSILON:
        found = decimals.exact(min(grid.epsilons))
        raise InputError(f"epsilon must be at least {MIN_EPSILON:g}, got {found}.")
    return grid


Configured = TypeVar("Configured", bound=Config)


@dataclass(frozen=True, kw_only=True)
class Problem(Generic[Configured]):
    """Experiment, configuration, target, grid and seed: all that a count depends on.

    target: the weights: of a neuron d numbers with |w_i| <= 1/sqrt(d); of a network a matrix a
        layer, rows of numbers, with ||W|| <= 1 and |w| <= 1/sqrt(n_in); of features d numbers with
        ||w|| <= 1, or the user's data, rows x and answers y.
    layout: version of the address scheme by which random words are drawn, and of whatever else
        moves counts; see docs/reproducibility.md. Only problems of LAYOUT can be counted.
    """

    config: Configured
    target: tuple
    grid: Grid
    seed: int
    experiment: str = "neuron"
    layout: str = LAYOUT

    def __post_init__(self):
        if not isinstance(self.config, experiment(self.experiment).config):
            raise InputError(f"config must be that of a {self.experiment}, got {self.config!r}.")
        object.__setattr__(self, "target", self.config.check_target(self.target))
        self.config.check_widths(self.grid.widths)
        widest = max(self.grid.widths) * self.config.neurons_per_width
        if widest > MAX_WIDTH:
            raise InputError(f"blocks must make at most {MAX_WIDTH} neurons a layer, got {widest}.")
        check_seed(self.seed)

    @property
    def arrays(self):
        """The target as float64: [d] of a neuron, of a network a matrix [n_out, n_in] a layer, of
        what is trained the data."""
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
            config = experiment(data["experiment"]).config(**data["config"])
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
