"""What is predicted of networks found by training: nothing. And what success means there."""

from ltjax.experiments.training.config import Training
from ltjax.problem.criterion import Criterion
from ltjax.problem.problem import Problem
from ltjax.theory.prediction import UNKNOWN, Prediction


def predict(problem: Problem[Training]) -> dict[str, Prediction]:
    """Nothing is proved."""
    return {}


def lemma(problem: Problem[Training], epsilon: float, delta: float) -> None:
    """Nothing is promised."""


def facts(problem: Problem[Training]) -> list[str]:
    """How the networks were trained, and what epsilon is."""
    config = problem.config
    return [
        f"{config.data}, {config.hidden} hidden of a width, {config.steps} steps of "
        f"{config.batch} examples; epsilon is test accuracy lost against the dense network"
    ]


def widths(
    problem: Problem[Training], criterion: Criterion, epsilon: float, delta: float
) -> tuple[str, str]:
    """None is known."""
    return UNKNOWN
