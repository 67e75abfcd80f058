"""Skipping tests when a tool or the real data are missing; in CI, they fail instead."""

import importlib
import os
from pathlib import Path

import pytest


def skip_or_fail(reason):
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def require(module):
    """Import a module from requirements-dev.txt, or skip the test."""
    try:
        return importlib.import_module(module)
    except ImportError:
        skip_or_fail(f"needs {module}: pip install -r requirements-dev.txt")


def real_data_folder():
    return Path(os.environ.get("HAM10000_DIR") or "data").resolve()


def skip_without(what):
    """Skip a test without real data; in CI, fail if the folder exists but `what` is missing."""
    reason = f"needs the real data: {what} in data/, or in the folder that HAM10000_DIR names"
    if os.environ.get("CI") and real_data_folder().is_dir():
        pytest.fail(reason)
    pytest.skip(reason)
