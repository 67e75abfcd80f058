"""The data set: reading it, checking it, and splitting it by lesion.

Whatever is wrong with a file is a `DataError` that names the file and, where there is one, the
row and the column. Rows are counted from 1 without the header, as a spreadsheet's filter does.
"""

import csv
import hashlib
import re
import warnings
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from lesion_lens.model.errors import ImageError, SkinCancerDetectionError
from lesion_lens.model.images import read_image
from skin_cancer_detection import CODES, SIDE, preprocess

CSV_NAMES = ("hmnist_28_28_RGB.csv", "hmnist_28_28_RGB.csv.zip")
METADATA_NAME = "HAM10000_metadata.csv"
KAGGLE_HANDLE = "kmader/skin-cancer-mnist-ham10000"

# Shares of each class's lesions, in percent; what is left is the training part.
TEST_SHARE = 20
CALIBRATION_SHARE = 15
PARTS = ("training", "calibration", "test")

_PIXEL_COLUMNS = [f"pixel{i:04d}" for i in range(SIDE * SIDE * 3)]
_LABEL = "label"
_SURPLUS = "surplus"
# Rows read at once: 1,000 rows are 19 MB before they are checked and become uint8.
_CHUNK_ROWS = 1000


class DataError(SkinCancerDetectionError):
    """A data file that is missing, spoiled or contradicts itself."""


@dataclass(frozen=True)
class Dataset:
    """Images with their classes and lesions, row by row.

    Attributes:
        pixels: uint8 (N, 28, 28, 3), RGB, 0–255.
        labels: int64 (N,), 0–6, in the order of `CLASSES`.
        lesion_ids: str (N,); images of one lesion share it. None where it is not known.
        source: whose images these are; the pages claim what they say of HAM10000 only for it.
        image_ids: str (N,), or None where they are not known.
        groups: dict of "sex", "age" and "site" -> str (N,), as far as they are known: how the
            scores are broken down.
    """

    pixels: np.ndarray
    labels: np.ndarray
    lesion_ids: np.ndarray | None
    source: str = "HAM10000"
    image_ids: np.ndarray | None = None
    groups: dict = field(default_factory=dict)

    def only(self, rows):
        """The data set of some rows alone; `rows` is bool (N,) or int (M,)."""
        return replace(
            self,
            pixels=self.pixels[rows],
            labels=self.labels[rows],
            lesion_ids=None if self.lesion_ids is None else self.lesion_ids[rows],
            image_ids=None if self.image_ids is None else self.image_ids[rows],
            groups={name: values[rows] for name, values in self.groups.items()},
        )

    @property
    def sha256(self):
        """Hex checksum of pixels, labels and lesions; the same for a CSV and its zip."""
        checksum = hashlib.sha256(self.pixels.tobytes())
        checksum.update(self.labels.astype("<i8").tobytes())
        if self.lesion_ids is not None:
            checksum.update("\n".join(self.lesion_ids).encode())
        return checksum.hexdigest()


# --- Kaggle's CSV ----------------------------------------------------------------------------


def read_dataset(csv_path, metadata_path=None):
    """Read Kaggle's hmnist_28_28_RGB.csv and, with it, the lesion of every row.

    Args:
        csv_path: the CSV, plain or as the one member of a zip.
        metadata_path: HAM10000_metadata.csv in the same row order, or None.

    Returns:
        Dataset; its lesion_ids, image_ids and groups are None or empty without metadata.

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
        table["lesion_id"].to_numpy(str),
        image_ids=table["image_id"].to_numpy(str) if "image_id" in table else None,
        groups=_groups(table),
    )


def read_pixels(path):
    """Read pixels and labels, checking every value. Peaks at about 200 MB for HAM10000.

    Returns:
        uint8 (N, 28, 28, 3), RGB, 0–255, and int64 (N,), 0–6.

    Raises:
        DataError: no such file, a truncated zip, a wrong header, a row too long or too short, a
            value that is no whole number of 0–255, a label that is not 0–6, no rows.
    """
    path = Path(path)
    pixels, labels = [], []
    with _readable(path), _open_csv(path) as file:
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


def read_metadata(path, labels):
    """Read what is known of each of the CSV's rows, and check that both files are of the same rows.

    Args:
        path: HAM10000_metadata.csv, with at least the columns `lesion_id` and `dx`.
        labels: int64 (N,), from `read_pixels`.

    Returns:
        pandas.DataFrame of N rows, all columns as text.

    Raises:
        DataError: another number of rows, or a `dx` that is not the row's label, and what
            `_read_table` raises.
    """
    path = Path(path)
    table = _read_table(path, ("lesion_id", "dx"))
    if len(table) != len(labels):
        raise DataError(
            f"{path} has {len(table):,} rows but the CSV has {len(labels):,}: they must be the "
            "same images in the same order."
        )
    dx_labels = _labels_of(path, table["dx"])
    differing = np.flatnonzero(dx_labels != labels)
    if len(differing):
        row = differing[0]
        raise DataError(
            f"{path}, row {row + 1}, column dx: {table['dx'][row]}, but the CSV’s label there is "
            f"{labels[row]} ({CODES[labels[row]]}): the files do not belong together."
        )
    _check_lesions(path, table["lesion_id"], labels)
    return table


def _groups(table):
    """The groups of the rows by sex, age band and body site, where the table has the column."""
    groups = {}
    if "sex" in table:
        groups["sex"] = table["sex"].replace("", "unknown").to_numpy(str)
    if "age" in table:
        ages = pd.to_numeric(table["age"], errors="coerce").to_numpy(float)
        bands = np.array(["under 30", "30–44", "45–59", "60–74", "75 and over"])
        band = bands[np.digitize(ages, [30, 45, 60, 75])]
        groups["age"] = np.where(np.isnan(ages), "unknown", band)
    if "localization" in table:
        groups["site"] = table["localization"].replace("", "unknown").to_numpy(str)
    return groups


# --- Images of one's own ---------------------------------------------------------------------

_SUFFIXES = [
    "",
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".heic",
    ".heif",
]


def read_images(directory, labels_path):
    """Make a data set from image files by the app's own reading and preprocessing.

    Args:
        directory: folder of image files named `image_id`, with or without a suffix.
        labels_path: CSV with the columns `image_id,dx[,lesion_id]`.

    Returns:
        Dataset; its lesion_ids are None if the CSV has no such column.

    Raises:
        DataError: no such folder, spoiled or missing images (all are named), an image named
            twice, and what `_read_table` raises.
    """
    directory, labels_path = Path(directory), Path(labels_path)
    if not directory.is_dir():
        raise DataError(f"{directory} is not a folder: say where the images are with --images.")
    table = _read_table(labels_path, ("image_id", "dx"), optional=("lesion_id",))
    labels = _labels_of(labels_path, table["dx"])
    _check_unique(labels_path, table["image_id"])
    lesion_ids = None
    if "lesion_id" in table:
        _check_lesions(labels_path, table["lesion_id"], labels)
        lesion_ids = table["lesion_id"].to_numpy(str)
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
        lesion_ids,
        source="images of one's own",
        image_ids=table["image_id"].to_numpy(str),
        groups=_groups(table),
    )


# --- Splitting -------------------------------------------------------------------------------


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
            every part, and what `_read_table` raises.
    """
    path = Path(path)
    if image_ids is None:
        raise DataError(
            f"{path} goes by image_id, which is not known: name metadata with a column image_id."
        )
    table = _read_table(path, ("image_id", "split"))
    part_of = dict(zip(("train", "val", "test"), PARTS, strict=True))
    unknown = np.flatnonzero(~table["split"].isin(part_of))
    if len(unknown):
        raise DataError(
            f"{path}, row {unknown[0] + 1}, column split: found {table['split'][unknown[0]]!r} "
            "instead of train, val or test."
        )
    _check_unique(path, table["image_id"])
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


# --- Reading and checking tables -------------------------------------------------------------


@contextmanager
def _readable(path, header_lines=0):
    """Turn what reading can raise into one sentence that names the file.

    Args:
        path: the file.
        header_lines: how many lines pandas counts before the first row.
    """
    try:
        with warnings.catch_warnings():
            # pandas only warns of a first row that is longer than the header, and cuts it off.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path} is truncated or is no zip file: download it again.") from error
    except RuntimeError as error:  # an encrypted zip, or a compression that Python has not
        raise DataError(f"{path} cannot be unpacked ({error}): unpack it yourself.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file in UTF-8: is it the right file?") from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty: it needs a header and rows.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        # pandas gives the line of every row but the first, of which it only warns.
        line = re.search(r"in line (\d+)", str(error))
        row = int(line[1]) - header_lines if line else 1
        raise DataError(f"{path}, row {row}: there are more values than columns.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error


def _open_csv(path):
    if path.suffix.lower() != ".zip":
        return open(path, "rb")
    with zipfile.ZipFile(path) as archive:
        members = [
            name
            for name in archive.namelist()
            if name.lower().endswith(".csv") and not name.startswith("__MACOSX/")
        ]
        if len(members) != 1:
            raise DataError(f"{path} holds {len(members)} CSV files instead of one.")
        return archive.open(members[0])


def _check_header(path, line):
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


def _check_surplus(path, column):
    surplus = column.dropna()
    if len(surplus):
        raise DataError(
            f"{path}, row {surplus.index[0] + 1}: there are more values than the "
            f"{len(_PIXEL_COLUMNS) + 1} columns."
        )


def _check_values(path, chunk, highest):
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


def _has_text(chunk):
    return not all(pd.api.types.is_numeric_dtype(dtype) for dtype in chunk.dtypes)


def _read_table(path, required, optional=()):
    """Read a small CSV as text.

    Args:
        path: the file.
        required: columns that must be there.
        optional: columns that may be there; in both kinds no cell may be empty.

    Raises:
        DataError: no such file, no text, a missing column, an empty cell, no rows.
    """
    with _readable(path, header_lines=1):
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig"
        )
    for column in required:
        if column not in table:
            raise DataError(
                f"{path} has no column {column}: its header must name {', '.join(required)}."
            )
    if table.empty:
        raise DataError(f"{path} has a header but no rows.")
    for column in {*required, *optional} & set(table):
        # A short row lacks its last cells, which pandas gives as NaN whatever it is told.
        empty = np.flatnonzero(table[column].isna() | (table[column] == ""))
        if len(empty):
            raise DataError(f"{path}, row {empty[0] + 1}, column {column}: found nothing.")
    return table


def _labels_of(path, dx):
    unknown = np.flatnonzero(~dx.isin(CODES))
    if len(unknown):
        row = unknown[0]
        raise DataError(
            f"{path}, row {row + 1}, column dx: found {dx[row]!r} instead of one of "
            f"{', '.join(CODES)}."
        )
    return dx.map(CODES.index).to_numpy(np.int64)


def _check_unique(path, column):
    repeated = np.flatnonzero(column.duplicated())
    if len(repeated):
        raise DataError(
            f"{path}, row {repeated[0] + 1}, column {column.name}: {column[repeated[0]]} stands "
            "there twice; remove one of the two rows."
        )


def _check_lesions(path, lesion_ids, labels):
    """A lesion must have one class: else two parts would share it."""
    first_rows = {}
    for row, lesion_id in enumerate(lesion_ids):
        first = first_rows.setdefault(lesion_id, row)
        if labels[first] != labels[row]:
            raise DataError(
                f"{path}, row {row + 1}, column dx: lesion {lesion_id} is {CODES[labels[row]]} "
                f"here but {CODES[labels[first]]} in row {first + 1}; a lesion has one class."
            )
