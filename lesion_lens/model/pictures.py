"""Numbers that describe a picture of any kind: its field of view, colours, texture and shape."""

import numpy as np
from numpy.typing import NDArray

from skin_cancer_detection import SIDE

# Images, uint8 or float (N, 28, 28, 3), RGB, 0–255.
Pixels = NDArray[np.uint8] | NDArray[np.floating]

# Brightness, red against blue, and green against both: the axes along which Ohta, Kanade & Sakai,
# Comput Graph Image Process 13:222 (1980), found the colours of photographs to vary most
# independently, here of length 1. A row is an axis, its columns are R, G and B.
COLOUR_AXES = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], np.float32)
COLOUR_AXES /= np.linalg.norm(COLOUR_AXES, axis=1, keepdims=True)

# Added before a logarithm, in grey levels: a contrast below what rounding leaves counts as none.
LEAST_CONTRAST = 0.5

DESCRIPTION = 17  # numbers that `describe` gives
LAGS = (1, 2, 4, 8)  # pixels
# Grey levels that no channel of a black frame reaches. A higher limit would take dark parts of
# photographs for a frame.
BLACK = 40
LEAST_VIEW = 0.12  # share of a picture; what leaves less is no frame, but a dark picture
# Added to a variance that something is divided by, so that a flat picture has a shape too.
LEAST_VARIANCE = 0.5
LEAST_KURTOSIS = 0.2  # added before its logarithm: of flat pictures it is 0
MOST_CORRELATION = 0.98  # Fisher's z of a greater one, up to 1, would grow without end
SAME_LEVELS = 1  # grey levels by which neighbours of one colour may differ
# Pictures described at a time, few enough for the intermediate arrays to stay in the processor's
# cache: thousands at once take more than twice as long.
_AT_ONCE = 128


def field_of_view(pixels: Pixels) -> NDArray[np.bool_]:
    """Find what a black frame, bars or dark corners leave of each picture.

    Args:
        pixels: uint8 or float (N, 28, 28, 3), RGB, 0–255.

    Returns:
        (N, 28, 28), False for black pixels that are connected with the edge by black ones, and for
        their neighbours, which are partly black. All True where nearly the whole is black.
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
    """Add to each pixel of (N, 28, 28) those above and below it, and those beside it."""
    grown = mask.copy()
    if down:
        grown[:, 1:] |= mask[:, :-1]
        grown[:, :-1] |= mask[:, 1:]
    if across:
        grown[:, :, 1:] |= mask[:, :, :-1]
        grown[:, :, :-1] |= mask[:, :, 1:]
    return grown


def fill_frame(pixels: Pixels, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give each picture's frame the mean colour of what is inside it.

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
    """Give the share of each picture that is of one colour: like its neighbours, or nearly so.

    Args:
        pixels: (N, 28, 28, 3), 0–255.
        inside: (N, 28, 28), from `field_of_view`; only there is looked.

    Returns:
        (N,), 0–1, of pixels that differ by `SAME_LEVELS` at most from their neighbours.
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
        inside: (N, 28, 28), from `field_of_view`, where it is known already.

    Returns:
        (N, 17): the means along the three colour axes, in grey levels; the logarithms of the
        standard deviations along them; the logarithms of the steps in brightness (root mean
        square) over 1, 2, 4 and 8 pixels, which text and noise hardly let grow; the logarithms of
        the kurtosis along the three axes; Fisher's z of the correlation between brightness and the
        squared distance from the middle, as a lesion is one dark spot on lighter skin; and, along
        the three axes, the arcsine of the square root of the share of the variance that stays when
        the eight views are averaged, which is large where there is one spot in the middle.
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


# Squared, from the middle of a picture, whose half side is 1.
_DISTANCES = np.add(*np.square(np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]))


def _symmetric_shares(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the variance that the mean of the turned and mirrored (…, 28, 28) has, 0–1."""
    # The mirror images left to right, then top to bottom, then about the diagonal: all eight ways.
    upright = away + away[..., ::-1]
    upright += upright[..., ::-1, :]
    mean = (upright + upright.swapaxes(-2, -1)) / 8
    # Never more than 1 but for rounding, as an average has no more variance than what it is of.
    shares = _mean_square(mean) / (_mean_square(away) + LEAST_VARIANCE)
    return np.minimum(shares, 1)


def _mean_square(values: NDArray[np.float64]) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("...yx,...yx->...", values, values)
    return squares / (SIDE * SIDE)


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The means of (…, N, 28, 28) with weights, (N, 28, 28), that sum to 1 in each picture."""
    means: NDArray[np.float64] = np.einsum("...yx,...yx->...", values, weights)
    return means


def _steps(
    brightness: NDArray[np.float64], inside: NDArray[np.bool_], lag: int
) -> NDArray[np.float64]:
    """The root mean square of the steps over so many pixels, down and across together."""
    squares: NDArray[np.float64] | float = 0.0
    for here, there in (
        (np.s_[:, lag:], np.s_[:, :-lag]),
        (np.s_[:, :, lag:], np.s_[:, :, :-lag]),
    ):
        both = inside[here] & inside[there]
        steps = (brightness[here] - brightness[there]) * both
        squares = squares + np.einsum("nyx,nyx->n", steps, steps) / np.maximum(both.sum((1, 2)), 1)
    return np.sqrt(squares)
