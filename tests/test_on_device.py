"""Images that are classified on the device: without a connection, or because a person wants it."""

import csv

import pytest

from lesion_lens.web.pwa import wish_name
from tests.support.browser import SPOILED, classify, drawn, pause_of, shoot, window
from tests.support.drawings import draw_for, draw_lesion, encode
from tests.support.servers import serving
from tests.support.waiting import wait_for

PHOTOGRAPH = {
    "name": "lesion.jpg",
    "mimeType": "image/jpeg",
    "buffer": encode(draw_lesion((600, 450)), "JPEG", quality=90),
}
LOW = drawn("low.png", draw_for("low"))
HERE = "Keep my images on this device"
TEXT = """() => [...document.querySelectorAll("#result > *:not(template)")]
    .map((part) => part.innerText.trim()).filter(Boolean)"""


class Log:
    """A WSGI application that notes which requests arrive, and how long their bodies are."""

    def __init__(self, application):
        self.application, self.arrived = application, []

    def __call__(self, environ, start_response):
        length = int(environ.get("CONTENT_LENGTH") or 0)
        self.arrived.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], length))
        return self.application(environ, start_response)

    @property
    def uploads(self):
        return [one for one in self.arrived if one[0] != "GET" or one[2]]


@pytest.fixture
def phone(browser):
    """A page of a browser with service workers, which keeps nothing of another test."""
    with window(browser, 375, service_workers="allow") as page:
        yield page


@pytest.fixture
def log(app):
    return Log(app)


def open_app(page, address):
    """Open the upload page, and wait until the phone keeps the model."""
    page.goto(address)
    page.evaluate("() => navigator.serviceWorker.ready.then(() => null)")


def cut_off(phone, app):
    """Visit the app once, and then no more: its server is gone, and so is the network."""
    with serving(app) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
    phone.context.set_offline(True)
    phone.reload()


def result_of(page, *files):
    classify(page, *files)
    page.locator("#likely").wait_for()
    return page.evaluate(TEXT)


def keep_here(page):
    page.get_by_role("switch", name=HERE).check()


def without_where(parts):
    """The lines of a result but for those that say where it was made."""
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
    ):  # which each decodes by itself: the probabilities differ in the last digit
        assert len(here) == len(there)
        assert here[0].splitlines()[:3] == there[0].splitlines()[:3]
    else:
        assert without_where(here) == without_where(there)


def csv_of(page, *files):
    """Classify several files; gives the lines of their table's CSV."""
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
    """Whether two lines of CSV say the same; numbers may differ in their fourth decimal."""
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


def test_a_cut_picture_is_never_low_risk_without_a_connection_either(phone, app):
    cut_off(phone, app)
    phone.set_input_files("#pic", LOW)
    phone.get_by_role("button", name="Crop: low.png").press("Enter")
    phone.locator("#crop").wait_for()
    for _ in range(15):
        phone.keyboard.press("-")
    phone.get_by_role("button", name="Use the crop").click()
    phone.locator(".cut", has_text="The result can then never be low risk.").wait_for()
    phone.get_by_role("button", name="Classify").click()
    phone.locator("#likely").wait_for()
    assert phone.locator("#level").inner_text() == "Risk: raised"
    assert "You cut away" in phone.inner_text("#why")


def test_a_server_that_is_gone_is_not_needed(phone, app):
    with serving(app) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
    assert "this device" in "\n".join(result_of(phone, LOW))  # though the network is there


def test_cancel_ends_what_the_device_computes(phone, app):
    cut_off(phone, app)
    classify(phone, {**PHOTOGRAPH, "buffer": encode(draw_lesion((4000, 3000)), "JPEG")})
    phone.get_by_role("button", name="Cancel").click()
    phone.get_by_text("Cancelled. The image is still chosen.").first.wait_for()
    phone.get_by_role("button", name="Classify").click()
    phone.locator("#likely").wait_for()


# --- The switch ------------------------------------------------------------------------------


def test_with_the_switch_on_no_request_has_a_body(phone, log):
    sent = []
    phone.context.on("request", lambda one: one.post_data_buffer and sent.append(one.url))
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        keep_here(phone)
        assert "this device" in "\n".join(result_of(phone, LOW))
        phone.get_by_role("link", name="Classify another image").click()
        classify(phone, LOW, drawn("b.png"), SPOILED)
        phone.locator("#batch-summary:not(:empty)").wait_for()
    assert (sent, log.uploads) == ([], [])


def test_a_fault_of_the_device_does_not_lead_to_the_server(phone, log):
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        keep_here(phone)
        classify(phone, SPOILED)
        phone.locator("#error:not([hidden])").wait_for()
    assert log.uploads == []


def test_without_the_model_the_switch_keeps_the_image_here_all_the_same(browser, log):
    with serving(log) as port, window(browser) as page:  # which has no service worker
        page.route("**/model/device*", lambda route: route.abort())
        page.goto(f"http://127.0.0.1:{port}/")
        keep_here(page)
        classify(page, LOW)
        page.get_by_text("The model for your device could not be loaded").wait_for()
    assert log.uploads == []


def test_the_switch_is_off_at_first_and_remembered(phone, log):
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        switch = phone.get_by_role("switch", name=HERE)
        assert not switch.is_checked()
        keep_here(phone)
        wait_for(lambda: is_remembered(phone), pause=pause_of(phone))
        phone.reload()
        wait_for(switch.is_checked, pause=pause_of(phone))
        switch.uncheck()
        wait_for(lambda: not is_remembered(phone), pause=pause_of(phone))
        assert "this device" not in "\n".join(result_of(phone, LOW))
    assert len(log.uploads) == 1


def is_remembered(page):
    return page.evaluate("async () => caches.has(document.forms[0].dataset.wish)")


def test_another_tab_heeds_the_switch_at_once(phone, log):
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        other = phone.context.new_page()
        other.goto(phone.url)
        keep_here(other)
        wait_for(lambda: is_remembered(other), pause=pause_of(other))
        assert "this device" in "\n".join(result_of(phone, LOW))
    assert log.uploads == []


def test_the_wish_is_not_named_as_what_a_new_version_deletes(app):
    with app.test_request_context():
        assert not wish_name().startswith("shell of ")


def test_an_image_that_is_shared_stays_here_too(phone, log):
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        keep_here(phone)
        wait_for(lambda: is_remembered(phone), pause=pause_of(phone))
        phone.set_input_files("#pic", LOW)
        phone.evaluate("document.getElementById('upload').submit()")  # as a share comes
        phone.locator("#chosen .file", has_text="low.png").wait_for()
        phone.get_by_role("button", name="Classify").click()
        phone.locator("#likely").wait_for()
    assert log.uploads == []


@pytest.mark.parametrize(("width", "scheme"), [(375, "light"), (375, "dark"), (1280, "light")])
def test_the_switch_says_what_it_does(browser, address, width, scheme):
    with window(browser, width, scheme) as page:
        page.goto(address)
        switch = page.get_by_role("switch", name=HERE)
        switch.wait_for()
        described = page.locator(f"#{switch.get_attribute('aria-describedby')}")
        assert "never sends them" in described.inner_text()
        shoot(page, "switch")


def test_without_script_there_is_no_switch(browser, address):
    with window(browser, java_script_enabled=False) as page:
        page.goto(address)
        assert not page.locator("#here").is_visible()
