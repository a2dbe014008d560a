"""Whatever a process has set for jax, counts, tickets and brackets are the same, and so is it."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_cli import shell

import ltjax
from ltjax import api
from ltjax.counting import engine
from ltjax.errors import InputError
from ltjax.supnorm import ascent, brackets
from ltjax.system import devices, stops
from ltjax.tickets import archive, pruning, verifying

SETTINGS = {
    "64 bits": lambda: jax.enable_x64(True),
    "no compilation": lambda: jax.disable_jit(True),
    "coarse products": lambda: jax.default_matmul_precision("BF16_BF16_F32"),
    "other words": lambda: jax.threefry_partitionable(False),
    "other generator": lambda: jax.default_prng_impl("rbg"),
    "no transfers": lambda: jax.transfer_guard("disallow"),
    "no NaN": lambda: jax.debug_nans(True),
    "no infinity": lambda: jax.debug_infs(True),
    "keys used once": lambda: jax.debug_key_reuse(True),
    "no leak": lambda: jax.check_tracer_leaks(True),
    "checks": lambda: jax.enable_checks(True),
    "no tracing": lambda: jax.no_tracing(True),
    "no execution": lambda: jax.no_execution(True),
    "a mesh": lambda: jax.set_mesh(jax.make_mesh((1,), ("other",), devices=jax.devices()[:1])),
    "as jax is": lambda: loose(),
}
STOPPED = ("64 bits", "no compilation", "no execution", "no tracing", "a mesh")  # before
NEURON = ltjax.neuron(
    dim=2, epsilons=(0.3,), widths=(40,), constructions=("blocks",), rules=("tight",), seed=3
)
LAYERS = [np.array([[0.5, -0.3, 0.1], [0.3, 0.5, 0.2]]), np.array([[0.4, -0.57]])]


@contextlib.contextmanager
def loose():
    """What is strict in tests, as users have it."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory):
    """Compiled once for all settings, as long as they are the same programs."""
    names = "dir", "min_compile_time_secs", "min_entry_size_bytes"
    names = [f"jax_{'persistent' if i else 'compilation'}_cache_{n}" for i, n in enumerate(names)]
    before = [getattr(jax.config, name) for name in names]
    for name, value in zip(names, (str(tmp_path_factory.mktemp("programs")), 0.0, -1), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)


def counts():
    engine._compiled.cache_clear()
    tally = ltjax.run(NEURON, 48, device="cpu")
    return tally.certified.tolist(), tally.refuted.tolist(), tally.invalid


def ticket():
    made = pruning.prune(LAYERS, epsilon=0.4, seed=1)
    return archive.to_bytes(made), verifying.verify(made, LAYERS)


def bracket():
    """Of two outputs: an ascent, and relaxations in a tree."""
    first, last = LAYERS[0], np.concatenate([LAYERS[1], LAYERS[1][:, ::-1]])
    pair, scale = brackets.pair_of([first, last], [first * 1.1, last * 0.9], "relu")
    *_, last = brackets.closing(pair, scale, 0.1)
    return last


@pytest.fixture(scope="module")
def plain():
    return [work() for work in (counts, ticket, bracket)]


def settings():
    """All that a process can set for jax, and the mesh of this thread."""
    names = [name for name in dir(jax.config) if name.startswith("jax_")]
    return {name: getattr(jax.config, name) for name in names} | {"mesh": jax.sharding.get_mesh()}


@pytest.mark.parametrize("name", SETTINGS)
def test_results_are_the_same_whatever_is_set(plain, name):
    with SETTINGS[name]():
        before = settings()
        assert [work() for work in (counts, ticket, bracket)] == plain
        assert settings() == before


@pytest.mark.slow  # compiles for another device
def test_tickets_are_the_same_on_another_device(plain):
    with jax.default_device(jax.devices()[-1]):
        assert [counts(), ticket()] == plain[:2]


@pytest.mark.parametrize("name", STOPPED)
def test_without_a_scope_these_settings_stop_a_run(plain, monkeypatch, name):
    monkeypatch.setattr(devices, "OWN", ())
    with SETTINGS[name](), pytest.raises(Exception, match=r"\w"):
        counts()


def test_an_offset_of_seeds_moves_no_start(plain):
    before = jax.config.jax_random_seed_offset
    pair, _ = brackets.pair_of(LAYERS, [LAYERS[0] * 1.1, LAYERS[1] * 0.9])
    many = (
        pair.weights,
        tuple(error[None] for error in pair.errors),
        [0],
        1,
        ("linear", None),
        stops.never,
    )
    found = ascent._searched(*many)
    try:
        jax.config.update("jax_random_seed_offset", 7)
        np.testing.assert_array_equal(ascent._searched(*many), found)
        assert np.any(jax.random.key_data(jax.random.key(0)))  # the offset is there
    finally:
        jax.config.update("jax_random_seed_offset", before)


def test_a_scope_ends_where_it_raises_too():
    before = settings()
    with jax.enable_x64(True), contextlib.suppress(ZeroDivisionError), devices.own_settings():
        assert jnp.zeros(1).dtype == jnp.float32
        raise ZeroDivisionError
    assert settings() == before


@pytest.mark.parametrize("name", devices.UNSCOPED)
def test_what_has_no_scope_is_refused_by_name(name):
    before = getattr(jax.config, name)
    try:
        jax.config.update(name, True if before is False else "raise")
        with pytest.raises(InputError, match=f"{name} must be {before}, "):
            ltjax.run(NEURON, 48, device="cpu")
    finally:
        jax.config.update(name, before)


def test_asking_for_devices_makes_none(monkeypatch):
    # Devices of every core are for a process of one's own, a command or a script.
    monkeypatch.setattr(devices, "use_cores", lambda: pytest.fail("makes devices"))
    assert devices.devices("cpu") == jax.devices("cpu")


# numpy.


def test_underflow_stops_nothing_whatever_numpy_is_told(plain):
    def predicted():
        api._predict.cache_clear()
        found = ltjax.neuron(target=[1e-200, 0.5], epsilons=(0.3, 1e-3), rules=("tight",))
        return found.grid, ltjax.predict(found)["blocks/tight"].lower.tolist()

    def apart():
        tiny = np.array([[1e-150, 0.0, 0.0], [0.0, 0.0, 0.0]])
        pair, scale = brackets.pair_of(LAYERS, [LAYERS[0] + tiny, LAYERS[1] * 0.9])
        return list(brackets.closing(pair, scale, 0.1))

    work = predicted, apart, counts
    before = [one() for one in work]
    with np.errstate(all="raise"):
        state = np.geterr()
        assert [one() for one in work] == before
        assert np.geterr() == state
    with np.errstate(under="raise"), pytest.raises(FloatingPointError):
        np.exp(np.float64(-800.0))  # what it is told


# Starting jax.


def in_a_fork(work) -> bytes:
    """What a forked child says of it within 20 seconds."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of jax and Python: of the very thing tried here
        child = os.fork()
    if not child:
        try:
            work()
        except BaseException as error:
            os.write(writes, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writes)
    try:
        return os.read(reads, 10**4) if select.select([reads], [], [], 20.0)[0] else b"hangs"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reads)


@pytest.mark.parametrize("work", [counts, bracket])
def test_a_process_forked_from_one_with_jax_is_told_at_once(plain, work):
    said = in_a_fork(work)
    assert said.startswith(b"InputError: jax must not be used in a process forked after it has ")


@pytest.fixture
def not_started(monkeypatch):
    monkeypatch.setattr(devices, "_started_by", None)
    monkeypatch.delenv("XLA_FLAGS", raising=False)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("Unable to initialize backend 'abacus'\nat all"), "Unable .* 'abacus'"),
        (AssertionError(), "no such backend"),  # of a platform that jax knows and has not installed
    ],
)
def test_a_platform_that_is_not_there_is_named(not_started, monkeypatch, error, reason):
    def fail():
        raise error

    monkeypatch.setattr(jax, "local_devices", fail)
    monkeypatch.setattr(devices.jax.config, "update", pytest.fail)
    with pytest.raises(InputError, match=rf"^JAX_PLATFORMS must name .*, got .*: {reason}$"):
        devices.devices("cpu")


def test_flags_that_the_compiler_cannot_read_are_named(not_started, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_nonsense=3")
    with pytest.raises(InputError) as error:
        ltjax.run(NEURON, 48, device="cpu")
    assert str(error.value) == (
        "XLA_FLAGS must be flags of this jaxlib, got --xla_nonsense=3: "
        "Unknown flag in XLA_FLAGS: --xla_nonsense=3"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("--xla_backend_optimization_level=banana", "Couldn't interpret value banana for flag"),
        ("--xla_force_host_platform_device_count=two", "Couldn't interpret value two for flag"),
        ("/no/such/file", 'Could not open file "/no/such/file" to read flags'),
    ],
)
def test_other_flags_that_the_compiler_cannot_read(flags, reason):
    with pytest.raises(InputError, match=f"got {flags}: {reason}"):
        devices._check_flags(flags)


def test_flags_are_tried_only_where_they_are_out_of_the_ordinary(monkeypatch):
    tried = []
    done = SimpleNamespace(returncode=0, stderr="")
    monkeypatch.setattr(devices.subprocess, "run", lambda *a, **k: tried.append(a) or done)
    devices._check_flags("")
    devices._check_flags(" --xla_force_host_platform_device_count=8 ")
    assert not tried
    devices._check_flags("--xla_cpu_max_isa=AVX2")
    devices._check_flags("--xla_force_host_platform_device_count=8 --abacus")
    assert len(tried) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("JAX_ENABLE_X64", "banana", "JAX_ variables must be what jax can read, got "),
        ("JAX_PLATFORMS", "abacus", "JAX_PLATFORMS must name what is there, got abacus: "),
        ("JAX_PLATFORMS", "cuda", "JAX_PLATFORMS must name what is there, got cuda: "),
        ("XLA_FLAGS", "--abacus", "XLA_FLAGS must be flags of this jaxlib, got --abacus: "),
    ],
)
@pytest.mark.parametrize("command", ["check", "gap", "curve"])
def test_a_command_says_in_one_line_what_keeps_jax_from_starting(
    tmp_path, name, value, said, command
):
    first, last = LAYERS[0], np.concatenate([LAYERS[1], LAYERS[1][:, ::-1]])
    for i in range(2):
        np.savez(tmp_path / f"{i}.npz", first * (1 + i), last * (1 + i))
    words = {
        "check": ["check"],
        "gap": ["gap", "0.npz", "1.npz", "--last", "relu"],
        "curve": ["curve", "features", "--dim", "2", "--trials", "9"],
    }[command]
    told = subprocess.run(
        [sys.executable, "-m", "ltjax.cli.program", *words],
        env=shell() | {name: value},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 2
    assert told.stderr.startswith(f"ltjax: {said}")
    assert value in told.stderr
    assert told.stderr.count("\n") == 1
