"""What is predicted of copies: the theorem gives an order without constants, and so no curve."""

from ltjax.experiments.copies.config import CANDIDATES, Copies
from ltjax.problem.criterion import Criterion
from ltjax.problem.problem import Problem
from ltjax.theory.prediction import UNKNOWN, Prediction


def predict(problem: Problem[Copies]) -> dict[str, Prediction]:
    """Nothing is proved of these curves."""
    return {}


def lemma(problem: Problem[Copies], epsilon: float, delta: float) -> None:
    """The theorem promises a width up to a constant."""


def facts(problem: Problem[Copies]) -> list[str]:
    """What a width is, and which rules were counted."""
    config = problem.config
    depth = len(config.shapes)
    named = zip(config.rules, config.sources, strict=True)
    told = ", ".join(f"{name} ({source})" for name, source in named)
    copied = ", ".join(f"{n} m" for n in config.sizes[:-1])
    return [
        f"mask rules: {told}; copies: a random network of depth {depth + 1}, whose hidden layers "
        f"have {copied} neurons",
        f"a slot chooses from its {CANDIDATES} largest candidates, of the better half of copies",
    ]


def widths(
    problem: Problem[Copies], criterion: Criterion, epsilon: float, delta: float
) -> tuple[str, str]:
    """None is told."""
    return UNKNOWN
