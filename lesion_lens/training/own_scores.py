"""Scoring a model file on images that it was not made of: what a clinic does first.

Nothing beside the model is touched: the scores go to the console and, if it is named, to a folder.
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
    """Say that the model may have learned from these images, as far as their names tell.

    Args:
        path: the model file.
        data: images whose split is not the model's.

    Returns:
        A clause, or None.

    Raises:
        TrainingError: they are of the same kind and as many as the model was made of, so they are
            most likely the same, split in another way: what is its test part is not known.
    """
    facts = check_model_file(path)
    images = facts.get("images") or {}
    if facts.get("data") == data.source and len(data.labels) == sum(images.values()):
        raise TrainingError(
            f"{path} was made of as many images as these, so they are most likely the same, and "
            "it has learned from most of them. Their split is another, so its test part is not "
            "known: name the metadata or the table that it was made of."
        )
    if facts.get("data") != "HAM10000" or data.image_ids is None:
        return None
    count = sum(map(is_of_ham10000, data.image_ids.tolist()))
    if not count:
        return None
    return f"{count:,} of these images are named as those of HAM10000, from which it has learned"


def score_own(path: Path, data: Dataset, report: Path | None) -> dict[str, Any]:
    """Score a model file on all images of a data set.

    Args:
        path: the model file.
        data: images that the model has not learned from.
        report: a folder for scores.json and the plots; None to write nothing.

    Returns:
        What scores.json holds: `model_sha256`, `data_sha256`, `images` by class, `lesions` (None if
        they are not known), `missing_classes`, which have no part in macro figures, and `scores`
        (see `score_images`).

    Raises:
        ModelFileError, TrainingError: see `score_images`; also a report that cannot be written.
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
    if report is not None:
        write_report(report, result, data.labels, eight)
    return result


def write_report(
    folder: Path,
    result: dict[str, Any],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
) -> None:
    """Write scores.json and the plots of the same images into a folder, all or nothing.

    Args:
        folder: where to; it is made if need be, and files of the same names are replaced.
        result: what scores.json shall hold; `scores` are those of `score_images`.
        labels: (N,), 0–6.
        probabilities: (N, 7), of eight views.

    Raises:
        TrainingError: it cannot be written.
    """
    with staging(folder) as place:
        draw_scores(place, result["scores"], labels, probabilities)
        text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        (place / REPORT_NAME).write_text(text, encoding="utf-8")
