"""The package's layers: web → model ← training; slow modules are imported only when needed."""

import ast
import re
import subprocess
import sys

import pytest

from lesion_lens import ROOT

PACKAGE = ROOT / "lesion_lens"
FLOOR = "skin_cancer_detection"
OUTSIDE = {"app", "train", "scripts", "benchmarks", "attacks", "tests"}
SLOW = {"keras", "tensorflow", "matplotlib", "pandas", "sklearn", "scipy"}
# For each layer: which of our packages it may import, and which libraries it must not.
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
    return sorted((PACKAGE / wing).rglob("*.py"))


def imports_of(path):
    """Return the dotted names of all modules that a file imports anywhere."""
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
def test_each_wing_imports_only_what_it_may(wing):
    for path in modules(wing):
        wings = set(map(wing_of, imports_of(path))) - {None}
        assert wings <= MAY_IMPORT[wing], path


@pytest.mark.parametrize("wing", UNKNOWN)
def test_no_wing_imports_a_library_that_it_must_not(wing):
    for path in modules(wing):
        known = {name.split(".")[0] for name in imports_of(path)}
        assert not known & (UNKNOWN[wing] | OUTSIDE), path


def test_skin_cancer_detection_imports_nothing_of_ours():
    imported = {name.split(".")[0] for name in imports_of(ROOT / f"{FLOOR}.py")}
    assert not imported & {"lesion_lens", *OUTSIDE}


def test_every_module_stands_in_a_wing():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py"}
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == set(MAY_IMPORT)


def imported_by(start):
    """Return the names of all modules that a new Python has imported after a statement."""
    script = f"import sys; {start}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_no_module_of_the_app_imports_anything_slow_or_of_training():
    names = [
        "app",
        *(f"lesion_lens.{wing}.{path.stem}" for wing in UNKNOWN for path in modules(wing)),
    ]
    start = "import " + ", ".join(name for name in names if ".training" not in name)
    imported = imported_by(start.replace(".__init__", ""))
    assert "lesion_lens.web.pages" in imported
    assert not imported & SLOW
    assert not [name for name in imported if name.startswith("lesion_lens.training")]


def test_gunicorn_s_master_needs_no_flask():
    imported = imported_by("import runpy; runpy.run_path('gunicorn.conf.py')")
    assert "lesion_lens.web.limits" in imported
    assert not imported & {"flask", "werkzeug"}


def test_no_module_is_too_long_to_read_in_a_sitting():
    ours = [*PACKAGE.rglob("*.py"), *(ROOT / f"{name}.py" for name in (FLOOR, "app", "train"))]
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in ours}
    assert len(lengths) > 30
    assert not [path for path, lines in lengths.items() if lines > 450]


def test_every_exception_from_a_rule_of_ruff_tells_its_reason():
    folders = ("lesion_lens", "benchmarks", "scripts", "tests")
    paths = [*ROOT.glob("*.py"), *(path for one in folders for path in (ROOT / one).rglob("*.py"))]
    code = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    exceptions = re.findall(r"#\s+noqa.*", code)
    assert exceptions
    assert not [one for one in exceptions if not re.search(r": [A-Z]+\d+ \(.+\)$", one)]
