"""The data set: images, labels and lesions, read from Kaggle's CSV and its metadata.

A fault in a file raises a `DataError`, as in tables.py. own_images.py reads the user's own images.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion_lens.model.facts import MOST_LETTERS
from lesion_lens.training.csv_files import shown
from lesion_lens.training.errors import DataError
from lesion_lens.training.near_duplicates import merge_near_duplicates
from lesion_lens.training.pixel_rows import read_pixels
from lesion_lens.training.tables import (
    check_lesions,
    check_spelling,
    check_unique,
    labels_of,
    read_table,
    values_by_image,
)
from skin_cancer_detection import CODES

CSV_NAMES = ("hmnist_28_28_RGB.csv", "hmnist_28_28_RGB.csv.zip")
METADATA_NAME = "HAM10000_metadata.csv"
SOURCES_NAME = "HAM10000_sources.csv"
UNKNOWN = "unknown"  # the group of an image whose group is not known


@dataclass(frozen=True)
class Dataset:
    """Images with their classes and lesions, row by row.

    Attributes:
        pixels: (N, 28, 28, 3), RGB, 0–255.
        labels: (N,), 0–6, in the order of `CLASSES`.
        lesion_ids: (N,); images of one lesion share it. None if not known.
        source: where the images are from; the pages make statements about HAM10000 only if it is
            "HAM10000".
        image_ids: (N,); None if not known.
        groups: "sex", "age", "site" and "clinic" if known, and the columns that the user named ->
            (N,), each image's group, by which to break down the scores.
        parts: (N,), the split that comes with the data; None if there is none.
        remarks: sentences on what was left out or assumed while reading the data.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    lesion_ids: NDArray[np.str_] | None
    source: str = "HAM10000"
    image_ids: NDArray[np.str_] | None = None
    groups: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    parts: NDArray[np.str_] | None = None
    remarks: tuple[str, ...] = ()

    def with_clinics(self, clinics: NDArray[np.str_]) -> "Dataset":
        """Return the data set with the clinic of each image, (N,), from `read_sources`."""
        return replace(self, groups=self.groups | {"clinic": clinics})

    def only(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Dataset":
        """Return the data set with only some rows, bool (N,) or int (M,)."""
        return replace(
            self,
            pixels=self.pixels[rows],
            labels=self.labels[rows],
            lesion_ids=None if self.lesion_ids is None else self.lesion_ids[rows],
            image_ids=None if self.image_ids is None else self.image_ids[rows],
            groups={name: values[rows] for name, values in self.groups.items()},
            parts=None if self.parts is None else self.parts[rows],
        )

    @property
    def sha256(self) -> str:
        """Hex checksum of pixels, labels and lesions; the same for a CSV and its zip."""
        checksum = hashlib.sha256(self.pixels.tobytes())
        checksum.update(self.labels.astype("<i8").tobytes())
        if self.lesion_ids is not None:
            checksum.update("\n".join(self.lesion_ids).encode())
        return checksum.hexdigest()


# --- Kaggle's CSV ----------------------------------------------------------------------------


def read_dataset(
    csv_path: str | Path,
    metadata_path: str | Path | None = None,
    group_columns: Sequence[str] = (),
) -> Dataset:
    """Read Kaggle's hmnist_28_28_RGB.csv and, from its metadata, the lesion of each row.

    Args:
        csv_path: the CSV, plain or as the one member of a zip.
        metadata_path: HAM10000_metadata.csv in the same row order, or None.
        group_columns: further metadata columns to break down the scores by.

    Returns:
        The data set; its lesion_ids, image_ids and groups are None or empty without metadata.

    Raises:
        DataError: see `read_pixels` and `read_metadata`.
    """
    pixels, labels = read_pixels(csv_path)
    if metadata_path is None:
        if group_columns:
            raise DataError("--group names a column of the metadata: add --metadata.")
        return Dataset(pixels, labels, None)
    path = Path(metadata_path)
    table = read_metadata(path, labels)
    image_ids = table["image_id"].to_numpy(str) if "image_id" in table else None
    lesion_ids, is_blank = lesion_ids_of(path, table, image_ids, labels)
    return Dataset(
        pixels,
        labels,
        lesion_ids,
        image_ids=image_ids,
        groups=groups_of(path, table, group_columns),
        remarks=(blank_lesions(int(is_blank.sum())),) if is_blank.any() else (),
    )


# --- Kaggle's metadata -----------------------------------------------------------------------


def read_metadata(path: str | Path, labels: NDArray[np.int64]) -> pd.DataFrame:
    """Read the metadata of the CSV's rows, and check that both files have the same rows.

    Args:
        path: HAM10000_metadata.csv, with at least the columns `lesion_id` and `dx`.
        labels: (N,), from `read_pixels`.

    Returns:
        N rows, all columns as text.

    Raises:
        DataError: a different number of rows, or a `dx` that differs from the row's label; also see
            `read_table`.
    """
    path = Path(path)
    table = read_table(path, ("lesion_id", "dx"), optional=("image_id",), may_be_blank="lesion_id")
    if len(table) != len(labels):
        raise DataError(
            f"{path} has {len(table):,} rows but the CSV has {len(labels):,}: they must be the "
            "same images in the same order."
        )
    dx_labels = labels_of(path, table["dx"])
    differing = np.flatnonzero(dx_labels != labels)
    if len(differing):
        row = differing[0]
        raise DataError(
            f"{path}, row {row + 1}, column dx: {table['dx'][row]}, but the CSV’s label there is "
            f"{labels[row]} ({CODES[labels[row]]}): the files do not belong together."
        )
    if "image_id" in table:
        check_spelling(path, table["image_id"])
        check_unique(path, table["image_id"])
    return table


def lesion_ids_of(
    path: Path,
    table: pd.DataFrame,
    image_ids: Sequence[str] | NDArray[np.str_] | None,
    labels: NDArray[np.int64],
) -> tuple[NDArray[np.str_] | None, NDArray[np.bool_]]:
    """Return the lesion of each row, with known near-duplicates merged.

    Args:
        path: the table's file.
        table: N rows; a row with a blank `lesion_id` counts as a separate lesion.
        image_ids: N, or None.
        labels: (N,), 0–6; below 0 if a row has no class.

    Returns:
        (N,), or None if the table names no lesion; and bool (N,), the rows with no lesion although
        other rows have one.

    Raises:
        DataError: a lesion of two classes, or one with two spellings.
    """
    if "lesion_id" not in table:
        return None, np.zeros(len(table), bool)
    is_blank = (table["lesion_id"].str.strip() == "").to_numpy(bool)
    if is_blank.all():
        return None, ~is_blank
    names = [f"row {row}" for row in range(len(table))] if image_ids is None else image_ids
    named = table["lesion_id"].where(~is_blank, [f"the lesion of {name}" for name in names])
    check_spelling(path, named)
    check_lesions(path, named, labels)
    lesion_ids = named.to_numpy(str)
    if image_ids is not None:
        lesion_ids = merge_near_duplicates(lesion_ids, np.array(image_ids), labels)
    return lesion_ids, is_blank


def blank_lesions(count: int) -> str:
    """Say how many images have no known lesion."""
    return f"Images without a lesion_id: {count:,}. Each counts as a lesion of its own."


# Columns with the same meaning: HAM10000's and the ISIC archive's.
_GROUP_COLUMNS = {
    "sex": ("sex",),
    "site": ("localization", "anatom_site_general", "anatom_site_general_challenge"),
    "age": ("age", "age_approx"),
}


def groups_of(
    path: Path, table: pd.DataFrame, further: Sequence[str] = ()
) -> dict[str, NDArray[np.str_]]:
    """Group the rows by sex, age band, body site and clinic, as far as there are such columns.

    Args:
        path: the table's file.
        table: N rows, all cells as text.
        further: columns that the user names; each must exist.

    Returns:
        "sex", "site", "clinic", "age" and the further names -> (N,).

    Raises:
        DataError: no such column, an invalid age, or a name that is too long or has two spellings.
    """
    groups = {}
    for name, columns in _GROUP_COLUMNS.items():
        column = next((column for column in columns if column in table), None)
        if column is None:
            continue
        if name == "age":
            groups[name] = _age_bands(path, table[column])
        else:
            groups[name] = _names(path, table[column])
    if "dataset" in table:  # Harvard's metadata has it, Kaggle's does not
        groups["clinic"] = _names(path, table["dataset"])
    for column in further:
        if column not in table:
            raise DataError(
                f"{path} has no column {shown(column)}: --group takes one of "
                f"{', '.join(table.columns)[:300]}."
            )
        if column != "dataset":
            groups[column] = _names(path, table[column])
    return groups


def read_sources(path: str | Path, image_ids: NDArray[np.str_] | None) -> NDArray[np.str_]:
    """Read which clinic and camera each image is from.

    Args:
        path: CSV with the columns `image_id` and `dataset`, such as `rosendahl`; other columns and
            other images are ignored.
        image_ids: (N,), each of which must be in the CSV; None if not known.

    Returns:
        (N,), each image's `dataset`.

    Raises:
        DataError: an image without a row or with two; also see `read_table`.
    """
    path = Path(path)
    if image_ids is None:
        raise DataError(
            f"{path} refers to image ids, which these data lack: pass metadata with a column "
            "image_id."
        )
    table = read_table(path, ("image_id", "dataset"))
    table["dataset"] = _names(path, table["dataset"])
    return values_by_image(path, table, "dataset", image_ids)


def _names(path: Path, column: pd.Series) -> NDArray[np.str_]:
    """Return the group names in a column (N,), without surrounding blanks.

    Raises:
        DataError: a name that is too long for a table, or has two spellings.
    """
    names = column.str.strip().replace("", UNKNOWN)
    too_long = np.flatnonzero(names.str.len() > MOST_LETTERS)
    if len(too_long):
        raise DataError(
            f"{path}, row {too_long[0] + 1}, column {names.name}: the name has more than "
            f"{MOST_LETTERS} characters; shorten it."
        )
    check_spelling(path, names)
    return names.to_numpy(str)


_AGE = re.compile(r"\d{1,3}(\.\d{1,9})?")
_OLDEST = 130
_NO_AGE = {"", UNKNOWN, "na", "n/a", "nan", "none", "null"}


def _age_bands(path: Path, column: pd.Series) -> NDArray[np.str_]:
    """Return the age bands (N,) of ages in years.

    Raises:
        DataError: a cell that is not an age, so that it would fall into no band or a wrong one.
    """
    ages = np.full(len(column), np.nan)
    for row, cell in enumerate(column.str.strip()):
        if cell.lower() in _NO_AGE:
            continue
        if not _AGE.fullmatch(cell) or float(cell) > _OLDEST:
            raise DataError(
                f"{path}, row {row + 1}, column {column.name}: found {shown(cell)} instead of "
                f"an age in years from 0 to {_OLDEST}; correct it, or leave it empty."
            )
        ages[row] = float(cell)
    bands = np.array(["under 30", "30–44", "45–59", "60–74", "75 and over"])
    band = bands[np.digitize(ages, [30, 45, 60, 75])]
    return np.where(np.isnan(ages), UNKNOWN, band)
