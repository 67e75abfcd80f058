"""CSV files: reading one, and checking its columns, labels and lesions.

Whatever is wrong with a file becomes a `DataError` that names the file and, where there is one, the
row and the column. Rows are counted from 1 without the header, as a spreadsheet's filter does.
"""

import re
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion_lens.training.errors import DataError
from skin_cancer_detection import CODES

TAB_SEPARATED = (".tab", ".tsv")  # Harvard Dataverse gives the metadata as .tab


def read_table(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    """Read a small CSV, or a table separated by tabs, every cell as text.

    Args:
        path: the file, plain or as the one member of a zip.
        required: columns that must be there.
        optional: columns that may be there; in both kinds no cell may be empty.

    Raises:
        DataError: no such file, no text, a missing column, an empty cell, no rows.
    """
    with as_data_error(path, header_lines=1), open_csv(path) as file:
        table = pd.read_csv(
            file,
            sep="\t" if path.suffix.lower() in TAB_SEPARATED else ",",
            dtype=str,
            keep_default_na=False,
            index_col=False,
            encoding="utf-8-sig",
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


def labels_of(path: Path, dx: pd.Series) -> NDArray[np.int64]:
    """Turn a column of `dx` codes into labels (N,), 0–6.

    Raises:
        DataError: a cell that is no code of one of the seven classes.
    """
    unknown = np.flatnonzero(~dx.isin(CODES))
    if len(unknown):
        row = unknown[0]
        raise DataError(
            f"{path}, row {row + 1}, column dx: found {dx[row]!r} instead of one of "
            f"{', '.join(CODES)}."
        )
    return dx.map(CODES.index).to_numpy(np.int64)


def check_unique(path: Path, column: pd.Series) -> None:
    """Raise a `DataError` for the first cell that stands in the column a second time."""
    repeated = np.flatnonzero(column.duplicated())
    if len(repeated):
        raise DataError(
            f"{path}, row {repeated[0] + 1}, column {column.name}: {column[repeated[0]]} stands "
            "there twice; remove one of the two rows."
        )


def values_by_image(
    path: Path, table: pd.DataFrame, column: str, image_ids: NDArray[np.str_]
) -> NDArray[np.str_]:
    """Look up a column's value for each image, whatever the order of the table's rows.

    Args:
        path: the table's file.
        table: has the column, and `image_id`.
        column: the one to look up.
        image_ids: (N,).

    Returns:
        (N,).

    Raises:
        DataError: an image that the table names twice or does not name.
    """
    check_unique(path, table["image_id"])
    value_of = dict(zip(table["image_id"], table[column], strict=True))
    missing = [image_id for image_id in image_ids.tolist() if image_id not in value_of]
    if missing:
        raise DataError(
            f"{path} has no row for {len(missing):,} of the images, such as {missing[0]}: add them."
        )
    return np.array([value_of[image_id] for image_id in image_ids.tolist()])


def check_lesions(path: Path, lesion_ids: Iterable[str], labels: NDArray[np.int64]) -> None:
    """Raise a `DataError` for a lesion of two classes, which two parts would share."""
    first_rows: dict[str, int] = {}
    for row, lesion_id in enumerate(lesion_ids):
        first = first_rows.setdefault(lesion_id, row)
        if labels[first] != labels[row]:
            raise DataError(
                f"{path}, row {row + 1}, column dx: lesion {lesion_id} is {CODES[labels[row]]} "
                f"here but {CODES[labels[first]]} in row {first + 1}; a lesion has one class."
            )


def open_csv(path: Path) -> IO[bytes]:
    """Open a CSV, plain or as the one member of a zip."""
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


@contextmanager
def as_data_error(path: Path, header_lines: int = 0) -> Iterator[None]:
    """Turn whatever reading can raise into a `DataError` that names the file.

    Args:
        path: the file that is read inside the context.
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
