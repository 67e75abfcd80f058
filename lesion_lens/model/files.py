"""The model file: what it must hold, and how it is saved, checked, loaded and exported.

Two kinds, told apart by the suffix. `best_model.h5` is a complete Keras model (HDF5) with the facts
of its training and of its decisions as attributes; `best_model.tflite` is the same network for
LiteRT, with the same attributes in a zip archive that is appended to it, as TensorFlow Lite's own
metadata travels: the interpreter reads from the beginning of the file, zipfile from its end. h5py,
Keras and TensorFlow are imported only where they are needed, and a `.tflite` needs none of them.
"""

import contextlib
import hashlib
import json
import os
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from lesion_lens import ROOT
from lesion_lens.model.backends import chosen_backend
from lesion_lens.model.errors import ModelFileError, SettingError
from lesion_lens.model.facts import can_serve_pages, without_spoiled
from lesion_lens.model.model_path import check_path
from lesion_lens.model.workspaces import workspace
from skin_cancer_detection import CODES, KERNEL_SHAPES, PARAMETERS, SIDE

if TYPE_CHECKING:
    import h5py
    import keras

DEFAULT_MODEL_PATH = ROOT / "best_model.h5"
_CLASS_ORDER = "class_order"  # attributes of the file, beside Keras's own
_FACTS = "training_facts"
_KERAS_OWN = ("backend", "keras_version", "model_config", "training_config")
_REMEDY = "run `python train.py` to make it again."
_SPOILED = (OSError, ValueError, LookupError, TypeError, RuntimeError)  # of h5py and json

# The kinds of layers in `build_model`; any other could bring code of its own.
_LAYERS = {
    *("InputLayer", "Conv2D", "MaxPooling2D", "BatchNormalization", "Flatten", "Dropout", "Dense"),
}

_ARCHIVED = "attributes.json"  # the name in a .tflite's archive
_MOST_ARCHIVED = 16_000_000  # bytes; ours has 50,000
# Attributes that only a .tflite has.
_NETWORK_BYTES = "network_bytes"  # where the network ends and the archive begins
_NETWORK_SHA256 = "network_sha256"
MADE_OF = "made_of"  # the SHA-256 of the .h5
_EXPORT_REMEDY = (
    "run `python train.py --export {}`, with the packages of requirements.txt, to make it again."
)
MOST_DEVIATION = 1e-4  # of a probability, between the two kinds of file


def is_litert(path: str | Path) -> bool:
    """Whether a model file is for LiteRT, by its suffix."""
    return Path(path).suffix.lower() == ".tflite"


def save_model(
    model: "keras.Model",
    path: str | Path,
    facts: Mapping[str, Any],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Write the complete model and the facts of its training to an HDF5 file, whole or not at all.

    The file takes the place of an older one only when it is finished and has passed
    `check_model_file`; plain `keras.models.load_model` reads it.

    Args:
        model: a `build_model()` that takes raw pixels, 0–255.
        path: where to; by Keras's rule it ends in .h5.
        facts: what JSON can hold; see `training.pipeline.training_facts`.
        attributes: further HDF5 attributes, texts or small arrays: what decisions go by.

    Raises:
        ModelFileError: the file cannot be written or would break the contract.
    """
    with _whole_file(Path(path), ".h5") as unfinished:
        try:
            with _quiet():  # Keras warns that HDF5 is its older format
                model.save(unfinished, include_optimizer=False)
            with _hdf5(path).File(unfinished, "r+") as file:
                file.attrs[_CLASS_ORDER] = ",".join(CODES)
                file.attrs[_FACTS] = json.dumps(facts)
                file.attrs.update(attributes or {})
        except RuntimeError as error:  # of HDF5, when the disk is full as it closes the file
            raise _unwritable(path, error) from error
        check_model_file(unfinished)


@contextlib.contextmanager
def _whole_file(path: Path, suffix: str) -> Iterator[Path]:
    """Give the path of an unfinished file, which takes the place of `path` at the end.

    Raises:
        ModelFileError: the system does not let it be written.
    """
    try:
        with workspace(path.parent) as folder:
            unfinished = folder / f"unfinished{suffix}"
            yield unfinished
            os.replace(unfinished, path)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: str | Path, error: Exception) -> ModelFileError:
    # HDF5's own sentence is ten times as long, and has the reason in its middle.
    reason = re.search("error message = '(.*?)'", str(error))
    return ModelFileError(
        f"{path} cannot be written ({reason[1] if reason else error}): make room there, or choose "
        "another place."
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Keras's warnings off the console."""
    from absl import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def export_model(source: str | Path, path: str | Path) -> float:
    """Write a Keras model file for LiteRT: the network, and beside it all that the file says.

    The file takes the place of an older one only when it is finished, has passed
    `check_model_file` and gives the probabilities of the original.

    Args:
        source: the HDF5 file.
        path: where to; it ends in .tflite.

    Returns:
        The largest difference between the probabilities of both, on 64 images of noise.

    Raises:
        ModelFileError: the source breaks the contract, the file cannot be written, or a probability
            differs by more than `MOST_DEVIATION`.
        SettingError: Keras does not run on TensorFlow, which alone can do it.
    """
    source, path = Path(source), Path(path)
    if chosen_backend() != "tensorflow":
        raise SettingError(
            f"{path} can be written by TensorFlow only: install it, and unset KERAS_BACKEND."
        )
    model = load_model(source)
    attributes = read_attributes(source)
    kept = {name: value for name, value in attributes.items() if name not in _KERAS_OWN}
    with _whole_file(path, ".tflite") as unfinished:
        with _quiet():
            model.export(unfinished, format="litert", verbose=False)
        append_attributes(unfinished, kept | {MADE_OF: sha256_of(source)})
        check_model_file(unfinished)
        deviation = _deviation(model, read_network(unfinished))
        if not deviation <= MOST_DEVIATION:
            raise ModelFileError(
                f"{path} would give other probabilities than {source}, by up to {deviation:.1g}: "
                "serve the latter."
            )
    return deviation


def append_attributes(path: str | Path, attributes: Mapping[str, Any]) -> None:
    """Append to a network for LiteRT, alone in its file, what a model file says beside it.

    Args:
        path: the file.
        attributes: texts, numbers or arrays by name, as `read_attributes` returns them.
    """
    network = Path(path).read_bytes()
    attributes = dict(attributes) | {
        _NETWORK_BYTES: len(network),
        _NETWORK_SHA256: hashlib.sha256(network).hexdigest(),
    }
    with zipfile.ZipFile(path, "a") as archive:
        # HDF5 gives arrays and numbers of NumPy, which JSON does not know. Python writes floats so
        # that they are read back exactly.
        text = json.dumps(attributes, default=lambda value: value.tolist())
        entry = zipfile.ZipInfo(_ARCHIVED)  # of 1980, so that the same model is the same file
        archive.writestr(entry, text, zipfile.ZIP_DEFLATED)


def _deviation(model: "keras.Model", network: bytes) -> float:
    """The largest difference between a Keras model's probabilities and those of its `.tflite`."""
    import tensorflow as tf

    images = np.random.default_rng(0).integers(0, 256, (64, SIDE, SIDE, 3)).astype(np.float32)
    with warnings.catch_warnings():  # that this name will move to the package of LiteRT
        warnings.simplefilter("ignore")
        interpreter = tf.lite.Interpreter(model_content=network)
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], images)
    interpreter.invoke()
    probabilities = interpreter.get_tensor(wanted["index"])
    return float(np.abs(probabilities - model.predict(images, verbose=0)).max())


def check_model_file(path: str | Path) -> dict[str, Any]:
    """Hold a model file against the contract without loading its network.

    Args:
        path: the file, of either kind.

    Returns:
        The facts of its training, of which every page can speak; empty if the file carries none.

    Raises:
        ModelFileError: the file is missing, truncated, of another kind, of another network or with
            weights that are not finite (of a `.tflite` only its engine finds these two out), or
            its classes are in another order.
    """
    check_path(path, remedy_of(path))
    path = Path(path)
    text = _check_litert(path) if is_litert(path) else _check_hdf5(path)
    try:
        facts = json.loads(text)
        json.dumps(facts, ensure_ascii=False).encode()  # half a surrogate pair is on no page
    except _SPOILED:
        facts = None
    if not can_serve_pages(facts):
        raise ModelFileError(f"{path} holds spoiled facts of its training: {remedy_of(path)}")
    return without_spoiled(facts)


def remedy_of(path: str | Path) -> str:
    """How to come by a sound model file: the end of an error's sentence."""
    return _EXPORT_REMEDY.format(path) if is_litert(path) else _REMEDY


def not_finite(path: str | Path) -> str:
    """The sentence of a network whose weights are spoiled."""
    return f"{path} holds weights that are NaN or infinite: {remedy_of(path)}"


def _check_hdf5(path: Path) -> Any:
    """Hold a Keras file against the contract; returns its facts as the text that it has."""
    h5py = _hdf5(path)
    try:
        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs or "model_weights" not in file:
                raise ModelFileError(f"{path} does not hold a complete Keras model: {_REMEDY}")
            _check_class_order(path, file.attrs.get(_CLASS_ORDER))
            _check_shapes(path, file)
            return file.attrs.get(_FACTS, "{}")
    except (*_SPOILED, AttributeError) as error:
        raise ModelFileError(f"{path} is truncated or is not an HDF5 file: {_REMEDY}") from error


def _hdf5(path: str | Path) -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise _without_keras(path) from error
    return h5py


def _without_keras(path: str | Path) -> ModelFileError:
    return ModelFileError(
        f"{path} needs Keras, which is not installed: pip install -r requirements.txt, or set "
        "MODEL_PATH to a .tflite file."
    )


def _check_litert(path: Path) -> Any:
    read_network(path)
    attributes = read_attributes(path)
    _check_class_order(path, attributes.get(_CLASS_ORDER))
    return attributes.get(_FACTS, "{}")


def read_network(path: str | Path) -> bytes:
    """Read the network of a `.tflite`, and see that it is whole.

    The interpreter believes what it reads, so no byte of a spoiled network may reach it, and none
    of a file that is exchanged while it is served: it gets these bytes rather than the path.

    Raises:
        ModelFileError: the file is truncated or spoiled.
    """
    attributes = read_attributes(path)
    try:
        network = Path(path).read_bytes()[: attributes[_NETWORK_BYTES]]
        whole = hashlib.sha256(network).hexdigest() == attributes[_NETWORK_SHA256]
    except _SPOILED:
        whole = False
    if not whole:
        raise ModelFileError(f"{path} is truncated or spoiled: {remedy_of(path)}")
    return network


def read_attributes(path: str | Path) -> dict[str, Any]:
    """Read all that a model file says beside its network.

    Args:
        path: a file that `check_model_file` has passed.

    Returns:
        Texts, numbers or arrays by name; from a .tflite lists in the place of arrays.

    Raises:
        ModelFileError: an attribute cannot be read.
    """
    path = Path(path)
    try:
        if is_litert(path):
            with zipfile.ZipFile(path) as archive, archive.open(_ARCHIVED) as entry:
                # Not all at once, and not by the size that it claims: a few bytes can inflate to
                # gigabytes. What is cut off is no JSON.
                return dict(json.loads(entry.read(_MOST_ARCHIVED)))
        with _hdf5(path).File(path, "r") as file:
            return dict(file.attrs)
    # What zipfile raises on spoiled bytes has no common base.
    except (*_SPOILED, zipfile.BadZipFile, zlib.error, struct.error, EOFError) as error:
        raise ModelFileError(f"{path} holds spoiled attributes: {remedy_of(path)}") from error


def sha256_of(path: str | Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_training_facts(path: str | Path, facts: Mapping[str, Any]) -> None:
    """Write the facts of its training into an HDF5 file that nobody uses yet.

    Raises:
        ModelFileError: it cannot be written.
    """
    try:
        with _hdf5(path).File(path, "r+") as file:
            file.attrs[_FACTS] = json.dumps(facts)
    except (OSError, RuntimeError) as error:
        raise _unwritable(path, error) from error


def _check_class_order(path: Path, class_order: Any) -> None:
    if not isinstance(class_order, str):
        raise ModelFileError(f"{path} does not say the order of its classes: {remedy_of(path)}")
    if class_order != ",".join(CODES):
        raise ModelFileError(
            f"{path} has its classes in the order {class_order[:80]}, not {','.join(CODES)}: "
            f"{remedy_of(path)}"
        )


def _check_shapes(path: Path, file: "h5py.File") -> None:
    layers = json.loads(file.attrs["model_config"])["config"]["layers"]
    others = {str(layer["class_name"])[:40] for layer in layers} - _LAYERS
    if others:
        raise ModelFileError(f"{path} has a layer {min(others)}, which is not loaded: {_REMEDY}")
    if tuple(layers[0]["config"]["batch_shape"]) != (None, SIDE, SIDE, 3):
        raise ModelFileError(f"{path} does not take images of {SIDE}×{SIDE}×3: {_REMEDY}")
    weights = file["model_weights"]
    arrays = [
        weights[layer][name]
        for layer in weights.attrs["layer_names"]
        for name in weights[layer].attrs["weight_names"]
    ]
    kernels = tuple(array.shape for array in arrays if array.ndim > 1)
    if (
        kernels != KERNEL_SHAPES
        or sum(array.size for array in arrays) != PARAMETERS
        or any(array.dtype.kind != "f" for array in arrays)
    ):
        raise ModelFileError(
            f"{path} does not hold this network's {PARAMETERS:,} parameters: {_REMEDY}"
        )
    if not all(np.isfinite(array[()]).all() for array in arrays):
        raise ModelFileError(not_finite(path))


def load_model(path: str | Path = DEFAULT_MODEL_PATH) -> "keras.Model":
    """Load a Keras model file, for whoever works with the network itself.

    Args:
        path: the HDF5 file.

    Returns:
        The model: raw RGB pixels (N, 28, 28, 3), 0–255, in; probabilities (N, 7) out.

    Raises:
        ModelFileError: the file breaks the contract, or Keras or its backend cannot load it.
    """
    check_model_file(path)
    try:
        chosen_backend()  # first, as Keras's own error is no sentence
        import keras
    except SettingError as error:
        raise ModelFileError(f"{path} cannot be loaded: {error}") from error
    except ImportError as error:
        raise _without_keras(path) from error
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # whatever Keras raises on a file that is not one of ours
        raise ModelFileError(f"{path} cannot be loaded by Keras: {_REMEDY}") from error
