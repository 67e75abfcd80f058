"""Lesion Lens: tells seven classes of pigmented skin lesions apart; what serves it, what trains it.

One direction: web → model ← training. Everybody may import skin_cancer_detection.py, which imports
nothing of ours.
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the repository
__version__: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "version"
]
