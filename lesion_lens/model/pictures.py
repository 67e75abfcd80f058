"""Numbers that describe a picture of any kind: its field of view, colours, texture and shape."""

import numpy as np
from numpy.typing import NDArray

from skin_cancer_detection import SIDE

# Images, uint8 or float (N, 28, 28, 3), RGB, 0–255.
Pixels = NDArray[np.uint8] | NDArray[np.floating]

# Brightness, red against blue, and green against both. Ohta, Kanade & Sakai, Comput Graph Image
# Process 13:222 (1980), found that the colours of photographs vary most independently along these
# axes; here each has length 1. A row is an axis, its columns are R, G and B.
COLOUR_AXES = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], np.float32)
COLOUR_AXES /= np.linalg.norm(COLOUR_AXES, axis=1, keepdims=True)

# Grey levels, added before a logarithm: a contrast as small as rounding counts as none.
LEAST_CONTRAST = 0.5

DESCRIPTION = 17  # numbers that `describe` returns
LAGS = (1, 2, 4, 8)  # pixels
# Grey levels that no channel of a black frame reaches. With a higher limit, dark parts of
# photographs would count as a frame.
BLACK = 40
LEAST_VIEW = 0.12  # share of a picture; if less would be left, it is a dark picture without a frame
# Added to a variance before dividing by it, so that the result is defined for flat pictures too.
LEAST_VARIANCE = 0.5
LEAST_KURTOSIS = 0.2  # added before the logarithm: the kurtosis of a flat picture is 0
MOST_CORRELATION = 0.98  # beyond it, Fisher's z would grow without limit
SAME_LEVELS = 1  # grey levels by which neighbours of one colour may differ
# Pictures described at a time, few enough for the intermediate arrays to stay in the processor's
# cache: thousands at once take more than twice as long.
_AT_ONCE = 128


def field_of_view(pixels: Pixels) -> NDArray[np.bool_]:
    """Find the part of each picture that is not a black frame, bars or dark corners.

    Args:
        pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

    Returns:
        (N, 28, 28), False for black pixels that are connected to the edge by black ones, and for
        their neighbours, which are partly black. All True for a picture that is nearly all black.
    """
    black = np.asarray(pixels).max(axis=-1) < BLACK
    frame = np.zeros_like(black)
    edge = np.s_[:, [0, -1]], np.s_[:, :, [0, -1]]
    for side in edge:
        frame[side] = black[side]
    while frame.any():
        grown = _with_neighbours(frame) & black
        if (grown == frame).all():
            break
        frame = grown
    inside = ~_with_neighbours(_with_neighbours(frame, across=False), down=False)
    inside[inside.mean((1, 2)) < LEAST_VIEW] = True
    return inside


def _with_neighbours(
    mask: NDArray[np.bool_], down: bool = True, across: bool = True
) -> NDArray[np.bool_]:
    """Grow a mask (N, 28, 28) by the pixels above and below it, and by those beside it."""
    grown = mask.copy()
    if down:
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
    if across:
        grown[:, :, 1:] |= mask[:, :, :-1]
        grown[:, :, :-1] |= mask[:, :, 1:]
    return grown


def fill_frame(pixels: Pixels, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Fill each picture's frame with the mean colour of what is inside it.

    Args:
        pixels: (N, 28, 28, 3).
        inside: (N, 28, 28), from `field_of_view`.

    Returns:
        (N, 28, 28, 3), 0–255.
    """
    pixels = np.asarray(pixels, np.float64)
    weights = inside[..., np.newaxis]
    colour = (pixels * weights).sum((1, 2), keepdims=True) / weights.sum((1, 2), keepdims=True)
    return np.where(weights, pixels, colour)


def flat_share(pixels: Pixels, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Measure how much of each picture is flat: of nearly the same colour as its neighbours.

    Args:
        pixels: (N, 28, 28, 3), 0–255.
        inside: (N, 28, 28), from `field_of_view`; the other pixels do not count.

    Returns:
        (N,), 0–1: the share of pixels that differ from their neighbours by at most `SAME_LEVELS`.
    """
    levels = np.asarray(pixels, np.float64)
    flat = inside.copy()
    for here, there in (
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[:, :, 1:], np.s_[:, :, :-1]),
    ):
        same = (np.abs(levels[here] - levels[there]) <= SAME_LEVELS).all(axis=-1)
        flat[here] &= same
        flat[there] &= same
    return flat.sum((1, 2)) / inside.sum((1, 2))


def describe(pixels: Pixels, inside: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    """Describe each picture's colours, texture and shape inside its field of view.

    Args:
        pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.
        inside: (N, 28, 28), from `field_of_view`; None to compute it.

    Returns:
        (N, 17), in this order:

        - 3: the means along the colour axes, in grey levels.
        - 3: the logarithms of the standard deviations along these axes.
        - 4: the logarithms of the steps in brightness (root mean square) over 1, 2, 4 and 8
          pixels. In text and noise they hardly grow with the distance.
        - 3: the logarithms of the kurtosis along the axes.
        - 1: Fisher's z of the correlation between brightness and the squared distance from the
          middle, because a lesion is one dark spot on lighter skin.
        - 3: for each axis, the share of the variance that remains when the eight views are
          averaged, as the arcsine of its square root. It is large for one spot in the middle.
    """
    if inside is None:
        inside = field_of_view(pixels)
    parts = [
        _describe(pixels[begin : begin + _AT_ONCE], inside[begin : begin + _AT_ONCE])
        for begin in range(0, max(1, len(pixels)), _AT_ONCE)
    ]
    return np.concatenate(parts)


def _describe(pixels: Pixels, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    weights = inside / inside.sum((1, 2), keepdims=True)
    colours = np.moveaxis(np.asarray(pixels, np.float64) @ COLOUR_AXES.T, -1, 0)  # (3, N, 28, 28)
    means = _mean(colours, weights)
    away = colours - means[..., np.newaxis, np.newaxis]
    squares = away * away
    variances = _mean(squares, weights)
    kurtosis = _mean(squares * squares, weights) / (variances + LEAST_VARIANCE) ** 2
    steps = np.stack([_steps(colours[0], inside, lag) for lag in LAGS])
    outward = _DISTANCES - _mean(_DISTANCES, weights)[:, np.newaxis, np.newaxis]
    covariance = _mean(outward * away[0], weights)
    spread = np.sqrt(_mean(outward * outward, weights) * (variances[0] + LEAST_VARIANCE))
    correlation = np.clip(covariance / spread, -MOST_CORRELATION, MOST_CORRELATION)
    return np.concatenate(
        [
            means,
            np.log(np.sqrt(variances) + LEAST_CONTRAST),
            np.log(steps + LEAST_CONTRAST),
            np.log(kurtosis + LEAST_KURTOSIS),
            np.arctanh(correlation)[np.newaxis],
            np.arcsin(np.sqrt(_symmetric_shares(away * inside))),
        ]
    ).T


# Squared distances from the middle of a picture, in units of half its side.
_DISTANCES = np.add(*np.square(np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]))


def _symmetric_shares(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the variance of (…, 28, 28) that remains in the mean of its eight views, 0–1."""
    # Mirrored left to right, then top to bottom, then about the diagonal: together all eight views.
    upright = away + away[..., ::-1]
    upright += upright[..., ::-1, :]
    mean = (upright + upright.swapaxes(-2, -1)) / 8
    # Above 1 only by rounding: an average has no more variance than what is averaged.
    shares = _mean_square(mean) / (_mean_square(away) + LEAST_VARIANCE)
    return np.minimum(shares, 1)


def _mean_square(values: NDArray[np.float64]) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("...yx,...yx->...", values, values)
    return squares / (SIDE * SIDE)


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The means of (…, N, 28, 28), with weights (N, 28, 28) that sum to 1 in each picture."""
    means: NDArray[np.float64] = np.einsum("...yx,...yx->...", values, weights)
    return means


def _steps(
    brightness: NDArray[np.float64], inside: NDArray[np.bool_], lag: int
) -> NDArray[np.float64]:
    """The root mean square of the steps over `lag` pixels, down and across together."""
    squares: NDArray[np.float64] | float = 0.0
    for here, there in (
        (np.s_[:, lag:], np.s_[:, :-lag]),
        (np.s_[:, :, lag:], np.s_[:, :, :-lag]),
    ):
        both = inside[here] & inside[there]
        steps = (brightness[here] - brightness[there]) * both
        squares = squares + np.einsum("nyx,nyx->n", steps, steps) / np.maximum(both.sum((1, 2)), 1)
    return np.sqrt(squares)
