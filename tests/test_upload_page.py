"""The upload page in Chromium: choosing, cancelling, warning signs, and the drawn picture."""

import numpy as np
import pytest
from PIL import Image

from scripts import draw_sample
from tests.support.browser import (
    SPOILED,
    chosen,
    classify,
    drawn,
    drop,
    pause_of,
    transfer_of,
    window,
)
from tests.support.drawings import draw_for, draw_lesion
from tests.support.pages import page_of, text_of
from tests.support.waiting import wait_for

SMALL = draw_lesion((40, 30))
PDF = {"name": "report.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7"}
PHONES = [(375, 812), (360, 640), (320, 568)]


@pytest.fixture
def page(desk, address):
    page = desk.new_page()
    page.goto(address)
    yield page
    page.close()


def is_in_sight(page, locator):
    box = locator.bounding_box()
    return box["y"] >= 0 and box["y"] + box["height"] <= page.viewport_size["height"]


def status_of(page):
    return page.get_by_role("status").inner_text()


def alert_of(page):
    page.get_by_role("alert").wait_for()
    return page.get_by_role("alert").inner_text()


# --- On a phone ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", PHONES, ids=str)
def test_the_preview_and_the_button_come_into_sight(browser, address, size):
    with window(browser, has_touch=True) as page:
        page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
        page.goto(address)
        for files in ([drawn()], [drawn(f"{i}.png", SMALL) for i in range(12)]):
            page.set_input_files("#pic", files)
            assert is_in_sight(page, page.locator("#chosen img").first)
            assert is_in_sight(page, page.get_by_role("button", name="Classify"))
            switch = page.get_by_text("Keep my images on this device").first
            assert is_in_sight(page, switch)
            box = switch.bounding_box()
            below = page.get_by_role("button", name="Classify").bounding_box()["y"]
            assert below - box["y"] - box["height"] >= 8


@pytest.mark.parametrize("size", PHONES, ids=str)
def test_without_script_an_error_is_in_sight(browser, address, size):
    with window(browser, java_script_enabled=False) as page:
        page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
        page.goto(address)
        classify(page, SPOILED)
        assert "not an image that can be read" in alert_of(page)
        assert is_in_sight(page, page.get_by_role("alert"))


def test_what_has_the_focus_is_not_behind_the_button(page):
    page.set_viewport_size({"width": 375, "height": 640})
    page.set_input_files("#pic", drawn())
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate(
            """() => {
                const {x, y, width, height} = document.activeElement.getBoundingClientRect();
                const top = document.elementFromPoint(x + width / 2, y + height / 2);
                return !top?.closest(".send") || top.contains(document.activeElement);
            }"""
        )


# --- Choosing --------------------------------------------------------------------------------


def test_choosing_again_adds_and_doubles_nothing(page):
    page.set_input_files("#pic", drawn("a.png", SMALL))
    page.set_input_files("#pic", [drawn("b.png", SMALL), drawn("a.png", SMALL)])
    page.get_by_text("Already chosen, not added again: 1.").first.wait_for()
    page.set_input_files("#pic", drawn("a.png"))  # another image of that name
    assert chosen(page) == ["a.png", "b.png", "a.png"]
    page.get_by_role("button", name="Remove b.png").click()
    page.get_by_role("button", name="Classify 2 images").click()
    page.locator("#batch-summary:not(:empty)").wait_for()


PASTE = """(clipboardData) => document.body.dispatchEvent(
    new ClipboardEvent("paste", {clipboardData, bubbles: true}))"""


@pytest.mark.parametrize("bring", ["drop", "paste"])
def test_what_is_no_image_is_answered(page, bring):
    page.set_input_files("#pic", drawn("a.png", SMALL))
    files = (PDF, drawn("b.png", SMALL))
    if bring == "drop":
        drop(page, *files)
    else:
        page.evaluate(PASTE, transfer_of(page, *files))
    assert alert_of(page) == "Only images can be used here. Left out: report.pdf."
    assert chosen(page) == ["a.png", "b.png"]


def test_a_pasted_text_is_answered(page):
    page.evaluate(PASTE, transfer_of(page))
    assert alert_of(page).startswith("Only images can be pasted here.")


def test_an_image_dropped_on_a_result_begins_a_new_choice(page):
    classify(page, drawn("first.png"))
    page.locator("#likely").wait_for()
    drop(page, PDF)
    assert "report.pdf" in alert_of(page)
    assert page.locator("#likely").is_visible()
    drop(page, drawn("second.png", SMALL))
    page.get_by_text("go back to see them").first.wait_for()
    assert chosen(page) == ["second.png"]
    page.go_back()
    assert page.locator("#likely").is_visible()


# --- Sending, and cancelling -----------------------------------------------------------------


def test_cancel_leads_back_to_the_form_with_the_image(page):
    held = []
    page.route("**/showresult", lambda route: held.append(True))
    classify(page, drawn())
    wait_for(lambda: held, pause=pause_of(page))
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled. The image is still chosen.").first.wait_for()
    assert chosen(page) == ["lesion.png"]
    assert page.evaluate("document.activeElement.type") == "submit"
    page.unroute("**/showresult")
    page.get_by_role("button", name="Classify").click()
    page.locator("#likely").wait_for()
    assert status_of(page) == "Done: your result is here."


def test_two_presses_at_once_send_each_image_once(page):
    sent = []
    page.on("request", lambda one: one.method == "POST" and sent.append(one.url))
    page.set_input_files("#pic", [drawn("a.png", SMALL), drawn("b.png", SMALL)])
    page.evaluate("upload.requestSubmit(); upload.requestSubmit()")
    page.locator("#batch-summary:not(:empty)").wait_for()
    assert len(sent) == 2


def test_a_cancelled_batch_keeps_what_is_done_and_does_the_rest_later(page):
    page.route(
        "**/showresult",
        lambda route: route.continue_() if b'"a.png"' in route.request.post_data_buffer else None,
    )
    classify(page, *[drawn(f"{name}.png", SMALL) for name in "abcde"])
    page.get_by_role("button", name="a.png", exact=True).wait_for()
    drop(page, drawn("f.png", SMALL))
    assert alert_of(page).startswith("Wait until your other images are done")
    page.get_by_role("button", name="Cancel").click()
    page.locator("#batch-summary:not(:empty)").wait_for()
    assert page.locator("tr.failed td[colspan]").all_inner_texts() == ["Cancelled."] * 4
    assert "Classifying" not in status_of(page)
    page.unroute("**/showresult")
    page.get_by_role("button", name="Retry failed images").click()
    page.get_by_role("button", name="e.png", exact=True).wait_for()
    page.locator("#batch-summary:not(:empty)").wait_for()
    assert page.locator("tr.failed").count() == 0


def test_cancel_does_not_wait_for_a_server_that_asked_to_wait(page):
    sent = []
    page.route(
        "**/showresult",
        lambda route: (sent.append(1), route.fulfill(status=503, headers={"Retry-After": "30"})),
    )
    classify(page, drawn())
    wait_for(lambda: sent, pause=pause_of(page))
    page.wait_for_timeout(200)  # so that the answer has arrived and the pause has begun
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled. The image is still chosen.").first.wait_for(timeout=5_000)
    assert len(sent) == 1


def test_an_image_is_sent_once_however_often_the_button_is_pressed(page):
    sent = []
    page.route("**/showresult", lambda route: sent.append(1))
    page.set_input_files("#pic", drawn())
    page.evaluate(
        "for (let i = 0; i < 3; i += 1) document.getElementById('upload').requestSubmit()"
    )
    wait_for(lambda: sent, pause=pause_of(page))
    page.wait_for_timeout(200)
    assert len(sent) == 1


def test_no_preview_outlives_its_place_in_the_list(page):
    page.evaluate(
        """() => {
          window.live = new Set();
          const [make, revoke] = [URL.createObjectURL, URL.revokeObjectURL];
          URL.createObjectURL = (blob) => { const url = make(blob); live.add(url); return url; };
          URL.revokeObjectURL = (url) => { live.delete(url); revoke(url); };
        }"""
    )
    page.set_input_files("#pic", [drawn("a.png", SMALL), drawn("b.png", SMALL)])
    page.locator("#chosen li").nth(1).wait_for()
    page.get_by_role("button", name="Remove a.png").click()
    assert page.evaluate("live.size") == 1


def test_the_status_ends_after_an_error(page):
    classify(page, SPOILED)
    alert_of(page)
    assert status_of(page) == "The image was not classified."


# --- Warning signs ---------------------------------------------------------------------------


def tick(page, *places):
    for place in places:
        page.locator(".signs input").nth(place).check()


def test_three_points_lead_what_a_low_result_says(page):
    sent = []
    page.route(
        "**/*", lambda route: (sent.append(route.request.post_data_buffer), route.continue_())
    )
    tick(page, 0)
    assert "Fewer than 3 do not mean that it is harmless" in status_of(page)
    classify(page, drawn("a.png", draw_for("low")))
    page.locator("#likely").wait_for()
    assert page.locator("#level").inner_text() == "Risk: low"
    assert page.locator(".level-box .doctor-now").count() == 0
    tick(page, 6)
    assert status_of(page).startswith("Show it to a doctor now. You ticked 3 points")
    box = page.locator(".level-box")
    assert box.inner_text().startswith("Show it to a doctor now.")
    assert not page.locator("#next-step").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".signs li:visible").count() == 2
    assert page.locator(".signs .doctor-now").is_visible()
    page.emulate_media(media="screen")
    page.locator(".signs input").nth(6).uncheck()
    assert page.locator(".level-box .doctor-now").count() == 0
    (body,) = filter(None, sent)
    assert body.count(b"Content-Disposition") == 1


def test_the_ticks_come_along_to_one_result_and_not_to_the_next(page):
    tick(page, 0, 1)
    classify(page, drawn())
    page.locator(".level-box .doctor-now").wait_for()
    page.get_by_role("link", name="Classify another image").click()
    assert page.locator(".signs input:checked").count() == 0
    tick(page, 0, 1)
    classify(page, drawn("a.png", SMALL), drawn("b.png", SMALL))
    page.get_by_role("button", name="b.png", exact=True).click()
    page.locator("#likely").wait_for()
    assert page.locator("input:checked:not(#map-switch)").count() == 0


@pytest.mark.parametrize("size", PHONES, ids=str)
def test_the_verdict_is_in_sight_wherever_a_sign_is_ticked(browser, address, size):
    with window(browser, has_touch=True) as page:
        page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
        page.goto(address)
        for place, verdict in ((0, "few"), (1, "enough")):
            tick(page, place)
            assert is_in_sight(page, page.locator(f".signs [data-verdict={verdict}]"))
            assert page.locator(".urgent").is_visible() == (verdict == "enough")


def test_on_paper_each_ticked_sign_has_its_line(page):
    page.emulate_media(media="print")
    also = page.get_by_text("a doctor if it bleeds")
    assert also.inner_text().startswith("See a doctor if it bleeds, is changing, is a sore")
    page.emulate_media(media="screen")
    tick(page, 1, 5)
    assert also.inner_text().startswith("Also see a doctor if it bleeds, is changing in any other")
    page.emulate_media(media="print")
    assert also.inner_text().startswith("Also see")
    first, second = (sign.bounding_box() for sign in page.locator(".signs li:visible").all())
    assert second["y"] >= first["y"] + first["height"]


def test_no_form_holds_the_warning_signs(client):
    page = page_of(client.get("/"))
    boxes = page.select(".signs input")
    assert [int(box["data-points"]) for box in boxes] == [2, 2, 2, 1, 1, 1, 1]
    assert not [box for box in boxes if box.get("name") or box.find_parent("form")]
    assert "With 3 points or more, show it to a doctor now" in text_of(
        page, ".signs .without-script"
    )
    assert page.select(".signs a[href^='https://www.nice.org.uk/guidance/ng12/']")


# --- The order of the page, and the drawn picture --------------------------------------------


def test_the_form_comes_first_among_its_kind(client):
    page = page_of(client.get("/"))
    assert page.select_one("input")["id"] == page.select_one("input[type=file]")["id"] == "pic"
    assert page.select_one("button").get_text() == "Classify"
    assert text_of(page, "#only").startswith("Use a dermatoscope image.")
    assert page.select_one("#only").find_next("input")["id"] == "pic"
    for link in page.select("main a[href^='#']"):
        assert page.select_one(link["href"])


def test_the_drawn_picture_is_called_so(client):
    address = page_of(client.get("/")).select_one("a[rel=nofollow]")["href"]
    for _ in range(2):
        page = page_of(client.get(address))
        assert "drawn by a program, so its result means nothing" in text_of(page, "#drawn")
        assert text_of(page, "#likely")


def test_the_drawn_picture_is_that_of_the_script(tmp_path, monkeypatch):
    monkeypatch.setattr(draw_sample, "SAMPLE", tmp_path / "sample.jpg")
    committed = draw_sample.ROOT / "static" / "sample.jpg"
    draw_sample.main()
    with Image.open(committed) as one, Image.open(tmp_path / "sample.jpg") as other:
        difference = np.asarray(one, float) - np.asarray(other, float)
    assert abs(difference).mean() < 2
