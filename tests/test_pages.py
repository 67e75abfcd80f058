"""The pages that need no upload: what they say about the app and the model's scores."""

import gzip
import json
import re

import pytest

from lesion_lens import ROOT
from lesion_lens.web import language
from skin_cancer_detection import CODES
from tests.support.cards import estimate, made_clinic, with_sources
from tests.support.drawings import draw_lesion, encode
from tests.support.models import made_scores, shares_of, write_model
from tests.support.pages import client_of, page_of, text_of, upload


def test_the_upload_page_has_the_form(client):
    page = page_of(client.get("/"))
    (form,) = page.select("form")
    assert (form["action"], form["method"]) == ("/showresult", "post")
    assert form["enctype"] == "multipart/form-data"
    assert {field["name"] for field in form.select("input[name]")} == {"pic"}
    assert text_of(page, "#error") == ""


def test_the_upload_page_says_what_images_mean_anything(client):
    page = page_of(client.get("/"))
    text = text_of(page)
    assert "Use a dermatoscope image. For any other picture the result means nothing" in text
    assert "not a diagnosis" in text
    assert "Up to 50 images, up to 20 MB each" in text
    assert "Up to 25 million pixels each" in text
    drawings = [image["src"] for image in page.select("img")]
    assert {"/static/dermatoscope-image.svg", "/static/skin-photograph.svg"} <= set(drawings)


def test_unknown_pages_and_methods(client):
    assert client.get("/none").status_code == 404
    assert "no page at this address" in text_of(page_of(client.get("/none")))
    wrong = client.post("/")
    assert wrong.status_code == 405
    assert "GET" in wrong.headers["Allow"]


ADDRESSES = ("/", "/model", "/api/v1/docs", "/privacy", "/offline", "/none")


def test_every_page_says_in_a_sentence_what_it_is_for(client):
    """The sentence is for search engines, which show about 160 characters."""
    answers = [*map(client.get, ADDRESSES), upload(client, encode(draw_lesion()))]
    said = [page_of(answer).select_one("meta[name=description]")["content"] for answer in answers]
    assert len(set(said)) == len(said)
    assert all(80 <= len(sentence) <= 160 for sentence in said)


def test_the_language_and_its_direction_come_from_one_place(client, monkeypatch):
    monkeypatch.setattr(language, "LANGUAGE", "ar")
    monkeypatch.setattr(language, "DIRECTION", "rtl")
    for address in ADDRESSES:
        html = page_of(client.get(address)).html
        assert (html["lang"], html["dir"]) == ("ar", "rtl")
    manifest = client.get("/manifest.webmanifest").get_json(force=True)
    assert (manifest["lang"], manifest["dir"]) == ("ar", "rtl")


def test_every_page_is_small(client):
    """This counts all that it loads, gzipped, without what comes from the user's image."""
    for answer in (*map(client.get, ADDRESSES), upload(client, encode(draw_lesion()))):
        named = page_of(answer).select("script[src], img[src^='/'], link:not([rel=manifest])[href]")
        loaded = {element.get("src") or element["href"] for element in named}
        assert "/static/style.css" in loaded
        own = re.sub(r"data:[a-z/]+;base64,[A-Za-z0-9+/=]+", "", answer.get_data(as_text=True))
        parts = [own.encode(), *(client.get(path).data for path in loaded)]
        assert sum(len(gzip.compress(part)) for part in parts) < 45_000


# --- The model's scores ----------------------------------------------------------------------


EVEN = shares_of()


def test_the_scores_are_those_of_eight_views(tmp_path):
    path = write_model(tmp_path, EVEN, {"test": made_scores()})
    said = text_of(page_of(client_of(path).get("/")), "#how-good")
    assert "2,345 images" in said
    assert "Of 100 images, it named the right class for 81" in said
    assert "Of 100 images of melanomas, the model called 56 a melanoma" in said


def test_scores_without_melanomas_leave_them_out(tmp_path):
    scores = made_scores()
    scores["eight_views"]["per_class"]["mel"]["sensitivity"]["value"] = None
    scores["eight_views"]["confusion_matrix"][CODES.index("mel")] = [0] * len(CODES)
    client = client_of(write_model(tmp_path, EVEN, {"test": scores}))
    assert "images of melanomas" not in text_of(page_of(client.get("/")), "#how-good")


def test_few_test_images_are_counted_not_given_of_100(tmp_path):
    scores = made_scores()
    of_eight = scores["eight_views"]
    of_eight |= {"images": 10, "accuracy": {"value": 0.9}}
    of_eight["per_class"]["mel"] = {"images": 3, "sensitivity": {"value": 2 / 3}} | {
        "precision": {"value": 1}
    }
    path = write_model(tmp_path, shares_of(mel=0.9), {"test": scores})
    client = client_of(path)
    said = text_of(page_of(client.get("/")), "#how-good")
    assert "It named the right class for 9 of 10; these are too few to tell." in said
    assert "the model called 2 of 3 a melanoma; these are too few to tell." in said
    brief = text_of(page_of(client.get("/model")), "dl.brief")
    assert "the wrong kind for 1 of 10 new images, and mistook 1 of 3 melanomas" in brief
    assert "of 100" not in said


def test_without_scores_in_the_file_the_page_says_so(tmp_path):
    client = client_of(write_model(tmp_path, EVEN))
    assert "does not say how good the model is" in text_of(page_of(client.get("/")))
    assert upload(client, encode(draw_lesion())).status_code == 200


def test_a_model_of_other_images_does_not_claim_to_be_of_ham10000(client, tmp_path):
    assert "HAM10000" in text_of(page_of(client.get("/")))
    facts = {"test": made_scores(), "data": "images of one's own"}
    page = page_of(client_of(write_model(tmp_path, EVEN, facts)).get("/"))
    assert "HAM10000" not in text_of(page)
    assert "specialist clinics" not in text_of(page)


def measured(known, unseen):
    """Return facts of a model with one source and its AUCs of malignant against benign."""
    text = (ROOT / "metrics.json").read_text(encoding="utf-8")
    facts = with_sources(json.loads(text))
    row = facts["test"]["subgroups"]["sex"]["male"]
    facts["test"]["subgroups"]["clinic"] = {
        f"c{auc}": row | {"malignant_auc": estimate(auc)} for auc in known
    }
    facts["other_clinics"]["clinics"] = {
        f"c{auc}": made_clinic(other) for auc, other in zip(known, unseen, strict=True)
    }
    return facts


@pytest.mark.parametrize(
    ("known", "unseen", "said"),
    [
        ((0.9, 0.8), (0.71, 0.664), ("in 80 to 90 of 100 pairs", "did so in 66 to 71.")),
        ((0.8,), (0.85,), ("in 80 of 100 pairs", "did so in 85.")),
    ],
)
def test_what_happens_to_images_from_elsewhere_is_told_in_pairs(tmp_path, known, unseen, said):
    path = write_model(tmp_path, EVEN, measured(known, unseen))
    text = text_of(page_of(client_of(path).get("/")), "#elsewhere")
    assert all(words in text for words in said)


def test_a_model_file_without_other_sources_says_so(tmp_path):
    without = {name: value for name, value in measured([], []).items() if name != "other_clinics"}
    for number, facts in enumerate((without, measured((0.8,), (None,)), {"test": made_scores()})):
        (tmp_path / str(number)).mkdir()
        path = write_model(tmp_path / str(number), EVEN, facts)
        text = text_of(page_of(client_of(path).get("/")), "#elsewhere")
        assert "does not say how good the model is on images from other clinics and cameras" in text


def test_inflated_scores_are_called_so(tmp_path):
    facts = {"test": made_scores(), "rows_may_share_lesions": True}
    page = page_of(client_of(write_model(tmp_path, EVEN, facts)).get("/"))
    said = text_of(page, "#how-good")
    assert "images of moles and spots that were not among those it learned from. Of 100" in said
    assert "these figures are too good: some of the images may show the same mole as an" in said
