"""The API through Flask's test client, and the examples on its page, run as shown."""

import contextlib
import hashlib
import io
import json
import logging
import shutil
import subprocess
import sys
from fnmatch import fnmatch

import pytest
import requests
from bs4 import BeautifulSoup
from PIL import Image

import skin_cancer_detection as scd
from app import create_app
from attacks.formats import one_strip, picture_tags
from lesion_lens.model import admission
from lesion_lens.model.files import check_model_file
from lesion_lens.model.limits import MIME_TYPES
from lesion_lens.web.problems import PROBLEMS
from tests.support.api import ADDRESS, check, predict, problem_in, send
from tests.support.drawings import draw_lesion, encode
from tests.support.hostile import repeated_strip
from tests.support.models import MODEL, copy_model
from tests.support.pages import client_of, page_of, probabilities_of, text_of, upload

PNG = encode(draw_lesion((60, 45)))
BROKEN = encode(Image.effect_noise((64, 64), 80), "JPEG")[:1500]
UNKNOWN = one_strip(picture_tags(8, 8, 3, compression=22610), bytes(192))  # no program reads it


# --- Answers ---------------------------------------------------------------------------------


def test_one_image(client, document):
    response = predict(client, (PNG, "mine.png"))
    assert (response.status_code, response.content_type) == (200, "application/json")
    check(response.json, document, "Predictions")
    assert [result["file"] for result in response.json["results"]] == ["mine.png"]
    assert response.headers["Cache-Control"] == "no-store"


def test_the_probabilities_are_those_of_the_page(client):
    image = encode(draw_lesion())
    prediction = predict(client, image).json["results"][0]["prediction"]
    shown = probabilities_of(upload(client, image))
    assert list(prediction["probabilities"]) == list(scd.CODES)
    assert list(prediction["probabilities"].values()) == pytest.approx(shown, abs=2e-6)
    assert prediction["most_likely"] == scd.CODES[shown.argmax()]


def test_the_model_is_named_by_its_checksum(client):
    model = predict(client, PNG).json["model"]
    assert model["sha256"] == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert model["data_sha256"] == check_model_file(MODEL)["data_sha256"]
    assert client.get(model["card"]).status_code == 200


def test_the_classes_are_in_the_model_s_order(client):
    classes = predict(client, PNG).json["classes"]
    expected = [(kind.code, kind.name, kind.risk) for kind in scd.CLASSES]
    assert [(kind["code"], kind["name"], kind["risk"]) for kind in classes] == expected


def test_several_images_are_answered_in_their_order(client):
    images = [encode(Image.new("RGB", (28, 28), colour)) for colour in ("red", "navy", "white")]
    alone = [predict(client, image).json["results"][0]["prediction"] for image in images]
    results = predict(client, *zip(images, "abc", strict=True)).json["results"]
    assert [result["file"] for result in results] == ["a", "b", "c"]
    together = [result["prediction"]["probabilities"]["nv"] for result in results]
    assert together == pytest.approx([one["probabilities"]["nv"] for one in alone], abs=2e-6)
    assert len(set(together)) == 3


def test_a_spoiled_image_does_not_spoil_the_others(client, document):
    response = predict(client, (PNG, "a.png"), (BROKEN, "b.jpg"), (PNG, "c.png"))
    assert response.status_code == 200
    check(response.json, document, "Predictions")
    first, second, third = response.json["results"]
    assert "prediction" in first
    assert "prediction" in third
    assert second["file"] == "b.jpg"
    assert second["problem"]["type"].endswith("#damaged-image")
    assert second["problem"]["status"] == 422


def test_a_heic_photograph_is_classified(client):
    response = predict(client, (encode(draw_lesion(), "HEIF"), "IMG_0001.HEIC"))
    assert response.status_code == 200


def test_a_label_that_is_wrong_does_not_matter(client):
    form = {"image": (io.BytesIO(PNG), "lesion.txt", "text/plain")}
    assert client.post(ADDRESS, data=form).status_code == 200


def test_as_many_images_as_the_document_says(client, document):
    form = document["paths"]["/predictions"]["post"]["requestBody"]["content"]
    limit = form["multipart/form-data"]["schema"]["properties"]["image"]["maxItems"]
    assert limit == 50
    assert len(predict(client, *[PNG] * limit).json["results"]) == limit
    assert problem_in(predict(client, *[PNG] * (limit + 1))) == "too-many-images"


# --- Problems --------------------------------------------------------------------------------

REQUESTS = {
    "no-image": {"data": {}, "content_type": "multipart/form-data"},
    "too-many-images": {"data": {"image": [(io.BytesIO(PNG), "a.png") for _ in range(51)]}},
    "not-a-file": {"data": {"image": "text"}, "content_type": "multipart/form-data"},
    "unknown-field": {"data": {"picture": (io.BytesIO(PNG), "a.png")}},
    "invalid-parameter": {"query_string": "explain=yes", "data": PNG, "content_type": "image/png"},
    "malformed-request": {"headers": {"Host": "a/b"}},
    "no-such-address": {"path": "/api/v1/prediction"},
    "method-not-allowed": {"method": "GET"},
    "empty-image": {"data": {"image": (io.BytesIO(b""), "a.png")}},
    "request-too-large": {"data": {"image": (io.BytesIO(b"\x00" * 21_000_000), "a.png")}},
    "image-too-large": {
        "data": {"image": (io.BytesIO(encode(Image.new("1", (5001, 5000)))), "a.png")}
    },
    "wrong-content-type": {"data": PNG, "content_type": "text/plain"},
    "unsupported-image": {"data": {"image": (io.BytesIO(b"hello"), "a.png")}},
    "unsupported-variant": {"data": {"image": (io.BytesIO(UNKNOWN), "a.tif")}},
    "image-too-costly": {"data": {"image": (io.BytesIO(repeated_strip(1000)), "a.tif")}},
    "damaged-image": {"data": {"image": (io.BytesIO(BROKEN), "a.jpg")}},
    "no-image-usable": {
        "data": {
            "image": [(io.BytesIO(BROKEN), "broken-off.jpg"), (io.BytesIO(b"hello"), "notes.txt")]
        }
    },
}


def examples_of(document):
    """Return the problems in the document, by the name of their type."""
    responses = document["paths"]["/predictions"]["post"]["responses"].values()
    contents = [response["content"].get("application/problem+json", {}) for response in responses]
    return {
        name: example["value"]
        for content in contents
        for name, example in content.get("examples", {}).items()
    }


@pytest.mark.parametrize("name", REQUESTS)
def test_a_problem_is_the_one_that_the_document_shows(name, client, document):
    response = client.open(**{"path": ADDRESS, "method": "POST"} | REQUESTS[name])
    assert problem_in(response) == name
    assert response.json == examples_of(document)[name]
    check(response.json, document, "Problem")


def test_no_problem_type_is_left_untested(document):
    elsewhere = {
        "busy",
        "dicom-not-read",  # only without pydicom: tests/test_dicom.py
        "from-another-site",
        "model-unusable",
        "not-processed",
        "server-failed",
        "too-many-requests",
    }
    assert {kind.name for kind in PROBLEMS} == set(REQUESTS) | elsewhere
    assert set(examples_of(document)) == set(REQUESTS) | elsewhere


@contextlib.contextmanager
def all_places_taken():
    with contextlib.ExitStack() as stack:
        for _ in range(admission.MAX_REQUESTS):
            stack.enter_context(admission.admission())
        yield


def test_too_many_requests_are_sent_away_for_a_while(client, document):
    with all_places_taken():
        response = client.post(ADDRESS, data=PNG, content_type="image/png")
    assert problem_in(response) == "busy"
    assert response.json == examples_of(document)["busy"]
    assert int(response.headers["Retry-After"]) > 0
    assert predict(client, PNG).status_code == 200


def test_a_model_file_that_breaks_after_the_start_is_a_503(document, tmp_path):
    path = copy_model(tmp_path, {})
    client = client_of(path)
    path.unlink()
    response = predict(client, PNG)
    assert problem_in(response) == "model-unusable"
    assert response.json == examples_of(document)["model-unusable"]
    assert int(response.headers["Retry-After"]) > 0


def test_a_fault_of_the_server_is_a_problem_too(document, monkeypatch):
    monkeypatch.setattr("lesion_lens.web.api.to_dict", lambda _: 1 / 0)
    response = predict(create_app().test_client(), PNG)
    assert problem_in(response) == "server-failed"
    assert response.json == examples_of(document)["server-failed"]


@pytest.mark.parametrize(
    ("method", "path", "name", "said"),
    [
        ("GET", "/api/v1/none", "no-such-address", "There is nothing at /api/v1/none. "),
        ("POST", "/api/none", "no-such-address", "There is nothing at /api/none. "),
        ("GET", ADDRESS, "method-not-allowed", "does not accept GET. Use OPTIONS or POST."),
        ("DELETE", "/api/v1/docs", "method-not-allowed", "Use GET, HEAD or OPTIONS."),
        ("PUT", "/api/v1", "method-not-allowed", "Use GET, HEAD or OPTIONS."),
        ("PUT", "/api/v1/", "method-not-allowed", "Use GET, HEAD or OPTIONS."),
    ],
)
def test_a_wrong_address_or_method_is_named(client, method, path, name, said):
    response = client.open(path, method=method)
    assert problem_in(response) == name
    assert said in response.json["detail"]


def test_what_an_address_takes_is_in_the_header(client):
    for response in (client.head(ADDRESS), client.options(ADDRESS)):
        assert set(response.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert (client.head(ADDRESS).status_code, client.options(ADDRESS).status_code) == (405, 200)
    assert client.head("/api/v1/openapi.json").status_code == 200


@pytest.mark.parametrize(
    ("body", "content_type", "name"),
    [
        (b"garbage", "multipart/form-data; boundary=x", "no-image"),
        (b"garbage", "multipart/form-data", "no-image"),
        (b"--x--\r\n", "multipart/form-data; boundary=x", "no-image"),
        (
            b"--x\r\nContent-Disposition: form-data; name=image; filename=a\r\n\r\nabc",
            "multipart/form-data; boundary=x",
            "no-image",
        ),
        (
            b"--x\r\nContent-Disposition: form-data; name=image\r\n\r\n"
            + b"a" * 600_000
            + b"\r\n--x--\r\n",
            "multipart/form-data; boundary=x",
            "request-too-large",
        ),
        (b"image=abc", "application/x-www-form-urlencoded", "wrong-content-type"),
        (b"{}", "application/json", "wrong-content-type"),
        (b"", None, "wrong-content-type"),
    ],
)
def test_a_malformed_request_is_a_problem(client, body, content_type, name):
    assert problem_in(client.post(ADDRESS, data=body, content_type=content_type)) == name


@pytest.mark.parametrize("other", ["text", (io.BytesIO(PNG), "")], ids=["text", "no name"])
def test_a_part_that_is_no_file_is_not_passed_over(client, other):
    response = client.post(ADDRESS, data={"image": [(io.BytesIO(PNG), "a.png"), other]})
    assert problem_in(response) == "not-a-file"


def test_under_a_prefix_the_addresses_have_it_too(client):
    wrong = predict(client, b"hello", base_url="http://x/skin")
    assert wrong.json["type"] == "/skin/api/v1/docs#unsupported-image"
    assert predict(client, PNG, base_url="http://x/skin").json["model"]["card"] == "/skin/model"
    document = client.get("/api/v1/openapi.json", base_url="http://x/skin").json
    assert document["servers"] == [{"url": "/skin/api/v1"}]
    lost = client.get("/api/none", base_url="http://x/skin").json["detail"]
    assert lost == (
        "There is nothing at /skin/api/none. Send images to /skin/api/v1/predictions. The API "
        "is explained at /skin/api/v1/docs."
    )


@pytest.mark.parametrize(
    ("size", "content_type", "name"),
    [
        (15_000_000, "text/plain", "wrong-content-type"),
        (30_000_000, "text/plain", "wrong-content-type"),
        (30_000_000, "image/png", "request-too-large"),
        (30_000_000, "multipart/form-data; boundary=x", "request-too-large"),
    ],
)
def test_what_is_refused_is_read_away(client, size, content_type, name):
    """If a server closes before it has read the whole body, some clients' connections break."""
    body = io.BytesIO(b"\x00" * size)
    options = {"content_type": content_type, "content_length": size, "input_stream": body}
    response = client.post(ADDRESS, **options)
    assert problem_in(response) == name
    assert body.tell() == size


# --- An image as the body --------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [*MIME_TYPES, "application/octet-stream", "image/x-none"])
def test_a_body_is_answered_as_a_form_is(client, document, content_type):
    response = send(client, PNG, content_type)
    assert response.status_code == 200
    check(response.json, document, "Predictions")
    (result,) = response.json["results"]
    (of_form,) = predict(client, (PNG, "image")).json["results"]
    assert result == of_form


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="my lesion.png"', "my lesion.png"),
        ('attachment; filename="l\u00e4sion.png"', "l\u00e4sion.png"),
        ("attachment; filename*=UTF-8''l%C3%A4sion.png", "l\u00e4sion.png"),
        ("attachment", "image"),
        ('attachment; filename=""', "image"),
        (';;="', "image"),
    ],
)
def test_a_header_may_name_it(client, header, name):
    sent = header.encode().decode("latin-1")
    response = send(client, PNG, Content_Disposition=sent)
    assert response.json["results"][0]["file"] == name


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"", "empty-image"), (b"hello", "unsupported-image"), (BROKEN, "damaged-image")],
)
def test_a_body_has_the_same_problems(client, data, name):
    assert problem_in(send(client, data, "image/jpeg")) == name


# --- Many at once, and nothing kept ----------------------------------------------------------


def test_no_file_name_is_logged(client, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    predict(client, (PNG, "private.png"), (b"private", "private.png"))
    output = capfd.readouterr()
    assert "private" not in caplog.text + output.out + output.err


# --- The document and its page ---------------------------------------------------------------


def test_the_example_of_an_answer_is_one(client, document):
    answer = document["paths"]["/predictions"]["post"]["responses"]["200"]
    example = answer["content"]["application/json"]["example"]
    check(example, document, "Predictions")
    real = predict(client, PNG, query_string="explain=1").json
    assert example.keys() == real.keys()
    assert example["classes"] == real["classes"]
    assert example["app"] == real["app"]
    assert example["model"]["card"] == real["model"]["card"]
    for name in ("model", "thresholds"):
        assert list(example[name]) == list(real[name])
    prediction = example["results"][0]["prediction"]
    assert list(prediction) == list(real["results"][0]["prediction"])
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)


def test_the_page_says_what_the_document_says(client, document):
    page = page_of(client.get("/api/v1/docs"))
    text = text_of(page)
    for name, problem in examples_of(document).items():
        assert problem["type"] == f"/api/v1/docs#{name}"
        assert page.select(f"#{name}")
        assert problem["title"] in text
        assert problem["detail"] in text
    for name, schema in document["components"]["schemas"].items():
        assert page.select(f"#schema-{name.lower()}")
        for member in schema.get("properties", {}):
            assert member in text
    assert "1 to 50 files" in text
    assert "at most 20 MB" in text


def test_the_api_leads_to_its_page(client):
    response = client.get("/api/v1/")
    assert (response.status_code, response.location) == (302, "/api/v1/docs")


@pytest.fixture
def run_example(address, tmp_path):
    """A function that runs an example from the page beside a lesion.jpg and returns its output."""
    (tmp_path / "lesion.jpg").write_bytes(encode(draw_lesion(), "JPEG"))
    page = BeautifulSoup(requests.get(f"{address}/api/v1/docs", timeout=20).text, "html.parser")

    def run(name, command):
        code = page.select_one(f"code#{name}").get_text()
        return subprocess.run(
            command(code), cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    return run


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(("example", "file"), [("curl", "lesion.jpg"), ("curl-body", "image")])
def test_the_page_s_curl_examples_work(run_example, example, file):
    answer = json.loads(run_example(example, lambda code: ["sh", "-c", code]))
    assert answer["results"][0]["file"] == file


def test_the_page_s_python_example_works(run_example):
    name, code = run_example("python", lambda code: [sys.executable, "-c", code]).split()
    assert name == "lesion.jpg"
    assert code in scd.CODES


def test_every_format_that_is_read_is_in_the_document(document):
    form = document["paths"]["/predictions"]["post"]["requestBody"]["content"]
    listed = form["multipart/form-data"]["encoding"]["image"]["contentType"].split(", ")
    assert set(MIME_TYPES) < set(listed)
    assert all(fnmatch(kind, "image/*") or kind in form for kind in listed)
