"""What an experiment is about: one configuration each, frozen, plain data, JSON both ways.

A configuration says what shapes there are and which criteria are counted; target and grid are a
`Problem`'s, whose notation is used here.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np

from ltjax.errors import InputError

CONSTRUCTIONS = ("blocks", "pooled")
RULES = ("slides", "tight", "l2", "sup")
NETWORK_CONSTRUCTIONS = ("blocks", "separate")
NETWORK_RULES = ("slides", "tight", "sup")
LASTS = ("linear", "relu")
ACTIVATIONS = {"relu": 1.0, "leaky_relu": 1.0, "tanh": 1.0, "erf": 1.13, "abs": 1.0}  # Lipschitz
LAWS = ("ball", "sphere", "gaussian")
DATA = ("gaussian", "sphere", "ball", "file")
LOSSES = ("squared", "absolute")
SEARCHES = ("groups", "climb")
MAX_FEATURES = 2**14  # a trial holds the second moments of all its neurons
MAX_DATA = 2**20  # numbers of a data file: a record holds them all
MAX_SAMPLES = 2**20  # fresh inputs of a trial, which are held all at once
MAX_SIZE = 1e6  # of coefficients and inputs: the fourth power of both must fit into a float32
MAX_DIM = 2048  # low bits of an error tell slots apart, twelve of its 23 at most
GRACE = 1 + 1e-12  # a bound computed elsewhere may differ from ours in its last bits


Matrices = tuple[tuple[tuple[float, ...], ...], ...]  # layers of rows of weights


class Criterion(NamedTuple):
    """One event whose frequency is counted.

    A monotone criterion, once met at a width, is met at every larger width of the same draw: its
    curve is the distribution of a first-hit width, and a band over all widths at once holds.
    """

    name: str
    monotone: bool


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
    searches: which neurons are kept; `search.neurons` says what groups and climb are.
    """

    axis: ClassVar[str] = "width k"
    most_blocks: ClassVar[int] = 1
    share: ClassVar[int] = 64

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
        _keep(self, "searches", SEARCHES)
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
                f"got {self.radius:g}."
            )
        if not 0.0 < self.cap <= MAX_SIZE:
            raise InputError(f"cap must be above 0 and at most {MAX_SIZE:g}, got {self.cap:g}.")
        if not 0.0 <= self.baseline < float("inf"):
            raise InputError(f"baseline must be a loss, got {self.baseline:g}.")

    @property
    def headline(self) -> str:
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
        return tuple(Criterion(f"{search}/{self.loss}", False) for search in self.searches)

    def check_target(self, target) -> tuple:
        if (self.samples > 0) == (self.exact or self.data == "file"):
            known = "none where the loss is known" if self.samples else "at least 2 here"
            raise InputError(f"samples must be {known}, got {self.samples}.")
        if self.data != "file":
            return check_direction(target, self.dim)
        x, y = check_data(target, self.dim)
        largest = max(max(map(abs, row)) for row in x)
        if largest > MAX_SIZE:
            raise InputError(
                f"data must have inputs of size at most {MAX_SIZE:g}, got {largest:g}."
            )
        return x, y

    def arrays(self, target):
        """w, float64 [d]; of a file x [n, d] and y [n]."""
        return tuple(map(np.array, target)) if self.data == "file" else np.array(target)


Config = Neuron | Network | Features
CONFIGS: dict[str, type[Config]] = {"neuron": Neuron, "network": Network, "features": Features}


def _keep(config, name: str, known: tuple[str, ...]) -> None:
    """Put the names asked for in their order; `InputError` unless all are known."""
    asked = tuple(getattr(config, name))
    if not asked or not set(asked) <= set(known):
        found = ", ".join(map(str, asked)) or "none"
        raise InputError(f"{name} must be taken from {', '.join(known)}, got {found}.")
    object.__setattr__(config, name, tuple(one for one in known if one in asked))


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


def check_direction(target, dim: int) -> tuple[float, ...]:
    """The weights of y = relu(w.x) as d finite floats with 0 < ||w|| <= 1, or `InputError`."""
    values = np.asarray(target, np.float64)
    if values.shape != (dim,):
        raise InputError(f"target must hold {dim} weights (dim), got shape {list(values.shape)}.")
    length = float(np.linalg.norm(values))
    if not 0.0 < length <= GRACE:  # False of NaN, too
        raise InputError(f"target must satisfy 0 < ||w|| <= 1, got {length:g}.")
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
        raise InputError(f"data must have answers within -1 and 1, got {np.max(np.abs(y)):g}.")
    return tuple(map(tuple, x.tolist())), tuple(y.tolist())


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
