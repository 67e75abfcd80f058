"""Compare methods that detect pictures unlike all training images.

    python -m scripts.compare_outliers                   HAM10000 in data/ or in $HAM10000_DIR
    python -m scripts.compare_outliers --csv A.csv --metadata B.csv

Each method is fitted on the training part and flags 5 % of the calibration lesions. The methods are
compared by how much they flag of generated pictures and of half of the photographs that
scikit-image and scikit-learn ship. The other half of the photographs and the test part are used
only for the chosen method: lesion_lens/model/outliers.py.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

from lesion_lens import ROOT
from lesion_lens.model import outliers
from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.files import DEFAULT_MODEL_PATH, load_model
from lesion_lens.model.images import read_image
from lesion_lens.model.views import eight_views
from lesion_lens.training.calibration import one_image_per_lesion
from lesion_lens.training.data import METADATA_NAME, read_dataset
from lesion_lens.training.download import find_data
from lesion_lens.training.split import PARTS, split_by_lesion
from skin_cancer_detection import CODES, preprocess

Pixels: TypeAlias = NDArray[np.uint8]  # (N, 28, 28, 3), RGB, 0–255
Function: TypeAlias = Callable[[Pixels], NDArray[Any]]  # returns a row for each image
Colour: TypeAlias = tuple[int, int, int]
Paint: TypeAlias = Colour | str
Picture: TypeAlias = Image.Image | NDArray[Any]  # an array (450, 600, 1 or 3), 0–255

SIZE = (600, 450)  # pixels, like the originals
SKIN_TONES = (
    (255, 224, 196), (240, 200, 175), (226, 178, 158), (224, 172, 105),
    (198, 134, 66), (141, 85, 36), (92, 57, 35), (60, 38, 28),
)  # fmt: skip

# --- Pictures --------------------------------------------------------------------------------


def photographs() -> tuple[list[str], Pixels]:
    """Read the photographs that scikit-image and scikit-learn ship in their packages.

    Returns:
        The names, in alphabetical order, and the pixels. Those with even indices (the first, the
        third, …) are for choosing the method, the others for reporting on it.

    Raises:
        ImportError: one of the two is not installed.
    """
    import skimage.data
    from sklearn.datasets import load_sample_images

    folder = Path(skimage.data.__file__).parent
    files = [*folder.glob("*.png"), *folder.glob("*.jpg")]
    files += map(Path, load_sample_images().filenames)
    files.sort(key=lambda file: file.name)
    pixels = [preprocess(read_image(file.read_bytes())) for file in files]
    return [file.name for file in files], np.stack(pixels)


def made_pictures(seed: int = 0) -> dict[str, Pixels]:
    """Generate pictures without a lesion, by kind."""
    rng = np.random.default_rng(seed)
    colours: list[Colour] = [tuple(rng.integers(0, 256, 3).tolist()) for _ in range(24)]
    shape = SIZE[::-1]
    papers: tuple[tuple[Paint, Paint], ...] = (
        ("white", "black"),
        ("black", "white"),
        ((250, 245, 230), (30, 30, 90)),
        (SKIN_TONES[2], SKIN_TONES[6]),
    )
    kinds: dict[str, Sequence[Picture]] = {
        "noise, uniform": [rng.integers(0, 256, (*shape, depth)) for depth in [3, 1] * 8],
        "noise about a colour": [
            colour + rng.normal(0, strength, (*shape, 3))
            for colour in (*SKIN_TONES, *colours[:4])
            for strength in (10, 40)
        ],
        "noise, smooth": [
            colour + strength * _smooth_noise(grain, depth, rng)
            for colour in (SKIN_TONES[2], SKIN_TONES[5], (128, 128, 128))
            for grain in (15, 40, 150)
            for strength in (15, 40)
            for depth in (1, 3)
        ],
        "flat, any colour": [_flat(colour) for colour in colours],
        "flat, skin tones": [
            _flat(colour + rng.integers(-15, 16, 3)) for colour in SKIN_TONES for _ in range(3)
        ],
        "flat, black to white": [_flat((grey,) * 3) for grey in range(0, 256, 15)],
        "page of text": [
            _page(paper, ink, size, rng) for paper, ink in papers for size in (10, 14, 20, 32)
        ],
        "screenshot": [_screenshot(colours, rng) for _ in range(20)],
        "gradient": [
            _gradient(pair, slope)
            for pair in (*zip(colours[::4], colours[2::4], strict=True), SKIN_TONES[1:6:4])
            for slope in range(3)
        ],
        "chequerboard": [
            _chequerboard(squares, pair)
            for squares in (2, 4, 7, 8, 14, 28, 50, 100)
            for pair in (((0, 0, 0), (255, 255, 255)), colours[:2], SKIN_TONES[2:6:3])
        ],
    }
    return {kind: np.stack(list(map(_pixels, pictures))) for kind, pictures in kinds.items()}


def _pixels(picture: Picture) -> Pixels:
    """Reduce a picture to what the network sees, (28, 28, 3)."""
    if isinstance(picture, Image.Image):
        return preprocess(picture)
    levels = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return preprocess(Image.fromarray(np.broadcast_to(levels, (*levels.shape[:2], 3))))


def _flat(colour: ArrayLike) -> NDArray[np.float64]:
    return np.broadcast_to(np.asarray(colour, float), (*SIZE[::-1], 3))


def _smooth_noise(grain: int, depth: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Make noise of standard deviation 1 with grains about `grain` pixels wide."""
    coarse = rng.normal(size=(depth, SIZE[1] // grain, SIZE[0] // grain)).astype(np.float32)
    resized = [
        np.asarray(Image.fromarray(channel).resize(SIZE, Image.Resampling.BICUBIC))
        for channel in coarse
    ]
    noise = np.stack(resized, axis=-1)
    return noise / noise.std()


def _page(paper: Paint, ink: Paint, size: int, rng: np.random.Generator) -> Image.Image:
    image = Image.new("RGB", SIZE, paper)
    _write(image, (20, 20), ink, size, rng)
    return image


def _write(
    image: Image.Image, corner: tuple[int, int], ink: Paint, size: int, rng: np.random.Generator
) -> None:
    """Fill an image with words of random letters, starting at a corner."""
    letters = np.array(list("eeetaoinshrdlu      "))
    lines = ["".join(rng.choice(letters, 1200 // size)) for _ in range(SIZE[1] // size)]
    ImageDraw.Draw(image).text(corner, "\n".join(lines), ink, ImageFont.load_default(size))


def _screenshot(colours: Sequence[Colour], rng: np.random.Generator) -> Image.Image:
    """Draw a window: a title bar, a side bar, a few boxes and text."""
    dark = rng.random() < 0.3
    image = Image.new("RGB", SIZE, (30, 30, 34) if dark else (245, 246, 248))
    draw = ImageDraw.Draw(image)
    bar, side = map(int, rng.integers(25, 180, 2))
    draw.rectangle((0, 0, side, SIZE[1]), colours[int(rng.integers(24))])
    draw.rectangle((0, 0, SIZE[0], bar // 3), colours[int(rng.integers(24))])
    for _ in range(rng.integers(2, 7)):
        left, top, width, height = rng.integers((100, 60, 60, 30), (450, 350, 250, 150)).tolist()
        fill = colours[int(rng.integers(24))] if rng.random() < 0.5 else "white"
        draw.rectangle((left, top, left + width, top + height), fill, outline="grey")
    _write(image, (side + 20, 200), "white" if dark else "black", int(rng.integers(10, 18)), rng)
    return image


def _gradient(pair: Sequence[Colour], slope: int) -> NDArray[np.float64]:
    """Draw a gradient between two colours: across, diagonally, or outwards from the middle."""
    x, y = np.meshgrid(*(np.linspace(-1, 1, side) for side in SIZE))
    share = ((x + 1) / 2, (x + y + 2) / 4, np.hypot(x, y) / np.sqrt(2))[slope][..., None]
    return (1 - share) * pair[0] + share * pair[1]


def _chequerboard(squares: int, pair: Sequence[Colour]) -> NDArray[np.int64]:
    x, y = np.meshgrid(*(np.arange(side) * squares // side for side in SIZE))
    return np.where(((x + y) % 2)[..., None], *pair)


def drawn_lesions() -> Pixels:
    """Draw eight brown ellipses on skin."""
    pictures = []
    for tone, mole in ((2, 6), (2, 5), (1, 5), (3, 7)):
        for share in (8, 4):
            image = Image.new("RGB", SIZE, SKIN_TONES[tone])
            left, top = (side // share for side in SIZE)
            box = (left, top, SIZE[0] - left, SIZE[1] - top)
            ImageDraw.Draw(image).ellipse(box, SKIN_TONES[mole])
            pictures.append(image)
    return np.stack(list(map(_pixels, pictures)))


def degraded(files: Iterable[Path]) -> dict[str, Pixels]:
    """Degrade dermatoscopic originals as a careless user might, by kind.

    Without files, the result is empty.
    """
    rng = np.random.default_rng(0)

    def noisy(image: Image.Image) -> NDArray[np.float64]:
        return np.asarray(image) + rng.normal(0, 20, (image.height, image.width, 3))

    def recompressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=20)
        return Image.open(file).convert("RGB")

    kinds: dict[str, Callable[[Image.Image], Picture]] = {
        "as they are": lambda image: image,
        "blurred, radius 5 of 600 pixels": lambda image: image.filter(ImageFilter.GaussianBlur(5)),
        "blurred, radius 15": lambda image: image.filter(ImageFilter.GaussianBlur(15)),
        "blurred, radius 30": lambda image: image.filter(ImageFilter.GaussianBlur(30)),
        "darkened to 80 %": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        "darkened to 60 %": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
        "brightened to 120 %": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
        "noise of 20 grey levels": noisy,
        "JPEG of quality 20": recompressed,
        "greyscale": lambda image: image.convert("L").convert("RGB"),
    }
    images = [read_image(file.read_bytes()) for file in files]
    if not images:
        return {}
    return {kind: np.stack([_pixels(spoil(x)) for x in images]) for kind, spoil in kinds.items()}


# --- Methods ---------------------------------------------------------------------------------


def gaussian(
    describe: Function, pixels: Pixels, labels: NDArray[np.int64] | None = None
) -> Function:
    """Fit a Gaussian to the numbers from `describe`; with labels, one mean for each class.

    With labels, this is the distance of Lee et al., NeurIPS 2018: the smallest over the classes,
    with a shared covariance.

    Returns:
        A function that returns the squared Mahalanobis distances, float64 (N,), of images.
    """
    labels = np.zeros(len(pixels), int) if labels is None else labels
    described = describe(pixels)
    means = np.stack([described[labels == label].mean(axis=0) for label in np.unique(labels)])
    covariance = np.cov(described - means[labels], rowvar=False)
    inverse = np.linalg.inv(covariance + 1e-3 * np.eye(len(covariance)))

    def distance(pictures: Pixels) -> NDArray[np.float64]:
        away = describe(pictures)[:, None] - means
        return np.einsum("nci,ij,ncj->nc", away, inverse, away, optimize=True).min(axis=1)

    return distance


def blocks(pixels: Pixels) -> NDArray[np.float64]:
    """The means of 4×4 pixels: (N, 147)."""
    return pixels.reshape(-1, 7, 4, 7, 4, 3).mean((2, 4)).reshape(-1, 147)


def colours(pixels: Pixels) -> NDArray[np.float64]:
    """The means and standard deviations of the three channels: (N, 6)."""
    return np.concatenate([pixels.mean((1, 2)), pixels.std((1, 2))], axis=1)


def reconstruction_error(pixels: Pixels, components: int) -> Function:
    """Fit the reconstruction error of a PCA of the training images' 2,352 values."""
    rows = pixels.reshape(len(pixels), -1).astype(np.float32)
    mean = rows.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(rows - mean, rowvar=False))
    kept = vectors[:, -components:]

    def error(pictures: Pixels) -> NDArray[np.float32]:
        away = pictures.reshape(len(pictures), -1) - mean
        return np.square(away).sum(axis=1) - np.square(away @ kept).sum(axis=1)

    return error


def network_parts() -> tuple[Function, Function, Function]:
    """Make functions that compute intermediate values of the committed network.

    Returns:
        For the 256 numbers after the convolutions, the 32 before the last layer, and the 7 logits.
    """
    import keras

    model = load_model(DEFAULT_MODEL_PATH)
    flow = inputs = keras.Input(model.input_shape[1:])
    outputs = []
    for layer in model.layers[:-1]:
        flow = layer(flow)
        outputs.append(flow)
    flatten = next(i for i, x in enumerate(model.layers) if isinstance(x, keras.layers.Flatten))
    kernel, bias = model.layers[-1].get_weights()

    def of(output: keras.KerasTensor) -> Function:
        part = keras.Model(inputs, output)
        return lambda pixels: part.predict(pixels.astype(np.float32), batch_size=512, verbose=0)

    last = of(outputs[-1])
    return of(outputs[flatten]), last, lambda pixels: last(pixels) @ kernel + bias


def methods(pixels: Pixels, labels: NDArray[np.int64]) -> dict[str, Function]:
    """Fit every method to training images, by name; unusual images get larger values."""
    flatten, last, logits = network_parts()
    views = eight_views(pixels).reshape(-1, *pixels.shape[1:])
    chosen = gaussian(outliers.features, pixels, labels)
    flattened = gaussian(flatten, pixels)
    ranked = np.sort(chosen(pixels)), np.sort(flattened(pixels))

    def larger_rank(pictures: Pixels) -> NDArray[np.float64]:
        pairs = zip(ranked, (chosen(pictures), flattened(pictures)), strict=True)
        # The share of training images below; the added distance ranks pictures beyond all of them.
        ranks = [np.searchsorted(r, d) / len(r) + d / r[-1] / len(r) for r, d in pairs]
        return np.maximum(*ranks)

    return {
        "Energy of the logits (Liu 2020)": lambda x: -np.log(np.exp(logits(x)).sum(axis=1)),
        "Largest probability": lambda x: (
            np.log(np.exp(logits(x)).sum(axis=1)) - logits(x).max(axis=1)
        ),
        "Gaussian, network's 256 after Flatten": flattened,
        "Gaussian, network's 256, a mean for each class (Lee 2018)": gaussian(
            flatten, pixels, labels
        ),
        "Gaussian, network's last 32": gaussian(last, pixels),
        "Gaussian, network's last 32, a mean for each class": gaussian(last, pixels, labels),
        "PCA of the pixels, 32 components": reconstruction_error(pixels, 32),
        "PCA of the pixels, 128 components": reconstruction_error(pixels, 128),
        "Gaussian, 7×7 block means, all views": gaussian(blocks, views),
        "Gaussian, colour means and deviations": gaussian(colours, pixels),
        "Gaussian, outliers.features without steps": gaussian(
            lambda x: outliers.features(x)[:, :6], pixels
        ),
        "Gaussian, outliers.features": gaussian(outliers.features, pixels),
        "outliers.py: a mean for each class": chosen,
        "Larger rank: outliers.py, Flatten": larger_rank,
    }


# --- The tables ------------------------------------------------------------------------------


def percent(flags: NDArray[np.bool_]) -> str:
    return f"{100 * np.mean(flags):.1f}"


def print_comparison(
    candidates: Mapping[str, Function],
    lesions: Pixels,
    photos: Pixels,
    made: Pixels,
    others: Mapping[str, Pixels],
) -> None:
    """Print what each method flags at the threshold that flags 5 % of the calibration lesions.

    Args:
        candidates: the methods, by name.
        lesions: one image of each calibration lesion.
        photos, made: pictures that should be flagged.
        others: pictures by name, for information.
    """
    print(
        "AUC: photographs and generated pictures against the calibration lesions. Other columns: % "
        "flagged."
    )
    print(f"\n| method | photographs | AUC | generated | AUC | {' | '.join(others)} |")
    print("|---" * (5 + len(others)) + "|")
    for name, distance in candidates.items():
        of_lesions = distance(lesions)
        cells = [name]
        for pictures in (photos, made):
            distances = distance(pictures)
            cells.append(percent(distances > outliers.threshold_of(of_lesions)))
            cells.append(f"{(distances[:, None] > of_lesions).mean():.4f}")
        for pictures in others.values():
            cells.append(percent(distance(pictures) > outliers.threshold_of(of_lesions)))
        print(f"| {' | '.join(cells)} |")


def print_report(fitted: outliers.OutlierDetector, sets: Mapping[str, Pixels]) -> None:
    """Print what the chosen method flags of each set of pictures."""
    print("\n| outliers.py on | pictures | % flagged |\n|---|---|---|")
    for name, pictures in sets.items():
        print(f"| {name} | {len(pictures):,} | {percent(fitted.is_outlier(pictures))} |")


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """Make a parser with the options for the location of HAM10000."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--csv", type=Path, help="hmnist_28_28_RGB.csv, plain or zipped")
    parser.add_argument("--metadata", type=Path, help="HAM10000_metadata.csv")
    return parser


def find_ham10000(options: argparse.Namespace) -> tuple[Path, Path]:
    """Find the CSV and the metadata: as the options say, in $HAM10000_DIR, or in data/.

    Raises:
        LesionLensError: they are not there.
    """
    folder = Path(os.environ.get("HAM10000_DIR") or ROOT / "data")
    csv, metadata = find_data(options.csv, options.metadata, folder)
    return csv, metadata or csv.with_name(METADATA_NAME)


def main() -> None:
    options = parser_of(__doc__).parse_args()
    try:
        csv, metadata = find_ham10000(options)
        names, photos = photographs()
        data = read_dataset(csv, metadata)
        parts = split_by_lesion(data.lesion_ids, data.labels)
        training, calibration, test = (parts == part for part in PARTS)
        candidates = methods(data.pixels[training], data.labels[training])
    except ImportError as error:
        sys.exit(f"{error.name} is missing: pip install -r requirements-dev.txt")
    except LesionLensError as error:
        sys.exit(f"Error: {error}")
    chosen = one_image_per_lesion(data.lesion_ids, data.pixels)
    lesions = data.pixels[calibration & chosen]
    made = made_pictures()
    # Only from the training part, because they help to choose.
    known = set() if data.image_ids is None else set(data.image_ids[training])
    originals = sorted(csv.parent.glob("*/ISIC_*.jpg"))
    spoilt = degraded([path for path in originals if path.stem in known])

    # A method fitted mostly to naevi must not flag every rarer class.
    others = {
        f"training images, {code}": data.pixels[training & (data.labels == label)]
        for label, code in enumerate(CODES)
        if code in ("bcc", "df", "vasc")
    }
    others |= {kind: spoilt[kind] for kind in ("blurred, radius 15", "darkened to 80 %") if spoilt}
    print_comparison(candidates, lesions, photos[::2], np.concatenate(list(made.values())), others)

    fitted = outliers.fit_outlier_detector(data.pixels[training], data.labels[training], lesions)
    sets = {"calibration lesions": lesions, "test images": data.pixels[test]}
    sets |= {
        f"test images, {code}": data.pixels[test & (data.labels == label)]
        for label, code in enumerate(CODES)
    }
    sets |= {
        "test lesions": data.pixels[test & chosen],
        "photographs, choosing half": photos[::2],
        "photographs, reporting half": photos[1::2],
        "generated pictures, all": np.concatenate(list(made.values())),
    }
    sets |= {f"generated: {kind}": pictures for kind, pictures in made.items()}
    sets |= {"drawn lesions": drawn_lesions()}
    sets |= {f"originals, {kind}": pictures for kind, pictures in spoilt.items()}
    print_report(fitted, sets)
    missed = [name for name, flag in zip(names, fitted.is_outlier(photos), strict=True) if not flag]
    print(f"\nPhotographs that are not flagged: {', '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
