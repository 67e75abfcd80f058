"""The commands that platforms and users run, and that no other test runs, exist and work."""

import importlib.util
import re
import shutil
import subprocess
import sys

import pytest
import requests

from lesion_lens import ROOT
from tests.support.models import MODEL
from tests.support.servers import gunicorn
from tests.support.skipping import skip_or_fail

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.search(r"^\.PHONY: (.*)", MAKEFILE, re.M)[1].split()


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")
def test_azure_s_own_command_serves_the_app(tmp_path):
    command = "gunicorn --bind=127.0.0.1:$PORT --timeout 600 app:app"  # with another port
    with gunicorn(tmp_path / "log", command=command, MODEL_PATH=str(MODEL)) as server:
        server.wait_until_ready()
        assert requests.get(server.address, timeout=20).status_code == 200
        assert len(server.workers) == 1  # so gunicorn.conf.py was read as well


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_make_target_runs_is_there(target):
    if shutil.which("make") is None:
        skip_or_fail("needs make: apt-get install make")
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout
    for module in re.findall(r"python -m ([\w.]+)", done.stdout):
        assert importlib.util.find_spec(module), module
    for file in re.findall(r"(?:python|sh) ([\w/]+\.(?:py|sh))", done.stdout):
        assert (ROOT / file).is_file(), file


def test_without_pyproject_toml_only_the_version_is_missing(tmp_path):
    shutil.copytree(ROOT / "lesion_lens", tmp_path / "lesion_lens")
    script = "import lesion_lens; print(lesion_lens.version())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "unknown\n"
