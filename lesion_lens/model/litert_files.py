"""The `.tflite`: a network for LiteRT, followed by a zip archive with the file's attributes.

The archive also holds the labels that TensorFlow Lite's metadata names. The interpreter reads the
file from the beginning, zipfile from the end. This module needs neither Keras nor TensorFlow.
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
_MOST_ARCHIVED = 16_000_000  # bytes; ours has 50,000, which older files compressed
# Attributes that only a .tflite has.
_NETWORK_BYTES = "network_bytes"  # where the network ends and the archive begins
_NETWORK_SHA256 = "network_sha256"
MADE_OF = "made_of"  # the SHA-256 of the .h5
# zipfile's exceptions on damaged bytes have no common base.
_SPOILED = (
    *(OSError, ValueError, LookupError, TypeError, RuntimeError, EOFError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)


def append_attributes(
    path: str | Path, attributes: Mapping[str, Any], texts: Mapping[str, str] | None = None
) -> None:
    """Append a model file's attributes to a file that holds only a network for LiteRT.

    Args:
        path: the file.
        attributes: texts, numbers or arrays by name, as from `read_attributes`.
        texts: further files for the archive, by name, such as the labels.
    """
    network = Path(path).read_bytes()
    attributes = dict(attributes) | {
        _NETWORK_BYTES: len(network),
        _NETWORK_SHA256: hashlib.sha256(network).hexdigest(),
    }
    with zipfile.ZipFile(path, "a") as archive:
        # HDF5 gives NumPy arrays and numbers, which JSON does not know. Python writes floats so
        # that reading them gives exactly the same values.
        text = json.dumps(attributes, default=lambda value: value.tolist())
        for name, content in {**(texts or {}), _ARCHIVED: text}.items():
            entry = zipfile.ZipInfo(name)  # dated 1980, so that the same model gives the same file
            archive.writestr(entry, content)  # uncompressed, as MediaPipe requires


def read_network(path: str | Path) -> bytes:
    """Read the network of a `.tflite`, and check that it is complete and undamaged.

    The interpreter trusts what it reads, so it must not get a damaged network. It gets these bytes
    instead of the path, in case the file is replaced while it is being served.

    Raises:
        ModelFileError: the file is truncated or damaged.
    """
    attributes = read_archived(path)
    try:
        network = Path(path).read_bytes()[: attributes[_NETWORK_BYTES]]
        whole = hashlib.sha256(network).hexdigest() == attributes[_NETWORK_SHA256]
    except _SPOILED:
        whole = False
    if not whole:
        raise ModelFileError(f"{path} is truncated or damaged: {remedy_of(path)}")
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
            # Read up to a limit, whatever size it claims: a few bytes can inflate to gigabytes. If
            # the text is cut off, it is not valid JSON.
            return dict(json.loads(entry.read(_MOST_ARCHIVED)))
    except _SPOILED as error:
        raise ModelFileError(f"{path} holds damaged attributes: {remedy_of(path)}") from error
