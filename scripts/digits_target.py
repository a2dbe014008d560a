"""A real target: a 64-32-10 ReLU network without biases, trained on scikit-learn's digits.

    python scripts/digits_target.py                      # trains, writes runs/digits.npz
    python scripts/digits_target.py --check ticket.npz   # accuracy of target and ticket

Images are scaled to length 1, so that they lie in the ball on which a ticket is certified. Weight
decay, and a limit to every weight, keep the target near the theorem's hypotheses: a ticket allows
for the factor between.
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

from ltjax.networks import pairs, reading
from ltjax.tickets import archive, verifying

SIZES, SEED, HELD_OUT = (64, 32, 10), 0, 360
DECAY, LIMIT, RATE, STEPS = 1e-3, 5.0, 3e-3, 1500  # no weight above LIMIT / sqrt(n_in)


def data():
    """Images [n, 64] of length 1 and labels [n], shuffled; the last HELD_OUT are not trained on."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(labels))
    return (images / np.linalg.norm(images, axis=1, keepdims=True))[order], labels[order]


def train(images, labels):
    """Weight matrices [out, in], float32."""

    def loss(layers):
        first, second = layers
        outputs = jax.nn.relu(images @ first.T) @ second.T
        fit = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()
        return fit + DECAY * sum(jnp.sum(layer**2) for layer in layers)

    keys = jax.random.split(jax.random.key(SEED), 2)
    shapes = ((SIZES[1], SIZES[0]), (SIZES[2], SIZES[1]))
    layers = [
        jax.random.normal(key, shape) / shape[1] ** 0.5
        for key, shape in zip(keys, shapes, strict=True)
    ]
    within = lambda layer, most: optax.projections.projection_box(layer, -most, most)
    rule = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    @jax.jit
    def step(state, _):
        layers, memory = state
        change, memory = rule.update(jax.grad(loss)(layers), memory)
        moved = optax.apply_updates(layers, change)
        return ([within(layer, LIMIT * layer.shape[1] ** -0.5) for layer in moved], memory), None

    (layers, _), _ = jax.lax.scan(step, (layers, rule.init(layers)), length=STEPS)
    return [np.asarray(layer) for layer in layers]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/digits.npz"), help="weights")
    parser.add_argument("--check", type=Path, help="a ticket, to be tried on the held-out images")
    args = parser.parse_args(argv)
    images, labels = data()
    if args.check is None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        fit = jnp.asarray(images[:-HELD_OUT], jnp.float32), jnp.asarray(labels[:-HELD_OUT])
        np.savez(args.out, *train(*fit))
    images, labels = images[-HELD_OUT:], labels[-HELD_OUT:]
    layers = reading.read_matrices(args.out, "target")
    target = pairs.forward(layers, images).argmax(axis=1)
    print(f"held-out accuracy of the target: {np.mean(target == labels):.4f}")
    if args.check is not None:
        ticket = verifying.evaluate(archive.read(args.check), images).argmax(axis=1)
        print(f"held-out accuracy of the ticket: {np.mean(ticket == labels):.4f}")
        print(f"same answer on {np.sum(ticket == target)} of {HELD_OUT} images")


if __name__ == "__main__":
    main()
