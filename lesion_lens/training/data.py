"""The data set: images, labels and lesions, read from Kaggle's CSV or from a folder of images.

What is wrong with a file is a `DataError`, as in tables.py.
"""

import csv
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion_lens.model.errors import ImageError
from lesion_lens.model.facts import MOST_LETTERS
from lesion_lens.model.images import read_image
from lesion_lens.training.errors import DataError
from lesion_lens.training.near_duplicates import merge_near_duplicates
from lesion_lens.training.tables import (
    as_data_error,
    check_lesions,
    check_unique,
    labels_of,
    open_csv,
    read_table,
    values_by_image,
)
from skin_cancer_detection import CODES, SIDE, preprocess

CSV_NAMES = ("hmnist_28_28_RGB.csv", "hmnist_28_28_RGB.csv.zip")
METADATA_NAME = "HAM10000_metadata.csv"
SOURCES_NAME = "HAM10000_sources.csv"
UNKNOWN = "unknown"  # the group of an image of which nothing is known


@dataclass(frozen=True)
class Dataset:
    """Images with their classes and lesions, row by row.

    Attributes:
        pixels: (N, 28, 28, 3), RGB, 0–255.
        labels: (N,), 0–6, in the order of `CLASSES`.
        lesion_ids: (N,); images of one lesion share it. None where it is not known.
        source: whose images these are; the pages claim what they say of HAM10000 only for it.
        image_ids: (N,), or None where they are not known.
        groups: "sex", "age", "site" and "clinic" -> (N,), as far as they are known: how the scores
            are broken down.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    lesion_ids: NDArray[np.str_] | None
    source: str = "HAM10000"
    image_ids: NDArray[np.str_] | None = None
    groups: dict[str, NDArray[np.str_]] = field(default_factory=dict)

    def with_clinics(self, clinics: NDArray[np.str_]) -> "Dataset":
        """The same data set with the clinic of each image, (N,), from `read_sources`."""
        return replace(self, groups=self.groups | {"clinic": clinics})

    def only(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Dataset":
        """The data set of some rows alone, bool (N,) or int (M,)."""
        return replace(
            self,
            pixels=self.pixels[rows],
            labels=self.labels[rows],
            lesion_ids=None if self.lesion_ids is None else self.lesion_ids[rows],
            image_ids=None if self.image_ids is None else self.image_ids[rows],
            groups={name: values[rows] for name, values in self.groups.items()},
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

_PIXEL_COLUMNS = [f"pixel{i:04d}" for i in range(SIDE * SIDE * 3)]
_LABEL = "label"
_SURPLUS = "surplus"
# Rows read at once: 1,000 rows are 19 MB before they are checked and become uint8.
_CHUNK_ROWS = 1000


def read_dataset(csv_path: str | Path, metadata_path: str | Path | None = None) -> Dataset:
    """Read Kaggle's hmnist_28_28_RGB.csv and, with it, the lesion of every row.

    Args:
        csv_path: the CSV, plain or as the one member of a zip.
        metadata_path: HAM10000_metadata.csv in the same row order, or None.

    Returns:
        The data set; its lesion_ids, image_ids and groups are None or empty without metadata.

    Raises:
        DataError: see `read_pixels` and `read_metadata`.
    """
    pixels, labels = read_pixels(csv_path)
    if metadata_path is None:
        return Dataset(pixels, labels, None)
    table = read_metadata(metadata_path, labels)
    return Dataset(
        pixels,
        labels,
        _lesion_ids(table, labels),
        image_ids=table["image_id"].to_numpy(str) if "image_id" in table else None,
        groups=_groups(Path(metadata_path), table),
    )


def read_pixels(path: str | Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read pixels and labels, checking every value. Peaks at about 200 MB for HAM10000.

    Returns:
        The pixels (N, 28, 28, 3), RGB, 0–255, and the labels (N,), 0–6.

    Raises:
        DataError: no such file, a truncated zip, a wrong header, a row too long or too short, a
            value that is no whole number of 0–255, a label that is not 0–6, no rows.
    """
    path = Path(path)
    pixels, labels = [], []
    with as_data_error(path), open_csv(path) as file:
        columns = _check_header(path, file.readline().decode("utf-8-sig"))
        # One column more than there should be catches the row that has a value too many.
        chunks = pd.read_csv(
            file,
            header=None,
            names=[*columns, _SURPLUS],
            index_col=False,
            chunksize=_CHUNK_ROWS,
            low_memory=False,  # else pandas warns of a text among numbers before we name it
        )
        for chunk in chunks:
            _check_surplus(path, chunk[_SURPLUS])
            _check_values(path, chunk[_PIXEL_COLUMNS], 255)
            _check_values(path, chunk[[_LABEL]], len(CODES) - 1)
            values = chunk[_PIXEL_COLUMNS].to_numpy(np.uint8)
            pixels.append(values.reshape(-1, SIDE, SIDE, 3))
            labels.append(chunk[_LABEL].to_numpy(np.int64))
    if not sum(map(len, labels)):
        raise DataError(f"{path} has a header but no rows: download it again.")
    return np.concatenate(pixels), np.concatenate(labels)


def _check_header(path: Path, line: str) -> list[str]:
    """The columns of the header, which must be Kaggle's in Kaggle's order."""
    columns = next(csv.reader([line]), [])
    expected = [*_PIXEL_COLUMNS, _LABEL]
    if not columns:
        raise DataError(f"{path} is empty: it needs a header and rows.")
    if columns == expected:
        return columns
    for column in expected:
        if column not in columns:
            raise DataError(f"{path}: the header has no column {column}; is it the right file?")
    for column in columns:
        if column not in expected or columns.count(column) > 1:
            raise DataError(f"{path}: the header has a column {column!r} too many.")
    raise DataError(f"{path}: the header’s columns are not in the order pixel0000 … label.")


def _check_surplus(path: Path, column: pd.Series) -> None:
    """Raise a DataError for the first row that has a value in a column beyond the last."""
    surplus = column.dropna()
    if len(surplus):
        raise DataError(
            f"{path}, row {surplus.index[0] + 1}: there are more values than the "
            f"{len(_PIXEL_COLUMNS) + 1} columns."
        )


def _check_values(path: Path, chunk: pd.DataFrame, highest: int) -> None:
    """Raise a DataError for the first value that is no whole number of 0 to `highest`."""
    numbers = chunk.apply(pd.to_numeric, errors="coerce") if _has_text(chunk) else chunk
    values = numbers.to_numpy()
    wrong = ~((values >= 0) & (values <= highest) & (np.floor(values) == values))  # and NaN
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        value = chunk.iloc[row, column]
        found = (
            "nothing" if pd.isna(value) else repr(value.item() if hasattr(value, "item") else value)
        )
        raise DataError(
            f"{path}, row {chunk.index[row] + 1}, column {chunk.columns[column]}: found {found} "
            f"instead of a whole number of 0 to {highest}."
        )


def _has_text(chunk: pd.DataFrame) -> bool:
    return not all(pd.api.types.is_numeric_dtype(dtype) for dtype in chunk.dtypes)


# --- Kaggle's metadata -----------------------------------------------------------------------


def read_metadata(path: str | Path, labels: NDArray[np.int64]) -> pd.DataFrame:
    """Read what is known of each of the CSV's rows, and check that both files are of the same rows.

    Args:
        path: HAM10000_metadata.csv, with at least the columns `lesion_id` and `dx`.
        labels: (N,), from `read_pixels`.

    Returns:
        N rows, all columns as text.

    Raises:
        DataError: another number of rows, or a `dx` that is not the row's label, and what
            `read_table` raises.
    """
    path = Path(path)
    table = read_table(path, ("lesion_id", "dx"))
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
    check_lesions(path, table["lesion_id"], labels)
    return table


def _lesion_ids(table: pd.DataFrame, labels: NDArray[np.int64]) -> NDArray[np.str_] | None:
    """The lesion of each row, known near-duplicates merged; None where the table has none."""
    if "lesion_id" not in table:
        return None
    lesion_ids = table["lesion_id"].to_numpy(str)
    if "image_id" not in table:
        return lesion_ids
    return merge_near_duplicates(lesion_ids, table["image_id"].to_numpy(str), labels)


def _groups(path: Path, table: pd.DataFrame) -> dict[str, NDArray[np.str_]]:
    """The groups of the rows by sex, age band, body site and clinic, where there is the column."""
    groups = {}
    for name, column in (("sex", "sex"), ("site", "localization")):
        if column in table:
            # A short row lacks its last cells, which pandas gives as NaN.
            groups[name] = table[column].fillna("").replace("", UNKNOWN).to_numpy(str)
    if "dataset" in table:  # which Kaggle's metadata lacks, and Harvard's has
        groups["clinic"] = _clinics(path, table["dataset"]).to_numpy(str)
    if "age" in table:
        ages = pd.to_numeric(table["age"], errors="coerce").to_numpy(float)
        bands = np.array(["under 30", "30–44", "45–59", "60–74", "75 and over"])
        band = bands[np.digitize(ages, [30, 45, 60, 75])]
        groups["age"] = np.where(np.isnan(ages), UNKNOWN, band)
    return groups


def read_sources(path: str | Path, image_ids: NDArray[np.str_] | None) -> NDArray[np.str_]:
    """Read which clinic and camera each image is from.

    Args:
        path: CSV with the columns `image_id` and `dataset`, such as `rosendahl`; further columns
            and images do not matter.
        image_ids: (N,), each to be found in it; None where they are not known.

    Returns:
        (N,), each image's `dataset`.

    Raises:
        DataError: an image without a row or with two, and what `read_table` raises.
    """
    path = Path(path)
    if image_ids is None:
        raise DataError(
            f"{path} goes by image_id, which is not known: name metadata with a column image_id."
        )
    table = read_table(path, ("image_id", "dataset"))
    table["dataset"] = _clinics(path, table["dataset"])
    return values_by_image(path, table, "dataset", image_ids)


def _clinics(path: Path, column: pd.Series) -> pd.Series:
    """The names of a column `dataset` without the blanks around them.

    Raises:
        DataError: a name too long for a table.
    """
    names = column.fillna("").str.strip().replace("", UNKNOWN)
    too_long = np.flatnonzero(names.str.len() > MOST_LETTERS)
    if len(too_long):
        raise DataError(
            f"{path}, row {too_long[0] + 1}, column dataset: the name has more than {MOST_LETTERS} "
            "letters; shorten it."
        )
    return names


# --- Images of one's own ---------------------------------------------------------------------

_SUFFIXES = (
    "", ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif",
)  # fmt: skip


def read_images(directory: str | Path, labels_path: str | Path) -> Dataset:
    """Make a data set from image files by the app's own reading and preprocessing.

    Args:
        directory: folder of image files named `image_id`, with or without a suffix.
        labels_path: CSV with the columns `image_id,dx[,lesion_id]`.

    Returns:
        The data set; its lesion_ids are None if the CSV has no such column.

    Raises:
        DataError: no such folder, spoiled or missing images (all are named), an image named
            twice, and what `read_table` raises.
    """
    directory, labels_path = Path(directory), Path(labels_path)
    if not directory.is_dir():
        raise DataError(f"{directory} is not a folder: say where the images are with --images.")
    table = read_table(labels_path, ("image_id", "dx"), optional=("lesion_id",))
    labels = labels_of(labels_path, table["dx"])
    check_unique(labels_path, table["image_id"])
    if "lesion_id" in table:
        check_lesions(labels_path, table["lesion_id"], labels)
    files = {path.name.lower(): path for path in directory.iterdir() if path.is_file()}
    pixels, faults = [], []
    for image_id in table["image_id"]:
        names = [f"{image_id}{suffix}".lower() for suffix in _SUFFIXES]
        file = next((files[name] for name in names if name in files), None)
        if file is None:
            faults.append(f"  {image_id}: no such file")
            continue
        try:
            pixels.append(preprocess(read_image(file.read_bytes())))
        except (ImageError, OSError) as error:
            faults.append(f"  {image_id}: {error}")
    if faults:
        raise DataError(
            f"{len(faults)} of {len(table)} images in {directory} cannot be used; mend them or "
            f"take their rows out of {labels_path}:\n" + "\n".join(faults)
        )
    return Dataset(
        np.stack(pixels),
        labels,
        _lesion_ids(table, labels),
        source="images of one's own",
        image_ids=table["image_id"].to_numpy(str),
        groups=_groups(labels_path, table),
    )
