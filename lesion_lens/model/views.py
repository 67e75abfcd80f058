"""Runs one image through the network: its eight views and its occlusion map."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lesion_lens.model.errors import ModelFileError
from skin_cancer_detection import SIDE

Number = TypeVar("Number", bound=np.generic)
# From (N, 28, 28, 3), RGB, 0–255, to (N, 7), each row summing to 1.
Engine = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

PATCHES = 7  # per side of the occlusion map; each of the 49 patches is 4 × 4 pixels


@dataclass(frozen=True)
class Prediction:
    """The network's output for one image.

    Attributes:
        views: float32 (8, 7), the probabilities for its `eight_views`, each row summing to 1.
        occlusion: float32 (7, 7), −1 to 1: how far the probability of the most likely class falls
            when that patch of the upright image is covered. None without a map.
    """

    views: NDArray[np.float32]
    occlusion: NDArray[np.float32] | None


def predict(engine: Engine, pixels: NDArray[np.uint8], with_map: bool = True) -> Prediction:
    """Classify one image and, if asked, a copy for each patch with it covered, all in one batch.

    The map is made by the occlusion method of Zeiler & Fergus, ECCV 2014. Methods that use the
    last convolution's activations do not work here because its output is a single pixel. Several
    threads may call this at once.

    Args:
        engine: from `engines.load_engine`.
        pixels: (28, 28, 3), RGB, 0–255, as `preprocess` returns them.
        with_map: whether to make the map, which takes 49 more images.

    Raises:
        ModelFileError: the network's output is NaN or infinite.
    """
    images = eight_views(pixels[np.newaxis])[:, 0]
    if with_map:
        images = np.concatenate([images, occluded(pixels)])
    probabilities = engine(images)
    if not np.isfinite(probabilities).all():
        raise ModelFileError("The model gives no finite probabilities: serve another model file.")
    views, covered = probabilities[:8], probabilities[8:]
    if not with_map:
        return Prediction(views, None)
    likely = views.mean(axis=0).argmax()  # as in `decide`: a temperature keeps the order
    return Prediction(views, (views[0, likely] - covered[:, likely]).reshape(PATCHES, PATCHES))


def eight_views(pixels: NDArray[Number]) -> NDArray[Number]:
    """Return the eight views of images: their quarter turns, and those of their mirror images.

    Args:
        pixels: (N, 28, 28, 3), of any dtype.

    Returns:
        (8, N, 28, 28, 3), of the same dtype; the first view is the unchanged image.
    """
    flat = pixels.reshape(len(pixels), SIDE * SIDE, 3)
    return flat.take(_PLACES, axis=1).swapaxes(0, 1)


# For each pixel of each view: the number of that pixel in the image, row by row. With these, NumPy
# makes all views in one call, and releases Python's lock once instead of eight times.
_PLACES = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
_PLACES = np.stack([np.rot90(x, k) for x in (_PLACES, _PLACES[:, ::-1]) for k in range(4)])


def occluded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cover each patch of an image in turn with the colour of the skin around the lesion.

    Args:
        pixels: (28, 28, 3), RGB, 0–255.

    Returns:
        (49, 28, 28, 3), in the order of the patches, row by row. Each has one patch in the median
        colour of the image's rim, which usually shows skin.
    """
    rim = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
    skin = np.median(rim, axis=0)
    copies = np.repeat(pixels[np.newaxis], PATCHES**2, axis=0)
    side = SIDE // PATCHES
    for patch, copy in enumerate(copies):
        top, left = side * (patch // PATCHES), side * (patch % PATCHES)
        copy[top : top + side, left : left + side] = skin
    return copies
