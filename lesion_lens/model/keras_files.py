"""Reads files written by Keras, `.h5` or `.keras`, from any version since TensorFlow 2.

They are read with h5py and json, not with Keras. Keras builds whatever a file names, which has led
to vulnerabilities (CVE-2025-9905). See also `architecture`.
"""

import io
import json
import math
import re
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.architecture import check_kinds, check_same
from lesion_lens.model.backends import chosen_backend
from lesion_lens.model.errors import ModelFileError, SettingError
from lesion_lens.model.model_path import is_keras_archive, remedy_of
from skin_cancer_detection import KERNEL_SHAPES, PARAMETERS, build_model

if TYPE_CHECKING:
    import h5py
    import keras

# The exceptions of h5py, json and zipfile on damaged bytes have no common base.
_SPOILED = (
    *(OSError, ValueError, LookupError, TypeError, RuntimeError, AttributeError, EOFError),
    *(RecursionError, zipfile.BadZipFile, zlib.error, struct.error),
)
_MOST_CONFIG = 1_000_000  # bytes of a .keras's architecture; ours has 18,000
_MOST_WEIGHTS = 32_000_000  # bytes of its weights; ours has 2,100,000, with an optimizer 6,200,000


@dataclass(frozen=True)
class StoredNetwork:
    """The network in a file. It has our layers and shapes, but may have other settings.

    Attributes:
        layers: as in the file's JSON.
        weights: finite float arrays, in the order of the layers.
    """

    layers: list[Any]
    weights: list[NDArray[np.floating]]

    def build(self, path: str | Path) -> "keras.Sequential":
        """Load the weights into a `build_model()`.

        Raises:
            ModelFileError: the file's settings or the order of its weights differ from ours, a
                variance is negative, or Keras or its backend is missing.
        """
        try:
            chosen_backend()  # first, because Keras's own error is not helpful
            model = build_model()
        except SettingError as error:
            raise ModelFileError(f"{path} cannot be loaded: {error}") from error
        except ImportError as error:
            raise without_keras(path) from error
        check_same(path, self.layers, json.loads(model.to_json())["config"]["layers"])
        try:
            model.set_weights(self.weights)
        except ValueError as error:  # the arrays are in a different order
            raise ModelFileError(
                f"{path} has its weights in a different order: {remedy_of(path)}"
            ) from error
        for layer in model.layers:
            variance = getattr(layer, "moving_variance", None)
            if variance is not None and float(variance.numpy().min()) < 0:
                raise ModelFileError(f"{path} holds a negative variance: {remedy_of(path)}")
        return model


def hdf5(path: str | Path) -> ModuleType:
    """The package h5py.

    Raises:
        ModelFileError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise without_keras(path) from error
    return h5py


def without_keras(path: str | Path) -> ModelFileError:
    """The error for a file whose engine is not installed."""
    return ModelFileError(
        f"{path} needs Keras, which is not installed: pip install -r requirements.txt, or set "
        "MODEL_PATH to a .tflite file."
    )


def not_finite(path: str | Path) -> str:
    """The message for a network whose weights are not finite."""
    return f"{path} holds weights that are NaN or infinite: {remedy_of(path)}"


def text_of(value: Any) -> Any:
    """Decode an attribute that Keras 2 wrote as bytes. Other values stay as they are."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def read_stored(path: str | Path) -> StoredNetwork:
    """Read the network of a `.h5` or `.keras`, and check that it has our layers and shapes.

    Raises:
        ModelFileError: the file is truncated, of the wrong kind, or holds a different network,
            weights that are not finite, or weights from another file; or h5py is missing.
    """
    try:
        # TensorFlow 2.5 to 2.11 wrote HDF5 into .keras files, too.
        if is_keras_archive(path) and zipfile.is_zipfile(path):
            return _read_archive(path)
        with hdf5(path).File(path, "r") as file:
            return _read_hdf5(path, file)
    except _SPOILED as error:
        kind = "a Keras archive (.keras)" if is_keras_archive(path) else "a Keras HDF5 file"
        raise ModelFileError(f"{path} is truncated or is not {kind}: {remedy_of(path)}") from error


def _read_hdf5(path: str | Path, file: "h5py.File") -> StoredNetwork:
    if "model_config" not in file.attrs or "model_weights" not in file:
        raise ModelFileError(f"{path} does not hold a complete Keras model: {remedy_of(path)}")
    layers = _layers_of(path, json.loads(file.attrs["model_config"]))
    weights = file["model_weights"]
    arrays = [
        _inside(path, weights, f"{text_of(layer)}/{text_of(name)}")
        for layer in weights.attrs["layer_names"]
        for name in _inside(path, weights, text_of(layer)).attrs["weight_names"]
    ]
    return StoredNetwork(layers, _values_of(path, file, arrays))


def _read_archive(path: str | Path) -> StoredNetwork:
    with zipfile.ZipFile(path) as archive:
        layers = _layers_of(path, json.loads(_bounded(archive, "config.json", _MOST_CONFIG)))
        weights = io.BytesIO(_bounded(archive, "model.weights.h5", _MOST_WEIGHTS))
    with hdf5(path).File(weights, "r") as file:
        arrays, met = [], Counter[str]()
        for layer in layers:
            name = _as_archived(layer["class_name"])
            place = f"layers/{name}_{met[name]}" if met[name] else f"layers/{name}"
            met[name] += 1
            if place not in file:
                continue
            variables = _inside(path, file, f"{place}/vars")
            arrays += [_inside(path, variables, number) for number in sorted(variables, key=int)]
        return StoredNetwork(layers, _values_of(path, file, arrays))


def _inside(path: str | Path, group: "h5py.Group", name: str) -> Any:
    """Return a member of a group, by its path with /, if it is in the file itself.

    Raises:
        ModelFileError: a link leads to another file. HDF5 would open any file that it names.
    """
    for part in filter(None, name.split("/")):
        if not isinstance(group.get(part, getlink=True), hdf5(path).HardLink):
            raise ModelFileError(f"{path} has its weights in another file: {remedy_of(path)}")
        group = group[part]
    return group


def _bounded(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Read an entry up to a limit, as it may inflate to gigabytes. A truncated entry is invalid."""
    with archive.open(name) as entry:
        return entry.read(most)


def _as_archived(kind: str) -> str:
    """The name of a kind of layer in a .keras file, by the rule of Keras's `to_snake_case`."""
    return re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()


def _layers_of(path: str | Path, config: Any) -> list[Any]:
    if config["class_name"] != "Sequential":
        raise ModelFileError(
            f"{path} holds a {str(config['class_name'])[:40]} model, but only a Sequential can be "
            f"loaded: {remedy_of(path)}"
        )
    layers = config["config"]
    layers = layers if isinstance(layers, list) else layers["layers"]  # a list in 2018
    check_kinds(path, layers)
    return layers


def _values_of(path: str | Path, file: "h5py.File", arrays: list[Any]) -> list[Any]:
    """Read the values of arrays, if the arrays have our shapes."""
    if (
        tuple(array.shape for array in arrays if array.ndim > 1) != KERNEL_SHAPES
        or sum(array.size for array in arrays) != PARAMETERS
        or any(array.dtype.kind != "f" for array in arrays)
    ):
        raise ModelFileError(
            f"{path} does not hold this network's {PARAMETERS:,} parameters: {remedy_of(path)}"
        )
    # HDF5 can read an array from any other file on this machine.
    if any(a.external or a.is_virtual or a.file.filename != file.filename for a in arrays):
        raise ModelFileError(f"{path} has its weights in another file: {remedy_of(path)}")
    # A compressed array is unpacked by chunks, and a chunk may be far larger than the array.
    if any(a.chunks and math.prod(a.chunks) > a.size for a in arrays):
        raise ModelFileError(f"{path} has weights in oversized chunks: {remedy_of(path)}")
    values = [array[()] for array in arrays]
    if not all(np.isfinite(value).all() for value in values):
        raise ModelFileError(not_finite(path))
    return values
