"""The result page: what it says about an image, and when."""

import base64
import hashlib
import inspect
import io
import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

import skin_cancer_detection as scd
from lesion_lens.model.decisions import HEADLINES, LEVELS, DecisionFacts, combine_views
from lesion_lens.model.engines import load_engine
from lesion_lens.model.files import read_attributes
from lesion_lens.model.outliers import REASONS
from lesion_lens.model.views import Prediction, predict
from lesion_lens.model.wording import percent
from lesion_lens.training.calibration import conformal_thresholds
from lesion_lens.web.occlusion_map import strongest_region
from tests.support.cards import made_clinic
from tests.support.drawings import draw_for, draw_lesion, encode
from tests.support.models import (
    FACTS,
    LIKE,
    MODEL,
    OTHER,
    OWN,
    PROVEN,
    UNLIKE,
    UNPROVEN,
    attributes_of,
    copy_model,
    made_counts,
    made_scores,
    shares_of,
    write_model,
)
from tests.support.pages import client_of, page_of, probabilities_of, text_of, upload

# --- Of the committed model ------------------------------------------------------------------


def test_the_results_page(client):
    response = upload(client, encode(draw_for("high")))
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
    for sign in ("growing", "changing", "bleeds", "not healed"):
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
    assert "not-dermatoscopic" in said_on(page_of(response))


def test_the_pixels_are_those_that_the_model_sees(client):
    page = page_of(upload(client, encode(draw_lesion())))
    address = page.select_one("#pixels")["src"]
    with Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))) as shown:
        assert np.array_equal(np.asarray(shown), scd.preprocess(draw_lesion()))


# --- Of made models --------------------------------------------------------------------------


# The identifiers of the parts that only some result pages have.
SAID = (
    *("not-dermatoscopic", "unfamiliar", "why", "meaning", "flagged", "low-risk", "not-harmless"),
    "left-out",
)


@pytest.fixture
def result_of(tmp_path):
    """A function that returns the result page for probabilities; other classes share the rest."""

    def result(decision_facts=FACTS, rules=(LIKE, OWN, PROVEN), facts=None, scores=None, **shares):
        path = write_model(
            tmp_path,
            shares_of(**shares),
            {"test": scores or made_scores()} | (facts or {}),
            attributes_of(decision_facts, *rules),
        )
        response = upload(client_of(path), encode(draw_for("high")))
        assert response.status_code == 200
        return page_of(response)

    return result


def said_on(page):
    return {name for name in SAID if text_of(page, f"#{name}")}


def level_of(page):
    """Return the badge's level, and check that headline and colour agree with it."""
    (level,) = [level for level in LEVELS if f"Risk: {level}" in text_of(page, "#level")]
    assert text_of(page, "#headline") == HEADLINES[level]
    assert level in page.select_one(".level-box")["class"]
    return level


def test_a_melanoma_is_high_and_the_appointment_names_it(result_of):
    page = result_of(mel=0.98)
    assert level_of(page) == "high"
    assert said_on(page) == {"meaning"}
    assert "now, and say that melanoma is the concern" in text_of(page, "#next-step")
    assert text_of(page, "#risk") == "malignant"
    assert "probability of 98 %" in text_of(page)


def test_another_cancer_is_high_and_not_called_a_melanoma(result_of):
    page = result_of(bcc=0.98)
    assert level_of(page) == "high"
    assert "say that skin cancer is the concern" in text_of(page, "#next-step")


def test_a_cancer_in_an_unfamiliar_image_is_high_too(result_of):
    page = result_of(rules=(UNLIKE, OWN, PROVEN), mel=0.92)
    assert level_of(page) == "high"
    assert said_on(page) == {"unfamiliar"}
    said = text_of(page, "#unfamiliar")
    assert said.endswith("The model has seen few such images.")


def test_cancers_that_only_together_are_likely_are_high_and_the_page_says_why(result_of):
    page = result_of(nv=0.42, mel=0.28, bcc=0.28)
    assert level_of(page) == "high"
    assert "together those three classes are at least as likely" in text_of(page, "#why")


def test_benign_but_not_low_risk_does_not_reassure(result_of):
    page = result_of(nv=0.82, akiec=0.09, mel=0.03)
    assert level_of(page) == "raised"
    assert said_on(page) == {"why", "meaning", "not-harmless"}
    assert "not sure enough to call the risk low" in text_of(page, "#why")
    assert text_of(page, "#not-harmless").startswith("Your spot can still be a cancer")


def test_low_risk_asks_to_see_a_doctor_if_it_changes(result_of):
    page = result_of(nv=0.98)
    assert level_of(page) == "low"
    assert said_on(page) == {"meaning", "low-risk"}
    said = text_of(page, "#next-step")
    assert said == "If it changes, bleeds or worries you, see a doctor, whatever this says."


def test_a_small_probability_that_is_not_proven_is_raised_and_the_page_says_why(result_of):
    page = result_of(rules=(LIKE, OWN, UNPROVEN), nv=0.98)
    assert level_of(page) == "raised"
    assert "has not shown that you can rely on a small probability" in text_of(page, "#why")


def test_an_unfamiliar_image_is_never_low_and_the_reason_is_named(result_of):
    page = result_of(rules=(UNLIKE, OWN, PROVEN), nv=0.98)
    assert level_of(page) == "raised"
    assert said_on(page) == {"unfamiliar", "not-harmless"}
    said = text_of(page, "#unfamiliar")
    assert "take the image again" in said
    assert any(f"those the model learned from: {reason}." in said for reason in REASONS.values())


def test_what_is_not_dermatoscopic_is_unknown(result_of):
    page = result_of(rules=(LIKE, OTHER, PROVEN), nv=0.98)
    assert level_of(page) == "unknown"
    assert "not-dermatoscopic" in said_on(page)
    said = text_of(page, "#next-step")
    assert said == "If this is a mole or spot that worries you, show it to a doctor."
    assert not page.select("#flagged, #description, #next-steps, #how-wrong")


@pytest.mark.parametrize("shares", [{"nv": 0.98}, {"mel": 0.98}, {"nv": 0.85, "bcc": 0.12}])
def test_of_what_cannot_be_judged_nothing_is_said_that_reassures_or_alarms(result_of, shares):
    page = result_of(rules=(LIKE, OTHER, PROVEN), **shares)
    assert not page.select("#risk, #cancer, #not-excluded, #the-list, #not-harmless, .bars small")
    assert "says nothing about your spot" in text_of(page, ".lead")
    assert "say nothing about your spot" in text_of(page, "#no-meaning")
    assert page.select_one("#no-meaning").find_next_sibling("ol")  # said before the numbers


def test_a_table_neither_reassures_nor_alarms_about_what_cannot_be_judged(client):
    files = [(io.BytesIO(encode(draw_for(level))), f"{level}.png") for level in ("high", "unknown")]
    high, unknown = page_of(client.post("/showresult", data={"pic": files})).select("tbody tr")
    assert "malignant" in text_of(high, '[data-label="Most likely class"]')
    assert not unknown.select('[data-label="Most likely class"] small')


def test_a_benign_class_of_unknown_risk_does_not_reassure(result_of):
    page = result_of(decision_facts=None, nv=0.98)
    assert "not a cancer" not in text_of(page, ".summary")
    assert not page.select("#cancer")
    assert text_of(result_of(decision_facts=None, mel=0.98), "#risk") == "malignant"


def test_the_name_and_the_date_stand_at_the_top_and_a_long_name_keeps_its_end(client):
    name = "the mole on my left shoulder, seen from above IMG_0042.jpg"
    page = page_of(upload(client, encode(draw_lesion()), name=name))
    (shown,) = page.select(".level-box bdi")
    assert shown.text == "the mole on my le…above IMG_0042.jpg"
    assert page.select_one(".level-box time")["datetime"] == datetime.now(UTC).date().isoformat()
    assert name in text_of(page, "dl")  # the full name


def test_what_is_said_of_a_class_that_is_missing_is_limited_to_images_like_those_learned_from(
    result_of,
):
    said = text_of(result_of(nv=0.98), "#the-list")
    assert said.startswith("For images like those that the model learned from")
    unlike = result_of(rules=(UNLIKE, OWN, PROVEN), nv=0.98)
    assert not unlike.select("#the-list, #not-excluded")
    assert "None of them is ruled out." in text_of(unlike, "#no-list")


def test_an_unknown_that_may_be_a_cancer_still_sends_to_a_doctor(result_of):
    for kinds in ({"rules": (LIKE, OTHER, PROVEN)}, {"decision_facts": None}):
        page = result_of(**kinds, mel=0.5)
        assert level_of(page) == "unknown"
        said = text_of(page, "#next-step")
        assert said == "If this is a mole or spot, show it to a doctor."


def test_a_cancer_and_a_mole_never_share_a_headline(result_of):
    """Their headlines also differ by more than one word."""
    mole = text_of(result_of(nv=0.93, rules=(LIKE, OWN, UNPROVEN)), "#headline").split()
    cancer = text_of(result_of(mel=0.93), "#headline").split()
    assert len(set(mole) ^ set(cancer)) > 2


def test_what_a_level_meant_is_told_of_100_test_lesions(result_of):
    scores = made_scores()
    scores["decisions"] = made_counts(1000, 157, high=(200, 141, 70))
    said = text_of(result_of(mel=0.98, scores=scores), "#meaning")
    assert said.startswith("Of 100 test lesions with this result, 70 turned out to be a cancer")
    assert said.endswith("about 16 in 100 were.")


def test_low_risk_is_told_beside_how_rare_cancer_is_in_such_images(result_of):
    scores = made_scores()
    scores["decisions"] = made_counts(low=(300, 1, 0), proven=(400, 12, 3))
    said = text_of(result_of(nv=0.98, scores=scores), "#meaning")
    assert "with this result, fewer than 1 turned out" in said
    assert "of all test lesions with such images, about 3 in 100 turned out to be a" in said


def test_raised_says_how_many_melanomas_got_it(result_of):
    scores = made_scores()
    scores["decisions"] = made_counts(1000, 160, raised=(400, 60, 40))  # 40 of 80 melanomas
    said = text_of(result_of(nv=0.82, akiec=0.09, mel=0.03, scores=scores), "#meaning")
    assert "Of 100 melanomas in the test, 50 got this result, so it rules nothing" in said
    # May be higher than this result's share, as most cancers are 'high'.
    assert "Of all" not in said


def test_what_it_meant_for_an_unfamiliar_image_is_that_of_the_worst_clinic(result_of):
    counts = {"b": made_counts(500, 200, raised=(100, 31, 5)), "c": made_counts(500, 9)}
    clinics = {name: made_clinic(0.7) | one for name, one in counts.items()}
    facts = {"other_clinics": {"clinics": clinics}}
    page = result_of(rules=(UNLIKE, OWN, PROVEN), facts=facts, nv=0.98)
    said = text_of(page, "#meaning")
    assert "Of 100 lesions there with this result, 31 turned out" in said
    assert "Go by this number, not by the smaller probability above" in said
    page = result_of(rules=(UNLIKE, OWN, PROVEN), facts=facts, nv=0.6, mel=0.39)
    assert "Go by this number" not in text_of(page, "#meaning")


def test_what_it_meant_is_left_out_where_nobody_counted(result_of):
    scores = made_scores() | {"decisions": {}}
    assert "meaning" not in said_on(result_of(mel=0.98, scores=scores))


def test_what_cannot_be_excluded(result_of):
    said = text_of(result_of(bcc=0.12, nv=0.85), "#not-excluded")
    assert said == (
        "Classes to consider: Melanocytic naevus (mole) (benign); Basal cell carcinoma (malignant)."
    )


def test_the_most_likely_class_cannot_be_excluded_whatever_its_threshold(result_of):
    page = result_of(replace(FACTS, conformal_thresholds=(0.99,) * len(scd.CODES)), nv=0.97)
    said = text_of(page, "#not-excluded")
    assert said == "Classes to consider: Melanocytic naevus (mole) (benign)."


def test_flagged(result_of):
    page = result_of(nv=0.92, mel=0.07)
    assert level_of(page) == "raised"
    assert text_of(page, "#flagged").startswith("Also consider: Melanoma (malignant)")
    assert "If all seven were equally common" in text_of(page, "#flagged")
    assert text_of(page, "#likely") == "Melanocytic naevus (mole)"


def test_a_flagged_benign_class_alarms_nobody(result_of):
    page = result_of(nv=0.92, vasc=0.07)
    assert level_of(page) == "low"
    assert said_on(page) == {"meaning", "flagged", "low-risk"}


def test_classes_that_were_too_rare_are_named(result_of):
    words = "For these classes there were too few images to promise anything: Dermatofibroma."
    assert words in text_of(result_of(replace(FACTS, pooled_classes=("df",)), nv=0.98))
    assert "too few images" not in text_of(result_of(nv=0.98))


def test_the_numbers_in_the_pages_words_are_those_of_the_code(result_of):
    share = inspect.signature(conformal_thresholds).parameters["level"].default
    said = text_of(result_of(nv=0.98), "#the-list")
    assert f"the true class for {100 * share:.0f} of 100 spots" in said


def test_without_decision_facts_what_needs_them_is_left_out(result_of):
    page = result_of(decision_facts=None, nv=0.98)
    assert level_of(page) == "unknown"
    assert said_on(page) == {"why", "left-out", "not-harmless"}
    assert text_of(page, "#not-excluded") == text_of(page, "#the-list") == ""


def test_without_decision_facts_the_notice_stays(result_of):
    page = result_of(decision_facts=None, rules=(UNLIKE,), mel=0.98)
    assert said_on(page) == {"unfamiliar", "why", "left-out"}


@pytest.mark.parametrize("rules", [(None, OWN, PROVEN), (LIKE, OWN, None)])
def test_a_model_file_that_lacks_rules_for_pictures_never_says_low_risk(result_of, rules):
    page = result_of(rules=rules, nv=0.98)
    assert level_of(page) == "raised"
    assert "left-out" in said_on(page)
    assert "has not shown" not in text_of(page)


def test_what_usually_happens_next_does_not_contradict_the_headline(result_of):
    first = "First, a doctor has to make sure that it is one"
    assert first in text_of(result_of(nv=0.82, akiec=0.09, mel=0.03), "#next-steps")
    assert first in text_of(result_of(rules=(UNLIKE,), nv=0.98), "#next-steps")
    naevus = scd.CLASSES[scd.CODES.index("nv")]
    assert text_of(result_of(nv=0.98), "#next-steps") == naevus.next_steps


def test_how_often_the_class_is_wrong_both_ways(result_of):
    scores = made_scores()
    scores["eight_views"]["per_class"]["nv"] = {
        "precision": {"value": 0.874},
        "sensitivity": {"value": 0.93},
    }
    said = text_of(result_of(nv=0.98, scores=scores), "#how-wrong")
    assert "Of 100 test images that it put in this class, 87 really belonged to it." in said
    assert "Of 100 test images that really belonged to this class, it found 93." in said


def test_a_class_without_test_images_has_no_such_figure(result_of):
    scores = made_scores()
    nothing = {"precision": {"value": None}, "sensitivity": {"value": None}}
    scores["eight_views"]["per_class"]["df"] = nothing
    said = text_of(result_of(df=0.98, scores=scores), "#how-wrong")
    assert "how often that is right is not known" in said
    assert "how many it finds is not known" in said


def test_a_class_with_few_test_images_has_their_number(result_of):
    scores = made_scores()
    few = {"images": 4, "precision": {"value": 1.0}, "sensitivity": {"value": 0.75}}
    scores["eight_views"]["per_class"]["df"] = few
    said = text_of(result_of(df=0.98, scores=scores), "#how-wrong")
    assert said.startswith("It found 3 of 4 test images of this class. These are too few to tell")


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
    views = np.full((8, len(scd.CODES)), 1 / len(scd.CODES), np.float32)
    monkeypatch.setattr(
        "lesion_lens.model.classifier.predict", lambda *_: Prediction(views, occlusion)
    )
    page = page_of(upload(client, encode(draw_lesion())))
    patches = {
        (int(rect["y"]), int(rect["x"])): float(rect["opacity"])
        for rect in page.select(".patches rect")
    }
    assert patches == {(1, 5): 0.6, (4, 2): 0.15}
    assert text_of(page, "#weight") == "The answer depends most on this part: upper right."


def test_a_map_without_a_peak_says_so(result_of):
    page = result_of(nv=0.98)  # whichever part is covered
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
    asked = ["headline", "next-step", "upload-image", "likely", "description", "next-steps"]
    asked += ["how-wrong", "mel", "not-excluded", "how-good", "pixels", "model-sha256"]
    found = page.select(",".join(f"#{name}" for name in asked))  # in the order of the page
    assert [element["id"] for element in found] == asked


@pytest.mark.parametrize("lesion_class", scd.CLASSES, ids=scd.CODES)
def test_every_class_has_its_facts(lesion_class):
    assert lesion_class.risk in ("malignant", "pre-malignant", "benign")
    assert 2 <= len(re.findall(r"[.](?: |$)", lesion_class.description)) <= 3
    assert lesion_class.next_steps
    assert lesion_class.sources


def grade(text):
    """Return the US school grade by Flesch & Kincaid (1975), about the age minus five."""
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
    ("rules", "shares"),
    [
        ((LIKE, OWN, PROVEN), {"nv": 0.98}),
        ((LIKE, OWN, UNPROVEN), {"nv": 0.98}),
        ((LIKE, OWN, PROVEN), {"nv": 0.92, "mel": 0.07}),
        ((LIKE, OWN, PROVEN), {"nv": 0.42, "mel": 0.28, "bcc": 0.28}),
        ((UNLIKE, OWN, PROVEN), {"mel": 0.98}),
        ((LIKE, OTHER, PROVEN), {"mel": 0.98}),
        ((), {"df": 0.98}),
    ],
)
def test_the_page_is_for_readers_of_twelve(result_of, rules, shares):
    page = result_of(rules=rules, **shares)
    told = (
        *SAID,
        "headline",
        "next-step",
        "description",
        "next-steps",
        "how-wrong",
        "how-good",
        "elsewhere",
        "the-list",
    )
    assert grade(" ".join(text_of(page, f"#{name}") for name in told)) < 7
