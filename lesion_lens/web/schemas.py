"""What the API accepts and returns, as the schemas of its OpenAPI document."""

from collections.abc import Sequence
from typing import Any

from lesion_lens.model.decisions import CLASS_COUNTS, FAMILIARITIES, LEVELS, MALIGNANT_CODES
from lesion_lens.model.decoder import PREVIEW_SIDE
from lesion_lens.model.outliers import REASONS
from lesion_lens.model.views import PATCHES
from lesion_lens.web.limits import MAX_IMAGES
from lesion_lens.web.occlusion_map import NOTICEABLE_FALL
from lesion_lens.web.results import VERDICTS
from skin_cancer_detection import CLASSES, CODES

PROBLEM_JSON = "application/problem+json"
# Types of a body that count as an image, in addition to those that begin with image/.
OTHER_BODIES = ("application/dicom", "application/octet-stream")
NAMELESS = "image"  # the name of an image that was sent without one
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_SHARE_OR_NULL = SHARE | {"type": ["number", "null"]}
_SHA256 = {"pattern": "^[0-9a-f]{64}$"}
_FILE = f"The file’s name as it was sent; `{NAMELESS}` for a body without a name."
_RESULTS = {"prediction": "PredictionResult", "problem": "ProblemResult"}


def schemas() -> dict[str, Any]:
    """Build the schemas by their names."""
    return {
        "Predictions": _object(
            "The answer to a request in which at least one image was classified.",
            {
                "app": reference("App", "The app that answered."),
                "model": reference("Model", "The model that answered."),
                "thresholds": reference("Thresholds", "The numbers that the statements depend on."),
                "classes": {
                    "type": "array",
                    "description": f"The {CLASS_COUNTS['all']} classes, in the order of the "
                    "model’s outputs.",
                    "minItems": len(CLASSES),
                    "maxItems": len(CLASSES),
                    "items": reference("Class"),
                },
                "results": _results(
                    "One result for each image, in the order of the request.", "Result"
                ),
            },
        ),
        "Result": {
            "description": "The result of one image: a prediction or a problem, as `kind` says.",
            "oneOf": [reference(name) for name in _RESULTS.values()],
            "discriminator": {
                "propertyName": "kind",
                "mapping": {kind: reference(name)["$ref"] for kind, name in _RESULTS.items()},
            },
        },
        "PredictionResult": _object(
            "An image that was classified.",
            {
                "kind": _text("Always `prediction`.", const="prediction"),
                "file": _text(_FILE),
                "image": reference("ImageSize", "The image as it was read."),
                "prediction": reference("Prediction", "What the model says about the image."),
            },
        ),
        "ProblemResult": _object(
            "A file that could not be classified.",
            {
                "kind": _text("Always `problem`.", const="problem"),
                "file": _text(_FILE),
                "problem": reference("Problem", "Why the image could not be classified."),
            },
        ),
        "ImageSize": _object(
            "The size of an image in pixels, after turning it upright as its EXIF says.",
            {
                side: {"type": "integer", "minimum": 1, "description": f"Its {side}."}
                for side in ("width", "height")
            },
        ),
        "Prediction": _object(
            "All that the model says about one image. A member is null if the model file lacks the "
            "numbers for it.",
            {
                "risk_level": _text(
                    "How high the risk is, which sums up all the rest. `unknown`: the image is not "
                    "dermatoscopic, or the model file lacks the numbers. `high`: a malignant or "
                    "pre-malignant class is the most likely, or these classes together have a "
                    "probability of 0.5 or more. `low`: that probability is below a threshold, and "
                    "the image is familiar, of a kind for which ‘low risk’ has proved right, "
                    "and nothing else counts against it. `raised`: everything else.",
                    enum=list(LEVELS),
                ),
                "familiarity": _or_null(
                    "Familiarity",
                    "How closely the image resembles those that the model learned from.",
                ),
                "verdict": _text(
                    "An older form of `risk_level`: `see a doctor` for high and raised, `low "
                    "risk` for low, `unlike` if the image is not dermatoscopic, else `unknown`. "
                    "`inconclusive` is no longer sent. Use `risk_level` instead.",
                    enum=list(VERDICTS),
                    deprecated=True,
                ),
                "sentence": _text("The risk level and the next step, in sentences for people."),
                "most_likely": reference("Code", "The class with the largest probability."),
                "probabilities": reference(
                    "Probabilities",
                    "The calibrated probability of each class. They sum to 1, apart from rounding.",
                ),
                "malignant_probability": {
                    **SHARE,
                    "description": "The probability of "
                    f"{', '.join(f'`{code}`' for code in MALIGNANT_CODES)} together.",
                },
                "cannot_be_excluded": {
                    "type": ["array", "null"],
                    "description": "The classes of the conformal set and the most likely one, "
                    "likeliest first. The set is designed to include the true class for 90 in 100 "
                    "lesions of each class, except those of `pooled_classes`.",
                    "minItems": 1,
                    "items": reference("Code"),
                    "uniqueItems": True,
                },
                "flagged": _or_null(
                    "Code",
                    f"The class that would be most likely if all {CLASS_COUNTS['all']} were "
                    "equally frequent; null if that is `most_likely`.",
                ),
                "inconclusive": _flag(
                    "`cannot_be_excluded` contains both benign and malignant classes."
                ),
                "low_risk": _flag("The risk may be called low. False means only that it may not."),
                "unlike": _flag("The image is unfamiliar or not dermatoscopic."),
                "headline": _text("The risk level, in a sentence: the first part of `sentence`."),
                "next_step": _text("What to do, in a sentence: the rest of `sentence`."),
                "likeliest_cancer": reference(
                    "Code", "The likeliest of the malignant and pre-malignant classes."
                ),
                "unproven": _flag(
                    "The risk would be called low, but a small probability has not proved right "
                    "for images taken like this one."
                ),
                "familiarity_distance": {
                    "type": ["number", "null"],
                    "minimum": 0,
                    "description": "How far the image’s colours and texture are from those of the "
                    "images that the model learned from (a Mahalanobis distance). Above the "
                    "threshold of the same name, the image is unfamiliar.",
                },
                "familiarity_reason": _or_null(
                    "FamiliarityReason", "Why the image is unfamiliar; null if it is not."
                ),
                "meaning": _or_null(
                    "Meaning",
                    "How many lesions with this risk level turned out to be a cancer or precancer; "
                    "null if the model file does not say.",
                ),
                "explanation": reference(
                    "Explanation",
                    "Which parts of the image the model needs for its answer, if you asked for it.",
                ),
            },
            optional=["explanation"],
        ),
        "Familiarity": _text(
            "How closely an image resembles those that the model learned from. `unfamiliar`: it is "
            "unlike them, so its risk is never called low. `not dermatoscopic`: it does not look "
            "like a dermatoscope image, so the risk is unknown.",
            enum=list(FAMILIARITIES),
        ),
        "FamiliarityReason": _object(
            "What most sets an unfamiliar image apart.",
            {
                "code": _text("For programs.", enum=list(REASONS)),
                "text": _text("For people, in the words of the page."),
            },
        ),
        "Meaning": _object(
            "What a risk level meant for lesions whose diagnosis is known: for test lesions or, if "
            "the image is unfamiliar, for lesions from a clinic that similar models had not seen.",
            {
                "malignant": {
                    **SHARE,
                    "description": "The share of the lesions with this level that were malignant "
                    "or pre-malignant.",
                },
                "of_all": {
                    **SHARE,
                    "description": "The same share among all these lesions, whatever their level; "
                    "for `low`, among those whose images are of a kind that may be called low.",
                },
                "melanomas": {
                    **_SHARE_OR_NULL,
                    "description": "The share of the melanomas among them that have this level.",
                },
                "is_unseen": {
                    "type": "boolean",
                    "description": "The lesions come from a clinic that similar models had not "
                    "seen.",
                },
            },
        ),
        "Explanation": _object(
            "The occlusion map: the model was asked again with each part of the image covered in "
            "turn. It does not prove that the answer is right.",
            {
                "map": {
                    "type": "array",
                    "description": f"{PATCHES} rows from top to bottom, each of {PATCHES} numbers "
                    "from left to right, for equal parts of the upright image. Each number is how "
                    "much the probability of the most likely class falls when that part is "
                    "covered; it is negative if the probability rises. The probability is the "
                    "network’s for the upright view alone. The picture leaves out falls below "
                    f"{NOTICEABLE_FALL}.",
                    "minItems": PATCHES,
                    "maxItems": PATCHES,
                    "items": {
                        "type": "array",
                        "minItems": PATCHES,
                        "maxItems": PATCHES,
                        "items": {"type": "number", "minimum": -1, "maximum": 1},
                    },
                },
                "region": {
                    "type": ["string", "null"],
                    "description": "Where the part is that the answer depends on most, in words "
                    "such as `upper left`; null if no part stands out.",
                },
                "picture": {
                    "type": ["string", "null"],
                    "description": "The image, with what the answer depends on in blue: a `data:` "
                    "address of a PNG, in base64, upright and at most "
                    f"{PREVIEW_SIDE} pixels a side. Null if the request has several images.",
                },
            },
        ),
        "Code": _text("A class, as named in HAM10000’s column `dx`.", enum=list(CODES)),
        "Class": _object(
            "What a code stands for.",
            {
                "code": reference("Code", "The name of the class in the rest of the answer."),
                "name": _text("Its name for people."),
                "risk": _text("How it is counted.", enum=["malignant", "pre-malignant", "benign"]),
                "description": _text("What it is, for people."),
                "next_steps": _text("What usually happens with such a spot, for people."),
                "sources": {
                    "type": "array",
                    "description": "The pages on which both texts are based.",
                    "minItems": 1,
                    "items": {"type": "string", "format": "uri"},
                },
            },
        ),
        "Model": _object(
            "The model that answered.",
            {
                "sha256": _text("The checksum of its file.", **_SHA256),
                "data_sha256": {
                    "type": ["string", "null"],
                    "description": "The checksum of the data that it learned from.",
                    **_SHA256,
                },
                "version": _text("The first digits of `sha256`, which pages show for the model."),
                "data": {
                    "type": ["string", "null"],
                    "description": "The name of the data that it learned from.",
                },
                "lacks_rules": {
                    "type": "boolean",
                    "description": "Something is missing from the answers because the model file "
                    "lacks the numbers for it.",
                },
                "scores": _or_null(
                    "Scores", "How good it is; null if the model file does not say."
                ),
                "card": _text("The path of its model card.", format="uri-reference"),
            },
        ),
        "App": _object(
            "The app that answered.",
            {
                "name": _text("Its name."),
                "version": _text("Its version."),
                "notice": _text("What it is for and what it is not. Show this to people."),
            },
        ),
        "Thresholds": _object(
            "The numbers that the statements depend on. A member is null if the model file lacks "
            "it, or if the statement is never made.",
            {
                "high_risk": {
                    **SHARE,
                    "description": "At this `malignant_probability` or above, the risk is `high`.",
                },
                "low_risk": {
                    **_SHARE_OR_NULL,
                    "description": "The risk may be `low` only if `malignant_probability` is below "
                    "this.",
                },
                "cannot_be_excluded": _or_null(
                    "Probabilities", "A class with this probability or more cannot be excluded."
                ),
                "pooled_classes": {
                    "type": ["array", "null"],
                    "description": "The classes for which `cannot_be_excluded` promises nothing, "
                    "because there were too few calibration lesions of them.",
                    "items": reference("Code"),
                },
                "familiarity_distance": {
                    "type": ["number", "null"],
                    "minimum": 0,
                    "description": "Above this `familiarity_distance`, an image is unfamiliar.",
                },
            },
        ),
        "Scores": _object(
            "How good the model is on test images, which it had not learned from.",
            {
                "images": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "How many test images there are.",
                },
                "accuracy": {
                    **_SHARE_OR_NULL,
                    "description": "The share of the test images whose class it named correctly.",
                },
                "rows_may_share_lesions": {
                    "type": "boolean",
                    "description": "The scores may be too good: some test images may show a lesion "
                    "that it had learned from.",
                },
                "classes": _object(
                    "The scores of each class, by its code.",
                    {code: reference("ClassScores") for code in CODES},
                ),
                "pairs": _or_null(
                    "PairScores", "How well it tells pairs apart; null if that is not known."
                ),
            },
        ),
        "ClassScores": _object(
            "How often the model is right about a class; a member is null if there are no such "
            "images.",
            {
                "precision": {
                    **_SHARE_OR_NULL,
                    "description": "Of the images given this class, the share that really showed "
                    "it.",
                },
                "sensitivity": {
                    **_SHARE_OR_NULL,
                    "description": "Of the images that really showed this class, the share that "
                    "were given it.",
                },
            },
        ),
        "PairScores": _object(
            "For pairs of lesions from the same clinic and camera, one malignant or pre-malignant "
            "and one benign: the share in which the first had the higher risk (AUC).",
            {
                "known": _range("On test images from clinics that it had learned from"),
                "unseen": _range("For similar models, on clinics that they had never seen"),
            },
        ),
        "Probabilities": _object(
            "A probability for each class, by its code.", dict.fromkeys(CODES, SHARE)
        ),
        "Problem": _object(
            "What went wrong, in the form of RFC 9457.",
            {
                "type": _text(
                    "The kind of problem: an address that leads to its paragraph on the API page.",
                    format="uri-reference",
                ),
                "title": _text("The same for all problems of this type."),
                "status": {
                    "type": "integer",
                    "description": "The HTTP status; for one of several images, the status that "
                    "it would have had alone.",
                    "minimum": 400,
                    "maximum": 599,
                },
                "detail": _text("What is wrong this time, and what to do."),
                "results": _results(
                    "The problem of each image, if none of several can be used.", "ProblemResult"
                ),
            },
            optional=["results"],
        ),
    }


def _object(
    description: str, properties: dict[str, Any], optional: Sequence[str] = ()
) -> dict[str, Any]:
    # Other properties are allowed, because more may be added: `openapi.COMPATIBILITY`.
    return {
        "type": "object",
        "description": description,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def _text(description: str, **keywords: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **keywords}


def _flag(description: str) -> dict[str, Any]:
    return {"type": ["boolean", "null"], "description": description}


def _or_null(name: str, description: str) -> dict[str, Any]:
    return {"anyOf": [reference(name), {"type": "null"}], "description": description}


def _range(description: str) -> dict[str, Any]:
    return {
        "type": "array",
        "description": f"{description}: the worst and the best clinic.",
        "minItems": 2,
        "maxItems": 2,
        "items": SHARE,
    }


def _results(description: str, kind: str) -> dict[str, Any]:
    return {
        "type": "array",
        "description": description,
        "minItems": 1,
        "maxItems": MAX_IMAGES,
        "items": reference(kind),
    }


def reference(name: str, description: str | None = None) -> dict[str, Any]:
    """Refer to a schema, optionally with its own description."""
    found = {"$ref": f"#/components/schemas/{name}"}
    return found if description is None else found | {"description": description}
