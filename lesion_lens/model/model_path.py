"""Checks the path and the checksum of the model file (`MODEL_PATH` and `MODEL_SHA256`)."""

import os
import re
import stat
from pathlib import Path

from lesion_lens import ROOT
from lesion_lens.model.errors import ModelFileError
from skin_cancer_detection import CODES

DEFAULT_STEM = "best_model"  # of the committed model files, in the root of the repository
_KERAS, _LITERT = (".h5", ".hdf5"), ".tflite"
_CHOICE = "name a file that ends in .h5 or .tflite."
_REMEDY = "run `python train.py{}` to make it again."
_EXPORT_REMEDY = (
    "run `python train.py --export {}`, with the packages of requirements.txt, to make it again."
)


def is_litert(path: str | Path) -> bool:
    """Whether a model file's suffix says that it is for LiteRT."""
    return Path(path).suffix.lower() == ".tflite"


def is_keras_archive(path: str | Path) -> bool:
    """Whether a file's suffix says that it is in Keras's newer format."""
    return Path(path).suffix.lower() == ".keras"


def naming_command(path: str | Path) -> str:
    """The command that makes a model file from one that does not say its order of classes."""
    target = Path(path).with_suffix(".h5")
    if target == Path(path):
        target = target.with_stem(f"{target.stem}-named")
    order = ",".join(CODES)
    return f"python train.py --output {path} --export {target} --classes {order}"


def remedy_of(path: str | Path) -> str:
    """How to get a valid model file: the end of an error message."""
    if is_litert(path):
        return _EXPORT_REMEDY.format(path)
    return _REMEDY.format("" if _is_default(path) else f" --output {path}")


def _is_default(path: str | Path) -> bool:
    path = Path(path)
    return path.stem == DEFAULT_STEM and path.parent in (ROOT, Path())


def check_path(path: str | Path, remedy: str, to_convert: bool = False) -> None:
    """Check that a path leads to a readable file with the suffix of a model file.

    Args:
        path: of a model file.
        remedy: how to get a missing file; the end of the error message.
        to_convert: whether to accept a .keras, because it will be converted before it is served.

    Raises:
        ModelFileError: the path is empty, or the file is missing, unreadable, of the wrong kind or
            not a regular file.
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
        if not is_ours:
            remedy = _CHOICE
        elif not _is_default(path):
            remedy = f"name another file, or {remedy}"
        raise ModelFileError(f"{path} is missing: {remedy}") from error
    except (OSError, ValueError) as error:  # ValueError: a name that the system does not allow
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
            f"make a model file from it with `{naming_command(path)}`, in the order of its outputs."
        )
    if not is_ours:
        raise ModelFileError(f"{path} does not have the suffix of a model file: {_CHOICE}")
    if suffix not in (*_KERAS, _LITERT) and suffix.lower() != _LITERT:
        raise ModelFileError(
            f"{path} ends in {suffix}, but Keras knows only {suffix.lower()}: rename it."
        )


def check_pin(path: str | Path, sha256: str, wanted: str | None) -> None:
    """Check that a model file has the required checksum.

    Args:
        path: of the file, for the error message.
        sha256: its checksum in hexadecimal digits.
        wanted: the required checksum, from the setting `MODEL_SHA256`; None for any.

    Raises:
        ModelFileError: the checksum differs, or the setting is not a checksum. An empty setting is
            not a checksum, so that a mistake does not disable the check.
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
            f"{path} is not the file that MODEL_SHA256 requires: its SHA-256 is {sha256}, not "
            f"{wanted}. Put the right file there, or change MODEL_SHA256 if the model is new."
        )


def check_unchanged(path: str | Path, sha256: str, before: str) -> None:
    """Check that the loaded file has the checksum that it had when it was checked.

    Raises:
        ModelFileError: the file has changed in between.
    """
    if sha256 != before:
        raise ModelFileError(f"{path} has changed since it was checked: start the app again.")
