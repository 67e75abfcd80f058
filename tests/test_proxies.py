"""Proxies: whose headers are trusted, and invalid hosts and prefixes."""

import pytest
import requests

from lesion_lens.model.errors import SettingError
from lesion_lens.web.openapi import PROBLEM_JSON
from lesion_lens.web.proxies import is_host
from tests.support.pages import app_with, page_of, text_of
from tests.support.servers import serving

FORWARDED = {
    "X-Forwarded-Host": "skin.example",
    "X-Forwarded-Prefix": "/skin",
    "X-Forwarded-Proto": "https",
}
EVIL = ["//evil.example", "https://evil.example", "/\\evil.example", "/a//b", "/../x", "/a b", "x"]


def client_with(hops):
    return app_with(PROXY_HOPS=hops).test_client()


def test_nobody_is_believed_without_a_setting(client):
    response = client.get("/showresult", headers=FORWARDED)
    assert response.location == "/"
    assert "Strict-Transport-Security" not in response.headers
    assert "skin.example" not in client.get("/api/v1/docs", headers=FORWARDED).text


def test_as_many_proxies_are_believed_as_the_setting_says():
    docs = client_with("1").get("/api/v1/docs", headers=FORWARDED)
    assert "https://skin.example/skin/api/v1/predictions" in text_of(page_of(docs), "#curl")
    twice = {name: f"{value}, {value}2" for name, value in FORWARDED.items()}
    assert client_with("1").get("/showresult", headers=twice).location == "/skin2/"
    assert client_with("2").get("/showresult", headers=twice).location == "/skin/"
    assert client_with("3").get("/showresult", headers=twice).location == "/"


@pytest.mark.parametrize("variable", ["DYNO", "WEBSITE_SITE_NAME"])
def test_a_platform_has_one_proxy_unless_the_setting_says_otherwise(variable, monkeypatch):
    monkeypatch.setenv(variable, "web.1")
    client = app_with().test_client()
    assert client.get("/showresult", headers=FORWARDED).location == "/skin/"
    # Neither platform sets this header, so it comes from the client.
    assert "skin.example" not in client.get("/api/v1/docs", headers=FORWARDED).text
    monkeypatch.setenv("PROXY_HOPS", "0")
    answer = app_with().test_client().get("/showresult", headers=FORWARDED)
    assert answer.location == "/"


@pytest.mark.parametrize("prefix", EVIL)
def test_a_prefix_that_would_lead_elsewhere_is_left_out(prefix):
    response = client_with("1").get("/showresult", headers={"X-Forwarded-Prefix": prefix})
    assert (response.status_code, response.location) == (302, "/")


def test_a_scheme_is_http_or_https():
    page = client_with("1").get("/api/v1/docs", headers={"X-Forwarded-Proto": "javascript"})
    assert "javascript:" not in page.text
    assert "http://localhost/api/v1/predictions" in text_of(page_of(page), "#curl")


@pytest.mark.parametrize("hops", ["-1", "one", "1.5", "11", "²"])
def test_an_invalid_number_of_proxies_is_named(hops):
    with pytest.raises(SettingError, match=f"^PROXY_HOPS is '{hops}', not a number from 0 to 10: "):
        app_with(PROXY_HOPS=hops)


# --- Addresses -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def behind_a_proxy():
    """The address of an app that trusts one proxy."""
    with serving(app_with(PROXY_HOPS="1")) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("header", ["Host", "X-Forwarded-Host"])
@pytest.mark.parametrize(
    "host",
    ["a" * 300, "a" * 64 + ".x", "a..b", ".a", "xn--a", "a b", "a/b", "a@b", "a:x", "[::1", "é"],
)
def test_an_invalid_host_is_a_400(behind_a_proxy, header, host):
    for path, kind in (("/", "text/html"), ("/none", "text/html"), ("/api/none", PROBLEM_JSON)):
        headers = {header: host.encode("latin-1")}
        answer = requests.get(behind_a_proxy + path, headers=headers, timeout=20)
        assert answer.status_code == 400, path
        assert answer.headers["Content-Type"].startswith(kind)


@pytest.mark.parametrize("host", ["localhost:5000", "my_app:8000", "[::1]:80", "xn--bcher-kva.de"])
def test_a_host_may_be_a_name_or_an_address(host):
    assert is_host(host)


@pytest.mark.parametrize(
    "path", ["//evil.example/..", "/static//evil.example", "//api/v1", "//showresult/", "/api/v1",
             "/%2f/evil.example", "/\\evil.example", "/api/v1/..//evil.example"]
)  # fmt: skip
def test_no_path_leads_to_another_host(client, path):
    environ = {"PATH_INFO": path, "HTTP_HOST": "evil.example"}
    location = client.get("/", environ_overrides=environ).location or "/"
    assert location in ("/", "/api/v1/docs")
