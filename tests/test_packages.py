"""The packages are pinned, and nothing else is installed."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from lesion_lens import ROOT
from scripts.slug_size import pins
from tests.support.skipping import skip_or_fail

FILES = ["requirements", "requirements-slim", "requirements-dev"]


@pytest.mark.parametrize("name", FILES)
def test_everything_asked_for_is_pinned_with_hashes(name):
    pinned = {one.name: (str(one.specifier), hashes) for one, hashes in pins(ROOT / f"{name}.txt")}
    assert {one.name for one, _ in pins(ROOT / f"{name}.in")} <= set(pinned)
    for specifier, hashes in pinned.values():
        assert specifier.startswith("==")
        assert hashes
        assert all(one.startswith("sha256:") for one in hashes)


@pytest.mark.parametrize("name", FILES)
def test_the_only_option_of_a_file_is_to_take_wheels(name):
    """No file names an index, and nothing is built with packages that have no hash."""
    lines = (ROOT / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    options = [line for line in lines if line.startswith("-")]
    assert options == name.endswith("dev") * ["-r requirements.txt"] + ["--only-binary :all:"]


# --- Installing ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A package with only a name and a version."""
    path = tmp_path_factory.mktemp("wheels") / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            archive.writestr(f"tiny-1.0.dist-info/{name}", text)
    return path


def make(folder, target, *options, **variables):
    """Run the Makefile in another folder, with the programs of this Python."""
    if not shutil.which("make"):
        skip_or_fail("needs make")
    programs = Path(sys.executable).parent
    command = ["make", "--file", ROOT / "Makefile", "--directory", folder, f"BIN={programs}"]
    return subprocess.run(
        [*command, *options, target],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def install(folder, wheel, requirement):
    """Let make check the packages of a requirements file, offline and without installing them."""
    (folder / ".venv").mkdir()
    (folder / "requirements.txt").write_text(requirement, encoding="utf-8")
    offline = {"PIP_DRY_RUN": "1", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheel.parent)}
    return make(folder, ".venv/run", **offline)


def test_make_installs_a_package_whose_hash_is_the_pinned_one(tmp_path, wheel):
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    done = install(tmp_path, wheel, f"tiny==1.0 --hash=sha256:{digest}\n")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("requirement", "refusal"),
    [
        (f"tiny==1.0 --hash=sha256:{64 * '0'}\n", "DO NOT MATCH THE HASHES"),
        ("tiny==1.0\n", "Hashes are required"),
    ],
)
def test_make_refuses_a_package_with_another_hash_or_none(tmp_path, wheel, requirement, refusal):
    done = install(tmp_path, wheel, requirement)
    assert done.returncode != 0
    assert refusal in done.stderr
    assert not (tmp_path / ".venv" / "run").exists()


# --- The bill of materials -------------------------------------------------------------------


@pytest.fixture
def listed(tmp_path):
    """A folder with the files that the bills of materials are made from."""
    for name in ("requirements.txt", "requirements-slim.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_the_bill_of_materials_names_what_is_pinned_and_its_hashes(listed):
    done = make(listed, "sbom-slim.cdx.json", "--old-file=.venv/test")
    assert done.returncode == 0, done.stderr
    assert "skipped" not in done.stderr.lower()  # the check against CycloneDX's own schema
    bill = json.loads((listed / "sbom-slim.cdx.json").read_text(encoding="utf-8"))
    assert {
        (one["name"], f"=={one['version']}", hash_of["content"])
        for one in bill["components"]
        for reference in one["externalReferences"]
        for hash_of in reference["hashes"]
    } == {
        (one.name, str(one.specifier), each.removeprefix("sha256:"))
        for one, hashes in pins(ROOT / "requirements-slim.txt")
        for each in hashes
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    main = bill["metadata"]["component"]
    assert (main["name"], main["version"]) == (project["name"], project["version"])


def test_each_engine_has_a_bill_of_materials(listed):
    done = make(listed, "sbom", "--old-file=.venv/test", "--dry-run")
    assert "sbom.cdx.json requirements.txt\n" in done.stdout
    assert "sbom-slim.cdx.json requirements-slim.txt\n" in done.stdout
