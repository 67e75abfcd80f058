"""Scoring a model file on images that it was not trained on, such as a clinic's own.

The model and the files beside it stay unchanged: the scores go to the console and, with `report`,
to a folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.files import check_model_file, sha256_of
from lesion_lens.training.data import Dataset
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.evaluation import score_images
from lesion_lens.training.near_duplicates import is_of_ham10000
from lesion_lens.training.pipeline import draw_scores, staging
from skin_cancer_detection import CODES

REPORT_NAME = "scores.json"


def warning_of(path: Path, data: Dataset) -> str | None:
    """Warn if the images' names suggest that the model was trained on them.

    Args:
        path: the model file.
        data: images whose split is not the model's.

    Returns:
        A clause for a message, or None.

    Raises:
        TrainingError: source and number of the images equal those of the model's data, so they are
            most likely the same images with a different split, and its test part is not known.
    """
    facts = check_model_file(path)
    images = facts.get("images") or {}
    if facts.get("data") == data.source and len(data.labels) == sum(images.values()):
        raise TrainingError(
            f"{path} was made from the same number of images, so these are most likely the same "
            "ones, and it was trained on most of them. They are split differently, so its test "
            "part is not known: pass the metadata or the table that it was made from."
        )
    if facts.get("data") != "HAM10000" or data.image_ids is None:
        return None
    count = sum(map(is_of_ham10000, data.image_ids.tolist()))
    if not count:
        return None
    return f"{count:,} of these images have names from HAM10000, which the model was trained on"


def doubt_of(path: Path, data: Dataset) -> str | None:
    """Say how many images a model was trained on, if these images may be among them.

    Args:
        path: the model file.
        data: images of which `warning_of` says nothing.

    Returns:
        A message; None if the model was trained on other data, as far as is known.
    """
    facts = check_model_file(path)
    count = (facts.get("images") or {}).get("training")
    if facts.get("data") != data.source or count is None:
        return None
    if data.source == "HAM10000" and data.image_ids is not None:
        return None  # the names show that they are others
    return (
        f"{path} was trained on {count:,} images, and the file does not say which. If some of "
        "these images are among them, the scores below are too high."
    )


def score_own(path: Path, data: Dataset) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Score a model file on all images of a data set.

    Args:
        path: the model file.
        data: images that the model was not trained on.

    Returns:
        The contents of scores.json: `model_sha256`, `data_sha256`, `images` by class, `lesions`
        (None if not known), `missing_classes`, which the macro figures leave out, and `scores` (see
        `score_images`); and the probabilities (N, 7), of eight views.

    Raises:
        ModelFileError, TrainingError: see `score_images`.
    """
    scores, eight = score_images(path, data)
    counts = np.bincount(data.labels, minlength=len(CODES)).tolist()
    result = {
        "model_sha256": sha256_of(path),
        "data_sha256": data.sha256,
        "images": dict(zip(CODES, counts, strict=True)),
        "lesions": None if data.lesion_ids is None else len(set(data.lesion_ids.tolist())),
        "missing_classes": [code for code, n in zip(CODES, counts, strict=True) if not n],
        "scores": scores,
    }
    return result, eight


def check_report(folder: Path) -> None:
    """Create the folder of a report, to fail before the scores are computed, not afterwards.

    Raises:
        TrainingError: it cannot be written.
    """
    with staging(folder):
        pass


def write_report(
    folder: Path,
    result: dict[str, Any],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
) -> None:
    """Write scores.json and the plots of the same images to a folder, all or nothing.

    Args:
        folder: created if missing; files with the same names are replaced.
        result: the contents of scores.json; `scores` are from `score_images`.
        labels: (N,), 0–6.
        probabilities: (N, 7), of eight views.

    Raises:
        TrainingError: it cannot be written.
    """
    with staging(folder) as place:
        draw_scores(place, result["scores"], labels, probabilities)
        text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        (place / REPORT_NAME).write_text(text, encoding="utf-8")
