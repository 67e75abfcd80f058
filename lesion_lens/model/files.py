"""The model file: what it must hold, and how it is saved, checked and loaded.

There are two kinds, told apart by their suffix. `best_model.h5` is a complete Keras model (HDF5)
whose attributes hold the facts of its training and the numbers for its decisions.
`best_model.tflite` is the same network for LiteRT, with the same attributes. h5py, Keras and
TensorFlow are imported only when they are needed; a `.tflite` needs none of them.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesion_lens import ROOT
from lesion_lens.model.architecture import as_keras_2_wrote
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.facts import can_serve_pages, without_spoiled
from lesion_lens.model.keras_files import hdf5, read_stored, text_of
from lesion_lens.model.litert_files import read_archived, read_network
from lesion_lens.model.model_path import (
    DEFAULT_STEM,
    check_path,
    is_keras_archive,
    is_litert,
    naming_command,
    remedy_of,
)
from lesion_lens.model.workspaces import workspace
from skin_cancer_detection import CODES

if TYPE_CHECKING:
    import keras

DEFAULT_MODEL_PATH = (ROOT / DEFAULT_STEM).with_suffix(".h5")
CLASS_ORDER = "class_order"  # attributes of the file, in addition to Keras's own
_ARCHITECTURE = "model_config"
_FACTS = "training_facts"
_KERAS_OWN = ("backend", "keras_version", _ARCHITECTURE, "training_config")


def save_model(
    model: "keras.Model",
    path: str | Path,
    facts: Mapping[str, Any],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write the complete model and the facts of its training to an HDF5 file, or nothing at all.

    The file replaces an older one only once it is complete and has passed `check_model_file`.
    Plain `keras.models.load_model` can read it, from the Keras of TensorFlow 2.5 on.

    Args:
        model: a `build_model()` that takes raw pixels, 0–255.
        path: the file to write. Keras requires the suffix .h5.
        facts: a mapping that JSON can hold; see `training.pipeline.training_facts`.
        attributes: further HDF5 attributes, texts or small arrays: the numbers for decisions.

    Raises:
        ModelFileError: the file cannot be written or would be invalid.
    """
    kept = {CLASS_ORDER: ",".join(CODES), _FACTS: json.dumps(facts)} | dict(attributes or {})
    with keras_file(model, path, kept):
        pass


@contextlib.contextmanager
def keras_file(
    model: "keras.Model", path: str | Path, attributes: Mapping[str, Any]
) -> Iterator[Path]:
    """Yield the path of an HDF5 file that Keras 2 and 3 can read, which replaces `path` at the end.

    If the block raises, `path` stays as it was.

    Args:
        model: a `build_model()`.
        path: the file to write. Keras requires the suffix .h5.
        attributes: texts or arrays, in addition to Keras's own attributes.

    Raises:
        ModelFileError: the file cannot be written or would be invalid.
    """
    with whole_file(Path(path), ".h5") as unfinished:
        try:
            with quiet():  # Keras warns that HDF5 is its older format
                model.save(unfinished, include_optimizer=False)
            with hdf5(path).File(unfinished, "r+") as file:
                file.attrs[_ARCHITECTURE] = as_keras_2_wrote(file.attrs[_ARCHITECTURE])
                file.attrs.update(attributes)
        except RuntimeError as error:  # from HDF5, if the disk is full when it closes the file
            raise unwritable(path, error) from error
        check_model_file(unfinished)
        yield unfinished


@contextlib.contextmanager
def whole_file(path: Path, suffix: str) -> Iterator[Path]:
    """Yield the path of an unfinished file, which replaces `path` at the end.

    Raises:
        ModelFileError: the system does not allow the file to be written.
    """
    try:
        with workspace(path.parent) as folder:
            unfinished = folder / f"unfinished{suffix}"
            yield unfinished
            os.replace(unfinished, path)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: str | Path, error: Exception) -> ModelFileError:
    # HDF5's own message is long, with the reason in its middle.
    reason = re.search("error message = '(.*?)'", str(error))
    return ModelFileError(
        f"{path} cannot be written ({reason[1] if reason else error}): free some space, or choose "
        "another place."
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Keras's warnings off the console."""
    from absl import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def check_model_file(path: str | Path) -> dict[str, Any]:
    """Check a model file without loading its network.

    Args:
        path: the file, of either kind.

    Returns:
        The facts of its training, which every page can show; empty if the file has none.

    Raises:
        ModelFileError: the file is missing, truncated or of the wrong kind; it holds a different
            network or weights that are not finite (in a `.tflite`, only the engine detects these
            two); its classes are in a different order; or the facts of its training are damaged.
    """
    check_path(path, remedy_of(path))
    path = Path(path)
    if is_litert(path):
        read_network(path)
    else:
        read_stored(path)
    attributes = read_attributes(path)
    _check_class_order(path, text_of(attributes.get(CLASS_ORDER)))
    try:
        facts = json.loads(attributes.get(_FACTS, "{}"))
        json.dumps(facts, ensure_ascii=False).encode()  # refuses half a surrogate pair
    except (ValueError, TypeError, RecursionError):
        facts = None
    if not can_serve_pages(facts):
        raise ModelFileError(f"{path} holds damaged facts of its training: {remedy_of(path)}")
    return without_spoiled(facts)


def read_attributes(path: str | Path) -> dict[str, Any]:
    """Read a model file's attributes: everything but its network.

    Args:
        path: a file that has passed `check_model_file`.

    Returns:
        Texts, numbers or arrays by name; from a .tflite, lists instead of arrays.

    Raises:
        ModelFileError: an attribute cannot be read.
    """
    if is_litert(path):
        return read_archived(path)
    if is_keras_archive(path):
        return {}
    try:
        with hdf5(path).File(path, "r") as file:
            return dict(file.attrs)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise ModelFileError(f"{path} holds damaged attributes: {remedy_of(path)}") from error


def kept_attributes(path: str | Path) -> dict[str, Any]:
    """The attributes that are not Keras's own. Every copy of a model file must keep them."""
    attributes = read_attributes(path)
    return {name: value for name, value in attributes.items() if name not in _KERAS_OWN}


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_training_facts(path: str | Path, facts: Mapping[str, Any]) -> None:
    """Write the facts of its training into an HDF5 file that is not yet in use.

    Raises:
        ModelFileError: the file cannot be written.
    """
    try:
        with hdf5(path).File(path, "r+") as file:
            file.attrs[_FACTS] = json.dumps(facts)
    except (OSError, RuntimeError) as error:
        raise unwritable(path, error) from error


def _check_class_order(path: Path, class_order: Any) -> None:
    if not isinstance(class_order, str):
        named = "" if is_litert(path) else f"give it with `{naming_command(path)}`, or "
        raise ModelFileError(
            f"{path} does not say the order of its classes: {named}{remedy_of(path)}"
        )
    if class_order != ",".join(CODES):
        raise ModelFileError(
            f"{path} has its classes in the order {class_order[:80]}, not {','.join(CODES)}: "
            f"{remedy_of(path)}"
        )


def load_model(path: str | Path = DEFAULT_MODEL_PATH) -> "keras.Sequential":
    """Load a Keras model file, to work with the network itself.

    Args:
        path: the HDF5 file, from any version of Keras since TensorFlow 2.

    Returns:
        A `build_model()` with the file's weights. It takes raw RGB pixels (N, 28, 28, 3), 0–255,
        and gives probabilities (N, 7).

    Raises:
        ModelFileError: the file is invalid, or its network is not ours.
    """
    check_model_file(path)
    return read_stored(path).build(path)
