"""Measure how cropping an image changes the model's answers, and which crops are harmless.

    python -m scripts.measure_crops                   HAM10000 in data/ or in $HAM10000_DIR
    python -m scripts.measure_crops --csv A.csv --metadata B.csv

A crop keeps the same share of each side, and is placed in the middle and in each corner. Full-size
originals, `ISIC_….jpg` in subfolders, are cropped as a user would do it. The calibration lesions
are available only at 28×28 pixels; they are cropped and enlarged, which blurs them a little.

A crop is harmless if, at each of the five places, no image of a cancer or precancer changes to
'low', no 'high' changes to 'low', and at most 5 in 100 images change their most likely class. The
limit is chosen on the training and calibration parts. The test part is only reported, at the chosen
limit and at one half.
"""

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.crops import LEAST_KEPT
from lesion_lens.model.decisions import MALIGNANT, combine_views, decide, risk_level
from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.files import DEFAULT_MODEL_PATH
from lesion_lens.model.views import eight_views
from lesion_lens.training.calibration import one_image_per_lesion
from lesion_lens.training.data import Dataset, read_dataset
from lesion_lens.training.split import split_by_lesion
from scripts.compare_outliers import find_ham10000, parser_of
from skin_cancer_detection import SIDE

KEPT = (0.98, 0.97, 0.96, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)  # shares of each side
# Where the frame is: the shares of what is removed that lie on the left, and at the top (0–1).
PLACES = ((0.5, 0.5), (0, 0), (1, 0), (0, 1), (1, 1))
_FILTER = Image.Resampling.LANCZOS  # as `preprocess`
MOST_CHANGED = 0.05  # share of the images that may change their class if a crop is harmless


@dataclass(frozen=True)
class Answers:
    """The answers for N images.

    Attributes:
        levels: (N,), of `LEVELS`.
        classes: (N,), codes of the most likely classes.
    """

    levels: NDArray[np.str_]
    classes: NDArray[np.str_]


def answer(classifier: Classifier, pixels: NDArray[np.uint8]) -> Answers:
    """Classify images, (N, 28, 28, 3), RGB, 0–255, as `Classifier` classifies each.

    Raises:
        ModelFileError: the weights cannot be loaded.
    """
    engine, facts, rules = classifier.load(), classifier.decision_facts, classifier.picture_rules
    temperature = 1 if facts is None else facts.eight_view_temperature
    told = []
    for image, familiarity, proven in zip(
        pixels, rules.familiarities(pixels), rules.proven(pixels), strict=True
    ):
        views = engine(eight_views(image[np.newaxis])[:, 0])
        statements = decide(combine_views(views, temperature), facts, familiarity, proven)
        told.append((risk_level(statements, familiarity), statements.most_likely))
    levels, classes = np.array(told).T
    return Answers(levels, classes)


def cut(pictures: list[Image.Image], kept: float, place: tuple[float, float]) -> NDArray[np.uint8]:
    """Crop images to a frame that keeps a share of each side, and reduce them.

    Args:
        kept: above 0, at most 1.
        place: of `PLACES`.

    Returns:
        (N, 28, 28, 3), RGB, 0–255.
    """
    cuts = []
    for picture in pictures:
        width, height = picture.size
        left, top = width * (1 - kept) * place[0], height * (1 - kept) * place[1]
        box = (left, top, left + width * kept, top + height * kept)
        if width > SIDE:  # a browser crops at whole pixels; 28 are too few for that
            resized = picture.crop(tuple(map(round, box))).resize((SIDE, SIDE), _FILTER)
        else:
            resized = picture.resize((SIDE, SIDE), _FILTER, box)
        cuts.append(np.asarray(resized))
    return np.stack(cuts)


@dataclass(frozen=True)
class Effect:
    """How crops that keep the same share change the results of N images.

    Attributes:
        high: number of high results that are no longer high, at the worst of the five places.
        high_to_low: number of high results that become low at any place.
        low: number of other results that become low at any place.
        malignant_low: number of these that show a cancer or precancer.
        changed: share of the images whose most likely class changes, 0–1, at the worst place.
    """

    high: int
    high_to_low: int
    low: int
    malignant_low: int
    changed: float

    @property
    def is_harmless(self) -> bool:
        return not self.high_to_low and not self.malignant_low and self.changed <= MOST_CHANGED


def compare(whole: Answers, cuts: Sequence[Answers], is_malignant: NDArray[np.bool_]) -> Effect:
    """Compare the answers for one or more crops of N images with those for the whole images."""
    was_high, was_low = whole.levels == "high", whole.levels == "low"
    is_low = np.any([one.levels == "low" for one in cuts], axis=0)
    return Effect(
        high=max(int((was_high & (one.levels != "high")).sum()) for one in cuts),
        high_to_low=int((was_high & is_low).sum()),
        low=int((is_low & ~was_low).sum()),
        malignant_low=int((is_low & ~was_low & is_malignant).sum()),
        changed=max(float((one.classes != whole.classes).mean()) for one in cuts),
    )


def head(first: str, second: str) -> str:
    """Lay out the header of a table of effects, with names for its first two columns."""
    columns = (first, second, "high lost", "high to low", "newly low", "of these malignant")
    columns += ("class changed", "harmless")
    return f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|"


def row(kept: float, effect: Effect, second: str) -> str:
    """Lay out a row of such a table; `second` is the text of its second column."""
    return (
        f"| {kept:.0%} | {second} | {effect.high} | {effect.high_to_low} "
        f"| {effect.low} | {effect.malignant_low} | {effect.changed:.1%} "
        f"| {'yes' if effect.is_harmless else 'no'} |"
    ).replace("%", " %")


@dataclass(frozen=True)
class Sample:
    """Images, and whether each is malignant, bool (N,)."""

    name: str
    pictures: list[Image.Image]
    is_malignant: NDArray[np.bool_]


def originals(csv_path: Path, data: Dataset, name: str, parts: NDArray[np.bool_]) -> Sample:
    """Read the full-size originals of some rows, bool (N,), from subfolders beside the CSV."""
    known = {} if data.image_ids is None else {x: i for i, x in enumerate(data.image_ids.tolist())}
    pictures, rows = [], []
    for path in sorted(csv_path.parent.glob("*/ISIC_*.jpg")):
        row = known.get(path.stem)
        if row is not None and parts[row]:
            pictures.append(Image.open(path).convert("RGB"))
            rows.append(row)
    return Sample(name, pictures, MALIGNANT[data.labels[np.array(rows, np.int64)]])


def report(classifier: Classifier, sample: Sample, shares: Sequence[float]) -> set[float]:
    """Print the table of a sample; return the shares whose crops are harmless."""
    if not sample.pictures:
        return set(shares)
    whole = answer(classifier, cut(sample.pictures, 1, (0, 0)))
    counts = ", ".join(f"{(whole.levels == x).sum()} {x}" for x in np.unique(whole.levels))
    print(f"\n{sample.name}: {len(sample.pictures)} images, {sample.is_malignant.sum()} malignant;")
    print(f"whole: {counts}\n\n{head('kept of each side', 'removed')}")
    harmless = set()
    for kept in shares:
        cuts = [answer(classifier, cut(sample.pictures, kept, place)) for place in PLACES]
        effect = compare(whole, cuts, sample.is_malignant)
        print(row(kept, effect, f"{1 - kept * kept:.0%}"), flush=True)
        if effect.is_harmless:
            harmless.add(kept)
    return harmless


class Loaded(NamedTuple):
    """HAM10000, the part of each of its N rows, and the committed model."""

    csv_path: Path
    data: Dataset
    parts: NDArray[np.str_]  # (N,)
    classifier: Classifier


def loaded(description: str | None) -> Loaded:
    """Read the command line, the data and the model.

    Raises:
        SystemExit: one of them is missing, or cannot be used.
    """
    options = parser_of(description).parse_args()
    try:
        csv_path, metadata_path = find_ham10000(options)
        data = read_dataset(csv_path, metadata_path)
        classifier = Classifier(DEFAULT_MODEL_PATH)
        classifier.load()
    except LesionLensError as error:
        sys.exit(f"Error: {error}")
    return Loaded(csv_path, data, split_by_lesion(data.lesion_ids, data.labels), classifier)


def main() -> None:
    csv_path, data, parts, classifier = loaded(__doc__)
    one_each = one_image_per_lesion(data.lesion_ids, data.pixels)

    def lesions(name: str, part: str) -> Sample:
        rows = np.flatnonzero((parts == part) & one_each)
        pictures = [Image.fromarray(pixels) for pixels in data.pixels[rows]]
        return Sample(name, pictures, MALIGNANT[data.labels[rows]])

    harmless = set(KEPT)
    for sample in (
        originals(csv_path, data, "Originals, training and calibration parts", parts != "test"),
        lesions("Calibration lesions at 28×28 pixels", "calibration"),
    ):
        harmless &= report(classifier, sample, KEPT)
    # A share counts as harmless only if all larger shares are harmless too.
    limit = min([1.0, *itertools.takewhile(harmless.__contains__, KEPT)])
    print(f"\nHarmless: keeping at least {limit:.2f} of each side. LEAST_KEPT is {LEAST_KEPT}.")
    for sample in (
        originals(csv_path, data, "Originals, test part", parts == "test"),
        lesions("Test lesions at 28×28 pixels", "test"),
    ):
        report(classifier, sample, (limit, 0.5))


if __name__ == "__main__":
    main()
