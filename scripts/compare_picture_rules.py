"""Compare ways to detect non-dermatoscopic pictures, and ways to restrict 'low risk'.

    python -m scripts.compare_picture_rules                 HAM10000 in data/ or in $HAM10000_DIR
    python -m scripts.compare_picture_rules --csv A.csv --metadata B.csv --sources C.csv

The first table compares ways to detect that a picture is not dermatoscopic. Each way gets the
smallest threshold that at most 1 in 100 training images of any source exceed when it is fitted
without that source. Three sets decided between the ways: half of the photographs and the made
pictures of `scripts.compare_outliers`, and full-size originals with something drawn on them. The
other half of the photographs is used only for the chosen way, with its own threshold.

The second table compares numbers of groups of pictures for 'low risk'. It uses the networks of
`scripts.leave_one_clinic_out`, each trained without one source. The test part is not used.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lesion_lens.model.decisions import (
    MALIGNANT,
    DecisionFacts,
    combine_views,
    malignant_probability,
)
from lesion_lens.model.errors import LesionLensError
from lesion_lens.model.familiarity import PictureRules
from lesion_lens.model.files import DEFAULT_MODEL_PATH, load_model, read_attributes
from lesion_lens.model.outliers import OutlierDetector, features
from lesion_lens.model.picture_groups import GROUPS, log_likelihoods
from lesion_lens.model.pictures import describe
from lesion_lens.training.calibration import one_image_per_lesion
from lesion_lens.training.clinics import clinics_of, divide, file_name
from lesion_lens.training.data import UNKNOWN, Dataset, read_dataset
from lesion_lens.training.download import add_clinics
from lesion_lens.training.evaluation import view_probabilities
from lesion_lens.training.other_pictures import (
    BEYOND,
    OtherPictureDetector,
    fit_other_picture_detector,
)
from lesion_lens.training.picture_groups import fit_mixture, proven_groups
from lesion_lens.training.picture_rules import low_risk_if_proven
from lesion_lens.training.split import split_by_lesion
from scripts.compare_outliers import (
    find_ham10000,
    gaussian,
    made_pictures,
    parser_of,
    photographs,
)
from scripts.leave_one_clinic_out import RUNS
from skin_cancer_detection import preprocess

Pixels: TypeAlias = NDArray[np.uint8]  # (N, 28, 28, 3), RGB, 0–255
Score: TypeAlias = Callable[[Pixels], NDArray[np.float64]]
# Takes images, their labels, their sources, and the calibration lesions.
Fit: TypeAlias = Callable[[Pixels, NDArray[np.int64], NDArray[np.str_], Pixels], Score]


# --- Pictures of other things ----------------------------------------------------------------


def distance_of(describe: Score, classes: bool = False, between: bool = False) -> Fit:
    """Make the distance from Gaussians, with one mean for all images or one for each class.

    Args:
        describe: computes the numbers for an image.
        classes: whether each class has its own mean.
        between: whether the covariance counts the differences between the sources twice.
    """

    def fit(
        pixels: Pixels, labels: NDArray[np.int64], clinics: NDArray[np.str_], _: Pixels
    ) -> Score:
        if not between:
            return gaussian(describe, pixels, labels if classes else None)
        described = describe(pixels)
        mean = described.mean(axis=0)
        of_clinics = [described[clinics == name].mean(axis=0) for name in np.unique(clinics)]
        covariance = np.cov(described, rowvar=False) + np.cov(np.stack(of_clinics), rowvar=False)
        inverse = np.linalg.inv(covariance + 1e-3 * np.eye(len(mean)))

        def distance(pictures: Pixels) -> NDArray[np.float64]:
            away = describe(pictures) - mean
            return np.einsum("ni,ij,nj->n", away, inverse, away)

        return distance

    return fit


def fit_chosen(
    pixels: Pixels, labels: NDArray[np.int64], clinics: NDArray[np.str_], calibration: Pixels
) -> Score:
    """Fit the regression that the model file has, without its threshold."""
    nowhere = np.full(len(pixels), UNKNOWN)
    return fit_other_picture_detector(pixels, nowhere, calibration).score


WAYS: dict[str, Fit] = {
    "the seven numbers, a mean for each class": distance_of(features, classes=True),
    "the seven numbers, one mean": distance_of(features),
    "the seven numbers, one mean, differences between sources counted twice": distance_of(
        features, between=True
    ),
    "seven of the seventeen: colours and texture inside the field of view": distance_of(
        lambda pixels: describe(pixels)[:, :7]
    ),
    "the seventeen numbers, one mean": distance_of(describe),
    "the seventeen numbers, one mean, differences between sources counted twice": distance_of(
        describe, between=True
    ),
    "**regression on the seventeen, against generated pictures**": fit_chosen,
}


def compare_ways(data: Dataset, parts: NDArray[np.str_], originals: list[Path]) -> None:
    """Print what each way finds, and more detail for the chosen one."""
    names, photos = photographs()
    made = np.concatenate([*made_pictures().values()])
    chosen = one_image_per_lesion(data.lesion_ids, data.pixels)
    training, lesions = parts == "training", data.pixels[(parts == "calibration") & chosen]
    clinics = data.groups["clinic"]
    print("% beyond the threshold\n")
    heads = (
        "method",
        "photographs, choosing half",
        "generated pictures",
        "originals, worst drawing",
    )
    print(f"| {' | '.join(heads)} | calibration lesions |")
    print("|---|---|---|---|---|")
    drawn = altered(originals)
    for name, fit in WAYS.items():
        limits = []
        for clinic in clinics_of(data):
            known = training & (clinics != clinic)
            score = fit(data.pixels[known], data.labels[known], clinics[known], lesions)
            left_out = data.pixels[training & (clinics == clinic)]
            limits.append(np.quantile(score(left_out), 1 - BEYOND, method="higher"))
        score = fit(data.pixels[training], data.labels[training], clinics[training], lesions)
        worst = max(
            drawn.values(), key=lambda x: (score(x) > max(limits)).mean(), default=lesions[:0]
        )
        sets = (photos[::2], made, worst, lesions)
        shares = [(score(x) > max(limits)).mean() if len(x) else np.nan for x in sets]
        print(f"| {name} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |")
    detector = fit_other_picture_detector(data.pixels[training], clinics[training], lesions)
    report(detector, names, photos, made, drawn)
    for clinic in clinics_of(data):
        part = divide(data, parts, clinic)
        known, calibration = part == "training", (part == "calibration") & chosen
        without = fit_other_picture_detector(
            data.pixels[known], clinics[known], data.pixels[calibration]
        )
        beyond = without.is_other(data.pixels[part == "left out"]).mean()
        print(f"fitted without {clinic}: {100 * beyond:.2f} % of its images beyond its threshold")


def report(
    detector: OtherPictureDetector,
    names: list[str],
    photos: Pixels,
    made: Pixels,
    drawn: dict[str, Pixels],
) -> None:
    """Print what the chosen way finds with its own threshold."""
    found = detector.is_other(photos)
    print("\nThe chosen way, with both conditions on its threshold:")
    for half, rows in (("choosing", np.s_[::2]), ("reporting", np.s_[1::2])):
        missed = [
            name for name, is_other in zip(names[rows], found[rows], strict=True) if not is_other
        ]
        print(
            f"photographs, {half} half: {found[rows].sum()} of {len(found[rows])}; missed {missed}"
        )
    print(f"generated pictures: {100 * detector.is_other(made).mean():.1f} %")
    for kind, pictures in drawn.items():
        print(f"originals, {kind}: {detector.is_other(pictures).sum()} of {len(pictures)}")


def altered(originals: list[Path]) -> dict[str, Pixels]:
    """Draw common artefacts on full-size originals, by kind."""
    rng = np.random.default_rng(0)

    def round_view(image: Image.Image, radius: float) -> Image.Image:
        down, across = np.mgrid[: image.height, : image.width]
        distance = np.hypot(across - image.width / 2, down - image.height / 2)
        light = np.clip((radius * image.height - distance) / 8, 0, 1)[..., np.newaxis]
        return Image.fromarray((np.asarray(image) * light + 4 * (1 - light)).astype(np.uint8))

    def drawn(image: Image.Image, kind: str) -> Image.Image:
        image = image.copy()
        draw = ImageDraw.Draw(image)
        width, height = image.size
        if kind == "bars":
            draw.rectangle((0, 0, width, height * 0.14), "black")
            draw.rectangle((0, height * 0.86, width, height), "black")
        elif kind == "ring":
            draw.ellipse((60, 20, width - 60, height - 20), outline=(60, 40, 140), width=12)
        elif kind == "ruler":
            draw.rectangle((0, height - 50, width, height), (235, 235, 230))
            for x in range(0, width, 12):
                draw.line((x, height - 50, x, height - 35), "black", 2)
        else:
            for _ in range(18):
                points = rng.uniform(0, 1, (3, 2)) * image.size
                draw.line(points.ravel().tolist(), (25, 18, 15), int(rng.integers(3, 6)))
        return image

    kinds: dict[str, Callable[[Image.Image], Image.Image]] = {
        "as they are": lambda image: image,
        "dark corners": lambda image: round_view(image, 0.66),
        "a round black field of view": lambda image: round_view(image, 0.49),
        **{
            kind: lambda image, kind=kind: drawn(image, kind)
            for kind in ("bars", "ring", "ruler", "hair")
        },
    }
    images = [Image.open(path).convert("RGB") for path in originals]
    if not images:
        return {}
    return {
        kind: np.stack([preprocess(change(image)) for image in images])
        for kind, change in kinds.items()
    }


# --- Where 'low risk' is right ---------------------------------------------------------------


# The numbers of groups to compare; with 0, 'low risk' needs no proof.
NUMBERS = (0, 1, 2, 3, GROUPS, 6, 8)


def compare_groups(data: Dataset, parts: NDArray[np.str_]) -> None:
    """Print how many lesions are called low risk, and how many of these are malignant.

    Raises:
        LesionLensError: a network cannot be used.
    """
    networks = {"calibration lesions": (DEFAULT_MODEL_PATH, parts, "calibration")}
    for name in clinics_of(data):
        path = RUNS / f"{file_name(name)}.h5"
        if not path.exists():
            print(f"\n{path} is missing: run python -m scripts.leave_one_clinic_out for the rest.")
            return
        networks[f"without {name}"] = path, divide(data, parts, name), "left out"
    columns = [low_risk_by_groups(data, *network) for network in networks.values()]
    print("\nLesions called low risk, and in brackets how many of these are malignant\n")
    print(f"| groups | {' | '.join(networks)} |")
    print("|---" * (1 + len(networks)) + "|")
    for name in columns[0]:
        cells = []
        for column in columns:
            labels = data.labels[column[name]]
            cells.append(f"{len(labels)} ({MALIGNANT[labels].sum()})")
        print(f"| {name} | {' | '.join(cells)} |")
    for name in ("no proof needed", f"{GROUPS}"):
        names, counts = np.unique(data.groups["clinic"][columns[0][name]], return_counts=True)
        shares = ", ".join(f"{x} {count}" for x, count in zip(names, counts, strict=True))
        print(f"\nCalibration lesions called low risk, {name}, by source: {shares}")


def low_risk_by_groups(
    data: Dataset, path: Path, part: NDArray[np.str_], asked: str
) -> dict[str, NDArray[np.int64]]:
    """Return the rows that a network calls low risk, one image of each lesion, for each rule."""
    chosen = one_image_per_lesion(data.lesion_ids, data.pixels)
    rows = np.flatnonzero(chosen & np.isin(part, ("calibration", asked)))
    pixels, is_malignant = data.pixels[rows], MALIGNANT[data.labels[rows]]
    attributes = read_attributes(path)
    facts = DecisionFacts.from_attributes(attributes)
    detector = OutlierDetector.from_attributes(attributes)
    familiarities = PictureRules(detector, None, None).familiarities(pixels)
    views = view_probabilities(load_model(path), pixels)
    probabilities = combine_views(views, facts.eight_view_temperature)
    low_risk = low_risk_if_proven(probabilities, familiarities, facts)
    known, here = part[rows] == "calibration", part[rows] == asked
    said = {}
    for groups in NUMBERS:
        is_said = low_risk
        if groups:
            mixture = fit_mixture(data.pixels[part == "training"], groups)
            group = log_likelihoods(features(pixels), *mixture).argmax(axis=1)
            proven = proven_groups(group[known], groups, low_risk[known], is_malignant[known])
            is_said = low_risk & (proven[group] == 1)
        said[f"{groups}" if groups else "no proof needed"] = rows[is_said & here]
    is_lower = malignant_probability(probabilities) < (facts.low_risk_threshold or 0) / 3
    return {"no proof needed, a third of the threshold": rows[low_risk & is_lower & here]} | said


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--sources", type=Path, help="CSV image_id,dataset, as for train.py")
    options = parser.parse_args()
    try:
        csv, metadata = find_ham10000(options)
        data = add_clinics(read_dataset(csv, metadata), options.sources, beside=metadata)
        parts = split_by_lesion(data.lesion_ids, data.labels)
        compare_ways(data, parts, sorted(csv.parent.glob("*/ISIC_*.jpg")))
        compare_groups(data, parts)
    except ImportError as error:
        sys.exit(f"{error.name} is missing: pip install -r requirements-dev.txt")
    except LesionLensError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
