"""Older programs keep working: every member that /api/v1 has had stays, with its type.

Add members here when they are released. Do not remove or change any.
"""

import pytest

from tests.support.api import predict
from tests.support.drawings import draw_lesion, encode

PNG = encode(draw_lesion((60, 45)))
BROKEN = PNG[: len(PNG) // 2]
NULL = type(None)
FLAG = (bool, NULL)
MEMBERS = {
    "model": {"sha256": str, "data_sha256": (str, NULL), "card": str},
    "classes": [{"code": str, "name": str, "risk": str}],
}
PREDICTION = {
    "file": str,
    "prediction": {
        "risk_level": str,
        "familiarity": (str, NULL),
        "verdict": str,
        "sentence": str,
        "most_likely": str,
        "probabilities": dict.fromkeys(("akiec", "bcc", "bkl", "df", "nv", "vasc", "mel"), float),
        "malignant_probability": float,
        "cannot_be_excluded": (list, NULL),
        "flagged": (str, NULL),
        "inconclusive": FLAG,
        "low_risk": FLAG,
        "unlike": FLAG,
    },
}
DETAILS = {"type": str, "title": str, "status": int, "detail": str}
PROBLEM = {"file": str, "problem": DETAILS}
VALUES = {
    "risk_level": {"high", "raised", "unknown", "low"},
    "familiarity": {"familiar", "unfamiliar", "not dermatoscopic", None},
    "verdict": {"unlike", "unknown", "inconclusive", "low risk", "see a doctor"},
    "most_likely": {"akiec", "bcc", "bkl", "df", "nv", "vasc", "mel"},
}
PROBLEMS = {
    400: {"no-image", "too-many-images", "not-a-file", "unknown-field", "empty-image"},
    403: {"from-another-site"},
    413: {"request-too-large", "image-too-large"},
    415: {"wrong-content-type", "unsupported-image", "unsupported-variant", "dicom-not-read"},
    422: {"damaged-image", "image-too-costly", "no-image-usable"},
    429: {"too-many-requests"},
    500: {"server-failed"},
    503: {"busy", "not-processed", "model-unusable"},
}


def keeps(value, form):
    """Whether a value has all members of a form; it may have more."""
    if isinstance(form, dict):
        return all(name in value and keeps(value[name], kind) for name, kind in form.items())
    if isinstance(form, list):
        return isinstance(value, list) and all(keeps(one, form[0]) for one in value)
    return isinstance(value, form)


def test_every_member_of_before_is_there(client):
    answer = predict(client, PNG, BROKEN).json
    first, second = answer["results"]
    assert keeps(answer, MEMBERS)
    assert keeps(first, PREDICTION)
    assert "problem" not in first
    assert keeps(second, PROBLEM)
    assert "prediction" not in second


def test_a_problem_has_every_member_of_before(client):
    assert keeps(predict(client, BROKEN).json, DETAILS)
    several = predict(client, BROKEN, b"hello").json
    assert keeps(several, DETAILS | {"results": [PROBLEM]})


@pytest.mark.parametrize("name", VALUES)
def test_no_value_is_new_to_programs_of_before(client, document, name):
    prediction = predict(client, PNG).json["results"][0]["prediction"]
    assert prediction[name] in VALUES[name]
    schemas = document["components"]["schemas"]
    member = schemas["Prediction"]["properties"][name]
    references = [member, *member.get("anyOf", [])]
    named = [schemas[one["$ref"].rpartition("/")[2]] for one in references if "$ref" in one]
    allowed = {value for one in (member, *named) for value in one.get("enum", [])}
    assert allowed == VALUES[name] - {None}


def test_every_problem_of_before_has_its_status(document):
    responses = document["paths"]["/predictions"]["post"]["responses"]
    for status, names in PROBLEMS.items():
        examples = responses[str(status)]["content"]["application/problem+json"]["examples"]
        assert names <= set(examples)


@pytest.mark.parametrize("query", ["x=1", "Explain=1", "explain=0&a=b", "=", "explian=1&explian=2"])
def test_parameters_that_are_not_known_are_ignored(client, query):
    (result,) = predict(client, PNG, query_string=query).json["results"]
    assert "explanation" not in result["prediction"]


def test_what_is_deprecated_is_marked(document):
    members = document["components"]["schemas"]["Prediction"]["properties"]
    assert [name for name, one in members.items() if one.get("deprecated")] == ["verdict"]
    assert "Deprecation" in document["info"]["description"]
