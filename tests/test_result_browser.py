"""A result in a real Chromium: what is visible first, sharing, and the question before leaving."""

import pytest

from lesion_lens.model.decisions import LEVELS
from tests.support.browser import classify, drawn, window
from tests.support.drawings import draw_for, draw_lesion

# Imitates a browser that can share: records what is shared, and answers like a person.
SHARING = """
    Navigator.prototype.canShare = ({files}) => files.every((file) => file.type === "image/jpeg");
    Navigator.prototype.share = async (data) => {
        if (window.answer) throw new DOMException("", window.answer);
        window.shared = {
            text: data.text, type: data.files[0].type, size: data.files[0].size,
        };
    };
"""


@pytest.fixture
def phone(browser, address):
    """The upload page on a phone that can share; `asked` records the questions before leaving."""
    with window(browser, 375) as page:
        page.add_init_script(SHARING)
        page.asked = []
        page.on("dialog", lambda dialog: (page.asked.append(dialog.type), dialog.accept()))
        page.goto(address)
        yield page


def show_result(page, alone=False):
    """Classify with the page's script; if `alone`, with the form, as a separate result page."""
    page.set_input_files("#pic", drawn("lesion.png", draw_for("high")))
    if alone:
        with page.expect_navigation():
            page.evaluate("document.getElementById('upload').submit()")
    else:
        page.get_by_role("button", name="Classify").click()
    page.locator("#likely").wait_for()
    # Browsers ask only users who have interacted with the page.
    page.get_by_text("The answer depends most").click()


@pytest.mark.parametrize("level", LEVELS)
def test_level_next_step_and_image_stand_above_the_fold(browser, address, level):
    with window(browser, 375) as page:
        page.goto(address)
        classify(page, drawn("a" * 200 + ".png", draw_for(level)))
        page.locator("#likely").wait_for()
        for width, height in ((375, 812), (360, 640), (1280, 800)):
            page.set_viewport_size({"width": width, "height": height})
            for name in ("level", "headline", "next-step", "upload-image", "file-name"):
                box = page.locator(f"#{name}").bounding_box()
                assert box["y"] + box["height"] <= height, (name, width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_an_upright_image_stands_above_the_fold_too(phone):
    classify(phone, drawn(image=draw_lesion((300, 900))))
    phone.locator("#likely").wait_for()
    box = phone.locator("#upload-image").bounding_box()
    assert box["y"] + box["height"] <= 640


@pytest.mark.parametrize("alone", [False, True])
def test_a_result_is_shared_with_its_image_and_then_left_without_a_question(phone, alone):
    show_result(phone, alone)
    phone.get_by_role("button", name="Share").click()
    shared = phone.evaluate("window.shared")
    assert shared["type"] == "image/jpeg"
    assert shared["size"] > 1000
    first, step, likely, study_tool = shared["text"].split("\n")
    assert first == "Risk: high. A doctor should look at this soon."
    assert step == phone.locator("#next-step").inner_text()
    assert likely.startswith(f"Most likely class: {phone.locator('#likely').inner_text()} (")
    assert "does not diagnose" in study_tool
    phone.goto("about:blank")
    assert phone.asked == []


def test_a_share_that_is_called_off_is_no_copy_and_one_that_fails_is_told(phone):
    show_result(phone)
    failed = phone.get_by_text("Sharing did not work")
    for answer in ("AbortError", "NotAllowedError"):
        phone.evaluate("answer => { window.answer = answer; }", answer)
        phone.get_by_role("button", name="Share").click()
        assert failed.is_visible() == (answer == "NotAllowedError")
    phone.goto("about:blank")
    assert phone.asked == ["beforeunload"]


def test_a_browser_that_cannot_share_has_no_such_button(browser, address):
    with window(browser, 375) as page:
        page.goto(address)
        show_result(page)
        assert page.get_by_role("button", name="Print").is_visible()
        assert not page.get_by_text("Share", exact=True).is_visible()


@pytest.mark.parametrize("alone", [False, True])
def test_an_unsaved_result_is_not_left_without_a_question(phone, alone):
    show_result(phone, alone)
    phone.goto("about:blank")
    assert phone.asked == ["beforeunload"]


@pytest.mark.parametrize("alone", [False, True])
def test_links_of_a_result_open_in_a_new_tab_and_say_so(phone, alone):
    show_result(phone, alone)
    for name in ("Model card", "Privacy"):
        link = phone.get_by_role("link", name=name)
        described = phone.locator(f"#{link.get_attribute('aria-describedby')}")
        assert described.text_content() == "Opens in a new tab."
        with phone.context.expect_page() as opened:
            link.click()
        opened.value.close()
    assert phone.locator("#likely").is_visible()
    assert phone.asked == []
    assert not phone.get_by_role("link", name="Classify another image").get_attribute("target")


def test_the_name_of_the_app_leads_from_a_result_to_the_form_and_back(phone):
    show_result(phone)
    phone.get_by_role("link", name="Lesion Lens").click()
    assert phone.locator("#upload").is_visible()
    assert not phone.get_by_role("link", name="Privacy").get_attribute("target")
    phone.go_back()
    assert phone.locator("#likely").is_visible()
    assert phone.asked == []


def test_a_picture_that_cannot_be_judged_is_left_without_a_question(phone):
    classify(phone, drawn("unknown.png", draw_for("unknown")))
    phone.get_by_text("depends most").or_(phone.get_by_text("No part stands out")).click()
    phone.goto("about:blank")
    assert phone.asked == []


def test_a_printed_result_is_left_without_a_question(phone):
    show_result(phone)
    phone.evaluate("window.print = () => dispatchEvent(new Event('afterprint'))")
    phone.get_by_role("button", name="Print").click()
    phone.goto("about:blank")
    assert phone.asked == []


def test_from_the_form_nobody_is_asked_and_back_at_the_result_again(phone):
    show_result(phone)
    phone.go_back()
    assert phone.locator("#upload").is_visible()
    assert phone.asked == []
    phone.go_forward()
    assert phone.locator("#likely").is_visible()
    phone.go_back()
    phone.goto("about:blank")
    assert phone.asked == []
