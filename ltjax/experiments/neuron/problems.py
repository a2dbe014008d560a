"""The problem of one neuron, from what a user asks for."""

from collections.abc import Sequence

import numpy as np

from ltjax import theory
from ltjax.experiments.neuron.config import CONSTRUCTIONS, RULES, Neuron
from ltjax.networks.hypotheses import check_target
from ltjax.networks.targets import neuron_target
from ltjax.problem.problem import Grid, Problem, asked_grid
from ltjax.system.files import FilePath
from ltjax.validate import check_seed
from ltjax.weights.laws import Law, is_paper


@np.errstate(under="ignore")
def neuron(
    dim: int | None = None,
    epsilons: Sequence[float] = (0.5, 0.2, 0.1),
    widths: Sequence[int] | None = None,
    target: FilePath | Sequence[float] | np.ndarray = "worst",
    constructions: Sequence[str] = CONSTRUCTIONS,
    rules: Sequence = RULES,
    seed: int = 0,
    law: Law | str | None = None,
) -> Problem:
    """The problem of pruning a random two-layer network to one neuron f(x) = relu(w.x).

    Args:
        dim: input dimension d; by default that of the target, or 8.
        epsilons: errors allowed, in (0, 1).
        widths: hidden neurons k of the random network; by default about 40, over which the exact
            curves rise from 1 % to 99.9 %.
        target: worst (all |w_i| = 1/sqrt(d), signs alternating), random (one target, drawn from
            the seed), a path to a .npy file, or the weights themselves.
        constructions: blocks and pooled, or one of them.
        rules: of slides, tight, l2 and sup; sup is the most expensive. And mask rules, by name or
            as they are, which are then counted in place of the constructions.
        seed: 0 <= seed < 2^32.
        law: of all random weights, by name or as it is; U[-1, 1] by default.
    """
    weights = _target(target, dim, check_seed(seed))
    if not is_paper(law) or not set(rules) <= set(RULES):
        from ltjax.experiments.own.problems import own  # the way to jax

        return own(
            "neuron", (len(weights), 1), "relu", weights, epsilons, widths, law, rules,
            constructions, seed,
        )  # fmt: skip
    config = Neuron(dim=len(weights), constructions=tuple(constructions), rules=tuple(rules))
    grid = asked_grid(widths, epsilons)
    if widths is None:
        rising = theory.default_widths(weights, grid.epsilons, config.constructions)
        grid = Grid(widths=rising, epsilons=grid.epsilons)
    return Problem(config=config, target=weights, grid=grid, seed=seed)


def _target(target, dim: int | None, seed: int) -> tuple[float, ...]:
    """Resolve a name, a file or numbers to the d weights of a neuron."""
    values, name = neuron_target(target, dim, seed)
    return check_target(values, len(values) if dim is None else dim, name)
