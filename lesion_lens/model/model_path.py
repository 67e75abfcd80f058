"""Which file is to be served: what `MODEL_PATH` leads to, and what `MODEL_SHA256` demands of it."""

import os
import re
import stat
from pathlib import Path

from lesion_lens.model.errors import ModelFileError

_KERAS, _LITERT = (".h5", ".hdf5"), ".tflite"
_CHOICE = "name a file that ends in .h5 or .tflite."


def check_path(path: str | Path, remedy: str) -> None:
    """See that a path leads to a file that can be read and whose suffix names its kind.

    Args:
        path: of a model file.
        remedy: how to come by one that is missing; the end of the sentence.

    Raises:
        ModelFileError: it is empty, missing, no file, unreadable, or of another kind.
    """
    if not str(path).strip():
        raise ModelFileError(f"The path of the model file (MODEL_PATH) is empty: {_CHOICE}")
    suffix = Path(path).suffix
    is_ours = suffix.lower() in (*_KERAS, _LITERT)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            open(path, "rb").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFileError(f"{path} is missing: {remedy if is_ours else _CHOICE}") from error
    except (OSError, ValueError) as error:  # the second of a name that no system can hold
        why = getattr(error, "strerror", None) or error
        raise ModelFileError(f"{path} cannot be read ({why}): {_CHOICE}") from error
    if stat.S_ISDIR(mode):
        raise ModelFileError(f"{path} is a folder, not a model file: {_CHOICE}")
    if not stat.S_ISREG(mode):
        raise ModelFileError(f"{path} is a device, a pipe or a socket: {_CHOICE}")
    if suffix.lower() == ".keras":
        raise ModelFileError(
            f"{path} is in Keras's format .keras, which is not read here: save the model as .h5."
        )
    if not is_ours:
        raise ModelFileError(f"{path} does not end as a model file does: {_CHOICE}")
    if suffix not in (*_KERAS, _LITERT) and suffix.lower() != _LITERT:
        raise ModelFileError(
            f"{path} ends in {suffix}, and Keras knows only {suffix.lower()}: rename it."
        )


def check_pin(path: str | Path, sha256: str, wanted: str | None) -> None:
    """See that a model file is the one that is wanted.

    Args:
        path: of the file, for the sentence.
        sha256: its checksum in hexadecimal digits.
        wanted: the checksum that it must have, from the setting `MODEL_SHA256`; None for any.

    Raises:
        ModelFileError: it has another, or the setting is no checksum. An empty setting is none, so
            that a slip does not lift the demand.
    """
    if wanted is None:
        return
    wanted = wanted.strip().lower()
    if not re.fullmatch("[0-9a-f]{64}", wanted):
        raise ModelFileError(
            f"MODEL_SHA256 is {wanted[:80]!r}, not a checksum of 64 hexadecimal digits: set it to "
            f"that of {path}, or unset it."
        )
    if sha256 != wanted:
        raise ModelFileError(
            f"{path} is not the file that MODEL_SHA256 demands: its SHA-256 is {sha256}, not "
            f"{wanted}. Put the right file there, or change MODEL_SHA256 if the model is new."
        )


def check_unchanged(path: str | Path, sha256: str, before: str) -> None:
    """See that the file that was loaded is the one that was checked, and whose checksum is shown.

    Raises:
        ModelFileError: it was exchanged in between.
    """
    if sha256 != before:
        raise ModelFileError(f"{path} has changed since it was checked: start the app again.")
