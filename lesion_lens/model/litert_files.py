"""The `.tflite`: a network for LiteRT, then a zip archive with what the file says beside it.

TensorFlow Lite's own metadata travels in the same archive: the interpreter reads from the beginning
of the file, zipfile from its end. Nothing here needs Keras or TensorFlow.
"""

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.model_path import remedy_of

_ARCHIVED = "attributes.json"  # the name in a .tflite's archive
_MOST_ARCHIVED = 16_000_000  # bytes; ours has 50,000, and older files deflated it
# Attributes that only a .tflite has.
_NETWORK_BYTES = "network_bytes"  # where the network ends and the archive begins
_NETWORK_SHA256 = "network_sha256"
MADE_OF = "made_of"  # the SHA-256 of the .h5
# What zipfile raises on spoiled bytes has no common base.
_SPOILED = (
    *(OSError, ValueError, LookupError, TypeError, RuntimeError, EOFError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


def append_attributes(
    path: str | Path, attributes: Mapping[str, Any], texts: Mapping[str, str] | None = None
) -> None:
    """Append to a network for LiteRT, alone in its file, what a model file says beside it.

    Args:
        path: the file.
        attributes: texts, numbers or arrays by name, as `read_attributes` returns them.
        texts: further files of the archive by name, such as that of the labels.
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
        for name, content in {**(texts or {}), _ARCHIVED: text}.items():
            entry = zipfile.ZipInfo(name)  # of 1980, so that the same model is the same file
            archive.writestr(entry, content)  # not deflated: MediaPipe reads no other entries


def read_network(path: str | Path) -> bytes:
    """Read the network of a `.tflite`, and see that it is whole.

    The interpreter believes what it reads, so no byte of a spoiled network may reach it, and none
    of a file that is exchanged while it is served: it gets these bytes rather than the path.

    Raises:
        ModelFileError: the file is truncated or spoiled.
    """
    attributes = read_archived(path)
    try:
        network = Path(path).read_bytes()[: attributes[_NETWORK_BYTES]]
        whole = hashlib.sha256(network).hexdigest() == attributes[_NETWORK_SHA256]
    except _SPOILED:
        whole = False
    if not whole:
        raise ModelFileError(f"{path} is truncated or spoiled: {remedy_of(path)}")
    return network


def read_archived(path: str | Path) -> dict[str, Any]:
    """Read the attributes of a `.tflite`.

    Returns:
        Texts, numbers or lists by name.

    Raises:
        ModelFileError: they cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_ARCHIVED) as entry:
            # Not all at once, and not by the size that it claims: a few bytes can inflate to
            # gigabytes. What is cut off is no JSON.
            return dict(json.loads(entry.read(_MOST_ARCHIVED)))
    except _SPOILED as error:
        raise ModelFileError(f"{path} holds spoiled attributes: {remedy_of(path)}") from error
