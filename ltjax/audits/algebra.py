"""What holds without chance: identities of relu, masks, the pruned network written out.

Weights have 24 bits, so that products and sums of a few of them times small integers are exact in
float64: an identity is checked for equality, not to a tolerance.
"""

from itertools import permutations, product
from math import factorial

import numpy as np

from ltjax.audits.claim import Claim, Count, Finding, Judgement, exact, judge
from ltjax.networks import pairs, pruned
from ltjax.weights import redraw

TRUE = Judgement.HOLDS


def relu(x):
    return np.maximum(x, 0.0)


def orthants(dim: int) -> np.ndarray:
    """Integer points that decide an identity between functions linear on each orthant.

    In every orthant d + 1 points: its axes and its diagonal. [2^d (d + 1), d].
    """
    signs = np.array(list(product((1.0, -1.0), repeat=dim)))
    rays = np.append(np.eye(dim), np.ones((1, dim)), axis=0)
    return (signs[:, None] * rays).reshape(-1, dim)


def split(x):
    """x out of its two rectified halves."""
    return relu(x) - relu(-x)


def _split(size, seed: int, subject, count: Count) -> Finding:
    """Both sides are homogeneous of degree one: 0, 1 and -1 decide, powers of two show it."""
    powers = 2.0 ** np.arange(-size["powers"], size["powers"] + 1)
    x = np.concatenate([[0.0, 1.0, -1.0], powers, -powers])
    off = float(np.max(np.abs(subject(x) - x)))
    return judge([], [exact(f"largest difference over {len(x)} points", 0, off, off == 0.0)])


def two_layers(w: np.ndarray) -> list[np.ndarray]:
    """The neuron relu(w.x) as a network of 2 d hidden neurons with one input each."""
    dim = len(w)
    hidden = np.concatenate([np.diag(w), -np.diag(w)])
    return [hidden, np.repeat([[1.0, -1.0]], dim, axis=1).reshape(1, -1)]


def _two_layer(size, seed: int, subject, count: Count) -> Finding:
    """By forward passes of both networks, with integer weights, on points that decide."""
    rng = np.random.default_rng(seed)
    worst, inputs = 0.0, 0
    for _ in range(size["neurons"]):
        w = rng.integers(-9, 10, size=size["dim"]).astype(float)
        x = np.append(orthants(size["dim"]), rng.integers(-9, 10, (64, size["dim"])), axis=0)
        one, two = (pairs.forward(f, x, "relu") for f in ([w[None]], subject(w)))
        worst, inputs = max(worst, float(np.abs(one - two).max())), inputs + len(x)
    says = f"largest difference over {size['neurons']} neurons, {inputs:,} points"
    hidden = len(subject(np.ones(size["dim"]))[0])
    width = exact("hidden neurons", 2 * size["dim"], hidden, hidden == 2 * size["dim"])
    return judge([width], [exact(says, 0, worst, worst == 0.0)])


# Masks of a tiny network.


def all_masks(width: int, dim: int) -> np.ndarray:
    """Every B in {0, 1}^(width x dim), bool [2^(width dim), width, dim]."""
    bits = np.arange(2 ** (width * dim))[:, None] >> np.arange(width * dim)
    return (bits & 1).astype(bool).reshape(-1, width, dim)


def two_an_input(masks: np.ndarray) -> np.ndarray:
    """Every input keeps two neurons j1, j2 that are not the same: bool [n]."""
    return np.all(masks.sum(axis=1) == 2, axis=1)


def one_input_a_neuron(masks: np.ndarray) -> np.ndarray:
    """B_ji = 1 implies B_ji' = 0 for the other inputs i': what is meant."""
    return np.all(masks.sum(axis=2) <= 1, axis=1)


def one_neuron_an_input(masks: np.ndarray) -> np.ndarray:
    """B_ji = 1 implies B_j'i = 0 for the other neurons j': what is printed."""
    return np.all(masks.sum(axis=1) <= 1, axis=1)


def _mask(size, seed: int, subject, count: Count) -> Finding:
    """Count the masks of a tiny network that meet either condition; `subject` builds masks."""
    required, stated, corrected = [], [], []
    for dim, width in size["networks"]:
        every = all_masks(width, dim)
        paired = two_an_input(every)
        at = f"d = {dim}, k = {width}, of {len(every):,} masks"
        printed = int(np.sum(paired & one_neuron_an_input(every)))
        stated.append(exact(f"as printed: {at}", "at least 1", printed, printed > 0))
        meant = paired & one_input_a_neuron(every)
        ways = factorial(width) // (2**dim * factorial(width - 2 * dim))
        found = int(np.sum(meant))
        corrected.append(exact(f"as meant: {at}", ways, found, found == ways))
        slots = [np.reshape(kept, (2, 1, dim)) for kept in permutations(range(width), 2 * dim)]
        built = {subject(kept, width)[1].tobytes() for kept in slots}
        same = built == {mask.tobytes() for mask in every[meant]}
        required.append(exact(f"masks that tickets make: {at}", ways, len(built), same))
    return judge(required, stated, corrected)


def pulled_out(output, hidden, x):
    """g~ of the kept neurons, signs and sizes of A pulled out of and into relu.

    Args:
        output, hidden: A and w of the kept neurons, [side, d]; x: points [n, d].
    """
    inner = np.sign(output) * relu(np.abs(output) * hidden * x[:, None])
    return relu(np.sum(inner, axis=(1, 2)))


def _formula(size, seed: int, subject, count: Count) -> Finding:
    """Random networks under random masks, evaluated whole, beside the formula."""
    rng, dim, width = np.random.default_rng(seed), size["dim"], size["width"]
    x = np.append(orthants(dim), rng.integers(-2, 3, (64, dim)), axis=0)
    worst = 0.0
    for trial in range(size["networks"]):
        A, W = (a[0] for a in redraw.random_layer(seed, [trial], np.arange(width), dim))
        kept = rng.permutation(width)[: 2 * dim].reshape(2, 1, dim)
        keep_output, keep_hidden = pruned.mask(kept, width)
        whole = pairs.forward([W * keep_hidden, A * keep_output], x, "relu")[:, 0]
        slots = kept[:, 0]
        formula = subject(A[0, slots], W[slots, np.arange(dim)], x)
        worst = max(worst, float(np.abs(whole - formula).max()))
    says = f"largest difference over {size['networks']} pruned networks, {len(x)} points each"
    return judge([], [exact(says, 0, worst, worst == 0.0)])


CLAIMS = (
    Claim(
        name="split",
        where="Proof idea, relu",
        statement="A number is the difference of its two rectified halves: x = relu(x) - relu(-x).",
        hypotheses="x real.",
        limits="Both sides are homogeneous of degree one, so three points prove it; the run shows "
        "that the code has it exactly, over all sizes of numbers.",
        expected=TRUE,
        run=_split,
        subject=split,
        quick={"powers": 1000},
    ),
    Claim(
        name="two-layer",
        where="Proof idea, relu",
        statement="One neuron relu(w.x) is a network of two layers: relu of the difference of "
        "sum relu(w_i x_i) and sum relu(-w_i x_i).",
        hypotheses="None on w.",
        limits="On each orthant both are relu of a linear function, and the points decide it: "
        "proved for each w that is tried, shown for others.",
        expected=TRUE,
        run=_two_layer,
        subject=two_layers,
        quick={"dim": 5, "neurons": 50},
        full={"dim": 8, "neurons": 500},
    ),
    Claim(
        name="mask",
        where="Proof idea, bit-mask B",
        statement="A mask gives every input i two neurons j1(i) and j2(i) of its own: B_ji = 1 "
        "just for these two, and B_ji = 1 forbids B_j'i = 1 for other neurons j'.",
        hypotheses="j1(i) and j2(i) are two neurons, as their signs must differ.",
        limits="All masks of tiny networks are tried. As printed no mask meets both conditions, at "
        "any size: the second leaves an input one neuron. Meant is B_ji' = 0 for other inputs i'.",
        expected=Judgement.CORRECTED,
        run=_mask,
        subject=pruned.mask,
        quick={"networks": [[2, 4], [2, 5], [3, 6]]},
        full={"networks": [[2, 4], [2, 5], [2, 8], [3, 6], [3, 7]]},
    ),
    Claim(
        name="formula",
        where="Proof idea, g~ for B as above",
        statement="Under such a mask g~ is relu of a sum of A relu(w x_i) over kept neurons, and "
        "there A may be split: its size moves into relu, its sign stays outside.",
        hypotheses="Every kept neuron keeps one input, every input two neurons.",
        limits="Exact in the arithmetic used, at points that decide it on each orthant, for the "
        "networks drawn; the general case is homogeneity of relu.",
        expected=TRUE,
        run=_formula,
        subject=pulled_out,
        quick={"dim": 4, "width": 16, "networks": 200},
        full={"dim": 6, "width": 40, "networks": 2000},
    ),
)
