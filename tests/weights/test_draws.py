"""Words: the published cipher, jax's own, numpy's and ours agree bit for bit."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.weights import draws


def u32(*values):
    return tuple(np.array([v], np.uint32) for v in values)


# Known-answer vectors of Random123 1.09 (kat_vectors: threefry 2x32, 20 rounds).
KNOWN = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("key", "counter", "expected"), KNOWN)
def test_threefry_gives_the_published_answers(key, counter, expected):
    got = draws.threefry2x32(u32(*key), u32(*counter))
    assert tuple(int(x[0]) for x in got) == expected


def test_threefry_is_the_one_of_jax():
    rng = np.random.default_rng(1)
    key = rng.integers(0, 2**32, 2, np.uint32)
    count = rng.integers(0, 2**32, (2, 1000), np.uint32)
    theirs = jax.extend.random.threefry_2x32(key, count.reshape(-1)).reshape(2, -1)
    ours = draws.threefry2x32((key[:1], key[1:]), (count[0], count[1]))
    np.testing.assert_array_equal(np.stack(ours), theirs)


def test_trial_key_is_fold_in():
    seed, trials = 12345, np.arange(50, dtype=np.uint32)
    theirs = jax.vmap(lambda i: jax.random.key_data(jax.random.fold_in(jax.random.key(seed), i)))(
        trials
    )
    ours = draws.trial_key(np.full(50, seed, np.uint32), trials)
    np.testing.assert_array_equal(np.stack(ours, axis=1), theirs)


def test_numpy_and_jit_draw_the_same_words():
    neuron, index = np.arange(300, dtype=np.uint32)[:, None], np.arange(7, dtype=np.uint32)

    def weights(xp):
        key = draws.trial_key(xp.asarray(np.uint32([7])), xp.asarray(np.uint32([3])))
        key = draws.stream(key, 1, draws.OUTPUT)
        return draws.uniform(draws.word(key, xp.asarray(neuron), xp.asarray(index)[None]))

    with jax.numpy_rank_promotion("allow"):
        np.testing.assert_array_equal(jax.jit(lambda: weights(jnp))(), weights(np))


def test_single_words_are_those_of_the_pairs():
    key = u32(5, 6)
    neuron = np.arange(40, dtype=np.uint32)[:, None]
    pairs = draws.word_pair(key, neuron, np.arange(3, dtype=np.uint32))
    singles = draws.word(key, neuron, np.arange(6, dtype=np.uint32))
    np.testing.assert_array_equal(np.stack(pairs, axis=-1).reshape(40, 6), singles)


def test_addresses_do_not_share_words():
    # Every coordinate of an address matters: 4 x 2 x 2 x 64 x 4 words of 32 bits, all different
    # but for chance collisions (expected 4096^2 / 2^33 = 0.002).
    words = [
        draws.word(
            draws.stream(draws.trial_key(*u32(9, trial)), layer, role),
            np.arange(64, dtype=np.uint32)[:, None],
            np.arange(4, dtype=np.uint32),
        )
        for trial in range(4)
        for layer in range(2)
        for role in (draws.HIDDEN, draws.OUTPUT)
    ]
    assert len(np.unique(np.stack(words))) == 4 * 2 * 2 * 64 * 4


def test_uniform_is_symmetric_without_zero_and_exact():
    ends = np.array([0, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)
    expected = np.array([-1 + 2**-24, -(2**-24), 2**-24, 1 - 2**-24])
    np.testing.assert_array_equal(draws.uniform(ends).astype(np.float64), expected)
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**32, 10_000, np.uint32)
    # Flipping every bit of a word flips the sign of its number and nothing else.
    np.testing.assert_array_equal(draws.uniform(~words), -draws.uniform(words))
    np.testing.assert_array_equal(draws.uniform(words) > 0, words >= 2**31)
