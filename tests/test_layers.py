"""Which room may import which: read from the source, and from a fresh process."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
FOLDERS = ("radkit", "beam_jobs", "trainers", "serving")
HEAVY = {"tensorflow", "keras"}
MAX_LINES = 400

GROUND = {
    "radkit",
    "radkit.config",
    "radkit.config_check",
    "radkit.config_sections",
    "radkit.config_training",
    "radkit.folder",
    "radkit.errors",
    "radkit.outputs",
    "radkit.program",
    "radkit.quiet",
}
# A room: the rooms below it. `radkit` itself holds only the version.
BELOW = {
    "ground": set(),
    "radkit.dicom": {"ground"},
    "radkit.deid": {"ground", "radkit.dicom"},
    "radkit.data": {"ground", "radkit.dicom", "radkit.metrics", "radkit.boxes"},
    "radkit.boxes": {"ground"},
    "radkit.models": {"ground", "radkit.boxes"},
    "radkit.inference": {"ground", "radkit.models", "radkit.boxes"},
    "radkit.losses": {"ground", "radkit.boxes"},
    "radkit.metrics": {"ground"},
    "radkit.evaluation": {"ground", "radkit.metrics"},
    "radkit.tasks": {
        "ground", "radkit.dicom", "radkit.data", "radkit.models", "radkit.inference", "radkit.losses", "radkit.metrics",
        "radkit.reports", "radkit.boxes", "radkit.evaluation",
    },
    "radkit.reports": {"ground", "radkit.metrics"},
    "radkit.planning": {"ground", "radkit.models", "radkit.inference"},
    "radkit.runs": {"ground", "radkit.data", "radkit.models", "radkit.tasks", "radkit.evaluation"},
    "radkit.cli": {"ground"},
    "radkit.__main__": {"ground", "radkit.cli"},
    "beam_jobs": {"ground", "radkit.dicom", "radkit.deid", "radkit.data", "radkit.reports", "radkit.metrics"},
    "trainers": {
        "ground", "radkit.dicom", "radkit.data", "radkit.models", "radkit.inference", "radkit.losses", "radkit.metrics",
        "radkit.tasks", "radkit.planning", "radkit.reports", "radkit.runs", "radkit.boxes", "radkit.evaluation",
    },
    "serving": {
        "ground", "radkit.dicom", "radkit.data", "radkit.models", "radkit.inference", "radkit.losses", "radkit.metrics",
        "radkit.tasks", "radkit.planning", "radkit.reports", "radkit.runs", "radkit.boxes", "radkit.evaluation",
    },
    "radkit.demo": {
        "ground", "radkit.dicom", "radkit.deid", "radkit.data", "radkit.metrics", "radkit.tasks", "radkit.reports",
        "radkit.runs", "radkit.cli",
    },
}  # fmt: skip

# What else the ground floor may load: the standard library, and absl in the programs' part of it.
WITH_ABSL = {"radkit.program", "radkit.cli"}
TF_SIDE_DATA = {
    "augment",
    "augmentation",
    "datasets",
    "pipeline",
    "prepare",
}  # of `radkit.data`; the others stand on a Beam worker, too


def name_of(path: Path) -> str:
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(p): p for folder in FOLDERS for p in sorted((HOUSE / folder).rglob("*.py"))}


@cache
def imports(module: str, top_only: bool = False) -> frozenset[str]:
    """Returns the modules that a module's source imports; those at its top only, when asked."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    nodes = list(at_load(tree)) if top_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else str(node.module))
    return frozenset(found)


def at_load(node: ast.AST):
    """Yields what runs when the module is loaded: all but functions' bodies and what is for type checkers."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from at_load(child)


def room(module: str) -> str:
    if module in GROUND:
        return "ground"
    found = [name for name in BELOW if module == name or module.startswith(f"{name}.")]
    assert found, f"{module} stands in no room of ARCHITECTURE.md; add it here and there"
    return max(found, key=len)


def own(module: str) -> set[str]:
    return {name for name in imports(module) if name.split(".")[0] in FOLDERS}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_only(module):
    allowed = BELOW[room(module)] | {room(module)}
    wrong = {name for name in own(module) if room(name) not in allowed}
    assert not wrong, f"{module} may not import {sorted(wrong)}"


@pytest.mark.parametrize("module", sorted(GROUND))
def test_the_ground_floor_needs_nothing_installed(module):
    others = {name.split(".")[0] for name in imports(module)} - set(sys.stdlib_module_names) - {"radkit"}
    assert others <= ({"absl"} if module in WITH_ABSL else set())


def test_models_losses_and_metrics_know_no_dicom_and_no_records():
    for name in MODULES:
        if name.startswith(("radkit.models", "radkit.losses", "radkit.metrics")):
            packages = {i.split(".")[0] for i in imports(name)}
            assert not packages & {"pydicom", "SimpleITK", "apache_beam", "tensorflow_datasets"}, name
            if name.startswith("radkit.metrics"):
                assert not packages & HEAVY, name


def test_there_are_no_cycles():
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for name in imports(module, top_only=True) & MODULES.keys() - {module}:
                visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_no_file_is_longer_than_one_reads(module):
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def light(module: str) -> bool:
    return (
        module.startswith(("radkit.dicom", "radkit.deid", "beam_jobs"))
        or (module.startswith("radkit.data.") and module.split(".")[2] not in TF_SIDE_DATA)
        or module in {"serving", "serving.client", "serving.predict", "radkit.data"}
    )


@pytest.mark.parametrize("module", [m for m in MODULES if light(m)])
def test_workers_and_clients_name_no_tensorflow(module):
    assert not {name.split(".")[0] for name in imports(module, top_only=True)} & HEAVY


def loaded_by(code: str) -> set[str]:
    """Returns the top-level packages that a fresh process holds after some code."""
    said = f"{code}\nimport sys; print('LOADED', *{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", said], cwd=HOUSE, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("LOADED")[1].split())


def test_workers_and_clients_load_no_tensorflow():
    names = [m for m in MODULES if light(m)]
    assert not loaded_by("import " + ", ".join(names)) & HEAVY


def test_metrics_load_no_tensorflow():
    assert not loaded_by("import radkit.metrics") & HEAVY


HELP = """
import runpy, sys
sys.argv = ["radkit", "--help"]
try:
    runpy.run_module("radkit", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
"""


def test_the_list_of_verbs_costs_nothing():
    loaded = loaded_by(HELP)
    assert not loaded & {*HEAVY, "apache_beam", "numpy", "pydicom", "grpc"}
    assert "radkit" in loaded


def registered(module: str) -> list[str]:
    """Returns the names under which a module's classes and functions are kept in files of Keras's."""
    found = []
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        for mark in getattr(node, "decorator_list", []):
            if isinstance(mark, ast.Call) and ast.unparse(mark.func).endswith("register_keras_serializable"):
                told = [one.value for one in [*mark.args, *(word.value for word in mark.keywords)]]
                found.append(">".join([str(told[0]), str(told[1]) if len(told) > 1 else node.name]))
    return found


def test_no_two_layers_are_kept_under_one_name():
    """Keras reads the one that was imported last."""
    names = [name for module in MODULES for name in registered(module)]
    assert len(names) > 20
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
