"""What GitHub and pre-commit read: valid by the published schemas, and true of this repository."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest

from lesion_lens import ROOT
from tests.support.skipping import require, skip_or_fail

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "vendor.github-issue-forms": FORMS,
    "vendor.github-issue-config": [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"],
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
    matrix = [job.get("strategy", {}).get("matrix", {}) for job in jobs(path).values()]
    named = [target for one in matrix for target in one.get("target", [])]
    files = [file for one in matrix for file in one.get("file", [])]
    for line in commands(path):
        words = line.split()
        if words[0] == "make" and not words[1].startswith("$"):
            named.extend(words[1:])
        if words[:2] == ["python", "-m"] and words[2].startswith("scripts."):
            files.append(words[2].replace(".", "/") + ".py")
        files += [word for word in words if re.fullmatch(r"[\w-]+\.(txt|h5|tflite|md)", word)]
    assert set(named) <= set(targets)
    assert not [file for file in files if file not in made and not (ROOT / file).exists()]


def test_the_workflows_install_the_programs_of_continuous_integration():
    tests, weekly = (
        packages("\n".join(commands(ROOT / ".github" / "workflows" / f"{name}.yml")))
        for name in ("tests", "weekly")
    )
    assert tests == packages(CI_RUN)
    assert set(tests) < set(weekly)


def test_every_target_of_continuous_integration_is_run_by_a_workflow_or_part_of_one():
    run = set(re.findall(r"^make (\S+)", CI_RUN, re.M))
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    assert {target for target in run if not re.search(rf"\b{target}\b", text)} == {
        "test-litert",  # the app's tests with the other engine
        "slug-size",  # prints a number
    }


def test_the_versions_of_python_are_those_of_the_project():
    workflow = loaded(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]
    versions = workflow["linux"]["strategy"]["matrix"]["python"]
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11,<3.14"' in project
    assert versions == ["3.11", "3.12", "3.13"]


def test_the_unit_tests_of_other_systems_need_no_browser_and_no_gunicorn():
    workflow = loaded(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]
    names = workflow["other-systems"]["env"]["UNIT_TESTS"].split()
    assert names == sorted(set(names))
    for name in names:
        code = (ROOT / "tests" / f"test_{name}.py").read_text(encoding="utf-8")
        used = (
            r"support\.(browser|phones|portable)|\bgunicorn\(|def test_\w+\(.*\b(page|phone|desk)\b"
        )
        assert not re.search(used, code), name


def test_a_security_weakness_is_sent_to_the_right_place():
    assert "(../security/policy)" in (FORMS[0]).read_text(encoding="utf-8")
    assert loaded(SCHEMAS["vendor.github-issue-config"][0])["blank_issues_enabled"] is False


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
        "ruff check --force-exclude app.py",
        "ruff format --check --force-exclude app.py",
        "mypy",
    ]
