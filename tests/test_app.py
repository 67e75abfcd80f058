"""The web app through Flask's test client; pages are parsed, not searched."""

import base64
import builtins
import contextlib
import csv
import hashlib
import inspect
import io
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import requests
from conftest import (
    MODEL,
    ROOT,
    copy_model,
    draw_lesion,
    encode,
    made_scores,
    upload,
    write_model,
)
from PIL import Image
from test_model import change_layer
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder

import skin_cancer_detection as scd
from app import create_app
from lesion_lens.model.decisions import VERDICTS, DecisionFacts, combine_views
from lesion_lens.model.engines import load_engine
from lesion_lens.model.errors import ModelFileError
from lesion_lens.model.files import (
    DEFAULT_MODEL_PATH,
    append_attributes,
    read_attributes,
    remedy_of,
)
from lesion_lens.model.images import read_image
from lesion_lens.model.outliers import FLAGGED_SHARE, OutlierDetector
from lesion_lens.model.turns import MAX_DECODES, MAX_WAITING, admission
from lesion_lens.model.views import Prediction, predict
from lesion_lens.model.wording import about_in_100, of_100, percent
from lesion_lens.training.calibration import conformal_thresholds
from lesion_lens.web.occlusion_map import strongest_region
from lesion_lens.web.pages import URGENCY, melanomas_called_benign


class Page(HTMLParser):
    """A parsed page: `tags`, a list of (name, attributes), and `text_of(id)`; no templates."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self, response):
        super().__init__()
        self.tags, self._open, self._texts = [], [], {}
        self.feed(response.get_data(as_text=True))

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self._open.append((tag, dict(attributes).get("id")))
        if not self._in_template():
            self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag, f"</{tag}> closes something else"

    def _in_template(self):
        return any(tag == "template" for tag, _ in self._open)

    def handle_data(self, data):
        if self._in_template():
            return
        for element_id in {None, *(identifier for _, identifier in self._open)}:
            self._texts[element_id] = self._texts.get(element_id, "") + data

    def text_of(self, element_id=None):
        return " ".join(self._texts.get(element_id, "").split())

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def probabilities_of(response):
    """The seven numbers of a results page, in the order of the classes."""
    values = {data["id"]: float(data["value"]) for data in Page(response).all("data")}
    return np.array([values[code] for code in scd.CODES])


# --- The pages -------------------------------------------------------------------------------


def test_the_upload_page_has_the_form(client):
    page = Page(client.get("/"))
    form = page.all("form")[0]
    assert (form["action"], form["method"]) == ("/showresult", "post")
    assert form["enctype"] == "multipart/form-data"
    assert {field["name"] for field in page.all("input")} == {"pic"}
    assert page.text_of("error") == ""


def test_the_upload_page_says_what_images_mean_anything(client):
    page = Page(client.get("/"))
    text = page.text_of()
    assert "Only dermatoscope images mean anything here" in text
    assert "not a diagnosis" in text
    assert "At most 50 images, each of at most 20 MB and 25 million pixels" in text
    drawings = [image["src"] for image in page.all("img")]
    assert {"/static/dermatoscope-image.svg", "/static/skin-photograph.svg"} <= set(drawings)


def test_the_results_page(client):
    response = upload(client, encode(draw_lesion()))
    assert response.status_code == 200
    page = Page(response)
    probabilities = probabilities_of(response)
    likely = scd.CLASSES[probabilities.argmax()]
    assert page.text_of("likely") == likely.name
    assert likely.risk in page.text_of("risk")
    cancer = sum(probabilities[scd.CODES.index(code)] for code in ("akiec", "bcc", "mel"))
    assert page.text_of("cancer") == percent(cancer)
    assert likely.description.split(".")[0] in page.text_of()
    links = [link.get("href") for link in page.all("a")]
    assert {f"https://dermnetnz.org/topics/{topic}" for topic in likely.sources} <= set(links)
    for lesion_class in scd.CLASSES:
        assert lesion_class.name in page.text_of()


@pytest.mark.parametrize("temperature", [0.5, 3])
def test_the_bars_are_the_eight_views_with_the_second_temperature(temperature, tmp_path):
    facts = DecisionFacts.from_attributes(read_attributes(MODEL))
    facts = replace(facts, eight_view_temperature=temperature)
    path = copy_model(tmp_path, facts.to_attributes())
    shown = probabilities_of(upload(client_of(path), encode(draw_lesion())))
    views = predict(load_engine(path), scd.preprocess(draw_lesion())).views
    assert np.allclose(shown, combine_views(views, temperature), atol=1e-6)


def test_the_bars_are_as_long_as_their_numbers(client):
    response = upload(client, encode(draw_lesion()))
    bars = [rect for rect in Page(response).all("rect") if "x" not in rect]
    widths = [float(bar["width"]) for bar in bars]
    values = sorted((100 * probabilities_of(response)).tolist(), reverse=True)
    assert widths == pytest.approx(values, abs=0.01)


def test_the_results_page_sends_to_a_doctor_and_does_not_diagnose(client):
    text = Page(upload(client, encode(draw_lesion()))).text_of()
    assert "not a diagnosis" in text
    assert "dermatologist" in text
    for sign in ("growing", "changing", "bleeds", "not healing"):
        assert sign in text
    assert "diagnosed" not in text.lower()


def test_the_results_page_shows_the_image_upright_and_without_metadata(client):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "SECRET CAMERA"
    response = upload(client, encode(draw_lesion(), "JPEG", exif=exif))
    preview = Page(response).all("image")[0]["href"]
    data = base64.b64decode(preview.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as shown:
        assert shown.size == (450, 600)
        assert not shown.getexif()
    assert b"SECRET" not in data


def test_results_are_not_cached(client):
    assert upload(client, encode(draw_lesion())).headers["Cache-Control"] == "no-store"


def test_nothing_is_loaded_from_another_host(client):
    for response in (client.get("/"), upload(client, encode(draw_lesion()))):
        page = Page(response)
        sources = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
        links = [a["href"] for a in page.all("a")]
        for source in sources:
            assert source in links or source.startswith(("/", "data:", "#"))


def test_the_page_of_a_result_alone_leads_back_to_the_form(client):
    response = client.get("/showresult")
    assert (response.status_code, response.location) == (302, "/")


def test_unknown_pages_and_methods(client):
    assert client.get("/none").status_code == 404
    assert "no page at this address" in Page(client.get("/none")).text_of()
    wrong = client.post("/")
    assert wrong.status_code == 405
    assert "GET" in wrong.headers["Allow"]


@pytest.mark.parametrize("lesion_class", scd.CLASSES, ids=scd.CODES)
def test_every_class_has_its_facts(lesion_class):
    assert lesion_class.risk in ("malignant", "pre-malignant", "benign")
    assert 2 <= len(re.findall(r"[.](?: |$)", lesion_class.description)) <= 3
    assert lesion_class.next_steps
    assert lesion_class.sources


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [
        (0.5, 0, "50 %"),
        (0.994, 0, "99 %"),
        (0.996, 0, "over 99 %"),
        (0.995, 0, "over 99 %"),
        (0.005, 0, "under 1 %"),
        (1, 0, "over 99 %"),
        (0.9996, 1, "over 99.9 %"),
        (0.0004, 1, "under 0.1 %"),
        (0, 1, "under 0.1 %"),
        (0.001, 1, "0.1 %"),
    ],
)
def test_no_probability_is_written_as_certainty(share, decimals, text):
    assert percent(share, decimals) == text


def test_melanomas_called_benign():
    matrix = np.zeros((7, 7), int)
    matrix[6] = [1, 2, 3, 4, 5, 6, 4]  # akiec bcc bkl df nv vasc mel: 3 + 4 + 5 + 6 of 25
    assert melanomas_called_benign({"confusion_matrix": matrix.tolist()}) == 18 / 25
    assert melanomas_called_benign({"confusion_matrix": np.diag([1] * 6 + [0]).tolist()}) is None


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.995, "over 99"), (0.99, "99"), (0.5, "50"), (0.01, "1"), (0.005, "fewer than 1")],
)
def test_of_a_hundred_never_all_or_none(share, text):
    assert of_100(share) == text


def test_no_share_is_written_as_none_in_a_hundred():
    assert about_in_100(0.044) == "about 4 in 100"
    assert about_in_100(0.004) == "fewer than 1 in 100"


# --- What is said, and when ------------------------------------------------------------------

# With these, a class cannot be excluded at 0.1, and moles are six times as frequent as any other.
FACTS = DecisionFacts(1.0, (0.1, 0.1, 0.1, 0.05, 0.6, 0.02, 0.03), 0.1, (0.1,) * 7, ())
LIKE, UNLIKE = (OutlierDetector(np.zeros((7, 7)), np.eye(7), threshold) for threshold in (1e9, 0))
# The identifiers of whatever stands on some result pages only.
SAID = (
    "unlike", "inconclusive", "low-risk", "not-low-risk", "flagged", "not-harmless", "left-out",
)  # fmt: skip


def client_of(path):
    return create_app({"MODEL_PATH": path}).test_client()


@pytest.fixture
def result_of(tmp_path):
    """Give the page of a result with these probabilities; the other classes share the rest."""

    def result(decision_facts=FACTS, likeness=LIKE, scores=None, **shares):
        rest = (1 - sum(shares.values())) / (len(scd.CODES) - len(shares))
        attributes = {}
        for facts in filter(None, (decision_facts, likeness)):
            attributes |= facts.to_attributes()
        path = write_model(
            tmp_path,
            [shares.get(code, rest) for code in scd.CODES],
            {"test": scores or made_scores()},
            attributes,
        )
        response = upload(client_of(path), encode(draw_lesion()))
        assert response.status_code == 200
        return Page(response)

    return result


def said_on(page):
    return {name for name in SAID if page.text_of(name)}


def headline_of(page):
    return page.text_of("headline")


def test_low_risk(result_of):
    page = result_of(nv=0.98)
    assert said_on(page) == {"low-risk", "not-harmless"}
    assert headline_of(page) == VERDICTS["low risk"]
    assert "does not replace a doctor" in page.text_of("low-risk")


def test_low_risk_says_how_many_it_misses_and_gives_no_other_number(result_of):
    page = result_of(nv=0.98)
    assert "misses about 4 in 100" in page.text_of("low-risk")
    assert "between 2 and 7" in page.text_of("low-risk")
    assert page.text_of("not-harmless").endswith("does not mean that your spot is harmless.")


def test_low_risk_without_cancers_to_try_it_on_gives_no_number(result_of):
    scores = made_scores()
    scores["decisions"]["low_risk"]["statement"]["missed_per_100"] = None
    said = result_of(nv=0.98, scores=scores).text_of("low-risk")
    assert said == "Low risk is not no risk. This does not replace a doctor."


def test_benign_but_not_low_risk_does_not_reassure(result_of):
    page = result_of(nv=0.82, akiec=0.09, mel=0.03)
    assert said_on(page) == {"not-low-risk", "not-harmless"}
    assert headline_of(page) == VERDICTS["see a doctor"]
    assert "not sure enough to call the risk low" in page.text_of("not-low-risk")


def test_a_benign_answer_does_not_reassure(result_of):
    said = result_of(nv=0.82, akiec=0.09, mel=0.03).text_of("not-harmless")
    assert "does not mean that your spot is harmless" in said
    assert "it took 40 for a benign class" in said


def test_malignant(result_of):
    page = result_of(mel=0.98)
    assert said_on(page) == set()
    assert headline_of(page) == VERDICTS["see a doctor"]
    assert page.text_of("risk") == "malignant"
    assert "probability of 98 %" in page.text_of()


def test_inconclusive(result_of):
    page = result_of(nv=0.85, bcc=0.12)
    assert said_on(page) == {"inconclusive", "not-harmless"}
    assert headline_of(page) == VERDICTS["inconclusive"]
    assert "cannot tell benign kinds from malignant ones" in page.text_of("inconclusive")
    assert "either may be right" in page.text_of("inconclusive")


def test_what_cannot_be_excluded(result_of):
    said = result_of(bcc=0.12, nv=0.85).text_of("not-excluded")
    assert said == (
        "Cannot be excluded: Melanocytic naevus (mole) (benign); Basal cell carcinoma (malignant)."
    )


def test_an_empty_set_is_inconclusive_for_another_reason(result_of):
    page = result_of(replace(FACTS, conformal_thresholds=(0.99,) * 7), nv=0.97)
    assert "None of the seven classes fits this image well" in page.text_of("inconclusive")
    assert page.text_of("the-list").startswith("No class is as likely here")
    assert page.text_of("not-excluded") == ""


def test_flagged(result_of):
    page = result_of(nv=0.92, mel=0.07)
    assert said_on(page) == {"flagged", "not-low-risk", "not-harmless"}
    assert headline_of(page) == VERDICTS["see a doctor"]
    assert page.text_of("flagged").startswith("Worth a thought: Melanoma (malignant)")
    assert "if all seven were equally frequent" in page.text_of("flagged")
    assert page.text_of("likely") == "Melanocytic naevus (mole)"


def test_a_flagged_benign_class_alarms_nobody(result_of):
    page = result_of(nv=0.92, vasc=0.07)
    assert said_on(page) == {"flagged", "low-risk", "not-harmless"}
    assert headline_of(page) == VERDICTS["low risk"]


def test_a_list_without_the_most_likely_class_says_why(result_of):
    facts = replace(FACTS, conformal_thresholds=(0.1,) * 4 + (0.9,) + (0.1,) * 2)
    why = "The most likely class is not among them"
    assert why in result_of(facts, nv=0.7, bcc=0.28).text_of()
    assert why not in result_of(nv=0.7, bcc=0.28).text_of()


def test_classes_that_were_too_rare_are_named(result_of):
    words = "For Dermatofibroma nothing can be promised: there were too few to learn from."
    assert words in result_of(replace(FACTS, pooled_classes=("df",)), nv=0.98).text_of()
    assert "too few to learn from" not in result_of(nv=0.98).text_of()


def test_the_numbers_in_the_pages_words_are_those_of_the_code(result_of):
    level = inspect.signature(conformal_thresholds).parameters["level"].default
    assert f"For {100 * level:.0f} of 100 spots" in result_of(nv=0.98).text_of("the-list")
    share = f"About 1 in {100 / FLAGGED_SHARE:.0f} images"
    assert share in result_of(likeness=UNLIKE, nv=0.98).text_of("unlike")


def test_a_picture_unlike_the_training_images_is_warned_of_and_classified(result_of):
    page = result_of(likeness=UNLIKE, nv=0.98)
    assert said_on(page) == {"unlike", "not-harmless"}
    assert headline_of(page) == VERDICTS["unlike"]
    assert "The result below may then mean nothing" in page.text_of("unlike")
    assert "If yours is one, a doctor should look at this spot" in page.text_of("unlike")
    assert page.text_of("likely") == "Melanocytic naevus (mole)"


@pytest.mark.parametrize(
    "image",
    [
        Image.new("RGB", (600, 450), "white"),
        Image.new("RGB", (600, 450)),
        Image.merge("RGB", [Image.effect_noise((28, 28), 90) for _ in range(3)]),
    ],
    ids=["white", "black", "noise"],
)
def test_the_committed_model_knows_that_this_is_no_lesion(client, image):
    response = upload(client, encode(image))
    assert response.status_code == 200
    assert "unlike" in said_on(Page(response))


def test_without_decision_facts_what_needs_them_is_left_out(result_of):
    page = result_of(decision_facts=None, nv=0.98)
    assert said_on(page) == {"left-out", "not-harmless"}
    assert page.text_of("not-excluded") == page.text_of("the-list") == ""
    assert headline_of(page) == VERDICTS["unknown"]


def test_without_decision_facts_the_warning_stays(result_of):
    page = result_of(decision_facts=None, likeness=UNLIKE, mel=0.98)
    assert said_on(page) == {"unlike", "left-out"}


def test_without_a_likeness_nothing_is_low_risk(result_of):
    page = result_of(likeness=None, nv=0.98)
    assert said_on(page) == {"left-out", "not-harmless"}
    assert page.text_of("not-excluded").endswith(": Melanocytic naevus (mole) (benign).")


def test_the_map_is_drawn_where_covering_counts(client, monkeypatch):
    occlusion = np.zeros((7, 7), np.float32)
    occlusion[1, 5], occlusion[4, 2], occlusion[6, 6], occlusion[3, 3] = 0.4, 0.1, 0.01, -0.5
    views = np.full((8, 7), 1 / 7, np.float32)
    monkeypatch.setattr(
        "lesion_lens.model.classifier.predict", lambda *_: Prediction(views, occlusion)
    )
    page = Page(upload(client, encode(draw_lesion())))
    patches = {
        (int(rect["y"]), int(rect["x"])): float(rect["opacity"])
        for rect in page.all("rect")
        if "x" in rect
    }
    assert patches == {(1, 5): 0.6, (4, 2): 0.15}
    assert page.text_of("weight") == "Most weight: upper right."


def test_a_map_without_a_peak_says_so(result_of):
    page = result_of(nv=0.98)  # whatever is covered
    assert page.text_of("weight") == "No part stands out."
    assert not any("x" in rect for rect in page.all("rect"))


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [
        (0, 1, "upper left"),
        (1, 3, "top"),
        (1, 5, "upper right"),
        (2, 0, "left"),
        (2, 4, "centre"),
        (4, 6, "right"),
        (5, 1, "lower left"),
        (6, 2, "bottom"),
        (5, 5, "lower right"),
    ],
)
def test_the_map_in_words(row, column, words):
    occlusion = np.zeros((7, 7))
    occlusion[row, column] = 0.02
    assert strongest_region(occlusion) == words
    assert strongest_region(0.99 * occlusion) is None


def test_what_usually_happens_next_does_not_contradict_the_headline(result_of):
    first = "First a doctor has to make sure that it is one"
    assert first in result_of(nv=0.82, akiec=0.09, mel=0.03).text_of("next-steps")
    assert first in result_of(likeness=UNLIKE, nv=0.98).text_of("next-steps")
    naevus = scd.CLASSES[scd.CODES.index("nv")]
    assert result_of(nv=0.98).text_of("next-steps") == naevus.next_steps


def test_how_often_the_class_is_wrong_both_ways(result_of):
    scores = made_scores()
    scores["eight_views"]["per_class"]["nv"] = {
        "precision": {"value": 0.874},
        "sensitivity": {"value": 0.93},
    }
    said = result_of(nv=0.98, scores=scores).text_of("how-wrong")
    assert "Of 100 test images that it named so, 87 really showed one." in said
    assert "Of 100 test images that really showed one, it found 93." in said


def test_a_class_without_test_images_has_no_such_figure(result_of):
    scores = made_scores()
    nothing = {"precision": {"value": None}, "sensitivity": {"value": None}}
    scores["eight_views"]["per_class"]["df"] = nothing
    said = result_of(df=0.98, scores=scores).text_of("how-wrong")
    assert "nobody knows how often that is right" in said
    assert "nobody knows how many it finds" in said


@pytest.mark.parametrize("shares", [{"nv": 0.98}, {"mel": 0.98}, {"nv": 0.85, "bcc": 0.12}])
def test_the_page_goes_from_plain_to_technical(result_of, shares):
    page = result_of(**shares)
    order = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    asked = ["headline", "likely", "upload-image", "description", "next-steps"]
    asked += ["how-wrong", "mel", "not-excluded", "how-good", "pixels", "model-sha256"]
    assert [name for name in order if name in asked and name != "mel"] == [
        name for name in asked if name != "mel"
    ]
    assert order.index("how-wrong") < order.index("mel") < order.index("not-excluded")


def test_which_model_made_it(tmp_path):
    facts = {"test": made_scores(), "data_sha256": "0123456789abcdef" * 4}
    path = write_model(tmp_path, EVEN, facts)
    page = Page(upload(client_of(path), encode(draw_lesion())))
    assert page.text_of("model-sha256") == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert page.text_of("data-sha256") == "0123456789ab"
    assert "/model" in [link.get("href") for link in page.all("a")]


def test_the_pixels_are_those_that_the_model_sees(client):
    page = Page(upload(client, encode(draw_lesion())))
    address = next(image["src"] for image in page.all("img") if image.get("id") == "pixels")
    with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as shown:
        assert np.array_equal(np.asarray(shown), scd.preprocess(draw_lesion()))


def test_every_page_is_small(client):
    """With all that it loads, and without what comes from the user's own image."""
    files = ("style.css", "icon.svg", "register.js", "upload.js")
    loaded = sum(len(client.get(f"/static/{name}").data) for name in files)
    for name in ("dermatoscope-image.svg", "skin-photograph.svg"):
        loaded += len(client.get(f"/static/{name}").data)
    pages = [client.get(path) for path in ("/", "/model", "/api/v1/docs", "/privacy", "/offline")]
    pages.append(upload(client, encode(draw_lesion())))
    for page in pages:
        own = re.sub(r"data:[a-z/]+;base64,[A-Za-z0-9+/=]+", "", page.get_data(as_text=True))
        assert len(own.encode()) + loaded < 100_000


def grade(text):
    """The grade of a US school, about age less five, by Flesch & Kincaid (1975)."""
    words = re.findall(r"[a-z’]+", text.lower())
    syllables = sum(
        max(1, len(re.findall(r"[aeiouy]+", re.sub(r"(?<=[^l])e(s|d)?$", "", word))))
        for word in words
    )
    sentences = len(re.findall(r"[.:;](?: |$)", text))
    return 0.39 * len(words) / sentences + 11.8 * syllables / len(words) - 15.59


def test_what_is_said_of_a_class_is_for_readers_of_twelve():
    for lesion_class in scd.CLASSES:
        assert grade(f"{lesion_class.description} {lesion_class.next_steps}") < 7


@pytest.mark.parametrize(
    ("likeness", "shares"),
    [
        (LIKE, {"nv": 0.98}),
        (LIKE, {"nv": 0.92, "mel": 0.07}),
        (LIKE, {"nv": 0.85, "bcc": 0.12}),
        (UNLIKE, {"mel": 0.98}),
        (None, {"df": 0.98}),
    ],
)
def test_the_page_is_for_readers_of_twelve(result_of, likeness, shares):
    page = result_of(likeness=likeness, **shares)
    told = (*SAID, "headline", "description", "next-steps", "how-wrong", "how-good", "the-list")
    assert grade(" ".join(page.text_of(name) for name in told)) < 7


# --- What is said of the model ---------------------------------------------------------------

EVEN = [1 / 7] * 7


def test_the_scores_are_those_of_eight_views(tmp_path):
    path = write_model(tmp_path, EVEN, {"test": made_scores()})
    said = Page(client_of(path).get("/")).text_of("how-good")
    assert "eight times" in said
    assert "2,345 images" in said
    assert "the right class for about 81 in 100" in said
    assert "Of images of melanomas, it named about 56 in 100 rightly" in said


def test_scores_without_melanomas_leave_them_out(tmp_path):
    scores = made_scores()
    scores["eight_views"]["per_class"]["mel"]["sensitivity"]["value"] = None
    scores["eight_views"]["confusion_matrix"][6] = [0] * 7
    client = client_of(write_model(tmp_path, EVEN, {"test": scores}))
    assert "images of melanomas, it named" not in Page(client.get("/")).text_of("how-good")
    assert "Of 100 images" not in Page(upload(client, encode(draw_lesion()))).text_of()


def test_without_scores_in_the_file_the_page_says_so(tmp_path):
    client = client_of(write_model(tmp_path, EVEN))
    assert "does not say how good the model is" in Page(client.get("/")).text_of()
    assert upload(client, encode(draw_lesion())).status_code == 200


def test_a_model_of_other_images_does_not_claim_to_be_of_ham10000(client, tmp_path):
    assert "HAM10000" in Page(client.get("/")).text_of()
    facts = {"test": made_scores(), "data": "images of one's own"}
    page = Page(client_of(write_model(tmp_path, EVEN, facts)).get("/"))
    assert "HAM10000" not in page.text_of()
    assert "specialist clinics" not in page.text_of()


def test_inflated_scores_are_called_so(tmp_path):
    facts = {"test": made_scores(), "rows_may_share_lesions": True}
    page = Page(client_of(write_model(tmp_path, EVEN, facts)).get("/"))
    assert "these figures are too good" in page.text_of()


# --- What users send -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16"])
def test_png_modes_are_classified(client, mode):
    image = draw_lesion().convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    response = upload(client, encode(image))
    assert response.status_code == 200
    assert probabilities_of(response).sum() == pytest.approx(1, abs=1e-5)


JPEG = encode(Image.effect_noise((64, 64), 80), "JPEG")


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        (b"", 400, "The file is empty"),
        (b"hello", 415, "not an image that can be read here"),
        (encode(draw_lesion(), "PPM"), 415, "Save it as JPEG, PNG"),
        (JPEG[: len(JPEG) // 2], 422, "damaged or incomplete"),
        (encode(Image.new("1", (5001, 5000))), 413, "25 million pixels"),
        (encode(Image.new("1", (20_001, 1))), 413, "20,000 on one side"),
        (b"\x00" * 21_000_000, 413, "More than 20 MB were sent"),
    ],
)
def test_a_bad_upload_gets_the_form_with_one_sentence(client, data, status, sentence):
    response = upload(client, data)
    page = Page(response)
    assert response.status_code == status
    assert sentence in page.text_of("error")
    assert page.all("form")


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"pic": ""},
        {"pic": "text instead of a file"},
        {"picture": (io.BytesIO(JPEG), "a.jpg")},
        {"pic": (io.BytesIO(b""), "")},
    ],
)
def test_no_file_is_a_400(client, form):
    response = client.post("/showresult", data=form, content_type="multipart/form-data")
    assert response.status_code == 400
    assert "No image was chosen" in Page(response).text_of("error")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"garbage", "multipart/form-data; boundary=x"),
        (b"garbage", "multipart/form-data"),
        (
            b"--x\r\nContent-Disposition: form-data; name=pic; filename=a\r\n\r\nabc",
            "multipart/form-data; boundary=x",
        ),
        (JPEG, "image/jpeg"),
        (b"{}", "application/json"),
        (b"--x\r\n" + b"a" * 100_000, "multipart/form-data; boundary=x"),
        (b"pic=" + b"a" * 600_000, "application/x-www-form-urlencoded"),
    ],
)  # fmt: skip
def test_a_malformed_form_is_never_a_500(client, body, content_type):
    response = client.post("/showresult", data=body, content_type=content_type)
    assert 400 <= response.status_code < 500
    assert Page(response).text_of("error")


@pytest.mark.parametrize("parts", [1, 1100], ids=["one large", "very many"])
def test_a_form_of_texts_is_answered_by_a_real_server(app, parts):
    """Werkzeug gives up such a form half read; whoever then waits for the rest waits for ever."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        response = requests.post(
            f"http://127.0.0.1:{server.server_port}/showresult",
            files={f"pic{i}": (None, "a" * (1_000_000 // parts)) for i in range(parts)},
            timeout=20,
        )
    finally:
        server.shutdown()
        thread.join()
    assert response.status_code == 413
    assert "The form holds too much, or more than images" in response.text


def test_under_a_prefix_the_upload_page_comes_back_too(client):
    response = client.post(
        "/showresult",
        data={"pic": (io.BytesIO(b"\x00" * 21_000_000), "a.png")},
        base_url="http://x/skin",
    )
    assert response.status_code == 413
    assert "More than 20 MB" in Page(response).text_of("error")


def test_a_file_of_just_as_much_as_is_allowed(client):
    data = encode(draw_lesion())
    assert upload(client, data + b"\x00" * (20_000_000 - len(data))).status_code == 200


def test_a_file_name_cannot_harm(client):
    response = upload(client, encode(draw_lesion()), name="../<script>alert(1)</script>.png")
    assert response.status_code == 200
    assert "<script>alert" not in response.get_data(as_text=True)


# --- Several images --------------------------------------------------------------------------


def upload_several(client, *files):
    form = {"pic": [(io.BytesIO(data), name) for name, data in files]}
    return client.post("/showresult", data=form, content_type="multipart/form-data")


def rows_of(response):
    """The table of results as its CSV."""
    link = next(a for a in Page(response).all("a") if a.get("id") == "csv")
    text = base64.b64decode(link["href"].split(",", 1)[1]).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_several_images_get_one_table(client):
    files = [("a.png", encode(draw_lesion())), ("b.png", encode(draw_lesion((300, 300))))]
    response = upload_several(client, *files)
    assert response.status_code == 200
    page = Page(response)
    assert page.text_of("batch-summary") == "2 of 2 images could be classified."
    alone = probabilities_of(upload(client, files[1][1]))
    row = rows_of(response)[1]
    assert row["file"] == "b.png"
    assert [float(row[code]) for code in scd.CODES] == pytest.approx(alone, abs=1e-6)
    assert scd.CLASSES[alone.argmax()].name in page.text_of()


def test_every_verdict_has_its_urgency():
    assert set(URGENCY) == set(VERDICTS)


def test_the_table_sorts_its_results_by_urgency(client):
    response = upload_several(client, *[("a.png", encode(draw_lesion()))] * 2)
    cells = [td for td in Page(response).all("td") if td["data-label"] == "Result"]
    said = [URGENCY.index(row["verdict"]) for row in rows_of(response)]
    assert [int(cell["data-value"]) for cell in cells] == said


def test_a_spoiled_file_is_named_in_its_own_row_and_the_rest_are_classified(client):
    good = encode(draw_lesion())
    response = upload_several(client, ("a.png", good), ("b.png", b"hello"), ("c.png", good))
    assert response.status_code == 200
    assert Page(response).text_of("batch-summary") == "2 of 3 images could be classified."
    rows = rows_of(response)
    assert [row["file"] for row in rows] == ["a.png", "b.png", "c.png"]
    assert "not an image that can be read" in rows[1]["error"]
    assert rows[0]["error"] == rows[1]["most_likely"] == ""


def test_several_of_which_none_is_usable(client):
    response = upload_several(client, ("a.png", b"hello"), ("b.png", b""))
    assert response.status_code == 422
    assert "The file is empty" in Page(response).text_of()


def test_fifty_images_pass_and_fifty_one_do_not(client):
    file = ("a.png", encode(draw_lesion((28, 28))))
    assert upload_several(client, *[file] * 50).status_code == 200
    refused = upload_several(client, *[file] * 51)
    assert refused.status_code == 400
    assert Page(refused).text_of("error") == ("More than 50 images were sent. Send fewer at once.")


def test_the_images_of_one_request_are_decoded_one_at_a_time(client, monkeypatch):
    held = []

    def one_at_a_time(data, real=read_image):
        assert not any(image() for image in held), "an image is kept while the next is decoded"
        image = real(data)
        held.append(weakref.ref(image))
        return image

    monkeypatch.setattr("lesion_lens.model.classifier.read_image", one_at_a_time)
    upload_several(client, *[("a.png", encode(draw_lesion()))] * 4)
    assert len(held) == 4


def test_when_too_many_wait_the_next_is_turned_away(client):
    with contextlib.ExitStack() as crowd:
        for _ in range(MAX_DECODES + MAX_WAITING):
            crowd.enter_context(admission())
        response = upload(client, encode(draw_lesion()))
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert Page(response).text_of("error").startswith("Too many images are waiting")
    assert upload(client, encode(draw_lesion())).status_code == 200


def test_at_most_two_images_are_decoded_at_once(app, decodes):
    data = encode(draw_lesion())
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: upload(app.test_client(), data).status_code, range(16))
    assert set(answers) == {200}
    assert decodes.most == MAX_DECODES == 2


def test_a_form_is_read_before_its_sender_takes_a_place(client):
    with contextlib.ExitStack() as crowd:
        for _ in range(MAX_DECODES + MAX_WAITING):
            crowd.enter_context(admission())
        assert client.post("/showresult").status_code == 400


# --- Nothing is kept -------------------------------------------------------------------------


def test_five_megabytes_touch_no_disk(client, monkeypatch):
    data = encode(draw_lesion()) + b"\x00" * 5_000_000  # what follows a PNG's end is ignored
    form = {"pic": (io.BytesIO(data), "lesion.png")}
    environ = EnvironBuilder(method="POST", data=form).get_environ()
    body, content_type = environ["wsgi.input"].read(), environ["CONTENT_TYPE"]
    upload(client, encode(draw_lesion()))  # templates and model are read by now

    def refuse(*_, **__):
        raise AssertionError("a file was opened for writing")

    def open_to_read(file, mode="r", *arguments, real=builtins.open, **options):
        assert not set(mode) & set("wax+"), f"{file} was opened for writing"
        return real(file, mode, *arguments, **options)

    def os_open(path, flags, *arguments, real=os.open, **options):
        assert not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT), f"{path} opened for writing"
        return real(path, flags, *arguments, **options)

    for name in (
        "TemporaryFile",
        "NamedTemporaryFile",
        "SpooledTemporaryFile",
        "mkstemp",
        "mkdtemp",
    ):
        monkeypatch.setattr(tempfile, name, refuse)
    monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", refuse)
    monkeypatch.setattr(builtins, "open", open_to_read)
    monkeypatch.setattr(io, "open", open_to_read)
    monkeypatch.setattr(os, "open", os_open)
    response = client.post("/showresult", data=body, content_type=content_type)
    assert response.status_code == 200


def test_nothing_of_an_upload_is_logged(client, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    upload(client, encode(draw_lesion()), name="private-name.png")
    upload(client, b"private content", name="private-name.png")
    output = capfd.readouterr()
    assert "private" not in caplog.text + output.out + output.err


# --- Starting --------------------------------------------------------------------------------


def test_importing_the_app_imports_no_tensorflow():
    script = "import sys, app; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_readyz_is_503_until_the_model_is_loaded(monkeypatch):
    may_load, real = threading.Event(), load_engine

    def slow(path):
        may_load.wait()
        return real(path)

    monkeypatch.setattr("lesion_lens.model.classifier.load_engine", slow)
    client = create_app().test_client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    may_load.set()
    end = time.monotonic() + 60
    while client.get("/readyz").status_code == 503:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert client.get("/readyz").status_code == 200


def test_the_model_is_loaded_once_however_many_ask(monkeypatch):
    loads, real = [], load_engine
    monkeypatch.setattr(
        "lesion_lens.model.classifier.load_engine", lambda path: loads.append(path) or real(path)
    )
    app = create_app()
    statuses = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(
                upload(app.test_client(), encode(draw_lesion())).status_code
            )
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 8
    assert len(loads) == 1


def test_a_model_file_that_breaks_after_the_start_is_a_503(tmp_path):
    path = copy_model(tmp_path, {})
    client = client_of(path)
    path.unlink()
    response = upload(client, encode(draw_lesion()))
    assert response.status_code == 503
    assert Page(response).text_of("error").startswith("The model cannot be used at the moment")


PYTHON, FLASK = ["app.py"], ["-m", "flask", "--app", "app", "run"]
GUNICORN = pytest.param(
    ["-m", "gunicorn", "app:app"],
    marks=pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
    id="gunicorn",
)


def start(command, **environment):
    """Start a server that cannot start; returns its code and what it said."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"PORT": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("name", ["none.h5", "none.tflite"])
@pytest.mark.parametrize(
    "command", [pytest.param(PYTHON, id="python"), pytest.param(FLASK, id="flask"), GUNICORN]
)
def test_a_bad_model_file_stops_the_start_with_its_sentence(command, name, tmp_path):
    code, said = start(command, MODEL_PATH=str(tmp_path / name))
    assert code == 3
    assert f"{tmp_path / name} is missing: {remedy_of(tmp_path / name)}" in said


@pytest.mark.parametrize("command", [pytest.param(PYTHON, id="python"), GUNICORN])
def test_so_does_one_of_which_only_keras_finds_out(command, tmp_path):
    path = shutil.copy(DEFAULT_MODEL_PATH, tmp_path / "m.h5")
    change_layer(path, -1, activation="linear")
    code, said = start(command, MODEL_PATH=str(path))
    assert code == 3
    assert f"{path} does not give seven probabilities: run `python train.py`" in said


@pytest.mark.parametrize("command", [pytest.param(PYTHON, id="python"), GUNICORN])
def test_so_does_one_of_which_only_litert_finds_out(command, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(b"no network")
    append_attributes(path, {"class_order": ",".join(scd.CODES)})
    code, said = start(command, MODEL_PATH=str(path))
    assert code == 3
    assert f"{path} cannot be run: run `python train.py --export {path}`" in said


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        ("decision_facts", {"decision_facts": "{}"}),
        ("decision_facts", {"decision_facts": "not JSON"}),
        ("decision_facts", {"decision_facts": 3}),
        ("likeness", {"likeness_threshold": 1.0}),
        ("likeness", LIKE.to_attributes() | {"likeness_covariance": -np.eye(7)}),
    ],
)
def test_spoiled_attributes_are_refused(name, attributes, tmp_path):
    path = write_model(tmp_path, EVEN, attributes=attributes)
    with pytest.raises(ModelFileError) as caught:
        create_app({"MODEL_PATH": path})
    assert str(caught.value) == (f"{path} holds spoiled {name} attributes: {remedy_of(path)}")


def test_spoiled_attributes_stop_the_start(tmp_path):
    path = write_model(tmp_path, EVEN, attributes={"decision_facts": "{}"})
    code, said = start(PYTHON, MODEL_PATH=str(path))
    assert code == 3
    assert f"{path} holds spoiled decision_facts attributes: {remedy_of(path)}" in said


@pytest.mark.parametrize("port", ["abc", "70000"])
def test_a_port_that_is_none_is_named(port):
    code, said = start(PYTHON, PORT=port)
    assert code == 1
    assert f"PORT is '{port}'" in said
