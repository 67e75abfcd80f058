"""The metrics for Prometheus, and who may read them."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from benchmarks.servers import free_port
from lesion_lens import ROOT, version
from lesion_lens.model import events
from lesion_lens.model.decoding import ClientGone, DecoderPool, Requester
from lesion_lens.model.errors import SettingError
from lesion_lens.web import metrics_processes
from lesion_lens.web.current import get_classifier
from tests.support.drawings import draw_lesion, encode
from tests.support.hostile import ENDLESS
from tests.support.models import LITERT
from tests.support.pages import app_with, page_of, text_of, upload
from tests.support.servers import gunicorn
from tests.support.skipping import require
from tests.support.waiting import wait_for

TOKEN = "0123456789abcdef"  # noqa: S105 (only for these tests)
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def client(monkeypatch):
    """A client of an app with metrics, starting from 0."""
    require("prometheus_client")
    monkeypatch.setattr(events, "_watcher", events.Watcher())
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    return app_with(METRICS_TOKEN=TOKEN).test_client()


def counts_in(text):
    """Return the counts in Prometheus's text: `name{labels}` -> number."""
    parser = require("prometheus_client.parser")
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())):
            sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip


def counts_of(client):
    return counts_in(client.get("/metrics", headers=BEARER).text)


# --- Who may read it -------------------------------------------------------------------------


def test_without_a_setting_there_are_no_metrics(app):
    client = app.test_client()
    assert client.get("/metrics", headers=BEARER).status_code == 404
    assert text_of(page_of(client.get("/privacy")), "#metrics") == ""
    assert "no counter" in client.get("/privacy").text


def test_without_the_token_nobody_can_read_the_metrics(client):
    others = ["", TOKEN, "Bearer", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Basic {TOKEN}",
              "Bearer Ünïcödé", "Basic eDp5", "Bearer a=b", "Basic ÿ=="]  # fmt: skip
    for headers in ({}, *({"Authorization": other} for other in others)):
        response = client.get("/metrics", headers=headers)
        assert response.status_code == 401, headers
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="metrics"'
        assert "lesion_lens_" not in response.text


def test_with_the_token_prometheus_can_read_the_metrics(client):
    response = client.get("/metrics", headers=BEARER | {"Accept-Encoding": "gzip"})
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers
    sha256 = get_classifier(client.application).sha256
    name = f"lesion_lens_model_info sha256={sha256} version={version()}"
    assert counts_of(client)[name] == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"METRICS_TOKEN": "short"}, "METRICS_TOKEN is not a token of at least 16 letters"),
        ({"METRICS_TOKEN": "with spaces in between"}, "METRICS_TOKEN is not a token"),
        ({"METRICS_TOKEN": "ä" * 20}, "METRICS_TOKEN is not a token"),
        ({"METRICS_PORT": "many"}, "METRICS_PORT is 'many', not a number from 1 to 65535"),
        ({"METRICS_PORT": "0"}, "METRICS_PORT is '0'"),
        ({"METRICS_PORT": "70000"}, "METRICS_PORT is '70000'"),
        ({"METRICS_PORT": "9464", "METRICS_HOST": "here"}, "METRICS_HOST is 'here', not an IP"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_named(settings, sentence):
    with pytest.raises(SettingError) as caught:
        app_with(**settings)
    assert str(caught.value).startswith(sentence)
    assert settings.get("METRICS_TOKEN", "none") not in str(caught.value)


def test_the_metrics_need_a_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(SettingError, match="run `pip install prometheus-client`"):
        app_with(METRICS_TOKEN=TOKEN)


def test_an_invalid_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "none"))
    with pytest.raises(
        SettingError, match=r"^PROMETHEUS_MULTIPROC_DIR is '.*none', not a writable"
    ):
        app_with(METRICS_TOKEN=TOKEN)


# --- What is counted -------------------------------------------------------------------------


def test_requests_are_counted_by_view_method_and_status(client):
    for method, path in [
        ("GET", "/"),
        ("GET", "/"),
        ("HEAD", "/static/style.css"),
        ("GET", "/secret/path?secret=1"),
        ("DELETE", "/"),
        ("SECRET", "/"),
    ]:
        client.open(path, method=method)
    counts = counts_of(client)
    total = "lesion_lens_requests_total"
    assert counts[f"{total} endpoint=pages.index method=GET status=200"] == 2
    assert counts[f"{total} endpoint=static method=HEAD status=200"] == 1
    assert counts[f"{total} endpoint=none method=GET status=404"] == 1
    assert counts[f"{total} endpoint=none method=DELETE status=405"] == 1
    assert counts[f"{total} endpoint=none method=other status=405"] == 1
    assert counts["lesion_lens_request_seconds_count endpoint=pages.index"] == 2
    assert 0 < counts["lesion_lens_request_seconds_sum endpoint=pages.index"] < 2
    assert "secret" not in str(counts).lower()


def test_an_error_of_ours_and_an_unchanged_page_are_counted_as_what_they_are(client):
    client.application.add_url_rule("/broken", view_func=lambda: 1 / 0, endpoint="broken")
    client.get("/broken")
    client.get("/", headers={"If-None-Match": client.get("/").headers["ETag"]})
    counts = counts_of(client)
    assert counts["lesion_lens_requests_total endpoint=broken method=GET status=500"] == 1
    assert counts["lesion_lens_requests_total endpoint=pages.index method=GET status=304"] == 1


def test_images_are_counted_by_their_risk_level_alone(client):
    upload(client, encode(draw_lesion()), name="secret.png")
    form = {"image": [(io.BytesIO(encode(draw_lesion())), "secret.png") for _ in range(2)]}
    client.post("/api/v1/predictions", data=form)
    upload(client, b"no image")
    counts = counts_of(client)
    levels = [name for name in counts if name.startswith("lesion_lens_images_classified_total")]
    assert len(levels) == 4
    assert sum(counts[name] for name in levels) == 3
    assert "secret" not in str(counts)


def test_what_waits_and_runs_is_seen_and_a_decode_that_is_stopped(client):
    counts = events.watcher()
    counts.request_began()
    counts.queue_changed(3, 2)
    now = counts_of(client)
    assert now["lesion_lens_image_requests"] == 1
    assert [now[f"lesion_lens_decodes state={one}"] for one in ("waiting", "running")] == [3, 2]
    counts.request_ended()
    leaves = time.monotonic() + 1  # second; by then, it is being decoded
    requester = Requester(has_gone=lambda: time.monotonic() > leaves)
    with pytest.raises(ClientGone):
        DecoderPool().decode(ENDLESS, requester=requester)
    now = counts_of(client)
    assert now["lesion_lens_image_requests"] == 0
    assert [now[f"lesion_lens_decodes state={one}"] for one in ("waiting", "running")] == [0, 0]
    assert now["lesion_lens_decodes_stopped_total reason=gone"] == 1


def test_the_guide_lists_every_metric_and_reason(client):
    guide = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    text = client.get("/metrics", headers=BEARER).text
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    assert dict(re.findall(r"^\| `(lesion_lens_\w+)` \| (\w+) \|", guide, re.M)) == kinds
    assert all(f"`{reason}` (" in guide for reason in events.STOPS)


def test_the_privacy_page_says_what_is_counted(client):
    page = page_of(client.get("/privacy"))
    assert "how often each level of risk" in text_of(page, "#metrics")
    assert "no counter" not in text_of(page)


# --- Several processes -----------------------------------------------------------------------


@pytest.fixture
def scratch(tmp_path):
    """A folder for temporary files, only for this test."""
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def test_two_workers_count_together_on_a_port_of_their_own(tmp_path, scratch):
    require("prometheus_client")
    port = free_port()
    # An id that no process can have.
    abandoned = scratch / f"{metrics_processes.PREFIX}{2**22 + 1}-x"
    abandoned.mkdir()
    settings = {
        "GUNICORN_CMD_ARGS": "--workers 2",
        "MODEL_PATH": LITERT.name,
        "METRICS_PORT": str(port),
        "TMPDIR": str(scratch),
    }
    address = f"http://127.0.0.1:{port}"

    def read():
        return counts_in(requests.get(f"{address}/metrics", timeout=20).text)

    with gunicorn(tmp_path / "log", **settings) as server:
        server.wait_until_ready()
        wait_for(lambda: len(server.workers) == 2)
        before = read()
        for _ in range(20):
            requests.get(f"{server.address}/healthz", timeout=20)
        name = "lesion_lens_requests_total endpoint=pages.healthz method=GET status=200"
        assert read()[name] == 20
        assert requests.get(f"{server.address}/metrics", timeout=20).status_code == 404
        assert requests.get(f"{address}/", timeout=20).status_code == 404
        files = list(scratch.glob(f"{metrics_processes.PREFIX}*/counter_*.db"))
        assert len(files) == 2
        assert not abandoned.exists()

        with socket.create_connection(("127.0.0.1", server.port), 20) as refused:
            # Without a Host, so it does not reach the app.
            refused.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert refused.recv(12).split()[1] == b"400"
        assert read()["lesion_lens_requests_total endpoint=none method=GET status=400"] == 1

        os.kill(server.workers[0], signal.SIGKILL)
        wait_for(lambda: len(server.workers) == 3)
        wait_for(lambda: len(list(scratch.glob("*/gauge_livesum_*.db"))) == 2)
        after = read()
        assert after[name] == 20
        info = [one for one in after if one.startswith("lesion_lens_model_info")]
        assert [after[one] for one in info] == [before[one] for one in info] == [1]
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(server.workers) == 5)
        assert read()[name] == 20
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("taken", ["another's", "the app's"])
def test_a_port_that_is_taken_stops_the_start_with_its_sentence(taken, scratch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "gunicorn", "app:app"],
            cwd=ROOT,
            env=os.environ
            | {"PORT": port if taken == "the app's" else "0", "METRICS_PORT": port}
            | {"TMPDIR": str(scratch)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 3
    assert re.search(
        r"^METRICS_PORT cannot be bound \(.+\): free port \d+ of 127", done.stderr, re.M
    )
    assert "Traceback" not in done.stderr
    assert list(scratch.iterdir()) == []


def test_a_worker_that_is_starting_does_not_fail_the_metrics(client, monkeypatch, tmp_path):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    (tmp_path / "counter_1.db").write_bytes(b"")  # files start empty
    assert client.get("/metrics", headers=BEARER).status_code == 200


def test_a_folder_of_the_operator_s_is_emptied_and_stays(monkeypatch, tmp_path):
    folder = tmp_path / "counts"
    monkeypatch.setenv("METRICS_TOKEN", TOKEN)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder))
    metrics_processes.name_folder()
    (folder / "counter_1.db").write_bytes(b"")
    (folder / "notes").write_bytes(b"")
    metrics_processes.start(None)
    metrics_processes.remove_folder()
    assert [path.name for path in folder.iterdir()] == ["notes"]
    assert Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]) == folder


def test_python_app_py_serves_the_port_too():
    require("prometheus_client")
    port, metrics_port = free_port(), free_port()
    environment = {"PORT": str(port), "METRICS_PORT": str(metrics_port), "METRICS_TOKEN": TOKEN}
    with subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=os.environ | {"MODEL_PATH": LITERT.name} | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(lambda: answers(port, "/healthz") == 200, 20)
            assert answers(port, "/metrics", headers=BEARER) == 404
            assert answers(metrics_port, "/metrics") == 401
            assert answers(metrics_port, "/metrics", headers=BEARER) == 200
            assert answers(metrics_port, "/") == 404
        finally:
            process.kill()


def answers(port, path, **options):
    """Return the status of an answer; None if nothing listens."""
    try:
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=20, **options).status_code
    except requests.ConnectionError:
        return None
