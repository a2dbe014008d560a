"""Tickets made and forged by the page docs/ticket-format.md alone: what `redteam` gives to verify.

Shares no line with ltjax: the cipher, the addresses of the weights, the order of the positions and
the seal are written here a second time, in integers. What a ticket stands for is then a network of
rational numbers, and its claim is compared with the exact supremum of `rationals`.
"""

import contextlib
import hashlib
import io
import json
import math
import warnings
import zipfile
from fractions import Fraction
from itertools import pairwise

import numpy as np
import rationals

FIELDS = ("seed", "sizes", "last", "construction", "rule", "scales", "blocks", "target", "epsilon")
HIDDEN, OUTPUT = 0, 1
MASK = 2**32 - 1
GRID = 2**24  # of a weight
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
WRONG: tuple = (  # for any field, or any number of one
    0, -1, 1, 7, 2**32, 2**53 + 1, 10**400, True, False, None, "1", [], {}, [[1]],
    0.0, -0.0, -1.0, 0.5, 1.0, 2.0, 1e-9, 1e9, 1e-160, 1e160, 1e170, 5e-324, 1e308,
    math.nan, math.inf, -math.inf, "linear", "relu", "blocks", "separate", "pooled",
    "nearest", "subset",
)  # fmt: skip


def threefry(key, counter):
    """Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw, SC 2011)."""
    words = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    x, y = (c + k & MASK for c, k in zip(counter, key, strict=True))
    for i in range(5):
        for r in ROTATIONS[i % 2]:
            x = x + y & MASK
            y = (y << r | y >> 32 - r) & MASK ^ x
        x, y = x + words[(i + 1) % 3] & MASK, y + words[(i + 2) % 3] + i + 1 & MASK
    return x, y


def weight(seed, layer, role, neuron, index):
    """A weight of trial 0, times `GRID`."""
    stream = threefry(threefry((0, seed), (0, 0)), (layer, role))
    return (threefry(stream, (neuron, index // 2))[index % 2] >> 7 | 1) - GRID


def slots(names):
    """(layer, side, output, input), the block and the number of blocks of each slot, in order."""
    for layer, (n_in, n_out) in enumerate(pairwise(names["sizes"])):
        for side in range(1 if layer else 2):
            for o in range(n_out):
                for i in range(n_in):
                    blocks = {
                        "separate": (o * n_in + i, n_in * n_out),
                        "blocks": (i, n_in),
                        "pooled": (0, 1),
                    }
                    yield (layer, side, o, i), *blocks[names["construction"]]


def rows(names):
    """(layer, output, input) of each row of format 3, in order."""
    for layer, (n_in, n_out) in enumerate(pairwise(names["sizes"])):
        yield from ((layer, o, i) for o in range(n_out) for i in range(n_in))


def places(names, kept):
    """(layer, output, input, neuron) of what is kept, some of it twice."""
    bits, read = "".join(f"{byte:08b}" for byte in kept), 0
    if names.get("rule") == "subset":
        for layer, o, i in rows(names):
            m, n_in = names["blocks"][layer], names["sizes"][layer]
            for rank, bit in enumerate(bits[read : read + m]):
                if bit == "1":
                    yield layer, o, i, rank * n_in + i
            read += m
        return
    for (layer, _, o, i), block, count in slots(names):
        size = names["blocks"][layer].bit_length()
        rank = int(bits[read : read + size][::-1] or "0", 2) - 1
        read += size
        if rank >= 0:
            yield layer, o, i, rank * count + block


def products(names, kept):
    """{(layer, output, input, neuron): A W} of what is kept, times GRID^2, signed as W is."""
    found = {}
    for layer, o, i, neuron in places(names, kept):
        hidden = weight(names["seed"], layer, HIDDEN, neuron, i)
        output = weight(names["seed"], layer, OUTPUT, neuron, o)
        found[layer, o, i, neuron] = hidden > 0, Fraction(output * hidden, GRID**2)
    return found


def network(names, kept):
    """S g~ as layers of Fractions, of which the first acts on (x+, x-)."""
    layers = [np.full((b, a), Fraction(0)) for a, b in pairwise(names["sizes"])]
    layers[0] = np.concatenate([layers[0]] * 2, axis=1)
    for (layer, o, i, _), (positive, value) in products(names, kept).items():
        if positive:
            layers[layer][o, i] += value
        elif layer == 0:  # A relu(W x) = (-A W) x- where W < 0
            layers[layer][o, i + names["sizes"][0]] -= value
    for number, scale in enumerate(names["scales"]):
        layers[number] = layers[number] * Fraction(scale)
    return layers


def error(names, kept, layers):
    """The supremum of ||f - S g~||, squared, in brackets: `rationals.Square`."""
    f = rationals.two_sided([rationals.rational(w) for w in layers])
    g = network(names, kept)
    return rationals.supremum(rationals.integers(f, g, names["last"], "l2"))


def sealed(names, kept):
    """Header and positions as the bytes of a file, with the digest that fits them."""
    seal = hashlib.sha256(json.dumps(names).encode() + kept).hexdigest()
    version = 3 if "rule" in names else 2 if names.get("construction") == "pooled" else 1
    return {"format": f"ltjax-ticket/{version}", **names, "digest": seal}, kept


def written(header, kept):
    """The file of these."""
    data = json.dumps(header, separators=(",", ":")).encode()
    file = io.BytesIO()
    np.savez(file, header=np.frombuffer(data, np.uint8), kept=np.frombuffer(kept, np.uint8))
    return file.getvalue()


def parsed(data):
    """The fields and the positions of a file; None and None where it is not as it is written."""
    with contextlib.suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as members:
        parts = [np.load(io.BytesIO(members.read(f"{name}.npy"))) for name in ("header", "kept")]
        header, kept = (part.tobytes() for part in parts)
        names = json.loads(header)
        if written(names, kept) == data:
            return {name: names[name] for name in FIELDS if name in names}, kept
    return None, None


def honest(layers, last, construction, m, rule="nearest", seed=3):
    """The fields and positions of a ticket of the nearest products in every block, or sums of them.

    In a pool each slot in turn takes the nearest one that is left.
    """
    sizes = [layers[0].shape[1], *map(len, layers)]
    fills = lambda w: max(np.linalg.norm(w, 2), np.abs(w).max() * w.shape[1] ** 0.5)
    scales = [float(fills(w)) for w in layers]
    text = json.dumps([last, *(list(w.shape) for w in layers)]).encode()
    target = hashlib.sha256(text + b"".join(w.astype("<f8").tobytes() for w in layers)).hexdigest()
    values = seed, sizes, last, construction, rule, scales, [m] * len(layers), target, 1.0
    names = dict(zip(FIELDS, values, strict=True))
    if rule == "subset":
        scaled = [w / s for w, s in zip(layers, scales, strict=True)]
        bits = "".join(row(seed, m, sizes, *at, scaled) for at in rows(names))
        return names, packed(bits)
    del names["rule"]
    bits, taken = "", set()
    for (layer, side, o, i), block, count in slots(names):
        wanted, best = layers[layer][o, i] / scales[layer], (abs(layers[layer][o, i]), 0)
        for rank in range(m):
            hidden = weight(seed, layer, HIDDEN, rank * count + block, i)
            output = weight(seed, layer, OUTPUT, rank * count + block, o)
            if (hidden > 0) == (side == 0) and (layer, rank) not in taken:
                best = min(best, (abs(output * hidden / GRID**2 - wanted), rank + 1))
        if construction == "pooled" and best[1]:
            taken.add((layer, best[1] - 1))
        bits += f"{best[1]:0{m.bit_length()}b}"[::-1]
    return names, packed(bits)


def row(seed, m, sizes, layer, o, i, scaled):
    """The bits of the nearest sums of products of a block, on either side."""
    sums = {True: [(0, 0)], False: [(0, 0)]}  # with the ranks that they are of
    for rank in range(m):
        hidden = weight(seed, layer, HIDDEN, rank * sizes[layer] + i, i)
        value = hidden * weight(seed, layer, OUTPUT, rank * sizes[layer] + i, o)
        side = sums[hidden > 0]
        side += [(other + value, ranks | 1 << rank) for other, ranks in side]
    wanted = scaled[layer][o, i] * GRID**2
    kept = [min(side, key=lambda found: abs(found[0] - wanted))[1] for side in sums.values()]
    return f"{kept[0] | (0 if layer else kept[1]):0{m}b}"[::-1]


def packed(bits):
    return bytes(int(f"{bits[n : n + 8]:0<8}", 2) for n in range(0, len(bits), 8))


# Forgeries of fields: (rng, names, kept, layers) to names and kept.


def any_field(rng, names, kept, layers):
    """A field, or a number of one, is something else."""
    name, wrong = rng.choice(list(names)), WRONG[rng.integers(len(WRONG))]
    if isinstance(names[name], list) and rng.random() < 0.8:
        wrong = [
            wrong if n == rng.integers(len(names[name])) else v for n, v in enumerate(names[name])
        ]
    return names | {str(name): wrong}, kept


def one_more(rng, names, kept, layers):
    """A field twice, a field too many, or one too few."""
    if rng.random() < 0.5:
        return names | {"comment": "true"}, kept
    return {name: v for name, v in names.items() if name != rng.choice(list(names))}, kept


def reversed_list(rng, names, kept, layers):
    name = str(rng.choice(["sizes", "scales", "blocks"]))
    return names | {name: names[name][::-1]}, kept


def other_ranks(rng, names, kept, layers):
    flipped = bytearray(kept)
    flipped[rng.integers(len(kept))] ^= 1 << rng.integers(8)
    return names, bytes(flipped)


def same_rank(rng, names, kept, layers):
    """A slot of the first layer has the rank of another: in a pool, the same neuron."""
    size, count = names["blocks"][0].bit_length(), 2 * names["sizes"][0] * names["sizes"][1]
    bits = "".join(f"{byte:08b}" for byte in kept)
    one, other = (size * int(at) for at in rng.choice(count, 2, replace=False))
    bits = bits[:one] + bits[other : other + size] + bits[one + size :]
    return names, packed(bits)


def longer(rng, names, kept, layers):
    return names, [kept + b"\0", kept[:-1], kept * 2][rng.integers(3)]


def empty(rng, names, kept, layers):
    """Nothing is kept, and scales are so large that squares of the errors vanish."""
    scales = [float(10.0 ** rng.uniform(-320, 300)) for _ in layers]
    return names | {"scales": scales, "epsilon": 1e-9}, bytes(len(kept))


def huge(rng, names, kept, layers):
    """One layer is divided away, another multiplied: the product is as it was."""
    factor = 2.0 ** float(rng.integers(-1000, 1000))
    scales = [s * factor if n == 0 else s / factor for n, s in enumerate(names["scales"])]
    return names | {"scales": scales}, kept


def too_small(rng, names, kept, layers):
    """An epsilon that the supremum exceeds, by as little as a float can."""
    low = error(names, kept, layers).low
    epsilon = math.sqrt(low)
    while Fraction(epsilon) ** 2 >= low:
        epsilon = math.nextafter(epsilon, 0.0)
    return names | {"epsilon": epsilon * (1.0 - rng.choice([0.0, 1e-15, 1e-12, 1e-9]))}, kept


OF_FIELDS = (
    any_field, one_more, reversed_list, other_ranks, same_rank, longer, empty, huge, too_small,
)  # fmt: skip


# Forgeries of files: (rng, bytes) to bytes.


def flipped_bit(rng, data):
    place = rng.integers(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.integers(8)]) + data[place + 1 :]


def cut(rng, data):
    return data[: rng.integers(len(data))]


def padded(rng, data):
    more = bytes(rng.integers(0, 256, rng.integers(1, 9), np.uint8))
    return [data + more, more + data][rng.integers(2)]


def repacked(rng, data):
    """The same members: one twice, a third, in another order, compressed, or with a comment."""
    with zipfile.ZipFile(io.BytesIO(data)) as members:
        parts = [(name, members.read(name)) for name in members.namelist()]
    more = [*parts, parts[0]], [*parts, ("more.npy", parts[1][1])], parts[::-1], parts, parts
    kind, file = rng.integers(5), io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", 8 * (kind == 3)) as members:
        warnings.simplefilter("ignore")  # of a name that comes twice
        members.comment = b"of the forger" if kind == 4 else b""
        for name, part in more[kind]:
            members.writestr(zipfile.ZipInfo(name), part)
    return file.getvalue()


OF_FILES = (flipped_bit, cut, padded, repacked)
