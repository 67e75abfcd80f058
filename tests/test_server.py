"""The Procfile's own command line, as a platform runs it."""

import http.client
import os
import re
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from lesion_lens import ROOT
from lesion_lens.model.files import is_litert
from tests.support.drawings import draw_lesion, encode
from tests.support.models import LITERT, MODEL
from tests.support.servers import gunicorn
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that is ready."""
    log = tmp_path_factory.mktemp("server") / "log"
    with gunicorn(log, MODEL_PATH=str(MODEL)) as server:
        server.wait_until_ready()
        yield server


LESION = {"pic": ("private-name.png", encode(draw_lesion()), "image/png")}


def test_an_upload_gets_its_page(server):
    response = requests.post(f"{server.address}/showresult", files=LESION, timeout=60)
    assert response.status_code == 200
    assert "Most likely class" in response.text


def test_a_body_that_is_too_large_gets_the_sentence(server):
    files = {"pic": ("large.png", b"\x00" * 40_000_000, "image/png")}
    response = requests.post(f"{server.address}/showresult", files=files, timeout=60)
    assert response.status_code == 413
    assert "More than 20 MB" in response.text


def test_a_body_that_is_too_large_does_not_break_the_connection(server):
    """Not even where it is to be closed, when gunicorn itself would read little more of it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Connection": "close"}
    body = b"--x\r\n" + b"\x00" * 40_000_000  # sent to the end, or this raises
    connection.request("POST", "/showresult", body, headers)
    assert connection.getresponse().status == 413


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_uploads_leave_no_memory_behind(server):
    def anonymous_megabytes():
        states = [Path(f"/proc/{pid}/status").read_text("utf-8") for pid in server.workers]
        return sum(int(re.search(r"RssAnon:\s+(\d+) kB", state)[1]) for state in states) / 1000

    def send(data):
        files = {"pic": ("a.png", data, "image/png")}
        return requests.post(f"{server.address}/showresult", files=files, timeout=60).status_code

    def send_to_several_threads(data):
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(send, [data] * 4)) == {200}

    send_to_several_threads(encode(draw_lesion()))
    before = anonymous_megabytes()
    large = encode(draw_lesion((5000, 5000)).convert("RGBA"), compress_level=1)
    for _ in range(2):
        send_to_several_threads(large)
    assert anonymous_megabytes() < before + 40


def test_of_two_workers_that_the_platform_wishes_keras_has_one(server):
    if is_litert(MODEL):
        wait_for(lambda: len(server.workers) == 2)
    else:
        assert len(server.workers) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_litert_is_loaded_before_the_fork_and_each_of_its_workers_answers(tmp_path):
    with gunicorn(tmp_path / "log", MODEL_PATH=LITERT.name) as server:
        server.wait_until_ready()
        wait_for(lambda: len(server.workers) == 2)
        libraries = Path(f"/proc/{server.process.pid}/maps").read_text("utf-8")
        assert "ai_edge_litert" in libraries
        assert not re.search("tensorflow|keras|h5py", libraries)
        for stopped in server.workers:  # so that the other one must answer
            os.kill(stopped, signal.SIGSTOP)
            answer = requests.post(f"{server.address}/showresult", files=LESION, timeout=20)
            os.kill(stopped, signal.SIGCONT)
            assert "Most likely class" in answer.text


def test_the_log_has_the_requests_but_no_file_names(server):
    files = {"pic": ("private.png", b"x")}
    requests.post(f"{server.address}/showresult?private=1", files=files, timeout=60)
    # gunicorn writes the line after the answer has been sent.
    wait_for(lambda: "POST /showresult 415" in server.said)
    assert "private" not in server.said
    assert "127.0.0.1 " not in server.said  # nor whose request it was


@pytest.mark.parametrize("prefix", ["/a", "//evil.example"])
@pytest.mark.parametrize("header", ["SCRIPT_NAME", "X-Forwarded-Prefix"])
def test_no_header_of_a_client_moves_the_app(server, header, prefix):
    headers = {header: prefix, "PATH_INFO": prefix, "X-Forwarded-Proto": "https"}
    address = f"{server.address}/showresult"
    response = requests.get(address, headers=headers, allow_redirects=False, timeout=20)
    assert (response.status_code, response.headers["Location"]) == (302, "/")
    assert "Strict-Transport-Security" not in response.headers


def test_what_is_no_http_leaves_no_address_in_the_log(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GARBAGE private.png\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert requests.get(f"{server.address}/healthz", timeout=20).status_code == 200
    assert "private" not in server.said
    assert "ip=" not in server.said


IMPATIENT = ROOT / "tests" / "support" / "impatient.conf.py"


def test_clients_that_send_nothing_hold_no_thread_for_ever(tmp_path):
    """With a limit of a second; the product's own is longer, and its path is the same."""
    settings = {"GUNICORN_CMD_ARGS": f"--config {IMPATIENT}", "WEB_CONCURRENCY": "1"}
    with gunicorn(tmp_path / "log", MODEL_PATH=LITERT.name, **settings) as server:
        server.wait_until_ready()
        head = b"POST /showresult HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        head += b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        silent = [socket.create_connection(("127.0.0.1", server.port), 20) for _ in range(12)]
        for connection in silent:
            connection.sendall(head)
        assert requests.get(f"{server.address}/healthz", timeout=20).status_code == 200
        for connection in silent:
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
            connection.close()
