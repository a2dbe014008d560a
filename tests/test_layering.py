"""The one rule of the house, and what it keeps apart.

Import only from rooms above you in ROOMS; theory and what is measured never import each other.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ltjax

PACKAGE = Path(ltjax.__file__).parent
ROOMS = [
    "errors",
    "decimals",
    "validate",
    "system",
    "weights",
    "theory",
    "networks",
    "problem",
    "masks",
    "supnorm",
    "counting",
    "experiments",
    "testing",
    "results",
    "api",
    "tickets",
    "audits",
    "cli",
    "__main__",
]
MEASURED = {"weights", "networks", "masks", "supnorm", "counting"}
HALVES = {"device", "host", "imp", "popup"}  # of an experiment, that measure it
PATHS = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
NAMES = {".".join(path.parts).removesuffix(".__init__") for path in PATHS} - {"__init__"}


def tree(module):
    path = PACKAGE.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text())


def imported(module):
    """Dotted names of all that a module imports, at its top or inside a function."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written from the root"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full.removeprefix("ltjax.") in NAMES else node.module


def siblings(module):
    return {name[6:] for name in imported(module) if name.startswith("ltjax.")}


def room(module):
    return module.split(".")[0]


def is_theory(module):
    return "theory" in module.split(".")


def is_measured(module):
    half = room(module) == "experiments" and module.split(".")[-1] in HALVES
    return half or room(module) in MEASURED


def breaches(imports):
    """What breaks the rule, of the modules and what each imports."""
    for module, others in imports.items():
        for other in others:
            if ROOMS.index(room(other)) > ROOMS.index(room(module)):
                yield f"{module} imports {other}, from a room below"
            if is_measured(module) and is_theory(other):
                yield f"{module} is measured and imports {other}"
            if room(module) == "theory" and is_measured(other):
                yield f"{module} is theory and imports {other}"


def importers(library):
    """The rooms that import a library under its own name."""
    return {room(m) for m in NAMES if library in {name.split(".")[0] for name in imported(m)}}


def calls(module):
    """Names of what a module calls: f, and object.f."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_the_rule_holds():
    assert not list(breaches({module: siblings(module) for module in NAMES}))


@pytest.mark.parametrize(
    ("module", "other"),
    [
        ("masks.nearest", "counting.engine"),
        ("theory.pool", "weights.draws"),
        ("experiments.neuron.device", "experiments.neuron.theory"),
        ("supnorm.ascent", "theory.widths"),
    ],
)
def test_the_rule_would_be_seen_broken(module, other):
    assert list(breaches({module: {other}}))


def test_every_room_has_its_place_and_few_files_have_none():
    assert {room(module) for module in NAMES} == set(ROOMS)
    assert len(list(PACKAGE.glob("*.py"))) <= 8


def test_few_rooms_import_the_heavy_libraries():
    kernels = {"system", "masks", "supnorm", "counting", "experiments", "tickets"}
    assert importers("jax") == kernels
    assert importers("matplotlib") == {"results"}
    assert importers("onnx") == importers("safetensors") == {"networks"}


def test_theory_is_numpy_and_scipy():
    for module in [m for m in NAMES if room(m) == "theory" or m == "counting.intervals"]:
        roots = {name.split(".")[0] for name in imported(module)} - {"ltjax"}
        assert {name for name in roots if name not in sys.stdlib_module_names} <= {"numpy", "scipy"}


def test_only_the_command_line_prints():
    assert {module for module in NAMES if "print" in calls(module)} == {"cli.program"}


def test_only_the_disk_modules_open_files():
    opens = {"open", "load", "save", "savez", "loadtxt", "savetxt", "fromfile"}
    opens |= {f"{verb}_{kind}" for verb in ("read", "write") for kind in ("text", "bytes")}

    def touches(module):
        # `records.load`, an entry point, and `os.open`, which points a closed stdout at nothing,
        # are not the disk.
        return any(
            name.split(".")[-1] in opens
            and name not in ("records.load", "datasets.load", "point.load", "os.open")
            for name in calls(module)
        )

    # Bytes of tickets and networks are read by `files`; what `devices` reads is the system's word
    # on processor and memory.
    disk = {"system.files", "counting.records", "tickets.archive", "system.devices"}
    disk |= {"networks.reading"}
    assert {module for module in NAMES if touches(module)} == disk


def test_the_command_line_loads_without_the_heavy_libraries():
    code = (
        "import sys, ltjax.cli.program, ltjax.api; print({'jax', 'matplotlib'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"
