"""DermaMNIST: HAM10000 as MedMNIST distributes it, in `.npz` files with their own split.

Yang et al., MedMNIST v2, Scientific Data 10:41 (2023), doi 10.1038/s41597-022-01721-8. The images
are 28, 64, 128 or 224 pixels a side. The file names neither images nor lesions, and its split is by
image: 886 of the 2,005 test images show a lesion that is also in another part.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesion_lens.training.csv_files import as_data_error
from lesion_lens.training.data import Dataset
from lesion_lens.training.errors import DataError
from lesion_lens.training.split import PARTS
from skin_cancer_detection import CODES, SIDE, preprocess

SOURCE = "DermaMNIST"
# MedMNIST numbers the classes in the order of these codes.
_ORDER = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
_LABELS = np.array([CODES.index(code) for code in _ORDER])
_WORDS = dict(zip(("train", "val", "test"), PARTS, strict=True))
_MOST_IMAGES = 1_000_000
_MOST_SIDE = 1024  # pixels; MedMNIST's largest have 224
_OTHER = "Is it DermaMNIST's .npz, such as dermamnist.npz or dermamnist_64.npz?"


def read_medmnist(path: str | Path) -> Dataset:
    """Read DermaMNIST's images, of any of its sizes, and its split.

    Images of more than 28×28 pixels are reduced as the app reduces uploads.

    Args:
        path: the `.npz`.

    Returns:
        The data set with its `parts`, but without image ids or lesion ids.

    Raises:
        DataError: the file is missing, damaged, or another data set of MedMNIST.
    """
    path = Path(path)
    pixels, labels, parts = [], [], []
    with as_data_error(path), zipfile.ZipFile(path) as archive:
        for word, part in _WORDS.items():
            images = np.stack(list(_images(path, archive, f"{word}_images")))
            numbers = _numbers(path, archive, f"{word}_labels")
            if len(numbers) != len(images):
                raise _another(path, f"{len(images)} {word} images have {len(numbers)} labels")
            pixels.append(images)
            labels.append(_LABELS[numbers])
            parts += [part] * len(images)
    for word, of_part in zip(_WORDS, labels, strict=True):
        if len(set(of_part.tolist())) != len(CODES):
            raise _another(path, f"not every class of {', '.join(CODES)} has a {word} image")
    return Dataset(
        np.concatenate(pixels),
        np.concatenate(labels),
        None,
        source=SOURCE,
        parts=np.array(parts),
    )


def _images(path: Path, archive: zipfile.ZipFile, name: str) -> Iterator[NDArray[np.uint8]]:
    """Yield the images of an array (28, 28, 3) one by one: the largest array has a gigabyte."""
    with _member(path, archive, name) as file:
        shape = _shape(path, file, name, np.uint8)
        if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2]:
            raise _another(path, f"{name} has the shape {shape} instead of (N, S, S, 3)")
        count, side = shape[:2]
        if not (0 < count <= _MOST_IMAGES and SIDE <= side <= _MOST_SIDE):
            raise _another(path, f"{name} has {count:,} images of {side} pixels a side")
        for _ in range(count):
            data = file.read(side * side * 3)
            if len(data) < side * side * 3:
                raise DataError(f"{path} is truncated: download it again.")
            image = np.frombuffer(data, np.uint8).reshape(side, side, 3)
            yield image if side == SIDE else preprocess(Image.fromarray(image))


def _numbers(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[np.int64]:
    """Read the class numbers, 0–6, of an array (N, 1) or (N,)."""
    with _member(path, archive, name) as file:
        shape = _shape(path, file, name, np.integer)
        if len(shape) not in (1, 2) or shape[1:] not in ((), (1,)) or shape[0] > _MOST_IMAGES:
            raise _another(path, f"{name} has the shape {shape} instead of (N, 1)")
    with _member(path, archive, name) as file:
        numbers = np.lib.format.read_array(file, allow_pickle=False).reshape(-1)
    if not np.isin(numbers, range(len(_ORDER))).all():
        raise _another(path, f"{name} holds numbers other than 0 to {len(_ORDER) - 1}")
    return numbers.astype(np.int64)


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    try:
        return archive.open(f"{name}.npy")
    except KeyError as error:
        raise _another(path, f"it holds no array {name}") from error


def _shape(path: Path, file: IO[bytes], name: str, kind: Any) -> tuple[int, ...]:
    """Read the shape from an array's header.

    Raises:
        DataError: the array has the wrong kind of numbers, or is not in C order.
    """
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise _another(path, f"{name} is not in a form that NumPy writes")
    shape, is_fortran, dtype = readers[version](file)
    if not np.issubdtype(dtype, kind) or is_fortran:
        raise _another(path, f"{name} holds {dtype}, not {kind.__name__}")
    return tuple(shape)


def _another(path: Path, fault: str) -> DataError:
    return DataError(f"{path}: {fault}. {_OTHER}")
