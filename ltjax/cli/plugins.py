"""A user's own laws and mask rules: from a file, or from packages that offer them.

The only module that executes a user's code, and only where a command names it; reading a record
never does.
"""

import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ltjax.errors import InputError

GROUP = "ltjax"  # of entry points: each a law, a mask rule, or a module of such


def learn(files: Sequence[str]) -> None:
    """Make known what the files define, and what installed packages offer.

    A subclass of `ltjax.Law` is known by its name, as `Name()`; a function under
    `ltjax.mask_rule` by its own.

    Raises:
        InputError: a file cannot be read or executed, or two of them define one name.
    """
    from ltjax.system import devices  # noqa: F401  first: it says what keeps jax from starting

    for number, file in enumerate(files):
        _offer(_executed(Path(file), f"ltjax_plugin_{number}"))
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            _offer(point.load())
        except Exception as error:
            raise InputError(f"plugin {point.value} must be importable, got {error!r}.") from error


def _executed(path: Path, name: str) -> ModuleType:
    """The module of a file, under a name by which its text is found again."""
    if not path.is_file():
        raise InputError(f"plugin must be a Python file, got {path}.")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"plugin must be a .py file, got {path}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:  # whatever a user's file may do
        raise InputError(f"plugin {path} must be executable, got {error!r}.") from error
    return module


def _offer(found: object) -> None:
    """Register a law, or all laws that a module defines; mask rules are known already."""
    from ltjax.weights.laws import Law, register

    if isinstance(found, ModuleType):
        for value in vars(found).values():
            if inspect.isclass(value) and value.__module__ == found.__name__:
                _offer(value)
    elif isinstance(found, Law):
        register(found)
    elif inspect.isclass(found) and issubclass(found, Law):
        try:
            law = found()
        except TypeError:
            raise InputError(f"law {found.__name__} must be made without arguments.") from None
        register(law)
