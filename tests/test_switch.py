"""The switch that keeps images on the device."""

import pytest
from werkzeug.wrappers import Response

from lesion_lens.web.pwa import wish_name
from tests.support.browser import SPOILED, classify, drawn, pause_of, shoot, window
from tests.support.phones import HERE, LOW, hang_up, is_remembered, keep_here, open_app, result_of
from tests.support.servers import serving
from tests.support.waiting import wait_for

# Delays one of the browser's answers about its storage, or makes it fail.
LATE = """() => new Promise((resolve) => setTimeout(resolve, 700))"""
LATE_TO_SAY = f"""{{
    const {{ has }} = CacheStorage.prototype;
    CacheStorage.prototype.has = function (name) {{
        return has.call(this, name).then((found) => ({LATE})().then(() => found));
    }};
}}"""
LATE_TO_FORGET = f"""{{
    const forget = CacheStorage.prototype.delete;
    CacheStorage.prototype.delete = function (name) {{
        return ({LATE})().then(() => forget.call(this, name));
    }};
}}"""
FULL = "CacheStorage.prototype.open = () => Promise.reject(new Error('full'))"
MAY_HAVE_IT = "The server may have received it, too."


@pytest.fixture
def page(browser):
    """A page of a browser without service workers and with nothing stored by other tests."""
    with window(browser) as page:
        yield page


@pytest.fixture
def watched(log):
    """The address of the app that `log` records."""
    with serving(log) as port:
        yield f"http://127.0.0.1:{port}/"


def switch_of(page):
    return page.get_by_role("switch", name=HERE)


def keep_here_and_remember(page):
    keep_here(page)
    wait_for(lambda: is_remembered(page), pause=pause_of(page))


def show_again(page):
    """Tell the page that its tab is visible again, so that it reads the stored setting."""
    page.evaluate("() => void document.dispatchEvent(new Event('visibilitychange'))")


def is_checked(page):
    """Whether the switch is on after the page has read the stored setting."""
    is_remembered(page)  # asked after the page's own request, so answered after it
    return switch_of(page).is_checked()


def says_here(result):
    return "this device" in "\n".join(result)


# --- Nothing is sent -------------------------------------------------------------------------


def test_with_the_switch_on_no_request_has_a_body(phone, log):
    sent = []
    phone.context.on("request", lambda one: one.post_data_buffer and sent.append(one.url))
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        keep_here(phone)
        phone.locator("#here-state", has_text="Ready.").wait_for()
        assert says_here(result_of(phone, LOW))
        phone.get_by_role("link", name="Classify another image").click()
        classify(phone, LOW, drawn("b.png"), SPOILED)
        summary = phone.locator("#batch-summary:not(:empty)").inner_text()
        assert summary.endswith("This was done on this device, and no image was sent.")
        assert not phone.locator("#again").is_visible()  # it would fail again
    assert (sent, log.uploads) == ([], [])


def test_a_fault_of_the_device_does_not_lead_to_the_server(phone, log):
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        keep_here(phone)
        classify(phone, SPOILED)
        phone.locator("#error:not([hidden])").wait_for()
    assert log.uploads == []


def test_without_the_model_the_switch_keeps_the_image_here_until_there_is_one(page, log, watched):
    log.instead["/model/device"] = Response(status=503)
    page.goto(watched)
    keep_here(page)
    page.locator("#here-state", has_text="Not ready").wait_for()
    classify(page, LOW)
    page.get_by_text("The model for your device could not be loaded").wait_for()
    log.instead.clear()
    assert says_here(result_of(page, LOW))  # in the same worker
    assert log.uploads == []


def test_another_model_than_that_of_the_page_is_refused(page, log, watched):
    log.serve_another_model()
    page.goto(watched)
    keep_here(page)
    page.locator("#here-state", has_text="Not ready").wait_for()
    classify(page, LOW)
    page.get_by_text("The model for your device could not be loaded").wait_for()
    assert log.uploads == []


def test_without_its_program_the_device_says_so_at_once(page, log, watched):
    log.instead["/static/device.js"] = Response(status=404)
    page.goto(watched)
    keep_here(page)
    classify(page, LOW)
    page.get_by_text("Your device could not classify this image").wait_for(timeout=5000)
    assert log.uploads == []


def test_the_switch_counts_while_shown_though_the_browsers_storage_is_cleared(page, log, watched):
    page.goto(watched)
    keep_here_and_remember(page)
    tools = page.context.new_cdp_session(page)
    tools.send("Storage.clearDataForOrigin", {"origin": watched, "storageTypes": "all"})
    assert not is_remembered(page)
    assert says_here(result_of(page, LOW))
    assert log.uploads == []


def test_the_switch_counts_on_this_page_where_it_cannot_be_remembered(page, log, watched):
    page.add_init_script(FULL)
    page.goto(watched)
    keep_here(page)
    page.get_by_text("Your browser cannot remember this setting.").wait_for()
    show_again(page)
    assert is_checked(page)
    assert says_here(result_of(page, LOW))
    assert log.uploads == []


def test_an_image_that_is_shared_stays_here_too(phone, log):
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        keep_here_and_remember(phone)
        phone.set_input_files("#pic", LOW)
        phone.evaluate("document.getElementById('upload').submit()")  # like a share
        phone.locator("#chosen .file", has_text="low.png").wait_for()
        phone.get_by_role("button", name="Classify").click()
        phone.locator("#likely").wait_for()
    assert log.uploads == []


# --- What was sent before --------------------------------------------------------------------


def test_turning_the_switch_on_during_an_upload_ends_the_upload(page, watched):
    failed = []
    page.on("requestfailed", lambda one: failed.append(one.method))
    page.route("**/showresult", lambda route: None)  # never answered
    page.goto(watched)
    classify(page, LOW)
    page.locator("#step", has_text="Uploading").wait_for()
    keep_here(page)
    page.locator("#likely").wait_for()
    assert MAY_HAVE_IT in page.inner_text("figcaption")
    assert failed == ["POST"]


def test_an_image_that_the_server_had_before_it_hung_up_is_said_to_be_there(phone, log, watched):
    log.instead["/showresult"] = hang_up
    open_app(phone, watched)
    assert MAY_HAVE_IT in "\n".join(result_of(phone, LOW))


def test_the_table_says_how_many_images_the_server_may_have(phone, log, watched):
    ways = [log.application, hang_up, hang_up, hang_up]

    def answer(*request):
        return ways.pop(0)(*request)

    log.instead["/showresult"] = answer
    open_app(phone, watched)
    for here in (1, 2):
        classify(phone, LOW, drawn("b.png"))
        said = f"Classified on this device: {here}. Of these, the server may have received {here}."
        phone.locator("#batch-summary", has_text=said).wait_for()
        phone.goto(watched)


# --- What it shows ---------------------------------------------------------------------------


def test_the_switch_is_off_at_first_and_remembered(phone, log):
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        switch = phone.get_by_role("switch", name=HERE)
        assert not switch.is_checked()
        keep_here_and_remember(phone)
        phone.reload()
        wait_for(switch.is_checked, pause=pause_of(phone))
        switch.uncheck()
        wait_for(lambda: not is_remembered(phone), pause=pause_of(phone))
        assert not says_here(result_of(phone, LOW))
    assert len(log.uploads) == 1


def test_another_tab_heeds_the_switch_at_once(phone, log):
    with serving(log) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
        other = phone.context.new_page()
        other.goto(phone.url)
        keep_here_and_remember(other)
        assert says_here(result_of(phone, LOW))
    assert log.uploads == []


def test_a_tab_that_is_shown_again_shows_what_another_has_chosen(page, watched):
    page.goto(watched)
    keep_here_and_remember(page)
    other = page.context.new_page()
    other.goto(watched)
    wait_for(switch_of(other).is_checked, pause=pause_of(other))
    switch_of(page).uncheck()
    wait_for(lambda: not is_remembered(page), pause=pause_of(page))
    show_again(other)
    assert not is_checked(other)


def test_turning_the_switch_off_works_at_once(page, log, watched):
    page.add_init_script(LATE_TO_FORGET)
    page.goto(watched)
    keep_here_and_remember(page)
    switch_of(page).uncheck()
    assert not says_here(result_of(page, LOW))
    assert len(log.uploads) == 1


def test_what_the_browser_remembers_does_not_undo_a_press_meanwhile(page, watched):
    page.add_init_script(LATE_TO_SAY)
    page.goto(watched)
    switch_of(page).wait_for()
    show_again(page)
    keep_here(page)
    assert is_checked(page)
    classify(page, LOW)
    page.locator("#progress").wait_for()  # it asks whether the image may be sent
    switch_of(page).uncheck()
    page.locator("#likely").wait_for()
    page.go_back()
    assert not switch_of(page).is_checked()


def test_the_wish_is_not_named_as_what_a_new_version_deletes(app):
    with app.test_request_context():
        assert not wish_name().startswith("shell of ")


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
