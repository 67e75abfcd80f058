"""The data set: images, labels and lesions, read from Kaggle's CSV or from a folder of images.

What is wrong with a file is a `DataError`, as in tables.py.
"""

import hashlib
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion_lens.model.errors import ImageError
from lesion_lens.model.facts import MOST_LETTERS
from lesion_lens.model.image_files import UnreadableFile, read
from lesion_lens.model.images import read_image
from lesion_lens.model.limits import SUFFIXES
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
from skin_cancer_detection import CODES, preprocess

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
    table = read_table(path, ("lesion_id", "dx"), optional=("image_id",))
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
    for column in {"lesion_id", "image_id"} & set(table):
        check_spelling(path, table[column])
    if "image_id" in table:
        check_unique(path, table["image_id"])
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
    """The groups of the rows by sex, age band, body site and clinic, where there is the column.

    Raises:
        DataError: an age that is none, or a name that is too long or spelt in two ways.
    """
    groups = {}
    for name, column in (("sex", "sex"), ("site", "localization")):
        if column in table:
            names = table[column].replace("", UNKNOWN)
            _check_names(path, names)
            groups[name] = names.to_numpy(str)
    if "dataset" in table:  # which Kaggle's metadata lacks, and Harvard's has
        groups["clinic"] = _clinics(path, table["dataset"]).to_numpy(str)
    if "age" in table:
        ages = _ages(path, table["age"])
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
        DataError: a name too long for a table, or spelt in two ways.
    """
    names = column.str.strip().replace("", UNKNOWN)
    _check_names(path, names)
    return names


def _check_names(path: Path, names: pd.Series) -> None:
    too_long = np.flatnonzero(names.str.len() > MOST_LETTERS)
    if len(too_long):
        raise DataError(
            f"{path}, row {too_long[0] + 1}, column {names.name}: the name has more than "
            f"{MOST_LETTERS} letters; shorten it."
        )
    check_spelling(path, names)


_AGE = re.compile(r"\d{1,3}(\.\d{1,9})?")
_OLDEST = 130
_NO_AGE = {"", UNKNOWN, "na", "n/a", "nan", "none", "null"}


def _ages(path: Path, column: pd.Series) -> NDArray[np.float64]:
    """The ages in years, NaN where nothing is known.

    Raises:
        DataError: a cell that is neither, which would be of no age band or of a wrong one.
    """
    ages = np.full(len(column), np.nan)
    for row, cell in enumerate(column.str.strip()):
        if cell.lower() in _NO_AGE:
            continue
        if not _AGE.fullmatch(cell) or float(cell) > _OLDEST:
            raise DataError(
                f"{path}, row {row + 1}, column age: found {shown(cell)} instead of years, 0 to "
                f"{_OLDEST}; mend it, or leave it empty."
            )
        ages[row] = float(cell)
    return ages


# --- Images of one's own ---------------------------------------------------------------------

_MOST_FAULTS = 50  # that are listed; a folder may have thousands


def read_images(directory: str | Path, labels_path: str | Path) -> Dataset:
    """Make a data set from image files by the app's own reading and preprocessing.

    Args:
        directory: folder of image files named `image_id`, with or without a suffix.
        labels_path: CSV with the columns `image_id,dx[,lesion_id]`.

    Returns:
        The data set; its lesion_ids are None if the CSV has no such column.

    Raises:
        DataError: no such folder, spoiled or missing images (the first 50 are named), an image
            named twice, and what `read_table` raises.
    """
    directory, labels_path = Path(directory), Path(labels_path)
    if not directory.is_dir():
        raise DataError(f"{directory} is not a folder: say where the images are with --images.")
    table = read_table(labels_path, ("image_id", "dx"), optional=("lesion_id",))
    labels = labels_of(labels_path, table["dx"])
    check_unique(labels_path, table["image_id"])
    check_spelling(labels_path, table["image_id"])
    if "lesion_id" in table:
        check_spelling(labels_path, table["lesion_id"])
        check_lesions(labels_path, table["lesion_id"], labels)
    groups = _groups(labels_path, table)
    files = _files_of(directory, labels_path, table["image_id"])
    pixels, faults = [], []
    for image_id, found in zip(table["image_id"], files, strict=True):
        try:
            pixels.append(preprocess(read_image(read(_only(found)))))
        except (ImageError, UnreadableFile) as error:
            faults.append(f"  {image_id[:100]}: {error.at_the_command_line()}")
    if faults:
        more = len(faults) - _MOST_FAULTS
        listed = [*faults[:_MOST_FAULTS], *([f"  and {more:,} more"] if more > 0 else [])]
        raise DataError(
            f"{len(faults)} of {len(table)} images in {directory} cannot be used; mend them or "
            f"take their rows out of {labels_path}:\n" + "\n".join(listed)
        )
    return Dataset(
        np.stack(pixels),
        labels,
        _lesion_ids(table, labels),
        source="images of one's own",
        image_ids=table["image_id"].to_numpy(str),
        groups=groups,
    )


def _files_of(directory: Path, labels_path: Path, image_ids: pd.Series) -> list[list[str]]:
    """For each image, the paths that it may mean: one, unless something is wrong.

    Raises:
        DataError: the folder cannot be read, or two rows mean one file.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    try:
        for entry in os.scandir(directory):
            by_name[entry.name.lower()].append(entry.path)
    except OSError as error:
        raise DataError(
            f"{directory} cannot be read ({error.strerror}): name another folder."
        ) from error
    found: list[list[str]] = []
    row_of: dict[str, int] = {}
    for row, image_id in enumerate(image_ids, 1):
        names = dict.fromkeys(f"{image_id}{suffix}".lower() for suffix in ("", *SUFFIXES))
        paths = [path for name in names for path in by_name.get(name, ())]
        exact = [path for path in paths if os.path.basename(path) == image_id]
        files = [path for path in exact or paths if not os.path.isdir(path)]
        found.append(files or paths)
        for path in files:
            first = row_of.setdefault(os.path.realpath(path), row)
            if first != row:
                raise DataError(
                    f"{labels_path}, row {row}, column image_id: {shown(image_id)} is the file "
                    f"{shown(os.path.basename(path))}, as {shown(image_ids[first - 1])} in row "
                    f"{first} is; remove one of the two rows."
                )
    return found


def _only(paths: list[str]) -> str:
    """The one path of an image.

    Raises:
        UnreadableFile: there is none, or there are several.
    """
    if not paths:
        raise UnreadableFile("no such file")
    if len(paths) > 1:
        names = " and ".join(shown(os.path.basename(path)) for path in paths[:2])
        raise UnreadableFile(f"there are {names}; rename one, or write its suffix in the table")
    return paths[0]
