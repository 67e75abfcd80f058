"""Which lesions are for training, for calibration and for the test: none in two parts."""

import hashlib
from pathlib import Path

import numpy as np

from lesion_lens.training.errors import DataError
from lesion_lens.training.tables import check_unique, read_table
from skin_cancer_detection import CODES

# Shares of each class's lesions, in percent; what is left is the training part.
TEST_SHARE = 20
CALIBRATION_SHARE = 15
PARTS = ("training", "calibration", "test")


def split_by_lesion(lesion_ids, labels):
    """Assign every row to a part so that no lesion stands in two, the same on every machine.

    Within each class the lesions are ranked by the SHA-256 of their id, read as a number; the
    first 20 % are the test part, the next 15 % the calibration part, the rest the training part.

    Args:
        lesion_ids: str (N,), or None: then every row counts as a lesion of its own.
        labels: int64 (N,), 0–6.

    Returns:
        str (N,), each one of `PARTS`.

    Raises:
        DataError: a class with fewer lesions than the three parts need.
    """
    unit = "images" if lesion_ids is None else "lesions"
    lesion_ids = _known_or_rows(lesion_ids, labels)
    parts = np.empty(len(labels), dtype="<U11")
    for label, code in enumerate(CODES):
        rows = np.flatnonzero(labels == label)
        ranked = sorted(set(lesion_ids[rows]), key=_hash)
        part_of = {lesion_id: _part(rank, len(ranked)) for rank, lesion_id in enumerate(ranked)}
        missing = [part for part in PARTS if part not in part_of.values()]
        if missing:
            raise DataError(
                f"Class {code} has {len(ranked)} {unit}, too few for a {missing[0]} part: at "
                "least 3 of each class are needed."
            )
        parts[rows] = [part_of[lesion_id] for lesion_id in lesion_ids[rows]]
    return parts


def read_split(path, image_ids, labels):
    """Read a split that somebody else has made, such as DermaMNIST's official one.

    Args:
        path: CSV with the columns `image_id` and `split`, which is train, val or test.
        image_ids: str (N,), each to be found in it; None where they are not known.
        labels: int (N,), 0–6.

    Returns:
        str (N,), each one of `PARTS`: train is the training part, val the calibration part.

    Raises:
        DataError: an image without a part, an image twice, another word, a class that is not in
            every part, and what `read_table` raises.
    """
    path = Path(path)
    if image_ids is None:
        raise DataError(
            f"{path} goes by image_id, which is not known: name metadata with a column image_id."
        )
    table = read_table(path, ("image_id", "split"))
    part_of = dict(zip(("train", "val", "test"), PARTS, strict=True))
    unknown = np.flatnonzero(~table["split"].isin(part_of))
    if len(unknown):
        raise DataError(
            f"{path}, row {unknown[0] + 1}, column split: found {table['split'][unknown[0]]!r} "
            "instead of train, val or test."
        )
    check_unique(path, table["image_id"])
    split_of = dict(zip(table["image_id"], table["split"], strict=True))
    missing = [image_id for image_id in image_ids if image_id not in split_of]
    if missing:
        raise DataError(
            f"{path} has no row for {len(missing):,} of the images, such as {missing[0]}: add them."
        )
    parts = np.array([part_of[split_of[image_id]] for image_id in image_ids])
    for word, part in part_of.items():
        absent = sorted(set(range(len(CODES))) - set(labels[parts == part].tolist()))
        if absent:
            raise DataError(
                f"{path} has no {word} image of class {CODES[absent[0]]}: each part needs one of "
                "every class."
            )
    return parts


def lesion_folds(lesion_ids, labels, count):
    """Deal the lesions of each class, in the order of their hashes, to folds for cross-validation.

    Args:
        lesion_ids: str (N,), or None: then every row counts as a lesion of its own.
        labels: int64 (N,), 0–6.
        count: of folds.

    Returns:
        int64 (N,), 0 to count - 1; no lesion stands in two.
    """
    lesion_ids = _known_or_rows(lesion_ids, labels)
    numbers = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        ranked = sorted(set(lesion_ids[rows]), key=_hash)
        fold_of = {lesion_id: rank % count for rank, lesion_id in enumerate(ranked)}
        numbers[rows] = [fold_of[lesion_id] for lesion_id in lesion_ids[rows]]
    return numbers


def _known_or_rows(lesion_ids, labels):
    """The lesions, or, where they are not known, a name for each row."""
    if lesion_ids is None:
        return np.array([f"row {row}" for row in range(len(labels))])
    return lesion_ids


def _hash(lesion_id):
    return int(hashlib.sha256(lesion_id.encode()).hexdigest(), 16)


def _part(rank, count):
    if 100 * rank < TEST_SHARE * count:
        return "test"
    if 100 * rank < (TEST_SHARE + CALIBRATION_SHARE) * count:
        return "calibration"
    return "training"
