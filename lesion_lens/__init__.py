"""Lesion Lens: tells seven classes of pigmented skin lesions apart; what serves it, what trains it.

One direction: web → model ← training. Everybody may import skin_cancer_detection.py, which imports
nothing of ours.
"""

import functools
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the repository


@functools.cache
def version() -> str:
    """The version that pyproject.toml gives; 'unknown' where a deployment leaves the file out."""
    try:
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    except FileNotFoundError:
        return "unknown"
    return str(tomllib.loads(text)["project"]["version"])
