"""The nearest subset sum, on the device and on the host, against all subsets in int64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.masks import batching, subset_host, subset_sums
from ltjax.masks.subset_sums import Found

UNIT = 2**24
CROWD = 2 * subset_sums.LANES + 3  # problems: two chunks, and one that is not full
LAWS = {
    "uniform": lambda rng, shape: 2 * rng.integers(-(UNIT // 2), UNIT // 2, shape) + 1,
    "product": lambda rng, shape: np.rint(UNIT * rng.uniform(-1, 1, (2, *shape)).prod(axis=0)),
    "gaussian": lambda rng, shape: np.rint(UNIT / 3**0.5 * rng.normal(size=shape)).clip(-5e7, 5e7),
    "few values": lambda rng, shape: rng.integers(-3, 4, shape),  # ties by the hundred
    "one sign": lambda rng, shape: rng.integers(0, UNIT, shape),  # targets below all sums
    "signs": lambda rng, shape: UNIT * rng.choice([-1, 1], shape),
}


def problems(law, n, count, seed=0):
    """Numbers int32 [n, problem] and targets in (-1, 1): half of them on the scale of the law."""
    rng = np.random.default_rng([seed, n, list(LAWS).index(law)])
    numbers = np.asarray(LAWS[law](rng, (n, count)), np.int32)
    target = np.where(rng.random(count) < 0.5, rng.integers(-UNIT, UNIT, count), 0)
    target += rng.integers(-4, 5, count) * (rng.random(count) < 0.7)
    return numbers, target.astype(np.int32)


def all_sums(numbers):
    """Every subset sum by mask, int64 [2^n, problem]."""
    sums = np.zeros((1, numbers.shape[1]), np.int64)
    for number in numbers.astype(np.int64):
        sums = np.concatenate([sums, sums + number])
    return sums


def by_definition(numbers, target):
    """Error and mask by the order of the docstring, over all subsets."""
    n = len(numbers)
    masks, paired = np.arange(2**n), n // 2 * 2
    left = sum(1 << i for i in range(0, paired, 2))
    right = sum(1 << i for i in range(1, paired, 2))
    sums = all_sums(numbers)
    errors = sums - target
    order = 2 * np.abs(errors) + (errors > 0)
    found = []
    for p in range(numbers.shape[1]):
        near = masks[order[:, p] == order[:, p].min()]
        near = near[np.lexsort((near & right, near & left, sums[near & left, p], near >> paired))]
        found.append((errors[near[0], p], near[0]))
    return np.array(found).T


def device(function, numbers, target):
    return Found(*map(np.asarray, jax.jit(function)(jnp.asarray(numbers), jnp.asarray(target))))


def sums_of(numbers, mask):
    bits = mask >> np.arange(len(numbers), dtype=np.uint32)[:, None] & np.uint32(1)
    return (numbers.astype(np.int64) * bits).sum(axis=0)


def faults(numbers, target, found):
    """Problems whose mask does not give their error, or names no number."""
    wrong = sums_of(numbers, found.mask) - target != found.error
    return wrong | (found.mask.astype(np.uint64) >> np.uint64(len(numbers)) > 0)


@pytest.mark.parametrize("law", LAWS)
def test_every_prefix_finds_what_the_definition_finds(law):
    numbers, target = problems(law, 9, CROWD)
    found = device(subset_sums.nearest_of_prefixes, numbers, target)
    assert found.error.shape == found.mask.shape == (10, CROWD)
    assert (found.error.dtype, found.mask.dtype) == (np.int32, np.uint32)
    for n in range(10):
        error, mask = by_definition(numbers[:n], target)
        np.testing.assert_array_equal(found.error[n], error)
        np.testing.assert_array_equal(found.mask[n], mask)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_a_thousand_problems_of_every_size_find_the_optimum(law):
    for n in range(18):
        numbers, target = problems(law, n, 1000, seed=1)
        found = device(subset_sums.nearest, numbers, target)
        assert not faults(numbers, target, found).any()
        for some in np.array_split(np.arange(1000), 20):
            error, mask = by_definition(numbers[:, some], target[some])
            np.testing.assert_array_equal(found.error[some], error)
            np.testing.assert_array_equal(found.mask[some], mask)


@pytest.mark.parametrize("n", [0, 1, 4, 9])
def test_one_size_alone_is_that_of_the_prefixes(n):
    numbers, target = problems("product", 9, CROWD)
    prefixes = device(subset_sums.nearest_of_prefixes, numbers, target)
    alone = device(subset_sums.nearest, numbers[:n], target)
    for one, all_of in zip(alone, prefixes, strict=True):
        np.testing.assert_array_equal(one, all_of[n])


@pytest.mark.parametrize(
    ("n", "law"),
    [
        (17, "uniform"),
        pytest.param(24, "uniform", marks=pytest.mark.slow),
        pytest.param(31, "product", marks=pytest.mark.slow),
    ],
)
def test_many_numbers_find_what_the_host_finds(n, law):
    numbers, target = problems(law, n, 2)
    found = device(subset_sums.nearest, numbers, target)
    assert not faults(numbers, target, found).any()
    for p in range(2):
        host = subset_host.nearest(numbers[:, p].astype(np.int64), int(target[p]))
        assert host == (found.error[p], found.mask[p])


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [0, 1, 2, 7, 8])
def test_the_host_finds_what_the_definition_finds(n, law):
    numbers, target = problems(law, n, 40)
    for p, expected in enumerate(by_definition(numbers, target).T):
        host = subset_host.nearest(numbers[:, p].astype(np.int64), int(target[p]))
        assert host == tuple(expected)


def test_the_host_is_exact_where_float64_is_not():
    # 2^60 + 1 is no float64; the subset that hits it is the only one within 2.
    numbers = np.array([2**59 + 3, -5, 2**59 - 2, 2**40, 9], np.int64)
    assert subset_host.nearest(numbers, 2**60 + 1) == (0, 0b101)


def test_a_crowd_finds_what_one_finds_alone():
    numbers, target = problems("uniform", 9, CROWD)
    crowd = device(subset_sums.nearest, numbers, target)
    for p in (0, subset_sums.LANES, CROWD - 1):
        alone = device(subset_sums.nearest, numbers[:, p : p + 1], target[p : p + 1])
        for one, many in zip(alone, crowd, strict=True):
            assert one[0] == many[p]


def test_behind_vmap_problems_are_lanes_all_the_same():
    numbers, target = problems("product", 3, 12)
    flat = device(subset_sums.nearest, numbers, target)
    one = lambda numbers, target: jax.tree.map(
        lambda x: x[0], subset_sums.nearest(numbers[:, None], target[None])
    )
    rows = lambda x: jnp.moveaxis(jnp.reshape(x, (*x.shape[:-1], 3, 4)), (-2, -1), (0, 1))
    batched = jax.vmap(jax.vmap(one))
    found = device(lambda n, t: batched(rows(n), rows(t)), numbers, target)
    shared = device(jax.vmap(one, (None, 0)), numbers[:, 0], target)
    for field in ("error", "mask"):
        assert getattr(found, field).reshape(-1).tolist() == getattr(flat, field).tolist()
    for p in range(12):
        error, mask = subset_host.nearest(numbers[:, 0].astype(np.int64), int(target[p]))
        assert (shared.error[p], shared.mask[p]) == (error, mask)
    # One loop over chunks of problems, and none over the axes of `vmap`.
    program = str(jax.make_jaxpr(lambda n, t: batched(rows(n), rows(t)))(numbers, target))
    assert "i32[3,1,12]" in program


@pytest.mark.parametrize(("lanes", "count"), [(1, 5), (4, 5), (4, 8), (64, 5), (4, 0)])
def test_chunks_do_not_show(lanes, count):
    double = batching.side_by_side(lanes)(lambda x, y: (2 * x + y[None], jnp.sum(x, axis=0)))
    x, y = np.arange(3 * count).reshape(3, count), np.arange(count)
    twice, total = jax.jit(double)(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_array_equal(twice, 2 * x + y)
    np.testing.assert_array_equal(total, x.sum(axis=0))


def test_a_planted_fault_is_noticed():
    numbers, target = problems("uniform", 9, CROWD)
    found = device(subset_sums.nearest, numbers, target)
    assert not faults(numbers, target, found).any()
    for bit in (0, 5, 8, 9, 31):
        flipped = found._replace(mask=found.mask ^ np.uint32(1 << bit))
        assert faults(numbers, target, flipped).all()
    # Some other subset, with the sum that it has, is not the nearest.
    other = found.mask ^ np.uint32(1)
    error, _ = by_definition(numbers, target)
    assert (np.abs(sums_of(numbers, other) - target) > np.abs(error)).all()


def test_float32_would_not_do():
    # Negative control: sums rounded to float32 claim errors that their subsets do not have.
    numbers, target = problems("uniform", 14, 50)
    sums = np.zeros((1, 50), np.float32)
    for number in numbers.astype(np.float32):
        sums = np.concatenate([sums, sums + number])
    best = np.argmin(np.abs(sums - target.astype(np.float32)), axis=0)
    claimed = Found(sums[best, range(50)].astype(np.int64) - target, best.astype(np.uint32))
    assert faults(numbers, target, claimed).any()


@pytest.mark.parametrize("search", [subset_sums.nearest, subset_sums.nearest_of_prefixes])
def test_more_numbers_than_a_mask_has_bits_for_are_refused(search):
    with pytest.raises(InputError, match="numbers must be 31 at most, got 32"):
        search(jnp.zeros((32, 1), jnp.int32), jnp.zeros(1, jnp.int32))


@pytest.mark.parametrize("length", [1, 2, 4, 8, 64])
def test_a_merge_sorts(length):
    rng = np.random.default_rng(length)
    one, other = np.sort(rng.integers(-20, 20, (2, length, 3)).astype(np.int32), axis=1)
    found = jax.jit(subset_sums.merged)(jnp.asarray(one), jnp.asarray(other))
    np.testing.assert_array_equal(found, np.sort(np.concatenate([one, other]), axis=0))
