"""Strict settings for the whole suite: what a careless line would hide, fails here."""

# ruff: noqa: E402  the surroundings are set before jax is imported

import os
import signal
import tempfile

# As the command sets before it imports jax: the compiler tells of every program that it reads.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A shell's job in the background ignores it, and so would every command that is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Two CPU devices, so that every test of the engine runs on a real mesh.
DEVICES = "--xla_force_host_platform_device_count=2"
if DEVICES not in (flags := os.environ.get("XLA_FLAGS", "")):
    os.environ["XLA_FLAGS"] = f"{flags} {DEVICES}".strip()

# A program is compiled once in a run of the suite, for all files, commands and workers; never kept
# in the user's cache folder. Whoever runs parts of the suite one after the other names a folder.
CACHE = None
if "LTJAX_TESTS_CACHE" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="ltjax-tests-")
    os.environ["LTJAX_TESTS_CACHE"] = CACHE.name  # workers inherit it
os.environ["XDG_CACHE_HOME"] = os.environ["LTJAX_TESTS_CACHE"]

import jax
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# A commit passes or fails, always the same: examples are drawn from the text of each test. To look
# further, `pytest --hypothesis-profile=default`.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

# Shapes and types in signatures are checked in tests, and cost nothing in use.
install_import_hook("ltjax", "beartype.beartype")

from ltjax.system import devices

devices.keep_programs()


@pytest.fixture(autouse=True, scope="module")
def little_memory():
    """Programs of a file are not held beyond it: another that wants one reads it again."""
    yield
    jax.clear_caches()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file to a worker: its fixtures are made once, and its programs are one worker's."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


def pytest_unconfigure():
    if CACHE is not None:
        CACHE.cleanup()
