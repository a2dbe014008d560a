"""Masks are masks, what is rewound is rewound, what is frozen stays; and search finds something."""

from functools import cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats as laws
from sklearn.datasets import load_digits

from ltjax.errors import InputError
from ltjax.experiments.training import datasets, edge_popup, magnitude_pruning, mlp
from ltjax.experiments.training.config import EVERY, Imp, Popup
from ltjax.masks import largest, local_search, nearest, rules
from ltjax.networks import pairs, targets
from ltjax.networks.pairs import Pair
from ltjax.networks.pruned import slots, ticket_errors
from ltjax.supnorm import certificate
from ltjax.weights import draws, redraw

SEED, WIDTH, SHORT = 5, 7, 60  # of what is checked bit by bit
KEEPS = (0.6, 0.25, 0.1)
TRIALS = np.arange(60, dtype=np.uint32)
WINS = 49  # of as many races: one in a million by luck, and missed as rarely by who wins 97 %

DESCEND = mlp.descend  # whatever a test plants

# Most of the time would go into compiling; what is compared bit by bit is compiled alike.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def keys(trials=TRIALS):
    seed = np.full_like(trials, SEED)
    return tuple(map(jnp.asarray, draws.trial_key(seed, np.asarray(trials, np.uint32))))


def key(trial):
    return tuple(word[0] for word in keys(np.array([trial], np.uint32)))


@cache
def digits():
    x, y = load_digits(return_X_y=True)
    return datasets.prepare(x[400:], y[400:], x[:400], y[:400])


@cache
def haystack():
    """Two classes by the sum of two inputs; thirty-eight others are noise."""
    x = np.random.default_rng(1).normal(size=(700, 40))
    y = (x[:, 0] + x[:, 1] > 0.0).astype(int)
    return datasets.prepare(x[:400], y[:400], x[400:], y[400:])


@cache
def toy():
    """Three classes in the plane, by angle."""
    x = np.random.default_rng(0).normal(size=(160, 2)) * [1.0, 5.0] + [3.0, -1.0]
    y = ((x - [3.0, -1.0]) @ [[1.0, -1.0, 0.3], [0.2, 0.2, -0.5]]).argmax(axis=1)
    return datasets.prepare(x[:100], y[:100], x[100:], y[100:])


def host_weights(trial, sizes, draw=0, share=1.0):
    """Initial weights by numpy alone."""
    one = tuple(np.full(1, word, np.uint32) for word in map(int, key(trial)))
    layers = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        stream = draws.stream(one, draw * (len(sizes) - 1) + i, draws.HIDDEN)
        index = np.arange(n_in, dtype=np.uint32)
        words = [draws.word(stream, np.full(1, j, np.uint32), index) for j in range(n_out)]
        layers.append(np.float32((6.0 / (share * n_in)) ** 0.5) * draws.uniform(np.stack(words)))
    return layers


def host_logits(layers, x):
    return pairs.forward(layers, x)


def held_loss(layers, data):
    z = host_logits(layers, data.x_held)
    return np.mean(np.log(np.exp(z).sum(axis=1)) - z[data.y_held > 0])


# Masks by rank


def test_exactly_so_many_of_the_largest_are_marked():
    few = np.float32([-np.inf, -2.5, -1.0, -0.0, 0.0, 1e-30, 0.5, 3.0, np.inf])
    values = np.random.default_rng(2).choice(few, size=(200, 9))
    counts = np.arange(10, dtype=np.int32)
    each = jax.vmap(jax.vmap(largest.largest, (None, 0)), (0, None))
    found = np.asarray(quick(each)(jnp.asarray(values), counts))
    for one, marked in zip(values, found, strict=True):
        # -0 lies below 0; of equals the first.
        order = np.lexsort([np.arange(9), np.signbit(one), -one])
        for count in counts:
            wanted = np.zeros(9, np.float32)
            wanted[order[:count]] = 1.0
            np.testing.assert_array_equal(marked[count], wanted)


def test_the_largest_of_all_layers_are_marked_together():
    layers = jnp.array([[1.0, 5.0]]), jnp.array([[3.0], [-1.0], [4.0]])
    first, second = largest.largest_of_all(layers, 3)
    np.testing.assert_array_equal(first, [[0.0, 1.0]])
    np.testing.assert_array_equal(second, [[1.0], [0.0], [1.0]])
    assert largest.kept(0.5, layers) == 2
    assert largest.kept(1e-9, layers) == 1


def test_a_gradient_passes_straight_through_a_mask_of_ones_and_zeros():
    scores = jnp.array([0.1, -1e8, 3e-7, 2.0])
    weights = jnp.array([2.0, 3.0, -5.0, 7.0])
    mask, slope = jax.vjp(lambda s: largest.straight_through(largest.largest(s, 2), s), scores)
    np.testing.assert_array_equal(mask, [1.0, 0.0, 0.0, 1.0])
    np.testing.assert_array_equal(slope(weights)[0], weights)


# The network and its descent


def test_weights_and_minibatches_are_those_of_their_address():
    sizes = (3, 4, 2)
    for draw in (mlp.FIRST, mlp.AGAIN):
        found = quick(mlp.initial, static_argnums=(1, 2))(key(2), sizes, draw)
        for layer, wanted in zip(found, host_weights(2, sizes, draw), strict=True):
            np.testing.assert_array_equal(layer, wanted)
    data, step = toy(), 11
    one = tuple(np.full(1, word, np.uint32) for word in map(int, key(2)))
    stream = draws.stream(one, 0, draws.INPUT)
    words = draws.word(stream, np.full(1, step, np.uint32), np.arange(9, dtype=np.uint32))
    x, y = mlp.minibatch(key(2), jnp.int32(step), jnp.asarray(data.x_train), data.y_train, 9)
    np.testing.assert_array_equal(x, data.x_train[words % len(data.x_train)])
    np.testing.assert_array_equal(y, data.y_train[words % len(data.x_train)])


def test_loss_and_accuracy_are_those_of_the_definition():
    data, layers = toy(), host_weights(3, (3, 6, 5, 3))
    z = host_logits(layers, data.x_test)
    right = z.argmax(axis=1) == data.y_test.argmax(axis=1)
    assert 0 < right.sum() < len(right)
    on_device = tuple(map(jnp.asarray, layers))
    np.testing.assert_allclose(mlp.accuracy(on_device, data.x_test, data.y_test), right.mean())
    found = mlp.loss(on_device, data.x_held, data.y_held)
    np.testing.assert_allclose(found, held_loss(layers, data), rtol=1e-5)


@cache
def descents():
    """The same descent, broken off at every step at which it is looked at."""
    data = toy()
    start = tuple(map(jnp.asarray, host_weights(1, (3, 40, 3))))

    def run(steps, rate):
        return mlp.descend(start, lambda p: p, optax.adam(rate), key(1), data, 4, range(steps))

    run = quick(run, static_argnums=0)
    return start, [run(EVERY * i, np.float32(0.05)) for i in range(5)], run


@pytest.mark.slow
def test_a_descent_is_stopped_where_its_held_out_loss_was_lowest():
    start, parts, _ = descents()
    losses = [held_loss(part.last, toy()) for part in parts[1:]]
    best = int(np.argmin(losses))
    assert best < len(losses) - 1, "a case that stops early"
    whole = parts[-1]
    assert whole.stop == EVERY * (best + 1)
    for found, wanted in zip(whole.best, parts[best + 1].last, strict=True):
        np.testing.assert_array_equal(found, wanted)
    z = host_logits(whole.best, toy().x_test)
    right = z.argmax(axis=1) == toy().y_test.argmax(axis=1)
    np.testing.assert_allclose(whole.accuracy, right.mean())
    for found, wanted in zip(parts[0].last, start, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert parts[0].stop == 0


def test_a_descent_that_leaves_the_numbers_keeps_its_start():
    start, _, run = descents()
    lost = run(EVERY, np.float32(1e38))
    assert not np.isfinite(lost.last[0]).all()
    assert lost.stop == 0
    assert 0.0 <= lost.accuracy <= 1.0
    for found, wanted in zip(lost.best, start, strict=True):
        np.testing.assert_array_equal(found, wanted)


# Iterative magnitude pruning

CONFIGS = {
    rewind: Imp(data="file", widths=(WIDTH,), keeps=KEEPS, steps=SHORT, batch=8, rewind=rewind)
    for rewind in (0, 20)
}


def pruned(rewind, trials=(3, 9)):
    run = lambda key: magnitude_pruning.train(key, toy(), WIDTH, CONFIGS[rewind])
    return quick(jax.vmap(run))(keys(np.array(trials, np.uint32)))


@cache
def sound(rewind):
    return pruned(rewind)


def check_masks(outcome):
    """What is pruned is 0 to the end, counts are exact, masks nested, layers as full by lot."""
    sizes = [mask[0, 0].size for mask in outcome.masks]
    for k, keep in enumerate(KEEPS):
        whole = [mask[:, k - 1] if k else np.ones_like(mask[:, 0]) for mask in outcome.masks]
        layers = [mask[:, k] for mask in outcome.masks]
        for mask, before in zip(layers, whole, strict=True):
            assert set(np.unique(mask)) <= {0.0, 1.0}
            assert (mask <= before).all()
        total = sum(mask.sum(axis=(1, 2)) for mask in layers)
        assert (total == round(keep * sum(sizes))).all()
        for kind in (outcome.ticket, outcome.reinit):
            for weights, mask in zip(kind.last, layers, strict=True):
                np.testing.assert_array_equal(weights[:, k] != 0.0, mask == 1.0)
        for weights, mask in zip(outcome.random.last, layers, strict=True):
            filled = np.sum(weights[:, k] != 0.0, axis=(1, 2))
            np.testing.assert_array_equal(filled, mask.sum(axis=(1, 2)))
    assert any(
        (w[:, -1] != 0.0).tolist() != (m[:, -1] == 1.0).tolist()
        for w, m in zip(outcome.random.last, outcome.masks, strict=True)
    )


def check_rewound(outcome, rewind, trials=(3, 9)):
    """Tickets, trained again from the start that they should have had, come out the same.

    And trained alone: a network does not depend on its neighbours.
    """
    for n, trial in enumerate(trials):
        first = host_weights(trial, (3, WIDTH, 3))
        again = host_weights(trial, (3, WIDTH, 3), draw=1)
        early = retrained(trial, first, range(rewind)).last
        for start, kind in ((early, outcome.ticket), (again, outcome.reinit)):
            mask = [m[n, -1] for m in outcome.masks]
            wanted = retrained(trial, start, range(rewind, SHORT), mask)
            for found, layer in zip(kind.last, wanted.last, strict=True):
                np.testing.assert_array_equal(found[n, -1], layer)
            assert kind.stop[n, -1] == wanted.stop
            assert kind.accuracy[n, -1] == wanted.accuracy


@cache
def one_descent(steps):
    def run(key, start, mask):
        network = lambda layers: tuple(m * w for m, w in zip(mask, layers, strict=True))
        rule = optax.adam(CONFIGS[0].rate)
        return DESCEND(network(start), network, rule, key, toy(), 8, steps)

    return quick(run)


def retrained(trial, start, steps, mask=None):
    mask = [np.ones_like(layer) for layer in start] if mask is None else mask
    return one_descent(steps)(key(trial), tuple(map(jnp.asarray, start)), tuple(mask))


@pytest.mark.slow
@pytest.mark.parametrize("rewind", CONFIGS)
def test_tickets_are_masks_and_start_where_they_should(rewind):
    check_masks(sound(rewind))
    check_rewound(sound(rewind), rewind)


@pytest.mark.slow
def test_a_layer_without_its_mask_is_caught():
    outcome = sound(0)
    first, second = outcome.ticket.last
    leaked = first, jnp.where(second == 0.0, 1e-30, second)
    with pytest.raises(AssertionError):
        check_masks(outcome._replace(ticket=outcome.ticket._replace(last=leaked)))


@pytest.mark.slow
def test_a_ticket_that_is_not_rewound_is_caught(monkeypatch):
    descend = mlp.descend

    def forgetful(*args):
        *others, steps = args
        return descend(*others, steps or range(SHORT))

    monkeypatch.setattr(mlp, "descend", forgetful)
    outcome = pruned(0)
    check_masks(outcome)
    with pytest.raises(AssertionError):
        check_rewound(outcome, 0)


def wins(one, other):
    return int(np.sum(np.asarray(one) > np.asarray(other)))


def test_the_number_of_wins_asked_for_is_the_one_designed():
    assert laws.binom.sf(WINS - 1, len(TRIALS), 0.5) < 1e-6
    assert laws.binom.cdf(WINS - 1, len(TRIALS), 0.97) < 1e-6


def raced():
    """Test accuracies of tickets and of random ones, at 2 % of the weights."""
    config = Imp(data="file", widths=(32,), keeps=(0.2, 0.02), steps=100, rate=1e-2)
    run = lambda key: magnitude_pruning.train(key, haystack(), 32, config)
    outcome = quick(jax.vmap(run))(keys())
    return outcome.ticket.accuracy[:, 1], outcome.random.accuracy[:, 1]


@pytest.mark.slow
def test_winning_tickets_beat_random_ones():
    ticket, random = raced()
    assert wins(ticket, random) >= WINS
    assert wins(np.roll(random, 1), random) < WINS  # no luck


# Edge-popup


def popped(width, trials, steps, batch, data, keep=0.5):
    config = Popup(data="file", widths=(width,), keeps=(keep,), steps=steps, batch=batch)
    run = lambda key: edge_popup.search(key, data, width, keep, config)
    return quick(jax.vmap(run))(keys(np.array(trials, np.uint32)))


def check_frozen(outcome, trials, keep):
    """What acts are the weights as drawn, to the last bit, or nothing; and so many of them."""
    for n, trial in enumerate(trials):
        weights = host_weights(trial, (3, WIDTH, 3), share=keep)
        for acting, mask, layer in zip(outcome.layers, outcome.masks, weights, strict=True):
            assert mask[n].sum() == round(keep * layer.size)
            np.testing.assert_array_equal(acting[n], np.where(mask[n] == 1.0, layer, 0.0))
        z = host_logits([layer[n] for layer in outcome.layers], toy().x_test)
        right = z.argmax(axis=1) == toy().y_test.argmax(axis=1)
        np.testing.assert_allclose(outcome.accuracy[n], right.mean())


@cache
def popped_briefly():
    return popped(WIDTH, (4, 6), SHORT, 8, toy(), keep=0.3)


@pytest.mark.slow
def test_edge_popup_leaves_the_weights_as_drawn():
    outcome = popped_briefly()
    check_frozen(outcome, (4, 6), 0.3)
    first = lambda key: edge_popup.mask_of(mlp.uniform(key, (3, WIDTH, 3), mlp.LOTS), 0.3)
    before = quick(jax.vmap(first))(keys(np.uint32([4, 6])))
    moved = [(a != b).any() for a, b in zip(outcome.masks, before, strict=True)]
    assert any(moved), "a search that searches"


def test_scores_that_leak_into_the_weights_are_caught():
    outcome = popped_briefly()
    leaked = tuple(layer * (1.0 + 2.0**-22) for layer in outcome.layers)
    with pytest.raises(AssertionError):
        check_frozen(outcome._replace(layers=leaked), (4, 6), 0.3)


@pytest.mark.slow
def test_edge_popup_is_better_in_wider_networks_and_not_by_luck():
    twice = np.arange(2 * len(TRIALS))
    wide = popped(64, TRIALS, 40, 32, digits()).accuracy
    narrow, others = np.split(popped(8, twice, 40, 32, digits()).accuracy, 2)
    assert wins(wide, narrow) >= WINS
    assert wins(others, narrow) < WINS


# A given target

SIZES, BLOCK = (3, 4, 2), 12


@cache
def target():
    return [layer.astype(np.float32) for layer in targets.random_target(8, SIZES)]


@cache
def found(strategy, block=BLOCK):
    run = lambda key: local_search.search(key, tuple(target()), block, strategy)
    return jax.tree.map(np.asarray, quick(jax.vmap(run))(keys()))


def slot_errors(kept):
    sides = [side for side, _, _ in slots(SIZES)]
    return [
        local_search.errors(SEED, TRIALS, layer, w, i, side)
        for i, (layer, w, side) in enumerate(zip(kept, target(), sides, strict=True))
    ]


def proved(block=BLOCK):
    """Slot errors of the proof's construction, in float64."""
    errors = []
    for i, (w, (sides, _, n_in)) in enumerate(zip(target(), slots(SIZES), strict=True)):
        widths = jnp.array([block * n_in], jnp.int32)
        find = quick(nearest.blocks, static_argnums=(1, 4))
        neurons = find(keys(), i, jnp.asarray(w)[..., None], widths, sides).neuron
        kept = np.moveaxis(np.asarray(neurons)[0, 0], -1, 0)
        errors.append(ticket_errors(SEED, TRIALS, kept, w, i))
    return errors


def check_errors(kept, errors):
    """The dense road: draw every weight, mask, evaluate, and meet the errors that are claimed."""
    x = np.random.default_rng(4).normal(size=(50, 3))
    for n, trial in enumerate(TRIALS[:4]):
        h, pair = x, Pair(tuple(target()), tuple(e[n : n + 1] for e in errors))
        for i, (layer, w) in enumerate(zip(kept, target(), strict=True)):
            inputs, outputs = np.asarray(layer.inputs[n]), np.asarray(layer.outputs[n])
            k = np.arange(len(inputs))
            [output], [hidden] = redraw.random_layer(SEED, [trial], k, w.shape[1], len(w), i)
            one_input = np.zeros_like(hidden)
            one_input[k, inputs] = hidden[k, inputs]
            h = pairs.forward([one_input, output * outputs], h)
            h = np.maximum(h, 0.0) if i + 1 < len(kept) else h
        claimed = pairs.difference(pair, x.T)[0].T
        np.testing.assert_allclose(h - pairs.forward(target(), x), claimed, atol=1e-9)


subset = partial(local_search.slot_by_slot, fill=rules.subset)


@pytest.mark.parametrize("strategy", [local_search.flips, local_search.scores, subset])
def test_errors_of_a_mask_are_those_of_the_network_it_masks(strategy):
    kept = found(strategy)
    errors = slot_errors(kept)
    check_errors(kept, errors)
    with pytest.raises(AssertionError):
        check_errors(kept, [errors[0][:, ::-1], errors[1]])  # sides exchanged


def test_flips_end_where_no_flip_of_one_or_two_neurons_gains():
    kept = found(local_search.flips)
    errors = slot_errors(kept)
    for n, trial in enumerate(TRIALS[:3]):
        for i, (layer, w, e) in enumerate(zip(kept, target(), errors, strict=True)):
            k = np.arange(layer.inputs.shape[1])
            np.testing.assert_array_equal(layer.inputs[n], k % w.shape[1])
            [output], [hidden] = redraw.random_layer(SEED, [trial], k, w.shape[1], len(w), i)
            own = hidden[k, k % w.shape[1]]
            for side, o, at in np.ndindex(e[n].shape):
                slot = (k % w.shape[1] == at) & ((own > 0) == (side == 0))
                products = output[o, slot] * own[slot]
                change = np.where(layer.outputs[n, o][slot], -products, products)
                reach = [*change, *np.add.outer(change, change)[np.triu_indices(len(change), 1)]]
                least = np.abs(e[n, side, o, at] + np.array(reach)).min(initial=np.inf)
                assert abs(e[n, side, o, at]) <= least + 1e-6


def test_no_slot_of_the_nearest_sum_errs_by_more_than_that_of_flips():
    best, searched = (slot_errors(found(way)) for way in (subset, local_search.flips))
    for one, other in zip(best, searched, strict=True):
        assert (np.abs(one) <= np.abs(other) + 1e-6).all()
        assert np.mean(np.abs(one) < np.abs(other) - 1e-3) > 0.1


@pytest.mark.slow
def test_no_slot_of_flips_errs_by_more_than_the_proof_s():
    ours, theirs = slot_errors(found(local_search.flips)), proved()
    for one, other in zip(ours, theirs, strict=True):
        assert (np.abs(one) <= np.abs(other) + 1e-6).all()
    # Scores know nothing of the proof.
    by_scores = slot_errors(found(local_search.scores))
    assert any((abs(a) > abs(b) + 1e-6).any() for a, b in zip(by_scores, theirs, strict=True))


def test_search_certifies_less_than_the_proof_at_equal_width():
    weights = tuple(map(np.float64, target()))
    certified = lambda errors: certificate.upper(Pair(weights, tuple(errors)))
    proof = certified(proved(32))
    assert wins(proof, certified(slot_errors(found(local_search.flips, 32)))) >= WINS
    # Twice the proof is no search.
    assert wins(proof, proof) < WINS


# Bad input


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (Imp, {"hidden": 0}, "hidden must be at least 1, got 0"),
        (Popup, {"batch": 0}, "batch must be at least 1, got 0"),
        (Imp, {"steps": 30}, "steps must be a multiple of 20, got 30"),
        (Imp, {"rate": float("nan")}, "rate must be a number above 0, got nan"),
        (
            Imp,
            {"steps": 40, "rewind": 40},
            "rewind must be a multiple of 20 below steps 40, got 40",
        ),
        (Popup, {"keeps": (0.5, 0.0)}, "keep must be above 0 and at most 1, got 0.5, 0"),
        (Popup, {"keeps": ()}, "keep must be above 0 and at most 1, got none"),
        (Popup, {"widths": (8, 5000)}, "widths must be between 1 and 4096, got 8, 5000"),
        (Popup, {"score_rate": -1.0}, "score_rate must be a number above 0, got -1"),
        (Imp, {"data": "iris"}, "data must be one of digits, breast_cancer, wine or a file"),
    ],
)
def test_unusable_settings_are_named(config, settings, message):
    with pytest.raises(InputError, match=message):
        config(**{"data": "file", "widths": (7,), "keeps": (0.5,), **settings})
