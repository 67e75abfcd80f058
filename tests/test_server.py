"""The Procfile's own command line, as a platform runs it."""

import http.client
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from conftest import ROOT, draw_lesion, encode

from uploads import SILENCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A running server: its address and the file that it logs to."""
    kind, command = (ROOT / "Procfile").read_text(encoding="utf-8").split(":", 1)
    assert kind == "web"
    port = free_port()
    log = tmp_path_factory.mktemp("server") / "log"
    scripts = Path(sys.executable).parent
    with log.open("w") as output:
        process = subprocess.Popen(
            shlex.split(command),
            cwd=ROOT,
            env=os.environ
            | {
                "PORT": str(port),
                "WEB_CONCURRENCY": "2",  # as Heroku sets it
                "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(address, process, log)
        yield address, log
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
    assert code == 0


def wait_until_ready(address, process, log):
    end = time.monotonic() + 60  # Heroku's limit
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            if requests.get(f"{address}/readyz", timeout=60).status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    pytest.fail(log.read_text(encoding="utf-8"))


def test_an_upload_gets_its_page(server):
    address, _ = server
    files = {"pic": ("private-name.png", encode(draw_lesion()), "image/png")}
    response = requests.post(f"{address}/showresult", files=files, timeout=60)
    assert response.status_code == 200
    assert "Most likely class" in response.text


def test_a_body_that_is_too_large_gets_the_sentence(server):
    address, _ = server
    files = {"pic": ("large.png", b"\x00" * 40_000_000, "image/png")}
    response = requests.post(f"{address}/showresult", files=files, timeout=60)
    assert response.status_code == 413
    assert "More than 20 MB" in response.text


def test_a_body_that_is_too_large_does_not_break_the_connection(server):
    """Not even where it is to be closed, when gunicorn itself would read little more of it."""
    address, _ = server
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Connection": "close"}
    body = b"--x\r\n" + b"\x00" * 40_000_000  # sent to the end, or this raises
    connection.request("POST", "/showresult", body, headers)
    assert connection.getresponse().status == 413


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_uploads_leave_no_memory_behind(server):
    address, log = server
    worker = re.search(r"Booting worker with pid: (\d+)", log.read_text(encoding="utf-8"))[1]

    def anonymous_megabytes():
        status = Path(f"/proc/{worker}/status").read_text(encoding="utf-8")
        return int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]) / 1000

    def send(data):
        files = {"pic": ("a.png", data, "image/png")}
        return requests.post(f"{address}/showresult", files=files, timeout=60).status_code

    def send_to_several_threads(image):
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(send, [encode(image)] * 4)) == {200}

    send_to_several_threads(draw_lesion())
    before = anonymous_megabytes()
    for _ in range(2):
        send_to_several_threads(draw_lesion((5000, 5000)).convert("RGBA"))
    assert anonymous_megabytes() < before + 40


def test_one_worker_whatever_the_platform_wishes(server):
    _, log = server
    assert log.read_text(encoding="utf-8").count("Booting worker with pid") == 1


def test_the_log_has_the_requests_but_no_file_names(server):
    address, log = server
    requests.post(
        f"{address}/showresult?private=1", files={"pic": ("private.png", b"x")}, timeout=60
    )
    begin = time.monotonic()
    # gunicorn writes the line after the answer has been sent.
    while "POST /showresult 415" not in log.read_text(encoding="utf-8"):
        assert time.monotonic() - begin < 20
        time.sleep(0.05)
    assert "private" not in log.read_text(encoding="utf-8")
    assert "127.0.0.1 " not in log.read_text(encoding="utf-8")  # nor whose request it was


def test_what_is_no_http_leaves_no_address_in_the_log(server):
    address, log = server
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"GARBAGE private.png\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert requests.get(f"{address}/healthz", timeout=20).status_code == 200
    said = log.read_text(encoding="utf-8")
    assert "private" not in said
    assert "ip=" not in said


def test_clients_that_send_nothing_hold_no_thread_for_ever(server):
    address, _ = server
    host, port = address.removeprefix("http://").split(":")
    head = b"POST /showresult HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
    head += b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    silent = [socket.create_connection((host, int(port)), timeout=60) for _ in range(12)]
    for connection in silent:
        connection.sendall(head)
    assert requests.get(f"{address}/healthz", timeout=SILENCE + 20).status_code == 200
    for connection in silent:
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
        connection.close()
