"""The Procfile's own command line, as a platform runs it."""

import contextlib
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
from conftest import MODEL, ROOT, draw_lesion, encode

from lesion_lens.model.files import is_litert
from lesion_lens.web.limits import SILENCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gunicorn does not run on Windows")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A running server: its address and the file that it logs to."""
    with serving(MODEL, tmp_path_factory.mktemp("server") / "log") as address_and_log:
        yield address_and_log


@contextlib.contextmanager
def serving(model, log):
    """Serve a model file while the context lasts; gives the address and the log."""
    kind, command = (ROOT / "Procfile").read_text(encoding="utf-8").split(":", 1)
    assert kind == "web"
    port = free_port()
    scripts = Path(sys.executable).parent
    with log.open("w") as output:
        process = subprocess.Popen(
            shlex.split(command),
            cwd=ROOT,
            env=os.environ
            | {
                "PORT": str(port),
                "MODEL_PATH": str(model),
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


def workers_of(log):
    """The process ids of the workers that a log tells of."""
    pids = re.findall(r"Booting worker with pid: (\d+)", log.read_text(encoding="utf-8"))
    return list(map(int, pids))


def wait_for(happening):
    end = time.monotonic() + 20
    while not happening():
        assert time.monotonic() < end
        time.sleep(0.05)


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


LESION = {"pic": ("private-name.png", encode(draw_lesion()), "image/png")}


def test_an_upload_gets_its_page(server):
    address, _ = server
    response = requests.post(f"{address}/showresult", files=LESION, timeout=60)
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

    def anonymous_megabytes():
        states = [Path(f"/proc/{pid}/status").read_text("utf-8") for pid in workers_of(log)]
        return sum(int(re.search(r"RssAnon:\s+(\d+) kB", state)[1]) for state in states) / 1000

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


def test_of_two_workers_that_the_platform_wishes_keras_has_one(server):
    _, log = server
    if is_litert(MODEL):
        wait_for(lambda: len(workers_of(log)) == 2)
    else:
        assert len(workers_of(log)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_litert_is_loaded_before_the_fork_and_each_of_its_workers_answers(tmp_path):
    with serving(ROOT / "best_model.tflite", tmp_path / "log") as (address, log):
        wait_for(lambda: len(workers_of(log)) == 2)
        workers = workers_of(log)
        master = Path(f"/proc/{workers[0]}/stat").read_text("utf-8").rpartition(")")[2].split()[1]
        libraries = Path(f"/proc/{master}/maps").read_text("utf-8")
        assert "ai_edge_litert" in libraries
        assert not re.search("tensorflow|keras|h5py", libraries)
        for stopped in workers:  # so that the other one must answer
            os.kill(stopped, signal.SIGSTOP)
            answer = requests.post(f"{address}/showresult", files=LESION, timeout=20)
            os.kill(stopped, signal.SIGCONT)
            assert "Most likely class" in answer.text


def test_the_log_has_the_requests_but_no_file_names(server):
    address, log = server
    requests.post(
        f"{address}/showresult?private=1", files={"pic": ("private.png", b"x")}, timeout=60
    )
    # gunicorn writes the line after the answer has been sent.
    wait_for(lambda: "POST /showresult 415" in log.read_text(encoding="utf-8"))
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
