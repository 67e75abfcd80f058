"""The app on Android and iOS, and in Chromium's install dialogue."""

import json

import numpy as np
import pytest
from PIL import Image

from lesion_lens import ROOT
from lesion_lens.model.errors import SettingError
from lesion_lens.web.pwa import SCREENSHOTS
from tests.support.browser import window
from tests.support.pages import app_with, page_of

PACKAGE = "org.example.lesionlens"
FINGERPRINT = ":".join(f"{number:02X}" for number in range(160, 192))
ASSET_LINKS = "/.well-known/assetlinks.json"


def manifest_of(client):
    return json.loads(client.get("/manifest.webmanifest").data)


def size_of(src):
    with Image.open(ROOT / src.removeprefix("/")) as image:
        assert image.format == "PNG"
        return image.size


# --- The install dialogue --------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(browser, address):
    """What Chromium reads from the manifest, and what prevents it from installing the app."""
    with window(browser, service_workers="allow") as page:
        page.goto(address)
        page.evaluate("() => navigator.serviceWorker.ready.then(() => null)")
        tools = page.context.new_cdp_session(page)
        errors = tools.send("Page.getInstallabilityErrors")["installabilityErrors"]
        yield tools.send("Page.getAppManifest"), [error["errorId"] for error in errors]


def test_nothing_but_the_private_window_keeps_chromium_from_installing_it(seen):
    manifest, errors = seen
    assert manifest["errors"] == []
    assert errors == ["in-incognito"]  # like all windows of tests but one, in tests/test_pwa.py


def test_chromium_takes_every_member_for_its_dialogue(seen, client):
    taken, given = seen[0]["manifest"], manifest_of(client)
    assert taken["description"] == given["description"]
    assert [shot["label"] for shot in taken["screenshots"]] == [one.label for one in SCREENSHOTS]
    assert [short["name"] for short in taken["shortcuts"]] == [
        short["name"] for short in given["shortcuts"]
    ]
    assert taken["launchHandler"] == {"clientMode": "kNavigateNew"}


def test_the_dialogue_has_pictures_for_phones_and_for_desktops(client):
    forms = [shot["form_factor"] for shot in manifest_of(client)["screenshots"]]
    assert forms.count("narrow") >= 2
    assert forms.count("wide") >= 1
    assert len(forms) <= 8  # Chromium shows no more


def test_each_picture_has_a_size_that_chromium_shows(client):
    ratios = {}
    for shot in manifest_of(client)["screenshots"]:
        width, height = size_of(shot["src"])
        assert shot["sizes"] == f"{width}x{height}"
        assert 320 <= min(width, height) <= max(width, height) <= 3840
        assert max(width, height) <= 2.3 * min(width, height)
        assert (width > height) == (shot["form_factor"] == "wide")
        ratios.setdefault(shot["form_factor"], set()).add(width / height)
        assert client.get(shot["src"]).content_type == shot["type"]
    assert all(len(found) == 1 for found in ratios.values())


def test_the_pictures_are_those_that_the_script_takes():
    from scripts.take_screenshots import PAGES, STATIC

    assert list(PAGES) == [shot.name for shot in SCREENSHOTS]
    for shot in SCREENSHOTS:
        assert size_of(f"/static/{shot.name}") == (shot.width, shot.height), "`make screenshots`"
    assert sum((STATIC / shot.name).stat().st_size for shot in SCREENSHOTS) < 250_000


def test_no_phone_keeps_the_pictures_of_the_dialogue(client):
    assert "/static/icon.svg" in client.get("/service-worker.js").text
    assert "/static/install-" not in client.get("/service-worker.js").text


# --- Shortcuts -------------------------------------------------------------------------------


def test_each_shortcut_has_an_icon_of_the_size_that_android_asks_for(client):
    for shortcut in manifest_of(client)["shortcuts"]:
        (icon,) = shortcut["icons"]
        width, height = size_of(icon["src"])
        assert icon["sizes"] == f"{width}x{height}"
        assert min(width, height) >= 96


def test_the_short_names_of_the_shortcuts_are_not_cut(client):
    # Bubblewrap cuts them after 12 characters.
    assert all(len(one["short_name"]) <= 12 for one in manifest_of(client)["shortcuts"])


def test_the_shortcut_to_the_warning_signs_finds_them_without_a_connection_too(client):
    _, signs = manifest_of(client)["shortcuts"]
    address, _, anchor = signs["url"].partition("#")
    for path in (address, "/offline"):
        assert page_of(client.get(path)).find(id=anchor)


def test_the_icon_of_the_warning_signs_is_drawn_from_its_svg(browser):
    from scripts.draw_icons import SHORTCUT, STATIC, draw

    name, side = SHORTCUT
    drawn = draw(browser, side, "transparent", name.replace(".png", ".svg"))
    with Image.open(STATIC / name) as image:
        kept, new = (np.asarray(one.convert("RGBA"), int) for one in (image, drawn))
    assert np.abs(kept - new).mean() < 1, "run `make icons`"


# --- The Android app that shows the site -----------------------------------------------------


def test_the_site_names_no_android_app_without_the_settings(client):
    assert client.get(ASSET_LINKS).status_code == 404


def test_the_site_names_the_android_app_of_the_settings():
    other = FINGERPRINT.replace("A0", "FF")
    app = app_with(
        ANDROID_PACKAGE=f" {PACKAGE}\n", ANDROID_FINGERPRINTS=f"{FINGERPRINT.lower()}, {other}"
    )
    answer = app.test_client().get(ASSET_LINKS)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    (statement,) = answer.json
    assert statement == {
        "relation": ["delegate_permission/common.handle_all_urls"],
        "target": {
            "namespace": "android_app",
            "package_name": PACKAGE,
            "sha256_cert_fingerprints": [FINGERPRINT, other],
        },
    }


def test_whoever_verifies_the_app_is_not_counted():
    client = app_with(
        ANDROID_PACKAGE=PACKAGE, ANDROID_FINGERPRINTS=FINGERPRINT, RATE_LIMIT="1 per hour"
    ).test_client()
    assert [client.get(ASSET_LINKS).status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    ("package", "fingerprints", "sentence"),
    [
        (PACKAGE, "", "ANDROID_PACKAGE is set without ANDROID_FINGERPRINTS"),
        (PACKAGE, " , ", "ANDROID_PACKAGE is set without ANDROID_FINGERPRINTS"),
        ("", FINGERPRINT, "ANDROID_FINGERPRINTS is set without ANDROID_PACKAGE"),
        ("lesionlens", FINGERPRINT, "ANDROID_PACKAGE is 'lesionlens'"),
        ("org.1example", FINGERPRINT, "ANDROID_PACKAGE is 'org.1example'"),
        ("https://example.org", FINGERPRINT, "ANDROID_PACKAGE is 'https"),
        (PACKAGE, FINGERPRINT[:-3], "ANDROID_FINGERPRINTS has 'A0:"),
        (PACKAGE, FINGERPRINT.replace(":", ""), "ANDROID_FINGERPRINTS has 'A0A1"),
        (PACKAGE, f"{FINGERPRINT},{FINGERPRINT[:59]}", "ANDROID_FINGERPRINTS has 'A0:"),  # SHA-1
        (PACKAGE, FINGERPRINT.replace("A", "G"), "ANDROID_FINGERPRINTS has 'G0:"),
    ],
)
def test_settings_that_name_no_app_end_the_start(package, fingerprints, sentence):
    with pytest.raises(SettingError, match=rf"^{sentence}.*: set "):
        app_with(ANDROID_PACKAGE=package, ANDROID_FINGERPRINTS=fingerprints)
