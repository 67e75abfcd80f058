"""The web app through Flask's test client; pages are parsed, not searched."""

import builtins
import io
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from html.parser import HTMLParser

import numpy as np
import pytest
import requests
from conftest import ROOT, draw_lesion, encode, upload
from PIL import Image
from test_model import change_layer
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder

import skin_cancer_detection as scd
from app import create_app, melanomas_called_benign, percent


class Page(HTMLParser):
    """A parsed page: `tags`, a list of (name, attributes), and `text_of(id)`."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self, response):
        super().__init__()
        self.tags, self._open, self._texts = [], [], {}
        self.feed(response.get_data(as_text=True))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self._open.append((tag, dict(attributes).get("id")))

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        for element_id in {None, *(identifier for _, identifier in self._open)}:
            self._texts[element_id] = self._texts.get(element_id, "") + data

    def text_of(self, element_id=None):
        return " ".join(self._texts.get(element_id, "").split())

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def probabilities_of(response):
    """The seven numbers of a results page, in the order of the classes."""
    values = {data["id"]: float(data["value"]) for data in Page(response).all("data")}
    return np.array([values[code] for code in scd.CODES])


# --- The pages -------------------------------------------------------------------------------


def test_the_upload_page_has_the_form(client):
    page = Page(client.get("/"))
    form = page.all("form")[0]
    assert (form["action"], form["method"]) == ("/showresult", "post")
    assert form["enctype"] == "multipart/form-data"
    assert page.all("input")[0]["name"] == "pic"
    assert page.text_of("error") == ""


def test_the_upload_page_says_what_images_mean_anything(client):
    page = Page(client.get("/"))
    text = page.text_of()
    assert "Only dermatoscope images mean anything here" in text
    assert "not a diagnosis" in text
    assert "16 MB and 25 million pixels" in text
    drawings = [image["src"] for image in page.all("img")]
    assert {"/static/dermatoscope-image.svg", "/static/skin-photograph.svg"} <= set(drawings)


def test_the_results_page(client, app):
    response = upload(client, encode(draw_lesion()))
    assert response.status_code == 200
    page = Page(response)
    probabilities = probabilities_of(response)
    expected = app.extensions["classifier"](scd.preprocess(draw_lesion()))
    assert np.allclose(probabilities, expected, atol=1e-6)
    likely = scd.CLASSES[probabilities.argmax()]
    assert page.text_of("likely") == likely.name
    assert likely.risk in page.text_of("risk")
    cancer = sum(probabilities[scd.CODES.index(code)] for code in ("akiec", "bcc", "mel"))
    assert page.text_of("cancer") == percent(cancer)
    assert likely.description.split(".")[0] in page.text_of()
    links = [link.get("href") for link in page.all("a")]
    assert {f"https://dermnetnz.org/topics/{topic}" for topic in likely.sources} <= set(links)
    for lesion_class in scd.CLASSES:
        assert lesion_class.name in page.text_of()


def test_the_bars_are_as_long_as_their_numbers(client):
    response = upload(client, encode(draw_lesion()))
    widths = [float(bar["width"]) for bar in Page(response).all("rect")]
    values = sorted((100 * probabilities_of(response)).tolist(), reverse=True)
    assert widths == pytest.approx(values, abs=0.01)


def test_the_results_page_sends_to_a_doctor_and_does_not_diagnose(client):
    text = Page(upload(client, encode(draw_lesion()))).text_of()
    assert "not a diagnosis" in text
    assert "dermatologist" in text
    for sign in ("growing", "changing", "bleeds", "not healing"):
        assert sign in text
    assert "diagnosed" not in text.lower()


def test_the_results_page_shows_the_image_upright_and_without_metadata(client):
    import base64

    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "SECRET CAMERA"
    response = upload(client, encode(draw_lesion(), "JPEG", exif=exif))
    preview = next(img["src"] for img in Page(response).all("img") if "data:" in img["src"])
    data = base64.b64decode(preview.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as shown:
        assert shown.size == (450, 600)
        assert not shown.getexif()
    assert b"SECRET" not in data


def test_results_are_not_cached(client):
    assert upload(client, encode(draw_lesion())).headers["Cache-Control"] == "no-store"


def test_nothing_is_loaded_from_another_host(client):
    for response in (client.get("/"), upload(client, encode(draw_lesion()))):
        page = Page(response)
        sources = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
        links = [a["href"] for a in page.all("a")]
        for source in sources:
            assert source in links or source.startswith(("/", "data:"))


def test_the_page_of_a_result_alone_leads_back_to_the_form(client):
    response = client.get("/showresult")
    assert (response.status_code, response.location) == (302, "/")


def test_unknown_pages_and_methods(client):
    assert client.get("/none").status_code == 404
    assert "no page at this address" in Page(client.get("/none")).text_of()
    wrong = client.post("/")
    assert wrong.status_code == 405
    assert "GET" in wrong.headers["Allow"]


@pytest.mark.parametrize("lesion_class", scd.CLASSES, ids=scd.CODES)
def test_every_class_has_its_facts(lesion_class):
    assert lesion_class.risk in ("malignant", "pre-malignant", "benign")
    assert 2 <= len(re.findall(r"[.](?: |$)", lesion_class.description)) <= 3
    assert lesion_class.sources


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [
        (0.5, 0, "50 %"),
        (0.994, 0, "99 %"),
        (0.996, 0, "over 99 %"),
        (1, 0, "over 99 %"),
        (0.9996, 1, "over 99.9 %"),
        (0.0004, 1, "under 0.1 %"),
        (0, 1, "under 0.1 %"),
        (0.001, 1, "0.1 %"),
    ],
)
def test_no_probability_is_written_as_certainty(share, decimals, text):
    assert percent(share, decimals) == text


def test_a_benign_answer_does_not_reassure(client, app, monkeypatch):
    naevus = np.eye(7, dtype=np.float32)[scd.CODES.index("nv")]
    monkeypatch.setattr("app.predict", lambda model, pixels: naevus)
    page = Page(upload(client, encode(draw_lesion())))
    scores = app.extensions["classifier"].facts["test"]
    missed = round(100 * melanomas_called_benign(scores))
    assert "does not mean that your spot is harmless" in page.text_of("not-harmless")
    assert f"it took {missed} for a benign class" in page.text_of("not-harmless")


def test_a_malignant_answer_needs_no_such_word(client, monkeypatch):
    melanoma = np.eye(7, dtype=np.float32)[scd.CODES.index("mel")]
    monkeypatch.setattr("app.predict", lambda model, pixels: melanoma)
    page = Page(upload(client, encode(draw_lesion())))
    assert page.text_of("not-harmless") == ""
    assert "malignant: a kind of cancer" in page.text_of("risk")
    assert "probability of over 99 %" in page.text_of()


def test_melanomas_called_benign():
    matrix = np.zeros((7, 7), int)
    matrix[6] = [1, 2, 3, 4, 5, 6, 4]  # akiec bcc bkl df nv vasc mel: 3 + 4 + 5 + 6 of 25
    assert melanomas_called_benign({"confusion_matrix": matrix.tolist()}) == 18 / 25


def test_without_scores_in_the_file_the_page_says_so(tmp_path):
    model = scd.load_model()
    scd.save_model(model, tmp_path / "m.h5", {})
    page = Page(create_app({"MODEL_PATH": tmp_path / "m.h5"}).test_client().get("/"))
    assert "does not say how good the model is" in page.text_of()


def test_a_model_of_other_images_does_not_claim_to_be_of_ham10000(client, tmp_path):
    assert "HAM10000" in Page(client.get("/")).text_of()
    facts = scd.check_model_file(scd.DEFAULT_MODEL_PATH) | {"data": "images of one's own"}
    scd.save_model(scd.load_model(), tmp_path / "m.h5", facts)
    page = Page(create_app({"MODEL_PATH": tmp_path / "m.h5"}).test_client().get("/"))
    assert "HAM10000" not in page.text_of()
    assert "specialist clinics" not in page.text_of()


def test_inflated_scores_are_called_so(tmp_path):
    facts = scd.check_model_file(scd.DEFAULT_MODEL_PATH) | {"rows_may_share_lesions": True}
    scd.save_model(scd.load_model(), tmp_path / "m.h5", facts)
    page = Page(create_app({"MODEL_PATH": tmp_path / "m.h5"}).test_client().get("/"))
    assert "these figures are too good" in page.text_of()


# --- What users send -------------------------------------------------------------------------


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
        (encode(Image.new("1", (20_001, 1))), 413, "20,000 on one side"),
        (b"\x00" * 17_000_000, 413, "larger than 16 MB"),
    ],
)
def test_a_bad_upload_gets_the_form_with_one_sentence(client, data, status, sentence):
    response = upload(client, data)
    page = Page(response)
    assert response.status_code == status
    assert sentence in page.text_of("error")
    assert page.all("form")


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
    assert "No image was chosen" in Page(response).text_of("error")


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
    assert Page(response).text_of("error")


@pytest.mark.parametrize("parts", [1, 1100], ids=["one large", "very many"])
def test_a_form_of_texts_is_answered_by_a_real_server(app, parts):
    """Werkzeug gives up such a form half read; whoever then waits for the rest waits for ever."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        response = requests.post(
            f"http://127.0.0.1:{server.server_port}/showresult",
            files={f"pic{i}": (None, "a" * (1_000_000 // parts)) for i in range(parts)},
            timeout=20,
        )
    finally:
        server.shutdown()
        thread.join()
    assert response.status_code == 413
    assert "The form could not be read" in response.text


def test_under_a_prefix_the_upload_page_comes_back_too(client):
    response = client.post(
        "/showresult",
        data={"pic": (io.BytesIO(b"\x00" * 17_000_000), "a.png")},
        base_url="http://x/skin",
    )
    assert response.status_code == 413
    assert "larger than 16 MB" in Page(response).text_of("error")


def test_a_file_name_cannot_harm(client):
    response = upload(client, encode(draw_lesion()), name="../<script>alert(1)</script>.png")
    assert response.status_code == 200
    assert "<script>alert" not in response.get_data(as_text=True)


# --- Nothing is kept -------------------------------------------------------------------------


def test_five_megabytes_touch_no_disk(client, monkeypatch):
    data = encode(draw_lesion()) + b"\x00" * 5_000_000  # what follows a PNG's end is ignored
    form = {"pic": (io.BytesIO(data), "lesion.png")}
    environ = EnvironBuilder(method="POST", data=form).get_environ()
    body, content_type = environ["wsgi.input"].read(), environ["CONTENT_TYPE"]
    upload(client, encode(draw_lesion()))  # templates and model are read by now

    def refuse(*_, **__):
        raise AssertionError("a file was opened for writing")

    def open_to_read(file, mode="r", *arguments, real=builtins.open, **options):
        assert not set(mode) & set("wax+"), f"{file} was opened for writing"
        return real(file, mode, *arguments, **options)

    def os_open(path, flags, *arguments, real=os.open, **options):
        assert not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT), f"{path} opened for writing"
        return real(path, flags, *arguments, **options)

    for name in (
        "TemporaryFile",
        "NamedTemporaryFile",
        "SpooledTemporaryFile",
        "mkstemp",
        "mkdtemp",
    ):
        monkeypatch.setattr(tempfile, name, refuse)
    monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", refuse)
    monkeypatch.setattr(builtins, "open", open_to_read)
    monkeypatch.setattr(io, "open", open_to_read)
    monkeypatch.setattr(os, "open", os_open)
    response = client.post("/showresult", data=body, content_type=content_type)
    assert response.status_code == 200


def test_nothing_of_an_upload_is_logged(client, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    upload(client, encode(draw_lesion()), name="private-name.png")
    upload(client, b"private content", name="private-name.png")
    output = capfd.readouterr()
    assert "private" not in caplog.text + output.out + output.err


# --- Starting --------------------------------------------------------------------------------


def test_importing_the_app_imports_no_tensorflow():
    script = "import sys, app; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_readyz_is_503_until_the_model_is_loaded(monkeypatch):
    may_load, real = threading.Event(), scd.load_model

    def slow(path):
        may_load.wait()
        return real(path)

    monkeypatch.setattr("app.load_model", slow)
    client = create_app().test_client()
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503
    may_load.set()
    end = time.monotonic() + 60
    while client.get("/readyz").status_code == 503:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert client.get("/readyz").status_code == 200


def test_the_model_is_loaded_once_however_many_ask(monkeypatch):
    loads, real = [], scd.load_model
    monkeypatch.setattr("app.load_model", lambda path: loads.append(path) or real(path))
    app = create_app()
    statuses = []
    threads = [
        threading.Thread(
            target=lambda: statuses.append(
                upload(app.test_client(), encode(draw_lesion())).status_code
            )
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 8
    assert len(loads) == 1


def test_a_model_file_that_breaks_after_the_start_is_a_503(tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes(scd.DEFAULT_MODEL_PATH.read_bytes())
    client = create_app({"MODEL_PATH": path}).test_client()
    path.unlink()
    response = upload(client, encode(draw_lesion()))
    assert response.status_code == 503
    assert Page(response).text_of("error").startswith("The model cannot be used at the moment")


PYTHON, FLASK = ["app.py"], ["-m", "flask", "--app", "app", "run"]
GUNICORN = pytest.param(
    ["-m", "gunicorn", "app:app"],
    marks=pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows"),
    id="gunicorn",
)


def start(command, **environment):
    """Start a server that cannot start; returns its code and what it said."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | {"PORT": "0"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "command", [pytest.param(PYTHON, id="python"), pytest.param(FLASK, id="flask"), GUNICORN]
)
def test_a_bad_model_file_stops_the_start_with_its_sentence(command, tmp_path):
    code, said = start(command, MODEL_PATH=str(tmp_path / "none.h5"))
    assert code == 3
    assert f"{tmp_path / 'none.h5'} is missing: run `python train.py`" in said


@pytest.mark.parametrize("command", [pytest.param(PYTHON, id="python"), GUNICORN])
def test_so_does_one_of_which_only_keras_finds_out(command, tmp_path):
    path = shutil.copy(scd.DEFAULT_MODEL_PATH, tmp_path / "m.h5")
    change_layer(path, -1, activation="linear")
    code, said = start(command, MODEL_PATH=str(path))
    assert code == 3
    assert f"{path} does not give seven probabilities: run `python train.py`" in said


@pytest.mark.parametrize("port", ["abc", "70000"])
def test_a_port_that_is_none_is_named(port):
    code, said = start(PYTHON, PORT=port)
    assert code == 1
    assert f"PORT is '{port}'" in said
