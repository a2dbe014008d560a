"""Proofs that travel: true ones are accepted, and not one lie is."""

import copy
import hashlib
import importlib.util
import io
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ltjax.errors import UnprovedError
from ltjax.networks.pruned import block_counts, block_numbers, slots
from ltjax.system import stops
from ltjax.tickets import archive, proving, verifying
from ltjax.tickets.scales import rescale
from ltjax.weights import redraw

ROOT = Path(__file__).parents[2]
CHECKER = ROOT / "check_proof.py"
PROVED, REFUSED, UNREADABLE = 0, 1, 2
M = 40  # block size; of a pool, neurons for each slot
# name: sizes, last, construction, epsilon, and the rule that proves it
TICKETS = {
    "one layer": ((3, 2), "linear", "blocks", 0.6, "compose"),
    "norms": ((3, 5, 4, 2), "relu", "separate", 2.0, "compose"),
    "blocks": ((2, 5, 1), "linear", "blocks", 0.18, "maxmin"),
    "separate": ((3, 4, 1), "linear", "separate", 0.25, "maxmin"),
    "pooled": ((3, 5, 2), "linear", "pooled", 0.0135, "maxmin"),
    "refuted": ((3, 5, 1), "linear", "pooled", 0.01, "lower"),
    "branched": ((3, 4, 1), "linear", "separate", 0.2084, "maxmin"),
}
# name: seed, norm, radius, outputs
GAPS = {"gap": (10, "l2", 1.0, 1), "gap of the largest output": (11, "max", 2.5, 2)}


def loaded(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


checker = loaded("the_checker", CHECKER)
rationals = loaded("rationals", ROOT / "scripts" / "rationals.py")


def random_layers(sizes, seed):
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, (n_out, n_in)) for n_in, n_out in pairwise(sizes)]


def made_ticket(layers, last, construction, epsilon, seed):
    """The nearest neurons of blocks, or of a pool one slot after the other, by full tables."""
    sizes = (layers[0].shape[1], *map(len, layers))
    scaled, scales = rescale(layers)
    ranks, blocks = [], []
    shapes = zip(scaled, slots(sizes), block_counts(construction, sizes), strict=True)
    for i, (layer, shape, count) in enumerate(shapes):
        blocks.append(M * np.prod(shape) if construction == "pooled" else M)
        neurons = np.arange(blocks[-1] * count)
        [a], [w] = redraw.random_layer(seed, [0], neurons, *layer.shape[::-1], i)
        kept, used = np.full(shape, -1), set()
        for side, o, q in np.ndindex(shape):
            error = np.abs(a[o] * w[:, q] - layer[o, q])
            error[(w[:, q] > 0) == (side == 1)] = np.inf
            error[neurons % count != block_numbers(construction, *layer.shape)[o, q]] = np.inf
            error[list(used)] = np.inf
            best = int(np.argmin(error))
            if error[best] < abs(layer[o, q]):
                kept[side, o, q] = best // count
                used |= {best} if construction == "pooled" else set()
        ranks.append(kept)
    return archive.Ticket(
        seed=seed,
        sizes=sizes,
        last=last,
        construction=construction,
        scales=scales,
        blocks=tuple(map(int, blocks)),
        ranks=tuple(ranks),
        target=archive.digest(layers, last),
        epsilon=epsilon,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Paths of both networks and of the proof, by name."""
    found = {}
    for seed, (name, (sizes, last, construction, epsilon, _)) in enumerate(TICKETS.items()):
        layers = random_layers(sizes, seed)
        ticket = made_ticket(layers, last, construction, epsilon, seed)
        found[name] = written(tmp_path_factory.mktemp("proof"), ticket, layers)
    for name, (seed, norm, radius, outputs) in GAPS.items():
        folder = tmp_path_factory.mktemp("proof")
        first = random_layers((2, 4, outputs), seed)
        second = [first[0][:3] + 0.01, first[1][:, :3]]  # of fewer hidden neurons
        paths = [folder / part for part in ("first.npz", "second.npz", "gap.proof")]
        np.savez(paths[0], *first)
        np.savez(paths[1], *second)
        paths[2].write_bytes(proving.of_gap(first, second, 0.01, norm=norm, radius=radius))
        found[name] = paths
    return found


def written(folder, ticket, layers):
    paths = [folder / part for part in ("ticket.npz", "net.npz", "ticket.proof")]
    paths[0].write_bytes(archive.to_bytes(ticket))
    np.savez(paths[1], *layers)
    paths[2].write_bytes(proving.of_ticket(ticket, layers))
    return paths


def said(paths, capsys):
    """The exit code of the checker, and its one line."""
    code = checker.main(list(map(str, paths)))
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return code, out


@pytest.mark.parametrize("name", [*TICKETS, *GAPS])
def test_what_is_proved_is_accepted_by_the_rule_that_it_takes(made, name, capsys):
    code, out = said(made[name], capsys)
    assert (code, out[:8]) == (PROVED, "PROVED: "), out
    proof = json.loads(made[name][2].read_bytes())
    if name in GAPS:
        assert proof["upper"]["by"] == "maxmin"
        low, high = (Fraction(proof[end]["bound"]) for end in ("lower", "upper"))
        assert low < high < low * Fraction(101, 100)
        return
    *_, epsilon, rule = TICKETS[name]
    verdict = "REFUTED" if rule == "lower" else "HOLDS"
    assert f"{verdict} at epsilon {epsilon}." in out
    assert rule == ("lower" if "lower" in proof else proof["upper"]["by"])


@pytest.mark.parametrize("rule", archive.RULES)
def test_what_is_drawn_is_what_a_ticket_masks(rule, tmp_path):
    layers = random_layers((3, 4, 2), 7)
    ticket = made_ticket(layers, "linear", "blocks", 0.5, 7)
    if rule == "subset":
        chosen = np.random.default_rng(7).random
        rank = np.arange(M)[:, None, None]
        ranks = (np.where(chosen((M, *layer.shape)) < 0.5, rank, -1) for layer in layers)
        ticket = replace(ticket, rule=rule, ranks=tuple(ranks))
    path = tmp_path / "ticket.npz"
    path.write_bytes(archive.to_bytes(ticket))
    drawn = checker.drawn(checker.ticket(path), 0)
    for rows, (plus, *minus) in zip(drawn, verifying.effective(ticket), strict=True):
        assert np.any(plus)
        np.testing.assert_array_equal(rows, np.hstack([plus, *(-m for m in minus)]) * 2.0**48)


def test_a_proof_of_subset_sums_is_accepted(tmp_path, capsys):
    layers = random_layers((2, 1), 3)
    ticket = made_ticket(layers, "linear", "blocks", 0.5, 3)
    every = np.broadcast_to(np.arange(M)[:, None, None], (M, 1, 2))
    ticket = replace(ticket, rule="subset", ranks=(every.copy(),), epsilon=1e-3)
    code, out = said(written(tmp_path, ticket, layers), capsys)
    assert (code, out[:8]) == (PROVED, "PROVED: "), out
    assert "REFUTED" in out


def test_it_takes_an_interpreter_that_has_nothing_installed(made):
    command = [sys.executable, "-S", "-I", CHECKER, *made["pooled"]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("PROVED: ")
    assert done.stderr == ""


def test_the_checker_shares_no_line_with_the_package_and_imports_nothing(capsys):
    text = CHECKER.read_text()
    lines = {line.strip() for line in text.splitlines()}
    with capsys.disabled():
        print(f"\ncheck_proof.py: {len(text.splitlines())} lines")
    modules = (path.read_text().splitlines() for path in (ROOT / "ltjax").rglob("*.py"))
    shared = lines & {line.strip() for module in modules for line in module}
    imports = {line for line in lines if line.startswith(("import ", "from "))}
    # Only what any two programs have in common.
    assert max(map(len, shared - imports)) < 40, max(shared - imports, key=len)
    assert {line.split()[1] for line in imports} <= sys.stdlib_module_names
    assert not any(word in text for word in ("eval(", "exec(", "pickle", "__import__"))


# Lies. Each is an edit of a true proof, which is told to be one of the same claim or of a better.


def smaller(text):
    return str(Fraction(text) * Fraction(99, 100))


def trees(proof):
    """The trees of the first output that has any."""
    return next(p[s] for p in proof["upper"]["outputs"] for s in ("rises", "falls") if p[s])


def theta(proof):
    """The numbers of a set that is not branched."""
    return next(tree for tree in trees(proof).values() if isinstance(tree, list))


def branch(proof):
    return next(tree for tree in trees(proof).values() if isinstance(tree, dict))


def set_in(path, value):
    """An edit of one member: a value, or a function of what is there."""

    def edit(proof):
        *inner, last = path
        for name in inner:
            proof = proof[name]
        proof[last] = value(proof[last]) if callable(value) else value

    return edit


def on(find, change):
    return lambda proof: change(find(proof))


LIES = {
    "another format": ("norms", set_in(["format"], "ltjax-proof/2")),
    "no format": ("norms", lambda p: p.pop("format")),
    "an unknown member": ("norms", set_in(["by"], "us")),
    "another trial": ("norms", set_in(["trial"], 1)),
    "a trial as a text": ("norms", set_in(["trial"], "0")),
    "a trial that is true": ("norms", set_in(["trial"], True)),
    "a negative trial": ("norms", set_in(["trial"], -1)),
    "of another network": ("norms", set_in(["of", 0], "0" * 64)),
    "of another ticket": ("norms", set_in(["of", 1], "0" * 64)),
    "of itself": ("norms", on(lambda p: p["of"], list.reverse)),
    "neither bound": ("norms", lambda p: p.pop("upper")),
    "a rule that is none": ("norms", set_in(["upper", "by"], "trust")),
    "maxmin of a deep network": ("norms", set_in(["upper", "by"], "maxmin")),
    "a bound below the norms": ("norms", set_in(["upper", "bound"], smaller)),
    "a bound of a hundredth": ("norms", set_in(["upper", "bound"], "1/100")),
    "a bound of 0": ("norms", set_in(["upper", "bound"], "0")),
    "a negative bound": ("norms", set_in(["upper", "bound"], "-1")),
    "a bound over 0": ("norms", set_in(["upper", "bound"], "1/0")),
    "a bound as a number": ("norms", set_in(["upper", "bound"], 1)),
    "a bound in digits of another script": ("norms", set_in(["upper", "bound"], "\u0661")),
    "a bound with an underscore": ("norms", set_in(["upper", "bound"], "1_0/3")),
    "a bound with an exponent": ("norms", set_in(["upper", "bound"], "1e-3")),
    "a bound without end": ("norms", set_in(["upper", "bound"], "1" * 10**6)),
    "norms left out": ("norms", set_in(["upper", "norms"], {})),
    "norms as a list of nothing": ("norms", set_in(["upper", "norms"], [1])),
    "norms as a text": ("norms", set_in(["upper", "norms"], "all")),
    "a norm left out": ("norms", on(lambda p: p["upper"]["norms"], lambda n: n.pop("d 0 1"))),
    "a norm of no run": ("norms", set_in(["upper", "norms", "d 3 0"], ["1"])),
    "a norm of three bounds": ("norms", set_in(["upper", "norms", "f 0 1"], ["9", "9", "9"])),
    "two bounds of a later layer": ("norms", set_in(["upper", "norms", "f 1 2"], ["9", "9"])),
    "a norm of 0": ("norms", set_in(["upper", "norms", "d 1 2"], ["0"])),
    "a norm that says how to add": ("norms", set_in(["upper", "norms", "d 1 2"], [["1"]])),
    "outputs left out": ("pooled", set_in(["upper", "outputs"], [])),
    "an output left out": ("pooled", on(lambda p: p["upper"]["outputs"], list.pop)),
    "an output twice": ("pooled", set_in(["upper", "outputs"], lambda o: [o[0], o[0]])),
    "outputs that exceed the bound": ("pooled", set_in(["upper", "bound"], "1/100")),
    "an output below its theta": ("pooled", set_in(["upper", "outputs", 0, "bound"], smaller)),
    "a set left out": ("blocks", on(trees, dict.clear)),
    "a set of no pieces": ("blocks", on(trees, lambda t: t.update({"4096": []}))),
    "a negative set": ("blocks", on(trees, lambda t: t.update({"-1": []}))),
    "a set that is named otherwise": ("blocks", on(trees, lambda t: t.update({"01": []}))),
    "a theta above 1": ("blocks", on(theta, set_in([0], 10**9))),
    "a theta below 0": (
        "blocks",
        on(theta, set_in([0], -(10**9))),
    ),
    "a theta too few": ("blocks", on(theta, list.pop)),
    "a theta too many": ("blocks", on(theta, lambda t: t.append(0))),
    "a theta as a text": ("blocks", on(theta, set_in([0], "0"))),
    "a theta that is true": (
        "blocks",
        on(theta, set_in([0], True)),
    ),
    "theta over 0": ("blocks", set_in(["upper", "outputs", 0, "over"], 0)),
    "theta over a negative": ("blocks", set_in(["upper", "outputs", 0, "over"], -100)),
    "theta over fewer": ("blocks", set_in(["upper", "outputs", 0, "over"], lambda n: n // 2)),
    "a cell left out": ("branched", on(branch, lambda t: t.pop("minus"))),
    "a cell twice": ("branched", on(branch, lambda t: t.update(minus=t["plus"]))),
    "cells exchanged": (
        "branched",
        on(branch, lambda t: t.update(minus=t["plus"], plus=t["minus"])),
    ),
    "an input that there is not": ("branched", on(branch, lambda t: t.update(input=99))),
    "a negative input": ("branched", on(branch, lambda t: t.update(input=-1))),
    "an input split twice": ("branched", on(branch, lambda t: t.update(plus=copy.deepcopy(t)))),
    "a point outside the ball": ("refuted", set_in(["lower", "over"], lambda n: n * 9 // 10)),
    "a larger error at the point": ("refuted", set_in(["lower", "bound"], "1/10")),
    "an error below epsilon": ("refuted", set_in(["lower", "bound"], "1/101")),
    "a point elsewhere": ("refuted", set_in(["lower", "point"], lambda x: [-v for v in x])),
    "no point": ("refuted", set_in(["lower", "point"], [])),
    "a point of floats": ("refuted", set_in(["lower", "point", 0], 0.5)),
    "a point of texts": ("refuted", set_in(["lower", "point", 0], "1")),
    "a point of another dimension": (
        "refuted",
        set_in(["lower", "point"], lambda x: [*x, 0]),
    ),
    "a point over 0": ("refuted", set_in(["lower", "over"], 0)),
    "an upper bound as a lower one": ("norms", lambda p: p.update(lower=p.pop("upper"))),
    "a negative radius": ("gap", set_in(["radius"], "-1")),
    "a radius as a number": ("gap", set_in(["radius"], 1)),
    "another last": ("gap", set_in(["last"], "relu")),
    "a last that is none": ("gap", set_in(["last"], "tanh")),
    "another norm": ("gap", set_in(["norm"], "l1")),
    "a lower bound above the upper": ("gap", set_in(["lower", "bound"], "9")),
    "networks exchanged": ("gap", on(lambda p: p["of"], list.reverse)),
    "a gap as a ticket": ("gap", lambda p: [p.pop(n) for n in ("last", "norm", "radius")]),
    "a branch where sides are alike": (
        "gap",
        on(trees, lambda t: t.update({"1": {"input": 0, "plus": [], "minus": []}})),
    ),
    "the other norm of outputs": ("gap of the largest output", set_in(["norm"], "l2")),
    "a list": ("norms", lambda p: [p]),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_edited_proof_proves_nothing(made, lie, tmp_path, capsys):
    name, edit = LIES[lie]
    first, second, path = made[name]
    proof = json.loads(path.read_bytes())
    before = copy.deepcopy(proof)
    edited = edit(proof)
    proof = edited if lie == "a list" else proof
    assert proof != before
    (tmp_path / "a.proof").write_text(json.dumps(proof))
    code, out = said([first, second, tmp_path / "a.proof"], capsys)
    if lie == "a point of floats":  # which JSON of integers does not have
        assert (code, out[:12]) == (UNREADABLE, "UNREADABLE: "), out
    else:
        assert (code, out[:12]) == (REFUSED, "NOT PROVED: "), out


# Files.


def zipped(members, path, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)


def npy(array):
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()


def damaged(kind, paths, folder):
    """The paths of a proof with one file in place of another."""
    first, second, proof = paths
    data, matrix = proof.read_bytes(), npy(np.ones((2, 3)))
    new = folder / "new"
    if kind.startswith("proof"):
        texts = {
            "proof that is cut": data[:-5],
            "proof with more after it": data + b"{}",
            "proof of no text": b"\xff\xfe" + data,
            "proof that is empty": b"",
            "proof with a member twice": b'{"trial":0,' + data[1:],
            "proof nested deeply": b"[" * 10**6,
            "proof with a huge integer": data.replace(b'"trial":0', b'"trial":' + b"9" * 10**6),
            "proof with a float": data.replace(b'"trial":0', b'"trial":0.0'),
            "proof with NaN": data.replace(b'"trial":0', b'"trial":NaN'),
            "proof without end": b'{"format":"' + b"a" * 2**23 + b'"}',
        }
        new.write_bytes(texts[kind])
        return first, second, new
    archives = {
        "network of zeros beyond measure": [("a.npy", npy(np.zeros((2000, 2000))))],
        "network with an array twice": [("a.npy", matrix), ("a.npy", matrix)],
        "network of texts": [("a.npy", npy(np.array([["a"]])))],
        "network of objects": [("a.npy", matrix.replace(b"'<f8'", b"'|O8'"))],
        "network of vectors": [("a.npy", npy(np.ones(3)))],
        "network that does not chain": [("a.npy", matrix), ("b.npy", matrix)],
        "network with an infinity": [("a.npy", npy(np.full((2, 3), np.inf)))],
        "network with a NaN": [("a.npy", npy(np.full((2, 3), np.nan)))],
        "network of long integers": [("a.npy", npy(np.full((2, 3), 2**53 + 1)))],
        "network of too few numbers": [("a.npy", matrix[:-8])],
        "network of too many numbers": [("a.npy", matrix + b"12345678")],
        "network of nothing": [],
        "network of empty matrices": [("a.npy", npy(np.ones((0, 3))))],
        "network of many layers": [(f"{n}.npy", npy(np.ones((1, 1)))) for n in range(13)],
    }
    if kind in archives:
        zipped(archives[kind], new, compression=zipfile.ZIP_DEFLATED)
        return first, new, proof
    old = first.read_bytes()
    assert kind == "ticket with a bit turned"
    new.write_bytes(old.replace(b'"seed":1', b'"seed":2'))
    return new, second, proof


FILES = """proof that is cut, proof with more after it, proof of no text, proof that is empty,
proof with a member twice, proof nested deeply, proof with a huge integer, proof with a float,
proof with NaN, proof without end, network of zeros beyond measure, network with an array twice,
network of texts, network of objects, network of vectors, network that does not chain,
network with an infinity, network with a NaN, network of long integers, network of too few numbers,
network of too many numbers, network of nothing, network of empty matrices, network of many layers,
ticket with a bit turned"""


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", [kind.strip() for kind in FILES.replace("\n", " ").split(",")])
def test_a_damaged_file_cannot_be_read(made, kind, tmp_path, capsys):
    code, out = said(damaged(kind, made["norms"], tmp_path), capsys)
    assert (code, out[:12]) == (UNREADABLE, "UNREADABLE: "), out


def test_another_network_or_ticket_is_refused(made, capsys):
    ticket, network, proof = made["separate"]
    for other in ([made["pooled"][0], network, proof], [ticket, made["pooled"][1], proof]):
        code, out = said(other, capsys)
        assert (code, out[:12]) == (REFUSED, "NOT PROVED: ")
    assert said([ticket, network, made["pooled"][2]], capsys)[0] == REFUSED
    assert checker.main([]) == UNREADABLE
    assert checker.main([str(ticket), str(network), "nowhere"]) == UNREADABLE


@pytest.mark.parametrize("kind", ["<f8", ">f8", "F"])
def test_a_network_of_any_type_is_read_to_the_bit(made, kind, tmp_path, capsys):
    ticket, network, proof = made["blocks"]
    with np.load(network) as arrays:
        layers = [
            np.array(w, order="F") if kind == "F" else w.astype(kind) for w in arrays.values()
        ]
    np.savez(tmp_path / "net.npz", *layers)
    assert said([ticket, tmp_path / "net.npz", proof], capsys)[0] == PROVED


@pytest.mark.parametrize("kind", ["<f2", ">f2", "<f4", "i1", ">i2", "<i8", "<u4"])
def test_networks_of_short_numbers_are_proved(kind, tmp_path, capsys):
    first = [(8 * w).astype(kind) for w in random_layers((2, 3, 1), 5)]
    second = [first[0], (first[1] + 1).astype(kind)]
    paths = [tmp_path / name for name in ("first.npz", "second.npz", "gap.proof")]
    layers = [[w.astype(float) for w in net] for net in (first, second)]
    for path, net in zip(paths, (first, second), strict=False):
        np.savez(path, *net)
    paths[2].write_bytes(proving.of_gap(*layers, 0.01))
    assert said(paths, capsys)[0] == PROVED


# Forged tickets: sealed, and claiming what no ticket may.


def forged(paths, folder, **fields):
    """The paths of a ticket with other fields, or other positions, under a seal that fits."""
    parts = np.load(paths[0])
    head, kept = json.loads(parts["header"].tobytes()), parts["kept"].tobytes()
    kept = fields.pop("kept", kept)
    head = {name: fields.get(name, value) for name, value in head.items()}
    form = head.pop("format")
    del head["digest"]
    seal = hashlib.sha256(json.dumps(head).encode() + kept).hexdigest()
    header = json.dumps({"format": form, **head, "digest": seal}).encode()
    members = {"header.npy": header, "kept.npy": kept}
    members = [(name, npy(np.frombuffer(data, np.uint8))) for name, data in members.items()]
    zipped(members, folder / "forged.npz")
    proof = json.loads(paths[2].read_bytes())
    proof["of"] = [head["target"], seal]
    (folder / "forged.proof").write_text(json.dumps(proof))
    return folder / "forged.npz", paths[1], folder / "forged.proof"


# The first neuron in every slot, of 30 slots of 11 bits and 10 of 9; and bytes for all positions.
FIRST = ("1" + 10 * "0") * 30 + ("1" + 8 * "0") * 10
TWICE = int(FIRST + 4 * "0", 2).to_bytes(53)
BEYOND, NOTHING = b"\xff", b"\0"
FORGERIES = {
    "another epsilon": ("norms", {"epsilon": 1e-9}, REFUSED),
    "another seed": ("norms", {"seed": 77}, REFUSED),
    "another construction": ("norms", {"construction": "blocks"}, REFUSED),
    "scales beyond measure": ("norms", {"scales": [1e170, 1e-170, 1.0], "epsilon": 1e-9}, REFUSED),
    "a scale too few": ("norms", {"scales": [1.0, 1.0]}, REFUSED),
    "another target": ("norms", {"target": "0" * 64}, REFUSED),
    "other sizes": ("norms", {"sizes": [3, 4, 5, 2]}, REFUSED),
    "positions that are cut": ("norms", {"kept": b"\0\0"}, REFUSED),
    "a neuron of a pool twice": ("pooled", {"kept": TWICE}, REFUSED),
    "a position beyond its block": ("norms", {"kept": BEYOND}, REFUSED),
    "nothing kept": ("norms", {"kept": NOTHING, "epsilon": 1e-9}, REFUSED),
    "a seed beyond 32 bits": ("norms", {"seed": 2**32}, UNREADABLE),
    "a seed that is true": ("norms", {"seed": True}, UNREADABLE),
    "a negative scale": ("norms", {"scales": [-1.0, -1.0, 1.0]}, UNREADABLE),
    "a scale of 0": ("norms", {"scales": [0.0, 1.0, 1.0]}, UNREADABLE),
    "a scale as a text": ("norms", {"scales": ["1/2", 1.0, 1.0]}, UNREADABLE),
    "an infinite scale": ("norms", {"scales": [float("inf"), 1.0, 1.0]}, UNREADABLE),
    "an epsilon that is NaN": ("norms", {"epsilon": float("nan")}, UNREADABLE),
    "an infinite epsilon": ("norms", {"epsilon": float("inf")}, UNREADABLE),
    "a construction that is none": ("norms", {"construction": "any"}, UNREADABLE),
    "a last that is none": ("norms", {"last": "tanh"}, UNREADABLE),
    "blocks without end": ("norms", {"blocks": [10**400, 40, 40]}, UNREADABLE),
    "neurons beyond 32 bits": ("blocks", {"blocks": [2**31, 40], "kept": b"\0" * 84}, REFUSED),
    "a block of nothing": ("norms", {"blocks": [0, 40, 40]}, REFUSED),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_ticket_has_no_proof(made, forgery, tmp_path, capsys):
    name, fields, expected = FORGERIES[forgery]
    size = len(np.load(made[name][0])["kept"])
    fields = {field: v * size if v in (BEYOND, NOTHING) else v for field, v in fields.items()}
    code, out = said(forged(made[name], tmp_path, **fields), capsys)
    assert code == expected, out
    told = {TWICE: "in two slots", BEYOND: "beyond its block", NOTHING: "is not proved"}
    assert told.get(FORGERIES[forgery][1].get("kept"), "") in out


def test_a_forged_seal_alone_changes_nothing(made, tmp_path, capsys):
    assert said(forged(made["norms"], tmp_path), capsys)[0] == PROVED


# The checker against suprema that are known exactly: of networks with two inputs.


def ticket_supremum(ticket, layers):
    """A bracket on the square of the supremum, by `rationals`."""
    kept = verifying.effective(ticket)
    kept[0] = np.concatenate([kept[0][:1], -kept[0][1:]], axis=2)
    scales = map(Fraction, ticket.scales)
    g = [s * rationals.rational(side) for s, (side,) in zip(scales, kept, strict=True)]
    f = rationals.two_sided([rationals.rational(layer) for layer in layers])
    return rationals.supremum(rationals.integers(f, g, ticket.last, "l2"))


SECONDS = 5.0  # of a search, where no rule has a proof


def any_claim(n, folder):
    """A ticket or a gap of some kind; its paths, and a bracket on the square of the supremum."""
    rng = np.random.default_rng(n)
    outputs, depth = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    layers = random_layers((2, *rng.integers(1, 5, depth - 1), outputs), n)
    last = str(rng.choice(["linear", "linear", "relu"]))
    paths = [folder / name for name in (f"{n}.npz", f"{n}-net.npz", f"{n}.proof")]
    if n % 4 == 3:
        size, radius, norm = 10.0 ** -int(rng.integers(0, 6)), 2.5, ("l2", "max")[n // 4 % 2]
        second = [w + size * rng.normal(size=w.shape) for w in layers]
        np.savez(paths[0], *layers)
        np.savez(paths[1], *second)
        options = {"last": last, "norm": norm, "radius": radius, "stop": stops.deadline(SECONDS)}
        paths[2].write_bytes(proving.of_gap(layers, second, 0.01, **options))
        two = rationals.of_networks(layers, second, last, norm, radius)
        return paths, rationals.supremum(two)
    construction = ("blocks", "separate", "pooled")[n % 4]
    layers = [w * 10.0 ** int(rng.integers(-3, 3)) for w in layers]
    scale = float(np.prod([np.abs(w).max() for w in layers]))
    ticket = made_ticket(layers, last, construction, 1.0, n)
    top = ticket_supremum(ticket, layers)
    # Far above the supremum, just above, or below: sets and branches are needed in between.
    factor = (6.0, 1.02, 0.9)[n // 4 % 3]
    ticket = replace(ticket, epsilon=max(factor * float(top.low) ** 0.5, 1e-9 * scale))
    paths[0].write_bytes(archive.to_bytes(ticket))
    np.savez(paths[1], *layers)
    paths[2].write_bytes(proving.of_ticket(ticket, layers, stop=stops.deadline(SECONDS)))
    return paths, top


def squares(proof):
    """The squares of what a proof claims, by kind."""
    radius = Fraction(proof.get("radius", 1))
    ends = {"upper", "lower"} & set(proof)
    return {kind: (radius * Fraction(proof[kind]["bound"])) ** 2 for kind in ends}


def is_true(claimed, top):
    return claimed.get("lower", 0) <= top.high and claimed.get("upper", top.low) >= top.low


def proved_of(numbers, folder, capsys):
    """How many of some claims are proved, each within what is known exactly."""
    proved = 0
    for n in numbers:
        try:
            paths, top = any_claim(n, folder)
        except UnprovedError:
            continue
        code, out = said(paths, capsys)
        assert code == PROVED, (n, out)
        assert is_true(squares(json.loads(paths[2].read_bytes())), top), n
        proved += 1
    return proved


def test_proved_bounds_are_those_of_exact_arithmetic(tmp_path, capsys):
    quick = [0, 1, 2, 6, 8, 9, 11, 12, 20, 21, 22, 35, 39]  # of these no search takes a compiler
    assert proved_of(quick, tmp_path, capsys) == len(quick)


@pytest.mark.slow
def test_of_many_kinds_of_claims_a_hundred_are_proved(tmp_path, capsys):
    assert proved_of(range(160), tmp_path, capsys) >= 100


# A fuzzer: what is accepted is true, whatever it was made of.

JUNK = (0, 1, -1, 2, 10**30, 10**399, True, None, "", "0", "1", "1/2", "9/7", [], {}, [0], "max")


def places(value, found=()):
    """(container, key) of all parts of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in list(inner):
        found = [*found, (value, key)]
        if isinstance(part, dict | list):
            found = places(part, found)
    return found


def mutated(proof, rng):
    """A proof with one to three parts exchanged, dropped, doubled or changed a little."""
    proof = copy.deepcopy(proof)
    for _ in range(rng.integers(1, 4)):
        at = places(proof)
        holder, key = at[rng.integers(len(at))]
        old, kind = holder[key], rng.integers(6)
        if kind == 0:
            other, there = at[rng.integers(len(at))]
            holder[key] = copy.deepcopy(other[there])
        elif kind == 1 and isinstance(holder, dict):
            del holder[key]
        elif kind == 2 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(old))
        elif kind == 3:
            holder[key] = JUNK[rng.integers(len(JUNK))]
        elif isinstance(old, int):
            holder[key] = int(old * rng.choice([0.5, 0.99, 1.01, 2.0])) + int(rng.integers(-1, 2))
        elif isinstance(old, str) and re.fullmatch(r"\d+(/\d+)?", old):
            holder[key] = str(Fraction(old) * Fraction(int(rng.integers(50, 150)), 100))
    return proof


def suprema(paths):
    """The supremum by last, norm and radius of a claim about two files; None for a ticket."""
    with np.load(paths[0]) as first, np.load(paths[1]) as second:
        names, nets = first.files, [list(arrays.values()) for arrays in (first, second)]
    if "kept" in names:
        return lambda *_: ticket_supremum(archive.read(paths[0]), nets[1])
    sizes = [np.maximum(a.shape, b.shape) for a, b in zip(*nets, strict=True)]
    nets = [[filled(w, size) for w, size in zip(net, sizes, strict=True)] for net in nets]
    return lambda *claim: rationals.supremum(rationals.of_networks(*nets, *claim))


def filled(matrix, shape):
    wide = np.zeros(shape)
    wide[: matrix.shape[0], : matrix.shape[1]] = matrix
    return wide


def accepted_of(count, made, folder, capsys):
    """How many mutations of true proofs are accepted, and of false ones; all that are, are true."""
    rng, known = np.random.default_rng(0), []
    about = lambda p: (p.get("last"), p.get("norm"), float(Fraction(p.get("radius", 1))))
    for name in ("blocks", *GAPS):
        supremum = cache(suprema(made[name]))
        true = json.loads(made[name][2].read_bytes())
        false = copy.deepcopy(true)
        *_, radius = claim = about(true)
        below = 0.999 * float(supremum(*claim).low) ** 0.5 / radius
        false["upper"]["bound"] = str(Fraction(below).limit_denominator(10**6))
        known.append((made[name][:2], supremum, true, false))
    accepted, path = [0, 0], folder / "a.proof"
    for n in range(count):
        files, supremum, *both = known[n % len(known)]
        proof = mutated(both[n % 2], rng)
        path.write_text(json.dumps(proof))
        code, out = said([*files, path], capsys)
        if code == PROVED:
            assert is_true(squares(proof), supremum(*about(proof))), out
            accepted[n % 2] += 1
    return accepted


def test_no_mutation_makes_a_false_claim_proved(made, tmp_path, capsys):
    true, _ = accepted_of(300, made, tmp_path, capsys)
    assert 0 < true < 100  # some change nothing that is claimed


@pytest.mark.slow
def test_of_ten_thousand_mutations_none_proves_a_false_claim(made, tmp_path, capsys):
    true, false = accepted_of(10_000, made, tmp_path, capsys)
    said_of = f"{5000 - true:,} of 5,000 mutations of true proofs, {5000 - false:,} of false ones"
    with capsys.disabled():
        print(f"\nrefused: {said_of}")
