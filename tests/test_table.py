"""The table of results in a real Chromium: its rows, and images side by side."""

import base64
import io
import re

import pytest
from PIL import Image

from lesion_lens import version
from lesion_lens.model.decoder import THUMBNAIL_SIDE
from tests.support.browser import SPOILED, classify, drawn, shoot
from tests.support.drawings import draw_for, draw_lesion
from tests.support.pages import page_of, text_of
from tests.support.tables import csv_of, names_in, wait_for_table

FILES = [
    drawn("low.png", draw_for("low")),
    SPOILED,
    drawn("high.png", draw_for("high")),
    drawn("raised.png", draw_for("raised")),
]


@pytest.fixture
def table(desk, address):
    """A window with a table of a high, a raised and a low risk, and a damaged file."""
    page = desk.new_page()
    page.goto(address)
    classify(page, *FILES)
    wait_for_table(page)
    yield page
    page.close()


def focused(page):
    return page.evaluate("document.activeElement.textContent")


def counts_in(page):
    return [" ".join(label.split()) for label in page.locator(".shown label").all_inner_texts()]


def choose(page, level):
    page.get_by_role("radio", name=level).check()


def plain_table(client, *images):
    """Return the page that the server makes for several files."""
    files = [(io.BytesIO(image), f"{i}.png") for i, image in enumerate(images)]
    return page_of(client.post("/showresult", data={"pic": files}))


# --- Thumbnails ------------------------------------------------------------------------------


def test_a_row_shows_the_image_and_its_name_beside(table):
    row = table.get_by_role("row", name="high.png")
    assert row.locator("img").evaluate("image => image.naturalWidth") == 600
    image, name = row.locator("img").bounding_box(), row.locator("th .file").bounding_box()
    assert (image["width"], image["height"]) == (96, 72)
    assert name["x"] >= image["x"] + image["width"]
    assert image["y"] < name["y"] + name["height"] / 2 < image["y"] + image["height"]


def test_without_script_the_server_makes_small_thumbnails(client):
    (row, *_) = plain_table(client, *(file["buffer"] for file in FILES)).select("tbody tr")
    data = base64.b64decode(row.img["src"].removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, max(image.size)) == ("JPEG", THUMBNAIL_SIDE)
    assert len(data) < 15_000


# --- What is shown ---------------------------------------------------------------------------


def test_each_level_is_counted_and_filters(table):
    assert counts_in(table) == [
        "All 4",
        "High 1",
        "Raised 1",
        "Low 1",
        "Unknown 0",
        "Not classified 1",
    ]
    choose(table, "Raised")
    assert names_in(table) == ["raised.png"]
    assert table.get_by_role("status").inner_text() == "Showing 1 of 4 images."
    assert table.get_by_text("The CSV contains all of them").is_visible()
    assert len(csv_of(table)) == 4
    shoot(table, "table-filtered")
    choose(table, "All")
    assert names_in(table) == ["high.png", "raised.png", "low.png", "spoiled.png"]
    assert not table.get_by_label("Unknown").is_enabled()


def test_without_script_the_rows_are_counted_and_filtered_too(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    classify(page, *FILES)
    wait_for_table(page)
    assert counts_in(page)[0] == "All 4"
    choose(page, "Not classified")
    assert names_in(page) == ["spoiled.png"]
    assert page.locator(".note, #compare").filter(visible=True).count() == 0
    context.close()


def test_the_summary_tells_read_images_from_those_of_unknown_risk(client):
    page = plain_table(client, b"spoiled", *[drawn()["buffer"]] * 2)
    said = "Classified: 2 of 3 images. Risk unknown: 2."
    assert text_of(page, "#batch-summary") == said


def test_a_choice_that_a_later_try_empties_shows_all_again(desk, address):
    page = desk.new_page()
    page.goto(address)
    page.route("**/showresult", lambda route: route.abort())
    classify(page, *FILES[2:])
    wait_for_table(page)
    choose(page, "Not classified")
    page.get_by_label("Note on high.png").fill("kept")
    page.unroute("**/showresult")
    page.get_by_role("button", name="Retry failed images").click()
    page.get_by_text("Classified: 2 of 2 images").first.wait_for()
    assert names_in(page) == ["high.png", "raised.png"]
    assert page.get_by_label("Note on high.png").input_value() == "kept"
    page.close()


def test_what_comes_after_the_csv_was_saved_is_asked_about(desk, address):
    page = desk.new_page()
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.goto(address)
    page.route("**/showresult", lambda route: route.abort())
    classify(page, *FILES[2:])
    wait_for_table(page)
    csv_of(page)
    page.unroute("**/showresult")
    page.get_by_role("button", name="Retry failed images").click()
    page.get_by_text("Classified: 2 of 2 images").first.wait_for()
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.reload()
    assert asked == ["beforeunload"]
    page.close()


def test_a_table_without_an_answer_is_left_without_a_question(desk, address):
    page = desk.new_page()
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.goto(address)
    classify(page, SPOILED, drawn("unknown.png", draw_for("unknown")))
    wait_for_table(page)
    page.reload()
    assert asked == []
    page.close()


def test_the_csv_has_the_order_of_the_table(table):
    table.get_by_role("button", name="Image", exact=True).click()
    assert table.get_by_role("status").inner_text() == "Sorted by Image."
    assert [row["file"] for row in csv_of(table)] == names_in(table)


def test_a_picture_that_cannot_be_judged_has_no_figures(client):
    (row, *_) = plain_table(client, *[drawn()["buffer"]] * 2).select("tbody tr")
    assert [cell.text for cell in row.select("td")[2:4]] == ["–", "–"]


def test_the_table_fits_a_small_tablet(table):
    table.set_viewport_size({"width": 768, "height": 1024})
    assert table.evaluate("document.documentElement.scrollWidth") <= 768


# --- Warning signs ---------------------------------------------------------------------------


def test_the_doctor_leads_the_table_if_enough_was_ticked_before(desk, address):
    page = desk.new_page()
    page.goto(address)
    for place in (0, 1):
        page.locator(".signs input").nth(place).check()
    classify(page, *FILES[2:])
    wait_for_table(page)
    assert page.locator("#batch > .doctor-now").inner_text().startswith("Show it to a doctor now.")
    page.close()


def test_what_is_ticked_in_a_full_result_stands_in_its_row_and_beside_another(table):
    table.get_by_role("button", name="low.png", exact=True).click()
    for place in (0, 1):
        table.locator(".signs input").nth(place).check()
    table.go_back()
    row = table.get_by_role("row", name="low.png")
    assert row.locator(".signs-ticked").inner_text() == "Show it to a doctor now."
    table.go_forward()
    table.locator(".signs input").nth(0).uncheck()
    table.go_back()
    assert not row.locator(".signs-ticked").count()


# --- The rows --------------------------------------------------------------------------------


def test_the_next_and_the_previous_are_those_of_the_table_as_it_is_shown(table):
    table.get_by_role("button", name="Result", exact=True).click()  # the least urgent first
    table.get_by_role("button", name="low.png", exact=True).click()
    assert table.locator(".paging p").inner_text() == "1 of 3: low.png"
    assert table.get_by_role("button", name="Previous").is_disabled()
    table.get_by_role("button", name="Next: raised.png").focus()
    table.keyboard.press("Enter")
    assert table.locator(".paging p").inner_text() == "2 of 3: raised.png"
    assert table.evaluate("document.activeElement.id") == "headline"
    assert table.title().startswith("raised.png")
    shoot(table, "table-opened")
    table.go_back()  # past low.png, to the table
    assert focused(table) == "raised.png"
    choose(table, "High")
    table.get_by_role("button", name="high.png", exact=True).click()
    assert table.locator(".paging p").inner_text() == "1 of 1: high.png"
    table.get_by_role("button", name="Back to the table").click()
    assert names_in(table) == ["high.png"]


# --- Notes -----------------------------------------------------------------------------------


def test_a_note_stays_through_sorting_and_goes_into_the_csv_alone(table):
    sent = []
    table.on("request", lambda request: sent.append(request.method))
    table.get_by_label("Note on spoiled.png").fill("=1+1")
    table.get_by_label("Note on low.png").fill('left arm, "new"\nsince May')
    table.get_by_role("button", name="Image", exact=True).click()
    table.get_by_role("button", name="low.png", exact=True).click()
    note = table.get_by_label("Your note")
    assert note.input_value() == 'left arm, "new"\nsince May'
    note.fill("right arm")
    table.go_back()
    notes = {row["file"]: row["note"] for row in csv_of(table)}
    assert notes == {
        "high.png": "", "raised.png": "", "low.png": "right arm", "spoiled.png": "'=1+1",
    }  # fmt: skip
    assert "POST" not in sent


def test_a_note_after_the_csv_was_saved_is_not_left_without_a_question(table):
    asked = []
    table.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    csv_of(table)
    table.get_by_label("Note on low.png").fill("new")
    table.reload()
    assert asked == ["beforeunload"]


# --- On paper --------------------------------------------------------------------------------


def test_the_table_prints_on_wide_pages_with_date_model_and_version(table):
    table.get_by_label("Note on low.png").fill("left arm")
    model = csv_of(table)[0]["model_sha256"][:12]
    table.emulate_media(media="print")
    said = table.locator(".origin").inner_text()
    assert re.search(rf"on 20\d\d-\d\d-\d\d by the model {model} of .* {version()}\.$", said)
    assert not table.get_by_label("Note on low.png").is_visible()
    shown = "cell => getComputedStyle(cell, '::after').visibility"
    assert table.locator("[data-value='left arm'].grows").evaluate(shown) == "visible"
    pages = re.findall(rb"/MediaBox \[0 0 (\S+) (\S+)\]", table.pdf(prefer_css_page_size=True))
    assert pages
    assert all(float(width) > float(height) for width, height in pages)


def test_the_csv_has_date_model_and_version(table):
    rows = csv_of(table)
    assert list(rows[0])[-3:] == ["version", "date", "note"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", rows[0]["date"])
    assert (rows[0]["version"], len(rows[0]["model_sha256"])) == (version(), 64)
    assert rows[-1]["date"] == ""


# --- Side by side ----------------------------------------------------------------------------


def side(page, name):
    return page.locator(f"[data-side={name}]")


def test_two_images_are_shown_side_by_side_and_swapped(desk, address):
    page = desk.new_page()
    page.goto(address)
    classify(page, FILES[0], FILES[2])
    wait_for_table(page)
    page.get_by_role("button", name="Compare two photographs").click()
    assert page.get_by_text("Lesion Lens does not measure change").is_visible()
    assert "Risk: low" in side(page, "earlier").inner_text()
    later = side(page, "later")
    assert "Risk: high" in later.inner_text()
    assert later.locator("img").evaluate("image => image.naturalWidth") == 600
    assert all(
        re.search(r"\d.%", later.locator(f".{n}").inner_text()) for n in ("probability", "cancer")
    )
    shoot(page, "comparison")
    assert len(re.findall(rb"/Type /Page\b", page.pdf(format="A4"))) == 1
    page.get_by_role("button", name="Swap").click()
    assert "Risk: high" in side(page, "earlier").inner_text()
    assert page.get_by_role("status").inner_text() == "Earlier: 2. high.png. Later: 1. low.png."
    page.set_viewport_size({"width": 375, "height": 800})
    shoot(page, "comparison")
    boxes = [side(page, name).bounding_box() for name in ("earlier", "later")]
    assert boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"]
    page.get_by_role("button", name="Back to the table").click()
    assert focused(page).startswith("Compare")
    page.close()


def test_side_by_side_what_to_do_is_said_once(desk, address):
    page = desk.new_page()
    page.goto(address)
    classify(page, drawn("unknown.png", draw_for("unknown")), FILES[2])
    wait_for_table(page)
    page.get_by_role("button", name="Compare two photographs").click()
    assert side(page, "earlier").inner_text().count("show it to a doctor") == 1
    page.close()


def test_of_several_images_two_are_chosen_and_never_one_beside_itself(table):
    table.get_by_role("button", name="Compare two photographs").click()
    earlier, later = (side(table, name).get_by_role("combobox") for name in ("earlier", "later"))
    assert later.locator("option").all_inner_texts()[1:] == [
        "1. low.png",
        "2. high.png",
        "3. raised.png",
    ]
    assert not side(table, "later").locator("img").is_visible()
    earlier.select_option("1. low.png")
    later.select_option("3. raised.png")
    later.select_option("1. low.png")
    assert "Risk: raised" in side(table, "earlier").inner_text()
    assert "Risk: low" in side(table, "later").inner_text()


def test_one_classified_image_has_nothing_to_be_compared_with(desk, address):
    page = desk.new_page()
    page.goto(address)
    classify(page, drawn("a.png", draw_lesion((40, 30))), SPOILED)
    wait_for_table(page)
    assert not page.get_by_role("button", name="Compare").is_visible()
    page.close()
