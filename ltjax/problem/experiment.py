"""What the house asks of an experiment, and where the experiments are found.

An experiment is a folder of its own: a configuration, how it is measured and what is predicted of
it. The two halves never import each other; only `Experiment` knows both, by name, so that neither
jax nor scipy comes along before it is used.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast, runtime_checkable

import numpy as np

from ltjax.errors import InputError
from ltjax.problem.criterion import Criterion

if TYPE_CHECKING:
    from ltjax.problem.problem import Problem
    from ltjax.theory.prediction import Prediction

HOME = {
    "neuron": "ltjax.experiments.neuron",
    "network": "ltjax.experiments.network",
    "features": "ltjax.experiments.features",
    "imp": "ltjax.experiments.training",
    "popup": "ltjax.experiments.training",
    "own": "ltjax.experiments.own",
    "copies": "ltjax.experiments.copies",
    "subset": "ltjax.experiments.subset",
}


@runtime_checkable
class Config(Protocol):
    """Shapes, and what is counted. A frozen dataclass of plain data, so that it survives JSON."""

    trials_per_shard: ClassVar[int]  # that stay together in a shard: a fraction of a second

    @property
    def width_label(self) -> str:
        """What the widths of the grid are, with their letter: "width k"."""

    @property
    def neurons_per_width(self) -> int:
        """Hidden neurons of a layer that a width of the grid stands for, at most."""

    @property
    def default_rule(self) -> str:
        """The rule shown where none is asked for."""

    @property
    def title(self) -> str:
        """Shapes, for a head line or a panel: "d = 8"."""

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """The events counted, in the order of every count."""

    def check_widths(self, widths: Sequence[int]) -> None:
        """`InputError` unless these networks can be drawn."""

    def check_target(self, target) -> tuple:
        """The target as nested tuples of numbers, or `InputError`."""

    def arrays(self, target) -> Any:
        """A checked target as float64, an array or a tree of them, as `Measured.trial` takes it."""


@runtime_checkable
class Measured(Protocol):
    """How a trial is measured: a module, the only half that imports jax."""

    def __hash__(self) -> int: ...

    def lanes(self, config) -> int:
        """Trials that a device does best side by side."""

    def trial(self, key, target, widths, config) -> Any:
        """One random network: pure, and jitted by `counting.engine`, whose docstring says more."""

    def check(self, problem: "Problem", trials, *outcome) -> None:
        """`WrongKernelError` unless the first trials are as the host knows them."""

    def settle(self, problem: "Problem", trials, *outcome) -> tuple[np.ndarray, np.ndarray]:
        """Brackets of some trials narrowed in float64, on the host."""


@runtime_checkable
class Theory(Protocol):
    """What is predicted: a module of numpy and scipy."""

    def predict(self, problem: "Problem") -> Mapping[str, "Prediction"]:
        """Curves or bounds, of those criteria of which something is proved."""

    def lemma(self, problem: "Problem", epsilon: float, delta: float) -> int | None:
        """The width at which the paper promises success 1 - delta; None for no promise."""

    def facts(self, problem: "Problem") -> list[str]:
        """Lines on what success means here, beyond the grid."""

    def widths(
        self, problem: "Problem", criterion: Criterion, epsilon: float, delta: float
    ) -> tuple[str, str]:
        """The smallest width, exact or bracketed, and the asymptotic one, as text; - for none."""


@dataclass(frozen=True)
class Experiment:
    """One experiment: what is asked, how it is measured, what is predicted.

    config: the type of its configurations, each a `Config`.
    home: the package of its modules; of a user's experiment the empty text.
    measured_by, predicted_by: the two halves, a `Measured` and a `Theory`: modules of the package,
        imported when they are first used, or objects.
    """

    config: type[Any]
    home: str = ""
    measured_by: Any = "device"
    predicted_by: Any = "theory"

    @property
    def measured(self) -> Measured:
        return cast(Measured, self._half(self.measured_by))

    @property
    def theory(self) -> Theory:
        return cast(Theory, self._half(self.predicted_by))

    def _half(self, half: Any) -> Any:
        return importlib.import_module(f"{self.home}.{half}") if isinstance(half, str) else half

    def register(self, name: str) -> "Experiment":
        """Make a user's experiment known by a name, which its problems and records bear.

        A record of it can be read only where this has been done: it holds its configuration.
        """
        if name in HOME:
            raise InputError(f"name must not be one of ltjax's, {', '.join(HOME)}, got {name}.")
        halves = (self.measured_by, Measured), (self.predicted_by, Theory)
        for half, kind in ((self._half(half), kind) for half, kind in halves):
            lacking = [part for part in vars(kind) if part[0] != "_" and not hasattr(half, part)]
            if lacking:
                raise InputError(f"experiment {name} must have {', '.join(lacking)}, got none.")
        _own[name] = self
        return self


_own: dict[str, Experiment] = {}


def experiment(name: str) -> Experiment:
    """The experiment of a name, or `InputError`."""
    if name in _own:
        return _own[name]
    if name not in HOME:
        known = ", ".join([*HOME, *_own])
        raise InputError(f"experiment must be one of {known}, got {name}.")
    found: Mapping[str, Experiment] = importlib.import_module(HOME[name]).EXPERIMENTS
    return found[name]
