"""Where a tool or the real data are missing, a test is skipped; in CI it fails."""

import importlib
import os
from pathlib import Path

import pytest


def skip_or_fail(reason):
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def require(module):
    """Import a module of requirements-dev.txt."""
    try:
        return importlib.import_module(module)
    except ImportError:
        skip_or_fail(f"needs {module}: pip install -r requirements-dev.txt")


def real_data_folder():
    return Path(os.environ.get("HAM10000_DIR") or "data").resolve()


def skip_without(what):
    """Skip for want of real data; in CI fail, if the folder is there and only this is not."""
    reason = f"needs the real data: {what} in data/, or in the folder that HAM10000_DIR names"
    if os.environ.get("CI") and real_data_folder().is_dir():
        pytest.fail(reason)
    pytest.skip(reason)
