"""Strict settings for the whole suite: what a careless line would hide, fails here."""

import os
import tempfile

# Two CPU devices, so that every test of the engine runs on a real mesh.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Compiled programs are kept for one run of the suite, and never in the user's cache folder.
CACHE = tempfile.TemporaryDirectory(prefix="ltjax-tests-")
os.environ["XDG_CACHE_HOME"] = CACHE.name

# Shapes and types in signatures are checked in tests, and cost nothing in use.
install_import_hook("ltjax", "beartype.beartype")


def pytest_unconfigure():
    CACHE.cleanup()
