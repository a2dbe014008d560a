"""In any shell: one meaning for each exit code, whatever becomes of the streams and the names."""

import contextlib
import gc
import io
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, get_args, get_origin

import numpy as np
import pytest
import tyro

import ltjax
from ltjax import errors
from ltjax.cli import commands, program, values
from ltjax.counting import engine, records
from ltjax.errors import InputError
from ltjax.system import devices, interrupts, streams
from ltjax.tickets.archive import to_bytes
from ltjax.tickets.pruning import prune

ROOT = Path(program.__file__).parents[2]
SMALL = ["curve", "neuron", "--dim", "2", "--epsilon", "0.5", "--widths", "8", "20"]
SMALL += ["--constructions", "blocks", "--rules", "tight"]
ODD = os.fsdecode(b"a\xff\xe9.jsonl")  # no UTF-8


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of its own, and signals as a shell gives them."""
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def obeying(monkeypatch):
    """Have every command line ask for what a function does."""

    def obey(yields, **more):
        class Command(SimpleNamespace):
            def __call__(self, watching):
                yield from yields()

        monkeypatch.setattr(program, "parse", lambda argv: Command(**more))

    return obey


def raising(error):
    def yields():
        yield "begun"
        raise error

    return yields


def told(capfd):
    """The one line on standard error."""
    line = capfd.readouterr().err
    assert line.startswith("ltjax: ")
    assert line.count("\n") == 1
    assert line.endswith("\n")
    return line.removeprefix("ltjax: ").rstrip("\n")


# Exit codes.


class Alien(BaseException):
    """Not even an Exception, as what some compiled libraries raise."""


class MuteError(Exception):
    def __str__(self):
        raise ValueError("no words")


NOBODY = [
    (ValueError("two\nlines"), "ValueError: two lines"),
    (MemoryError(), "MemoryError"),
    (RecursionError("too deep"), "RecursionError: too deep"),
    (KeyError("x"), "KeyError: 'x'"),
    (SystemExit(1), "SystemExit: 1"),
    (SystemExit(0), "SystemExit: 0"),
    (SystemExit("text"), "SystemExit: text"),
    (Alien("from elsewhere"), "Alien: from elsewhere"),
    (MuteError(), "MuteError"),
    (PermissionError(13, "Permission denied"), r"PermissionError: \[Errno 13\] Permission denied"),
    (BrokenPipeError(32, "Broken pipe"), r"BrokenPipeError: \[Errno 32\] Broken pipe"),
    (UnicodeEncodeError("ascii", "\xe9", 0, 1, "no such letter"), "UnicodeEncodeError: .*"),
]


@pytest.mark.parametrize(("error", "what"), NOBODY)
def test_what_nobody_foresaw_is_70_and_one_line(capfd, obeying, error, what):
    obeying(raising(error))
    assert program.main([]) == 70
    line = rf"not foreseen, {what}\. Please report it with the command and what "
    assert re.fullmatch(line + "LTJAX_TRACEBACK=1 shows.", told(capfd))


def test_where_it_happened_is_shown_on_demand(capfd, obeying, monkeypatch):
    monkeypatch.setenv("LTJAX_TRACEBACK", "1")
    obeying(raising(ZeroDivisionError("there")))
    assert program.main([]) == 70
    out, shown = capfd.readouterr()
    assert out == "begun\n"
    assert shown.startswith("Traceback")
    assert "in yields" in shown
    assert "ltjax: not foreseen, ZeroDivisionError: there." in shown.splitlines()[-1]


def test_what_goes_on_is_told_so(capfd, obeying):
    obeying(raising(ValueError("lost")), resumable=True)
    assert program.main([]) == 70
    assert "ValueError: lost; the same command goes on from its record. " in told(capfd)


FORESEEN = [
    (errors.FalseClaimError("it is false."), 1),
    (errors.InputError("x must be y, got z."), 2),
    (errors.WrongKernelError("the kernel is wrong."), 70),
    (errors.LostProcessError("another process was lost"), 75),
    (KeyboardInterrupt(), 75),
    (OSError(28, "No space left on device", "a.jsonl"), 75),
    (OSError(27, "File too large"), 75),
]


@pytest.mark.parametrize(("error", "code"), FORESEEN)
@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_what_was_foreseen_has_its_code(capfd, obeying, monkeypatch, error, code, closed):
    if closed:
        monkeypatch.setattr(sys, "stdout", None)
    obeying(raising(error))
    assert program.main([]) == code
    assert "not foreseen" not in told(capfd)


def test_a_broken_parser_is_70(capfd, monkeypatch):
    def broken(*_, **__):
        raise AttributeError("moved")

    monkeypatch.setattr(tyro, "cli", broken)
    assert program.main(["--help"]) == 70
    assert told(capfd).startswith("not foreseen, AttributeError: moved.")


@pytest.mark.parametrize("module", ["ltjax.cli.commands", "tyro", "ltjax.cli.values"])
def test_a_broken_installation_is_70(capfd, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    assert program.main(["show", "a"]) == 70
    assert told(capfd).startswith("not foreseen, ModuleNotFoundError: ")


def test_a_module_that_a_command_imports_may_be_broken(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "ltjax.experiments.neuron.theory", None)
    monkeypatch.delattr("ltjax.experiments.neuron.theory", raising=False)
    assert program.main(["width"]) == 70
    assert "ltjax.experiments.neuron.theory" in told(capfd)


def test_an_interrupt_at_any_import_is_75(capfd, monkeypatch):
    class Interrupting:
        def find_spec(self, name, *_):
            if name == "ltjax.cli.commands":
                raise KeyboardInterrupt

    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "ltjax.cli.commands")
    assert program.main(["show", "a"]) == 75
    assert told(capfd) == "interrupted."


def test_a_second_interrupt_while_the_first_is_told_is_75(obeying, monkeypatch):
    def again(*_):
        raise KeyboardInterrupt

    obeying(raising(KeyboardInterrupt()))
    monkeypatch.setattr(program, "complain", again)
    assert program.main([]) == 75


@pytest.mark.parametrize("code", [70, 75])
def test_the_program_does_not_wait_for_the_devices(monkeypatch, code):
    ended = []
    monkeypatch.setattr(program, "main", lambda: code)
    monkeypatch.setattr(os, "_exit", ended.append)
    with pytest.raises(SystemExit):
        program.program()
    assert ended == [code]


def test_the_codes_are_in_the_help(capfd):
    assert program.main(["--help"]) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "Exit codes: 0 done, 1 the claim is false, 2 unusable input, 70 not foreseen, " in said
    assert "75 interrupted" in said


def test_python_m_ltjax():
    line = [sys.executable, "-m", "ltjax", "--nope"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("ltjax: ")


# Streams.


@pytest.fixture
def ticket(here):
    """A ticket that holds, and one of another network."""
    layers = [np.array([[0.6, -0.5], [0.2, 0.4]])]
    np.savez("net.npz", *layers)
    np.savez("other.npz", layers[0] / 2)
    Path("t.npz").write_bytes(to_bytes(prune(layers, epsilon=0.5)))


@pytest.fixture
def give(monkeypatch):
    """Make standard output or error one that is closed, full, or whose reader has left."""
    made = []

    def give(name, ill):
        stream = None
        if ill == "full":
            stream = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
        elif ill == "unread":
            read, write = os.pipe()
            os.close(read)
            stream = os.fdopen(write, "w")
        if ill is not None:
            monkeypatch.setattr(sys, name, stream)
        made.extend([stream] if stream else [])

    yield give
    for stream in made:
        stream.close()  # nothing is left in it that would fail at exit


needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device")
ILL = ["closed", "unread", pytest.param("full", marks=needs_full)]


@pytest.mark.parametrize("out", ["closed", "unread"])
@pytest.mark.parametrize("err", [None, *ILL])
def test_verify_says_by_its_code_what_nobody_reads(ticket, give, out, err):
    give("stdout", out)
    give("stderr", err)
    assert program.main(["verify", "t.npz", "net.npz"]) == 0
    assert program.main(["verify", "t.npz", "other.npz"]) == 1
    assert program.main(["verify", "missing.npz", "net.npz"]) == 2


@needs_full
def test_what_cannot_be_said_is_an_interruption(ticket, give, capfd):
    give("stdout", "full")
    assert program.main(["verify", "t.npz", "net.npz"]) == 75
    assert told(capfd) == "standard output cannot be written: No space left on device."


@needs_full
def test_a_false_claim_is_not_false_before_it_is_said(give, capfd, obeying):
    give("stdout", "full")
    obeying(raising(errors.FalseClaimError("false.")))
    assert program.main([]) == 75
    assert "standard output" in told(capfd)


def test_a_reader_who_leaves_does_not_end_the_work(give, capfd, obeying):
    done = []

    def yields():
        yield from ("one", "two")
        done.append(True)
        raise errors.FalseClaimError("not as expected.")

    give("stdout", "unread")
    obeying(yields)
    assert program.main([]) == 1
    assert done == [True]
    assert told(capfd) == "not as expected."


@pytest.mark.parametrize("argv", [["--help"], ["curve", "features", "--help"]])
@pytest.mark.parametrize("out", ["unread", "closed"])
def test_help_that_nobody_reads(give, capfd, argv, out):
    give("stdout", out)
    assert program.main(argv) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("err", ILL)
def test_progress_that_nobody_reads_stops_no_run(monkeypatch, give, err):
    monkeypatch.setattr(program, "LOG_SECONDS", 0.0)
    give("stderr", err)
    assert program.main([*SMALL, "--trials", "20", "--out", "a.jsonl"]) == 0
    assert records.load(["a.jsonl"]).trials == 20


@pytest.mark.parametrize("letters", ["ascii", "latin-1", "utf-8"])
def test_no_letter_is_too_much_for_a_stream(monkeypatch, obeying, letters):
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, letters)
    monkeypatch.setattr(sys, "stdout", out)
    obeying(lambda: iter([f"record: {ODD} \u221a\xe9"]))
    assert program.main([]) == 0
    said = raw.getvalue().decode(letters)
    assert said.startswith("record: a\\udcff\\udce9.jsonl ")
    assert out.errors == "strict"  # as it was


def test_help_in_ascii(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    assert program.main(["curve", "features", "--help"]) == 0
    assert b"--epsilon" in raw.getvalue()
    assert b"\\u" not in raw.getvalue()


def test_no_file_gets_the_number_of_a_closed_stream():
    code = (
        "import os, sys; from ltjax.system import streams\n"
        "for number in range(3): os.close(number)\n"
        "sys.stdout = sys.stderr = None\n"
        "with streams.settled():\n"
        "    file = open('record', 'wb'); os.write(1, b'noise'); print('noise', flush=True)\n"
        "    file.write(b'%d' % file.fileno())\n"
        "assert sys.stdout is None"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
    assert Path("record").read_bytes() == b"3"


# Names.


@pytest.fixture
def record():
    assert program.main([*SMALL, "--trials", "20", "--quiet", "--out", "a.jsonl"]) == 0
    return Path("a.jsonl")


def test_a_name_that_is_no_text(record, capfd):
    Path("a.jsonl").rename(ODD)
    os.symlink(ODD, "_b $x$.jsonl")
    capfd.readouterr()
    assert program.main(["show", ODD]) == 0
    assert program.main([*SMALL, "--trials", "20", "--out", ODD]) == 0
    for suffix in (".svg", ".pdf", ".png"):
        picture = os.fsdecode(b"\xff") + suffix
        assert program.main(["plot", ODD, "_b $x$.jsonl", "--out", picture]) == 0
        assert Path(picture).stat().st_size > 1000
    capfd.readouterr()
    assert program.main(["show", ODD + "x"]) == 2
    assert told(capfd) == "cannot read a\\udcff\\udce9.jsonlx: No such file or directory."


def test_the_label_of_a_name_is_in_the_legend(record):
    os.symlink("a.jsonl", "_b $x$.jsonl")
    assert program.main(["plot", "a.jsonl", "_b $x$.jsonl", "--out", "a.svg"]) == 0
    assert "_b $x$.jsonl: \u03b5 = 0.5" in Path("a.svg").read_text()


def test_home_is_written_out(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    mine = [f"{here}/x", f"{here}/y"]
    asked = program.parse(["curve", "neuron", "--out=~/x", "--target=~/y", "--compile-cache=~/x"])
    run, scale = asked.experiment.run, asked.experiment.scale
    assert [run.out, asked.experiment.target, scale.compile_cache] == [*mine, mine[0]]
    merge = program.parse(["merge", "~/x", "~/y", "./~", "--out=~/y"])
    assert merge.records == (*mine, "./~")
    assert merge.out == mine[1]
    assert program.parse(["audit", "--report=~/x"]).report == mine[0]
    assert program.parse(["ticket", "~/x", "--out=~/y"]).network == mine[0]


@pytest.mark.parametrize("argv", [["--out=~/x"], ["--target=~nobody-of-this-name/x"]])
def test_a_home_that_is_not_known(capfd, here, monkeypatch, argv):
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert program.main([*SMALL, *argv]) == 2
    name = argv[0][2:].split("=")[0]
    assert told(capfd).startswith(f"{name} must name a home folder that is known, or begin with")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_a_user_without_a_home_keeps_no_programs(ticket, monkeypatch, capfd, home):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home is None:
        monkeypatch.setattr(Path, "home", nowhere)
    else:
        monkeypatch.setenv("HOME", home)
        monkeypatch.setattr(Path, "home", lambda: Path(home))
    before = sorted(os.listdir())
    assert devices.keep_programs() is None
    assert program.main(["verify", "t.npz", "net.npz"]) == 0
    assert sorted(os.listdir()) == before


def test_a_cache_folder_must_be_absolute(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert devices.keep_programs() is None
    assert os.listdir() == []


@contextlib.contextmanager
def sent(name):
    """Standard output sent to a file, as by a shell."""
    kept = os.dup(1)
    with open(name, "w") as file:
        os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


OUTPUTS = [
    (SMALL, "--out"),
    ([*SMALL, "--trials", "20", "--out", "b.jsonl"], "--figure"),
    (["merge", "a.jsonl"], "--out"),
    (["audit", "--claim", "split"], "--out"),
]


@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "link.svg", "table.svg"])
@pytest.mark.parametrize(("argv", "flag"), OUTPUTS, ids=["run", "figure", "merge", "audit"])
def test_no_output_among_what_is_printed(record, capfd, argv, flag, name):
    os.symlink("/dev/stdout", "link.svg")
    capfd.readouterr()
    with sent("table.svg"):
        assert program.main([*argv, flag, name]) == 2
    if flag == "--figure" and not name.endswith(".svg"):
        assert told(capfd).startswith("figure must end in")
    else:
        line = f"{name} is where the output of the command goes; choose another name."
        assert told(capfd) == line
    assert Path("table.svg").read_bytes() == b""


def test_a_number_is_no_name_of_a_file(record, capfd):
    with open("other", "w") as file:
        name = f"/dev/fd/{file.fileno()}"
        assert streams.is_one(name)
        assert program.main(["merge", "a.jsonl", "--out", name]) == 2
    assert not streams.is_one("other")
    assert not streams.is_one("missing")
    assert Path("other").read_bytes() == b""


@pytest.mark.parametrize("call", [["show", "b.jsonl"], [*SMALL, "--out", "b.jsonl"]])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.replace(b"\n", b"\r\n"), "b.jsonl line 1: the line ends are those of W"),
        (lambda data: data[:-1] + b"\r\n", "b.jsonl line 2: the line ends are those of Windows"),
        (lambda data: b"\xef\xbb\xbf" + data, "b.jsonl begins with a byte order mark"),
        (lambda data: data.decode().encode("utf-16"), "b.jsonl begins with a byte order mark"),
        (
            lambda data: data.replace(b"0,", b"1,", 1).replace(b"\n", b"\r\n"),
            "b.jsonl line 1: .* damag",
        ),
    ],
)
def test_what_an_editor_made_of_a_record(record, capfd, call, change, message):
    Path("b.jsonl").write_bytes(changed := change(record.read_bytes()))
    capfd.readouterr()
    assert program.main(call) == 2
    assert re.match(message, told(capfd))
    assert Path("b.jsonl").read_bytes() == changed
    if "ends" in message:
        subprocess.run(["sed", "-i", r"s/\r$//", "b.jsonl"], check=True)  # as the line says
        assert Path("b.jsonl").read_bytes() == record.read_bytes()


def test_a_full_disk_is_no_fault_of_the_name(capfd, monkeypatch, record):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    assert program.main(["plot", "a.jsonl", "--out", "a.svg"]) == 75
    assert re.fullmatch(r"\S*/a.svg: No space left on device\.", told(capfd))
    assert not Path("a.svg").exists()


# Values.


@pytest.mark.parametrize(
    ("word", "value"),
    [("1e6", 10**6), ("1E3", 1000), ("20_000", 20_000), ("5.0", 5), ("-1", -1), ("1e20", 10**20)],
)
def test_whole_numbers(word, value):
    asked = program.parse(["curve", "neuron", "--trials", word, "--widths", "7", word])
    assert (asked.experiment.trials, asked.experiment.widths) == (value, (7, value))
    assert isinstance(asked.experiment.trials, int)
    assert program.parse(["width", "--dim", word]).dim == value


def test_numbers_and_cells():
    asked = program.parse(["curve", "neuron", "--epsilon", "1e-1", ".5", "--at", "a/b", "1e2", "1"])
    assert asked.experiment.epsilon == (0.1, 0.5)
    assert asked.experiment.scale.at == ("a/b", 100, 1.0)


WORDS = [
    *[
        (f"--trials={word}", f"trials must be a whole number, as 5000 or 5e3, got '{word}'")
        for word in ("abc", "1.5", "1e-3", "nan", "inf", "", "0x10", "1,000", "1e", "7 8")
    ],
    ("--trials=1e400", "trials must have at most 300 digits, got '1e400'"),
    ("--trials=1e999999999", "trials must have at most 300 digits, got '1e999999999'"),
    (f"--trials={'x' * 200}", f"trials must be a whole number, .*, got '{'x' * 60}...'"),
    ("--dim=x - y: z", "dim must be a whole number, as 5000 or 5e3, got 'x - y: z'"),
    ("--until-failures=1.5", "until-failures must be a whole number, as 5000 or 5e3, got '1.5'"),
    *[
        (f"--delta={word}", f"delta must be a number, as 0.5 or 1e-3, got '{word}'")
        for word in ("abc", "", "0,5", "1/2", "5%")
    ],
    ("--until-half-width=x", "until-half-width must be a number, as 0.5 or 1e-3, got 'x'"),
    ("--epsilon 0.5,0.2", "epsilon must have spaces between numbers, no commas, got '0.5,0.2'"),
    ("--epsilon 0.5, 0.2", "epsilon must have spaces between numbers, no commas, got '0.5, 0.2'"),
    ("--epsilon 0.5 x", "epsilon must be a number, as 0.5 or 1e-3, got 'x'"),
    ("--widths 8,20", "widths must have spaces between numbers, no commas, got '8,20'"),
    ("--widths 8 20.5", "widths must be a whole number, as 5000 or 5e3, got '20.5'"),
    ("--at a/b 20", "at must be 3 values, got 'a/b 20'"),
    ("--at a/b wide 0.5", "at must be a whole number, as 5000 or 5e3, got 'wide'"),
    ("--at a,b 20 0.5", None),
    ("--out", "Missing value for argument '--out'. Expected a value"),
]


@pytest.mark.parametrize(("words", "message"), WORDS)
def test_what_is_no_value_is_told_in_our_words(monkeypatch, words, message):
    monkeypatch.setenv("COLUMNS", "20")  # a terminal in which no line would stay whole
    argv = [words] if "=" in words else words.split(" ")
    if message is None:
        assert program.parse(["curve", "neuron", *argv]).experiment.scale.at[0] == "a,b"
        return
    with pytest.raises(InputError) as refused:
        program.parse(["curve", "neuron", *argv])
    assert re.fullmatch(message + r"\.", str(refused.value))
    assert os.environ["COLUMNS"] == "20"


def flags(kind):
    """All types of flags below a command or a union of them."""
    kind = getattr(kind, "__origin__", kind) if hasattr(kind, "__metadata__") else kind
    if is_dataclass(kind):
        for field in fields(kind):
            yield from flags(field.type)
    elif any(is_dataclass(getattr(part, "__origin__", part)) for part in get_args(kind)):
        for part in get_args(kind):
            yield from flags(part)
    else:
        yield kind


def test_every_flag_is_read_by_a_rule_of_ours_or_chosen_from_a_list():
    kinds = set(flags(commands.Command))
    listed = {
        kind
        for kind in kinds
        if kind is bool
        or get_origin(kind) is Literal
        or any(get_origin(part) is Literal for part in get_args(kind))
    }
    assert {int, float, str, tuple[float, ...], float | None} <= kinds - listed
    assert [kind for kind in kinds - listed if values._rule(kind) is None] == []


# Signals.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_a_collection_ends_the_run(capfd, monkeypatch, number):
    seen, handlers = [], [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    append = records.Log.append

    def interrupted(log, batch):
        append(log, batch)
        seen.append(batch)
        if len(seen) == 2:
            collecting = lambda phase, _: phase == "start" and os.kill(os.getpid(), number)
            gc.callbacks.append(collecting)
            gc.collect()
            gc.callbacks.remove(collecting)

    monkeypatch.setattr(engine, "BATCH_SECONDS", 0.001)
    monkeypatch.setattr(records.Log, "append", interrupted)
    assert program.main([*SMALL, "--trials", "20000", "--out", "a.jsonl", "--quiet"]) == 75
    assert told(capfd) == "interrupted; the same command goes on from its record."
    assert len(seen) == 2
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers


def test_a_signal_ends_a_step_that_takes_long():
    class Endless:
        """What a device works on."""

        def is_ready(self):
            os.kill(os.getpid(), signal.SIGTERM)
            return False

    problem = ltjax.neuron(2, (0.5,), (8,), "worst", ("blocks",), ("tight",))
    program = engine.Program(None, problem, lambda first: (Endless(), Endless()), 8, 8, 0)
    with interrupts.caught(), pytest.raises(KeyboardInterrupt):
        engine._count(program, (0, 8), True)


def test_the_first_signal_lets_a_batch_be_recorded(capfd, monkeypatch):
    append = records.Log.append

    def hit(log, batch):
        os.kill(os.getpid(), signal.SIGINT)
        append(log, batch)

    monkeypatch.setattr(records.Log, "append", hit)
    monkeypatch.setattr(engine, "BATCH_SECONDS", 0.001)
    assert program.main([*SMALL, "--trials", "20000", "--out", "a.jsonl", "--quiet"]) == 75
    assert records.load(["a.jsonl"]).trials > 0
