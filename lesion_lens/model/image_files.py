"""Reads image files safely: a path may lead to a folder, a device or a huge file."""

import errno
import os
import stat

from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.limits import MAX_PIXELS, SUFFIXES

MAX_BYTES = 8 * MAX_PIXELS  # of a file; decoding may take less (`DECODE_MEMORY`)
_NO_FILE = "This is not an image file. Choose another."


class UnreadableFile(LesionLensError):
    """The path does not lead to a file, or the file cannot be read or is too large."""


def read(path: str) -> bytes:
    """Read a file of at most `MAX_BYTES` bytes.

    Raises:
        UnreadableFile: the path leads to a folder, a device, a pipe or a socket; the system refuses
            to read it; or the file is larger.
    """
    # Do not use pathlib: since Python 3.12 it keeps each name that it has seen in memory.
    try:
        _check(os.stat(path))  # before opening, because that alone starts some devices
        with open(path, "rb", opener=_open) as file:
            _check(os.fstat(file.fileno()))  # again, in case the file was exchanged in between
            # Ignore the reported size: some system files report 0 and never end.
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableFile(f"The file cannot be read ({error.strerror}).") from error
    if data is None:  # reading would block
        raise UnreadableFile(_NO_FILE)
    _check_size(len(data))
    return data


def is_image_name(path: str) -> bool | None:
    """Whether a file counts as an image by its name; None if only its bytes can tell.

    The suffix decides, in upper or lower case. Only the bytes can tell if there is no suffix, or
    one of digits, as in the numbers that DICOM files have as names. Hidden files do not count.
    """
    name = os.path.basename(path)
    suffix = os.path.splitext(name)[1].lower()
    if name.startswith("."):
        return False
    return suffix in SUFFIXES if suffix and not suffix[1:].isdecimal() else None


def may_be_image(path: str) -> bool:
    """Whether a file in a folder counts as an image, both in training and for `classify`.

    The name decides. If it cannot, the first bytes do; a file that cannot be opened then does not
    count.
    """
    by_name = is_image_name(path)
    if by_name is not None:
        return by_name
    from lesion_lens.model.images import SIGNATURE, has_known_signature  # loads all decoders

    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb", opener=_open) as file:
            return has_known_signature(file.read(SIGNATURE) or b"")
    except OSError:
        return False


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # which Windows lacks


def _check(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode):  # reading it may block or never end
        raise UnreadableFile(_NO_FILE)
    _check_size(found.st_size)


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UnreadableFile(
            f"The file has more than {MAX_BYTES // 1_000_000} MB. Make it smaller and retry."
        )
