"""What it runs on changes no count: devices, memory, compiled programs kept."""

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import jax
import jaxlib
import pytest
from test_cli import SMALL, call, counts, shell

from ltjax.errors import InputError
from ltjax.system import devices

CPU = jax.devices("cpu")
GIB = 2**30


# Devices.


def test_the_devices_of_this_machine():
    assert devices.devices("cpu") == CPU
    assert devices.devices() == jax.local_devices()


@pytest.mark.parametrize("kind", ["tpu", "abacus"])
def test_an_absent_device_is_refused(kind):
    with pytest.raises(InputError, match=f"device must be present, got {kind}: ") as error:
        devices.devices(kind)
    assert "\n" not in str(error.value)


def test_the_broken_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(jaxlib, "__version__", "0.10.2")
    with pytest.raises(InputError, match=r"jaxlib must not be 0\.10\.2"):
        devices.devices("cpu")


def test_every_core_is_a_device():
    code = "import os; from ltjax.system import devices; devices.use_cores()\n"
    code += "on = devices.devices('cpu')\n"
    code += "assert len(on) == len(os.sched_getaffinity(0)), on\n"
    code += "assert devices.devices('cpu') == on"
    subprocess.run([sys.executable, "-c", code], env=shell(), check=True)


def test_the_environment_is_json_and_names_what_ran():
    found = devices.environment(CPU[:1])
    assert json.loads(json.dumps(found)) == found
    assert (found["jax"], found["platform"], found["x64"]) == (jax.__version__, "cpu", False)


# Memory.


def test_a_limit_is_of_all_devices_together():
    assert devices.memory(CPU[:1], 1.5) == 1.5 * GIB
    assert devices.memory(CPU[:2], 1.5) == 0.75 * GIB


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_none(limit):
    with pytest.raises(InputError, match=f"memory must be a number of GiB above 0, got {limit:g}"):
        devices.memory(CPU[:1], limit)


@pytest.mark.parametrize(("text", "share"), [("max\n", 4), (f"{2 * GIB}\n", 1), (f"{99 * GIB}", 4)])
def test_half_of_what_the_machine_or_its_container_has(monkeypatch, tmp_path, text, share):
    limit = tmp_path / "memory.max"
    limit.write_text(text)
    monkeypatch.setattr(devices, "Path", lambda _: limit)
    monkeypatch.setattr(devices, "_installed", lambda: 8 * GIB)
    assert devices.memory(CPU[:1]) == share * GIB
    assert devices.memory(CPU[:2]) == share * GIB / 2
    limit.unlink()
    assert devices.memory(CPU[:1]) == 4 * GIB


def test_another_device_has_memory_of_its_own():
    one = Mock(spec=jax.Device, platform="gpu")
    one.memory_stats.return_value = {"bytes_limit": 10 * GIB}
    assert devices.memory([one]) == devices.memory([one, one]) == 5 * GIB


def test_the_memory_installed_is_that_of_the_system():
    told = Path("/proc/meminfo").read_text().split()
    assert devices._installed() == 1024 * int(told[told.index("MemTotal:") + 1])


# Compiled programs.

OPTIONS = [
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of its own, a cache in it, and the options of jax as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def test_programs_are_kept_in_the_cache_of_the_user(here):
    kept = devices.keep_programs()
    assert kept.parent == here / "cache" / "ltjax"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert [getattr(jax.config, name) for name in OPTIONS] == [str(kept), 0.0, -1]
    assert devices.keep_programs() == kept


def test_programs_are_kept_at_home_where_nothing_else_is_said(here, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(here))
    assert devices.keep_programs().parent == here / ".cache" / "ltjax"


def test_programs_are_kept_where_one_asks_for_or_nowhere(here):
    kept = devices.keep_programs("mine")
    assert kept.parent == Path("mine")
    assert kept.is_dir()
    assert devices.keep_programs("none") is None
    assert jax.config.jax_compilation_cache_dir is None
    assert [p.name for p in here.iterdir()] == ["mine"]


def test_every_kind_of_processor_has_its_part(monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(devices, "Path", lambda _: cpuinfo)
    parts = set()
    for text in ("flags : sse avx\n", "flags : sse avx avx512f\n", "Features : asimd\n"):
        cpuinfo.write_text(f"processor : 0\n{text}processor : 1\n{text}")
        parts.add(devices._processor())
        cpuinfo.write_text(f"cpu MHz : 3.1\n{text}")  # what changes from one minute to the next
        parts.add(devices._processor())
    cpuinfo.unlink()
    parts.add(devices._processor())
    assert len(parts) == 4
    assert all(len(part) == 8 for part in parts)


def test_a_folder_that_cannot_be_made(here, monkeypatch, capfd):
    (here / "file").write_text("in the way")
    message = "compile-cache must be a folder that can be written, got file/a"
    with pytest.raises(InputError, match=message):
        devices.keep_programs("file/a")
    # The default one is done without, and nobody hears of it.
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "file"))
    assert devices.keep_programs() is None
    assert jax.config.jax_compilation_cache_dir == before
    assert call(*SMALL, "--trials", "20") == 0
    assert capfd.readouterr().err == ""


def test_a_folder_that_cannot_be_written(here, monkeypatch):
    monkeypatch.setattr(devices.os, "access", lambda *_: False)  # root may write anywhere
    assert devices.keep_programs() is None
    with pytest.raises(InputError, match=r"compile-cache must be a folder .*, got mine"):
        devices.keep_programs("mine")


# The command, and how often jax looked for a program and found it.
COUNTING = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # as the command sets before it imports jax
import jax
heard = []
jax.monitoring.register_event_listener(lambda name, **_: heard.append(name))
from ltjax.cli import program
code = program.main(sys.argv[1:])
kinds = (f"/jax/compilation_cache/cache_{name}" for name in ("misses", "hits"))
with open("heard", "w") as file:
    print(*map(heard.count, kinds), file=file)
sys.exit(code)
"""


def heard(*argv):
    """Programs compiled, and programs found, by a command in a process of its own."""
    subprocess.run([sys.executable, "-c", COUNTING, *argv], env=shell(), check=True)
    return tuple(map(int, Path("heard").read_text().split()))


@pytest.mark.slow
def test_the_second_start_of_a_curve_compiles_nothing():
    line = [*SMALL, "--trials", "500", "--compile-cache", "programs"]
    compiled, found = heard(*line, "--out", "a.jsonl")
    assert compiled > 0
    assert found == 0
    assert heard(*line, "--out", "b.jsonl") == (0, compiled)
    assert counts("a.jsonl") == counts("b.jsonl")
    # As a user starts it: the compiler's own log stays away.
    command = [sys.executable, "-m", "ltjax.cli.program", *line, "--out", "c.jsonl"]
    third = subprocess.run(command, env=shell(), check=True, capture_output=True, text=True)
    assert third.stderr == ""
    assert counts("a.jsonl") == counts("c.jsonl")
