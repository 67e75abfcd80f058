"""The rows of Kaggle's hmnist_28_28_RGB.csv: read strictly, each value a whole number.

Nothing is guessed: what is not written as a whole number within its range is refused by its row
and its column. NumPy reads a thousand rows at once; only a block in which something is wrong is
looked through value by value.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lesion_lens.training.csv_files import (
    MAX_LINE,
    as_data_error,
    check_text,
    open_csv,
    shown,
)
from lesion_lens.training.errors import DataError
from skin_cancer_detection import CODES, SIDE

LABEL = "label"
COLUMNS = (*(f"pixel{i:04d}" for i in range(SIDE * SIDE * 3)), LABEL)
_BLOCK_ROWS = 1000  # read at once: 9 MB of text, 19 MB of numbers
_WHOLE = re.compile(rb"[ \t]*\+?(\d+)(?:\.0*)?[ \t]*")  # 12, and as floats are written 12.0


def read_pixels(path: str | Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read pixels and labels, checking every value. Peaks at about 200 MB for HAM10000.

    Returns:
        The pixels (N, 28, 28, 3), RGB, 0–255, and the labels (N,), 0–6.

    Raises:
        DataError: no such file, a truncated zip, a wrong header, a row too long or too short, a
            value that is no whole number of 0–255, a label that is not 0–6, no rows.
    """
    path = Path(path)
    pixels, labels, rows = [], [], 0
    with as_data_error(path), open_csv(path) as file:
        _check_header(path, _line(path, file, 0))
        for lines in _blocks(path, file):
            numbers = _numbers(path, lines, rows + 1)
            pixels.append(numbers[:, :-1].astype(np.uint8).reshape(-1, SIDE, SIDE, 3))
            labels.append(numbers[:, -1].copy())
            rows += len(lines)
    if not rows:
        raise DataError(f"{path} has a header but no rows: download it again.")
    return np.concatenate(pixels), np.concatenate(labels)


def _line(path: Path, file: BinaryIO, row: int) -> bytes:
    """The next line with its end, which no file without one can draw out."""
    line = file.readline(MAX_LINE + 1)
    if len(line) > MAX_LINE:
        raise DataError(
            f"{path}, {f'row {row}' if row else 'header'}: the line has more than {MAX_LINE:,} "
            "bytes; is it the right file?"
        )
    return line


def _blocks(path: Path, file: BinaryIO) -> Iterator[list[bytes]]:
    """The rows, up to `_BLOCK_ROWS` at a time, without their ends; empty lines are no rows."""
    rows = 0
    lines: list[bytes] = []
    while line := _line(path, file, rows + len(lines) + 1):
        if row := line.rstrip(b"\r\n"):
            lines.append(row)
        if len(lines) == _BLOCK_ROWS:
            yield lines
            rows, lines = rows + len(lines), []
    if lines:
        yield lines


def _check_header(path: Path, line: bytes) -> None:
    """See that the header is Kaggle's, in Kaggle's order."""
    text = check_text(path, line, 0).rstrip("\r\n")
    if not text:
        raise DataError(f"{path} is empty: it needs a header and rows.")
    if "\r" in text:
        raise DataError(
            f"{path}: its lines end as those of an old Mac do, in CR alone; save it as CSV anew."
        )
    columns = tuple(next(csv.reader([text])))
    if columns == COLUMNS:
        return
    for column in COLUMNS:
        if column not in columns:
            raise DataError(f"{path}: the header has no column {column}; is it the right file?")
    for column in columns:
        if column not in COLUMNS or columns.count(column) > 1:
            raise DataError(f"{path}: the header has a column {shown(column)} too many: remove it.")
    raise DataError(
        f"{path}: the header’s columns are not in the order pixel0000 … label; download it again."
    )


def _numbers(path: Path, lines: list[bytes], first: int) -> NDArray[np.int64]:
    """The numbers of some rows.

    Args:
        path: their file, for a sentence.
        lines: N rows.
        first: the number of the first row.

    Returns:
        (N, 2353), the last column the labels.

    Raises:
        DataError: see `read_pixels`.
    """
    for row, line in enumerate(lines, first):
        if line.count(b",") >= len(COLUMNS):
            raise DataError(
                f"{path}, row {row}: there are more values than the {len(COLUMNS)} columns; remove "
                "the row, or download the file again."
            )
    numbers = _plain_numbers(lines)
    if numbers is None:  # among them may be others that are whole numbers as well
        lines = [_rewritten(path, line, row) for row, line in enumerate(lines, first)]
        numbers = _plain_numbers(lines)
        assert numbers is not None  # noqa: S101 (for mypy: each value has been seen)
    wrong = numbers > _HIGHEST
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise _bad_value(path, first + row, column, lines[row].split(b",")[column])
    return numbers


_HIGHEST = np.array([255] * (len(COLUMNS) - 1) + [len(CODES) - 1])


def _plain_numbers(lines: list[bytes]) -> NDArray[np.int64] | None:
    """The numbers of rows that have nothing but digits and commas; None of others."""
    text = b",".join(lines)
    has_gap = b",," in text or text.startswith(b",") or text.endswith(b",")
    if has_gap or text.translate(None, b"0123456789,"):
        return None
    if text.count(b",") + 1 != len(lines) * len(COLUMNS):
        return None
    # A number beyond 64 bits becomes the largest of them, which is beyond the range all the same.
    return np.fromstring(text, np.int64, sep=",").reshape(len(lines), len(COLUMNS))


def _rewritten(path: Path, line: bytes, row: int) -> bytes:
    """A row with its whole numbers in digits alone.

    Raises:
        DataError: for the first value that is none.
    """
    values = line.split(b",")
    for column, value in enumerate(values):
        whole = _WHOLE.fullmatch(value)
        if whole is None:
            raise _bad_value(path, row, column, value)
        values[column] = whole[1]
    if len(values) < len(COLUMNS):
        raise _bad_value(path, row, len(values), b"")
    return b",".join(values)


def _bad_value(path: Path, row: int, column: int, value: bytes) -> DataError:
    text = value.decode("utf-8", "replace").strip()
    found = text if text.isdecimal() and len(text) < 20 else shown(text)
    name = COLUMNS[column]
    return DataError(
        f"{path}, row {row}, column {name}: found {found if text else 'nothing'} instead of a "
        f"whole number of 0 to {_HIGHEST[column]}; mend it, or download the file again."
    )
