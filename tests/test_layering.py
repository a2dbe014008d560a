"""Imports point down; prediction and measurement meet at the top alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ltjax

PACKAGE = Path(ltjax.__file__).parent

# Every module after all that it may import.
MAY_IMPORT = {
    "errors": "",
    "interrupts": "",
    "streams": "",
    "values": "",
    "draws": "",
    "decimals": "",
    "files": "errors streams",
    "datasets": "errors files",
    "configs.criterion": "errors",
    "configs.neuron": "configs.criterion decimals errors",
    "configs.network": "configs.criterion decimals errors",
    "configs.features": "configs.criterion decimals errors",
    "configs.training": "configs.criterion datasets errors",
    "configs": (
        "configs.criterion configs.features configs.network configs.neuron configs.training"
    ),
    "problem": "configs errors",
    "stats": "",
    "looks": "errors",
    "stops": "",
    "networks": "draws stops",
    "theory.product": "",
    "theory.partition": "theory.product",
    "theory.tails": "errors theory.partition theory.product",
    "theory.pool": "theory.partition theory.product theory.tails",
    "theory.layers": "errors theory.partition theory.pool theory.product",
    "theory.widths": "errors problem theory.layers theory.partition theory.pool theory.product",
    "theory.features": "errors theory.product",
    "theory.harmonics": "errors theory.product",
    "theory.subnetworks": "configs errors problem theory.features theory.product",
    "theory.prediction": (
        "configs problem theory.layers theory.partition theory.pool theory.product "
        "theory.subnetworks theory.widths"
    ),
    "theory": (
        "theory.features theory.harmonics theory.layers theory.partition theory.pool "
        "theory.prediction theory.product theory.subnetworks theory.tails theory.widths"
    ),
    "tally": "errors problem",
    "plans": "errors problem stats tally",
    "records": "errors files problem tally",
    "estimates": "errors stats tally",
    "answers": "configs decimals errors networks problem theory",
    "report": "answers decimals estimates stats",
    "plots": "errors estimates looks",
    "charts": "errors estimates looks plots stats",
    "search": "",
    "search.nearest": "draws errors",
    "search.matching": "search.nearest",
    "search.neurons": "",
    "training": "",
    "training.masks": "",
    "training.mlp": "configs datasets draws",
    "training.imp": "configs datasets training.masks training.mlp",
    "training.popup": "configs datasets training.masks training.mlp",
    "training.sparse_target": "draws networks training.masks",
    "machine": "errors",
    "supnorm": "machine",
    "supnorm.exact": "networks",
    "supnorm.certificate": "networks stops supnorm.exact",
    "supnorm.ascent": "machine networks stops",
    "supnorm.lift": "networks stops supnorm.certificate",
    "supnorm.relaxation": "machine networks stops supnorm.lift",
    "supnorm.tree": (
        "networks stops supnorm.ascent supnorm.certificate supnorm.lift supnorm.relaxation"
    ),
    "gaps": "decimals errors files machine networks stops supnorm.tree",
    "experiments": "",
    "experiments.crowd": "",
    "experiments.neuron_host": (
        "configs errors networks problem search.matching search.nearest supnorm.exact"
    ),
    "experiments.neuron": (
        "configs draws experiments.crowd experiments.neuron_host search.matching search.nearest "
        "supnorm.exact"
    ),
    "experiments.network_host": (
        "configs errors networks problem search.nearest supnorm.ascent supnorm.certificate "
        "supnorm.exact supnorm.relaxation supnorm.tree"
    ),
    "experiments.network": (
        "configs draws experiments.crowd experiments.network_host networks search.nearest "
        "supnorm.ascent supnorm.certificate"
    ),
    "experiments.features_host": "configs draws errors problem supnorm.exact",
    "experiments.features": "configs experiments.features_host search.neurons",
    "experiments.trained": "configs errors networks problem",
    "experiments.imp": "configs experiments.trained training.imp",
    "experiments.popup": "configs experiments.trained training.mlp training.popup",
    "processes": "errors machine tally",
    "engine": "draws errors interrupts machine problem processes tally",
    "ticket_files": "configs decimals errors files networks problem",
    "tickets": (
        "configs decimals draws errors files gaps machine networks problem search.nearest stops "
        "supnorm.ascent supnorm.certificate theory ticket_files"
    ),
    "ticket_report": (
        "decimals gaps networks stops supnorm.certificate theory ticket_files tickets"
    ),
    "targets": (
        "configs datasets decimals errors experiments.features_host files networks problem theory"
    ),
    "curves": (
        "engine errors estimates files machine plans plots problem processes records report tally "
        "theory"
    ),
    "claims.findings": "curves decimals problem stats tally",
    "claims.conjectures": "claims.findings problem targets",
    "claims.algebra": "claims.findings networks",
    "claims.one_neuron": "claims.findings decimals networks stats supnorm.exact targets theory",
    "claims.existence": (
        "claims.algebra claims.findings decimals networks stats supnorm.exact theory"
    ),
    "claims.whole_networks": (
        "claims.findings decimals networks supnorm.exact targets theory tickets"
    ),
    "claims.promises": (
        "claims.findings claims.one_neuron claims.whole_networks networks problem targets theory"
    ),
    "claims.neurons": "claims.findings claims.one_neuron decimals targets theory",
    "claims": (
        "claims.algebra claims.conjectures claims.existence claims.findings claims.neurons "
        "claims.one_neuron claims.promises claims.whole_networks"
    ),
    "audits": "claims claims.findings curves errors files machine problem",
    "audit_report": "audits charts claims claims.findings decimals plots",
    "preflight": "configs curves engine errors files machine plans problem records tally targets",
    "flags": "",
    "audit_commands": "audit_report audits errors files flags machine plots",
    "run_commands": "curves errors files flags machine plans plots preflight problem processes",
    "training_commands": "flags run_commands targets",
    "curve_commands": "flags run_commands targets training_commands",
    "record_commands": "curves errors files flags problem records report streams",
    "ticket_commands": (
        "decimals errors files flags gaps interrupts machine stops ticket_report tickets"
    ),
    "commands": (
        "answers audit_commands curve_commands flags machine preflight problem record_commands "
        "targets ticket_commands"
    ),
    "cli": "commands errors interrupts streams values",
    "__main__": "cli",
}
MEASURED = {"draws", "networks", "search", "supnorm", "experiments", "machine", "engine"}


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
                yield full if full.removeprefix("ltjax.") in MAY_IMPORT else node.module


def siblings(module):
    return {name[6:] for name in imported(module) if name.startswith("ltjax.")}


def importers(library):
    """The modules that import a library under its own name."""
    return {m for m in MAY_IMPORT if library in {name.split(".")[0] for name in imported(m)}}


def calls(module):
    """Names of what a module calls: f, and object.f."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def below(module):
    """All that comes along with a module."""
    direct = set(MAY_IMPORT[module].split())
    return direct.union(*(below(name) for name in direct))


@pytest.mark.parametrize("module", MAY_IMPORT)
def test_a_module_imports_what_its_row_allows(module):
    assert siblings(module) <= set(MAY_IMPORT[module].split())


def test_no_module_is_left_out_of_the_table():
    paths = [path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")]
    names = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    assert names - {"__init__"} == set(MAY_IMPORT)


def test_imports_point_down():
    above = set(MAY_IMPORT)
    for module, row in MAY_IMPORT.items():
        assert not above & set(row.split()), module
        above.remove(module)


def test_prediction_and_measurement_never_see_each_other():
    for module in MAY_IMPORT:
        floors = {name.split(".")[0] for name in below(module)}
        if module.split(".")[0] == "theory":
            assert not floors & MEASURED, module
        if module.split(".")[0] in MEASURED:
            assert "theory" not in floors, module


def test_few_modules_import_the_heavy_libraries():
    kernels = {"search.nearest", "search.matching", "search.neurons", "experiments.crowd"}
    kernels |= {f"supnorm.{name}" for name in ("exact", "certificate", "ascent", "relaxation")}
    trained = {"trained", "imp", "popup"}
    kernels |= {f"experiments.{name}" for name in {"neuron", "network", "features"} | trained}
    kernels |= {f"training.{name}" for name in ("masks", "mlp", "imp", "popup", "sparse_target")}
    assert importers("jax") == kernels | {"engine", "machine", "processes", "tickets"}
    assert importers("matplotlib") == {"plots", "charts"}


def test_theory_is_numpy_and_scipy():
    for module in [m for m in MAY_IMPORT if m.split(".")[0] in ("theory", "stats")]:
        roots = {name.split(".")[0] for name in imported(module)} - {"ltjax"}
        assert {name for name in roots if name not in sys.stdlib_module_names} <= {"numpy", "scipy"}


def test_only_the_command_line_prints():
    assert {module for module in MAY_IMPORT if "print" in calls(module)} == {"cli"}


def test_only_the_disk_modules_open_files():
    opens = {"open", "load", "save", "savez", "loadtxt", "savetxt", "fromfile"}
    opens |= {f"{verb}_{kind}" for verb in ("read", "write") for kind in ("text", "bytes")}

    def touches(module):
        # `records.load` and `os.open`, which points a closed stdout at nothing, are not the disk.
        return any(
            name.split(".")[-1] in opens
            and name not in ("records.load", "datasets.load", "os.open")
            for name in calls(module)
        )

    # A ticket's bytes are read by `files`; what `machine` reads is the system's word on processor
    # and memory.
    disk = {"files", "records", "ticket_files", "machine"}
    assert {module for module in MAY_IMPORT if touches(module)} == disk


def test_the_command_line_loads_without_the_heavy_libraries():
    code = "import sys, ltjax.cli, ltjax.curves; print({'jax', 'matplotlib'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"
