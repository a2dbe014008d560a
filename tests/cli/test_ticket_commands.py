"""`ltjax ticket` and `ltjax verify`: exit codes, one-line errors, and nothing lost."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ltjax
from ltjax.cli import program
from ltjax.networks import targets
from ltjax.tickets import archive, cells, proving, pruning, verifying
from ltjax.tickets.scales import rescale

ROOT = Path(__file__).parents[2]
SIZES = (3, 4, 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a network, its ticket, and what the command said of it."""
    folder = tmp_path_factory.mktemp("tickets")
    layers = targets.random_target(3, SIZES)
    np.savez(folder / "net.npz", 2.5 * layers[0], 3.0 * layers[1])
    np.savez(folder / "other.npz", 2.5 * layers[0], 3.01 * layers[1])
    return folder


@pytest.fixture
def here(made, monkeypatch):
    monkeypatch.chdir(made)
    return made


def call(*argv):
    """The exit code of a command."""
    try:
        return program.main(list(argv))
    except SystemExit as stop:
        return stop.code


def said(capfd):
    """What was printed, by name, and the one line of an error or none."""
    out, told = capfd.readouterr()
    assert told == "" or (told.startswith("ltjax: ") and told.count("\n") == 1), told
    return dict(line.split(": ", 1) for line in out.splitlines()), told


MAKE = ["ticket", "net.npz", "--epsilon", "0.5", "--seed", "3", "--out", "ticket.npz"]


def test_a_ticket_is_made_and_verified(here, capfd):
    assert call(*MAKE) == 0
    made, told = said(capfd)
    assert told == ""
    assert made["verdict"] == "HOLDS"
    assert float(made["lower bound"]) <= float(made["upper bound"]) <= 0.5
    assert made["ticket"] == "ticket.npz"
    assert int(made["active weights"]) <= int(made["active weights, at most"])
    assert made["weights of the target"] == "20"
    assert made["bytes of the target in float32"] == "80"
    first = Path("ticket.npz").read_bytes()
    assert call("verify", "ticket.npz", "net.npz") == 0
    again, told = said(capfd)
    del made["ticket"]
    assert (again, told) == (made, "")
    # The same line again writes the same bytes.
    assert call(*MAKE) == 0
    assert Path("ticket.npz").read_bytes() == first


def test_a_narrow_ticket_is_a_prefix_and_the_least_of_its_halvings(here, capfd):
    blocks = ["--construction", "blocks"]
    assert call(*MAKE, *blocks) == 0
    assert call(*[*MAKE[:-1], "narrow.npz"], *blocks, "--narrow") == 0
    said(capfd)
    assert call("verify", "narrow.npz", "net.npz") == 0
    assert said(capfd)[0]["verdict"] == "HOLDS"
    whole, narrow = archive.read("ticket.npz"), archive.read("narrow.npz")
    (halvings,) = {
        int(np.log2(a / b) + 0.5) for a, b in zip(whole.blocks, narrow.blocks, strict=True)
    }
    assert halvings > 1
    assert narrow.blocks == tuple(m >> halvings for m in whole.blocks)
    # What is near in the whole network is near in any narrower one that has it.
    for many, few, m in zip(whole.ranks, narrow.ranks, narrow.blocks, strict=True):
        np.testing.assert_array_equal(few[(many >= 0) & (many < m)], many[(many >= 0) & (many < m)])
    layers = [a for _, a in np.load("net.npz").items()]
    again = pruning.prune(layers, epsilon=0.5, seed=3, narrow=True, construction="blocks")
    assert archive.to_bytes(again) == Path("narrow.npz").read_bytes()
    # A half of it is certified no more.
    half = pruning._search(
        rescale(layers)[0], np.array([[m >> 1 for m in narrow.blocks]]), 3, "blocks"
    )
    halved = {"blocks": tuple(m >> 1 for m in narrow.blocks), "ranks": half(0)}
    assert verifying.bracket(archive.Ticket(**vars(narrow) | halved), layers, False)[1] > 0.5


def test_a_ticket_of_subset_sums_is_made_and_verified(here, capfd):
    make = ["ticket", "net.npz", "--epsilon", "0.2", "--rule", "subset", "--out", "subset.npz"]
    assert call(*make) == 0
    made, told = said(capfd)
    assert told == ""
    assert made["verdict"] == "HOLDS"
    assert made["random network"] == "seed 0, blocks, subset sums"
    ticket, layers = archive.read("subset.npz"), [a for _, a in np.load("net.npz").items()]
    assert archive.to_bytes(pruning.prune(layers, epsilon=0.2, rule="subset")) == (
        archive.to_bytes(ticket)
    )
    assert made["layer 1"] == f"3 -> {3 * ticket.blocks[0]} -> 4, block size {ticket.blocks[0]}"
    assert int(made["active weights"]) <= int(made["active weights, at most"])
    assert call("verify", "subset.npz", "net.npz") == 0
    again, told = said(capfd)
    del made["ticket"]
    assert (again, told) == (made, "")
    # A first layer that keeps nothing is another network.
    nothing = np.full_like(ticket.ranks[0], -1)
    forged = archive.Ticket(**vars(ticket) | {"ranks": (nothing, *ticket.ranks[1:])})
    Path("forged.npz").write_bytes(archive.to_bytes(forged))
    assert call("verify", "forged.npz", "net.npz") == 1
    assert said(capfd)[0]["verdict"] == "REFUTED"


def test_a_ticket_of_another_network_is_false(here, capfd):
    assert call(*MAKE) == 0
    said(capfd)
    assert call("verify", "ticket.npz", "other.npz") == 1
    assert "made for another network, not other.npz" in said(capfd)[1]


def test_a_ticket_is_of_the_network_whatever_file_holds_it(here, capfd):
    """The same weights as .npz, .safetensors and .onnx are one target; a last ReLU is another."""
    onnx, tensors = pytest.importorskip("onnx"), pytest.importorskip("safetensors.numpy")
    layers = [a for _, a in np.load("net.npz").items()]
    tensors.save_file({f"{i}.weight": a for i, a in enumerate(layers)}, "net.safetensors")
    make, version = onnx.helper.make_node, onnx.helper.make_opsetid("", 17)
    nodes = [
        make("Gemm", ["x", "w0"], ["h"], transB=1),
        make("Relu", ["h"], ["r"]),
        make("Gemm", ["r", "w1"], ["y"], transB=1),
        make("Relu", ["y"], ["z"]),
    ]
    for file, end in (("net.onnx", "y"), ("relu.onnx", "z")):
        graph = onnx.helper.make_graph(
            nodes,
            "graph",
            [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.DOUBLE, ["N", 3])],
            [onnx.helper.make_tensor_value_info(end, onnx.TensorProto.DOUBLE, ["N", 2])],
            [onnx.numpy_helper.from_array(a, f"w{i}") for i, a in enumerate(layers)],
        )
        onnx.save(onnx.helper.make_model(graph, opset_imports=[version]), file)
    assert call(*[MAKE[0], "net.safetensors", *MAKE[2:]]) == 0
    for network in ("net.npz", "net.safetensors", "net.onnx"):
        assert call("verify", "ticket.npz", network) == 0
    said(capfd)
    assert call("verify", "ticket.npz", "relu.onnx") == 2
    assert "last must be relu, as relu.onnx ends, got linear" in said(capfd)[1]
    assert call("gap", "relu.onnx", "net.npz", "--last", "relu") == 0
    assert call("gap", "net.onnx", "net.npz", "--last", "relu") == 2
    assert "last must be linear, as net.onnx ends, got relu" in said(capfd)[1]


def test_an_edited_ticket_is_refused_and_one_that_hides_it_is_refuted(here, capfd):
    assert call(*MAKE) == 0
    said(capfd)
    whole = Path("ticket.npz").read_bytes()
    for at in range(0, len(whole), 97):
        Path("torn.npz").write_bytes(whole[:at])
        assert call("verify", "torn.npz", "net.npz") == 2
        assert "torn.npz" in said(capfd)[1]
    ticket = archive.read("ticket.npz")
    forged = archive.Ticket(**{**vars(ticket), "seed": 4})
    Path("forged.npz").write_bytes(archive.to_bytes(forged))
    assert call("verify", "forged.npz", "net.npz") == 1
    shown, told = said(capfd)
    assert shown["verdict"] == "REFUTED"
    assert "forged.npz is refuted at 0.5" in told


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["ticket"], "ticket"),
        (["ticket", "net.npz"], "--out"),
        (["ticket", "missing.npz", "--out", "a.npz"], "network cannot be read from missing.npz"),
        (["ticket", "net.npz", "--out", "a.npy"], "out must end in .npz, got a.npy"),
        ([*MAKE, "--epsilon", "0"], "epsilon must be positive and finite, got 0"),
        ([*MAKE, "--epsilon", "nan"], "epsilon must be positive and finite, got nan"),
        ([*MAKE, "--delta", "1"], "delta must lie strictly between 0 and 1, got 1"),
        ([*MAKE, "--seed", "-1"], "seed must be at least 0"),
        ([*MAKE, "--max-width", "0"], "max-width must be between 1 and"),
        ([*MAKE, "--max-width", "100"], r"max-width must be at least \d+ for epsilon 0.5"),
        ([*MAKE, "--as-it-is"], "homogeneous: divide the layer and epsilon by"),
        ([*MAKE, "--last", "tanh"], "tanh"),
        ([*MAKE, "--rule", "subset", "--narrow"], "narrow must be left out by rule subset"),
        (
            [*MAKE, "--rule", "subset", "--construction", "separate"],
            "construction must be blocks by rule subset, got separate",
        ),
        ([*MAKE, "--rule", "subset", "--max-width", "9"], r"epsilon must be at least .*, got 0\.5"),
        (["verify", "ticket.npz"], "verify"),
        (["verify", "missing.npz", "net.npz"], "missing.npz"),
        (["verify", "net.npz", "net.npz"], "net.npz"),
        (["curve", "network", "--depth", "0"], "depth must be at least 1, got 0"),
        (["curve", "network", "--hidden", "0"], "hidden must be between 1 and"),
        (["curve", "network", "--dim", "-1"], "dim must be between 1 and"),
        (["curve", "network", "--target", "net.npz"], r"target must satisfy \|\|W\|\| <= 1"),
        (["curve", "network", "--target", "net.npz", "--dim", "4"], "dim must be that of the tar"),
        (["curve", "network", "--target", "net.npz", "--depth", "3"], "depth must be that of the"),
        (["curve", "network", "--target", "net.npz", "--hidden", "7"], "hidden must be that of"),
        (["curve", "network", "--target", "none.npz"], "target cannot be read from none.npz"),
        (["curve", "network", "--blocks", "0"], "widths must be between 1 and"),
        (["curve", "network", "--blocks", "100000000"], "blocks must make at most 1073741824 neur"),
        (["curve", "network", "--criterion", "l2"], "criterion must be one of .* got l2"),
        (["curve", "network", "--epsilon", "1.5"], "epsilon must lie strictly between 0 and 1"),
    ],
)
def test_bad_input_is_one_line(here, capfd, argv, message):
    before = sorted(here.iterdir())
    assert call(*argv) == 2
    out, told = capfd.readouterr()
    assert out == ""
    assert told.startswith("ltjax: ")
    assert told.count("\n") == 1
    assert re.search(message, told), told
    assert sorted(here.iterdir()) == before


def test_a_proof_is_written_once_the_checker_has_accepted_it(here, capfd):
    assert call(*MAKE, "--proof", "ticket.proof") == 0
    made, told = said(capfd)
    assert (made["proof"], told) == ("ticket.proof", "")
    assert made["proved"].endswith("HOLDS at epsilon 0.5.")
    assert call("gap", "net.npz", "other.npz", "--proof", "gap.proof") == 0
    made, told = said(capfd)
    assert "at most" in made["proved"]
    assert "somewhere at least" in made["proved"]
    for paths in (["ticket.npz", "net.npz", "ticket.proof"], ["net.npz", "other.npz", "gap.proof"]):
        command = [sys.executable, "-S", "-I", ROOT / "check_proof.py", *paths]
        assert subprocess.run(command, capture_output=True).returncode == 0


def test_without_a_proof_there_is_a_line_and_no_file(here, capfd, monkeypatch):
    lie = proving.of_ticket
    monkeypatch.setattr(proving, "of_ticket", lambda *a, **k: lie(*a, **k)[:-9] + b'"0"}}')
    assert call(*MAKE, "--proof", "lie.proof") == 0
    made, _ = said(capfd)
    assert made["proof"].startswith("none, as the checker says ")
    assert not Path("lie.proof").exists()


@pytest.mark.parametrize("proof", ["a.txt", "net.npz"])
def test_a_proof_has_a_name_of_its_own(here, capfd, proof):
    assert call(*MAKE, "--proof", proof) == 2
    assert "proof must end in .proof" in said(capfd)[1]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A record of pruned networks, of which hardly any cell is sure beforehand."""
    path = tmp_path_factory.mktemp("record") / "network.jsonl"
    problem = ltjax.network(2, 3, 2, (0.6, 0.3), (4, 16), rules=("sup",), seed=2)
    ltjax.run(problem, trials=60, out=path)
    return path


@pytest.mark.slow
def test_verdicts_of_a_record_are_proved(record, here, capfd, tmp_path):
    assert call("prove", str(record), "--cells", "12", "--out", str(tmp_path / "proofs")) == 0
    out, _ = capfd.readouterr()
    *cells, last = out.splitlines()
    assert last == "proved: 12 of 12"
    words = [line.rsplit(None, 1)[1] for line in cells]
    assert set(words) == {"HOLDS", "REFUTED"}
    for n, word in enumerate(words, 1):
        paths = [tmp_path / "proofs" / name for name in (f"{n}.npz", "network.npz", f"{n}.proof")]
        command = [sys.executable, "-S", "-I", ROOT / "check_proof.py", *paths]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0
        assert f": {word} at epsilon " in done.stdout


@pytest.mark.slow
def test_a_proof_against_the_record_makes_its_claim_false(record, here, capfd, monkeypatch):
    drawn = cells.drawn

    def turned(*arguments):
        other = {"HOLDS": "REFUTED", "REFUTED": "HOLDS"}
        return (cell._replace(word=other[cell.word]) for cell in drawn(*arguments))

    monkeypatch.setattr(cells, "drawn", turned)
    assert call("prove", str(record), "--cells", "1") == 1
    assert "counts otherwise what is proved of cell 1." in capfd.readouterr().err


@pytest.mark.slow
def test_only_verdicts_on_suprema_are_proved(here, capfd, tmp_path):
    problem = ltjax.network(2, 3, 2, (0.6,), (4,), rules=("tight",))
    ltjax.run(problem, trials=2, out=tmp_path / "tight.jsonl")
    assert call("prove", str(tmp_path / "tight.jsonl")) == 2
    assert "record must be of networks by rule sup or tree" in said(capfd)[1]
