"""Fitting the detector that tells dermatoscopic images of any camera from other pictures.

One side is the training images: unchanged, and changed as other cameras, black frames, ink, rulers
and hair would change them. The other side is generated pictures: noise, shapes, gradients, lines of
writing, and grids. Everything is drawn from one seed. No photographs are used for fitting:
`python -m scripts.compare_outliers` uses some to measure the result.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from lesion_lens.model.other_pictures import TERMS, OtherPictureDetector, terms
from lesion_lens.model.pictures import describe
from lesion_lens.training.data import UNKNOWN
from skin_cancer_detection import SIDE, preprocess

# The shares that may exceed the threshold: of an unseen clinic's images, and of the calibration
# lesions as other cameras would have taken them.
BEYOND = 0.01
BEYOND_CHANGED = 0.005

_SEED = 0
_CANVAS = 8 * SIDE  # pixels; pictures are drawn at this size and then reduced
# How many of each kind; the kinds that vary most have the most pictures.
_MADE = {"noise": 1200, "shapes": 1200, "gradient": 400, "writing": 400, "grid": 400}
_ALTERED = 0.7  # share of the changed images that get a frame, ink, a ruler or hair
_FEWEST = round(1 / BEYOND)  # images of a clinic; with fewer, one image is more than 1 in 100
_TIMES = 5  # changed copies of each calibration lesion, so that 1 in 200 of them are enough
_RIDGE = 30.0  # the penalty on the 171 weights, which are fitted to some thousands of pictures
_STEPS = 50

Rng = np.random.Generator
Picture = NDArray[np.float64]  # (28, 28, 3), 0–255, or a canvas of it


def fit_other_picture_detector(
    training_pixels: NDArray[np.uint8],
    training_clinics: NDArray[np.str_],
    calibration_pixels: NDArray[np.uint8],
) -> OtherPictureDetector:
    """Fit the regression to the training images, and its threshold to images that it has not seen.

    The threshold is the smallest that meets two conditions. At most 1 in 200 of the calibration
    lesions, as other cameras would have taken them, may exceed it. And for each clinic with at
    least 100 training images, at most 1 in 100 of these may exceed it when the regression is fitted
    to the other clinics.

    Args:
        training_pixels: (N, 28, 28, 3), RGB, 0–255.
        training_clinics: (N,), each image's clinic; `UNKNOWN` if not known.
        calibration_pixels: (M, 28, 28, 3), likewise; one image of each lesion.
    """
    rng = np.random.default_rng(_SEED)
    own, changed = describe(training_pixels), describe(as_others_take(training_pixels, rng))
    unseen = as_others_take(np.tile(calibration_pixels, (_TIMES, 1, 1, 1)), rng)
    detector = _fit(np.concatenate([own, changed]))
    thresholds = [_smallest_threshold(detector, unseen, BEYOND_CHANGED)]
    for clinic in np.unique(training_clinics):
        left_out = training_clinics == clinic
        # Images of an unknown clinic may be of this one.
        known = ~left_out & (training_clinics != UNKNOWN)
        if clinic == UNKNOWN or min(left_out.sum(), known.sum()) < _FEWEST:
            continue
        without = _fit(np.concatenate([own[known], changed[known]]))
        thresholds.append(_smallest_threshold(without, training_pixels[left_out], BEYOND))
    return replace(detector, threshold=np.max(thresholds))


def _smallest_threshold(
    detector: OtherPictureDetector, pixels: NDArray[np.uint8], beyond: float
) -> float:
    return float(np.quantile(detector.score(pixels), 1 - beyond, method="higher"))


def _fit(described: NDArray[np.float64]) -> OtherPictureDetector:
    """Fit the regression by Newton's method, with equal weight on both sides.

    Args:
        described: (N, 17), of the dermatoscopic images.

    Returns:
        A detector whose threshold is still to be set.
    """
    others = _described_made_pictures()
    centre = described.mean(axis=0)
    scale = np.sqrt(described.var(axis=0) + 1e-3)  # above 0 for equal images too
    rows = terms(np.concatenate([described, others]), centre, scale)
    is_other = np.arange(len(rows)) >= len(described)
    share = np.where(is_other, 0.5 / len(others), 0.5 / len(described)) * len(rows)
    ridge = _RIDGE * np.eye(TERMS)
    ridge[0, 0] = 0
    weights = np.zeros(TERMS)
    for _ in range(_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        gradient = rows.T @ (share * (probability - is_other)) + ridge @ weights
        curvature = (rows * (share * probability * (1 - probability))[:, np.newaxis]).T @ rows
        step = np.linalg.solve(curvature + ridge + 1e-9 * np.eye(TERMS), gradient)
        weights -= step
        if np.abs(step).max() < 1e-6:
            break
    return OtherPictureDetector(centre, scale, weights, np.array(0.0))


# --- Dermatoscopic images from elsewhere -----------------------------------------------------


def as_others_take(pixels: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """Change images as another camera and light would, and add artefacts to some of them.

    Args:
        pixels: (N, 28, 28, 3), RGB, 0–255.
        rng: decides how.

    Returns:
        (N, 28, 28, 3).
    """
    each = (len(pixels), 1, 1, 1)
    contrast = np.exp(rng.normal(0, 0.18, each))
    saturation = rng.uniform(0.7, 1.3, each)
    light = np.exp(rng.normal(0, 0.25, each) + rng.normal(0, 0.12, (len(pixels), 1, 1, 3)))
    levels = pixels.astype(np.float64)
    mean = levels.mean((1, 2), keepdims=True)
    levels = mean + (levels - mean) * contrast
    grey = levels.mean(axis=-1, keepdims=True)
    levels = (grey + (levels - grey) * saturation) * light + rng.normal(0, 12, each)
    for i in np.flatnonzero(rng.random(len(levels)) < _ALTERED):
        lay_on = _ARTEFACTS[rng.integers(len(_ARTEFACTS))]
        cover, colour = lay_on(rng)
        levels[i] += (np.asarray(colour) - levels[i]) * _reduced(cover)[..., np.newaxis]
    return _as_bytes(levels)


Cover = tuple[NDArray[np.float64], ArrayLike]  # (224, 224), 0–1, and the artefact's colour


def _round_view(rng: Rng) -> Cover:
    """The round field of a dermatoscope, black outside; often squeezed from a wider image."""
    middle = _CANVAS / 2 + rng.normal(0, 8, 2)
    across, down = np.meshgrid(*(np.arange(_CANVAS) - side for side in middle))
    squeezed = 3 / 4 if rng.random() < 0.7 else 1
    distance = np.hypot(across, down * squeezed)
    radius, softness = rng.uniform(0.35, 0.66) * _CANVAS, rng.uniform(1, 25)
    return np.clip((distance - radius) / softness, 0, 1), rng.uniform(0, 25)


def _bars(rng: Rng) -> Cover:
    """Bars at the edges, mostly black, sometimes white."""
    width = round(rng.uniform(0.04, 0.22) * _CANVAS)
    sides = rng.permutation(4)[: rng.integers(1, 5)]
    if rng.random() < 0.6:
        sides = np.array([0, 1]) if rng.random() < 0.5 else np.array([2, 3])
    cover = np.zeros((_CANVAS, _CANVAS))
    for side in sides:
        cover[(np.s_[:width], np.s_[-width:], np.s_[:, :width], np.s_[:, -width:])[side]] = 1
    return cover, rng.uniform(0, 25) if rng.random() < 0.85 else rng.uniform(235, 255)


def _ink_ring(rng: Rng) -> Cover:
    """A ring drawn around the lesion with a marker."""
    inks = ((60, 40, 140), (30, 30, 60), (20, 60, 120), (90, 30, 120), (20, 20, 20), (30, 90, 60))
    left, top, right, bottom = rng.uniform(0.02, 0.25, 4) * _CANVAS
    image, draw = _canvas()
    box = (left, top, _CANVAS - right, _CANVAS - bottom)
    draw.ellipse(box, outline=255, width=int(rng.integers(2, 11)))
    return _cover(image), inks[rng.integers(len(inks))] + rng.normal(0, 15, 3)


def _ruler(rng: Rng) -> Cover:
    """A ruler's white band at one side, or its black ticks."""
    width, step = rng.uniform(0.05, 0.18) * _CANVAS, rng.uniform(4, 16)
    image, draw = _canvas()
    is_band = rng.random() < 0.6
    if is_band:
        fill = int(rng.integers(150, 256))
        draw.rectangle((0, _CANVAS - width, _CANVAS, _CANVAS), fill=fill)
    else:
        for x in np.arange(0, _CANVAS, step):
            line = (x, _CANVAS - width, x, _CANVAS - width / 2)
            draw.line(line, fill=255, width=int(rng.integers(1, 4)))
    turned = np.rot90(_cover(image), int(rng.integers(4)))
    return turned, rng.uniform(180, 250) if is_band else rng.uniform(0, 60)


def _hairs(rng: Rng) -> Cover:
    """From a few to many hairs, mostly dark, sometimes light."""
    image, draw = _canvas()
    for _ in range(rng.integers(3, 28)):
        begin, end = rng.uniform(-20, _CANVAS + 20, (2, 2))
        middle = (begin + end) / 2 + rng.normal(0, 20, 2)
        draw.line((*begin, *middle, *end), fill=255, width=int(rng.integers(1, 4)))
    colour = np.array((25, 18, 15)) + rng.uniform(0, 40, 3)
    if rng.random() < 0.15:
        colour = np.array((200, 190, 180))
    return _cover(image), colour


# The round view and the hairs are listed twice because they hide the most.
_ARTEFACTS: tuple[Callable[[Rng], Cover], ...] = (
    *(_round_view, _round_view, _bars, _ink_ring, _ruler, _hairs, _hairs),
)


def _canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (_CANVAS, _CANVAS))
    return image, ImageDraw.Draw(image)


def _cover(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image) / 255


def _reduced(cover: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average (224, 224) to (28, 28)."""
    return cover.reshape(SIDE, 8, SIDE, 8).mean((1, 3))


# --- Pictures of other things ----------------------------------------------------------------


@functools.cache
def _described_made_pictures() -> NDArray[np.float64]:
    rng = np.random.default_rng(_SEED)
    made = [_MAKERS[kind](rng) for kind, count in _MADE.items() for _ in range(count)]
    return describe(_as_bytes(np.stack(made)))


def _noise(rng: Rng) -> Picture:
    """Noise of any grain, from television static to clouds, grey or coloured."""
    frequencies = np.fft.fftfreq(SIDE)
    frequency = np.hypot(*np.meshgrid(frequencies, frequencies))
    frequency[0, 0] = 1
    waves = np.fft.fft2(rng.normal(size=(4, SIDE, SIDE)))
    shared, *own = np.fft.ifft2(waves / frequency ** rng.uniform(0, 2.5)).real
    grey = rng.uniform()
    channels = [grey * shared / shared.std() + (1 - grey) * one / one.std() for one in own]
    mean = rng.uniform(0, 255, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0, 255))
    return mean + np.stack(channels, axis=-1) * np.exp(rng.uniform(np.log(3), np.log(90)))


def _shapes(rng: Rng) -> Picture:
    """One to sixty rectangles, ellipses and lines, in any colours."""
    image = Image.new("RGB", (_CANVAS, _CANVAS), _colour(rng))
    draw = ImageDraw.Draw(image)
    is_grey = rng.random() < 0.2
    for _ in range(int(np.exp(rng.uniform(0, np.log(60))))):
        colour = _colour(rng)
        if is_grey:
            colour = (colour[0],) * 3
        size = np.exp(rng.uniform(np.log(5), np.log(150)))
        half = size * np.exp(rng.normal(0, 0.5, 2)) / 2
        middle = rng.uniform(0, _CANVAS, 2)
        box = (*(middle - half), *(middle + half))
        kind = rng.integers(3)
        if kind == 0:
            draw.rectangle(box, colour)
        elif kind == 1:
            draw.ellipse(box, colour)
        else:
            draw.line(box, colour, width=int(rng.integers(1, 12)))
    return _seen(image)


def _gradient(rng: Rng) -> Picture:
    """A gradient from one colour to another: linear at any angle, or outwards from a point."""
    across, down = np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 2)
    angle = rng.uniform(0, 2 * np.pi)
    slope = across * np.cos(angle) + down * np.sin(angle)
    if rng.random() < 0.3:
        x, y = rng.uniform(-1, 1, 2)
        slope = np.hypot(across - x, down - y)
    share = (slope - slope.min()) / (slope.max() - slope.min())
    share = share[..., np.newaxis] ** np.exp(rng.normal(0, 0.4))
    begin, end = rng.uniform(0, 255, (2, 3))
    noise = rng.normal(0, rng.uniform(0, 2), (SIDE, SIDE, 3))
    return (1 - share) * begin + share * end + noise


def _writing(rng: Rng) -> Picture:
    """Lines of words, drawn as the grey bars that they look like from far away."""
    paper, ink = rng.uniform(0, 255, (2, 3))
    if rng.random() < 0.6:
        paper, ink = np.full(3, rng.uniform(190, 255)), np.full(3, rng.uniform(0, 90))
    if rng.random() < 0.3:
        paper, ink = ink, paper
    image = Image.new("RGB", (_CANVAS, _CANVAS), tuple(paper.astype(int).tolist()))
    draw = ImageDraw.Draw(image)
    height, top, left = rng.integers((4, 0, 0), (20, 40, 60)).tolist()
    while top < _CANVAS:
        right = _CANVAS - int(rng.integers(0, 80))
        begin = left
        while begin < right:
            end = begin + int(rng.integers(height, 6 * height))
            colour = ink + (paper - ink) * rng.uniform(0.3, 0.7)
            box = (begin, top, min(end, right), top + max(1, height // 2))
            draw.rectangle(box, tuple(colour.astype(int).tolist()))
            begin = end + height // 2
        top += int(height * rng.uniform(1.2, 2)) + (3 * height if rng.random() < 0.1 else 0)
    return _seen(image)


def _grid(rng: Rng) -> Picture:
    """A chequerboard or stripes of two colours."""
    squares = np.exp(rng.uniform(np.log(2), np.log(30)))
    across, down = np.meshgrid(*[np.linspace(0, 1, _CANVAS)] * 2)
    columns = np.floor(across * squares + rng.uniform())
    rows = np.floor(down * squares * np.exp(rng.normal(0, 0.3)) + rng.uniform())
    pattern = (columns + rows, columns, rows)[rng.integers(3)] % 2
    first, second = rng.uniform(0, 255, (2, 3))
    levels = np.where(pattern[..., np.newaxis] == 0, first, second)
    return _seen(Image.fromarray(levels.astype(np.uint8)))


_MAKERS: dict[str, Callable[[Rng], Picture]] = {
    "noise": _noise,
    "shapes": _shapes,
    "gradient": _gradient,
    "writing": _writing,
    "grid": _grid,
}


def _colour(rng: Rng) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _seen(image: Image.Image) -> Picture:
    """Reduce a picture to what the network sees."""
    return preprocess(image).astype(np.float64)


def _as_bytes(levels: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)
