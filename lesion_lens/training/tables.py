"""Reading small tables, and checking their columns, labels, names and lesions.

A fault raises a `DataError` that names the file and, if there is one, the row and the column. Rows
are counted from 1, without the header.
"""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion_lens.training.csv_files import MAX_LINE, as_data_error, check_text, open_csv, shown
from lesion_lens.training.errors import DataError
from lesion_lens.training.image_folders import bare_name
from skin_cancer_detection import CODES

TAB_SEPARATED = (".tab", ".tsv")  # Harvard Dataverse serves the metadata as .tab
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
MAX_BYTES = 50_000_000  # of a table; HAM10000's metadata has half a million
MAX_LETTERS = 1000  # of a cell: NumPy stores every cell of a column at the longest one's size


def read_table(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    may_be_blank: str | None = None,
) -> pd.DataFrame:
    """Read a small table, with every cell as text.

    The columns are separated by commas, or by semicolons or tabs if the header has no comma.

    Args:
        path: the file, plain or as the one member of a zip.
        required: columns that must exist, without empty cells.
        optional: columns that may exist, also without empty cells.
        may_be_blank: the one of these columns that may have empty cells.

    Raises:
        DataError: the file is missing, is not text or has no rows; a column is missing or repeated;
            a row is too long or too short; or a cell is empty, too long or has a line break.
    """
    with as_data_error(path), open_csv(path, MAX_BYTES) as file:
        text = check_text(path, file.read(), 0)
    separator = _separator(path, text)
    rows = _rows(path, text, separator)
    if not rows:
        raise DataError(f"{path} is empty: it needs a header and rows.")
    header = rows.pop(0)
    _check_columns(path, header, required)
    _check_cells(path, header, rows, SEPARATORS[separator])
    table = pd.DataFrame(rows, columns=header, dtype=object)
    if table.empty:
        raise DataError(f"{path} has a header but no rows: add some, or name another file.")
    for column in {*required, *optional} & set(table) - {may_be_blank}:
        empty = np.flatnonzero(table[column].str.strip() == "")
        if len(empty):
            raise found_nothing(path, empty[0] + 1, column)
    return table


def _separator(path: Path, text: str) -> str:
    """Return what separates the columns: Excel writes semicolons where commas are decimal."""
    if path.suffix.lower() in TAB_SEPARATED:
        return "\t"
    header = next(filter(str.strip, io.StringIO(text, newline="")), "")
    return next((sign for sign in SEPARATORS if sign in header), ",")


def _rows(path: Path, text: str, separator: str) -> list[list[str]]:
    """Return the cells of the header and of each row, skipping empty lines.

    Raises:
        DataError: a quotation mark is misplaced or not closed.
    """
    rows: list[list[str]] = []
    # The limit is the csv module's, for the whole process; the default fails on very long cells.
    before = csv.field_size_limit(MAX_LINE)
    try:
        lines = io.StringIO(text, newline="")
        rows.extend(filter(None, csv.reader(lines, delimiter=separator, strict=True)))
    except csv.Error as error:
        place = f"row {len(rows)}" if rows else "header"
        raise DataError(
            f"{path}, {place}: this is not CSV ({error}); correct its quotation marks, or save the "
            "table as CSV again."
        ) from error
    finally:
        csv.field_size_limit(before)
    return rows


def _check_columns(path: Path, header: list[str], required: Sequence[str]) -> None:
    for column in required:
        if column not in header:
            hint = " Its columns seem to be separated by '|'; save it with commas."
            raise DataError(
                f"{path} has no column {column}: its header must name {', '.join(required)}."
                f"{hint if '|' in header[0] and len(header) == 1 else ''}"
            )
    repeated = [column for column in header if column and header.count(column) > 1]
    if repeated:
        raise DataError(
            f"{path} has two columns {shown(repeated[0])}: rename or remove one of them."
        )


def _check_cells(path: Path, header: list[str], rows: list[list[str]], separator: str) -> None:
    """Check that each row has as many cells as the header, none too long or with a line break."""
    for row, cells in enumerate(rows, 1):
        if len(cells) > len(header):
            raise DataError(
                f"{path}, row {row}: there are more values than columns; put values that contain "
                f"a {separator} in quotation marks."
            )
        if len(cells) < len(header):
            raise DataError(
                f"{path}, row {row}, column {header[len(cells)][:40]}: found nothing, because the "
                f"row has only {len(cells)} of {len(header)} values; add {separator}s for the "
                "others."
            )
        for column, cell in zip(header, cells, strict=True):
            if len(cell) > MAX_LETTERS:
                raise DataError(
                    f"{path}, row {row}, column {shown(column)}: found {shown(cell)}, more than "
                    f"the {MAX_LETTERS:,} characters that a cell may have; shorten it."
                )
            # Valid CSV, but usually a stray quotation mark has swallowed rows.
            if "\n" in cell or "\r" in cell:
                raise DataError(
                    f"{path}, row {row}, column {shown(column)}: the cell contains a line break; "
                    "remove it, or the quotation mark before it."
                )


def found_nothing(path: Path, row: int, column: str) -> DataError:
    return DataError(
        f"{path}, row {row}, column {column[:40]}: found nothing; fill it in, or remove the row."
    )


def labels_of(path: Path, dx: pd.Series) -> NDArray[np.int64]:
    """Turn a column of `dx` codes, in upper or lower case, into labels (N,), 0–6.

    Raises:
        DataError: a cell is not the code of one of the seven classes.
    """
    codes = dx.str.strip().str.lower()
    unknown = np.flatnonzero(~codes.isin(CODES))
    if len(unknown):
        row = unknown[0]
        raise DataError(
            f"{path}, row {row + 1}, column dx: found {shown(dx[row])} instead of one of "
            f"{', '.join(CODES)}."
        )
    return codes.map(CODES.index).to_numpy(np.int64)


def check_unique(path: Path, column: pd.Series) -> None:
    """Raise a `DataError` for the first cell that repeats an earlier one in the column."""
    repeated = np.flatnonzero(column.duplicated())
    if len(repeated):
        raise DataError(
            f"{path}, row {repeated[0] + 1}, column {column.name}: {column[repeated[0]][:40]} "
            "appears twice; remove one of the two rows."
        )


def check_spelling(path: Path, column: pd.Series) -> None:
    """Raise a `DataError` for the first cell that differs from another only in spelling.

    Two spellings that differ only in capitals or blanks would count as two lesions, images or
    groups. A cell with a non-printable character raises it too.
    """
    first_rows: dict[str, int] = {}
    values = column.to_numpy()
    _, firsts = np.unique(values.astype(str), return_index=True)
    for row in sorted(firsts.tolist()):
        value = str(values[row])
        if not value.isprintable():
            raise DataError(
                f"{path}, row {row + 1}, column {column.name}: found {shown(value)}, which has "
                "a character that cannot be printed; remove it."
            )
        key = " ".join(unicodedata.normalize("NFKC", value).casefold().split())
        first = first_rows.setdefault(key, row)
        if first != row:
            raise DataError(
                f"{path}, row {row + 1}, column {column.name}: found {shown(value)}, but "
                f"{shown(values[first])} in row {first + 1}; write both alike, or rename one of "
                "them."
            )


def values_by_image(
    path: Path, table: pd.DataFrame, column: str, image_ids: NDArray[np.str_]
) -> NDArray[np.str_]:
    """Look up a column's value for each image, in any order of the table's rows.

    An image is found by its id, or else by its id without folder and suffix.

    Args:
        path: the table's file.
        table: has the column, and `image_id`.
        column: the one to look up.
        image_ids: (N,).

    Returns:
        (N,).

    Raises:
        DataError: an image is missing from the table, or in it twice.
    """
    check_unique(path, table["image_id"])
    check_spelling(path, table["image_id"])
    value_of = dict(zip(table["image_id"], table[column], strict=True))
    bare = [bare_name(image_id) for image_id in table["image_id"]]
    if len(set(bare)) == len(bare):
        by_bare_name = dict(zip(bare, table[column], strict=True))
        for image_id in image_ids.tolist():
            if image_id not in value_of and bare_name(image_id) in by_bare_name:
                value_of[image_id] = by_bare_name[bare_name(image_id)]
    missing = [image_id for image_id in image_ids.tolist() if image_id not in value_of]
    if missing:
        raise DataError(
            f"{path} has no row for {len(missing):,} of the images, such as {missing[0][:40]}: "
            "add the missing rows."
        )
    return np.array([value_of[image_id] for image_id in image_ids.tolist()])


def check_lesions(path: Path, lesion_ids: Iterable[str], labels: NDArray[np.int64]) -> None:
    """Raise a `DataError` for a lesion of two classes, which the split could put in two parts."""
    first_rows: dict[str, int] = {}
    for row, lesion_id in enumerate(lesion_ids):
        if labels[row] < 0:  # of no class
            continue
        first = first_rows.setdefault(lesion_id, row)
        if labels[first] != labels[row]:
            raise DataError(
                f"{path}, row {row + 1}, column dx: lesion {lesion_id[:40]} is "
                f"{CODES[labels[row]]} here but {CODES[labels[first]]} in row {first + 1}; correct "
                "one of them, or give the two lesions different ids."
            )
