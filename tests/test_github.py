"""What GitHub, Git and pre-commit read is valid and true of this repository.

The published schemas check GitHub's files and CITATION.cff. No schema checks the hooks of
pre-commit: the tests run them.
"""

import ast
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from lesion_lens import ROOT
from tests.support.skipping import require, skip_or_fail

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
FORMS = sorted(path for path in TEMPLATES.glob("*.yml") if path.name != "config.yml")
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "vendor.github-issue-forms": FORMS,
    "vendor.github-issue-config": [TEMPLATES / "config.yml"],
    "vendor.dependabot": [ROOT / ".github" / "dependabot.yml"],
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
}
CI_RUN = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def loaded(path):
    return require("yaml").safe_load(path.read_text(encoding="utf-8"))


def jobs(path):
    """The jobs of a workflow that have steps."""
    return {name: job for name, job in loaded(path)["jobs"].items() if "steps" in job}


def commands(path):
    """Every command line of a workflow."""
    text = "\n".join(
        step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step
    )
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def matrix_of(job):
    return job.get("strategy", {}).get("matrix", {})


def targets_of(path):
    """The make targets that a workflow runs."""
    lines = [line.split() for line in commands(path)]
    named = {word for first, *words in lines if first == "make" for word in words}
    of_matrix = [matrix_of(job).get("target", []) for job in jobs(path).values()]
    return {word for word in named if re.fullmatch(r"[\w-]+", word)}.union(*of_matrix)


def packages(script):
    """The packages that a script installs by apt-get, sorted."""
    line = re.search(r"apt-get install (.*)", script.replace("\\\n", " "))[1]
    return sorted(word for word in line.split() if not word.startswith("-"))


def check(schema, *files):
    require("check_jsonschema")
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_are_valid_by_the_published_schema(schema):
    assert SCHEMAS[schema]
    done = check(schema, *SCHEMAS[schema])
    assert done.returncode == 0, done.stdout


def test_a_spoiled_workflow_is_noticed(tmp_path):
    (tmp_path / "w.yml").write_text("on: push\njobs: {lint: {runs-on: ubuntu-latest, step: []}}\n")
    assert check("vendor.github-workflows", tmp_path / "w.yml").returncode == 1


# --- Workflows -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_ends_in_time(path):
    workflow = loaded(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    for name, job in jobs(path).items():
        assert job["timeout-minutes"] <= 60, name
        assert "permissions" not in job or path.stem == "release"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_workflow_names_is_there(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)", makefile, re.M)[1].split()
    made = ["SHA256SUMS", "sbom.cdx.json", "sbom-slim.cdx.json"]
    files = [file for job in jobs(path).values() for file in matrix_of(job).get("file", [])]
    for line in commands(path):
        words = line.split()
        if words[:2] == ["python", "-m"] and words[2].startswith("scripts."):
            files.append(words[2].replace(".", "/") + ".py")
        files += [word for word in words if re.fullmatch(r"[\w-]+\.(txt|h5|tflite|md)", word)]
    assert targets_of(path) <= set(targets)
    assert not [file for file in files if file not in made and not (ROOT / file).exists()]


def test_the_workflows_install_the_programs_of_continuous_integration():
    tests, weekly = (
        packages("\n".join(commands(ROOT / ".github" / "workflows" / f"{name}.yml")))
        for name in ("tests", "weekly")
    )
    assert weekly == packages(CI_RUN)
    assert set(weekly) - set(tests) == {"default-jre-headless", "npm"}  # for test-portable
    assert set(tests) < set(weekly)


def test_every_target_of_continuous_integration_is_run_by_a_workflow():
    run = set(re.findall(r"^make (\S+)", CI_RUN, re.M))
    # Only prints a number.
    assert run - set().union(*map(targets_of, WORKFLOWS)) == {"slug-size"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_job_takes_from_its_matrix_is_there(path):
    for name, job in jobs(path).items():
        text = require("yaml").safe_dump(job, width=1000)
        assert set(re.findall(r"\bmatrix\.(\w+)", text)) == set(matrix_of(job)), name


def test_a_release_is_made_only_after_the_tests_and_with_all_its_files():
    path = ROOT / ".github" / "workflows" / "release.yml"
    workflow = loaded(path)["jobs"]
    assert workflow["release"]["needs"] == "tests"
    assert workflow["tests"]["needs"] == "version"
    lines = [shlex.split(line) for line in commands(path)]
    summed = next(line for line in lines if line[0] == "sha256sum")
    summed = summed[1 : summed.index(">")]
    released = next(line for line in lines if line[:3] == ["gh", "release", "create"])
    assert sorted(released[-len(summed) - 2 :]) == sorted(
        [*summed, "SHA256SUMS", "LICENSE-MODEL.md"]
    )
    assert released[-len(summed) - 3] == "$RUNNER_TEMP/notes.md"


def test_a_release_and_the_tests_that_it_calls_are_not_in_one_concurrency_group():
    """GitHub would cancel the release: each would wait for the other."""
    groups = {}
    for name in ("tests", "release"):
        group = loaded(ROOT / ".github" / "workflows" / f"{name}.yml")["concurrency"]["group"]
        groups[name] = group.replace("${{ github.workflow }}", "Release").lower()
    assert groups["tests"] != groups["release"]


def test_the_versions_of_python_are_those_of_the_project():
    workflow = loaded(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]
    versions = workflow["linux"]["strategy"]["matrix"]["python"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11,<3.14"' in project
    assert versions == ["3.11", "3.12", "3.13"]


ELSEWHERE_MISSING = r"os\.mkfifo|os\.openpty|/\\xff"
BROWSER_FIXTURES = {"browser", "desk", "page", "phone"}


def unfit_for_other_systems(code):
    """What in a test module needs a browser, gunicorn or Linux and is not skipped without it."""
    found = re.findall(r"support\.(?:browser|phones|portable)|\bgunicorn\(", code)
    module = ast.parse(code)
    skipping = [
        ast.unparse(node.targets[0])
        for node in module.body
        if isinstance(node, ast.Assign) and "skipif" in ast.unparse(node.value)
    ]
    for function in ast.walk(module):
        if not isinstance(function, ast.FunctionDef):
            continue
        marks = [ast.unparse(mark) for mark in function.decorator_list]
        names = {argument.arg for argument in function.args.args}
        for mark in marks:
            if "usefixtures" in mark:
                names |= set(re.findall(r"['\"](\w+)['\"]", mark))
        found += [f"{function.name}: {name}" for name in sorted(names & BROWSER_FIXTURES)]
        if not any("skipif" in mark or mark in skipping for mark in marks):
            needed = re.findall(ELSEWHERE_MISSING, ast.get_source_segment(code, function))
            found += [f"{function.name}: {name}" for name in needed]
    return found


def test_the_tests_of_other_systems_need_no_browser_no_gunicorn_and_no_linux():
    workflow = loaded(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]
    names = workflow["other-systems"]["env"]["UNIT_TESTS"].split()
    assert names == sorted(set(names))
    for name in names:
        code = (ROOT / "tests" / f"test_{name}.py").read_text(encoding="utf-8")
        assert unfit_for_other_systems(code) == [], name


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def test_a(\n    client,\n    page,\n):\n    pass", ["test_a: page"]),
        ("@pytest.mark.usefixtures('desk')\ndef test_a(): pass", ["test_a: desk"]),
        ("def test_a():\n    os.mkfifo('p')", ["test_a: os.mkfifo"]),
        ("def test_a():\n    os.rename('b', b'/\\xff.png')", ["test_a: /\\xff"]),
        ("@pytest.mark.skipif(WINDOWS, reason='')\ndef test_a():\n    os.openpty()", []),
        ("on = pytest.mark.skipif(WINDOWS)\n@on\ndef test_a():\n    os.openpty()", []),
        ("def test_a(run):\n    run(b'\\xff')", []),
    ],
)
def test_a_test_that_other_systems_cannot_run_is_noticed(code, found):
    assert unfit_for_other_systems(code) == found


def test_a_security_weakness_is_sent_to_the_right_place():
    assert "(../security/policy)" in (TEMPLATES / "bug.yml").read_text(encoding="utf-8")
    assert loaded(TEMPLATES / "config.yml")["blank_issues_enabled"] is False


# --- Git -------------------------------------------------------------------------------------


def test_git_converts_no_line_ends_and_leaves_binary_files_as_they_are():
    if not shutil.which("git") or not (ROOT / ".git").exists():
        skip_or_fail("needs git and a clone of the repository")
    command = ["git", "ls-files", "--eol"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        content, _, attributes = line.split("\t")[0].split(maxsplit=2)
        is_binary = content == "i/-text"
        assert attributes.split() == ["attr/-text"] if is_binary else "eol=lf" in attributes, line


# --- pre-commit ------------------------------------------------------------------------------


def test_the_hooks_run_the_programs_of_the_virtual_environment(tmp_path):
    """Each hook is run with programs that only say that they were run."""
    if not shutil.which("sh"):
        skip_or_fail("needs sh")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for program in ("ruff", "mypy"):
        path = tmp_path / ".venv" / "bin" / program
        path.write_text(f'#!/bin/sh\necho {program} "$@"\n')
        path.chmod(0o755)
    hooks = loaded(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    said = []
    for hook in hooks:
        files = ["app.py"] if hook.get("pass_filenames", True) else []
        command = [*shlex.split(hook["entry"]), *files]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        said.append(done.stdout.strip())
    assert said == [
        "ruff check --force-exclude -- app.py",
        "ruff format --check --force-exclude -- app.py",
        "mypy",
    ]
