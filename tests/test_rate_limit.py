"""The upload limit for public instances."""

import io
import logging
import sys
import threading

import pytest

from lesion_lens.model.errors import SettingError
from tests.support.browser import classify, drawn, window
from tests.support.pages import app_with, page_of, text_of
from tests.support.servers import serving
from tests.support.skipping import require

API, PAGE = "/api/v1/predictions", "/showresult"


def client_with(limit="2 per minute", **config):
    return app_with(RATE_LIMIT=limit, **config).test_client()


def post(client, path=PAGE, address="192.0.2.1", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    form = {"image": (io.BytesIO(b"x"), "a.png")}
    environ = {"REMOTE_ADDR": address}
    return client.post(path, data=form, headers=headers, environ_overrides=environ)


def named(client, *values):
    """Return the statuses of uploads with each of these values of X-Forwarded-For."""
    return [post(client, API, X_Forwarded_For=value).status_code for value in values]


def statuses(client, *addresses):
    return [post(client, API, address).status_code for address in addresses]


def test_without_the_setting_there_is_no_limit(client):
    assert statuses(client, *["192.0.2.1"] * 5) == [415] * 5


def test_beyond_the_limit_an_upload_is_refused_as_a_page_and_as_a_problem():
    client = client_with()
    for _ in range(2):
        post(client)
    page, problem = post(client), post(client, API)
    for response in (page, problem):
        assert response.status_code == 429
        assert 0 < int(response.headers["Retry-After"]) <= 60
    assert text_of(page_of(page), "#error").startswith("Too many uploads came from your internet")
    assert problem.content_type == "application/problem+json"
    assert problem.json["type"].endswith("#too-many-requests")
    assert f"Wait {problem.headers['Retry-After']} s" in problem.json["detail"]


def test_pages_are_not_counted():
    client = client_with()
    assert {client.get("/").status_code for _ in range(5)} == {200}
    assert statuses(client, "192.0.2.1") == [415]


@pytest.mark.parametrize(
    ("addresses", "is_one"),
    [
        (["192.0.2.1", "192.0.2.1:4711", "::ffff:192.0.2.1"], True),
        (["2001:db8::1", "[2001:db8::2]:4711", "2001:db8::ffff"], True),
        (["192.0.2.1", "192.0.2.2", "192.0.2.3"], False),
        (["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"], False),
    ],
)
def test_each_visitor_is_counted_apart(addresses, is_one):
    assert statuses(client_with(), *addresses)[-1] == (429 if is_one else 415)


def test_behind_a_proxy_the_visitor_is_whom_it_names():
    client = client_with(PROXY_HOPS="1")
    assert named(client, *(f"6.6.6.6, 192.0.2.{i}" for i in (1, 2, 3))) == [415, 415, 415]
    assert named(client, *(f"6.6.6.{i}, 192.0.2.9" for i in (1, 2, 3))) == [415, 415, 429]


def test_a_header_that_no_proxy_wrote_does_not_help():
    assert named(client_with(), "192.0.2.1", "192.0.2.2", "192.0.2.3") == [415, 415, 429]


@pytest.mark.parametrize("limit", ["30", "many", "0 per minute", "30 per fortnight", "-1/minute"])
def test_an_invalid_rate_is_named(limit):
    with pytest.raises(SettingError, match=f"^RATE_LIMIT is '{limit}', which is not a rate: "):
        client_with(limit)


def test_the_privacy_page_says_what_is_counted(client):
    assert text_of(page_of(client.get("/privacy")), "#counted") == ""
    said = text_of(page_of(client_with("7 per hour").get("/privacy")), "#counted")
    assert "7 per hour" in said


def test_no_address_is_logged(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    client = client_with()
    assert statuses(client, *["192.0.2.1"] * 3)[-1] == 429
    assert "192.0.2.1" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("script", [True, False])
def test_the_page_waits_and_without_script_says_how_long(browser, script):
    app = app_with(RATE_LIMIT="1 per 3 seconds")
    with serving(app) as port, window(browser, java_script_enabled=script) as page:
        address = f"http://127.0.0.1:{port}"
        if script:
            page.goto(address)
            classify(page, drawn("a.png"), drawn("b.png"))
            page.get_by_text("Classified: 2 of 2 images").first.wait_for()
        else:
            for selector in ("#likely", "#error"):
                page.goto(address)
                classify(page, drawn())
                page.locator(selector).wait_for()
            assert page.inner_text("#error").startswith("Too many uploads")


# --- Redis -----------------------------------------------------------------------------------


@pytest.fixture
def redis_url():
    """The address of a local server that speaks Redis's protocol."""
    server = require("fakeredis").TcpFakeServer(("127.0.0.1", 0), server_type="redis")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"redis://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_several_processes_count_together_in_redis(redis_url):
    first, second = (client_with(RATE_LIMIT_REDIS_URL=redis_url) for _ in range(2))
    assert statuses(first, "192.0.2.1") == [415]
    assert statuses(second, "192.0.2.1", "192.0.2.1") == [415, 429]
    assert statuses(first, "192.0.2.1", "192.0.2.2") == [429, 415]


def test_while_redis_is_away_each_process_counts_on_its_own(capfd):
    require("redis")
    client = client_with(RATE_LIMIT_REDIS_URL="redis://:secret@127.0.0.1:1")
    assert statuses(client, *["192.0.2.1"] * 3) == [415, 415, 429]
    said = capfd.readouterr().err
    assert "falling back" in said
    assert "secret" not in said


def test_redis_needs_a_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(SettingError, match=r"needs the package redis: add limits\[redis\] to"):
        client_with(RATE_LIMIT_REDIS_URL="redis://localhost:6379")


@pytest.mark.parametrize(
    "url", ["secret:6379", "http://secret", "redis://secret:port", "redis://secret?db=z"]
)
def test_an_invalid_address_is_refused_without_naming_its_password(url):
    require("redis")
    with pytest.raises(SettingError, match=r"^RATE_LIMIT_REDIS_URL ") as caught:
        client_with(RATE_LIMIT_REDIS_URL=url)
    assert "secret" not in str(caught.value)
