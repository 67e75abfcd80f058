"""Lesion Lens: a model of seven classes of pigmented skin lesions, served and trained."""

from pathlib import Path

ROOT = (
    Path(__file__).resolve().parents[1]
)  # of the repository: templates/, static/, the model files
