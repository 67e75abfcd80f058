"""Forms of other sites are refused, and CORS opens the API to the sites in a setting."""

import io

import pytest
from werkzeug.wrappers import Response

from lesion_lens.model.errors import SettingError
from lesion_lens.web.other_sites import origin_of
from tests.support.browser import classify, drawn, window
from tests.support.drawings import draw_lesion, encode
from tests.support.pages import app_with, page_of, text_of
from tests.support.servers import serving

API, PAGE = "/api/v1/predictions", "/showresult"
FRIEND = "https://friend.example"
PNG = encode(draw_lesion((60, 45)))


@pytest.fixture(scope="module")
def open_client():
    """A client of an app whose setting names an origin."""
    return app_with(CORS_ORIGINS=f"{FRIEND}, http://localhost:3000").test_client()


def post(client, path, **headers):
    form = {"pic" if path == PAGE else "image": (io.BytesIO(PNG), "a.png")}
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=form, headers=headers)


@pytest.mark.parametrize("path", [PAGE, API])
@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin, cross-site", "x", ""])
def test_a_form_of_another_site_is_refused(client, path, site):
    response = post(client, path, Sec_Fetch_Site=site, Origin="https://evil.example")
    assert response.status_code == 403
    if path == API:
        assert response.json["type"].endswith("#from-another-site")
        assert response.content_type == "application/problem+json"
    else:
        assert text_of(page_of(response), "#error").startswith("Another site sent this form.")


@pytest.mark.parametrize("path", [PAGE, API])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "same-origin", "Origin": "null"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "null"},
        {"Origin": "https://evil.example"},  # from a program or an old browser
        {},
    ],
)
def test_our_own_form_and_programs_pass(client, path, headers):
    assert post(client, path, **headers).status_code == 200


def test_an_address_of_the_api_that_leads_nowhere_refuses_by_a_problem(client):
    response = client.post("/api/none", headers={"Sec-Fetch-Site": "cross-site"})
    assert (response.status_code, response.content_type) == (403, "application/problem+json")


def test_a_link_from_another_site_leads_here(client):
    assert client.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


# --- CORS ------------------------------------------------------------------------------------


def cors_headers(response):
    return [name for name in response.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118 (Headers iterates over pairs)


def test_an_origin_that_is_named_gets_the_answer(open_client):
    response = post(open_client, API, Sec_Fetch_Site="cross-site", Origin=FRIEND)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == FRIEND
    assert "Origin" in response.headers["Vary"]
    assert "Access-Control-Allow-Credentials" not in response.headers
    refused = post(open_client, API, Sec_Fetch_Site="cross-site", Origin=f"{FRIEND}.evil.example")
    assert (refused.status_code, cors_headers(refused)) == (403, [])


def test_a_named_origin_can_read_a_problem_too(open_client):
    response = open_client.post(API, headers={"Sec-Fetch-Site": "cross-site", "Origin": FRIEND})
    assert response.status_code == 415
    assert response.headers["Access-Control-Allow-Origin"] == FRIEND


def test_the_preflight_of_a_named_origin_is_answered(open_client):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"}
    headers = open_client.options(API, headers={"Origin": FRIEND, **asked}).headers
    assert headers["Access-Control-Allow-Origin"] == FRIEND
    assert "POST" in headers["Access-Control-Allow-Methods"]
    assert headers["Access-Control-Allow-Headers"] == "x-a"
    other = open_client.options(API, headers={"Origin": "https://evil.example", **asked})
    assert cors_headers(other) == []


@pytest.mark.parametrize("kind", ["image/jpeg", "application/dicom"])
def test_a_named_origin_may_send_an_image_as_the_body(open_client, kind):
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, content-disposition",
    }
    headers = open_client.options(f"{API}?explain=1", headers={"Origin": FRIEND, **asked}).headers
    allowed = headers["Access-Control-Allow-Headers"].split(", ")
    assert set(allowed) == {"content-type", "content-disposition"}
    sent = {"Sec-Fetch-Site": "cross-site", "Origin": FRIEND}
    response = open_client.post(API, data=PNG, content_type=kind, headers=sent)
    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Origin"] == FRIEND
    evil = sent | {"Origin": "https://evil.example"}
    assert open_client.post(API, data=PNG, content_type=kind, headers=evil).status_code == 403


def test_no_page_is_opened_to_a_named_origin(open_client):
    for path in ("/", "/model", "/privacy", "/api/v1/docs", "/static/style.css", "/healthz"):
        assert cors_headers(open_client.get(path, headers={"Origin": FRIEND})) == [], path
    response = post(open_client, PAGE, Sec_Fetch_Site="cross-site", Origin=FRIEND)
    assert (response.status_code, cors_headers(response)) == (403, [])


def test_cors_is_off_without_the_setting_and_the_page_says_what_is_so(client, open_client):
    assert cors_headers(post(client, API, Origin=FRIEND)) == []
    assert "it sends no CORS headers" in text_of(page_of(client.get("/api/v1/docs")))
    assert FRIEND in text_of(page_of(open_client.get("/api/v1/docs")))


@pytest.mark.parametrize(
    "origin",
    ["*", "null", "example.org", "https://example.org/a", "https://*.example.org", "ftp://x",
     "https://user@example.org", "https://example.org:99999", "https://a..b", "https://bücher.de"],
)  # fmt: skip
def test_an_invalid_origin_is_named(origin):
    with pytest.raises(SettingError, match=r"^CORS_ORIGINS has .*such as https://example\.org"):
        app_with(CORS_ORIGINS=f"{FRIEND} {origin}")


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("HTTPS://Example.org", "https://example.org"),
        ("https://example.org/", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("http://[::1]:5000", "http://[::1]:5000"),
    ],
)
def test_an_origin_is_taken_as_browsers_send_it(written, sent):
    assert origin_of(written) == sent


# --- In a real browser -----------------------------------------------------------------------


def elsewhere(address):
    """A site of another origin; its page has a form for the app, and a script."""
    form = f"""<form action="{address}/showresult" method="post" enctype="multipart/form-data">
        <input type="file" name="pic" id="pic"><button>Classify</button></form>"""
    return Response(form, mimetype="text/html")


@pytest.mark.parametrize("script", [True, False])
def test_a_form_on_another_site_is_refused_and_our_own_is_not(browser, address, script):
    with (
        serving(elsewhere(address)) as port,
        window(browser, java_script_enabled=script) as page,
    ):
        for host in ("127.0.0.1", "localhost"):  # the same site, then another one
            page.goto(f"http://{host}:{port}")
            classify(page, drawn())
            page.wait_for_url(f"{address}/showresult")
            assert "Another site sent this form" in page.inner_text("#error")
        page.goto(address)
        classify(page, drawn())
        page.locator("#likely").wait_for()


@pytest.mark.parametrize("named", [True, False])
def test_a_script_on_another_site_reads_the_api_if_it_is_named(browser, named):
    ask = """async (address) => {
        const form = new FormData();
        form.append("image", new File(["x"], "a.png"));
        const request = { method: "POST", body: form, headers: { "X-A": "1" } };
        return fetch(address, request).then((answer) => answer.status, () => "refused");
    }"""
    with serving(Response("<p>", mimetype="text/html")) as other:
        origin = f"http://localhost:{other}"
        app = app_with(CORS_ORIGINS=origin if named else "")
        with serving(app) as port, window(browser) as page:
            page.goto(origin)
            answer = page.evaluate(ask, f"http://127.0.0.1:{port}{API}")
    assert answer == (415 if named else "refused")
