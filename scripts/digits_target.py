"""A real target: a 64-32-10 ReLU network, trained on scikit-learn's digits.

    python scripts/digits_target.py                      # trains, writes runs/digits.npz
    python scripts/digits_target.py --biases --out runs/digits_biases.npz
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

from ltjax.networks import affine, reading
from ltjax.tickets import archive, verifying

SIZES, SEED, HELD_OUT = (64, 32, 10), 0, 360
DECAY, LIMIT, RATE, STEPS = 1e-3, 5.0, 3e-3, 1500  # no weight above LIMIT / sqrt(n_in)


def data():
    """Images [n, 64] of length 1 and labels [n], shuffled; the last HELD_OUT are not trained on."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(labels))
    return (images / np.linalg.norm(images, axis=1, keepdims=True))[order], labels[order]


def train(images, labels, biases=False):
    """Weight matrices [out, in], each followed by its biases [out] if asked for: float32."""

    def loss(layers):
        (first, b), (second, c) = layers
        outputs = jax.nn.relu(images @ first.T + b[None]) @ second.T + c[None]
        fit = optax.losses.softmax_cross_entropy_with_integer_labels(outputs, labels).mean()
        return fit + DECAY * (jnp.sum(first**2) + jnp.sum(second**2))

    keys = jax.random.split(jax.random.key(SEED), 2)
    shapes = ((SIZES[1], SIZES[0]), (SIZES[2], SIZES[1]))
    layers = [
        (jax.random.normal(key, shape) / shape[1] ** 0.5, jnp.zeros(shape[0]))
        for key, shape in zip(keys, shapes, strict=True)
    ]
    rule = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    def within(layer):
        most = LIMIT * layer[0].shape[1] ** -0.5
        weights = optax.projections.projection_box(layer[0], -most, most)
        return weights, layer[1] if biases else 0.0 * layer[1]

    @jax.jit
    def step(state, _):
        layers, memory = state
        change, memory = rule.update(jax.grad(loss)(layers), memory)
        moved = optax.apply_updates(layers, change)
        return ([within(layer) for layer in moved], memory), None

    (layers, _), _ = jax.lax.scan(step, (layers, rule.init(layers)), length=STEPS)
    return [np.asarray(part) for layer in layers for part in layer[: 1 + biases]]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/digits.npz"), help="weights")
    parser.add_argument("--biases", action="store_true", help="train biases, too")
    parser.add_argument("--check", type=Path, help="a ticket, to be tried on the held-out images")
    args = parser.parse_args(argv)
    images, labels = data()
    if args.check is None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        fit = jnp.asarray(images[:-HELD_OUT], jnp.float32), jnp.asarray(labels[:-HELD_OUT])
        np.savez(args.out, *train(*fit, args.biases))
    images, labels = images[-HELD_OUT:], labels[-HELD_OUT:]
    target = affine.forward(reading.read_network(args.out, "target"), images).argmax(axis=1)
    print(f"held-out accuracy of the target: {np.mean(target == labels):.4f}")
    if args.check is not None:
        ticket = verifying.evaluate(archive.read(args.check), images).argmax(axis=1)
        print(f"held-out accuracy of the ticket: {np.mean(ticket == labels):.4f}")
        print(f"same answer on {np.sum(ticket == target)} of {HELD_OUT} images")


if __name__ == "__main__":
    main()
