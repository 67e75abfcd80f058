"""Augmentation: each epoch shows the network every image once, changed at random."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesion_lens.training.recipe import Recipe
from skin_cancer_detection import SIDE


class Epoch(NamedTuple):
    """One epoch, cut into batches: every array begins with (steps, batch).

    Attributes:
        pixels: (…, 28, 28, 3), RGB, 0–255.
        targets: (…, 7), each row summing to 1.
        gains: (…, 3), factors for the channels of pixels scaled to 0–1.
        offsets: (…, 3), added after the gains.
        shares: (…,), 0–1, the weight of an image when it is mixed with the one before it in the
            batch.
    """

    pixels: NDArray[np.uint8]
    targets: NDArray[np.float32]
    gains: NDArray[np.float32]
    offsets: NDArray[np.float32]
    shares: NDArray[np.float32]


def draw_epoch(
    pixels: NDArray[np.uint8],
    targets: NDArray[np.float32],
    recipe: Recipe,
    rng: np.random.Generator,
) -> Epoch:
    """Draw one epoch: every image once, augmented, in a random order, cut into batches.

    Args:
        pixels: (N, 28, 28, 3), RGB, 0–255.
        targets: (N, 7), each row summing to 1.
    """
    size = min(recipe.batch_size, len(pixels))
    steps = len(pixels) // size  # the few images left over differ from epoch to epoch
    order = rng.permutation(len(pixels))[: steps * size]
    count = len(order)
    gains = 1 + rng.uniform(-recipe.max_colour, recipe.max_colour, (count, 3))
    contrast = 1 + rng.uniform(-recipe.max_brightness, recipe.max_brightness, (count, 1))
    brightness = rng.uniform(-recipe.max_brightness, recipe.max_brightness, (count, 1)) / 2
    mean = pixels.mean((0, 1, 2)) / 255
    offsets = brightness + mean * (1 - contrast) * gains
    shares = rng.beta(recipe.mixup, recipe.mixup, count) if recipe.mixup else np.ones(count)

    def batches(array: NDArray[Any]) -> NDArray[Any]:
        return array.reshape(steps, size, *array.shape[1:])

    return Epoch(
        batches(augment(pixels[order], recipe, rng)),
        batches(targets[order]),
        batches((gains * contrast).astype(np.float32)),
        batches(offsets.astype(np.float32)),
        batches(shares.astype(np.float32)),
    )


def augment(
    pixels: NDArray[np.uint8], recipe: Recipe, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Mirror, rotate, scale and shift each image at random, as if it had been taken again.

    A lesion has no right way up, so half are mirrored and all are rotated by a random angle. Areas
    beyond the image's edge are filled with its reflection.

    Args:
        pixels: (N, 28, 28, 3), RGB, 0–255.

    Returns:
        A new array of the same shape and range.
    """
    count = len(pixels)
    margin = SIDE // 2
    padded = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin), (0, 0)), "reflect")
    padded = np.where(rng.random((count, 1, 1, 1)) < 0.5, padded, padded[:, :, ::-1])
    angles = rng.uniform(0, 2 * np.pi, count)
    scales = 1 / np.exp(rng.uniform(np.log(recipe.min_scale), np.log(recipe.max_scale), count))
    stretch = np.exp(rng.uniform(-recipe.max_stretch, recipe.max_stretch, count) / 2)
    # Pillow needs the inverse map, from each output pixel to its place in the padded image:
    # rotation and scale about the middle, then the shift.
    cosines, sines = np.cos(angles) * scales, np.sin(angles) * scales
    a, b, d, e = cosines * stretch, -sines / stretch, sines * stretch, cosines / stretch
    middle = SIDE / 2
    shifts = rng.uniform(-recipe.max_shift, recipe.max_shift, (2, count))
    c = margin + middle - (a + b) * middle + shifts[0]
    f = margin + middle - (d + e) * middle + shifts[1]
    coefficients = np.stack([a, b, c, d, e, f], axis=1)
    return np.stack(
        [
            np.asarray(
                Image.fromarray(image).transform(
                    (SIDE, SIDE), Image.Transform.AFFINE, matrix.tolist(), Image.Resampling.BICUBIC
                )
            )
            for image, matrix in zip(padded, coefficients, strict=True)
        ]
    )
