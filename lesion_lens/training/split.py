"""The split by lesion, which keeps all images of a lesion in one part.

The parts are training, calibration and test. Folds divide one part further, for cross-validation.
"""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesion_lens.training.errors import DataError
from lesion_lens.training.tables import read_table, values_by_image
from skin_cancer_detection import CODES

# Shares of each class's lesions, in percent; the rest is the training part.
TEST_SHARE = 20
CALIBRATION_SHARE = 15
PARTS = ("training", "calibration", "test")


def split_by_lesion(
    lesion_ids: NDArray[np.str_] | None, labels: NDArray[np.int64]
) -> NDArray[np.str_]:
    """Assign each row to a part, with no lesion in two parts; the same on every machine.

    Within each class, the lesions are ranked by the SHA-256 of their id, read as a number. The
    first 20 % are the test part, the next 15 % the calibration part, the rest the training part.

    Args:
        lesion_ids: (N,); None if not known: then every row counts as a separate lesion.
        labels: (N,), 0–6.

    Returns:
        (N,), each one of `PARTS`.

    Raises:
        DataError: a class with fewer lesions than the three parts need.
    """
    unit = "images" if lesion_ids is None else "lesions"
    lesion_ids = _lesions_or_rows(lesion_ids, labels)
    parts = np.empty(len(labels), dtype="<U11")
    too_few: dict[str, int] = {}  # by class
    for label, code in enumerate(CODES):
        rows = np.flatnonzero(labels == label)
        ranked = _ranked_by_hash(lesion_ids[rows])
        part_of = {lesion_id: _part(rank, len(ranked)) for rank, lesion_id in enumerate(ranked)}
        if set(part_of.values()) != set(PARTS):
            too_few[code] = len(ranked)
        parts[rows] = [part_of[lesion_id] for lesion_id in lesion_ids[rows]]
    if too_few:
        counts = ", ".join(f"{code} {number}" for code, number in too_few.items())
        raise DataError(
            f"Too few {unit} of some classes ({counts}): training, calibration and test need at "
            "least 3 of each class."
        )
    return parts


def read_split(
    path: str | Path, image_ids: NDArray[np.str_] | None, labels: NDArray[np.int64]
) -> NDArray[np.str_]:
    """Read an existing split, such as DermaMNIST's official one.

    Args:
        path: CSV with the columns `image_id` and `split`, which is train, val or test.
        image_ids: (N,), each of which must be in the CSV; None if not known.
        labels: (N,), 0–6.

    Returns:
        (N,), each one of `PARTS`: train is the training part, val the calibration part.

    Raises:
        DataError: an image without a part or in the CSV twice, an unknown part, or a class that is
            missing from a part; also see `read_table`.
    """
    path = Path(path)
    if image_ids is None:
        raise DataError(
            f"{path} refers to image ids, which these data lack: pass metadata with a column "
            "image_id."
        )
    table = read_table(path, ("image_id", "split"))
    part_of = dict(zip(("train", "val", "test"), PARTS, strict=True))
    unknown = np.flatnonzero(~table["split"].isin(part_of))
    if len(unknown):
        raise DataError(
            f"{path}, row {unknown[0] + 1}, column split: found {table['split'][unknown[0]]!r} "
            "instead of train, val or test."
        )
    words = values_by_image(path, table, "split", image_ids)
    parts = np.array([part_of[word] for word in words.tolist()])
    for word, part in part_of.items():
        absent = sorted(set(range(len(CODES))) - set(labels[parts == part].tolist()))
        if absent:
            raise DataError(
                f"{path} has no {word} image of class {CODES[absent[0]]}: each part needs one of "
                "every class."
            )
    return parts


def shared_lesions(lesion_ids: NDArray[np.str_] | None, parts: NDArray[np.str_]) -> int | None:
    """Count the test images whose lesion also has an image in another part.

    Args:
        lesion_ids: (N,); None if not known: then the count is None too.
        parts: (N,), each one of `PARTS`.
    """
    if lesion_ids is None:
        return None
    test = parts == "test"
    return int(np.isin(lesion_ids[test], lesion_ids[~test]).sum())


def split_checksum(parts: NDArray[np.str_]) -> str:
    """Return the hex SHA-256 of a split, to tell whether a model file was trained on it."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def lesion_folds(
    lesion_ids: NDArray[np.str_] | None, labels: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Deal out the lesions of each class to folds, in the order of their hashes.

    Args:
        lesion_ids: (N,); None if not known: then every row counts as a separate lesion.
        labels: (N,), 0–6.
        count: the number of folds.

    Returns:
        (N,), 0 to count - 1; no lesion is in two folds.
    """
    lesion_ids = _lesions_or_rows(lesion_ids, labels)
    folds = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        ranked = _ranked_by_hash(lesion_ids[rows])
        fold_of = {lesion_id: rank % count for rank, lesion_id in enumerate(ranked)}
        folds[rows] = [fold_of[lesion_id] for lesion_id in lesion_ids[rows]]
    return folds


def _lesions_or_rows(
    lesion_ids: NDArray[np.str_] | None, labels: NDArray[np.int64]
) -> NDArray[np.str_]:
    """Return the lesions or, if not known, a name for each row."""
    if lesion_ids is None:
        return np.array([f"row {row}" for row in range(len(labels))])
    return lesion_ids


def _ranked_by_hash(lesion_ids: NDArray[np.str_]) -> list[str]:
    """Return the distinct lesions, in the order of the SHA-256 of their ids."""
    return sorted(
        set(lesion_ids), key=lambda lesion_id: hashlib.sha256(lesion_id.encode()).digest()
    )


def _part(rank: int, count: int) -> str:
    if 100 * rank < TEST_SHARE * count:
        return "test"
    if 100 * rank < (TEST_SHARE + CALIBRATION_SHARE) * count:
        return "calibration"
    return "training"
