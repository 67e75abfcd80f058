"""What one epoch shows the network: every image once, changed at random."""

import numpy as np
from PIL import Image

from skin_cancer_detection import SIDE


def augment(pixels, recipe, rng):
    """Mirror, turn, scale and shift each image at random, as if the lesion had been taken again.

    A lesion has no right way up, so half are mirrored and all are turned by any angle. What comes
    in from outside the image is its own mirror image.

    Args:
        pixels: uint8 (N, 28, 28, 3), RGB, 0–255.
        recipe: `Recipe`.
        rng: numpy.random.Generator.

    Returns:
        A new array of the same shape and dtype.
    """
    count = len(pixels)
    margin = SIDE // 2
    padded = np.pad(pixels, ((0, 0), (margin, margin), (margin, margin), (0, 0)), "reflect")
    padded = np.where(rng.random((count, 1, 1, 1)) < 0.5, padded, padded[:, :, ::-1])
    angles = rng.uniform(0, 2 * np.pi, count)
    scales = 1 / np.exp(rng.uniform(np.log(recipe.min_scale), np.log(recipe.max_scale), count))
    stretch = np.exp(rng.uniform(-recipe.max_stretch, recipe.max_stretch, count) / 2)
    # Pillow wants the place in the padded image from which each pixel of the result comes:
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
            Image.fromarray(image).transform(
                (SIDE, SIDE), Image.Transform.AFFINE, matrix.tolist(), Image.Resampling.BICUBIC
            )
            for image, matrix in zip(padded, coefficients, strict=True)
        ]
    )


def draw_epoch(pixels, targets, recipe, rng):
    """Draw one epoch: every image once, augmented, in a random order, cut into batches.

    Args:
        pixels: uint8 (N, 28, 28, 3), 0–255.
        targets: float32 (N, 7), each row summing to 1.
        recipe: `Recipe`.
        rng: numpy.random.Generator.

    Returns:
        Five arrays that begin with (steps, batch): uint8 pixels (…, 28, 28, 3); float32 targets
        (…, 7); float32 gains and offsets of the channels (…, 3), for pixels of 0–1; float32 shares
        (…,) of an image in its mixture with the one before.
    """
    size = min(recipe.batch_size, len(pixels))
    steps = len(pixels) // size  # the few images that are left over stand elsewhere next time
    order = rng.permutation(len(pixels))[: steps * size]
    count = len(order)
    gains = 1 + rng.uniform(-recipe.max_colour, recipe.max_colour, (count, 3))
    contrast = 1 + rng.uniform(-recipe.max_brightness, recipe.max_brightness, (count, 1))
    brightness = rng.uniform(-recipe.max_brightness, recipe.max_brightness, (count, 1)) / 2
    mean = pixels.mean((0, 1, 2)) / 255
    offsets = brightness + mean * (1 - contrast) * gains
    shares = rng.beta(recipe.mixup, recipe.mixup, count) if recipe.mixup else np.ones(count)
    arrays = (
        augment(pixels[order], recipe, rng),
        targets[order],
        (gains * contrast).astype(np.float32),
        offsets.astype(np.float32),
        shares.astype(np.float32),
    )
    return tuple(array.reshape(steps, size, *array.shape[1:]) for array in arrays)
