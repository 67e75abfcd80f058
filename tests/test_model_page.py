"""The page /model shows the card of the served model, whatever its file contains."""

import gzip
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from lesion_lens import ROOT
from lesion_lens.model.classifier import Classifier
from lesion_lens.web.card_page import card_page
from lesion_lens.web.current import get_classifier
from lesion_lens.web.model_card import model_card
from skin_cancer_detection import CODES
from tests.support.browser import resize, shoot
from tests.support.cards import estimates_in, shown, with_sources
from tests.support.models import made_scores, shares_of, write_model
from tests.support.pages import client_of, page_of, text_of

KNOWN = with_sources(json.loads((ROOT / "metrics.json").read_text(encoding="utf-8")))
OWN = KNOWN | {"data": "images of one's own"}


@pytest.fixture
def path_with(tmp_path):
    """A function that writes a model file with these training facts and returns its path."""

    def path_with(facts):
        return write_model(tmp_path, shares_of(), facts)

    return path_with


@pytest.fixture
def page_with(path_with):
    """A function that returns the page for a model with these training facts."""

    def page_with(facts):
        response = client_of(path_with(facts)).get("/model")
        assert response.status_code == 200
        return page_of(response)

    return page_with


def changed(*keys, value, facts=KNOWN):
    """Copy the facts, and change or remove a value in nested dicts."""
    facts = json.loads(json.dumps(facts))
    inner = facts
    for key in keys[:-1]:
        inner = inner[key]
    if value is KeyError:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return facts


def rows_of(page):
    """Return the cells of each table row in a page or an element."""
    return [[cell.get_text() for cell in row.select("td, th")] for row in page.select("tr")]


# --- The card --------------------------------------------------------------------------------


def test_every_interval_of_the_model_file_is_on_the_page(client):
    text = text_of(page_of(client.get("/model")))
    found = list(estimates_in(KNOWN["test"]))
    assert len(found) > 100
    assert not [figure for figure in found if shown(figure) not in text]


def test_the_card_is_that_of_the_model_that_is_served(page_with):
    page = page_with(changed("test", "eight_views", "accuracy", "value", value=0.5))
    accuracy = KNOWN["test"]["eight_views"]["accuracy"]
    assert shown(accuracy | {"value": 0.5}) in text_of(page)


def test_the_page_begins_for_a_lay_reader(client):
    page = page_of(client.get("/model"))
    lead = text_of(page, "main").split("How far to trust the model")[0]
    assert "What it saw 6,521 images of moles and spots" in lead
    assert "wrong kind for about 20 in 100 new images" in lead
    assert "and mistakes about 57 in 100 melanomas for something else" in lead
    assert "It is a study tool and does not diagnose" in lead
    assert not re.search("AUC|calibrat|SHA|sensitivity", lead)


def test_the_checksums_of_the_model_and_of_its_data(client, app):
    text = text_of(page_of(client.get("/model")), "main")
    assert get_classifier(app).sha256 in text
    assert KNOWN["data_sha256"] in text


def test_files_of_the_repository_are_links_where_a_setting_names_it(app, client, monkeypatch):
    link = "a[href*='/docs/training.md']"
    assert not page_of(client.get("/model")).select(link)
    monkeypatch.setitem(app.config, "REPOSITORY_URL", "https://example.org/lens/")
    page = page_of(client.get("/model"))
    assert (
        page.select_one(link)["href"]
        == "https://example.org/lens/blob/HEAD/docs/training.md#is-the-result-reproducible"
    )
    assert page.select("a[href='https://example.org/lens/blob/HEAD/CHANGELOG.md']")


def test_links_on_the_page_lead_somewhere(client):
    page = page_of(client.get("/model"))
    ids = [element["id"] for element in page.select("[id]")]
    assert len(ids) == len(set(ids))
    for target in (link["href"] for link in page.select("a")):
        if target.startswith("#"):
            assert target[1:] in ids
        elif not target.startswith("https://"):
            assert client.get(target).status_code == 200, target


def test_the_tables_are_named_and_can_be_scrolled_by_keyboard(client):
    page = page_of(client.get("/model"))
    regions = page.select("[role=region]")
    assert len(regions) == len(page.select("[role=region] table")) == len(page.select("table"))
    assert {region["tabindex"] for region in regions} == {"0"}
    assert len({region["aria-label"] for region in regions}) == len(regions)
    assert {head["scope"] for head in page.select("th")} == {"col", "colgroup", "row"}


def test_the_page_is_light_and_asks_for_no_picture_of_the_repository(client):
    response = client.get("/model")
    page = page_of(response)
    sources = [link["href"] for link in page.select("link")]
    sources += [element["src"] for element in page.select("[src]")]
    assert not [source for source in sources if "figures" in source]
    parts = [response.data, *(client.get(source).data for source in set(sources))]
    assert sum(len(gzip.compress(part)) for part in parts) < 35_000
    assert not page.select("[style]")


def test_the_page_needs_nothing_that_is_slow_to_import():
    slow = {"tensorflow", "keras", "matplotlib", "seaborn", "pandas", "scipy"}
    script = f"import sys, app, lesion_lens.web.model_card; assert not {slow} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_card_is_made_once(app):
    classifier = get_classifier(app)
    assert card_page(classifier) is card_page(classifier)


def test_of_many_first_visitors_one_has_the_page_made(path_with, monkeypatch):
    made = []

    def slow_card(facts):
        made.append(facts)
        time.sleep(0.1)
        return model_card(facts)

    monkeypatch.setattr("lesion_lens.web.card_page.model_card", slow_card)
    classifier = Classifier(path_with(KNOWN))
    with ThreadPoolExecutor(8) as visitors:
        pages = list(visitors.map(card_page, [classifier] * 8))
    assert len(made) == len(set(map(id, pages))) == 1


# --- The figures -----------------------------------------------------------------------------


def test_the_confusion_matrix_is_that_of_the_facts(client):
    rows = rows_of(page_of(client.get("/model")).select_one("table.matrix"))
    matrix = KNOWN["test"]["eight_views"]["confusion_matrix"]
    assert rows[2:] == [
        [code, *(f"{images:,}" for images in counts)]
        for code, counts in zip(CODES, matrix, strict=True)
    ]


def test_the_colour_of_a_cell_is_its_share_of_the_row(page_with):
    matrix = [[0] * len(CODES) for _ in CODES]
    matrix[0] = [3, 10, 0, 0, 0, 0, 7]
    facts = changed("test", "eight_views", "confusion_matrix", value=matrix, facts=OWN)
    page = page_with(facts)
    classes = [" ".join(cell["class"]) for cell in page.select("td[class^=shade-]")]
    assert classes[:3] == ["shade-2 right", "shade-5", "shade-0"]
    assert classes[6:9] == ["shade-4", "shade-0", "shade-0 right"]


def test_the_reliability_diagram_has_a_point_for_each_bin_and_a_text(client):
    page = page_of(client.get("/model"))
    points = KNOWN["test"]["eight_views"]["reliability"]
    assert len(page.select("circle")) == len(points)
    alternative = text_of(page, f"#{page.select_one('svg[role=img]')['aria-labelledby']}")
    inside = [p["accuracy"]["low"] <= p["confidence"] <= p["accuracy"]["high"] for p in points]
    assert f"the accuracy in each of {len(points)} bins" in alternative
    assert f"In {sum(inside)} of the bins" in alternative


def test_a_point_stands_where_its_numbers_say(page_with):
    point = {"above": 0.4, "up_to": 0.5, "images": 8, "confidence": 0.45}
    point["accuracy"] = {"value": 0.5, "low": 0.25, "high": 0.75}
    facts = changed("test", "eight_views", "reliability", value=[point])
    page = page_with(facts)
    (circle,) = page.select("circle")
    assert (circle["cx"], circle["cy"]) == ("181.0", "162.0")  # the square begins at 46, 312
    assert page.select('path[d="M181.0 237.0V87.0"]')
    assert ["0.40–0.50", "8", "0.450", "0.500 (0.250–0.750)"] in rows_of(page)


# --- Other models ----------------------------------------------------------------------------


def test_a_file_without_facts(page_with):
    text = text_of(page_with({}), "main")
    assert "does not say what images the model learned from" in text
    assert "It contains no scores" in text
    assert "HAM10000, dermatoscopic" not in text
    assert "learned from, SHA-256 The file does not say" in text.replace(":", "")


def test_a_model_of_ones_own_data_is_not_said_to_be_of_ham10000(page_with):
    page = page_with(OWN)
    text = text_of(page, "main")
    assert "The file calls them “images of one's own”" in text
    assert "Vienna" not in text
    assert "light skin" not in text
    assert shown(KNOWN["test"]["eight_views"]["macro_auc"]) in text
    assert len(page.select("circle")) == len(KNOWN["test"]["eight_views"]["reliability"])
    source = next(iter(KNOWN["other_clinics"]["clinics"].values()))
    assert shown(source["macro_auc"]) in text


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (True, "These scores are too high"),
        (KeyError, "does not say whether the images that it was tested on show lesions"),
    ],
)
def test_lesions_on_both_sides_of_the_split(page_with, value, sentence):
    text = text_of(page_with(changed("rows_may_share_lesions", value=value)), "main")
    assert sentence in text
    assert "so no lesion id is in two parts" not in text


def test_facts_of_an_older_form(page_with):
    page = page_with({"data": "HAM10000", "test": made_scores()})
    text = text_of(page, "main")
    assert "does not contain all that a full model card needs" in text
    assert "lacks the numbers for these tables of a model card: Scores; By class" in text
    assert "does not contain the numbers for the reliability diagram" in text
    assert len(page.select("table")) == 2  # the names of the classes, the confusion matrix


def test_facts_of_before_the_risk_levels_make_the_shorter_card(page_with):
    page = page_with(changed("test", "decisions", "statements", "high", value=KeyError))
    text = text_of(page, "main")
    assert "does not contain all that a full model card needs" in text
    assert "Risk levels" not in text
    assert shown(KNOWN["test"]["eight_views"]["macro_auc"]) in text
    source = next(iter(KNOWN["other_clinics"]["clinics"].values()))
    assert shown(source["macro_auc"]) in text


def test_a_card_whose_file_lacks_the_reliability_is_whole_but_for_it(page_with):
    page = page_with(changed("test", "eight_views", "reliability", value=KeyError))
    text = text_of(page, "main")
    assert "The lesions are assigned to the parts by a hash of their id" in text
    assert "does not contain the numbers for the reliability diagram" in text


HOSTILE = '<script>x</script> [y](https://example.org) ![z](https://example.org/z) | " `'


# What replaces a fact, and the cards to try it on.
FAULTS = {
    "missing": KeyError,
    "none": None,
    "text": HOSTILE,
    "negative": -1,
    "nan": float("nan"),
    "list": [HOSTILE],
    "dict": {HOSTILE: HOSTILE},
}
CARDS = {"HAM10000": KNOWN, "own": OWN}


@pytest.mark.parametrize(
    "keys",
    [
        ("data",),
        ("data_sha256",),
        ("versions", "keras"),
        ("recipe",),
        ("images", "training"),
        ("test", "subgroups", "sex"),
        ("test", "decisions", "conformal", "per_class", "mel", "coverage"),
        ("test", "decisions", "statements", "high", "melanomas"),
        ("test", "eight_views", "reliability"),
        ("test", "eight_views", "per_class", "nv", "auc"),
        ("test", "one_view"),
    ],
    ids=".".join,
)
@pytest.mark.parametrize(
    ("card", "fault"),
    [*product(["HAM10000"], FAULTS), *product(["own"], ["missing", "text", "dict"])],
)
def test_spoiled_facts_leave_a_page(path_with, card, keys, fault):
    value, facts = FAULTS[fault], CARDS[card]
    classifier = Classifier(path_with(changed(*keys, value=value, facts=facts)))
    page = card_page(classifier).html
    assert "The model knows only seven classes" in page
    assert not re.search(r'<script|<img|href="https://example', page)


def test_a_hostile_name_of_the_data_stands_as_it_is(page_with):
    page = page_with(OWN | {"data": HOSTILE, "data_sha256": HOSTILE})
    text = text_of(page, "main")
    assert text.count(HOSTILE) == 2
    assert not page.select("[href*='example.org'], [src*='example.org']")


def test_a_number_of_lesions_beyond_reason_takes_no_time(path_with):
    facts = changed("test", "decisions", "lesions", value=10**15)
    assert not card_page(Classifier(path_with(facts))).is_whole


# --- In a browser ----------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (1280, "dark")])
def test_nothing_but_tables_scrolls_sideways(desk, address, width, scheme):
    page = desk.new_page()
    resize(page, width, scheme)
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{address}/model")
    page.locator("details").evaluate_all("all => all.forEach(each => (each.open = true))")
    shoot(page, "model")
    assert not [complaint for complaint in complaints if "Content Security" in complaint]
    page.close()


def test_a_wide_table_scrolls_by_keyboard(desk, address):
    page = desk.new_page()
    resize(page, 320)
    page.goto(f"{address}/model")
    page.get_by_role("heading", name="Results").click()  # unfolds it
    table = page.get_by_role("region", name="By class, eight views: class")
    table.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("element => element.scrollLeft > 0", arg=table.element_handle())
    page.close()


def test_on_paper_every_section_is_unfolded(desk, address):
    page = desk.new_page()
    page.goto(f"{address}/model")
    folded = page.get_by_text("They took no part in training")
    assert not folded.is_visible()
    page.emulate_media(media="print")
    assert folded.is_visible()
    page.close()


def test_the_card_s_own_links_lead_to_its_sections(desk, address):
    page = desk.new_page()
    resize(page, 375)
    page.goto(f"{address}/model")
    page.get_by_role("heading", name="Factors").click()  # unfolds it
    page.get_by_text("scores are broken down by them").click()
    heading = page.get_by_role("heading", name="By sex, age and part of the body")
    assert heading.bounding_box()["y"] < 100
    page.close()
