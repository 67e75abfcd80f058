"""Which file is to be served: what `MODEL_PATH` leads to, and what `MODEL_SHA256` demands of it."""

import os
import re
import stat
from pathlib import Path

from lesion_lens.model.errors import ModelFileError
from skin_cancer_detection import CODES

_KERAS, _LITERT = (".h5", ".hdf5"), ".tflite"
_CHOICE = "name a file that ends in .h5 or .tflite."
_REMEDY = "run `python train.py` to make it again."
_EXPORT_REMEDY = (
    "run `python train.py --export {}`, with the packages of requirements.txt, to make it again."
)


def is_litert(path: str | Path) -> bool:
    """Whether a model file is for LiteRT, by its suffix."""
    return Path(path).suffix.lower() == ".tflite"


def is_keras_archive(path: str | Path) -> bool:
    """Whether a file is in Keras's newer format, by its suffix."""
    return Path(path).suffix.lower() == ".keras"


def naming_command(path: str | Path) -> str:
    """The command that makes a model file of one that does not say the order of its classes."""
    target = Path(path).with_suffix(".h5")
    if target == Path(path):
        target = target.with_stem(f"{target.stem}-named")
    order = ",".join(CODES)
    return f"python train.py --output {path} --export {target} --classes {order}"


def remedy_of(path: str | Path) -> str:
    """How to come by a sound model file: the end of an error's sentence."""
    return _EXPORT_REMEDY.format(path) if is_litert(path) else _REMEDY


def check_path(path: str | Path, remedy: str, to_convert: bool = False) -> None:
    """See that a path leads to a file that can be read and whose suffix names its kind.

    Args:
        path: of a model file.
        remedy: how to come by one that is missing; the end of the sentence.
        to_convert: whether a .keras will do, because it is not served as it is.

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
    if is_keras_archive(path):
        if to_convert:
            return
        raise ModelFileError(
            f"{path} is in Keras's format .keras, which does not say the order of the classes: "
            f"make a model file of it by `{naming_command(path)}`, with the order of its outputs."
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
