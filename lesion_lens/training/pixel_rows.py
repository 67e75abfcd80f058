"""Reading the rows of Kaggle's hmnist_28_28_RGB.csv strictly: each value is a whole number.

Nothing is guessed: a value that is not a whole number in its range is rejected, with its row and
column. NumPy reads a thousand rows at once; only a block with something unusual in it is checked
value by value.
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
_WHOLE = re.compile(rb"[ \t]*\+?(\d+)(?:\.0*)?[ \t]*")  # 12, or 12.0 as floats are written


def read_pixels(path: str | Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read pixels and labels, checking every value. Peaks at about 200 MB for HAM10000.

    Returns:
        The pixels (N, 28, 28, 3), RGB, 0–255, and the labels (N,), 0–6.

    Raises:
        DataError: the file is missing, a truncated zip, or has a wrong header, no rows, a row that
            is too long or too short, a value that is not a whole number from 0 to 255, or a
            label that is not 0–6.
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
    """Read the next line with its end, up to a limit in case the file has no line ends."""
    line = file.readline(MAX_LINE + 1)
    if len(line) > MAX_LINE:
        raise DataError(
            f"{path}, {f'row {row}' if row else 'header'}: the line has more than {MAX_LINE:,} "
            "bytes; is it the right file?"
        )
    return line


def _blocks(path: Path, file: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the rows without line ends, up to `_BLOCK_ROWS` at a time; skip empty lines."""
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
    """Check that the header is Kaggle's, in Kaggle's order."""
    text = check_text(path, line, 0).rstrip("\r\n")
    if not text:
        raise DataError(f"{path} is empty: it needs a header and rows.")
    if "\r" in text:
        raise DataError(
            f"{path}: its lines end in CR alone, as on an old Mac; save it as CSV again."
        )
    columns = tuple(next(csv.reader([text])))
    if columns == COLUMNS:
        return
    for column in COLUMNS:
        if column not in columns:
            raise DataError(f"{path}: the header has no column {column}; is it the right file?")
    for column in columns:
        if column not in COLUMNS or columns.count(column) > 1:
            raise DataError(f"{path}: the header has an extra column {shown(column)}: remove it.")
    raise DataError(
        f"{path}: the header’s columns are not in the order pixel0000 … label; download it again."
    )


def _numbers(path: Path, lines: list[bytes], first: int) -> NDArray[np.int64]:
    """Read the numbers of some rows.

    Args:
        path: their file, for the message.
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
    if numbers is None:  # they may be whole numbers in another notation, such as 12.0
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
    """Read rows that have only digits and commas; None for any others."""
    text = b",".join(lines)
    has_gap = b",," in text or text.startswith(b",") or text.endswith(b",")
    if has_gap or text.translate(None, b"0123456789,"):
        return None
    if text.count(b",") + 1 != len(lines) * len(COLUMNS):
        return None
    # A number beyond 64 bits becomes the largest int64, which is out of range all the same.
    return np.fromstring(text, np.int64, sep=",").reshape(len(lines), len(COLUMNS))


def _rewritten(path: Path, line: bytes, row: int) -> bytes:
    """Rewrite the whole numbers of a row in digits alone.

    Raises:
        DataError: for the first value that is not a whole number.
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
        f"whole number from 0 to {_HIGHEST[column]}; correct it, or download the file again."
    )
