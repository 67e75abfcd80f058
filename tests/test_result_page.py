"""The page of a result: what is said of an image, and when."""

import base64
import hashlib
import inspect
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import skin_cancer_detection as scd
from lesion_lens.model.decisions import VERDICTS, DecisionFacts, combine_views
from lesion_lens.model.engines import load_engine
from lesion_lens.model.files import read_attributes
from lesion_lens.model.outliers import FLAGGED_SHARE
from lesion_lens.model.views import Prediction, predict
from lesion_lens.model.wording import percent
from lesion_lens.training.calibration import conformal_thresholds
from lesion_lens.web.occlusion_map import strongest_region
from tests.support.drawings import draw_lesion, encode
from tests.support.models import (
    FACTS,
    LIKE,
    MODEL,
    UNLIKE,
    attributes_of,
    copy_model,
    made_scores,
    shares_of,
    write_model,
)
from tests.support.pages import client_of, page_of, probabilities_of, text_of, upload

# --- Of the committed model ------------------------------------------------------------------


def test_the_results_page(client):
    response = upload(client, encode(draw_lesion()))
    assert response.status_code == 200
    page = page_of(response)
    probabilities = probabilities_of(response)
    likely = scd.CLASSES[probabilities.argmax()]
    assert text_of(page, "#likely") == likely.name
    assert likely.risk in text_of(page, "#risk")
    cancer = sum(probabilities[scd.CODES.index(code)] for code in ("akiec", "bcc", "mel"))
    assert text_of(page, "#cancer") == percent(cancer)
    assert likely.description.split(".")[0] in text_of(page)
    links = [link["href"] for link in page.select("a")]
    assert {f"https://dermnetnz.org/topics/{topic}" for topic in likely.sources} <= set(links)
    for lesion_class in scd.CLASSES:
        assert lesion_class.name in text_of(page)


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
    widths = [float(bar["width"]) for bar in page_of(response).select(".bars rect")]
    values = sorted((100 * probabilities_of(response)).tolist(), reverse=True)
    assert widths == pytest.approx(values, abs=0.01)


def test_the_results_page_sends_to_a_doctor_and_does_not_diagnose(client):
    text = text_of(page_of(upload(client, encode(draw_lesion()))))
    assert "not a diagnosis" in text
    assert "dermatologist" in text
    for sign in ("growing", "changing", "bleeds", "not healing"):
        assert sign in text
    assert "diagnosed" not in text.lower()


def test_the_results_page_shows_the_image_upright_and_without_metadata(client):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "SECRET CAMERA"
    response = upload(client, encode(draw_lesion(), "JPEG", exif=exif))
    preview = page_of(response).select_one("image")["href"]
    data = base64.b64decode(preview.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as shown:
        assert shown.size == (450, 600)
        assert not shown.getexif()
    assert b"SECRET" not in data


def test_the_page_of_a_result_alone_leads_back_to_the_form(client):
    response = client.get("/showresult")
    assert (response.status_code, response.location) == (302, "/")


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
    assert "unlike" in said_on(page_of(response))


def test_the_pixels_are_those_that_the_model_sees(client):
    page = page_of(upload(client, encode(draw_lesion())))
    address = page.select_one("#pixels")["src"]
    with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as shown:
        assert np.array_equal(np.asarray(shown), scd.preprocess(draw_lesion()))


# --- Of made models --------------------------------------------------------------------------


# The identifiers of whatever stands on some result pages only.
SAID = (
    "unlike", "inconclusive", "low-risk", "not-low-risk", "flagged", "not-harmless", "left-out",
)  # fmt: skip


@pytest.fixture
def result_of(tmp_path):
    """Give the page of a result with these probabilities; the other classes share the rest."""

    def result(decision_facts=FACTS, likeness=LIKE, scores=None, **shares):
        path = write_model(
            tmp_path,
            shares_of(**shares),
            {"test": scores or made_scores()},
            attributes_of(decision_facts, likeness),
        )
        response = upload(client_of(path), encode(draw_lesion()))
        assert response.status_code == 200
        return page_of(response)

    return result


def said_on(page):
    return {name for name in SAID if text_of(page, f"#{name}")}


def headline_of(page):
    return text_of(page, "#headline")


def test_low_risk(result_of):
    page = result_of(nv=0.98)
    assert said_on(page) == {"low-risk", "not-harmless"}
    assert headline_of(page) == VERDICTS["low risk"]
    assert "does not replace a doctor" in text_of(page, "#low-risk")


def test_low_risk_says_how_many_it_misses_and_gives_no_other_number(result_of):
    page = result_of(nv=0.98)
    assert "misses about 4 in 100" in text_of(page, "#low-risk")
    assert "between 2 and 7" in text_of(page, "#low-risk")
    assert text_of(page, "#not-harmless").endswith("does not mean that your spot is harmless.")


def test_low_risk_without_cancers_to_try_it_on_gives_no_number(result_of):
    scores = made_scores()
    scores["decisions"]["low_risk"]["statement"]["missed_per_100"] = None
    said = text_of(result_of(nv=0.98, scores=scores), "#low-risk")
    assert said == "Low risk is not no risk. This does not replace a doctor."


def test_benign_but_not_low_risk_does_not_reassure(result_of):
    page = result_of(nv=0.82, akiec=0.09, mel=0.03)
    assert said_on(page) == {"not-low-risk", "not-harmless"}
    assert headline_of(page) == VERDICTS["see a doctor"]
    assert "not sure enough to call the risk low" in text_of(page, "#not-low-risk")


def test_a_benign_answer_does_not_reassure(result_of):
    said = text_of(result_of(nv=0.82, akiec=0.09, mel=0.03), "#not-harmless")
    assert "does not mean that your spot is harmless" in said
    assert "it took 40 for a benign class" in said


def test_malignant(result_of):
    page = result_of(mel=0.98)
    assert said_on(page) == set()
    assert headline_of(page) == VERDICTS["see a doctor"]
    assert text_of(page, "#risk") == "malignant"
    assert "probability of 98 %" in text_of(page)


def test_inconclusive(result_of):
    page = result_of(nv=0.85, bcc=0.12)
    assert said_on(page) == {"inconclusive", "not-harmless"}
    assert headline_of(page) == VERDICTS["inconclusive"]
    assert "cannot tell benign kinds from malignant ones" in text_of(page, "#inconclusive")
    assert "either may be right" in text_of(page, "#inconclusive")


def test_what_cannot_be_excluded(result_of):
    said = text_of(result_of(bcc=0.12, nv=0.85), "#not-excluded")
    assert said == (
        "Cannot be excluded: Melanocytic naevus (mole) (benign); Basal cell carcinoma (malignant)."
    )


def test_an_empty_set_is_inconclusive_for_another_reason(result_of):
    page = result_of(replace(FACTS, conformal_thresholds=(0.99,) * 7), nv=0.97)
    assert "None of the seven classes fits this image well" in text_of(page, "#inconclusive")
    assert text_of(page, "#the-list").startswith("No class is as likely here")
    assert text_of(page, "#not-excluded") == ""


def test_flagged(result_of):
    page = result_of(nv=0.92, mel=0.07)
    assert said_on(page) == {"flagged", "not-low-risk", "not-harmless"}
    assert headline_of(page) == VERDICTS["see a doctor"]
    assert text_of(page, "#flagged").startswith("Worth a thought: Melanoma (malignant)")
    assert "if all seven were equally frequent" in text_of(page, "#flagged")
    assert text_of(page, "#likely") == "Melanocytic naevus (mole)"


def test_a_flagged_benign_class_alarms_nobody(result_of):
    page = result_of(nv=0.92, vasc=0.07)
    assert said_on(page) == {"flagged", "low-risk", "not-harmless"}
    assert headline_of(page) == VERDICTS["low risk"]


def test_a_list_without_the_most_likely_class_says_why(result_of):
    facts = replace(FACTS, conformal_thresholds=(0.1,) * 4 + (0.9,) + (0.1,) * 2)
    why = "The most likely class is not among them"
    assert why in text_of(result_of(facts, nv=0.7, bcc=0.28))
    assert why not in text_of(result_of(nv=0.7, bcc=0.28))


def test_classes_that_were_too_rare_are_named(result_of):
    words = "For Dermatofibroma nothing can be promised: there were too few to learn from."
    assert words in text_of(result_of(replace(FACTS, pooled_classes=("df",)), nv=0.98))
    assert "too few to learn from" not in text_of(result_of(nv=0.98))


def test_the_numbers_in_the_pages_words_are_those_of_the_code(result_of):
    level = inspect.signature(conformal_thresholds).parameters["level"].default
    assert f"For {100 * level:.0f} of 100 spots" in text_of(result_of(nv=0.98), "#the-list")
    share = f"About 1 in {100 / FLAGGED_SHARE:.0f} images"
    assert share in text_of(result_of(likeness=UNLIKE, nv=0.98), "#unlike")


def test_a_picture_unlike_the_training_images_is_warned_of_and_classified(result_of):
    page = result_of(likeness=UNLIKE, nv=0.98)
    assert said_on(page) == {"unlike", "not-harmless"}
    assert headline_of(page) == VERDICTS["unlike"]
    assert "The result below may then mean nothing" in text_of(page, "#unlike")
    assert "If yours is one, a doctor should look at this spot" in text_of(page, "#unlike")
    assert text_of(page, "#likely") == "Melanocytic naevus (mole)"


def test_without_decision_facts_what_needs_them_is_left_out(result_of):
    page = result_of(decision_facts=None, nv=0.98)
    assert said_on(page) == {"left-out", "not-harmless"}
    assert text_of(page, "#not-excluded") == text_of(page, "#the-list") == ""
    assert headline_of(page) == VERDICTS["unknown"]


def test_without_decision_facts_the_warning_stays(result_of):
    page = result_of(decision_facts=None, likeness=UNLIKE, mel=0.98)
    assert said_on(page) == {"unlike", "left-out"}


def test_without_a_likeness_nothing_is_low_risk(result_of):
    page = result_of(likeness=None, nv=0.98)
    assert said_on(page) == {"left-out", "not-harmless"}
    assert text_of(page, "#not-excluded").endswith(": Melanocytic naevus (mole) (benign).")


def test_what_usually_happens_next_does_not_contradict_the_headline(result_of):
    first = "First a doctor has to make sure that it is one"
    assert first in text_of(result_of(nv=0.82, akiec=0.09, mel=0.03), "#next-steps")
    assert first in text_of(result_of(likeness=UNLIKE, nv=0.98), "#next-steps")
    naevus = scd.CLASSES[scd.CODES.index("nv")]
    assert text_of(result_of(nv=0.98), "#next-steps") == naevus.next_steps


def test_how_often_the_class_is_wrong_both_ways(result_of):
    scores = made_scores()
    scores["eight_views"]["per_class"]["nv"] = {
        "precision": {"value": 0.874},
        "sensitivity": {"value": 0.93},
    }
    said = text_of(result_of(nv=0.98, scores=scores), "#how-wrong")
    assert "Of 100 test images that it named so, 87 really showed one." in said
    assert "Of 100 test images that really showed one, it found 93." in said


def test_a_class_without_test_images_has_no_such_figure(result_of):
    scores = made_scores()
    nothing = {"precision": {"value": None}, "sensitivity": {"value": None}}
    scores["eight_views"]["per_class"]["df"] = nothing
    said = text_of(result_of(df=0.98, scores=scores), "#how-wrong")
    assert "nobody knows how often that is right" in said
    assert "nobody knows how many it finds" in said


def test_which_model_made_it(tmp_path):
    facts = {"test": made_scores(), "data_sha256": "0123456789abcdef" * 4}
    path = write_model(tmp_path, shares_of(), facts)
    page = page_of(upload(client_of(path), encode(draw_lesion())))
    assert text_of(page, "#model-sha256") == hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    assert text_of(page, "#data-sha256") == "0123456789ab"
    assert page.select('main a[href="/model"]')


# --- The map ---------------------------------------------------------------------------------


def test_the_map_is_drawn_where_covering_counts(client, monkeypatch):
    occlusion = np.zeros((7, 7), np.float32)
    occlusion[1, 5], occlusion[4, 2], occlusion[6, 6], occlusion[3, 3] = 0.4, 0.1, 0.01, -0.5
    views = np.full((8, 7), 1 / 7, np.float32)
    monkeypatch.setattr(
        "lesion_lens.model.classifier.predict", lambda *_: Prediction(views, occlusion)
    )
    page = page_of(upload(client, encode(draw_lesion())))
    patches = {
        (int(rect["y"]), int(rect["x"])): float(rect["opacity"])
        for rect in page.select(".patches rect")
    }
    assert patches == {(1, 5): 0.6, (4, 2): 0.15}
    assert text_of(page, "#weight") == "Most weight: upper right."


def test_a_map_without_a_peak_says_so(result_of):
    page = result_of(nv=0.98)  # whatever is covered
    assert text_of(page, "#weight") == "No part stands out."
    assert not page.select(".patches rect")


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


# --- The words -------------------------------------------------------------------------------


@pytest.mark.parametrize("shares", [{"nv": 0.98}, {"mel": 0.98}, {"nv": 0.85, "bcc": 0.12}])
def test_the_page_goes_from_plain_to_technical(result_of, shares):
    page = result_of(**shares)
    asked = ["headline", "likely", "upload-image", "description", "next-steps", "how-wrong"]
    asked += ["mel", "not-excluded", "how-good", "pixels", "model-sha256"]
    found = page.select(",".join(f"#{name}" for name in asked))  # in the order of the page
    assert [element["id"] for element in found] == asked


@pytest.mark.parametrize("lesion_class", scd.CLASSES, ids=scd.CODES)
def test_every_class_has_its_facts(lesion_class):
    assert lesion_class.risk in ("malignant", "pre-malignant", "benign")
    assert 2 <= len(re.findall(r"[.](?: |$)", lesion_class.description)) <= 3
    assert lesion_class.next_steps
    assert lesion_class.sources


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
    told = (
        *SAID,
        "headline",
        "description",
        "next-steps",
        "how-wrong",
        "how-good",
        "elsewhere",
        "the-list",
    )
    assert grade(" ".join(text_of(page, f"#{name}") for name in told)) < 7
