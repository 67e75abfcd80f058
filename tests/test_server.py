"""The Procfile's command, run as a platform runs it."""

import contextlib
import http.client
import re
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from lesion_lens import ROOT
from lesion_lens.model.files import sha256_of
from lesion_lens.web.headers import ERROR_HEADERS
from tests.support.drawings import draw_lesion, encode
from tests.support.hostile import ENDLESS
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
    assert "More than 20\xa0MB" in response.text


def test_a_body_that_is_too_large_does_not_break_the_connection(server):
    """Not even before closing, although gunicorn itself would then read little more of it."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Connection": "close"}
    body = b"--x\r\n" + b"\x00" * 40_000_000  # raises unless it can be sent to its end
    connection.request("POST", "/showresult", body, headers)
    assert connection.getresponse().status == 413


def test_an_image_as_the_body_is_taken_whole_and_in_chunks(server):
    image = encode(draw_lesion())
    for body in (image, iter([image[:1000], image[1000:]])):  # an iterator is sent in chunks
        response = requests.post(
            f"{server.address}/api/v1/predictions",
            data=body,
            headers={"Content-Type": "image/png"},
            timeout=60,
        )
        assert response.status_code == 200
        assert response.json()["results"][0]["image"] == {"width": 600, "height": 450}


@pytest.mark.parametrize("in_chunks", [False, True])
def test_an_image_that_is_too_large_is_a_problem(server, in_chunks):
    large = bytes(40_000_000)
    response = requests.post(
        f"{server.address}/api/v1/predictions",
        data=iter([large]) if in_chunks else large,
        headers={"Content-Type": "image/png"},
        timeout=60,
    )
    assert response.status_code == 413
    assert response.json()["type"].endswith("#request-too-large")


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


def test_one_process_serves_whatever_the_platform_wishes(server):
    assert len(server.workers) == 1


def test_the_log_has_the_requests_but_no_file_names(server):
    files = {"pic": ("private.png", b"x")}
    requests.post(f"{server.address}/showresult?private=1", files=files, timeout=60)
    # gunicorn writes the line after the answer has been sent.
    wait_for(lambda: "POST /showresult 415" in server.said)
    assert "private" not in server.said
    assert "127.0.0.1 " not in server.said  # no client addresses either


@pytest.mark.parametrize("prefix", ["/a", "//evil.example"])
@pytest.mark.parametrize("header", ["SCRIPT_NAME", "X-Forwarded-Prefix"])
def test_no_header_of_a_client_moves_the_app(server, header, prefix):
    headers = {header: prefix, "PATH_INFO": prefix, "X-Forwarded-Proto": "https"}
    address = f"{server.address}/showresult"
    response = requests.get(address, headers=headers, allow_redirects=False, timeout=20)
    assert (response.status_code, response.headers["Location"]) == (302, "/")
    assert "Strict-Transport-Security" not in response.headers


def test_the_log_says_when_and_which_model_is_served(server):
    assert requests.get(f"{server.address}/healthz", timeout=20).status_code == 200
    time = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
    wait_for(lambda: re.search(rf"^{time} GET /healthz 200 ", server.said, re.M))
    assert f"Serving {MODEL} (SHA-256 {sha256_of(MODEL)}) with " in server.said
    assert "gunicorn.conf.py is not in use" not in server.said


@pytest.mark.parametrize("options", [f"--config {ROOT}/gunicorn.conf.py", ""])
def test_a_start_elsewhere_without_the_settings_is_noticed(options, tmp_path):
    command = f"gunicorn --chdir {ROOT} {options} --bind 127.0.0.1:$PORT app:app"
    environment = {"folder": tmp_path, "command": command, "MODEL_PATH": str(LITERT)}
    with gunicorn(tmp_path / "log", **environment) as server:
        server.wait_until_ready()
    warned = re.findall(r"\[WARNING\] (gunicorn.conf.py is not in use.*)", server.said)
    assert bool(warned) == (not options)


def test_what_is_no_http_leaves_no_address_in_the_log(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"GARBAGE private.png\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    assert requests.get(f"{server.address}/healthz", timeout=20).status_code == 200
    assert "private" not in server.said
    assert "ip=" not in server.said


IMPATIENT = ROOT / "tests" / "support" / "impatient.conf.py"
POST = b"POST /showresult HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A server with limits of two seconds for clients, shorter than the real ones."""
    settings = {"GUNICORN_CMD_ARGS": f"--config {IMPATIENT}", "MODEL_PATH": LITERT.name}
    with gunicorn(tmp_path_factory.mktemp("server") / "log", **settings) as server:
        server.wait_until_ready()
        yield server


@contextlib.contextmanager
def many_clients(server, count, said):
    """Open connections of clients that send something and then stop."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", server.port), 20)
            clients.append(stack.enter_context(client))
            client.sendall(said)
        yield clients


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", b""),
        (POST[:60], b""),
        (POST + b"Content-Length: 1000000\r\n\r\n--x\r\n", b"HTTP/1.1 408"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n--x\r\n\r\n", b"HTTP/1.1 408"),
    ],
    ids=["nothing", "half a header", "half a body", "some chunks"],
)
def test_silent_clients_hold_up_nobody_and_are_closed(impatient, said, answer):
    with many_clients(impatient, 200, said) as clients:
        assert requests.get(f"{impatient.address}/healthz", timeout=2).status_code == 200
        files = {"pic": ("a.png", encode(draw_lesion()))}
        answered = requests.post(f"{impatient.address}/showresult", files=files, timeout=4)
        assert answered.status_code == 200
        for client in clients:
            assert client.recv(12) == answer
            while client.recv(1000):  # to the end of the connection
                pass


def test_a_body_that_trickles_is_closed(impatient):
    with many_clients(impatient, 1, POST + b"Content-Length: 1000000\r\n\r\n") as (client,):
        answered = threading.Event()
        threading.Thread(target=lambda: (client.recv(100), answered.set())).start()
        begin = time.monotonic()
        while not answered.wait(0.2) and time.monotonic() - begin < 20:
            client.sendall(b"x")
        assert time.monotonic() - begin < 6


@pytest.mark.parametrize(
    "chunk",
    [b"zz\r\n", b"-5\r\n", b"5;" + b"x" * 20_000 + b"\r\n", b"\r\n", b"5\r\nhello??"],
    ids=["no number", "negative", "long extension", "empty", "too long"],
)
def test_a_spoiled_chunk_is_a_bad_request(server, chunk):
    with many_clients(server, 1, POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk) as (client,):
        assert client.recv(12) == b"HTTP/1.1 400"
    assert "Traceback" not in server.said


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", b"501"),
        (POST + b"Content-Length: 1e30\r\n\r\n", b"400"),
        (POST + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n", b"413"),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
    ],
    ids=["no host", "gzip", "1e30", "a nonillion", "both"],
)
def test_a_head_that_cannot_be_right_is_refused_at_once(server, head, status):
    begin = time.monotonic()
    with many_clients(server, 1, head) as (client,):
        assert client.recv(12).split()[1] == status
    assert time.monotonic() - begin < 2


def test_tiny_chunks_hold_up_nobody(server):
    """Each costs as much to parse as a large one: two million of them blocked the loop for 6 s."""
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    with many_clients(server, 1, head) as (client,):
        sender = threading.Thread(target=send_all, args=(client, b"1\r\nx\r\n" * 2_000_000))
        sender.start()
        for _ in range(10):
            begin = time.monotonic()
            assert requests.get(f"{server.address}/healthz", timeout=5).status_code == 200
            assert time.monotonic() - begin < 1
        assert client.recv(12) == b"HTTP/1.1 400"
    sender.join()


def test_large_heads_hold_up_nobody(server):
    head = POST + b"".join(b"X-%d: %s\r\n" % (i, b"a" * 4000) for i in range(38))
    with many_clients(server, 60, head):
        begin = time.monotonic()
        assert requests.get(f"{server.address}/healthz", timeout=5).status_code == 200
        assert time.monotonic() - begin < 2
    with many_clients(server, 1, head + b"X: 1\r\n" * 5 + b"\r\n") as (client,):
        assert client.recv(12) in (b"HTTP/1.1 400", b"HTTP/1.1 431")


def send_all(client, data):
    """Send until everything is sent or the other end closes."""
    with contextlib.suppress(OSError):
        client.sendall(data)


def test_of_a_body_that_is_far_too_large_little_is_read(server):
    head = POST + b"Content-Length: %d\r\n\r\n" % 10**15
    with many_clients(server, 1, head) as (client,):
        sender = threading.Thread(target=send_all, args=(client, bytes(200_000_000)))
        sender.start()
        assert client.recv(12) == b"HTTP/1.1 413"
        while client.recv(65536):  # to the end of the connection
            pass
    sender.join(10)
    assert not sender.is_alive()


@pytest.mark.parametrize(
    "head",
    [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", POST + b"Content-Length: x\r\n\r\n"],
    ids=["no http", "no host", "no length"],
)
def test_what_never_reaches_the_app_has_its_headers(server, head):
    with many_clients(server, 1, head) as (client,):
        answer = client.makefile("rb").read().decode()
    for name, value in ERROR_HEADERS.items():
        assert f"\r\n{name}: {value}\r\n" in answer


def test_a_client_that_leaves_ends_its_work(server):
    files = [("pic", ("slow.jpg", ENDLESS))]
    sent = requests.Request("POST", f"{server.address}/showresult", files=files).prepare()
    head = POST.replace(b"multipart/form-data; boundary=x", sent.headers["Content-Type"].encode())
    head += b"Content-Length: %d\r\n\r\n" % len(sent.body)
    with many_clients(server, 1, head + sent.body):
        time.sleep(0.5)
    wait_for(lambda: "POST /showresult 400" in server.said, 2)
