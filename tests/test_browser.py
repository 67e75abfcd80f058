"""Uploading images and reading results in a real Chromium; screenshots are in screenshots/."""

import re
import time

import pytest

from lesion_lens.model.decisions import LEVELS, DecisionFacts
from lesion_lens.web.limits import MAX_IMAGES
from tests.support.browser import (
    SPOILED,
    chosen,
    classify,
    drawn,
    pause_of,
    resize,
    shoot,
    transfer_of,
    window,
)
from tests.support.cards import made_clinic
from tests.support.drawings import draw_for, draw_lesion, draw_motley_lesion
from tests.support.models import (
    OWN,
    PROVEN,
    UNLIKE,
    attributes_of,
    made_scores,
    shares_of,
    write_model,
)
from tests.support.pages import app_of
from tests.support.servers import serving
from tests.support.tables import csv_of, names_in, wait_for_table
from tests.support.waiting import wait_for

SIZES = [(375, "light"), (1280, "dark")]


@pytest.fixture(params=SIZES, ids=str)
def page(request, desk, address):
    """The upload page on a phone or a desktop, with a record of its faults."""
    page = desk.new_page()
    resize(page, *request.param)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda line: line.type == "error" and page.faults.append(line.text))
    page.on(
        "request",
        lambda r: r.url.startswith((address, "data:", "blob:")) or page.faults.append(r.url),
    )
    page.goto(address)
    yield page
    page.close()


@pytest.fixture
def one_page(desk, address):
    page = desk.new_page()
    page.goto(address)
    yield page
    page.close()


@pytest.fixture
def plain_page(browser, address):
    """A browser without JavaScript."""
    with window(browser, java_script_enabled=False) as page:
        page.goto(address)
        yield page


@pytest.fixture
def large_file(tmp_path):
    """Make a file of more bytes than a request may have."""

    def made(name, size=21_000_000):
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(size)
        return path

    return made


def image_file(request):
    """An original image if they are available, else a drawn lesion."""
    try:
        return request.getfixturevalue("original_files")[4]
    except pytest.skip.Exception:
        return drawn()


# --- One image -------------------------------------------------------------------------------


def test_an_image_is_uploaded_and_the_result_is_read(page, request):
    shoot(page, "upload")
    page.get_by_label("Choose one or more images").set_input_files(image_file(request))
    assert page.locator("#chosen img").evaluate("e => e.decode().then(() => e.naturalWidth)") > 0
    shoot(page, "chosen")
    page.get_by_role("button", name="Classify").click()
    page.locator("#likely").wait_for()
    shares = [float(e.get_attribute("value")) for e in page.locator("data").all()]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    bars = [bar.bounding_box()["width"] for bar in page.locator(".bars rect").all()]
    assert bars[0] / page.locator(".bars svg").first.bounding_box()["width"] == pytest.approx(
        shares[0], abs=0.02
    )
    assert page.get_by_text("not a diagnosis").is_visible()
    shoot(page, "result")
    assert page.faults == []


def test_the_headline_is_read_out(one_page):
    classify(one_page, drawn())
    one_page.locator("#headline").wait_for()
    assert one_page.evaluate("document.activeElement.id") == "headline"
    assert one_page.title().startswith("Result")


@pytest.mark.parametrize("size", [(600, 450), (300, 900), (900, 100)], ids=str)
@pytest.mark.parametrize("media", ["screen", "print"])
def test_the_map_lies_on_the_image(one_page, media, size):
    classify(one_page, drawn(image=draw_lesion(size)))
    one_page.locator("#likely").wait_for()
    one_page.emulate_media(media=media)
    image = one_page.locator(".map use").bounding_box()
    matrix = one_page.locator(".patches").evaluate(
        "map => { const {a, d, e, f} = map.getScreenCTM(); return [e, f, 7 * a, 7 * d]; }"
    )
    assert matrix == pytest.approx([image[k] for k in ("x", "y", "width", "height")], abs=0.5)
    assert image["width"] / image["height"] == pytest.approx(size[0] / size[1], rel=0.02)


def test_the_map_can_be_switched_off(one_page, request):
    classify(one_page, image_file(request))
    patch = one_page.locator(".patches rect").first
    patch.wait_for(state="visible")
    one_page.get_by_role("switch", name="What it depends on").click()
    assert not patch.is_visible()


def test_a_map_without_a_peak_has_no_switch(desk, tmp_path):
    path = write_model(tmp_path, shares_of())  # the same answer, whichever part is covered
    with serving(app_of(path)) as port:
        page = desk.new_page()
        page.goto(f"http://127.0.0.1:{port}")
        classify(page, drawn())
        page.get_by_text("No part stands out").wait_for()
        assert page.get_by_role("switch").count() == 0
        page.close()


def test_the_map_has_its_text(one_page, request):
    classify(one_page, image_file(request))
    name = one_page.locator("#weight").inner_text()
    assert one_page.get_by_role("img", name=name).is_visible()


def test_a_file_that_is_no_image_gets_its_sentence(page):
    classify(page, SPOILED)
    page.get_by_role("alert").wait_for()
    assert "not an image that can be read" in page.get_by_role("alert").inner_text()
    assert chosen(page) == ["spoiled.png"]
    shoot(page, "error")


def test_an_error_is_in_sight_of_whoever_pressed_the_button(one_page):
    one_page.set_viewport_size({"width": 375, "height": 667})
    classify(one_page, SPOILED)
    one_page.get_by_role("alert").wait_for()
    box = one_page.get_by_role("alert").bounding_box()
    assert 0 <= box["y"] <= 667 - box["height"]
    assert one_page.evaluate("document.activeElement.id") == "error"
    assert one_page.locator("#pic").get_attribute("aria-invalid") == "true"


def test_a_server_that_fails_is_not_taken_for_an_image_that_does(one_page):
    one_page.route("**/showresult", lambda route: route.fulfill(status=502, body=""))
    classify(one_page, drawn())
    one_page.get_by_role("alert").wait_for()
    said = one_page.get_by_role("alert").inner_text()
    assert "The server is not working properly. Try again later." in said


def test_a_file_that_is_gone_is_named_as_such(one_page, tmp_path):
    path = tmp_path / "gone.png"
    path.write_bytes(drawn()["buffer"])
    one_page.set_input_files("#pic", path)
    path.unlink()
    one_page.get_by_role("button", name="Classify").click()
    one_page.get_by_role("alert").wait_for()
    assert "can no longer be read" in one_page.get_by_role("alert").inner_text()


def test_nothing_chosen_is_said(one_page):
    one_page.get_by_role("button", name="Classify").click()
    assert "No image was chosen" in one_page.get_by_role("alert").inner_text()


def test_without_a_connection_the_sentence_says_so_and_the_image_stays(one_page):
    one_page.set_input_files("#pic", drawn())
    one_page.context.set_offline(True)
    try:
        one_page.get_by_role("button", name="Classify").click()
        one_page.get_by_role("alert").wait_for()
        assert "no connection to the server" in one_page.get_by_role("alert").inner_text()
    finally:
        one_page.context.set_offline(False)
    one_page.get_by_role("button", name="Classify").click()
    one_page.locator("#likely").wait_for()


def test_a_file_too_large_is_said_before_it_is_sent(one_page, large_file):
    sent = []
    one_page.on("request", lambda request: sent.append(request.url))
    classify(one_page, large_file("large.jpg"))
    one_page.get_by_role("alert").wait_for()
    assert "larger than 20\xa0MB" in one_page.get_by_role("alert").inner_text()
    assert not any(url.endswith("/showresult") for url in sent)


def test_the_upload_shows_its_progress(one_page):
    seen = []
    one_page.expose_function("seen", lambda *state: seen.append(state))
    one_page.evaluate(
        """new MutationObserver(() => seen(step.textContent, bar.position, bar.checkVisibility()))
             .observe(document.getElementById("progress"),
                      {attributes: true, childList: true, subtree: true})"""
    )
    classify(one_page, {**drawn(), "buffer": drawn()["buffer"] + b"\x00" * 5_000_000})
    one_page.locator("#likely").wait_for()
    assert ("Uploading …", 0, True) in seen
    assert any(text == "Classifying …" and position < 0 for text, position, _ in seen)


def test_going_back_finds_the_form_and_forward_the_result(one_page):
    classify(one_page, drawn())
    one_page.locator("#likely").wait_for()
    one_page.go_back()
    assert chosen(one_page) == ["lesion.png"]
    assert one_page.get_by_role("button", name="Classify").is_enabled()
    one_page.go_forward()
    assert one_page.locator("#likely").is_visible()


def test_another_image_can_be_classified(one_page):
    classify(one_page, drawn())
    one_page.get_by_role("link", name="Classify another image").click()
    assert chosen(one_page) == []
    classify(one_page, drawn("second.png"))
    one_page.locator("#likely").wait_for()


def test_the_link_to_the_content_keeps_the_result(one_page):
    classify(one_page, drawn())
    one_page.locator("#likely").wait_for()
    one_page.locator(".skip").focus()
    one_page.keyboard.press("Enter")
    assert one_page.url.endswith("#main")
    assert one_page.locator("#likely").is_visible()


def test_after_a_reload_going_back_finds_a_form_that_works(one_page):
    classify(one_page, drawn())
    one_page.locator("#likely").wait_for()
    one_page.reload()
    one_page.go_back()
    classify(one_page, drawn())
    one_page.locator("#likely").wait_for()


def test_a_reload_of_a_result_leads_to_the_form(one_page):
    classify(one_page, drawn())
    one_page.locator("#likely").wait_for()
    one_page.reload()
    assert one_page.locator("#upload").is_visible()
    assert one_page.locator("#likely").count() == 0


def sheets_of(page, name):
    """Return on how many pages a result prints, the larger number for A4 and US Letter."""
    page.locator("#likely").wait_for()
    printed = [page.pdf(format=size, path=f"screenshots/{name}.pdf") for size in ("Letter", "A4")]
    return max(len(re.findall(rb"/Type /Page\b", pdf)) for pdf in printed)


def test_the_result_prints_on_one_page(one_page, request):
    classify(one_page, image_file(request))
    assert sheets_of(one_page, "result") == 1
    one_page.emulate_media(media="print")
    size = one_page.evaluate("parseFloat(getComputedStyle(document.body).fontSize) * 72 / 96")
    assert size > 9  # points
    assert one_page.locator("#how-good").inner_text().startswith("Of 100 images of melanomas")


def test_the_longest_result_prints_on_one_page(desk, tmp_path):
    """Unfamiliar and flagged at once, all classes in the set and signs ticked, two pooled."""
    facts = DecisionFacts(
        1.0, (0.1, 0.1, 0.5, 0.05, 0.1, 0.1, 0.05), 0.1, (0.01,) * 7, ("df", "vasc")
    )
    path = write_model(
        tmp_path,
        [0.12, 0.12, 0.4, 0.02, 0.04, 0.15, 0.15],
        {
            "test": made_scores(),
            "other_clinics": {"clinics": {"elsewhere": made_clinic(0.7)}},
            "data": "HAM10000",
            "data_sha256": "0123456789abcdef" * 4,
        },
        attributes_of(facts, UNLIKE, OWN, PROVEN),
    )
    with serving(app_of(path)) as port:
        page = desk.new_page()
        page.goto(f"http://127.0.0.1:{port}")
        for box in page.locator(".signs input").all():
            box.check()
        classify(
            page, drawn("a-long-name-of-a-file" * 5 + ".png", draw_motley_lesion(297, (300, 600)))
        )
        assert sheets_of(page, "longest-result") == 1
        assert all(
            page.locator(f"#{name}").count() for name in ("unfamiliar", "meaning", "flagged")
        )
        page.close()


def test_the_button_prints(one_page):
    classify(one_page, drawn())
    one_page.evaluate("window.print = () => { document.title = 'printed'; }")
    one_page.get_by_role("button", name="Print").click()
    assert one_page.title() == "printed"


# --- Ways to bring an image ------------------------------------------------------------------


def test_images_are_dropped_anywhere_and_added(one_page):
    for name in ("first.png", "second.png"):
        transfer = transfer_of(one_page, drawn(name, draw_lesion((40, 30))))
        one_page.dispatch_event("h1", "drop", {"dataTransfer": transfer})
    assert chosen(one_page) == ["first.png", "second.png"]
    one_page.get_by_role("button", name="Remove first.png").click()
    assert chosen(one_page) == ["second.png"]
    one_page.get_by_role("button", name="Classify").click()
    one_page.locator("#likely").wait_for()


@pytest.mark.parametrize("kind", ["dragover", "drop"])
@pytest.mark.parametrize("view", ["form", "result"])
def test_a_file_on_the_page_never_makes_the_browser_leave_it(one_page, kind, view):
    if view == "result":
        classify(one_page, drawn())
        one_page.locator("#likely").wait_for()
    transfer = transfer_of(one_page, drawn("dropped.png", draw_lesion((40, 30))))
    goes_on = one_page.evaluate(
        "([kind, dataTransfer]) => document.querySelector('h1').dispatchEvent("
        "new DragEvent(kind, {dataTransfer, bubbles: true, cancelable: true}))",
        [kind, transfer],
    )
    assert not goes_on


def test_an_image_is_pasted(one_page):
    transfer = transfer_of(one_page, drawn("pasted.png", draw_lesion((40, 30))))
    one_page.evaluate(
        "t => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: t}))", transfer
    )
    assert chosen(one_page) == ["pasted.png"]
    one_page.get_by_role("button", name="Classify").click()
    one_page.locator("#likely").wait_for()


@pytest.mark.parametrize("java_script", [True, False])
def test_a_phone_takes_a_photograph(browser, address, java_script):
    options = {"has_touch": True, "is_mobile": True, "java_script_enabled": java_script}
    with window(browser, 375, **options) as page:
        page.goto(address)
        assert page.get_by_text("Take a photograph through a dermatoscope").is_visible()
        camera = page.locator("#camera")
        assert camera.get_attribute("capture") == "environment"
        camera.set_input_files(drawn("photograph.png"))
        page.get_by_role("button", name="Classify").click()
        page.locator("#likely").wait_for()


def test_a_desk_has_no_camera_button(one_page):
    assert not one_page.locator(".camera").is_visible()


def test_a_picture_that_the_browser_cannot_show_is_named(one_page):
    one_page.set_input_files("#pic", {**SPOILED, "name": "IMG_0001.HEIC"})
    one_page.locator("#chosen img").wait_for(state="hidden")
    assert chosen(one_page) == ["IMG_0001.HEIC"]


def test_a_file_too_large_is_marked_when_it_is_chosen(one_page, large_file):
    one_page.set_input_files("#pic", large_file("large.jpg"))
    assert one_page.locator("#chosen small").inner_text() == "⚠ 21.0\xa0MB: too large"


def test_more_than_fifty_are_not_sent(one_page):
    classify(one_page, *[drawn(f"{i}.png", draw_lesion((28, 28))) for i in range(MAX_IMAGES + 1)])
    said = one_page.get_by_role("alert").inner_text()
    assert said == f"You chose {MAX_IMAGES + 1} images. Send at most {MAX_IMAGES} at once."


# --- Several images --------------------------------------------------------------------------


def test_several_images_fill_one_table(page):
    files = [drawn('a, "b".png'), SPOILED, drawn("c.png", draw_lesion((300, 300)))]
    classify(page, *files)
    wait_for_table(page)
    assert (
        page.locator("#batch-summary").inner_text() == "Classified: 2 of 3 images. Risk unknown: 2."
    )
    assert sorted(names_in(page)) == ['a, "b".png', "c.png", "spoiled.png"]
    assert names_in(page)[-1] == "spoiled.png"
    assert "not an image that can be read" in page.locator("tr.failed").inner_text()
    shoot(page, "batch")
    rows = csv_of(page)
    assert [row["file"] for row in rows] == names_in(page)
    assert "not an image that can be read" in rows[2]["error"]
    assert float(rows[1]["probability"]) > 0


def test_each_row_opens_its_result_in_the_same_page(one_page):
    classify(one_page, drawn("a.png"), drawn("b.png", draw_lesion((300, 300))))
    wait_for_table(one_page)
    row = one_page.locator("tbody tr").filter(has_text="b.png")
    likely = row.locator("td").nth(1).get_attribute("data-value")
    one_page.get_by_role("button", name="b.png", exact=True).click()
    assert one_page.locator("#headline").is_visible()
    assert one_page.locator("#likely").inner_text() == likely
    one_page.get_by_role("button", name="Back to the table").click()
    assert sorted(names_in(one_page)) == ["a.png", "b.png"]
    assert one_page.evaluate("document.activeElement.textContent") == "b.png"


def test_the_table_is_sorted_by_each_column(one_page):
    classify(
        one_page,
        drawn("2.png"),
        SPOILED,
        drawn("10.png", draw_lesion((28, 28))),
        drawn("1.png", draw_lesion((90, 9))),
    )
    wait_for_table(one_page)
    one_page.get_by_role("button", name="Image", exact=True).click()
    assert names_in(one_page) == ["1.png", "2.png", "10.png", "spoiled.png"]
    one_page.get_by_role("button", name="Image", exact=True).click()
    assert names_in(one_page) == ["10.png", "2.png", "1.png", "spoiled.png"]
    assert one_page.locator("[aria-sort]").get_attribute("aria-sort") == "descending"
    one_page.get_by_role("button", name="Probability", exact=True).click()
    values = one_page.locator("td[data-label=Probability]").evaluate_all(
        "cells => cells.map((cell) => Number(cell.dataset.value))"
    )
    assert values == sorted(values, reverse=True)
    assert one_page.locator("[aria-sort]").count() == 1


def test_the_most_urgent_come_first(one_page):
    files = [drawn(level, draw_for(level)) for level in reversed(LEVELS)]
    classify(one_page, SPOILED, *files)
    wait_for_table(one_page)
    assert names_in(one_page) == [*LEVELS, "spoiled.png"]
    assert [row["risk_level"] for row in csv_of(one_page)] == [*LEVELS, ""]
    one_page.get_by_role("button", name="Result", exact=True).click()
    assert names_in(one_page) == [*reversed(LEVELS), "spoiled.png"]


def test_rows_that_come_leave_the_focus_where_it_is(one_page):
    held = []

    def hold(route):
        held.append(route)

    one_page.route("**/showresult", hold)
    classify(one_page, drawn("a.png"), drawn("b.png"))
    wait_for(lambda: len(held) == 2, pause=pause_of(one_page))
    held[1].continue_()
    one_page.get_by_role("button", name="b.png", exact=True).wait_for()
    one_page.get_by_role("button", name="Image", exact=True).click()  # from now on rows are moved
    one_page.get_by_role("button", name="b.png", exact=True).focus()
    held[0].continue_()
    wait_for_table(one_page)
    assert sorted(names_in(one_page)) == ["a.png", "b.png"]
    assert one_page.evaluate("document.activeElement.textContent") == "b.png"


def test_what_did_not_get_through_is_tried_again(one_page):
    one_page.route("**/showresult", lambda route: route.abort())
    classify(one_page, drawn("a.png"), drawn("b.png"))
    wait_for_table(one_page)
    assert one_page.locator("#batch-summary").inner_text().startswith("Classified: 0 of 2")
    one_page.unroute("**/showresult")
    one_page.get_by_role("button", name="Retry failed images").click()
    one_page.get_by_text("Classified: 2 of 2 images").first.wait_for()
    assert names_in(one_page) == ["a.png", "b.png"]
    assert not one_page.get_by_role("button", name="Retry failed images").is_visible()


def test_the_end_of_a_batch_is_read_out(one_page):
    classify(one_page, drawn("a.png"), SPOILED)
    wait_for_table(one_page)
    assert (
        one_page.get_by_role("status").inner_text() == "Classified: 1 of 2 images. Risk unknown: 1."
    )


def test_while_a_batch_runs_the_form_says_so(one_page):
    one_page.route("**/showresult", lambda route: None)
    classify(one_page, drawn("a.png"), drawn("b.png"))
    one_page.get_by_role("link", name="Classify other images").click()
    assert one_page.get_by_text("Classifying 2 images …").first.is_visible()
    one_page.dispatch_event(
        "h1", "drop", {"dataTransfer": transfer_of(one_page, drawn("c.png", draw_lesion((40, 30))))}
    )
    assert "Wait until your other images are done" in one_page.get_by_role("alert").inner_text()


def test_an_unsaved_table_is_not_left_without_a_question(one_page):
    asked = []
    one_page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    lesions = [drawn(name, draw_for("raised")) for name in ("a.png", "b.png")]
    classify(one_page, *lesions)
    wait_for_table(one_page)
    one_page.reload()
    assert asked == ["beforeunload"]
    classify(one_page, *lesions)
    wait_for_table(one_page)
    csv_of(one_page)
    one_page.reload()
    assert asked == ["beforeunload"]


def test_on_a_phone_a_row_is_a_card_and_still_a_row(one_page):
    resize(one_page, 375)
    classify(one_page, drawn("a.png"), drawn("b.png"))
    wait_for_table(one_page)
    cells = one_page.get_by_role("row", name="a.png").get_by_role("cell")
    assert cells.count() == 5
    assert one_page.get_by_role("columnheader", name="Probability").count() == 1
    label = cells.nth(2).evaluate("cell => getComputedStyle(cell, '::before').content")
    assert "Probability" in label


def test_at_most_two_images_are_in_flight(one_page):
    one_page.evaluate(
        """() => {
            window.running = window.most = 0;
            const send = XMLHttpRequest.prototype.send;
            XMLHttpRequest.prototype.send = function (body) {
                running += 1;
                most = Math.max(most, running);
                this.addEventListener("readystatechange", () => {
                    running -= this.readyState === 4;
                });
                send.call(this, body);
            };
        }"""
    )
    classify(one_page, *[drawn(f"{i}.png") for i in range(8)])
    wait_for_table(one_page)
    assert len(names_in(one_page)) == 8
    assert one_page.evaluate("[running, most]") == [0, 2]


def test_an_image_that_was_turned_away_is_sent_again(one_page):
    tries = []

    def busy_at_first(route):
        tries.append(time.monotonic())
        if len(tries) == 1:
            route.fulfill(status=503, headers={"Retry-After": "1"}, body="")
        else:
            route.continue_()

    one_page.route("**/showresult", busy_at_first)
    classify(one_page, drawn())
    one_page.locator("#likely").wait_for()
    assert len(tries) == 2
    assert tries[1] - tries[0] >= 1


def test_a_file_without_an_answer_has_a_row_that_harms_no_spreadsheet(
    one_page, large_file, tmp_path
):
    small = tmp_path / "a.png"
    small.write_bytes(drawn()["buffer"])
    classify(one_page, large_file('=1+"1".png'), small)
    wait_for_table(one_page)
    rows = csv_of(one_page)
    assert rows[-1]["file"] == '\'=1+"1".png'
    assert "larger than 20 MB" in rows[-1]["error"]


# --- By keyboard alone -----------------------------------------------------------------------


def press_until(page, key, expression, times=40):
    for _ in range(times):
        page.keyboard.press(key)
        if page.evaluate(expression):
            return
    pytest.fail(f"{expression} was not reached with {key}")


def test_everything_works_by_keyboard(one_page):
    one_page.set_input_files("#pic", [drawn("a.png"), drawn("b.png"), drawn("c.png")])
    press_until(one_page, "Tab", "document.activeElement.ariaLabel === 'Remove b.png'")
    one_page.keyboard.press("Enter")
    assert chosen(one_page) == ["a.png", "c.png"]
    assert one_page.evaluate("document.activeElement.ariaLabel") == "Remove c.png"
    press_until(one_page, "Tab", "document.activeElement.type === 'submit'")
    one_page.keyboard.press("Enter")
    wait_for_table(one_page)
    press_until(one_page, "Tab", "document.activeElement.textContent === 'Probability'")
    one_page.keyboard.press("Enter")
    assert one_page.locator("[aria-sort]").inner_text().startswith("Probability")
    press_until(one_page, "Tab", "document.activeElement.textContent === 'a.png'")
    one_page.keyboard.press("Enter")
    press_until(one_page, "Tab", "document.activeElement.id === 'map-switch'")
    one_page.keyboard.press("Space")
    assert not one_page.get_by_role("switch").is_checked()
    press_until(one_page, "Shift+Tab", "document.activeElement.matches('.back')")
    one_page.keyboard.press("Enter")
    assert sorted(names_in(one_page)) == ["a.png", "c.png"]


def test_what_has_the_focus_is_seen(one_page):
    classify(one_page, drawn("a.png"), drawn("b.png"))
    wait_for_table(one_page)
    one_page.keyboard.press("Tab")
    outline = one_page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


# --- Without JavaScript ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [21_000_000, 45_000_000])
def test_without_javascript_a_file_too_large_gets_the_page_and_not_a_broken_connection(
    plain_page, size, large_file
):
    classify(plain_page, large_file("a.jpg", size))
    plain_page.wait_for_url("**/showresult")
    assert "More than 20\xa0MB" in plain_page.get_by_role("alert").inner_text()


def test_without_javascript_an_image_is_classified(plain_page, request):
    plain_page.get_by_text("Which images can be used").click()
    assert "up to 20\xa0MB together" in plain_page.locator("#limits").inner_text()
    classify(plain_page, image_file(request))
    plain_page.wait_for_url("**/showresult")
    assert plain_page.locator("#likely").is_visible()
    assert not plain_page.get_by_text("Print").is_visible()


def test_without_javascript_several_images_get_the_same_table(plain_page):
    classify(plain_page, drawn("a.png"), SPOILED, drawn("c.png"))
    plain_page.wait_for_url("**/showresult")
    assert names_in(plain_page) == ["a.png", "c.png", "spoiled.png"]
    assert plain_page.locator("#batch-summary").inner_text().startswith("Classified: 2 of 3 images")
    assert [row["file"] for row in csv_of(plain_page)] == ["a.png", "c.png", "spoiled.png"]


def test_both_tables_are_the_same(one_page, plain_page):
    files = [drawn("a.png"), SPOILED, drawn("c.png", draw_lesion((300, 300)))]
    for page in (one_page, plain_page):
        classify(page, *files)
        wait_for_table(page)
    cells = ".results :is(th, td):not(.note)"  # only the script adds it
    texts = [page.locator(cells).all_inner_texts() for page in (one_page, plain_page)]
    assert texts[0] == texts[1]
    assert csv_of(one_page) == csv_of(plain_page)
