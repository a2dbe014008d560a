"""Where it runs: devices, memory, versions, compiled programs kept. The only module that sets jax.

All of it must happen before the first computation; none of it changes a count.
"""

import contextlib
import hashlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jaxlib
import numpy as np

import ltjax
from ltjax.errors import InputError

BROKEN_JAXLIB = "0.10.2"  # its CPU compiler silently returns wrong values (jax issue 39103)
SHARE = 0.5  # of the memory there is, unless another limit is asked for
GIB = 2**30


def devices(kind: str = "auto") -> list[jax.Device]:
    """The devices of this process to run on; `InputError` where there is none of that kind.

    Args:
        kind: auto (whatever jax finds best), cpu, gpu or tpu. Never falls back to another.
    """
    if jaxlib.__version__ == BROKEN_JAXLIB:
        raise InputError(
            f"jaxlib must not be {BROKEN_JAXLIB}, which computes wrong values on CPU; "
            "pip install 'jax!=0.10.2'."
        )
    use_cores()
    try:
        return jax.local_devices() if kind == "auto" else jax.local_devices(backend=kind)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "no such backend"
        raise InputError(f"device must be present, got {kind}: {reason}") from None


def use_cores() -> None:
    """Make a device of every core that this process may use; before anything is asked of jax."""
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # a backend is up, with the devices it has
            jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


def environment(on: Sequence[jax.Device]) -> dict:
    """What repeating a run takes: versions, platform and settings of jax. JSON."""
    settings = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
    return {
        "ltjax": ltjax.__version__,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "platform": on[0].platform,
        "device": on[0].device_kind,
        "x64": jax.config.read("jax_enable_x64"),
        "settings": settings | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "")},
    }


def memory(on: Sequence[jax.Device], limit: float | None = None) -> float:
    """Bytes that a program may take on each device.

    Args:
        limit: GiB of all devices of this process together; by default half of what there is.
    """
    if limit is not None and not 0.0 < limit < float("inf"):
        raise InputError(f"memory must be a number of GiB above 0, got {limit:g}.")
    if limit is not None:
        return limit * GIB / len(on)
    if on[0].platform == "cpu":  # all devices share what the machine, or its container, has
        return SHARE * min(_installed(), _allowed()) / len(on)
    return SHARE * on[0].memory_stats()["bytes_limit"]


def _installed() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _allowed() -> float:
    """The limit of a container, where there is one that can be read."""
    with contextlib.suppress(OSError, ValueError):
        return float(Path("/sys/fs/cgroup/memory.max").read_text())
    return float("inf")


def keep_programs(folder: str | None = None) -> Path | None:
    """Keep compiled programs in a folder, so that the next start of the same curve compiles none.

    A compiled program is executable code: the folder is the user's own, and has a part for each
    kind of processor, as a home directory may be seen from several.

    Args:
        folder: by default ltjax in the user's cache folder; none keeps nothing.

    Returns:
        Where they are kept; None where nothing is. `InputError` where a folder that was asked for
        cannot be made; the default one is then done without.
    """
    if folder == "none":
        jax.config.update("jax_compilation_cache_dir", None)
        return None
    parent = Path(folder) if folder else _cache_folder()
    if parent is None:
        return None
    path = parent / _processor()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(path, os.W_OK | os.X_OK)
    except OSError:
        usable = False
    if not usable:
        if folder:
            raise InputError(f"compile-cache must be a folder that can be written, got {folder}.")
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return path


def _cache_folder() -> Path | None:
    """Where the user's programs keep such things; None for a user without a home."""
    with contextlib.suppress(RuntimeError):  # neither HOME nor an entry among the users
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ltjax")
        return path if path.is_absolute() else None  # a folder of where the command is given
    return None


def deadline(seconds: float) -> Callable[[], bool]:
    """A question whether so many seconds have passed since now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def _processor() -> str:
    """Eight hex digits for what the processor can do; a program made for another may not run."""
    text = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        text += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(text.encode()).hexdigest()[:8]
