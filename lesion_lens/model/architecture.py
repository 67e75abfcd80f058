"""The architecture in a Keras file: written for old and new versions of Keras, and checked.

Keras 3 keeps adding settings, and a release rejects settings that it does not know. If a setting is
missing, it uses the default. So we write only each layer's `SETTINGS`, under their Keras 2 names.
Keras 2 can read that from TensorFlow 2.5 on, and so can Keras 3 (docs/model-files.md lists the
versions that were tried). `build_model` uses the defaults of all other settings.

The architecture in a file is never executed. It is compared with that of `build_model`, and the
weights are loaded into a network from `build_model`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.model_path import remedy_of
from skin_cancer_detection import SIDE

INPUT = "InputLayer"
# The settings that matter, by kind of layer. Any other kind could contain code.
SETTINGS: dict[str, tuple[str, ...]] = {
    INPUT: (),
    "Conv2D": (
        *("filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate"),
        *("groups", "activation", "use_bias"),
    ),
    "MaxPooling2D": ("pool_size", "strides", "padding", "data_format"),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Flatten": ("data_format",),
    "Dropout": ("rate",),
    "Dense": ("units", "activation", "use_bias"),
}
_OF_TRAINING_ALONE = {"momentum", "rate"}  # they do not affect predictions
# Settings that the oldest files lack, with the values in newer files.
_DEFAULTS: dict[str, Any] = {"groups": 1, "data_format": "channels_last"}


def as_keras_2_wrote(config: str) -> str:
    """Rewrite in Keras 2's form the architecture that Keras 3 wrote for one of our networks.

    Args:
        config: the attribute `model_config` of an HDF5 file, as JSON.

    Returns:
        The same as JSON, with a plain `dtype`, `batch_input_shape` and only the keys of Keras 2.
    """
    written = json.loads(config)["config"]
    layers = [_plain(layer["class_name"], layer["config"]) for layer in written["layers"]]
    return json.dumps(
        {"class_name": "Sequential", "config": {"name": written["name"], "layers": layers}}
    )


def _plain(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {"name": config["name"], "dtype": "float32"}
    if kind == INPUT:
        kept |= {"batch_input_shape": config["batch_shape"], "sparse": False}
    kept |= {name: config[name] for name in SETTINGS[kind]}
    return {"class_name": kind, "config": kept}


def check_kinds(path: object, layers: Sequence[Any]) -> None:
    """Check that a file has only our kinds of layers and takes our images.

    Args:
        path: of the file, for the error message.
        layers: as in the file's JSON.

    Raises:
        ModelFileError: a layer is of an unsupported kind or a custom class, or the input has the
            wrong shape.
        LookupError, TypeError, AttributeError: `layers` is not a list of layers.
    """
    for layer in layers:
        kind = str(layer["class_name"])[:40]
        # A custom class may have the same name as one of Keras's.
        if kind not in SETTINGS or layer.get("registered_name") not in (None, kind):
            raise ModelFileError(f"{path} has an unsupported layer, {kind}: {_end(path)}")
        if not isinstance(layer["config"], dict):
            raise TypeError(f"The settings of a layer {kind} are not a dict.")
    first = layers[0]["config"]
    if tuple(first.get("batch_shape") or first["batch_input_shape"]) != (None, SIDE, SIDE, 3):
        raise ModelFileError(f"{path} does not take images of {SIDE}×{SIDE}×3: {_end(path)}")


def check_same(path: object, layers: Sequence[Any], ours: Sequence[Any]) -> None:
    """Check that a file's layers compute the same as those of `build_model`.

    Args:
        path: of the file, for the error message.
        layers: as in the file's JSON, already checked by `check_kinds`.
        ours: the layers of `build_model`, as in its `to_json`.

    Raises:
        ModelFileError: the kinds of layers, their order or a setting differ.
    """
    theirs, wanted = _computing(layers), _computing(ours)
    if [kind for kind, _ in theirs] != [kind for kind, _ in wanted]:
        raise ModelFileError(f"{path} has layers that differ from this network's: {_end(path)}")
    for number, ((kind, settings), (_, expected)) in enumerate(zip(theirs, wanted, strict=True), 1):
        for name, value in expected.items():
            if settings[name] != value:
                raise ModelFileError(
                    f"{path} has a different {name} in layer {number}, {kind}: {_end(path)}"
                )


def _computing(layers: Sequence[Any]) -> list[tuple[str, dict[str, Any]]]:
    """The kind and settings of each layer after the input, in one form for Keras 2 and 3."""
    found: list[tuple[str, dict[str, Any]]] = []
    dimensions = 4
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if kind == INPUT and not found:
            continue
        if kind == "Flatten":
            dimensions = 2
        settings = {
            name: config.get(name, _DEFAULTS.get(name))
            for name in SETTINGS[kind]
            if name not in _OF_TRAINING_ALONE
        }
        # Keras 2 counts the axis from the front, and puts it in a list.
        if settings.get("axis") in ([dimensions - 1], dimensions - 1):
            settings["axis"] = -1
        found.append((kind, settings))
    return found


def _end(path: object) -> str:
    return remedy_of(str(path))
