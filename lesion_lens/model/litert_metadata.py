"""Writes TensorFlow Lite's metadata, which MediaPipe and ML Kit require in a `.tflite`.

The schema is MediaPipe's `metadata_schema.fbs`. Its package would exceed the deployment's size
limit, so we build the few tables with flatbuffers, which TensorFlow needs anyway. A table is
written as a mapping from the numbers of its fields, in the order of the schema.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lesion_lens.model.publication import AUTHOR, DESCRIPTION, LICENCE, NAME
from skin_cancer_detection import CODES

LABELS_NAME = "labels.txt"  # in the archive at the end of the file
LABELS = "".join(f"{code}\n" for code in CODES)
_BUFFER = "TFLITE_METADATA"
_MODEL, _METADATA = b"TFL3", b"M001"  # the identifiers of the two schemas
_ALIGNMENT = 16  # bytes, for constants, by TensorFlow Lite's schema
# Values in the schema's unions and enumerations.
_IMAGE_PROPERTIES, _FEATURE_PROPERTIES, _NORMALIZATION, _RGB, _AXIS_LABELS = 2, 1, 1, 1, 2


def with_metadata(network: bytes) -> bytes:
    """Add the metadata to a network for LiteRT.

    It says that the input is RGB and not scaled (mean 0, standard deviation 1), names the labels of
    the outputs, and gives the model's name, author and licence.

    Args:
        network: as written by TensorFlow's converter, still without this metadata.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(network, 0)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(_metadata(), np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _BUFFER, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    builder = _aligned_builder(len(network))
    builder.Finish(model.Pack(builder), _MODEL)
    return bytes(builder.Output())


def _aligned_builder(size: int) -> Any:
    import flatbuffers

    class Aligned(flatbuffers.Builder):  # type: ignore[misc, unused-ignore]
        """Aligns bytes so that a processor can read them as numbers; its base class does not."""

        def CreateNumpyVector(self, x: Any) -> Any:
            if x.dtype != np.uint8:
                return super().CreateNumpyVector(x)
            self.StartVector(1, x.size, _ALIGNMENT)
            self.head -= x.size
            self.Bytes[self.head : self.head + x.size] = x.tobytes()
            return self.EndVector()

    return Aligned(size)


def _metadata() -> bytes:
    """The root table, `ModelMetadata`."""
    import flatbuffers

    write = _Tables(flatbuffers.Builder(1024))
    normalization = write.table({0: write.floats([0.0]), 1: write.floats([1.0])})
    image = write.table(
        {
            0: write.text("image"),
            1: write.text("28×28 pixels, RGB, 0–255"),
            3: write.table({0: _byte(_IMAGE_PROPERTIES), 1: write.table({0: _byte(_RGB)})}),
            4: write.all([write.table({0: _byte(_NORMALIZATION), 1: normalization})]),
            5: write.table({0: write.floats([255.0]), 1: write.floats([0.0])}),
        }
    )
    labels = write.table({0: write.text(LABELS_NAME), 2: _byte(_AXIS_LABELS)})
    probabilities = write.table(
        {
            0: write.text("probability"),
            1: write.text("of each class; they sum to 1"),
            3: write.table({0: _byte(_FEATURE_PROPERTIES), 1: write.table({})}),
            5: write.table({0: write.floats([1.0]), 1: write.floats([0.0])}),
            6: write.all([labels]),
        }
    )
    subgraph = write.table({2: write.all([image]), 3: write.all([probabilities])})
    root = write.table(
        {
            0: write.text(NAME),
            1: write.text(DESCRIPTION),
            3: write.all([subgraph]),
            4: write.text(AUTHOR),
            5: write.text(LICENCE),
            7: write.text("1.0.0"),  # the oldest reader that knows these tables
        }
    )
    write.builder.Finish(root, _METADATA)
    return bytes(write.builder.Output())


def _byte(value: int) -> tuple[int]:
    """A field that holds a number. Other fields hold the position of their value."""
    return (value,)


class _Tables:
    """Writes the parts of a flatbuffer, children before parents, and returns their positions."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def text(self, text: str) -> int:
        place: int = self.builder.CreateString(text)
        return place

    def floats(self, values: Sequence[float]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependFloat32(value)
        place: int = self.builder.EndVector()
        return place

    def all(self, places: Sequence[int]) -> int:
        self.builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            self.builder.PrependUOffsetTRelative(place)
        end: int = self.builder.EndVector()
        return end

    def table(self, fields: Mapping[int, int | tuple[int]]) -> int:
        self.builder.StartObject(max(fields, default=-1) + 1)
        for number, value in fields.items():
            if isinstance(value, tuple):
                self.builder.PrependUint8Slot(number, value[0], 0)
            else:
                self.builder.PrependUOffsetTRelativeSlot(number, value, 0)
        place: int = self.builder.EndObject()
        return place
