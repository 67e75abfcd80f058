"""Text is gzipped for clients that accept it, and unchanged answers are not sent again."""

import gzip
import io

import pytest

from lesion_lens.model.errors import SettingError
from lesion_lens.web.compression import LEAST
from tests.support.drawings import draw_lesion, encode
from tests.support.pages import app_with, page_of, pages_of

GZIP = {"Accept-Encoding": "gzip"}
STYLE = "/static/style.css"
TEXTS = ["/", "/model", "/privacy", "/offline", "/manifest.webmanifest", "/service-worker.js",
         "/api/v1/openapi.json", "/api/v1/docs"]  # fmt: skip


@pytest.fixture(scope="module")
def client():
    return app_with().test_client()


def result(client, headers=None):
    form = {"pic": (io.BytesIO(encode(draw_lesion())), "a.png")}
    return client.post("/showresult", data=form, headers=headers)


# --- gzip ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*TEXTS, STYLE, "/static/upload.js", "/static/icon.svg", "/none"])
def test_text_is_gzipped_and_the_same(client, path):
    plain, packed = client.get(path), client.get(path, headers=GZIP)
    assert "Content-Encoding" not in plain.headers
    assert plain.vary.as_set() == packed.vary.as_set() == {"accept-encoding"}
    if len(plain.data) < LEAST:
        assert packed.data == plain.data
    else:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.data) == plain.data
        assert int(packed.headers["Content-Length"]) == len(packed.data) < len(plain.data)


def test_a_result_and_a_problem_are_gzipped_too(client):
    assert b"Most likely class" in gzip.decompress(result(client, GZIP).data)
    images = [(io.BytesIO(b"x"), f"{i}.png") for i in range(9)]
    problem = client.post("/api/v1/predictions", data={"image": images}, headers=GZIP)
    assert (problem.status_code, problem.headers["Content-Encoding"]) == (422, "gzip")


@pytest.mark.parametrize("path", ["/static/icon-192.png", "/healthz", "/showresult"])
def test_images_and_small_answers_are_left_alone(client, path):
    response = client.get(path, headers=GZIP)
    assert "Content-Encoding" not in response.headers
    assert response.data == client.get(path).data


@pytest.mark.parametrize(
    ("accepted", "is_gzipped"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("identity, gzip", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("gzip;q=0.5, identity", False),
        ("br", False),
        ("identity", False),
        ("", False),
        ("gzip;q=many", False),
    ],
)
def test_the_client_says_what_it_wants(client, accepted, is_gzipped):
    response = client.get("/", headers={"Accept-Encoding": accepted})
    assert (response.headers.get("Content-Encoding") == "gzip") is is_gzipped


@pytest.mark.parametrize("path", ["/", STYLE])
def test_head_says_what_get_would_send(client, path):
    get, head = client.get(path, headers=GZIP), client.head(path, headers=GZIP)
    assert head.data == b""
    for name in ("Content-Length", "Content-Encoding", "ETag", "Vary", "Content-Type"):
        assert head.headers[name] == get.headers[name]


def test_a_part_of_a_file_is_a_part_of_the_file(client):
    part = client.get(STYLE, headers=GZIP | {"Range": "bytes=0-9"})
    assert (part.status_code, part.data) == (206, client.get(STYLE).data[:10])
    assert "Content-Encoding" not in part.headers
    packed = client.get(STYLE, headers=GZIP)
    assert "Accept-Ranges" not in packed.headers
    rest = GZIP | {"Range": "bytes=9-", "If-Range": packed.headers["ETag"]}
    # A part of the gzipped file does not fit the plain one.
    assert client.get(STYLE, headers=rest).status_code == 200


def test_a_proxy_that_compresses_may_do_it():
    client = app_with(COMPRESSION="off").test_client()
    assert not {"Content-Encoding", "Vary"} & set(client.get("/", headers=GZIP).headers.keys())


def test_another_value_is_named():
    with pytest.raises(SettingError, match=r"^COMPRESSION is 'many': set it to on or off"):
        app_with(COMPRESSION="many")


def test_answers_to_other_origins_depend_on_both_headers():
    client = app_with(CORS_ORIGINS="https://example.org, https://example.net").test_client()
    headers = GZIP | {"Origin": "https://example.org"}
    response = client.get("/api/v1/openapi.json", headers=headers)
    assert response.headers.getlist("Vary") == ["Origin, Accept-Encoding"]
    assert response.headers["Content-Encoding"] == "gzip"


# --- ETags -----------------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [{}, GZIP], ids=["plain", "gzip"])
def test_what_has_not_changed_is_not_sent_again(client, accepted):
    for path in {*TEXTS, STYLE, "/static/icon-192.png", *pages_of(client.application)}:
        first = client.get(path, headers=accepted)
        again = client.get(path, headers=accepted | {"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b""), path
        for name in ("ETag", "Vary", "Cache-Control"):
            assert again.headers.get(name) == first.headers.get(name), path


@pytest.mark.parametrize("path", ["/", STYLE])
def test_a_gzipped_text_has_an_etag_of_its_own(client, path):
    plain, packed = (client.get(path, headers=one).headers["ETag"] for one in ({}, GZIP))
    assert packed == f'W/"{plain[1:-1]}-gzip"'
    assert client.get(path, headers={"If-None-Match": packed}).status_code == 200
    assert client.get(path, headers=GZIP | {"If-None-Match": f"{plain}, {packed}"}).data == b""


def test_a_date_alone_asks_for_the_same_as_it_would_get(client):
    first = client.get(STYLE, headers=GZIP)
    again = client.get(STYLE, headers=GZIP | {"If-Modified-Since": first.headers["Last-Modified"]})
    assert (again.status_code, again.headers["ETag"]) == (304, first.headers["ETag"])


def test_another_page_has_another_etag(client):
    other = app_with(REPOSITORY_URL="https://example.org/").test_client()
    tags = {one.get(path).headers["ETag"] for one in (client, other) for path in ("/", "/privacy")}
    assert len(tags) == 4


def test_errors_redirects_and_results_have_none(client):
    answers = [client.get("/none"), client.get("/showresult"), client.post("/"), result(client)]
    assert [one.status_code for one in answers] == [404, 302, 405, 200]
    assert not [one for one in answers if "ETag" in one.headers]


# --- The link to the source code -------------------------------------------------------------


def test_the_source_code_is_linked_where_a_setting_names_it(client):
    assert "Source code" not in client.get("/").text
    url = "https://example.org/a?b=1&c=%C3%A4"
    page = page_of(app_with(REPOSITORY_URL=f" {url}\n").test_client().get("/offline"))
    (link,) = page.select("footer a[href^='https://example.org']")
    assert (link["href"], link.text) == (url, "Source code")


@pytest.mark.parametrize(
    "url",
    ["http://example.org", "javascript:alert(1)", "https://", "https://:443/", "example.org",
     "https://me:secret@example.org", "https://example.org/a b", "https://example.org:x/",
     "https://[::1", 'https://example.org/"', "https://exämple.org", "https://-", "https://..",
     "https://.", "https://a..b", "https://-a.org", "https://example.org:", "https://a_b.org"],
)  # fmt: skip
def test_an_invalid_address_is_not_linked(url):
    with pytest.raises(SettingError, match=r"^REPOSITORY_URL is not an https address") as caught:
        app_with(REPOSITORY_URL=url)
    assert "secret" not in str(caught.value)
