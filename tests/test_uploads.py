"""Uploads: one image or several, damaged, too many, too large."""

import base64
import contextlib
import csv
import gc
import io
import logging
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
from PIL import Image
from werkzeug.test import EnvironBuilder, run_wsgi_app

import skin_cancer_detection as scd
from benchmarks.servers import form
from lesion_lens.model.admission import MAX_REQUESTS, admission
from lesion_lens.model.decoding import decode
from lesion_lens.model.process_limits import anonymous_memory
from lesion_lens.web import uploads
from tests.support.drawings import draw_for, draw_lesion, encode
from tests.support.pages import app_with, page_of, probabilities_of, text_of, upload
from tests.support.servers import serving


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16"])
def test_png_modes_are_classified(client, mode):
    image = draw_lesion().convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    response = upload(client, encode(image))
    assert response.status_code == 200
    assert probabilities_of(response).sum() == pytest.approx(1, abs=1e-5)


JPEG = encode(Image.effect_noise((64, 64), 80), "JPEG")


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        (b"", 400, "The file is empty"),
        (b"hello", 415, "not an image that can be read here"),
        (encode(draw_lesion(), "PPM"), 415, "Save it as JPEG, PNG"),
        (JPEG[: len(JPEG) // 2], 422, "damaged or incomplete"),
        (encode(Image.new("1", (5001, 5000))), 413, "25 million pixels"),
        (encode(Image.new("1", (20_001, 1))), 413, "more than 20,000 pixels on one side."),
        (b"\x00" * 21_000_000, 413, "More than 20 MB were sent"),
    ],
)
def test_a_bad_upload_gets_the_form_with_one_sentence(client, data, status, sentence):
    response = upload(client, data)
    page = page_of(response)
    assert response.status_code == status
    assert sentence in text_of(page, "#error")
    assert page.select("form")


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"pic": ""},
        {"pic": "text instead of a file"},
        {"picture": (io.BytesIO(JPEG), "a.jpg")},
        {"pic": (io.BytesIO(b""), "")},
    ],
)
def test_no_file_is_a_400(client, form):
    response = client.post("/showresult", data=form, content_type="multipart/form-data")
    assert response.status_code == 400
    assert "No image was chosen" in text_of(page_of(response), "#error")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"garbage", "multipart/form-data; boundary=x"),
        (b"garbage", "multipart/form-data"),
        (
            b"--x\r\nContent-Disposition: form-data; name=pic; filename=a\r\n\r\nabc",
            "multipart/form-data; boundary=x",
        ),
        (JPEG, "image/jpeg"),
        (b"{}", "application/json"),
        (b"--x\r\n" + b"a" * 100_000, "multipart/form-data; boundary=x"),
        (b"pic=" + b"a" * 600_000, "application/x-www-form-urlencoded"),
    ],
)  # fmt: skip
def test_a_malformed_form_is_never_a_500(client, body, content_type):
    response = client.post("/showresult", data=body, content_type=content_type)
    assert 400 <= response.status_code < 500
    assert text_of(page_of(response), "#error")


@pytest.mark.parametrize("parts", [1, 1100], ids=["one large", "very many"])
def test_a_form_of_texts_is_answered_by_a_real_server(app, parts):
    """Werkzeug stops halfway through such a form; reading the rest would block for ever."""
    with serving(app) as port:
        response = requests.post(
            f"http://127.0.0.1:{port}/showresult",
            files={f"pic{i}": (None, "a" * (1_000_000 // parts)) for i in range(parts)},
            timeout=20,
        )
    assert response.status_code == 413
    assert "The form is too large or contains something other than images" in response.text


def test_under_a_prefix_the_upload_page_comes_back_too(client):
    response = client.post(
        "/showresult",
        data={"pic": (io.BytesIO(b"\x00" * 21_000_000), "a.png")},
        base_url="http://x/skin",
    )
    assert response.status_code == 413
    assert "More than 20 MB" in text_of(page_of(response), "#error")


def test_a_file_of_just_as_much_as_is_allowed(client):
    data = encode(draw_lesion())
    assert upload(client, data + b"\x00" * (20_000_000 - len(data))).status_code == 200


def test_a_file_name_cannot_harm(client):
    response = upload(client, encode(draw_lesion()), name="../<script>alert(1)</script>.png")
    assert response.status_code == 200
    assert "<script>alert" not in response.get_data(as_text=True)


@pytest.mark.parametrize(
    ("disposition", "shown"),
    [
        (b'filename="\xe4\xff.png"', "\ufffd\ufffd.png"),
        (b"filename=\xe4.png", "\ufffd.png"),
        (b"filename*=UTF-8''%E4.png", "\ufffd.png"),
        (b"filename*=ISO-8859-1''%E4.png", "ä.png"),
        (b"filename*=UTF-8''%C3%A4.png", "ä.png"),
        (b'filename="\xed\xa0\x80.png"', "\ufffd\ufffd\ufffd.png"),  # half of a surrogate pair
    ],
)
@pytest.mark.parametrize("address", ["/showresult", "/api/v1/predictions"])
def test_a_file_name_that_is_not_utf_8_is_shown_as_far_as_it_goes(
    client, disposition, shown, address
):
    field = b"pic" if address == "/showresult" else b"image"
    head = b"Content-Disposition: form-data; name=" + field + b"; " + disposition
    body = b"--x\r\n" + head + b"\r\n\r\n" + encode(draw_lesion()) + b"\r\n--x--\r\n"
    response = client.post(address, data=body, content_type="multipart/form-data; boundary=x")
    assert response.status_code == 200
    assert shown in response.text


def test_nothing_of_an_upload_is_logged(client, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    upload(client, encode(draw_lesion()), name="private-name.png")
    upload(client, b"private content", name="private-name.png")
    output = capfd.readouterr()
    assert "private" not in caplog.text + output.out + output.err


# --- Several images --------------------------------------------------------------------------


def upload_several(client, *files, **options):
    form = {"pic": [(io.BytesIO(data), name) for name, data in files]}
    return client.post("/showresult", data=form, content_type="multipart/form-data", **options)


def rows_of(response):
    """Return the table of results from its CSV."""
    link = page_of(response).select_one("#csv")
    text = base64.b64decode(link["href"].split(",", 1)[1]).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def test_several_images_get_one_table(client):
    files = [("a.png", encode(draw_lesion())), ("b.png", encode(draw_lesion((300, 300))))]
    response = upload_several(client, *files)
    assert response.status_code == 200
    page = page_of(response)
    assert text_of(page, "#batch-summary") == "Classified: 2 of 2 images. Risk unknown: 2."
    alone = probabilities_of(upload(client, files[1][1]))
    (row,) = [row for row in rows_of(response) if row["file"] == "b.png"]
    assert [float(row[code]) for code in scd.CODES] == pytest.approx(alone, abs=1e-6)
    assert scd.CLASSES[alone.argmax()].name in text_of(page)


def test_the_table_and_its_csv_begin_with_the_most_urgent(client):
    files = [(f"{level}.png", encode(draw_for(level))) for level in ("low", "raised", "high")]
    response = upload_several(client, ("spoiled.png", b"hello"), *files, files[0])
    assert [row["risk_level"] for row in rows_of(response)] == ["high", "raised", "low", "low", ""]
    rows = page_of(response).select(".results tbody tr")
    names = [text_of(row, ".file") for row in rows]
    assert names == ["high.png", "raised.png", "low.png", "low.png", "spoiled.png"]
    assert page_of(response).select_one("th[aria-sort=ascending]").get_text() == "Result"


def test_a_spoiled_file_is_named_in_its_own_row_and_the_rest_are_classified(client):
    good = encode(draw_lesion())
    response = upload_several(client, ("a.png", good), ("b.png", b"hello"), ("c.png", good))
    assert response.status_code == 200
    assert (
        text_of(page_of(response), "#batch-summary")
        == "Classified: 2 of 3 images. Risk unknown: 2."
    )
    rows = rows_of(response)
    assert [row["file"] for row in rows] == ["a.png", "c.png", "b.png"]
    assert "not an image that can be read" in rows[2]["error"]
    assert rows[0]["error"] == rows[2]["most_likely"] == ""


def test_several_of_which_none_is_usable(client):
    response = upload_several(client, ("a.png", b"hello"), ("b.png", b""))
    assert response.status_code == 422
    assert "The file is empty" in text_of(page_of(response))


def test_fifty_images_pass_and_fifty_one_do_not(client):
    file = ("a.png", encode(draw_lesion((28, 28))))
    assert upload_several(client, *[file] * 50).status_code == 200
    refused = upload_several(client, *[file] * 51)
    assert refused.status_code == 400
    assert "More than 50 images were sent" in text_of(page_of(refused), "#error")


# --- Many at once ----------------------------------------------------------------------------


def test_the_head_of_a_part_is_bounded(client):
    """Parsing one of 400 kB took 0.4 s, and a form may have many."""
    begin = time.monotonic()
    name = "a" + ";a=b" * 90_000
    assert upload_several(client, *[(name, b"x")] * 20).status_code == 413
    assert time.monotonic() - begin < 2


@pytest.fixture
def no_time(monkeypatch):
    """Leave time only for the first image of a request."""
    monkeypatch.setattr(uploads, "BATCH_LIMIT", 0.1)
    monkeypatch.setattr(uploads, "decode", lambda *given: time.sleep(0.2) or decode(*given))


def test_images_for_which_there_is_no_time_are_named(client, no_time):
    file = ("a.png", encode(draw_lesion()))
    page = page_of(upload_several(client, file, file, ("late.png", file[1])))
    assert page.text.count("No time was left for this image") == 2
    assert page.text.count("late.png") >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_refused_file_leaves_memory_at_once(app):
    """It must not wait for the rare garbage collector: eight such files took 190 MB."""
    body, kind = form("pic", bytes(10_000_000))

    def refused():
        asked = EnvironBuilder("/showresult", method="POST").get_environ()
        asked |= {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body))}
        asked["wsgi.input"] = io.BytesIO(body)
        return run_wsgi_app(app, asked)[1].startswith("415")

    assert refused()
    gc.collect()
    gc.disable()
    try:
        grown = []
        for _ in range(3):  # the allocator may take memory once; what is kept grows each time
            before = anonymous_memory()
            assert all(refused() for _ in range(4))
            grown.append(anonymous_memory() - before)
        assert min(grown) < 15_000_000
    finally:
        gc.enable()


def test_a_client_that_has_gone_is_not_waited_for(client, monkeypatch):
    gone = threading.Event()
    gone.set()
    decoded = []
    monkeypatch.setattr(uploads, "decode", lambda *given: decoded.append(1) or decode(*given))
    files = [("a.png", encode(draw_lesion()))] * 3
    upload_several(client, *files, environ_overrides={uploads.CLIENT_GONE: gone})
    assert len(decoded) == 1


def test_when_too_many_wait_the_next_is_turned_away(client):
    with contextlib.ExitStack() as crowd:
        for _ in range(MAX_REQUESTS):
            crowd.enter_context(admission())
        response = upload(client, encode(draw_lesion()))
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert text_of(page_of(response), "#error").startswith("Too many images are waiting")
    assert upload(client, encode(draw_lesion())).status_code == 200


def test_the_drawn_picture_is_classified_once_for_all_also_where_uploads_wait(monkeypatch):
    app, made = app_with(), []
    monkeypatch.setattr(uploads, "decode", lambda *given: made.append(1) or decode(*given))
    with contextlib.ExitStack() as crowd, ThreadPoolExecutor(8) as threads:
        for _ in range(MAX_REQUESTS):
            crowd.enter_context(admission())
        answers = threads.map(lambda _: app.test_client().get("/sample").status_code, range(8))
        assert set(answers) == {200}
    assert len(made) == 1


def test_a_form_is_read_before_its_sender_takes_a_place(client):
    with contextlib.ExitStack() as crowd:
        for _ in range(MAX_REQUESTS):
            crowd.enter_context(admission())
        assert client.post("/showresult").status_code == 400
