"""Leaving one clinic out: how well a network does on a clinic or camera that it has never seen.

For each clinic, a network of the same recipe is fitted and calibrated, and its decision facts are
fitted, all without the clinic's images. It is then scored on them. The test part is not used.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.decisions import MALIGNANT, DecisionFacts, combine_views
from lesion_lens.model.familiarity import PictureRules
from lesion_lens.model.files import save_model
from lesion_lens.training.bootstrap import WeightedScores, bootstrap
from lesion_lens.training.calibration import one_image_per_lesion
from lesion_lens.training.checkpoint import Checkpoint
from lesion_lens.training.data import UNKNOWN, Dataset
from lesion_lens.training.errors import TrainingError
from lesion_lens.training.evaluation import SMALLEST_GROUP, view_probabilities
from lesion_lens.training.metrics import (
    MELANOMA,
    binary_auc,
    calibration_error,
    malignancy,
    simulated_calibration_error,
    weighted_mean,
)
from lesion_lens.training.pipeline import calibrate, identity_of, training_facts
from lesion_lens.training.recipe import Recipe
from lesion_lens.training.side_by_side import Fit, fit_side_by_side
from lesion_lens.training.statements import count_statements, decide_all, level_shares
from skin_cancer_detection import CODES

if TYPE_CHECKING:
    import keras

FEWEST_IMAGES = 10  # on each side of an AUC


def leave_out_clinics(
    data: Dataset,
    parts: NDArray[np.str_],
    recipe: Recipe,
    seed: int,
    folder: Path,
    workers: int | None = None,
) -> dict[str, Any]:
    """For each clinic, fit a network without its images and score the network on them.

    Args:
        data: all three parts; `groups["clinic"]` has each image's clinic.
        parts: (N,), from `split_by_lesion`.
        recipe: of the networks; its number of teachers is ignored, as none has teachers.
        seed: of each network.
        folder: for networks and checkpoints; an existing checkpoint is resumed.
        workers: see `fit_side_by_side`.

    Returns:
        A JSON-serialisable dict: `seed`, `recipe`, and `clinics`, which has what `score_clinic`
        returns, by name. A clinic that cannot be left out is missing; the console says why.

    Raises:
        TrainingError: fewer than two clinics are known, none can be left out, or the folder cannot
            be written; also see `fit_side_by_side`.
        ModelFileError: a network cannot be written.
    """
    divided = {name: divide(data, parts, name) for name in clinics_of(data)}
    obstacles = {name: obstacle(data, part) for name, part in divided.items()}
    for name, sentence in obstacles.items():
        if sentence:
            print(f"{name} is not left out. {sentence}", flush=True)
    names = [name for name, sentence in obstacles.items() if sentence is None]
    if not names:
        raise TrainingError("No clinic can be left out; the reasons are above.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"{folder} cannot be written ({error}): choose another folder."
        ) from error
    fits = []
    for name in names:
        part = divided[name]
        training = data.only(part == "training")
        nothing = np.zeros(len(training.labels), bool)
        identity = identity_of(data, part, recipe, seed)
        checkpoint = Checkpoint(folder / f"{file_name(name)}.npz", identity)
        checkpoint.check()  # check all before resuming any
        fits.append(
            Fit(f"without {name}", training.pixels, training.labels, nothing, seed, checkpoint)
        )
    models, _ = fit_side_by_side(fits, recipe, workers)
    scores = {}
    for name, model in zip(names, models, strict=True):
        part = divided[name]
        attributes = calibrate(
            model, data.only(part == "calibration"), data.only(part == "training")
        )
        path = folder / f"{file_name(name)}.h5"
        facts = training_facts(data, part, recipe, seed) | {"left_out": name}
        save_model(model, path, facts, attributes)
        scores[name] = score_clinic(model, attributes, data.only(part == "left out"))
    return {"seed": seed, "recipe": asdict(recipe), "clinics": scores}


def clinics_of(data: Dataset) -> list[str]:
    """List the clinics in alphabetical order.

    Raises:
        TrainingError: fewer than two are known.
    """
    names = sorted(set(data.groups.get("clinic", np.array([])).tolist()) - {UNKNOWN})
    if len(names) < 2:
        raise TrainingError(
            "The data has fewer than two known clinics: pass a CSV with the columns "
            "image_id,dataset as --sources, or metadata with a column dataset."
        )
    return names


def divide(data: Dataset, parts: NDArray[np.str_], clinic: str) -> NDArray[np.str_]:
    """Divide the images for a network that must not see a clinic.

    Args:
        data: `groups["clinic"]` has each image's clinic.
        parts: (N,), from `split_by_lesion`.
        clinic: the one to leave out.

    Returns:
        (N,): 'training' and 'calibration' as before; 'left out' for the clinic's images in these
        two parts; 'unused' for the test part, for other clinics' images of a lesion that this
        clinic also has an image of, and for images of an unknown clinic, which may be this one.
    """
    divided = parts.astype("<U11")
    is_left_out = data.groups["clinic"] == clinic
    if data.lesion_ids is not None:
        divided[np.isin(data.lesion_ids, data.lesion_ids[is_left_out])] = "unused"
    divided[data.groups["clinic"] == UNKNOWN] = "unused"
    divided[is_left_out] = "left out"
    divided[parts == "test"] = "unused"
    return divided


def obstacle(data: Dataset, divided: NDArray[np.str_]) -> str | None:
    """Say in a sentence why a clinic cannot be left out; None if it can.

    Args:
        data: as for `divide`.
        divided: (N,), from `divide`.
    """
    images = (divided == "left out").sum()
    if images < SMALLEST_GROUP:
        return f"Its images outside the test part: {images:,}. Scoring it needs {SMALLEST_GROUP}."
    for part in ("training", "calibration"):
        missing = sorted(set(range(len(CODES))) - set(data.labels[divided == part].tolist()))
        if missing:
            return f"Without it the {part} part has no images of {CODES[missing[0]]}."
    return None


def file_name(clinic: str) -> str:
    """Return a unique name for a clinic's files that is valid on every system."""
    readable = re.sub(r"[^a-z0-9_-]+", "-", clinic.lower())[:40]
    return f"{readable}-{hashlib.sha256(clinic.encode()).hexdigest()[:8]}"


def score_clinic(
    model: keras.Model,
    attributes: dict[str, Any],
    left_out: Dataset,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score a network on the images of a clinic that it has not seen, with eight views.

    Args:
        model: calibrated; takes raw pixels.
        attributes: its decision facts and its rules for pictures, from `calibrate`.
        left_out: the clinic's images.
        replicates, seed: see `bootstrap`.

    Returns:
        A JSON-serialisable dict. Estimates: `accuracy`, `macro_auc` (the mean over `classes`, those
        with at least 10 images of the class and 10 of others), `malignant_auc` (None if fewer than
        10 images are malignant, or benign) and `calibration_error`, with
        `simulated_calibration_error`. Plain numbers: `images`. Plain numbers over one image of each
        lesion: `lesions`, `malignant` (how many are malignant or pre-malignant), `melanomas`,
        `malignant_probability` (the mean), `covered` (how many sets of classes that cannot be
        excluded hold the true class) and `statements`, from `count_statements`. `levels`: from
        `level_shares`.
    """
    facts = DecisionFacts.from_attributes(attributes)
    rules = PictureRules.from_attributes(attributes)
    labels = left_out.labels
    probabilities = combine_views(
        view_probabilities(model, left_out.pixels), facts.eight_view_temperature
    )
    classes = [
        label
        for label, count in enumerate(np.bincount(labels, minlength=len(CODES)))
        if FEWEST_IMAGES <= count <= len(labels) - FEWEST_IMAGES
    ]
    estimates = bootstrap(
        _scores_of_clinic(labels, probabilities, classes),
        len(labels),
        left_out.lesion_ids,
        replicates,
        seed,
    )
    chosen = one_image_per_lesion(left_out.lesion_ids, left_out.pixels)
    said, familiarities, proven = decide_all(
        probabilities[chosen], left_out.pixels[chosen], facts, rules
    )
    truth = labels[chosen]
    covered = [
        CODES[label] in (one.cannot_be_excluded or ())
        for label, one in zip(truth, said, strict=True)
    ]
    scores = {
        "images": len(labels),
        "accuracy": estimates["accuracy"],
        "macro_auc": estimates.get("macro_auc"),
        "classes": [CODES[label] for label in classes],
        "malignant_auc": estimates.get("malignant_auc"),
        "calibration_error": estimates["calibration_error"],
        "simulated_calibration_error": simulated_calibration_error(probabilities, seed=seed),
        "lesions": len(truth),
        "malignant": int(MALIGNANT[truth].sum()),
        "melanomas": int((truth == MELANOMA).sum()),
        "malignant_probability": float(np.mean([one.malignant_probability for one in said])),
        "covered": int(np.sum(covered)),
        "statements": count_statements(said, truth, familiarities, proven, facts),
    }
    return scores | {"levels": level_shares(scores)}


def _scores_of_clinic(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], classes: list[int]
) -> WeightedScores:
    """Choose the scores that one clinic allows; return the function for `bootstrap`."""
    is_right = probabilities.argmax(axis=1) == labels
    is_malignant, risk = malignancy(labels, probabilities)

    def scores(weights: NDArray[np.int64]) -> dict[str, Any]:
        values: dict[str, Any] = {
            "accuracy": weighted_mean(is_right, weights),
            "calibration_error": calibration_error(labels, probabilities, weights=weights),
        }
        if classes:
            aucs = [binary_auc(labels == c, probabilities[:, c], weights) for c in classes]
            values["macro_auc"] = np.mean(aucs, axis=0)
        if FEWEST_IMAGES <= is_malignant.sum() <= len(labels) - FEWEST_IMAGES:
            values["malignant_auc"] = binary_auc(is_malignant, risk, weights)
        return values

    return scores
