"""Check a proof of how far two ReLU networks are apart over a ball: exactly, in integers.

    python check_proof.py ticket.npz network.npz ticket.proof
    python check_proof.py first.npz second.npz gap.proof

Exit code 0: proved, and a sentence says what; 1: it does not prove it; 2: a file cannot be read.
Python >= 3.11 and its standard library suffice. docs/proof-format.md justifies every rule; here f
is the network and g the ticket, or f the first one and g the second. Layers are lists of rows of
integers; the first acts on y = (x+, x-), which is as long as x = x+ - x-.
"""

import hashlib
import json
import re
import struct
import sys
import zipfile
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from itertools import combinations, pairwise
from math import inf, isqrt, prod
from operator import mul

MOST_BYTES, MOST_DIGITS, MOST_LAYERS, MOST_WORK = 2**23, 400, 12, 2**23
MOST_WIDTH = 2**30  # neurons of a random layer
BITS = 64  # of the entries of a matrix whose norm is bounded
MASK = 2**32 - 1
NPY = re.compile(
    rb"\{'descr': '([<>|])([fiu][1248])', 'fortran_order': (True|False), "
    rb"'shape': \((\d{1,9}(?:, \d{1,9})?),?\), \} *\n"
)
CODES = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q"}
CODES |= {"u1": "B", "u2": "H", "u4": "I", "u8": "Q"}
FORMATS = {"blocks": "ltjax-ticket/1", "separate": "ltjax-ticket/1", "pooled": "ltjax-ticket/2"}
SUBSET = "ltjax-ticket/3"  # blocks, with a bit for each neuron of a weight's block


class RefusedError(Exception):
    """The proof does not prove it."""


def need(condition, why):
    if not condition:
        raise RefusedError(why)


# Files: any exception makes one unreadable.


def arrays(path):
    """(shape, numbers) of the arrays of a .npz file, by name."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        need(sum(m.file_size for m in archive.infolist()) <= MOST_BYTES, "an archive too large")
        for member in archive.infolist():
            with archive.open(member) as file:
                data = file.read(MOST_BYTES)
            start = 10 if data[6:7] == b"\1" else 12
            end = start + int.from_bytes(data[8:start], "little")
            match = NPY.fullmatch(data[start:end])
            need(data[:6] == b"\x93NUMPY" and match, "an array of no numbers")
            order, kind, columns, shape = (part.decode() for part in match.groups())
            shape = [int(n) for n in shape.split(", ")]
            values = struct.unpack(
                order.replace("|", "<") + str(prod(shape)) + CODES[kind], data[end:]
            )
            if columns == "True":  # Fortran order: the first index runs fastest
                values = [v for n in range(shape[0]) for v in values[n :: shape[0]]]
            need(member.filename not in found, "an array twice")
            found[member.filename] = shape, values
    return found


def network(path):
    """Layers of floats, which hold the numbers of the file exactly."""
    layers = []
    for (rows, columns), values in arrays(path).values():
        floats = [float(v) + 0.0 for v in values]
        same = all(f == v and 0.0 * f == 0.0 for f, v in zip(floats, values, strict=True))
        need(rows and columns and same, "a number that is no finite float64")
        need(not layers or len(layers[-1]) == columns, "matrices [out, in] that do not chain")
        layers.append([floats[n : n + columns] for n in range(0, len(floats), columns)])
    need(0 < len(layers) <= MOST_LAYERS, "no layers, or too many")
    return layers


def ticket(path):
    """The header of a ticket and its positions, as a text of bits; None of any other archive."""
    parts = arrays(path)
    if "header.npy" not in parts:
        return None
    header, kept = (bytes(parts[name][1]) for name in ("header.npy", "kept.npy"))
    head = json.loads(header, object_pairs_hook=once)
    form, seal = head.pop("format"), head.pop("digest")
    need(hashlib.sha256(json.dumps(head).encode() + kept).hexdigest() == seal, "a broken seal")
    subset = head.get("rule") == "subset" and head["construction"] == "blocks"
    need(form == (SUBSET if subset else FORMATS[head["construction"]]), "another format")
    need(all(type(s) is float and 0 < s < inf for s in [*head["scales"], head["epsilon"]]), "size")
    need(head["last"] in ("linear", "relu"), "no last")
    need(all(type(n) is int and 0 <= n <= MASK for n in [head["seed"], *head["blocks"]]), "no seed")
    return {
        **head,
        "digest": seal,
        "subset": subset,
        "bits": "".join(f"{byte:08b}" for byte in kept),
    }


def digest(layers, last):
    """SHA-256 of a network, as tickets have it."""
    shapes = json.dumps([last, *([len(layer), len(layer[0])] for layer in layers)])
    weights = (struct.pack("<d", w) for layer in layers for row in layer for w in row)
    return hashlib.sha256(shapes.encode() + b"".join(weights)).hexdigest()


# Rule draw: the network that a ticket masks.


def threefry(key, counter):
    """Threefry-2x32 with 20 rounds: Salmon, Moraes, Dror, Shaw, SC 2011."""
    words = *key, key[0] ^ key[1] ^ 0x1BD11BDA
    x, y = counter[0] + key[0] & MASK, counter[1] + key[1] & MASK
    for i in range(5):
        for r in (17, 29, 16, 24) if i % 2 else (13, 15, 26, 6):
            x = x + y & MASK
            y = (y << r | y >> 32 - r) & MASK ^ x
        x, y = x + words[(i + 1) % 3] & MASK, y + words[(i + 2) % 3] + i + 1 & MASK
    return x, y


def drawn(head, trial):
    """The layers that a ticket keeps, times 2^48."""
    layers, at, key = [], 0, threefry((0, head["seed"]), (0, trial))

    def weight(layer, role, neuron, x):
        word = threefry(threefry(key, (layer, role)), (neuron, x // 2))[x % 2]
        return (word >> 7 | 1) - 2**24

    for layer, (n_in, n_out) in enumerate(pairwise(head["sizes"])):
        m, sides, kept = head["blocks"][layer], 1 if layer else 2, []
        bits, times = (m, 1) if head["subset"] else (m.bit_length(), sides)
        for n in range(times * n_out * n_in):
            named, at = head["bits"][at : at + bits], at + bits
            o, i = divmod(n % (n_out * n_in), n_in)
            of_block = {"blocks": (i, n_in), "separate": (o * n_in + i, n_out * n_in)}
            block, count = of_block.get(head["construction"], (0, 1))
            ranks = [r for r, bit in enumerate(named) if bit == "1"]
            if not head["subset"]:
                ranks = [int(named[::-1], 2) - 1] if ranks else []
            need(all(r < m for r in ranks), "a position beyond its block")
            kept += [(o, i, r * count + block) for r in ranks]
        need(m * count <= MOST_WIDTH, "neurons that have no number")
        alone = len({j for *_, j in kept}) == len(kept) or head["construction"] != "pooled"
        need(alone, "a neuron of a pool in two slots")
        rows = [[0] * (sides * n_in) for _ in range(n_out)]
        for o, i, j in {*kept}:  # a neuron that both sides name is one neuron
            hidden = weight(layer, 0, j, i)
            if hidden > 0 or sides == 2:
                rows[o][i + n_in * (hidden < 0)] += weight(layer, 1, j, o) * abs(hidden)
        layers.append(rows)
    need((at + 7) // 8 * 8 == len(head["bits"]), "positions of another length")
    return layers


# Rule difference: two networks in the same units.


def together(f, g):
    """Layers of f and of g as integers of one shape, and what the integers of a layer are worth.

    A hidden layer that is narrower has neurons without weights in place of those it lacks.
    """
    found_f, found_g, units = [], [], []
    for one in zip(f, g, strict=True):
        rows, columns = max(map(len, one)), max(len(layer[0]) for layer in one)
        unit = Fraction(1, max(v.denominator for layer in one for row in layer for v in row))
        for found, layer in zip((found_f, found_g), one, strict=True):
            wide = [[int(v / unit) for v in row] + [0] * (columns - len(row)) for row in layer]
            found.append(wide + [[0] * columns] * (rows - len(layer)))
        units.append(unit)
    return found_f, found_g, units


# Rules slots, norm and compose.


def root(n):
    """No less than the square root of an integer."""
    return Fraction(isqrt((n << 2 * BITS) - 1) + 1, 2**BITS) if n else Fraction(0)


def semidefinite(a):
    """Whether a Cholesky factor of integers proves a symmetric matrix positive semidefinite.

    a - slack I = L L' + R, where entries of R are remainders, at most twice the largest L_jj.
    """
    slack, factor = 2 * len(a) * (isqrt(max(0, *(a[n][n] for n in range(len(a))))) + 1), []
    for i, row in enumerate(a):
        new = []
        for j, other in enumerate(factor):
            new.append((row[j] - sum(map(mul, new, other))) // other[j])
        left = row[i] - slack - sum(map(mul, new, new))
        if left <= 0:
            return False
        factor.append([*new, isqrt(left)])
    return True


def bounded(matrix, bound):
    """Whether ||M|| <= bound is proved: of M rounded, which moves it by sqrt(m n) units."""
    if not any(map(any, matrix)):
        return True
    matrix = matrix if len(matrix) <= len(matrix[0]) else list(zip(*matrix, strict=True))
    shift = BITS - max(abs(v) for row in matrix for v in row).bit_length()
    matrix = [[v << shift if shift > 0 else v >> -shift for v in row] for row in matrix]
    r = int(bound * Fraction(2) ** shift) - isqrt(len(matrix) * len(matrix[0])) - 1
    gram = [[r * r * (a is b) - sum(map(mul, a, b)) for b in matrix] for a in matrix]
    return r > 0 and semidefinite(gram)


def compose(f, g, units, norms):
    """A bound on ||g - f|| over the unit ball, from bounds on the norms of all runs of layers."""
    d, depth, bounds = len(f[0][0]) // 2, len(f), {}
    product = lambda a, b: [
        [sum(map(mul, row, column)) for column in zip(*b, strict=True)] for row in a
    ]
    run = lambda net, i, j: product(net[j - 1], run(net, i, j - 1)) if j > i + 1 else net[i]
    for i, j in combinations(range(depth + 1), 2):
        of_f, of_g, unit = run(f, i, j), run(g, i, j), prod(units[i:j])
        change = [
            [v - w for v, w in zip(*rows, strict=True)] for rows in zip(of_g, of_f, strict=True)
        ]
        for which, m in (("f", of_f), ("g", of_g), ("d", change)):
            given = [rational(v) for v in norms.pop(f"{which} {i} {j}", [])]
            need(len(given) < 2 + (i == 0), "a norm has one bound, or two of a first layer")
            sides = [(row[:d], row[d:]) for row in m]  # of x+ and of x-: P and N
            if not given:  # rule slots: for each input the worse of its sides
                worse = [map(max, *(map(abs, s) for s in both)) for both in sides] if i == 0 else m
                bounds[which, i, j] = root(sum(v * v for row in worse for v in row)) * unit
                continue
            parts = [m]
            if len(given) == 2:  # M y = (P - N) x / 2 + (P + N) |x| / 2
                turned = [list(zip(*both, strict=True)) for both in sides]
                parts = [[[p - s * n for p, n in row] for row in turned] for s in (1, -1)]
            proved = map(bounded, parts, [bound / unit for bound in given])
            need(all(proved), f"the norm of {which} {i} {j} is not proved")
            bounds[which, i, j] = sum(given) / len(given)
    need(not norms, "a norm of no run")

    def change_of(above, below):
        size, moved = [Fraction(1)], [Fraction(0)]
        for j in range(1, depth + 1):
            size.append(sum(bounds[below, i, j] * size[i] for i in range(j)))
            parts = (bounds["d", i, j] * size[i] + bounds[above, i, j] * moved[i] for i in range(j))
            moved.append(sum(parts))
        return moved[depth]

    return min(change_of("f", "g"), change_of("g", "f")) / 2 ** (depth - 1)


# Rule maxmin.


def maxmin(f, g, level, part, o):
    """Prove |g - f| <= level for output o of one hidden layer, over the unit ball."""
    d = len(f[0][0]) // 2
    split = any(row[q] + row[q + d] for row in g[0] for q in range(d))
    wide = 2 * d if split else d  # where both sides are alike, x itself stands for y
    pieces = lambda net, sign: [
        (i, [abs(a) * v for v in row[:wide]])
        for i, (a, row) in enumerate(zip(net[1][o], net[0], strict=True))
        if a * sign > 0
    ]
    rises, falls = pieces(g, 1) + pieces(f, -1), pieces(f, 1) + pieces(g, -1)
    for name, convex, concave in (("rises", rises, falls), ("falls", falls, rises)):
        need(wide << len(convex) <= MOST_WORK, "too many convex pieces for maxmin")
        trees = dict(part[name])
        every_set(convex, concave, trees, integer(part["over"], 1), level, d if split else None)
        need(not trees, f"a set of no pieces in {name} of output {o + 1}")


def every_set(convex, concave, trees, over, level, d):
    """Prove ||sum of the set - sum of theta k|| <= level for every set of convex pieces.

    Of two sides of d inputs the positive part counts. theta is t / over, and 1 more for the concave
    piece of each neuron whose convex one is in the set.
    """
    place = {i: k for k, (i, _) in enumerate(concave)}
    wide = len(convex[0][1]) if convex else 0

    def bounds(tree, sums, taken, cells):
        """Whether a theta, or one on either side of an input, bounds a set."""
        if type(tree) is dict:
            q = integer(members(tree, "input", "plus", "minus")["input"], 0)
            need(d is not None and {q, q + d} <= cells, "an input that is split twice")
            sides = ("plus", {q + d}), ("minus", {q})
            return all(bounds(tree[side], sums, taken, cells - off) for side, off in sides)
        need(type(tree) is list and len(tree) in (0, len(concave)), "theta of another length")
        q = [over * v for v in sums]
        for k, t in enumerate(tree):
            need(0 <= integer(t) + over * (k in taken) <= over, "a theta outside [0, 1]")
            q = [v - t * w for v, w in zip(q, concave[k][1], strict=True)] if t else q
        square = sum(q[n] ** 2 for n in cells if q[n] > 0 or d is None)
        return square * level.denominator**2 <= (level.numerator * over) ** 2

    def visit(n, code, sums, taken):
        """Every way to go on with a set of the first n pieces."""
        if n == len(convex):
            good = bounds(trees.pop(str(code), []), sums, taken, {*range(wide)})
            return need(good, f"theta do not bound set {code}")
        visit(n + 1, code, sums, taken)
        i, row = convex[n]
        partner = concave[place[i]][1] if i in place else [0] * wide
        sums = [s + c - k for s, c, k in zip(sums, row, partner, strict=True)]
        visit(n + 1, code | 1 << n, sums, taken | {place.get(i)})

    visit(0, 0, [0] * wide, frozenset())


# The proof: strict JSON of integers, and of fractions as texts.


def once(pairs):
    need(len(dict(pairs)) == len(pairs), "a key twice")
    return dict(pairs)


def short(text):
    need(len(text) <= MOST_DIGITS, "a number of too many digits")
    return int(text)


def never(text):
    raise RefusedError(f"{text[:20]} is no fraction")


def members(value, *names):
    need(type(value) is dict and set(value) == set(names), f"members must be {', '.join(names)}")
    return value


def integer(value, least=None):
    need(type(value) is int and (least is None or value >= least), "no integer, or one too small")
    return value


def rational(text):
    form = rf"[0-9]{{1,{MOST_DIGITS}}}(/[1-9][0-9]{{0,{MOST_DIGITS}}})?"
    need(type(text) is str and re.fullmatch(form, text), "a fraction must be a text such as 3/8")
    return Fraction(text)


def upper(f, g, units, last, norm, given):
    """The upper bound, over the unit ball, if it is proved."""
    bound = rational(given["bound"])
    if given["by"] == "compose":
        norms = members(given, "by", "bound", "norms")["norms"]
        need(compose(f, g, units, dict(norms)) <= bound, "the norms do not give the bound")
        return bound
    outputs = members(given, "by", "bound", "outputs")["outputs"]
    need(given["by"] == "maxmin" and len(f) == 2 and last == "linear", "a rule that does not apply")
    need(type(outputs) is list and len(outputs) == len(f[1]), "not all outputs")
    bounds = [rational(members(p, "bound", "rises", "falls", "over")["bound"]) for p in outputs]
    for o, (part, one) in enumerate(zip(outputs, bounds, strict=True)):
        maxmin(f, g, one / prod(units), part, o)
    total = sum(b * b for b in bounds) if norm == "l2" else max(bounds) ** 2
    need(total <= bound**2, "the outputs do not give the bound")
    return bound


def lower(f, g, units, last, norm, given):
    """The lower bound, if a point of the unit ball proves it: rule point."""
    x, over = members(given, "bound", "point", "over")["point"], integer(given["over"], 1)
    need(type(x) is list and 2 * len(x) == len(f[0][0]), "a point of another dimension")
    need(sum(integer(v) ** 2 for v in x) <= over**2, "a point outside the ball")
    ends = []
    for layers in (f, g):
        h = [max(v, 0) for v in x] + [max(-v, 0) for v in x]
        for n, layer in enumerate(layers, 1):
            h = [sum(map(mul, row, h)) for row in layer]
            h = [max(v, 0) for v in h] if n < len(layers) or last == "relu" else h
        ends.append(h)
    squares = [(v - w) ** 2 for v, w in zip(*ends, strict=True)]
    square = (sum(squares) if norm == "l2" else max(squares)) * prod(units) ** 2
    need(square >= (rational(given["bound"]) * over) ** 2, "the error at the point is smaller")
    return rational(given["bound"])


def read(first, second, proof):
    """The header of a ticket, or None; f, g and the proof."""
    head = ticket(first)
    with open(proof, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    need(len(data) <= MOST_BYTES, "a proof too large")
    hooks = {"parse_int": short, "parse_float": never, "parse_constant": never}
    given = json.loads(data, object_pairs_hook=once, **hooks)
    f = network(second if head else first)
    return head, f, None if head else network(second), given


def check(head, f, other, given):
    """What is proved, as a sentence."""
    rules = {"upper": upper, "lower": lower}
    rules = {kind: rule for kind, rule in rules.items() if kind in given}
    members(given, "format", "of", *(("trial",) if head else ("last", "norm", "radius")), *rules)
    need(given["format"] == "ltjax-proof/1" and rules, "no proof of this format")
    last, norm = (head["last"], "l2") if head else (given["last"], given["norm"])
    need(last in ("linear", "relu") and norm in ("l2", "max"), "a last or a norm that is none")
    radius, one = Fraction(1) if head else rational(given["radius"]), digest(f, last)
    two = head["digest"] if head else digest(other, last)
    need(given["of"] == [one, two], "a proof about other networks")
    exact = lambda layer, s=1: [[Fraction(v) * s for v in row] for row in layer]
    sided = lambda layers: [[row + [-v for v in row] for row in layers[0]], *layers[1:]]
    if head:
        of_f = head["target"] == one and head["sizes"] == [len(f[0][0]), *map(len, f)]
        need(of_f, "a ticket of another network")
        need(0 <= integer(given["trial"]) <= MASK, "a trial that there is not")
        scales = [Fraction(s) / 2**48 for s in head["scales"]]
        g = list(map(exact, drawn(head, given["trial"]), scales))
        name = f"ticket {two[:12]} (trial {given['trial']} of seed {head['seed']})"
    else:
        g, name = list(map(exact, sided(other))), f"network {two[:12]}"
    f = list(map(exact, sided(f)))
    alike = len(f) == len(g) and len(f[0][0]) == len(g[0][0]) and len(f[-1]) == len(g[-1])
    need(alike, "networks of other depth, inputs or outputs")
    parts = *together(f, g), last, norm
    found = {kind: radius * rule(*parts, given[kind]) for kind, rule in rules.items()}
    said = f"for |x| <= {radius} network {one[:12]} and {name} differ in the {norm} norm by "
    said += " and somewhere ".join(shown(kind, bound) for kind, bound in found.items())
    if head:
        holds = "upper" in found and found["upper"] <= head["epsilon"]
        refuted = "lower" in found and found["lower"] > head["epsilon"]
        need(holds or refuted, f"{said}, which leaves epsilon {head['epsilon']} open")
        said += f": {'HOLDS' if holds else 'REFUTED'} at epsilon {head['epsilon']}"
    return said


def shown(kind, bound):
    """A bound as a fraction, and as a decimal rounded outwards."""
    word, rounding = {"upper": ("most", ROUND_CEILING), "lower": ("least", ROUND_FLOOR)}[kind]
    context = Context(prec=7, rounding=rounding)
    decimal = context.divide(Decimal(bound.numerator), Decimal(bound.denominator))
    return f"at {word} {bound} = {decimal} rounded {'up' if kind == 'upper' else 'down'}"


def main(paths):
    try:
        parts = read(*paths)
    except Exception as error:  # whatever foreign bytes can do to a parser
        print(f"UNREADABLE: {type(error).__name__}: {error}"[:300])
        return 2
    try:
        print(f"PROVED: {check(*parts)}.")
    except Exception as error:  # whatever foreign numbers can do to arithmetic
        why = str(error) if isinstance(error, RefusedError) else f"{type(error).__name__}: {error}"
        print(f"NOT PROVED: {why}."[:300])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
