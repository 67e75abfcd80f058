"""Reads the layers of a network, with their weights, from either kind of model file.

This needs no Keras and runs nothing from the file. A `.tflite` is read with flatbuffers, which both
LiteRT's package and TensorFlow install. The fields of its tables are read by number, in the order
of TensorFlow Lite's `schema.fbs`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.architecture import INPUT
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.keras_files import read_stored
from lesion_lens.model.litert_files import read_network
from lesion_lens.model.model_path import is_litert, remedy_of

Numbers: TypeAlias = NDArray[np.float64]

# The exceptions of flatbuffers, NumPy and generators on a foreign network have no common base.
_FOREIGN = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, struct.error)


@dataclass(frozen=True)
class Convolution:
    """A convolution with a stride of one pixel.

    Attributes:
        kernel: (height, width, in, out).
        bias: (out,).
        padding: "same" or "valid".
        activation: "relu" or another name.
    """

    kernel: Numbers = field(repr=False)
    bias: Numbers = field(repr=False)
    padding: str
    activation: str


@dataclass(frozen=True)
class Dense:
    """A dense layer.

    Attributes:
        kernel: (in, out).
        bias: (out,).
        activation: "relu", "softmax" or another name.
    """

    kernel: Numbers = field(repr=False)
    bias: Numbers = field(repr=False)
    activation: str


@dataclass(frozen=True)
class Pooling:
    """A pooling that takes the largest of each 2×2 pixels."""


@dataclass(frozen=True)
class Scaling:
    """A BatchNormalization in inference: each channel times its factor, plus its offset."""

    factor: Numbers = field(repr=False)
    offset: Numbers = field(repr=False)


Layer: TypeAlias = Convolution | Dense | Pooling | Scaling


def read_layers(path: str | Path) -> list[Layer]:
    """Read the layers of a model file that compute something, in their order.

    Raises:
        ModelFileError: the file is truncated or damaged, a layer has an unsupported kind or
            setting, or the package flatbuffers is missing.
    """
    try:
        return list(_of_litert(read_network(path)) if is_litert(path) else _of_keras(path))
    except _FOREIGN as error:
        raise ModelFileError(
            f"{path} has layers that cannot be read without its engine: {remedy_of(path)}"
        ) from error
    except ImportError as error:
        raise ModelFileError(
            f"{path} needs the package flatbuffers, which is not installed: pip install -r "
            "requirements-slim.txt."
        ) from error


# --- A file of Keras -------------------------------------------------------------------------

# Settings that must have these values. A missing setting counts as having its value.
_ONE_PIXEL = {"strides": [1, 1], "dilation_rate": [1, 1], "groups": 1}
_CHANNELS_LAST = {"data_format": "channels_last"}
_BY_TWO = {"pool_size": [2, 2], "strides": [2, 2], "padding": "valid"}
_WHOLE = {"center": True, "scale": True}
_SILENT = (INPUT, "Flatten", "Dropout")  # they change no number in inference


def _of_keras(path: str | Path) -> Iterator[Layer]:
    stored = read_stored(path)
    weights = iter(np.asarray(array, np.float64) for array in stored.weights)
    for layer in stored.layers:
        kind, settings = layer["class_name"], layer["config"]
        if kind == "Conv2D":
            _demand(settings, _ONE_PIXEL | _CHANNELS_LAST)
            kernel, bias = next(weights), next(weights)
            yield Convolution(kernel, bias, settings["padding"], settings["activation"])
        elif kind == "Dense":
            yield Dense(next(weights), next(weights), settings["activation"])
        elif kind == "MaxPooling2D":
            _demand(settings, _BY_TWO | _CHANNELS_LAST)
            yield Pooling()
        elif kind == "BatchNormalization":
            _demand(settings, _WHOLE)
            gamma, beta, mean, variance = (next(weights) for _ in range(4))
            if variance.min() < 0:
                raise ModelFileError(f"{path} holds a negative variance: {remedy_of(path)}")
            factor = gamma / np.sqrt(variance + settings["epsilon"])
            yield Scaling(factor, beta - mean * factor)
        elif kind not in _SILENT:
            raise ValueError(f"a layer {kind}")


def _demand(settings: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if settings.get(name, value) != value:
            raise ValueError(f"{name} is {settings[name]}")


# --- A file for LiteRT -----------------------------------------------------------------------

# The schema's numbers for operators and their options.
_ADD, _CONVOLUTION, _DENSE, _POOLING, _MULTIPLY, _RESHAPE, _SOFTMAX = 0, 3, 9, 17, 18, 22, 25
_OF_SHAPES = (45, 77, 83)  # STRIDED_SLICE, SHAPE and PACK work out the shape that RESHAPE takes
_PADDINGS = {0: "same", 1: "valid"}
_ACTIVATIONS = {0: "linear", 1: "relu"}
_FLOAT32 = 0


class _Table:
    """A table of a flatbuffer. Its fields are read by number."""

    def __init__(self, data: bytes, place: int) -> None:
        import flatbuffers

        self._table = flatbuffers.Table(data, place)

    @classmethod
    def root(cls, data: bytes) -> "_Table":
        return cls(data, struct.unpack_from("<I", data)[0])

    def number(self, field: int, form: str, default: int = 0) -> int:
        """A number in the given `struct` format; `default` if the file does not have the field."""
        place = self._place(field)
        if not place:
            return default
        value: int = struct.unpack_from(f"<{form}", self._table.Bytes, place)[0]
        return value

    def table(self, field: int) -> "_Table":
        place = self._place(field)
        if not place:
            raise LookupError(f"no field {field}")
        return _Table(self._table.Bytes, self._table.Indirect(place))

    def tables(self, field: int) -> list["_Table"]:
        start, count = self._vector(field)
        places = (start + 4 * i for i in range(count))
        return [_Table(self._table.Bytes, self._table.Indirect(place)) for place in places]

    def array(self, field: int, dtype: str) -> NDArray[Any]:
        start, count = self._vector(field)
        return np.frombuffer(self._table.Bytes, dtype, count, start)

    def _vector(self, field: int) -> tuple[int, int]:
        offset = self._table.Offset(4 + 2 * field)
        return (self._table.Vector(offset), self._table.VectorLen(offset)) if offset else (0, 0)

    def _place(self, field: int) -> int:
        offset: int = self._table.Offset(4 + 2 * field)
        return offset + self._table.Pos if offset else 0


@dataclass(frozen=True)
class _Operator:
    code: int
    options: _Table
    constants: list[Numbers]


def _of_litert(network: bytes) -> Iterator[Layer]:
    layer: Layer | None = None  # the last one, because the next operator may belong to it
    for operator in _operators_of(network):
        code, options = operator.code, operator.options
        if code == _SOFTMAX and isinstance(layer, Dense) and layer.activation == "linear":
            layer = replace(layer, activation="softmax")
        elif code == _ADD and isinstance(layer, Scaling):
            _demand_no_activation(options, 0)
            layer = replace(layer, offset=layer.offset + operator.constants[0])
        else:
            if layer is not None:
                yield layer
            layer = _layer_of(operator)
    if layer is not None:
        yield layer


def _operators_of(network: bytes) -> Iterator[_Operator]:
    """The operators of a network, each of which takes the output of the one before it."""
    model = _Table.root(network)
    codes = [max(code.number(0, "b"), code.number(3, "i")) for code in model.tables(1)]
    (graph,), buffers = model.tables(2), model.tables(4)
    tensors = graph.tables(0)

    def constant(index: int) -> Numbers:
        tensor = tensors[index]
        if tensor.number(1, "b") != _FLOAT32:
            raise ValueError("weights that are not float32")
        values = buffers[tensor.number(2, "I")].array(0, "u1").view("<f4")
        return values.reshape(tensor.array(0, "<i4")).astype(np.float64)

    (given,) = graph.array(1, "<i4")
    for operator in graph.tables(3):
        code = codes[operator.number(0, "I")]
        if code in _OF_SHAPES:
            continue
        inputs = operator.array(1, "<i4").tolist()
        inputs.remove(given)
        (given,) = operator.array(2, "<i4")
        if code != _RESHAPE:
            yield _Operator(code, operator.table(4), [constant(index) for index in inputs])


def _layer_of(operator: _Operator) -> Layer:
    code, options = operator.code, operator.options
    if code == _CONVOLUTION:
        if {options.number(field, "i", 1) for field in (1, 2, 4, 5)} != {1}:
            raise ValueError("a convolution with a different stride")
        kernel, bias = operator.constants
        padding, activation = options.number(0, "b"), options.number(3, "b")
        kernel = kernel.transpose(1, 2, 3, 0)
        return Convolution(kernel, bias, _PADDINGS[padding], _ACTIVATIONS[activation])
    if code == _DENSE:
        kernel, bias = operator.constants
        return Dense(kernel.T, bias, _ACTIVATIONS[options.number(0, "b")])
    if code == _POOLING:
        _demand_no_activation(options, 5)
        if {options.number(field, "i") for field in (1, 2, 3, 4)} != {2}:
            raise ValueError("a pooling with a different stride")
        return Pooling()
    if code == _MULTIPLY:
        _demand_no_activation(options, 0)
        (factor,) = operator.constants
        return Scaling(factor, np.zeros_like(factor))
    raise ValueError(f"an operator {code}")


def _demand_no_activation(options: _Table, field: int) -> None:
    if options.number(field, "b"):
        raise ValueError("an activation in another place")
