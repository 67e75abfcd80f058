"""The house: web → model ← training, and nothing slow is imported before it is needed."""

import ast
import subprocess
import sys

import pytest

from lesion_lens import ROOT

PACKAGE = ROOT / "lesion_lens"
FLOOR = "skin_cancer_detection"
DOORS = {"app", "train"}
SLOW = {"keras", "tensorflow", "matplotlib", "pandas", "sklearn", "scipy"}
# What each wing may import of ours, and what it knows nothing of.
MAY_IMPORT = {
    "model": {"model"},
    "web": {"web", "model"},
    "training": {"training", "model"},
}
UNKNOWN = {
    "model": {"flask", "werkzeug", "click", "jinja2", "pandas"},
    "web": {"pandas", "keras", "tensorflow", "matplotlib"},
    "training": {"flask", "werkzeug", "click", "jinja2"},
}


def modules(wing):
    return sorted((PACKAGE / wing).glob("*.py"))


def imports_of(path):
    """Every module that a file imports anywhere in it, by its dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            yield node.module
            if node.module.startswith("lesion_lens"):
                yield from (f"{node.module}.{name.name}" for name in node.names)


def wing_of(name):
    parts = name.split(".")
    is_wing = parts[0] == "lesion_lens" and len(parts) > 1 and (PACKAGE / parts[1]).is_dir()
    return parts[1] if is_wing else None


@pytest.mark.parametrize("wing", MAY_IMPORT)
def test_no_arrow_turns_round(wing):
    for path in modules(wing):
        wings = set(map(wing_of, imports_of(path))) - {None}
        assert wings <= MAY_IMPORT[wing], path


@pytest.mark.parametrize("wing", UNKNOWN)
def test_a_wing_does_not_know_what_is_not_its_business(wing):
    for path in modules(wing):
        known = {name.split(".")[0] for name in imports_of(path)}
        assert not known & (UNKNOWN[wing] | DOORS), path


def test_the_floor_imports_nothing_of_ours():
    imported = {name.split(".")[0] for name in imports_of(ROOT / f"{FLOOR}.py")}
    assert not imported & {"lesion_lens", *DOORS}


def test_every_module_stands_in_a_wing():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py"}
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == set(MAY_IMPORT)


@pytest.mark.parametrize("start", ["import app", "import lesion_lens.training.data"])
def test_an_import_brings_in_nothing_slow(start):
    slow = SLOW - {"pandas"} if "training" in start else SLOW
    script = f"import sys; {start}; print(*sorted({slow} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_the_wheels_of_training_stand_still_in_a_web_process():
    script = "import sys, app; print(*[m for m in sys.modules if m.startswith('lesion_lens.tr')])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_no_module_is_too_long_to_read_in_a_sitting():
    ours = [*PACKAGE.rglob("*.py"), *(ROOT / f"{name}.py" for name in (FLOOR, *DOORS))]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in ours}
    assert len(lengths) > 30
    assert not [path for path, lines in lengths.items() if lines > 450]
