"""The OpenAPI 3.1 document of the API, from the constants that it is bound to.

Its texts are CommonMark, as OpenAPI has it; the readable page shows the same.
"""

from typing import Any

from lesion_lens import version
from lesion_lens.model.decisions import FAMILIARITIES, LEVELS, MALIGNANT_CODES
from lesion_lens.model.errors import DamagedImage, Problem, UnsupportedImage
from lesion_lens.model.limits import MAX_PIXELS, MAX_SIDE, MEGA, MIME_TYPES, PIXEL_LIMITS, READABLE
from lesion_lens.web.limits import MAX_IMAGES, RETRY_AFTER
from lesion_lens.web.problems import PROBLEMS, NoImageUsable
from lesion_lens.web.results import VERDICTS, describe_classes
from skin_cancer_detection import CLASSES, CODES

PROBLEM_JSON = "application/problem+json"
# What a program says that a file is: the last where it does not know.
CONTENT_TYPES = (*MIME_TYPES, "application/octet-stream")
_STATUSES = {
    400: "The form, or the one file in it, is not as it should be.",
    403: "A browser sent the form for another site.",
    413: "Too much was sent.",
    415: "Not a form, or the one file in it is not an image that can be read.",
    422: "No image can be used.",
    429: "Not at the moment. This server limits the uploads of each visitor.",
    500: "The server failed. Trying again is no use.",
    503: "Not at the moment. Nothing of the request was kept: send it again.",
}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_SHA256 = {"pattern": "^[0-9a-f]{64}$"}


def openapi_document(root: str, docs: str, max_megabytes: int) -> dict[str, Any]:
    """Lay out the document.

    Args:
        root: the path of the API, /api/v1 but for a prefix that the app stands under.
        docs: the path of the readable page.
        max_megabytes: the largest request, in MB of a million bytes.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lesion Lens",
            "version": version(),
            "summary": "Which of seven classes a pigmented skin lesion most likely is.",
            "description": (
                "A study tool. It does not diagnose, and it does not replace a doctor. Only "
                "images of one lesion that were taken through a dermatoscope mean anything."
            ),
        },
        "servers": [{"url": root}],
        "paths": {"/predictions": {"post": _operation(docs, max_megabytes)}},
        "components": {"schemas": _schemas()},
    }


def _operation(docs: str, max_megabytes: int) -> dict[str, Any]:
    return {
        "operationId": "predict",
        "summary": "Classify one or more images",
        "description": (
            "The images are decoded and classified one after the other. One that cannot be used "
            "does not spoil the others: the answer is 200 as long as one image was classified. "
            "Nothing is stored, and no file name is logged."
        ),
        "security": [],
        "requestBody": {
            "required": True,
            "description": (
                f"A form with 1 to {MAX_IMAGES} files in the field `image`, all together at most "
                f"{max_megabytes} MB (of a million bytes). Each is a {READABLE} of at most "
                f"{MAX_PIXELS // MEGA} million pixels (JPEG: {PIXEL_LIMITS['JPEG'] // MEGA}, AVIF: "
                f"{PIXEL_LIMITS['AVIF'] // MEGA}, WebP: {PIXEL_LIMITS['WEBP'] // MEGA} million) "
                f"and {MAX_SIDE:,} on one side; of "
                "several frames the first is taken. The bytes decide what a file is, not its name "
                "nor the type that its part is labelled with."
            ),
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["image"],
                        "additionalProperties": False,
                        "properties": {
                            "image": {
                                "type": "array",
                                "description": "The files, each with a name.",
                                "minItems": 1,
                                "maxItems": MAX_IMAGES,
                                "items": {"type": "string", "format": "binary"},
                            }
                        },
                    },
                    "encoding": {"image": {"contentType": ", ".join(CONTENT_TYPES)}},
                }
            },
        },
        "responses": {
            "200": {
                "description": "A result for each image, or its problem, in their order.",
                "content": {
                    "application/json": {
                        "schema": _reference("Predictions"),
                        "example": _predictions_example(docs),
                    }
                },
            },
            **{str(status): _problem_response(status, docs) for status in _STATUSES},
        },
    }


def _problem_response(status: int, docs: str) -> dict[str, Any]:
    types = [kind for kind in PROBLEMS if kind.status == status]
    examples = {
        kind.name: {
            "summary": kind.title,
            "description": kind.meaning,
            "value": _problem_example(kind, docs),
        }
        for kind in types
    }
    response: dict[str, Any] = {
        "description": _STATUSES[status],
        "content": {PROBLEM_JSON: {"schema": _reference("Problem"), "examples": examples}},
    }
    if status in (429, 503):
        response["headers"] = {
            "Retry-After": {
                "description": "Seconds to wait before the next attempt.",
                "required": True,
                "schema": {"type": "integer", "minimum": 0},
                "example": RETRY_AFTER,
            }
        }
    return response


def _schemas() -> dict[str, Any]:
    return {
        "Predictions": _object(
            "The answer to a request of which at least one image was classified.",
            {
                "model": _reference("Model", "The model that answered."),
                "classes": {
                    "type": "array",
                    "description": "The seven, in the order of the model’s outputs.",
                    "minItems": len(CLASSES),
                    "maxItems": len(CLASSES),
                    "items": _reference("Class"),
                },
                "results": _results("Of each image, in the order of the request."),
            },
        ),
        "Result": {
            **_object(
                "What came of one image: a prediction or a problem, never both.",
                {
                    "file": _text("The file’s name, as it was sent."),
                    "prediction": _reference("Prediction", "What the model says of the image."),
                    "problem": _reference("Problem", "Why the image could not be classified."),
                },
                required=["file"],
            ),
            "oneOf": [{"required": ["prediction"]}, {"required": ["problem"]}],
        },
        "Prediction": _object(
            "All that the model says of one image. A member is null where the model file lacks "
            "what it would take.",
            {
                "risk_level": _text(
                    "How great the risk is: what all the rest comes to. `unknown`: the image is "
                    "not dermatoscopic, or the model file lacks what it takes. `high`: a malignant "
                    "or pre-malignant class is the most likely, or these have 0.5 or more "
                    "together. `low`: low enough by a threshold, for familiar images of a kind "
                    "where that has proved right. `raised`: everything else.",
                    enum=list(LEVELS),
                ),
                "familiarity": {
                    "type": ["string", "null"],
                    "enum": [*FAMILIARITIES, None],
                    "description": "How the image resembles those that the model learned from. "
                    "`unfamiliar`: it was taken differently, so the risk is never called low. "
                    "`not dermatoscopic`: it shows something else, so the risk is unknown.",
                },
                "verdict": _text(
                    "An older form of `risk_level`: `see a doctor` for high and raised, `low "
                    "risk` for low, `unlike` where the image is not dermatoscopic, else `unknown`. "
                    "`inconclusive` is no longer sent.",
                    enum=list(VERDICTS),
                ),
                "sentence": _text("The risk level and the next step, in sentences for people."),
                "most_likely": _reference("Code", "The class with the largest probability."),
                "probabilities": _object(
                    "Of each class, by its code; calibrated, and together 1 but for rounding.",
                    dict.fromkeys(CODES, _SHARE),
                ),
                "malignant_probability": {
                    **_SHARE,
                    "description": f"Of {', '.join(f'`{code}`' for code in MALIGNANT_CODES)} "
                    "together.",
                },
                "cannot_be_excluded": {
                    "type": ["array", "null"],
                    "description": "The classes of the conformal set and the most likely one, by "
                    "falling probability. They include the true class for 90 in 100 lesions of "
                    "each class, but for the rarest.",
                    "minItems": 1,
                    "items": _reference("Code"),
                    "uniqueItems": True,
                },
                "flagged": {
                    "anyOf": [_reference("Code"), {"type": "null"}],
                    "description": "The class that would be most likely if all seven were equally "
                    "frequent; null where that is the most likely one.",
                },
                "inconclusive": _flag(
                    "`cannot_be_excluded` holds benign and malignant classes together."
                ),
                "low_risk": _flag(
                    "The risk may be called low. False means no more than that it may not."
                ),
                "unlike": _flag("The image is unfamiliar or not dermatoscopic."),
            },
        ),
        "Code": _text("A class, as HAM10000’s column `dx` names it.", enum=list(CODES)),
        "Class": _object(
            "What a code stands for.",
            {
                "code": _reference("Code", "By which the rest of the answer names the class."),
                "name": _text("For people."),
                "risk": _text("What it counts as.", enum=["malignant", "pre-malignant", "benign"]),
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
                "card": _text("The path of its model card.", format="uri-reference"),
            },
        ),
        "Problem": _object(
            "What went wrong, as RFC 9457 has it.",
            {
                "type": _text(
                    "The kind of problem: an address that leads to its paragraph on the readable "
                    "page, or `about:blank` where the status says it all.",
                    format="uri-reference",
                ),
                "title": _text("The same for all problems of this type."),
                "status": {
                    "type": "integer",
                    "description": "The HTTP status; for one of several images, that which the "
                    "image alone would have had.",
                    "minimum": 400,
                    "maximum": 599,
                },
                "detail": _text("What is wrong this time, and what to do."),
                "results": _results("Of each image, where none of several can be used."),
            },
            required=["type", "title", "status", "detail"],
        ),
    }


def _object(
    description: str, properties: dict[str, Any], required: list[str] | None = None
) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
        "properties": properties,
    }


def _text(description: str, **keywords: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **keywords}


def _flag(description: str) -> dict[str, Any]:
    return {"type": ["boolean", "null"], "description": description}


def _results(description: str) -> dict[str, Any]:
    return {
        "type": "array",
        "description": description,
        "minItems": 1,
        "maxItems": MAX_IMAGES,
        "items": _reference("Result"),
    }


def _reference(name: str, description: str | None = None) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{name}"}
    return reference if description is None else reference | {"description": description}


def _problem_example(kind: type[Problem], docs: str) -> dict[str, Any]:
    problem: dict[str, Any] = {
        "type": f"{docs}#{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": str(kind(**kind.example)),
    }
    if kind is NoImageUsable:
        problem["results"] = [
            {"file": file, "problem": _problem_example(error, docs)}
            for file, error in (("broken-off.jpg", DamagedImage), ("notes.txt", UnsupportedImage))
        ]
    return problem


def _predictions_example(docs: str) -> dict[str, Any]:
    return {
        "model": {
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "data_sha256": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
            "card": "/model",
        },
        "classes": describe_classes(),
        "results": [
            {
                "file": "lesion.jpg",
                "prediction": {
                    "risk_level": "raised",
                    "familiarity": "familiar",
                    "verdict": "see a doctor",
                    "sentence": "Not clear: have a doctor look at this. Show the spot to your "
                    "doctor or a dermatologist.",
                    "most_likely": "nv",
                    "probabilities": {
                        "akiec": 0.002107,
                        "bcc": 0.004318,
                        "bkl": 0.103644,
                        "df": 0.008125,
                        "nv": 0.682915,
                        "vasc": 0.001522,
                        "mel": 0.197369,
                    },
                    "malignant_probability": 0.203794,
                    "cannot_be_excluded": ["nv", "mel", "bkl"],
                    "flagged": "mel",
                    "inconclusive": True,
                    "low_risk": False,
                    "unlike": False,
                },
            },
            {
                "file": "broken-off.jpg",
                "problem": _problem_example(DamagedImage, docs),
            },
        ],
    }
