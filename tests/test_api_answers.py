"""The contents of the API's answers, which have all that the page says, and the map."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

import skin_cancer_detection as scd
from lesion_lens import version
from lesion_lens.model.decisions import HIGH_RISK
from lesion_lens.model.outliers import REASONS
from lesion_lens.web.current import get_classifier
from tests.support.api import ADDRESS, check, patiently, predict, problem_in, send
from tests.support.cards import made_clinic
from tests.support.drawings import draw_for, draw_lesion, encode
from tests.support.models import (
    FACTS,
    OWN,
    PROVEN,
    UNLIKE,
    attributes_of,
    made_counts,
    made_scores,
    shares_of,
    write_model,
)
from tests.support.pages import client_of, page_of, text_of, upload

PNG = encode(draw_lesion((60, 45)))
LESION = encode(draw_for("high"))


def answer_of(client, data=LESION, query=""):
    post = {"path": f"{ADDRESS}{query}", "data": data, "content_type": "image/png"}
    response = patiently(lambda: client.post(**post))
    assert response.status_code == 200, response.text
    return response.json


@pytest.fixture
def classifier(app):
    return get_classifier(app)


# --- The same for every image ----------------------------------------------------------------


def test_app_and_model_are_named(client):
    answer = answer_of(client)
    assert (answer["app"]["name"], answer["app"]["version"]) == ("Lesion Lens", version())
    assert "does not diagnose" in answer["app"]["notice"]
    model = answer["model"]
    page = page_of(upload(client, LESION))
    assert model["version"] == text_of(page, "#model-sha256")
    assert (model["data"], model["lacks_rules"]) == ("HAM10000", False)


def test_the_thresholds_are_those_of_the_model_file(client, classifier):
    thresholds = answer_of(client)["thresholds"]
    facts = classifier.decision_facts
    assert thresholds == {
        "high_risk": HIGH_RISK,
        "low_risk": facts.low_risk_threshold,
        "cannot_be_excluded": dict(zip(scd.CODES, facts.conformal_thresholds, strict=True)),
        "pooled_classes": list(facts.pooled_classes),
        "familiarity_distance": float(classifier.picture_rules.outliers.threshold),
    }


def test_the_classes_say_what_the_page_says(client):
    answer = answer_of(client)
    page = page_of(upload(client, LESION))
    likely = answer["results"][0]["prediction"]["most_likely"]
    (kind,) = (kind for kind in answer["classes"] if kind["code"] == likely)
    assert text_of(page, "#description") == kind["description"]
    assert text_of(page, "#next-steps").endswith(kind["next_steps"])
    linked = [link["href"] for link in page.select("small a")]
    assert set(kind["sources"]) <= set(linked)


def test_the_scores_are_those_of_the_page(client):
    answer = answer_of(client)
    page = page_of(upload(client, LESION))
    scores = answer["model"]["scores"]
    shown = text_of(page, "#how-wrong")
    likely = answer["results"][0]["prediction"]["most_likely"]
    for share in scores["classes"][likely].values():
        assert f"{100 * share:.0f}" in shown
    assert f"{scores['images']:,} images" in text_of(page, "#how-good")
    low, high = scores["pairs"]["unseen"]
    assert f"{100 * low:.0f} to {100 * high:.0f}" in text_of(page, "#elsewhere")


def test_a_model_file_without_facts_says_null(document, tmp_path):
    response = predict(client_of(write_model(tmp_path, shares_of(nv=0.9))), PNG)
    check(response.json, document, "Predictions")
    assert response.json["model"]["lacks_rules"] is True
    assert response.json["model"]["scores"] is None
    values = dict(response.json["thresholds"])
    assert values.pop("high_risk") == HIGH_RISK
    assert set(values.values()) == {None}
    assert response.json["results"][0]["prediction"]["meaning"] is None


# --- Of one image ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "JPEG2000", "HEIF"])
@pytest.mark.parametrize("size", [(60, 45), (3000, 1000)], ids=str)
def test_the_size_is_that_of_the_file(client, kind, size):
    data = encode(Image.new("RGB", size, "brown"), kind)
    assert answer_of(client, data)["results"][0]["image"] == dict(
        zip(("width", "height"), size, strict=True)
    )


@pytest.mark.parametrize(("orientation", "size"), [(3, (60, 40)), (6, (40, 60))])
def test_the_size_is_that_of_the_upright_image(client, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(draw_lesion((60, 40)), "JPEG", exif=exif.tobytes())
    found = answer_of(client, data)["results"][0]["image"]
    assert (found["width"], found["height"]) == size


@pytest.fixture
def unfamiliar(tmp_path):
    """A client of a model that finds every image unfamiliar and has the counts for that case."""
    counts = made_counts(500, 200, raised=(100, 31, 5))
    facts = {"test": made_scores(), "other_clinics": {"clinics": {"b": made_clinic(0.7) | counts}}}
    rules = attributes_of(FACTS, UNLIKE, OWN, PROVEN)
    return client_of(write_model(tmp_path, shares_of(nv=0.98), facts, rules))


def test_an_unfamiliar_image_is_beyond_the_threshold_for_the_page_s_reason(unfamiliar, document):
    answer = answer_of(unfamiliar)
    check(answer, document, "Predictions")
    (result,) = answer["results"]
    prediction = result["prediction"]
    assert prediction["familiarity"] == "unfamiliar"
    assert prediction["familiarity_distance"] > answer["thresholds"]["familiarity_distance"]
    reason = prediction["familiarity_reason"]
    assert reason["text"] == REASONS[reason["code"]]
    assert reason["text"] in text_of(page_of(upload(unfamiliar, LESION)), "#unfamiliar")
    said = {"malignant": 0.31, "of_all": 0.4, "is_unseen": True}
    assert said.items() <= prediction["meaning"].items()


def test_what_the_level_meant_is_what_the_page_says(client):
    meaning = answer_of(client)["results"][0]["prediction"]["meaning"]
    shown = text_of(page_of(upload(client, LESION)), "#meaning")
    assert f"{100 * meaning['malignant']:.0f} turned out" in shown
    assert f"{100 * meaning['of_all']:.0f} in 100" in shown
    assert meaning["is_unseen"] is False


# --- Where it looked -------------------------------------------------------------------------


def test_a_map_is_given_where_it_is_asked_for(client, document):
    answer = answer_of(client, query="?explain=1")
    check(answer, document, "Predictions")
    said = answer["results"][0]["prediction"].pop("explanation")
    assert np.shape(said["map"]) == (7, 7)
    page = page_of(upload(client, LESION))
    assert said["region"] in text_of(page, "#weight")
    assert answer == answer_of(client) == answer_of(client, query="?explain=0")


def test_the_picture_is_the_image_with_the_strongest_part_in_blue(client):
    said = answer_of(client, query="?explain=1")["results"][0]["prediction"]["explanation"]
    kind, _, text = said["picture"].partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        assert (picture.format, picture.size) == ("PNG", draw_for("high").size)
        drawn, plain = (np.asarray(one.convert("RGB"), int) for one in (picture, draw_for("high")))
    row, column = np.unravel_index(np.argmax(said["map"]), (7, 7))
    height, width = drawn.shape[:2]
    place = int((row + 0.5) * height / 7), int((column + 0.5) * width / 7)
    bluer = drawn[place] - plain[place]
    assert bluer[2] > bluer[0]


def test_several_images_have_maps_and_no_pictures(client, document):
    response = predict(client, (LESION, "a"), (b"hello", "b"), (PNG, "c"), query_string="explain=1")
    check(response.json, document, "Predictions")
    first, second, third = response.json["results"]
    assert second["kind"] == "problem"
    for result in (first, third):
        assert np.shape(result["prediction"]["explanation"]["map"]) == (7, 7)
        assert result["prediction"]["explanation"]["picture"] is None


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("explain", "invalid-parameter"),
        ("explain=true", "invalid-parameter"),
        ("explain=1&explain=1", "invalid-parameter"),
        ("a=b&explain=2", "invalid-parameter"),
    ],
)
def test_a_wrong_parameter_is_named(client, query, name):
    response = client.post(f"{ADDRESS}?{query}", data=PNG, content_type="image/png")
    assert problem_in(response) == name


def test_a_spoiled_image_is_explained_by_its_problem(client):
    response = client.post(f"{ADDRESS}?explain=1", data=b"hello", content_type="image/png")
    assert problem_in(response) == "unsupported-image"
    assert send(client, PNG).status_code == 200
