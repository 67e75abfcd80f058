"""The file with which a browser classifies: the network's weights and the rules for its answers.

It is a safetensors file (https://github.com/huggingface/safetensors). We do without the safetensors
package because writing the format takes ten lines. static/network.js reads the file.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.keras_files import not_finite
from lesion_lens.model.model_path import remedy_of
from lesion_lens.model.stored_layers import Convolution, Dense, Layer, Pooling, Scaling, read_layers
from skin_cancer_detection import KERNEL_SHAPES

FACTS = "lesion_lens"  # in the file's `__metadata__`
_ALIGNMENT = 8  # bytes; a Float32Array must begin at a multiple of four
# The layers of `build_model` with every BatchNormalization folded into the layer after it.
_SAME, _VALID, _POOLING = "conv same relu", "conv valid relu", "pooling"
_ORDER = [
    *(_SAME, _POOLING, _VALID, _VALID, _POOLING, _VALID, _VALID),
    *(*["dense relu"] * 4, "dense softmax"),
]


def device_file(path: str | Path, facts: Mapping[str, Any]) -> bytes:
    """Make the browser's file from a model file of either kind.

    Args:
        path: of the model file.
        facts: a mapping that JSON can hold; its texts need not be ASCII.

    Returns:
        A safetensors file with `folded_layers`, and the facts as JSON in its metadata.

    Raises:
        ModelFileError: see `folded_layers`.
    """
    arrays = folded_layers(path)
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    header: dict[str, Any] = {"__metadata__": {FACTS: text}}
    end = 0
    for name, array in arrays.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [begin, end]}
    head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    head += b" " * (-len(head) % _ALIGNMENT)
    data = (array.astype("<f4").tobytes() for array in arrays.values())
    return b"".join([struct.pack("<Q", len(head)), head, *data])


def folded_layers(path: str | Path) -> dict[str, NDArray[np.float32]]:
    """Read a model file's weights, with every BatchNormalization folded into the layer after it.

    This does not change the results, because no convolution that follows one pads its image with
    zeros.

    Returns:
        Arrays by name, in the order of the layers: `conv1.kernel` (height, width, in, out) and
        `conv1.bias` (out,) to `conv5`, then `dense1.kernel` (in, out) and `dense1.bias` (out,) to
        `dense5`.

    Raises:
        ModelFileError: the file cannot be read, or its network is not that of `build_model`.
    """
    layers = list(_folded(path, read_layers(path)))
    computing = [layer for layer in layers if not isinstance(layer, Pooling)]
    shapes = tuple(layer.kernel.shape for layer in computing)
    if [_kind_of(layer) for layer in layers] != _ORDER or shapes != KERNEL_SHAPES:
        raise _foreign(path)
    names = [f"{kind}{number}" for kind in ("conv", "dense") for number in range(1, 6)]
    arrays: dict[str, NDArray[np.float32]] = {}
    for name, layer in zip(names, computing, strict=True):
        with np.errstate(over="ignore"):
            arrays[f"{name}.kernel"] = layer.kernel.astype(np.float32)
            arrays[f"{name}.bias"] = layer.bias.astype(np.float32)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ModelFileError(not_finite(path))
    return arrays


def _folded(path: str | Path, layers: list[Layer]) -> Iterator[Convolution | Dense | Pooling]:
    """Yield the layers, folding each scaling into the layer after it."""
    waiting: Scaling | None = None
    for layer in layers:
        if isinstance(layer, Scaling):
            if waiting is not None:
                raise _foreign(path)
            waiting = layer
        elif waiting is None:
            yield layer
        else:
            yield _with_scaled_input(path, waiting, layer)
            waiting = None
    if waiting is not None:
        raise _foreign(path)


def _with_scaled_input(
    path: str | Path, scaling: Scaling, layer: Convolution | Dense | Pooling
) -> Convolution | Dense:
    """Combine a scaling and the layer after it into one layer.

    With factor s_i and offset o_i for channel i of the input, the sum of w_i (s_i x_i + o_i), plus
    b, equals the sum of (w_i s_i) x_i, plus b and the sum of w_i o_i.
    """
    if isinstance(layer, Pooling) or (isinstance(layer, Convolution) and layer.padding != "valid"):
        raise _foreign(path)
    if scaling.factor.shape != (layer.kernel.shape[-2],):
        raise _foreign(path)
    kernel = layer.kernel * scaling.factor[:, np.newaxis]
    moved = (layer.kernel * scaling.offset[:, np.newaxis]).reshape(-1, len(layer.bias)).sum(0)
    if isinstance(layer, Dense):
        return Dense(kernel, layer.bias + moved, layer.activation)
    return Convolution(kernel, layer.bias + moved, layer.padding, layer.activation)


def _kind_of(layer: Convolution | Dense | Pooling) -> str:
    if isinstance(layer, Pooling):
        return _POOLING
    if isinstance(layer, Dense):
        return f"dense {layer.activation}"
    return f"conv {layer.padding} {layer.activation}"


def _foreign(path: str | Path) -> ModelFileError:
    return ModelFileError(f"{path} has layers that differ from this network's: {remedy_of(path)}")
