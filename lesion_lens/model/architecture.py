"""The architecture in a Keras file: written so that old and new Keras read it, and compared.

Keras 3 keeps adding settings, and each release refuses those that it does not know. Without a
setting every release takes its default. So of each layer we write only `SETTINGS`, under the names
that Keras 2 had: Keras 2 from TensorFlow 2.5 on reads that, and so does every Keras 3
(docs/model-files.md lists what was tried). `build_model` uses the defaults of all others.

Nothing of a file's architecture is ever run. It is compared with `build_model`'s, whose network
then takes the weights.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.model_path import remedy_of
from skin_cancer_detection import SIDE

INPUT = "InputLayer"
# What matters of each kind of layer. Any other kind could bring code of its own.
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
_OF_TRAINING_ALONE = {"momentum", "rate"}  # no answer depends on them
# What the oldest files do not say, and newer ones say so.
_DEFAULTS: dict[str, Any] = {"groups": 1, "data_format": "channels_last"}


def as_keras_2_wrote(config: str) -> str:
    """Rewrite the architecture that today's Keras has written for one of our networks.

    Args:
        config: the attribute `model_config` of an HDF5 file, JSON.

    Returns:
        The same as JSON with a plain `dtype`, `batch_input_shape` and the keys of Keras 2 alone.
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
    """See that a file's layers are of our kinds and take our images.

    Args:
        path: of the file, for the sentence.
        layers: as its JSON has them.

    Raises:
        ModelFileError: one is of another kind or somebody's own, or the input has another shape.
        LookupError, TypeError, AttributeError: this is no list of layers.
    """
    for layer in layers:
        kind = str(layer["class_name"])[:40]
        # A class of somebody's own may bear the name of one of Keras's.
        if kind not in SETTINGS or layer.get("registered_name") not in (None, kind):
            raise ModelFileError(f"{path} has a layer {kind}, which is not loaded: {_end(path)}")
        if not isinstance(layer["config"], dict):
            raise TypeError(f"The settings of a layer {kind} are no settings.")
    first = layers[0]["config"]
    if tuple(first.get("batch_shape") or first["batch_input_shape"]) != (None, SIDE, SIDE, 3):
        raise ModelFileError(f"{path} does not take images of {SIDE}×{SIDE}×3: {_end(path)}")


def check_same(path: object, layers: Sequence[Any], ours: Sequence[Any]) -> None:
    """See that a file's layers compute what those of `build_model` compute.

    Args:
        path: of the file, for the sentence.
        layers: as its JSON has them; `check_kinds` has passed them.
        ours: those of `build_model`, as its `to_json` has them.

    Raises:
        ModelFileError: the kinds, their order or a setting differs.
    """
    theirs, wanted = _computing(layers), _computing(ours)
    if [kind for kind, _ in theirs] != [kind for kind, _ in wanted]:
        raise ModelFileError(f"{path} has other layers than this network: {_end(path)}")
    for number, ((kind, settings), (_, expected)) in enumerate(zip(theirs, wanted, strict=True), 1):
        for name, value in expected.items():
            if settings[name] != value:
                raise ModelFileError(
                    f"{path} has another {name} in its layer {number}, {kind}: {_end(path)}"
                )


def _computing(layers: Sequence[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Kind and settings of each layer behind the input, spelled the same for every Keras."""
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
        # Keras 2 counts the axis from the front, and in a list.
        if settings.get("axis") in ([dimensions - 1], dimensions - 1):
            settings["axis"] = -1
        found.append((kind, settings))
    return found


def _end(path: object) -> str:
    return remedy_of(str(path))
