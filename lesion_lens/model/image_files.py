"""From a path to the bytes of an image, whatever the path leads to."""

import errno
import os
import stat

from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.limits import MAX_PIXELS, SUFFIXES

MAX_BYTES = 8 * MAX_PIXELS  # of a file: no image that may be read has more, even uncompressed
_NO_FILE = "This is not a file that holds an image. Choose another."


class UnreadableFile(LesionLensError):
    """A path that leads to no file, to one that the system does not let us read, or a huge one."""


def read(path: str) -> bytes:
    """Read a file's bytes, at most `MAX_BYTES` of them.

    Raises:
        UnreadableFile: it is a folder, a device, a pipe or a socket, the system refuses, or there
            are more bytes.
    """
    # Not by pathlib, which keeps each name that it has seen for ever (Python 3.12 and later).
    try:
        _check(os.stat(path))  # before it is opened, which alone sets some devices going
        with open(path, "rb", opener=_open) as file:
            _check(os.fstat(file.fileno()))  # of what was opened, if it was exchanged meanwhile
            # Not the size that was told: some of the system's own files have 0 and never end.
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableFile(f"The file cannot be read ({error.strerror}).") from error
    if data is None:  # it would have had us wait
        raise UnreadableFile(_NO_FILE)
    _check_size(len(data))
    return data


def is_image_name(path: str) -> bool | None:
    """Whether a file is taken for an image by its name alone; None where only its bytes tell.

    A suffix decides, in capitals or not. A name without one, or with one of digits alone, as the
    numbers have that name DICOM files, tells nothing. A hidden file is never taken.
    """
    name = os.path.basename(path)
    suffix = os.path.splitext(name)[1].lower()
    if name.startswith("."):
        return False
    return suffix in SUFFIXES if suffix and not suffix[1:].isdecimal() else None


def may_be_image(path: str) -> bool:
    """Whether a file in a folder is taken for an image, in training and by `classify` alike.

    By its name, or else by its first bytes; a file that cannot be opened is none then.
    """
    by_name = is_image_name(path)
    if by_name is not None:
        return by_name
    from lesion_lens.model.images import SIGNATURE, has_known_signature  # which loads every decoder

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
    if not stat.S_ISREG(found.st_mode):  # reading it may wait, or go on, for ever
        raise UnreadableFile(_NO_FILE)
    _check_size(found.st_size)


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise UnreadableFile(
            f"The file has more than {MAX_BYTES // 1_000_000} MB. Make it smaller and retry."
        )
