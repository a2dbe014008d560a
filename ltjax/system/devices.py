"""Where it runs: devices, memory, versions, compiled programs kept. The only module that sets jax.

What a command sets, `use_cores` and `keep_programs`, it sets for its own process, before the first
computation. What the kernels need is set by `own_settings`, in a scope of its own: whatever else
the process has set for jax neither changes a count nor is changed.
"""

import contextlib
import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

import ltjax
from ltjax.errors import InputError

try:
    import jax
    import jaxlib
except ValueError as error:  # names no variable
    found = ", ".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("JAX_"))
    raise InputError(f"JAX_ variables must be what jax can read, got {found}: {error}") from None

Step = TypeVar("Step")

BROKEN_JAXLIB = "0.10.2"  # its CPU compiler silently returns wrong values (jax issue 39103)
ORDINARY_FLAG = re.compile(r"--xla_force_host_platform_device_count=\d+")
FLAG_ERROR = re.compile(r"^[EF]\d{4} .*?\] (.*flag.*)$", re.MULTILINE | re.IGNORECASE)
OWN: tuple[Callable, ...] = (
    partial(jax.enable_x64, False),
    partial(jax.disable_jit, False),
    partial(jax.default_matmul_precision, None),
    partial(jax.threefry_partitionable, True),
    partial(jax.transfer_guard, "allow"),
    partial(jax.debug_nans, False),
    partial(jax.debug_infs, False),
    partial(jax.debug_key_reuse, False),
    partial(jax.check_tracer_leaks, False),
    partial(jax.enable_checks, False),
    partial(jax.no_tracing, False),
    partial(jax.no_execution, False),
    partial(jax.set_mesh, None),
)
# Settings that change every program, and that jax offers no scope for.
UNSCOPED: dict[str, object] = {
    "jax_error_checking_behavior_nan": "ignore",
    "jax_error_checking_behavior_divide": "ignore",
    "jax_error_checking_behavior_oob": "ignore",
    "eager_constant_folding": False,
}
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
    start()
    try:
        return jax.local_devices() if kind == "auto" else jax.local_devices(backend=kind)
    except (RuntimeError, AssertionError) as error:
        only = f" (JAX_PLATFORMS is {asked})" if (asked := _set("jax_platforms")) else ""
        raise InputError(f"device must be present, got {kind}{only}: {_reason(error)}") from None


def start() -> None:
    """Start jax, unless it is up; `InputError` where it would not, or would end the process.

    A process forked from one in which jax is up has its devices without their threads: whatever it
    asked of them would wait for ever.
    """
    global _started_by
    if _started_by == os.getpid():
        return
    if _started_by is not None:
        raise InputError(
            "jax must not be used in a process forked after it has started, which would hang; "
            "start processes by spawn or forkserver."
        )
    _check_flags(os.environ.get("XLA_FLAGS", ""))
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # the second of what is not installed
        asked, reason = _set("jax_platforms"), _reason(error)
        raise InputError(f"JAX_PLATFORMS must name what is there, got {asked}: {reason}") from None
    _started_by = os.getpid()


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else "no such backend"


_started_by: int | None = None  # process


def _set(name: str, otherwise: object = None) -> object:
    """What jax has for a setting, by variable or by call; `otherwise` where it knows of none."""
    return getattr(jax.config, name, otherwise)


def _check_flags(flags: str) -> None:
    """`InputError` of flags that the compiler cannot read: it would end the process, by code 1.

    Another process tries them, as there is no other way to know; 0.6 s.
    """
    if not flags or ORDINARY_FLAG.fullmatch(flags.strip()):
        return
    told = subprocess.run(
        [sys.executable, "-c", "import jax; jax.local_devices()"],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "0"},
        capture_output=True,
        text=True,
        errors="replace",
    )
    if told.returncode and (reason := FLAG_ERROR.search(told.stderr)):
        raise InputError(f"XLA_FLAGS must be flags of this jaxlib, got {flags}: {reason[1]}")


@contextlib.contextmanager
def own_settings() -> Iterator[None]:
    """A scope, of this thread alone, in which jax computes as ltjax needs it; jax is started.

    Types are those of 32 bits, programs are compiled, random words are those of today's jax, and no
    check stops a run at a NaN, a transfer or a key: a broken trial is counted. numpy lets numbers
    underflow. Left as they are: promotion of ranks and types, under all of which the kernels are
    the same; what is logged; and the default device.

    Raises:
        InputError: as `start`; of one of UNSCOPED.
    """
    start()
    for name, needed in UNSCOPED.items():
        if (found := _set(name, needed)) != needed:
            raise InputError(f"{name} must be {needed}, as no kernel can do with it, got {found}.")
    with contextlib.ExitStack() as stack:
        stack.enter_context(np.errstate(under="ignore"))
        for setting in OWN:
            stack.enter_context(setting())
        yield


def quietly(steps: Iterator[Step]) -> Iterator[Step]:
    """The same steps, in each of which numpy lets numbers underflow, whatever is set between."""
    while True:
        with np.errstate(under="ignore"):
            try:
                step = next(steps)
            except StopIteration:
                return
        yield step


def use_cores() -> None:
    """Make a device of every core that this process may use; before anything is asked of jax.

    For a process of one's own: whatever else uses jax there finds these devices, too.
    """
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


def _processor() -> str:
    """Eight hex digits for what the processor can do; a program made for another may not run."""
    text = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        text += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(text.encode()).hexdigest()[:8]
