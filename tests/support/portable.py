"""Pinned environments in which other programs read the model files."""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from lesion_lens import ROOT
from tests.support.skipping import skip_or_fail

# TensorFlow 2.15 has no wheel for Python 3.12. The newest first.
PYTHONS = ("3.11", "3.10", "3.9")
JAX = ("jax[cpu]==0.4.30", "numpy==1.26.4", "scipy==1.13.1", "h5py==3.11.0", "packaging==24.1")


def keras_on_jax(version):
    """Return the packages for a Keras 3 without TensorFlow."""
    return (f"keras=={version}", *JAX)


@functools.cache
def old_python():
    """Find a working Python 3.9 to 3.11; if there is none, skip the test, or fail it in CI."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    asked = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    for version in PYTHONS:
        named = [shutil.which(f"python{version}"), *pyenv.glob(f"{version}.*/bin/python")]
        for python in (*named, shutil.which("python3")):
            if python is None:
                continue
            said = subprocess.run(
                [python, "-c", asked], capture_output=True, text=True, check=False
            )
            if said.stdout.strip() == version:  # a pyenv shim may exist but not run
                return str(python)
    skip_or_fail(f"Python {PYTHONS[-1]} to {PYTHONS[0]} is not installed")
    return None


def environment(folder, packages, python=None):
    """Install packages into a new environment and return its Python.

    The environment uses `python`, or else `old_python`. If the packages cannot be installed, the
    test is skipped, or fails in CI.
    """
    uv = ROOT / ".venv" / "bin" / "uv"
    for command in (
        [uv, "venv", "--quiet", "--python", python or old_python(), folder],
        [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", *packages],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            skip_or_fail(f"uv cannot install {' '.join(packages)}: {done.stderr[-2000:]}")
    return folder / "bin" / "python"


def answers_of(python, script, *arguments, **settings):
    """Run a script outside the repository; return the numbers in its last line, which is JSON."""
    done = subprocess.run(
        [python, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(python).parents[2],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | settings,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return np.array(json.loads(done.stdout.splitlines()[-1]))
