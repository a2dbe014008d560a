"""`ltjax audit`: exit codes, what is kept and resumed, and a page that stands alone."""

import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ltjax
from ltjax.audits import conjectures, ledger, page
from ltjax.audits.claim import Judgement
from ltjax.audits.claims import CLAIMS
from ltjax.cli import program
from ltjax.errors import InputError

FAST = ("supermask", "split", "mask", "probability", "existence")


@pytest.fixture(scope="module", autouse=True)
def no_scikit_learn():
    """The conjectures are not run; `test_claims` runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conjectures, "find_spec", lambda library: None)
        yield


@pytest.fixture(autouse=True, scope="module")
def small():
    """Sizes of a moment, wherever the table is looked up."""
    sizes = {
        "mask": {"networks": [[2, 4]]},
        "existence": {"draws": 1200, "compared": 20},
        "composition": {"pairs": 2, "trials": 400},
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, size in sizes.items():
            row = replace(CLAIMS[name], quick=CLAIMS[name].quick | size)
            patch.setitem(CLAIMS, name, row)
        yield


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*argv):
    """The exit code of a command."""
    try:
        return program.main(["audit", *argv])
    except SystemExit as stop:
        return stop.code


def spoil(monkeypatch, name, subject):
    monkeypatch.setitem(CLAIMS, name, replace(CLAIMS[name], subject=subject))


def wrong_halves(x):
    return abs(x)


def test_a_table_is_told(here, capfd):
    assert call("--claim", *FAST) == 0
    out, told = capfd.readouterr()
    assert told == ""
    for name in FAST:
        (line,) = re.findall(rf"^{name} +.*$", out, re.MULTILINE)
        verdict = CLAIMS[name].expected if name != "supermask" else Judgement.NOT_RUN
        assert verdict in line
    # What is named is told in full.
    assert CLAIMS["mask"].statement in out
    assert out.count("as printed: d = 2, k = 4") >= 2
    assert "5 claims: 4 of 4 as expected, 1 not run" in out
    assert not list(here.iterdir())


def test_a_wrong_claim_fails_the_audit(here, monkeypatch, capfd):
    spoil(monkeypatch, "split", wrong_halves)
    assert call("--claim", "split", "mask", "--report", "page.html") == 1
    out, told = capfd.readouterr()
    assert told == "ltjax: not as expected: split.\n"
    assert re.search(r"^split +FAILS AS STATED.*EXPECTED: HOLDS$", out, re.MULTILINE)
    assert "2 claims: 1 of 2 as expected;" in out
    assert '<section id="split" class="unexpected">' in Path("page.html").read_text()


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--claim", "everything"], "claim must be one of winning-ticket, supermask"),
        (["--seed", "-1"], "seed must be"),
        (["--report", "page.txt"], "report must end in .html"),
        (["--report", "a.html", "--out", "a.html"], "report and out must be two files"),
        (["--out", "foreign.jsonl"], "out must be a new file or one of an audit"),
        (["--out", "torn.jsonl"], "out must be a new file or one of an audit"),
        (["--full", "--device", "abacus"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line(here, argv, word, capfd):
    Path("foreign.jsonl").write_text('{"kind":"header","format":"ltjax-counts/1"}\n')
    Path("torn.jsonl").write_text("some other text")
    before = {path: path.read_bytes() for path in here.iterdir()}
    assert call(*argv) == 2
    out, told = capfd.readouterr()
    assert told.startswith("ltjax: ")
    assert told.count("\n") == 1
    assert word in told
    assert "HOLDS" not in out
    assert {path: path.read_bytes() for path in here.iterdir()} == before


@pytest.mark.slow
def test_an_audit_goes_on_where_it_was(here, monkeypatch, capfd):
    ask = ("--claim", "split", "mask", "composition", "--out", "runs/audit.jsonl", "--quiet")

    def interrupt(size, seed, subject, count):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(CLAIMS, "composition", replace(CLAIMS["composition"], run=interrupt))
        assert call(*ask) == 75
    assert "the same command goes on" in capfd.readouterr().err
    kept = Path("runs/audit.jsonl")
    first = kept.read_bytes()
    assert [json.loads(line)["claim"] for line in first.splitlines()] == ["split", "mask"]
    with monkeypatch.context() as patch:  # what is found is not run again
        for name in ("split", "mask"):
            patch.setitem(CLAIMS, name, replace(CLAIMS[name], run=interrupt))
        assert call(*ask) == 0
    whole = kept.read_bytes()
    assert whole.startswith(first)
    assert len(whole.splitlines()) == 3
    # Counts of networks are records of their own.
    (record,) = Path("runs/audit.jsonl.counts").iterdir()
    assert ltjax.load([record]).trials == 400
    told = capfd.readouterr().out
    # A torn end is run again, to the same finding; another seed or size is another line.
    kept.write_bytes(whole[:-40])
    assert call(*ask) == 0
    again = capfd.readouterr().out
    assert again == told
    for line, other in zip(kept.read_bytes().splitlines(), whole.splitlines(), strict=True):
        assert json.loads(line)["finding"] == json.loads(other)["finding"]
    assert call(*ask, "--seed", "1") == 0
    assert len(kept.read_bytes().splitlines()) == 6


def test_a_file_is_written_by_one_at_a_time(here):
    with ledger.Finished("audit.jsonl"), pytest.raises(InputError, match="another process"):
        list(ledger.audit(["split"], out="audit.jsonl"))


def test_an_audit_from_python():
    entries = list(ltjax.audit(["probability", "split"], seed=3))
    assert [entry.claim.name for entry in entries] == ["split", "probability"]
    assert all(entry.as_expected and entry.seed == 3 for entry in entries)
    assert entries[1].finding.alpha > entries[0].finding.alpha == 0.0
    assert "seconds" not in page.details(entries[0])
    with pytest.raises(InputError, match="got nothing"):
        ltjax.audit(["nothing"])


# The page.


EMPTY = {"meta", "br"}


class Tags(HTMLParser):
    """Checks that tags close in order, and gathers identifiers and references."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.names = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        if tag not in EMPTY:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "xlink:href", "src"):
                self.links.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def entries():
    return list(ltjax.audit(FAST, seed=2))


def test_the_page_stands_alone(entries):
    text = page.page(entries).decode()
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert "script" not in tags.names
    assert "link" not in tags.names
    assert len(tags.ids) == len(set(tags.ids))
    assert tags.names.count("svg") == sum(bool(entry.finding.panels) for entry in entries) == 2
    # Every reference is to a place of the page itself.
    for link in tags.links:
        assert link.startswith("#"), link
        assert link[1:] in tags.ids
    for use in re.findall(r"url\(([^)]*)\)", text):
        assert use[1:] in tags.ids
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert "viewport" in text


def test_the_page_tells_all_of_every_claim(entries):
    text = html.unescape(page.page(entries).decode())
    for entry in entries:
        claim = entry.claim
        for part in (claim.name, claim.where, claim.statement, claim.hypotheses, claim.limits):
            assert part in text
        assert json.dumps(entry.size) in text
        for check in entry.finding.checks:
            for part in check[:4]:
                assert part in text
    assert ltjax.__version__ in text
    assert "Seed 2." in text
    assert entries[0].finding.note in text


def test_what_is_said_is_said_as_text(entries):
    """A name with an angle bracket opens no tag."""
    claim = replace(entries[1].claim, statement="a < b & <i>c</i>")
    text = page.page([entries[1]._replace(claim=claim)]).decode()
    assert "a &lt; b &amp; &lt;i&gt;c&lt;/i&gt;" in text


def test_two_runs_give_the_same_bytes_but_for_times(entries):
    again = list(ltjax.audit(FAST, seed=2))
    pages = [page.page(part).splitlines() for part in (entries, again)]
    other = page.page([entry._replace(seconds=9.9) for entry in again]).splitlines()
    for one in (*pages, other):
        assert sum(b'id="times"' in line for line in one) == 1
    untimed = [[line for line in one if b'id="times"' not in line] for one in (*pages, other)]
    assert untimed[0] == untimed[1] == untimed[2]
    assert pages[0] != other


def test_the_line_shows_the_check_that_decides(entries):
    by_name = {entry.claim.name: entry for entry in entries}
    assert page.deciding(by_name["mask"]).holds is False
    assert page.deciding(by_name["split"]).holds is True
    assert "scikit-learn is missing" in page.line(by_name["supermask"])


@pytest.mark.slow
def test_the_whole_audit_in_one_command(here):
    line = [sys.executable, "-m", "ltjax.cli.program", "audit", "--report", "audit.html", "--quiet"]
    shown = subprocess.run(line, capture_output=True, text=True, check=True)
    assert f"{len(CLAIMS)} claims" in shown.stdout
    assert Path("audit.html").stat().st_size > 100_000
