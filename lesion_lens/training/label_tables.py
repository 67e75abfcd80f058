"""Tables of labels: which class each image shows, in three common forms.

The header shows which form it is: a column `dx` beside `image_id`; the one-hot tables of the ISIC
challenges (`image,MEL,NV,…`); or the metadata of the ISIC archive (`isic_id` with `diagnosis` or
`diagnosis_1`, `diagnosis_2`, …). diagnoses.py maps the names to classes.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion_lens.training.csv_files import shown
from lesion_lens.training.diagnoses import NO_HOME, label_of, label_of_most_precise
from lesion_lens.training.errors import DataError
from lesion_lens.training.tables import check_spelling, check_unique, found_nothing, read_table
from skin_cancer_detection import CODES

IMAGE_COLUMNS = ("image_id", "image", "isic_id", "image_name")
# The columns of the challenges of 2018, 2019 and 2025, one for each class.
ONE_HOT = (
    *("MEL", "NV", "BCC", "AKIEC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"),
    *("BEN_OTH", "INF", "MAL_OTH", "SCCKA"),
)
_DIAGNOSIS = re.compile(r"diagnosis_(\d)")
_NAMED = (*IMAGE_COLUMNS, "dx", "diagnosis", "lesion_id")  # in upper or lower case
_MOST_NAMED = 8  # diagnoses that a message lists


@dataclass(frozen=True)
class LabelTable:
    """The rows of a table of labels.

    Attributes:
        path: its file.
        table: N rows, all cells as text.
        image_ids: N, as the table writes them.
        names: N diagnoses, as the table names them.
        labels: (N,), 0–6, or `NO_HOME` if a diagnosis is none of the seven classes.
    """

    path: Path
    table: pd.DataFrame
    image_ids: list[str]
    names: list[str]
    labels: NDArray[np.int64]


def read_labels(path: str | Path) -> LabelTable:
    """Read a table of labels in any of the three forms.

    Raises:
        DataError: no column of images or of diagnoses, a row of no class or of two, or an empty
            image id or `dx`; also see `read_table`.
    """
    path = Path(path)
    table = read_table(path, ())
    plain = {column: column.strip().lower() for column in table.columns}
    table = table.rename(
        columns={
            column: name
            for column, name in plain.items()
            if name in _NAMED and list(plain.values()).count(name) == 1
        }
    )
    images = next((column for column in IMAGE_COLUMNS if column in table), None)
    if images is None:
        if len(table.columns) == 1 and "|" in table.columns[0]:
            raise DataError(f"{path}: its columns are separated by '|'; save it with commas.")
        raise DataError(
            f"{path} has no column image_id: its header must name it and dx (or the columns of an "
            "ISIC challenge or of the ISIC archive)."
        )
    names, labels = _diagnoses(path, table)
    empty = np.flatnonzero(table[images].str.strip() == "")
    if len(empty):
        raise found_nothing(path, empty[0] + 1, images)
    image_ids = table[images].tolist()
    check_unique(path, table[images])
    check_spelling(path, table[images])
    return LabelTable(path, table, image_ids, names, labels)


def _diagnoses(path: Path, table: pd.DataFrame) -> tuple[list[str], NDArray[np.int64]]:
    """Return the name and the label of each row's diagnosis.

    Raises:
        DataError: there is no column of diagnoses, or two kinds of columns contradict each other.
    """
    found = [read(path, table) for read in (_by_name, _by_levels, _by_class)]
    kinds = [kind for kind in found if kind is not None]
    if not kinds:
        raise DataError(
            f"{path} has no column dx: the class of each image must be in dx, in the columns MEL, "
            "NV, … of an ISIC challenge, or in diagnosis or diagnosis_1, … of the ISIC archive."
        )
    names, labels = kinds[0]
    for others, other_labels in kinds[1:]:
        differing = np.flatnonzero(labels != other_labels)
        if len(differing):
            row = int(differing[0])
            raise DataError(
                f"{path}, row {row + 1}: its columns contradict each other, {shown(names[row])} "
                f"and {shown(others[row])}; correct the row, or remove the columns that do not "
                "count."
            )
    return names, labels


_Diagnoses: TypeAlias = tuple[list[str], NDArray[np.int64]] | None


def _by_name(path: Path, table: pd.DataFrame) -> _Diagnoses:
    """Read the column `dx`, or else `diagnosis`; None if there is neither."""
    column = next((column for column in ("dx", "diagnosis") if column in table), None)
    if column is None:
        return None
    empty = np.flatnonzero(table[column].str.strip() == "")
    if column == "dx" and len(empty):
        raise found_nothing(path, empty[0] + 1, column)
    names = table[column].str.strip().tolist()
    return names, np.array([label_of(name) for name in names], np.int64)


def _by_levels(_: Path, table: pd.DataFrame) -> _Diagnoses:
    levels = sorted(filter(_DIAGNOSIS.fullmatch, table.columns))
    if not levels:
        return None
    pairs = [label_of_most_precise(row) for row in table[levels].to_numpy().tolist()]
    return [name for name, _ in pairs], np.array([label for _, label in pairs], np.int64)


def _by_class(path: Path, table: pd.DataFrame) -> _Diagnoses:
    classes = [column for column in table if column.upper() in ONE_HOT]
    return _one_hot(path, table, classes) if len(classes) > 1 else None


def _one_hot(
    path: Path, table: pd.DataFrame, classes: list[str]
) -> tuple[list[str], NDArray[np.int64]]:
    """Read a table with a column for each class: 1 in one of them and 0 in the others."""
    cells = table[classes].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wrong = np.argwhere(~np.isin(cells, (0, 1)))
    if len(wrong):
        row, column = wrong[0].tolist()
        raise DataError(
            f"{path}, row {row + 1}, column {classes[column]}: found "
            f"{shown(table[classes[column]][row])} instead of 0 or 1; this may be a "
            "table of predictions, not of labels."
        )
    other = np.flatnonzero(cells.sum(axis=1) != 1)
    if len(other):
        row = other[0]
        raise DataError(
            f"{path}, row {row + 1}: exactly one of {', '.join(classes)} must be 1, but "
            f"{int(cells[row].sum())} are; correct or remove the row."
        )
    names = [classes[place] for place in cells.argmax(axis=1)]
    return names, np.array([label_of(name) for name in names], np.int64)


# --- Diagnoses without a class ---------------------------------------------------------------


def check_homes(source: Path, names: Sequence[str], labels: NDArray[np.int64]) -> None:
    """Check that each diagnosis is one of the seven classes.

    Args:
        source: the table that names them.
        names: N diagnoses.
        labels: (N,), 0–6 or `NO_HOME`.

    Raises:
        DataError: some are not; the message counts them by name.
    """
    homeless = count_homeless(names, labels)
    if homeless:
        row = int(np.flatnonzero(labels == NO_HOME)[0])
        raise DataError(
            f"{source}, row {row + 1}: found {shown(names[row])} instead of one of "
            f"{', '.join(CODES)}. Rows with such a diagnosis: {(labels == NO_HOME).sum():,} "
            f"({homeless}). Correct them, or leave them out with --skip-unknown."
        )


def count_homeless(names: Sequence[str], labels: NDArray[np.int64]) -> str:
    """Count the diagnoses without a class by name, the most frequent first; empty if none."""
    counts = Counter(
        name or "none given" for name, label in zip(names, labels, strict=True) if label == NO_HOME
    )
    listed = [f"{name[:40]} {count:,}" for name, count in counts.most_common(_MOST_NAMED)]
    more = len(counts) - _MOST_NAMED
    return ", ".join([*listed, *([f"and {more:,} others"] if more > 0 else [])])
