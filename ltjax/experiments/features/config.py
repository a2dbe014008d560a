"""Whole neurons against random features."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ltjax import decimals
from ltjax.errors import InputError
from ltjax.problem.criterion import Criterion
from ltjax.validate import GRACE, MAX_DIM, keep_known

ACTIVATIONS = {"relu": 1.0, "leaky_relu": 1.0, "tanh": 1.0, "erf": 1.13, "abs": 1.0}  # Lipschitz
LAWS = ("ball", "sphere", "gaussian")
DATA = ("gaussian", "sphere", "ball", "file")
LOSSES = ("squared", "absolute")
SEARCHES = ("groups", "climb")
MAX_FEATURES = 2**14  # a trial holds the second moments of all its neurons
MAX_DATA = 2**20  # numbers of a data file: a record holds them all
MAX_SAMPLES = 2**20  # fresh inputs of a trial, which are held all at once
MAX_SIZE = 1e6  # of coefficients and inputs: the fourth power of both must fit into a float32


@dataclass(frozen=True, kw_only=True)
class Features:
    """Whole neurons kept of a random two-layer network, against random features.

    Widths of its grid are hidden neurons k, epsilons are losses beyond `baseline`. A trial draws
    hidden weights from `law` and output weights from U[-1, 1].

    dim: input dimension d.
    features: n, the neurons of a group, and of the random features that set the baseline.
    cap: C, bound on the coefficients of the features.
    baseline: L0, mean loss of n random features with coefficients within C, best in squared loss.
    most: the widest network drawn, at least every width of the grid.
    activation: sigma, one of a known Lipschitz constant.
    law: of hidden weights, all within `radius` <= 1 of 0: uniform on the ball or on the sphere, or
        N(0, radius^2 / d) drawn in to that radius.
    data: law of the inputs: N(0, I), uniform on the unit sphere or in the unit ball; or file, where
        the target is the data itself.
    loss: squared or absolute.
    samples: fresh inputs by which a loss is estimated that has no closed form; 0 where it has one.
    searches: which neurons are kept; `masks.neurons` says what groups and climb are.
    """

    width_label: ClassVar[str] = "width k"
    neurons_per_width: ClassVar[int] = 1
    trials_per_shard: ClassVar[int] = 64

    dim: int
    features: int
    cap: float
    baseline: float
    most: int
    activation: str = "relu"
    law: str = "sphere"
    radius: float = 1.0
    data: str = "gaussian"
    loss: str = "squared"
    samples: int = 0
    searches: tuple[str, ...] = SEARCHES

    def __post_init__(self):
        keep_known(self, "searches", SEARCHES)
        counts = {
            "dim": (self.dim, 1, MAX_DIM),
            "features": (self.features, 1, MAX_FEATURES),
            "widths": (self.most, 1, MAX_FEATURES),
            "samples": (self.samples or 2, 2, MAX_SAMPLES),
        }
        for name, (found, least, most) in counts.items():
            if not least <= found <= most:
                raise InputError(f"{name} must be between {least} and {most}, got {found}.")
        for name, known in (("law", LAWS), ("data", DATA), ("loss", LOSSES)):
            if getattr(self, name) not in known:
                found = getattr(self, name)
                raise InputError(f"{name} must be one of {', '.join(known)}, got {found}.")
        if self.activation not in ACTIVATIONS:
            raise InputError(
                f"activation must be one of {', '.join(ACTIVATIONS)}, whose Lipschitz constants "
                f"are known, got {self.activation}."
            )
        if not 0.0 < self.radius <= 1.0:
            raise InputError(
                f"radius must be above 0 and at most 1, as features lie in the unit ball, "
                f"got {decimals.exact(self.radius)}."
            )
        if not 0.0 < self.cap <= MAX_SIZE:
            found = decimals.exact(self.cap)
            raise InputError(f"cap must be above 0 and at most {MAX_SIZE:g}, got {found}.")
        if not 0.0 <= self.baseline < float("inf"):
            raise InputError(f"baseline must be a loss, got {self.baseline:g}.")

    @property
    def default_rule(self) -> str:
        return self.loss

    @property
    def title(self) -> str:
        return f"d = {self.dim}, n = {self.features}"

    @property
    def exact(self) -> bool:
        """Whether the loss has a closed form: relu, squared, inputs with no preferred direction."""
        return self.activation == "relu" and self.loss == "squared" and self.data != "file"

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Search / loss. A wider network may be given a worse subnetwork."""
        return tuple(Criterion(search, self.loss, False) for search in self.searches)

    def check_widths(self, widths: Sequence[int]) -> None:
        """`InputError` of more neurons than are drawn."""
        if max(widths) > self.most:
            raise InputError(f"widths must be at most {self.most}, got {max(widths)}.")

    def check_target(self, target) -> tuple:
        if (self.samples > 0) == (self.exact or self.data == "file"):
            known = "none where the loss is known" if self.samples else "at least 2 here"
            raise InputError(f"samples must be {known}, got {self.samples}.")
        if self.data != "file":
            return check_direction(target, self.dim)
        x, y = check_data(target, self.dim)
        largest = max(max(map(abs, row)) for row in x)
        if largest > MAX_SIZE:
            found = decimals.exact(largest)
            raise InputError(f"data must have inputs of size at most {MAX_SIZE:g}, got {found}.")
        return x, y

    def arrays(self, target):
        """w, float64 [d]; of a file x [n, d] and y [n]."""
        return tuple(map(np.array, target)) if self.data == "file" else np.array(target)


def check_direction(target, dim: int) -> tuple[float, ...]:
    """The weights of y = relu(w.x) as d finite floats with 0 < ||w|| <= 1, or `InputError`."""
    values = np.asarray(target, np.float64)
    if values.shape != (dim,):
        raise InputError(f"target must hold {dim} weights (dim), got shape {list(values.shape)}.")
    length = float(np.linalg.norm(values))
    if not 0.0 < length <= GRACE:  # False of NaN, too
        raise InputError(f"target must satisfy 0 < ||w|| <= 1, got {decimals.exact(length)}.")
    return tuple(float(v) for v in values)


def check_data(target, dim: int) -> tuple:
    """Inputs x [n, d] and answers y [n] as rows of finite floats, or `InputError`."""
    x, y = (np.asarray(part, np.float64) for part in target)
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y):
        raise InputError(
            f"data must hold x [n, d] and y [n], got shapes {list(x.shape)} and {list(y.shape)}."
        )
    if len(x) < 2 or x.shape[1] != dim:
        raise InputError(f"data must hold at least 2 rows of dim {dim}, got {list(x.shape)}.")
    if x.size + y.size > MAX_DATA:
        raise InputError(f"data must hold at most {MAX_DATA} numbers, got {x.size + y.size}.")
    if not (np.all(np.isfinite(x)) and np.all(np.isfinite(y))):
        raise InputError("data must be finite, got a NaN or an infinity.")
    if np.max(np.abs(y)) > GRACE:
        found = decimals.exact(np.max(np.abs(y)))
        raise InputError(f"data must have answers within -1 and 1, got {found}.")
    return tuple(map(tuple, x.tolist())), tuple(y.tolist())
