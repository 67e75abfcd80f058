"""The app on a home screen and without a connection, in a real Chromium."""

import io
import json
import re
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest
from flask import Flask
from PIL import Image
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Response

from lesion_lens import ROOT
from lesion_lens.web import device, pages
from lesion_lens.web.pwa import pwa, static_files
from tests.support.browser import chosen, chromium, classify, drawn, pause_of, shoot
from tests.support.pages import page_of, text_of
from tests.support.phones import open_app
from tests.support.servers import serving
from tests.support.waiting import wait_for

LESION = drawn()


def kept_by(page):
    """Return the contents of the caches: name -> set of addresses."""
    script = """async () => {
        const kept = {};
        for (const name of await caches.keys())
            kept[name] = (await (await caches.open(name)).keys()).map((request) => request.url);
        return kept;
    }"""
    return {name: set(addresses) for name, addresses in page.evaluate(script).items()}


# --- The manifest and the icons --------------------------------------------------------------


def test_the_manifest_and_its_icons_are_served_as_what_they_are(client):
    response = client.get("/manifest.webmanifest")
    assert response.content_type == "application/manifest+json"
    manifest = json.loads(response.data)
    assert manifest["id"] == manifest["start_url"] == manifest["scope"]
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
    for icon in manifest["icons"]:
        assert client.get(icon["src"]).content_type.split(";")[0] == icon["type"]


def test_the_icons_have_the_sizes_that_the_manifest_says(client):
    for icon in json.loads(client.get("/manifest.webmanifest").data)["icons"]:
        if icon["type"] == "image/png":
            with Image.open(ROOT / icon["src"].removeprefix("/")) as image:
                assert icon["sizes"] == f"{image.width}x{image.height}"


def test_the_icons_are_drawn_from_the_svg(browser):
    from scripts.draw_icons import ICONS, STATIC, draw

    for name, (side, ground) in ICONS.items():
        assert (STATIC / name).stat().st_size < 20_000
        with Image.open(STATIC / name) as image:
            drawn = draw(browser, side, ground)
            kept, new = (np.asarray(one.convert("RGBA"), int) for one in (image, drawn))
        assert kept.shape == new.shape
        assert np.abs(kept - new).mean() < 1, f"{name}: run `make icons`"


def test_a_cut_icon_keeps_all_that_is_drawn():
    with Image.open(ROOT / "static" / "icon-maskable-512.png") as image:
        pixels = np.asarray(image.convert("RGBA"), int)
    rows, columns = np.nonzero(np.abs(pixels - pixels[0, 0]).max(axis=2) > 10)
    assert np.hypot(rows - 255.5, columns - 255.5).max() < 0.4 * 512  # the safe zone
    with Image.open(ROOT / "static" / "apple-touch-icon.png") as image:
        assert image.size == (180, 180)
        assert np.asarray(image.convert("RGBA"))[..., 3].min() == 255


def test_chromium_would_install_it(browser, address, tmp_path):
    # In a normal window: the other tests use private ones, which cannot install apps.
    context = browser.browser_type.launch_persistent_context(tmp_path / "profile", **chromium())
    (page,) = context.pages
    open_app(page, address)
    tools = context.new_cdp_session(page)
    found = tools.send("Page.getAppManifest")
    assert found["url"] == f"{address}/manifest.webmanifest"
    assert found["errors"] == []
    assert tools.send("Page.getInstallabilityErrors")["installabilityErrors"] == []
    context.close()


# --- Images that other apps share ------------------------------------------------------------


def share_with(client, data, site="none"):
    """Send a file as the manifest tells phones to."""
    target = json.loads(client.get("/manifest.webmanifest").data)["share_target"]
    assert target["method"] == "POST"
    (field,) = target["params"]["files"]
    return client.post(
        target["action"],
        data={field["name"]: (io.BytesIO(data), "shared.png")},
        content_type=target["enctype"],
        headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"},
    )


def test_an_image_that_another_app_shares_is_classified(client):
    assert text_of(page_of(share_with(client, LESION["buffer"])), "#likely")


def test_what_is_shared_and_no_image_gets_the_upload_page_with_its_sentence(client):
    response = share_with(client, b"a text")
    assert response.status_code == 415
    assert page_of(response).select("#upload")
    assert text_of(page_of(response), "#error")


def test_a_page_of_another_site_cannot_share(client):
    assert share_with(client, LESION["buffer"], site="cross-site").status_code == 403


def test_the_share_sheet_offers_the_app_for_what_the_form_takes(client):
    manifest = json.loads(client.get("/manifest.webmanifest").data)
    (field,) = manifest["share_target"]["params"]["files"]
    assert ",".join(field["accept"]) == page_of(client.get("/")).select_one("#pic")["accept"]


# --- The service worker ----------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/skin"])
def test_without_a_connection_the_upload_page_opens_and_others_lead_to_it(phone, app, prefix):
    site = DispatcherMiddleware(Response("another app", 404), {prefix: app}) if prefix else app
    with serving(site) as port:
        address = f"http://127.0.0.1:{port}{prefix}/"
        open_app(phone, address)
    phone.goto(f"{address}model")
    assert phone.get_by_role("heading", level=1).inner_text().startswith("There is no connection")
    assert "nothing is sent" in phone.inner_text("main")
    assert "see a doctor" in phone.inner_text("main")
    assert phone.locator("header img").evaluate("image => image.naturalWidth") > 0
    assert phone.locator("main").evaluate("main => getComputedStyle(main).maxWidth") == "672px"
    shoot(phone, "offline" + prefix.replace("/", "-"))
    phone.get_by_role("link", name="Classify an image").click()
    phone.set_input_files("#pic", LESION)
    assert chosen(phone) == ["lesion.png"]


def test_where_the_model_cannot_run_on_a_phone_offline_stays_as_it_is(phone, app, monkeypatch):
    monkeypatch.setattr(device, "_made", lambda: None)
    with serving(app) as port:
        address = f"http://127.0.0.1:{port}/"
        open_app(phone, address)
        assert not phone.locator("#here").is_visible()
    phone.goto(address)
    assert "no image can be classified" in phone.inner_text("main")
    with serving(app, port):
        phone.get_by_role("link", name="Try again").click()
        assert phone.locator("#upload").is_visible()


def test_after_a_result_the_phone_keeps_the_shell_and_nothing_else(phone, app, address):
    open_app(phone, address)
    for path in ("/privacy", "/healthz", "/none", "/"):
        phone.goto(address + path)
    model = phone.locator("#upload").get_attribute("data-device")
    classify(phone, LESION)
    phone.locator("#likely").wait_for()
    (kept,) = kept_by(phone).values()
    shell_files = {f"{address}/static/{file.name}" for file in static_files(app)}
    assert kept == {f"{address}/offline", f"{address}/", address + model} | shell_files


def test_all_that_the_phone_keeps_is_small(phone, address):
    open_app(phone, address)
    size = phone.evaluate(
        """async () => {
            let size = 0;
            for (const name of await caches.keys()) {
                const cache = await caches.open(name);
                for (const request of await cache.keys())
                    size += (await (await cache.match(request)).arrayBuffer()).byteLength;
            }
            return size;
        }"""
    )
    assert 2_000_000 < size < 5_000_000


def send_as_a_form(page, file):
    """Send a file like another app's share: with a form and without the page's script."""
    page.set_input_files("#pic", file)
    page.evaluate("document.getElementById('upload').submit()")


def test_an_upload_does_not_pass_through_the_worker_and_a_share_does(phone, address):
    open_app(phone, address)
    phone.reload()  # from now on, the page's requests go through the worker
    posted = []
    phone.on("response", lambda r: r.request.method == "POST" and posted.append(r))
    for send, through_worker in ((classify, False), (send_as_a_form, True)):
        phone.goto(address)
        before = kept_by(phone)
        send(phone, LESION)
        phone.locator("#likely").wait_for()
        assert (posted[-1].status, posted[-1].from_service_worker) == (200, through_worker)
        assert kept_by(phone) == before


def test_an_image_shared_without_a_connection_is_chosen_on_the_upload_page(phone, app):
    with serving(app) as port:
        address = f"http://127.0.0.1:{port}/"
        open_app(phone, address)
    before = kept_by(phone)
    send_as_a_form(phone, LESION)
    phone.locator("#chosen .file").wait_for()
    assert (chosen(phone), phone.url) == (["lesion.png"], address)
    assert kept_by(phone) == before


def test_a_form_without_an_image_is_answered_without_a_connection(phone, app):
    with serving(app) as port:
        open_app(phone, f"http://127.0.0.1:{port}/")
    send_as_a_form(phone, [])
    phone.get_by_text("No image was chosen").wait_for()


def test_what_was_handed_over_is_forgotten(phone, address):
    open_app(phone, address)
    phone.goto(f"{address}/#shared-1")
    phone.reload()
    phone.goto(f"{address}/#shared-1")
    phone.get_by_text("was lost on the way").wait_for()


def test_the_worker_does_not_pass_off_a_form_of_another_site_as_our_own(phone, address):
    form = f"""<form action="{address}/showresult" method="post" enctype="multipart/form-data">
        <input type="file" name="pic" id="pic"><button>Classify</button></form>"""
    open_app(phone, address)
    with serving(Response(form, mimetype="text/html")) as other:
        phone.goto(f"http://localhost:{other}")
        classify(phone, LESION)
        phone.wait_for_url(f"{address}/showresult")
    assert "Another site sent this form" in phone.inner_text("#error")


def test_a_new_version_replaces_the_old_one_and_no_other_apps_cache(
    phone, app, address, monkeypatch
):
    open_app(phone, address)
    phone.evaluate("() => caches.open('of another app').then(() => null)")
    old = shells_of(phone)
    monkeypatch.setitem(app.extensions, "shell_version", "new")
    assert old
    phone.goto(address)
    # After a visit, the browser checks for a new worker; on a busy machine, perhaps a minute later.
    phone.evaluate("() => navigator.serviceWorker.ready.then((one) => one.update()).then(() => 0)")
    wait_for(lambda: not old & shells_of(phone), pause=pause_of(phone))
    assert "of another app" in kept_by(phone)
    assert len(shells_of(phone)) == 1


def shells_of(page):
    return {name for name in kept_by(page) if name.startswith("shell of ")}


def test_the_version_is_that_of_the_pages_too_and_not_of_the_day(client, monkeypatch):
    def version():
        return re.search("CACHE = OURS [+] (.+);", client.get("/service-worker.js").text)[1]

    first = version()
    monkeypatch.setattr(pages, "today", lambda: date(2100, 1, 1))
    assert version() == first
    monkeypatch.setattr(pages, "MAX_IMAGES", 7)
    assert version() != first


def test_the_version_is_that_of_the_files(tmp_path):
    def version():
        app = Flask("made", root_path=tmp_path)
        app.extensions["classifier"] = SimpleNamespace(sha256="")
        app.register_blueprint(pwa)
        return app.extensions["shell_version"]

    for folder in ("static", "templates"):
        (tmp_path / folder).mkdir()
        for file in (ROOT / folder).iterdir():
            (tmp_path / folder / file.name).write_bytes(file.read_bytes())
    versions = [version(), version()]
    for name in ("static/style.css", "templates/offline.html"):
        (tmp_path / name).write_text("changed")
        versions.append(version())
    assert versions[0] == versions[1]
    assert len(set(versions)) == 3


def test_browsers_ask_for_the_worker_anew(client):
    response = client.get("/service-worker.js")
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.mimetype == "text/javascript"


def test_a_browser_without_service_workers_has_the_page_all_the_same(browser, address):
    context = browser.new_context()
    context.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'serviceWorker', {value: undefined})"
    )
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address)
    assert page.locator("#upload").is_visible()
    assert faults == []
    context.close()
