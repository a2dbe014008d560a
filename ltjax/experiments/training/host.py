"""Accuracy lost, the host's part: what training experiments share.

Verdicts are about counts of test inputs: whole numbers, compared with epsilon in float64.

Bit for bit, a trial does not depend on which others, and how many, are trained beside it, if there
are any: a batch of one is multiplied by another routine, which rounds otherwise, so that a count
may differ. The engine takes such batches only where memory leaves no room for two.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ltjax.errors import WrongKernelError
from ltjax.experiments.training.config import Training
from ltjax.networks.pairs import forward
from ltjax.problem.problem import Problem

SLACK = 1e-5  # more than float32 rounds a share by: what is nearer to an epsilon is settled
TIES = 2  # test inputs on whose largest logit float32 and float64 may differ


class Outcome(NamedTuple):
    """What one trial yields. Arrays over criteria in the order of `config.criteria`.

    lower, upper: bracket on the accuracy lost, float32 [criterion, width].
    lost: test inputs that the dense network has right, less those that the ticket has: whole
        numbers in float32, [criterion, width]; all inputs where the event is out of the question,
        NaN where a network broke.
    dense, ticket, mask: of the narrowest width the dense network, and that of the first share kept
        with its mask, tuples of float32 [n_out, n_in].
    right: test inputs that the two have right, whole numbers in float32, [2].
    """

    lower: Any
    upper: Any
    lost: Any
    dense: tuple
    ticket: tuple
    mask: tuple
    right: Any


def outcome(lost, inputs: int, dense, ticket, mask, right) -> Outcome:
    share = lost / np.float32(inputs)
    return Outcome(share - SLACK, share + SLACK, lost, dense, ticket, mask, right)


def right(found, inputs: int, begin: int = 0):
    """Test inputs that networks have right: whole numbers in float32, NaN where one broke.

    Args:
        found: with fields stop and accuracy, as `mlp.Trained`.
        begin: its first step. A network that was stopped there never had a held-out loss that is a
            number; its start is no network to be held against.
    """
    return jnp.where(found.stop > begin, jnp.round(found.accuracy * np.float32(inputs)), jnp.nan)


def check(problem: Problem[Training], trials, lower, upper, lost, *found) -> None:
    """Known-answer check of the compiled kernel: the first trial that did not break on the host.

    Raises:
        WrongKernelError: a network has not as many test inputs right as was said, or a mask is none
            or has not as many weights as it should.
    """
    data, keep = problem.arrays, problem.config.keeps[0]
    sound = np.flatnonzero(np.isfinite(found[3]).all(axis=1))
    if not len(sound):
        return  # all of them are counted as broken
    dense, ticket, mask = ([layer[sound[0]] for layer in layers] for layers in found[:3])
    answers, counts = data.y_test.argmax(axis=1), found[3][sound[0]]
    for name, layers, said in zip(("dense", "ticket"), (dense, ticket), counts, strict=True):
        logits = forward([layer.astype(np.float64) for layer in layers], data.x_test, "linear")
        right = int(np.sum(logits.argmax(axis=1) == answers))
        if abs(right - said) > TIES:
            raise WrongKernelError(
                f"the compiled kernel is wrong: the {name} network has {right} test inputs right, "
                f"not {said:g}."
            )
    kept, size = sum(int(np.sum(part == 1.0)) for part in mask), sum(part.size for part in mask)
    binary = all(np.isin(part, (0.0, 1.0)).all() for part in mask)
    pruned = all(not np.any(w[part == 0.0]) for w, part in zip(ticket, mask, strict=True))
    if not (binary and pruned and abs(kept - keep * size) <= len(mask)):
        raise WrongKernelError(
            f"the compiled kernel is wrong: its mask keeps {kept} of {size} weights, not {keep:g}."
        )


def settle(problem: Problem[Training], trials, lower, upper, lost, *others):
    """The accuracy lost in float64, from the counts. Args and returns as the engine has them."""
    share = np.asarray(lost, np.float64) / len(problem.arrays.y_test)
    return share, share
