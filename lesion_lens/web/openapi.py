"""The OpenAPI 3.1 document of the API, built from the constants that the app uses.

Its texts are CommonMark, as OpenAPI specifies; the API page shows the same texts.
"""

from typing import Any

from lesion_lens import version
from lesion_lens.model.decisions import CLASS_COUNTS
from lesion_lens.model.errors import DamagedImage, Problem, UnsupportedImage
from lesion_lens.model.limits import MAX_PIXELS, MAX_SIDE, MEGA, MIME_TYPES, PIXEL_LIMITS, READABLE
from lesion_lens.model.publication import NAME
from lesion_lens.web.about import NOTICE, SHORT_CHECKSUM, describe_classes
from lesion_lens.web.limits import EXPLAIN, MAX_IMAGES, RETRY_AFTER
from lesion_lens.web.problems import PROBLEMS, MethodNotAllowed, NoImageUsable
from lesion_lens.web.schemas import OTHER_BODIES, PROBLEM_JSON, reference, schemas
from skin_cancer_detection import CODES

# The types that a program may give a file; the last is for unknown types.
CONTENT_TYPES = (*MIME_TYPES, "application/octet-stream")
# What programs may rely on.
COMPATIBILITY = """\
Within `/api/v1`, members, parameters, content types and problem types may be added, so ignore what
you do not know. None will be removed or renamed, and none will change its type or meaning. The
numbers depend on the model file, which `model.sha256` identifies.

Anything that has a better replacement is marked `deprecated` here and named in the changelog. It is
sent for as long as `/api/v1` is served.

If there is ever a `/api/v2`, both will be served for at least twelve months. From the announcement
onwards, each answer of `/api/v1` will have three more headers: `Deprecation` (RFC 9745), with the
date from which it is deprecated; `Sunset` (RFC 8594), with the date on which it ends; and `Link`,
which leads to the changes.
"""
_STATUSES = {
    400: "The request, or its only file, is invalid.",
    403: "A browser sent the form for a page of another site.",
    404: "There is no such address.",
    405: "The address does not accept this method.",
    413: "Too much was sent.",
    415: "Neither a form nor an image was sent, or the only file is not an image that can be read.",
    422: "No image can be used.",
    429: "Too many uploads. This server limits the uploads of each visitor.",
    500: "The server failed. Trying again is unlikely to help.",
    503: "The server cannot answer at the moment. It kept nothing of the request: send it again.",
}
_MAP = [
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    [0.0, 0.000211, 0.001035, 0.000946, 0.000112, 0.0, 0.0],
    [0.0, 0.002317, 0.081442, 0.120306, 0.030514, 0.000205, 0.0],
    [0.0, 0.003908, 0.153027, 0.241865, 0.062911, 0.000341, 0.0],
    [0.0, 0.001126, 0.047713, 0.090488, -0.012049, 0.0, 0.0],
    [0.0, 0.0, 0.000874, 0.001402, 0.000093, 0.0, 0.0],
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
]
_BINARY = {"type": "string", "format": "binary"}


def openapi_document(root: str, docs: str, max_megabytes: int) -> dict[str, Any]:
    """Build the document.

    Args:
        root: the path of the API: /api/v1, after a prefix if the app is served under one.
        docs: the path of the API page.
        max_megabytes: the largest request, in MB of a million bytes.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": NAME,
            "version": version(),
            "summary": f"Says which of {CLASS_COUNTS['all']} classes a pigmented skin lesion most "
            "likely is.",
            "description": f"{NOTICE}\n\n{COMPATIBILITY}",
        },
        "servers": [{"url": root}],
        "paths": {"/predictions": {"post": _operation(docs, max_megabytes)}},
        "components": {"schemas": schemas()},
    }


def _operation(docs: str, max_megabytes: int) -> dict[str, Any]:
    return {
        "operationId": "predict",
        "summary": "Classify one or more images",
        "description": (
            "The images are decoded and classified one after another. If one cannot be used, the "
            "others are still classified: the status is 200 as long as one image was classified. "
            "No image is stored, and no file name is logged."
        ),
        "security": [],
        "parameters": [
            {
                "name": EXPLAIN,
                "in": "query",
                "description": "`?explain=1` adds an `explanation` to each prediction: which parts "
                "of the image the model needs for its answer. This takes longer.",
                "required": False,
                "schema": {"type": "integer", "enum": [0, 1], "default": 0},
            },
            {
                "name": "Content-Disposition",
                "in": "header",
                "description": "The file’s name, if the body is an image, as in `attachment; "
                'filename="lesion.jpg"`.',
                "required": False,
                "schema": {"type": "string"},
            },
        ],
        "requestBody": {
            "required": True,
            "description": (
                f"A form with 1 to {MAX_IMAGES} files in the field `image`, together at most "
                f"{max_megabytes} MB (1 MB is a million bytes). Or the bytes of one image alone, "
                "with its own type or `application/octet-stream` as the `Content-Type`. "
                f"Each image is a {READABLE} of at most "
                f"{MAX_PIXELS // MEGA} million pixels (JPEG: {PIXEL_LIMITS['JPEG'] // MEGA}, AVIF: "
                f"{PIXEL_LIMITS['AVIF'] // MEGA}, WebP: {PIXEL_LIMITS['WEBP'] // MEGA} million) "
                f"and {MAX_SIDE:,} pixels a side. If it has several frames, the first one is used. "
                "The bytes decide what a file is, not its name or its declared type. Send the "
                "whole picture: the model learned from whole pictures, and the API cannot know "
                "what was cut away."
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
                                "items": _BINARY,
                            }
                        },
                    },
                    "encoding": {"image": {"contentType": ", ".join(CONTENT_TYPES)}},
                },
                **{kind: {"schema": _BINARY} for kind in ("image/*", *OTHER_BODIES)},
            },
        },
        "responses": {
            "200": {
                "description": "A prediction or a problem for each image, in the order of the "
                "request.",
                "content": {
                    "application/json": {
                        "schema": reference("Predictions"),
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
        "content": {PROBLEM_JSON: {"schema": reference("Problem"), "examples": examples}},
    }
    if status == MethodNotAllowed.status:
        response["headers"] = {
            "Allow": {
                "description": "The methods that the address accepts.",
                "required": True,
                "schema": {"type": "string"},
                "example": "OPTIONS, POST",
            }
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


def _problem_example(kind: type[Problem], docs: str) -> dict[str, Any]:
    problem: dict[str, Any] = {
        "type": f"{docs}#{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": str(kind(**kind.example)),
    }
    if kind is NoImageUsable:
        problem["results"] = [
            {"kind": "problem", "file": file, "problem": _problem_example(error, docs)}
            for file, error in (("broken-off.jpg", DamagedImage), ("notes.txt", UnsupportedImage))
        ]
    return problem


def _predictions_example(docs: str) -> dict[str, Any]:
    sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    return {
        "app": {"name": NAME, "version": version(), "notice": NOTICE},
        "model": {
            "sha256": sha256,
            "data_sha256": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
            "version": sha256[:SHORT_CHECKSUM],
            "data": "HAM10000",
            "lacks_rules": False,
            "scores": {
                "images": 2001,
                "accuracy": 0.797,
                "rows_may_share_lesions": False,
                "classes": {code: {"precision": 0.6, "sensitivity": 0.5} for code in CODES},
                "pairs": {"known": [0.79, 0.87], "unseen": [0.69, 0.76]},
            },
            "card": "/model",
        },
        "thresholds": {
            "high_risk": 0.5,
            "low_risk": 0.03,
            "cannot_be_excluded": dict.fromkeys(CODES, 0.1),
            "pooled_classes": ["df"],
            "familiarity_distance": 4.1,
        },
        "classes": describe_classes(),
        "results": [
            {
                "kind": "prediction",
                "file": "lesion.jpg",
                "image": {"width": 600, "height": 450},
                "prediction": {
                    "risk_level": "raised",
                    "familiarity": "unfamiliar",
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
                    "unlike": True,
                    "headline": "Not clear: have a doctor look at this.",
                    "next_step": "Show the spot to your doctor or a dermatologist.",
                    "likeliest_cancer": "mel",
                    "unproven": False,
                    "familiarity_distance": 4.702913,
                    "familiarity_reason": {"code": "dark", "text": "it is too dark"},
                    "meaning": {
                        "malignant": 0.27,
                        "of_all": 0.48,
                        "melanomas": 0.13,
                        "is_unseen": True,
                    },
                    # Added by `EXPLAIN`; there is no picture because there are several images.
                    "explanation": {"map": _MAP, "region": "centre", "picture": None},
                },
            },
            {
                "kind": "problem",
                "file": "broken-off.jpg",
                "problem": _problem_example(DamagedImage, docs),
            },
        ],
    }
