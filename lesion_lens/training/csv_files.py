"""Opening CSV files with a size limit; errors in reading become a `DataError`.

A data file may be damaged, huge, or not a file at all, so reading is bounded, and messages quote
at most 40 characters of a value.
"""

import csv
import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from lesion_lens.training.errors import DataError

MAX_BYTES = 1_000_000_000  # of a CSV, unpacked; HAM10000's has 92 million
MAX_LINE = 10_000_000  # bytes; a line of HAM10000's has up to 9,412
_SHOWN = 40  # characters of a value that a message quotes


def shown(value: object) -> str:
    """Quote a value for a message: in quotation marks, at most 40 characters."""
    text = str(value)
    if len(text) <= _SHOWN:
        return repr(text)
    return f"{text[:_SHOWN]!r}… ({len(text):,} letters)"


@contextmanager
def open_csv(path: Path, most: int = MAX_BYTES) -> Iterator[BinaryIO]:
    """Open a CSV, plain or as the one member of a zip.

    Args:
        path: the file.
        most: the most bytes that it may have, unpacked.

    Raises:
        DataError: it is not a file or is too large, or the zip has no CSV or several.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise DataError(f"{path} is a folder, a device or a pipe: name a file.")
    if path.suffix.lower() != ".zip":
        _check_size(path, path.stat().st_size, most)
        with open(path, "rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        members = [
            member
            for member in archive.infolist()
            if member.filename.lower().endswith(".csv")
            and not member.filename.startswith("__MACOSX/")
        ]
        if len(members) != 1:
            raise DataError(
                f"{path} holds {len(members)} CSV files instead of one: unpack it and name the CSV."
            )
        _check_size(path, members[0].file_size, most)  # zipfile unpacks no more than this
        # Buffered, because zipfile itself finds the ends of lines far more slowly.
        with archive.open(members[0]) as member:
            yield io.BufferedReader(cast(io.RawIOBase, member))


def _check_size(path: Path, size: int, most: int) -> None:
    if size > most:
        raise DataError(
            f"{path} has {size / 1e6:,.0f} MB, more than the {most // 1_000_000} MB "
            "allowed: is it the right file?"
        )


def check_text(path: Path, data: bytes, row: int) -> str:
    """Decode some lines.

    Args:
        path: their file, for the message.
        data: the lines; a byte order mark at the start is dropped.
        row: the number of the first line; 0 is the header.

    Raises:
        DataError: the lines are not UTF-8, or hold a NUL, as a table saved as UTF-16 does.
    """
    try:
        text = data.decode("utf-8-sig")
        wrong = data.find(b"\0")
    except UnicodeDecodeError as error:
        text, wrong = "", error.start
    if wrong >= 0:
        row += data.count(b"\n", 0, wrong)
        place = f", row {row}" if row else ""
        raise DataError(
            f"{path}{place} is not a text file in UTF-8: is it the right file? If so, save it as "
            "CSV in UTF-8."
        )
    return text


@contextmanager
def as_data_error(path: Path) -> Iterator[None]:
    """Turn errors in reading into a `DataError` that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file.") from error
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise DataError(f"{path} is truncated or not a zip file: download it again.") from error
    except RuntimeError as error:  # an encrypted zip, or a compression that Python lacks
        why = str(error)[:200]
        raise DataError(f"{path} cannot be unpacked ({why}): unpack it yourself.") from error
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV ({error}): save it as CSV again.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        fault = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read ({fault}): name another file.") from error
