"""The page /privacy is true, by the headers, the pages' markup and the browser's own record."""

import base64
import io
import os
import re
import runpy
import sys
import tempfile
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup
from PIL import ExifTags, Image, PngImagePlugin
from werkzeug.test import EnvironBuilder

from app import create_app
from lesion_lens import ROOT
from lesion_lens.model.errors import UnsupportedImage
from lesion_lens.model.images import FORMATS, read_image
from lesion_lens.web.headers import PERMISSIONS_POLICY
from tests.support.browser import SPOILED, classify, drawn
from tests.support.drawings import draw_lesion, encode
from tests.support.pages import page_of, pages_of, text_of, upload

# The directives that `default-src` does not cover.
ALONE = {"base-uri": "'none'", "form-action": "'self'", "frame-ancestors": "'none'"}
# The attributes whose address a browser loads by itself; also `href`, except on links to follow.
LOADED = ("action", "background", "data", "formaction", "href", "poster", "src", "xlink:href")
LESION = drawn()


# --- Every answer ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers():
    """Answers of every address to every method, to good and bad uploads, and every error."""
    app = create_app()
    app.add_url_rule("/broken", view_func=lambda: 1 / 0)
    client = app.test_client()
    files = [f"/static/{file.name}" for file in (ROOT / "static").iterdir()]
    rules = [rule.rule for rule in app.url_map.iter_rules() if not rule.arguments]
    found = [
        client.open(address, method=method)
        for address in (*rules, *files, "/none", "/static/none")
        for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE")
    ]
    good, bad = LESION["buffer"], SPOILED["buffer"]
    for address, field in (("/showresult", "pic"), ("/api/v1/predictions", "image")):
        for images in ([good], [bad], [good, bad], [bad, bad], [b""], [b"\x00" * 21_000_000]):
            form = {field: [(io.BytesIO(image), "a.png") for image in images]}
            found.append(client.post(address, data=form))
    assert {200, 302, 400, 404, 405, 413, 415, 422, 500} <= {one.status_code for one in found}
    return found


def test_no_answer_sets_a_cookie(answers):
    assert [one.request.path for one in answers if "Set-Cookie" in one.headers] == []


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Embedder-Policy", "require-corp"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", PERMISSIONS_POLICY),
        ("X-DNS-Prefetch-Control", "off"),
        ("X-Permitted-Cross-Domain-Policies", "none"),
    ],
)
def test_every_answer_has_the_header_once(answers, header, value):
    for one in answers:
        assert one.headers.getlist(header) == [value], one.request.path


def test_the_policy_of_every_answer_names_this_host_alone_and_nothing_unsafe(answers):
    for one in answers:
        (text,) = one.headers.getlist("Content-Security-Policy")
        policy = {name: sources for name, *sources in map(str.split, text.split(";"))}
        assert policy["default-src"] == ["'none'"], one.request.path
        assert set(policy.pop("img-src")) <= {"'self'", "data:", "blob:"}, one.request.path
        for sources in policy.values():
            assert sources in (["'none'"], ["'self'"]), one.request.path
        assert {name: policy[name][0] for name in ALONE} == ALONE, one.request.path


def test_no_answer_to_an_upload_may_be_kept(answers):
    posted = [one for one in answers if one.request.method == "POST"]
    assert {one.headers["Cache-Control"] for one in posted} == {"no-store"}


def test_every_answer_says_whether_it_may_be_kept(answers):
    for one in answers:
        may_ask_again = one.request.method != "POST" and one.status_code < 400
        kept = "no-cache" if may_ask_again else "no-store"
        assert one.headers.getlist("Cache-Control") == [kept], one.request.path


def test_a_static_file_is_not_sent_twice(client):
    first = client.get("/static/style.css")
    again = client.get("/static/style.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize(("scheme", "times"), [("https", 1), ("http", 0)])
def test_whoever_came_by_https_shall_come_by_https(client, scheme, times):
    for path in ("/", "/none", "/static/style.css"):
        headers = client.get(path, base_url=f"{scheme}://skin.example").headers
        assert headers.getlist("Strict-Transport-Security") == ["max-age=63072000"] * times


def test_the_camera_is_for_this_app_and_the_rest_is_off():
    camera, *others = PERMISSIONS_POLICY.split(", ")
    assert camera == "camera=(self)"
    assert {"geolocation=()", "microphone=()", "usb=()", "payment=()"} <= set(others)
    assert all(other.endswith("=()") for other in others)


def pages_in(answers):
    """Return the pages and drawings, parsed with their templates."""
    kinds = ("text/html", "image/svg+xml")
    found = [one for one in answers if one.mimetype in kinds and one.data]
    assert len(found) > 30
    return [(one.request.path, BeautifulSoup(one.data, "html.parser")) for one in found]


def test_no_page_has_a_script_or_a_style_of_its_own(answers):
    own = "style, script:not([src]), [style], [srcdoc], [href^='javascript:']"
    for path, page in pages_in(answers):
        assert page.select(own) == [], path
        names = {name for element in page.find_all(True) for name in element.attrs}
        assert not [name for name in names if name.startswith("on")], path


def is_of_this_host(address):
    parts = urlsplit(address)
    return not parts.netloc and parts.scheme in ("", "data")


def test_no_page_and_no_drawing_loads_anything_from_another_host(answers):
    for path, page in pages_in(answers):
        for element in page.find_all(True):
            addresses = [
                address
                for name, address in element.attrs.items()
                if name in LOADED and (element.name, name) != ("a", "href")
            ]
            addresses += [each.split()[0] for each in element.get("srcset", "").split(",") if each]
            assert all(map(is_of_this_host, addresses)), (path, addresses)


def test_no_style_sheet_loads_anything_from_another_host(answers):
    sheets = [one for one in answers if one.mimetype == "text/css" and one.data]
    assert sheets
    for sheet in sheets:
        loaded = re.findall(r"""(?:url\(|@import)\s*["']?([^"')]*)""", sheet.text)
        assert all(map(is_of_this_host, loaded)), loaded


# --- Nothing is kept -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "field"), [("/showresult", "pic"), ("/api/v1/predictions", "image")]
)
def test_five_megabytes_touch_no_disk(client, address, field):
    large = LESION["buffer"] + b"\x00" * 5_000_000  # data after a PNG's end are ignored
    form = {field: [(io.BytesIO(large), "a.png"), (io.BytesIO(b"no image"), "b.jpg")]}
    environ = EnvironBuilder(method="POST", data=form).get_environ()
    body, content_type = environ["wsgi.input"].read(), environ["CONTENT_TYPE"]
    # So that code and templates have been read.
    client.post(address, data=body, content_type=content_type)
    written, watching = [], True

    def watch(event, arguments):
        if watching and event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(arguments)

    sys.addaudithook(watch)
    try:
        response = client.post(address, data=body, content_type=content_type)
        assert response.status_code == 200
        assert written == []
        tempfile.TemporaryFile().close()
        assert written, "the watch sees nothing"
    finally:
        watching = False


# --- In a real browser -----------------------------------------------------------------------


@pytest.fixture
def visitor(browser, address):
    """A page with a record of its browser's requests and complaints."""
    context = browser.new_context()
    page = context.new_page()
    page.asked, page.complaints = [], []
    context.on("request", lambda request: page.asked.append(request.url))  # also the worker's
    # Chromium logs that it does not ask before leaving a page that nobody has touched.
    page.on(
        "console",
        lambda line: "'beforeunload'" in line.text or page.complaints.append(line.text),
    )
    page.goto(address)
    yield page
    context.close()


def visit(page, address, *images):
    """Classify images and wait for at least two results."""
    page.goto(address)
    classify(page, *images)
    page.locator("#likely, #batch tbody tr:nth-child(2)").first.wait_for()


def test_a_whole_visit_leaves_no_trace_and_reaches_no_other_host(visitor, app, address):
    for path in sorted(pages_of(app)):
        visitor.goto(address + path)
    visit(visitor, address, LESION)
    visit(visitor, address, LESION, SPOILED)
    visitor.evaluate("() => navigator.serviceWorker.ready.then(() => null)")
    assert f"{address}/static/icon-maskable-512.png" in visitor.asked  # only by the worker
    other = [url for url in visitor.asked if not url.startswith((address + "/", "data:", "blob:"))]
    assert other == []
    assert visitor.context.cookies() == []
    kept = "async () => [localStorage.length, sessionStorage.length, await indexedDB.databases()]"
    assert visitor.evaluate(kept) == [0, 0, []]


def test_no_page_does_what_the_policy_forbids(visitor, app, address):
    for path in sorted(pages_of(app)):
        visitor.goto(address + path)
        assert visitor.complaints == [], path
    visit(visitor, address, LESION)
    assert visitor.complaints == []


def test_a_script_within_a_page_would_not_run(visitor):
    visitor.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'it ran'";
            document.body.append(script);
        }"""
    )
    assert visitor.title() != "it ran"
    assert "Content Security Policy" in visitor.complaints[-1]


def test_no_page_stands_in_a_frame(browser, app, address):
    page = browser.new_page()
    for path in sorted(pages_of(app)):
        with page.expect_response(address + path):
            page.set_content(f"<iframe src='{address}{path}'></iframe>")
        assert page.frames[1].url == "chrome-error://chromewebdata/"
    page.close()


# --- An image --------------------------------------------------------------------------------


def shown(response):
    """Return the bytes of the image that the result page shows."""
    return base64.b64decode(re.search('"data:image/jpeg;base64,([^"]+)"', response.text)[1])


def with_secrets(image_format):
    """Make an image with a position, a camera, a comment and an XMP record."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "SECRET"
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {ExifTags.GPS.GPSLatitudeRef: "N", ExifTags.GPS.GPSLatitude: (48.0, 12.0, 30.0)}
    )
    options = {"exif": exif, "xmp": b"<x>SECRET</x>"}
    if image_format == "PNG":
        options = {"exif": exif, "pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_text("Comment", "SECRET")
    elif image_format == "JPEG":
        options["comment"] = b"SECRET"
    return encode(draw_lesion(), image_format, **options)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "HEIF", "AVIF"])
def test_what_is_shown_of_an_image_has_lost_where_and_with_what_it_was_taken(client, image_format):
    data = with_secrets(image_format)
    assert b"SECRET" in data
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    response = upload(client, data)
    assert b"SECRET" not in response.data + shown(response)
    with Image.open(io.BytesIO(shown(response))) as image:
        assert not image.getexif()
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


@pytest.mark.parametrize("image_format", ["PPM", "ICO", "EPS", "TGA", "PCX"])
def test_a_format_that_pillow_knows_and_the_page_does_not_name_is_refused(client, image_format):
    assert upload(client, encode(draw_lesion(), image_format)).status_code == 415


def test_no_decoder_but_those_of_the_named_formats_is_asked(monkeypatch):
    Image.init()
    asked = []

    def spied(name, accept):
        return lambda prefix: asked.append(name) or accept is None or accept(prefix)

    for name, (factory, accept) in list(Image.OPEN.items()):
        monkeypatch.setitem(Image.OPEN, name, (factory, spied(name, accept)))
    with pytest.raises(UnsupportedImage):
        read_image(b"8BPS\0\1" + bytes(100))  # like a Photoshop file
    read_image(encode(draw_lesion(), "TIFF"))
    assert set(asked) == set(FORMATS)


@pytest.mark.parametrize("image_format", ["GIF", "TIFF", "WEBP", "PNG", "HEIF", "AVIF"])
def test_only_the_first_frame_is_looked_at(client, image_format):
    first, second = (Image.new("RGB", (64, 64), colour) for colour in ("red", "blue"))
    moving = encode(first, image_format, save_all=True, append_images=[second])
    with Image.open(io.BytesIO(shown(upload(client, moving)))) as image:
        red, _, blue = image.convert("RGB").getpixel((32, 32))
    assert (red > 240, blue < 15) == (True, True)


# --- The words -------------------------------------------------------------------------------


def test_the_log_has_what_the_page_says_and_nothing_more(client):
    log_format = runpy.run_path(ROOT / "gunicorn.conf.py")["access_log_format"]
    # gunicorn's names for them
    time, method, path, status, size, seconds = "t", "m", "U", "s", "B", "L"
    assert re.findall(r"%\((.)\)s", log_format) == [time, method, path, status, size, seconds]
    said = text_of(page_of(client.get("/privacy")))
    assert "its time, its method (such as POST), the address on this server (such as /show" in said
    for words in ("whether it worked", "how large", "how long it took"):
        assert words in said


def test_every_page_links_to_the_privacy_page(app, client):
    for path in pages_of(app):
        assert page_of(client.get(path)).select("a[href='/privacy']"), path
