"""For tests of one's own laws, mask rules and bounds: what ltjax itself asks of them."""

import numpy as np

from ltjax.errors import InputError
from ltjax.experiments.own.checks import check_law, check_rule
from ltjax.networks.pairs import Pair, reached
from ltjax.supnorm.bounds import Bound, circle

__all__ = ["check_bound", "check_law", "check_rule"]

SIZES = (2, 4, 1), (2, 3, 2), (2, 3, 3, 1), (4, 5, 1)  # of two inputs the supremum is known
MANY = 6  # networks of each
POINTS = 4096


def check_bound(bound: Bound) -> None:
    """Hold a bound on suprema against exact ones in the plane, and against points elsewhere.

    Raises:
        InputError: it gives anything but two numbers a network, a lower bound above the supremum or
            an upper one below it.
    """
    random = np.random.default_rng(0)
    named = f"bound {getattr(bound, '__name__', 'given')} must"
    for sizes in SIZES:
        layers = list(zip(sizes[1:], sizes[:-1], strict=True))
        weights = tuple(random.normal(size=shape) / max(shape) for shape in layers)
        errors = tuple(
            0.1 * random.normal(size=(MANY, 2 if i == 0 else 1, *shape)) / max(shape)
            for i, shape in enumerate(layers)
        )
        pair, wanted = Pair(weights, errors), np.full((MANY, 1), 0.01)
        x = random.normal(size=(sizes[0], POINTS))
        least = reached(pair, x / np.linalg.norm(x, axis=0))[0].max(axis=1)
        most = np.full(MANY, np.inf)
        if sizes[0] == 2:
            least, most = circle(pair, wanted)
        try:
            lower, upper = (
                np.broadcast_to(np.asarray(x, float), MANY) for x in bound(pair, wanted)
            )
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{named} give a lower and an upper bound a network: {error}"
            ) from None
        if not np.all(upper >= least):
            raise InputError(f"{named} be above the supremum, got {upper[~(upper >= least)][0]:g}.")
        if not np.all(lower <= most):
            raise InputError(f"{named} be below the supremum, got {lower[~(lower <= most)][0]:g}.")
