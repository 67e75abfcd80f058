"""Images classified on the device: without a connection, or at the user's request."""

import csv

import pytest
from werkzeug.wrappers import Response

from tests.support.browser import SPOILED, classify, drawn, shoot, window
from tests.support.drawings import draw_lesion, encode
from tests.support.phones import LOW, keep_here, never_answer, open_app, result_of
from tests.support.servers import serving

PHOTOGRAPH = {
    "name": "lesion.jpg",
    "mimeType": "image/jpeg",
    "buffer": encode(draw_lesion((600, 450)), "JPEG", quality=90),
}


def cut_off(phone, app):
    """Visit the app once, then remove its server and the network."""
    with serving(app) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
    phone.context.set_offline(True)
    phone.reload()


def without_where(parts):
    """Return the lines of a result, except those that say where it was made."""
    lines = "\n".join(parts).splitlines()
    told = ("this device", "It was not stored.")
    return [line for line in lines if line != "Where" and not any(words in line for words in told)]


# --- Without a connection --------------------------------------------------------------------


@pytest.mark.parametrize("file", [LOW, drawn(), PHOTOGRAPH], ids=lambda file: file["name"])
def test_without_a_connection_the_result_reads_as_the_servers(phone, app, address, file):
    cut_off(phone, app)
    here = result_of(phone, file)
    assert "this device" in "\n".join(here)
    shoot(phone, "result-on-device")
    phone.context.set_offline(False)
    phone.goto(address)
    there = result_of(phone, file)
    assert "this device" not in "\n".join(there)
    if (
        file is PHOTOGRAPH
    ):  # each decodes it separately, so the probabilities differ in the last digit
        assert len(here) == len(there)
        assert here[0].splitlines()[:3] == there[0].splitlines()[:3]
    else:
        assert without_where(here) == without_where(there)


def csv_of(page, *files):
    """Classify several files and return the lines of their table's CSV."""
    classify(page, *files)
    page.locator("#batch-summary:not(:empty)").wait_for()
    with page.expect_download() as download:
        page.locator("#csv").click()
    return download.value.path().read_text(encoding="utf-8-sig").splitlines()


def test_without_a_connection_several_images_make_the_same_table_and_csv(phone, app, address):
    files = (LOW, drawn("b.png"), drawn("c.png", draw_lesion((90, 70))))
    cut_off(phone, app)
    here = csv_of(phone, *files)
    rows = phone.locator("#batch tbody").inner_text()
    phone.context.set_offline(False)
    phone.goto(address)
    there = csv_of(phone, *files)
    assert phone.locator("#batch tbody").inner_text() == rows
    assert all(alike(*map(read_line, pair)) for pair in zip(here, there, strict=True))


def read_line(line):
    return next(csv.reader([line]))


def alike(cells, others):
    """Whether two CSV lines are the same; numbers may differ in the fourth decimal."""
    return len(cells) == len(others) and all(
        one == other or abs(float(one) - float(other)) < 1e-4
        for one, other in zip(cells, others, strict=True)
    )


def test_a_damaged_image_is_named_in_its_row(phone, app):
    cut_off(phone, app)
    classify(phone, LOW, SPOILED)
    phone.locator("#batch-summary:not(:empty)").wait_for()
    assert phone.locator("tr.failed .file").all_inner_texts() == ["spoiled.png"]
    assert phone.locator("#batch tbody tr:not(.failed)").count() == 1
    assert phone.locator("#again").is_visible()  # the server may be able to read it


def test_a_cut_picture_is_never_low_risk_without_a_connection_either(phone, app):
    cut_off(phone, app)
    phone.set_input_files("#pic", LOW)
    phone.get_by_role("button", name="Crop: low.png").press("Enter")
    phone.locator("#crop").wait_for()
    for _ in range(15):
        phone.keyboard.press("-")
    phone.get_by_role("button", name="Use the crop").click()
    phone.locator(".cut", has_text="With this crop, the result cannot be low risk.").wait_for()
    phone.get_by_role("button", name="Classify").click()
    phone.locator("#likely").wait_for()
    assert phone.locator("#level").inner_text() == "Risk: raised"
    assert "You cut away" in phone.inner_text("#why")


def test_a_server_that_is_gone_is_not_needed(phone, app):
    with serving(app) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
    assert "this device. It was not sent." in "\n".join(result_of(phone, LOW))


def test_cancel_ends_what_the_device_computes(phone, app):
    cut_off(phone, app)
    classify(phone, {**PHOTOGRAPH, "buffer": encode(draw_lesion((4000, 3000)), "JPEG")})
    phone.get_by_role("button", name="Cancel").click()
    phone.get_by_text("Cancelled. The image is still chosen.").first.wait_for()
    phone.get_by_role("button", name="Classify").click()
    phone.locator("#likely").wait_for()


def test_the_date_is_the_persons_own(browser, address):
    with window(browser, timezone_id="Pacific/Kiritimati") as page:
        page.clock.set_fixed_time("2026-03-07T23:30:00Z")
        page.goto(address)
        keep_here(page)
        result_of(page, LOW)
        assert page.locator("figcaption time").get_attribute("datetime") == "2026-03-08"


# --- The service worker ----------------------------------------------------------------------

ASK = """(mark) => new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }) => resolve(data && data.map((file) => file.name));
    navigator.serviceWorker.controller.postMessage(mark, [port2]);
})"""


def test_a_server_that_hangs_is_waited_for_once(phone, log):
    log.change("/service-worker.js", "MOST_WAIT = 4_000", "MOST_WAIT = 1_200")
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        log.instead, log.application = {}, never_answer
        phone.reload(timeout=10_000)
        assert phone.locator("#upload").is_visible()
        took = phone.evaluate("performance.getEntriesByType('resource').map((one) => one.duration)")
        whole = phone.evaluate("performance.getEntriesByType('navigation')[0].responseStart")
    assert len(took) > 10
    assert max(took) < 1200 <= whole


def test_another_model_than_that_of_the_worker_is_not_kept(phone, log):
    log.serve_another_model()
    with serving(log) as port:
        phone.goto(f"http://127.0.0.1:{port}/healthz")  # a page without a script that also does it
        state = phone.evaluate(
            """async () => {
                const { installing } = await navigator.serviceWorker.register("/service-worker.js");
                while (installing.state === "installing")
                    await new Promise((resolve) => setTimeout(resolve, 20));
                return installing.state;
            }"""
        )
    assert state == "redundant"


def share(page, *files):
    """Send a form as another app does; return the mark with which the page gets its files."""
    page.set_input_files("#pic", list(files))
    with page.expect_navigation(url="**/#shared-*"):
        page.evaluate("document.getElementById('upload').submit()")
    return page.evaluate("location.hash")


def test_what_is_shared_is_held_for_its_own_page_and_once(phone, log):
    log.change("/service-worker.js", "PATIENCE = 60_000", "PATIENCE = 3_000")
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        log.instead["/static/shared.js"] = Response(status=404)  # the test asks in its place
        keep_here(phone)
        other = phone.context.new_page()
        other.goto(phone.url)
        late = share(phone, drawn())
        marks = [share(phone, LOW), share(other, drawn("b.png"), drawn("c.png"))]
        asked = [phone.evaluate(ASK, mark) for mark in (*marks, marks[0], "#shared-1")]
        phone.wait_for_timeout(3000)
        assert asked == [["low.png"], ["b.png", "c.png"], None, None]
        assert phone.evaluate(ASK, late) is None
