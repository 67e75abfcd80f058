"""Malformed requests. Each must be refused, or its connection closed, in time."""

import contextlib
import re
import socket
import time
from collections.abc import Iterator

from attacks.servers import ANSWER, Target, upload
from attacks.table import Case

_POST = b"POST /api/v1/predictions HTTP/1.1\r\nHost: x\r\n"
_CHUNKED = _POST + b"Transfer-Encoding: chunked\r\n\r\n"
_FORM = b"Content-Type: multipart/form-data; boundary=x\r\n"


def _form_of(body: bytes, head: bytes = _FORM) -> bytes:
    return _POST + head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _part(name: bytes, value: bytes = b"x") -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name, value)


MALFORMED: dict[str, bytes] = {
    "a chunk size that is no number": _CHUNKED + b"xyz\r\nabc\r\n0\r\n\r\n",
    "a negative chunk size": _CHUNKED + b"-5\r\nabc\r\n0\r\n\r\n",
    "a chunk size of 2^70": _CHUNKED + b"400000000000000000\r\nabc\r\n",
    "a chunk extension of a megabyte": _CHUNKED
    + b"3;"
    + b"a" * 1_000_000
    + b"\r\nabc\r\n0\r\n\r\n",
    "a chunk that is longer than it says": _CHUNKED + b"1\r\nabc\r\n0\r\n\r\n",
    "trailers without end": _CHUNKED + b"0\r\n" + b"a: b\r\n" * 100_000,
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "an encoding of the transfer that is not known": _POST
    + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a length and chunks": _POST
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length of 1e30": _POST + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n",
    "a length written 1e30": _POST + b"Content-Length: 1e30\r\n\r\n",
    "a negative length": _POST + b"Content-Length: -1\r\n\r\n",
    "two lengths": _POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "ten thousand headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 10_000 + b"\r\n",
    "a header of a megabyte": b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"b" * 1_000_000 + b"\r\n\r\n",
    "a path of a megabyte": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
    "a zero in a header": b"GET / HTTP/1.1\r\nHost: x\r\na: b\0c\r\n\r\n",
    "a line break in a path": b"GET /a%0d%0aGET%20/b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that is not UTF-8": b"GET /\xff\xfe%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that climbs": b"GET /static/..%2f..%2fapp.py HTTP/1.1\r\nHost: x\r\n\r\n",
    "a SCRIPT_NAME": b"GET / HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /a\r\n\r\n",
    "a SCRIPT_NAME elsewhere": b"GET /model/ HTTP/1.1\r\nHost: x\r\n"
    b"SCRIPT_NAME: //evil.example\r\n\r\n",
    "HTTP 0.9": b"GET /\r\n\r\n",
    "HTTP 9.9": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "the start of TLS": bytes.fromhex("1603010200010001fc0303") + bytes(500),
    "a PROXY line": b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method that nobody knows": b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a megabyte of zeros": bytes(1_000_000),
    "a form without a boundary": _form_of(b"abc", b"Content-Type: multipart/form-data\r\n"),
    "a form with a boundary of 10 kB": _form_of(
        b"abc", b"Content-Type: multipart/form-data; boundary=" + b"a" * 10_000 + b"\r\n"
    ),
    "a form that never ends": _form_of(_part(b"image")),
    "a form of 100,000 fields": _form_of(_part(b"a") * 100_000 + b"--x--\r\n"),
    "a field of five megabytes": _form_of(_part(b"a", b"a" * 5_000_000) + b"--x--\r\n"),
    "a part with 10,000 headers": _form_of(
        b"--x\r\n" + b"a: b\r\n" * 10_000 + b"\r\nabc\r\n--x--\r\n"
    ),
    "a form of 900 parts with long headers": _form_of(
        _part(b'a"' + b";b*=utf-8'a'%20" * 400 + b';c="') * 900 + b"--x--\r\n"
    ),
    "a form as another encoding": _form_of(
        b"a=%ff&a=b" * 1000, b"Content-Type: application/x-www-form-urlencoded\r\n"
    ),
    "a JSON body": _form_of(b"[" * 100_000, b"Content-Type: application/json\r\n"),
    "an expectation that is none": _POST + b"Expect: 200-maybe\r\nContent-Length: 0\r\n\r\n",
    "a date beyond all years": b"GET /static/style.css HTTP/1.1\r\nHost: x\r\n"
    b"If-Modified-Since: Mon, 01 Jan 99999999999 00:00:00 GMT\r\n\r\n",
    "a range without end": b"GET /static/style.css HTTP/1.1\r\nHost: x\r\nRange: bytes="
    + b"0-1," * 1000
    + b"0-1\r\n\r\n",
}


# These may be answered, because the server may ignore what is odd about them.
ODD_ALONE = {"a SCRIPT_NAME", "a SCRIPT_NAME elsewhere", "a date beyond all years"}


def exchange(port: int, sent: bytes, patience: float = 2 * ANSWER) -> tuple[bytes, float]:
    """Send bytes unchanged, and shut down the sending side.

    Returns:
        (what came back until the connection or `patience` ended, the seconds until then).
    """
    begin, came = time.perf_counter(), b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as link:
        link.settimeout(patience)
        with contextlib.suppress(OSError):  # it was refused before all of it was sent
            link.sendall(sent)
            link.shutdown(socket.SHUT_WR)
        while time.perf_counter() - begin < patience and (part := link.recv(65_536)):
            came += part
    return came, time.perf_counter() - begin


def _sent(name: str) -> Iterator[bytes]:
    """The request alone, and after a valid request on the same connection."""
    yield MALFORMED[name]
    yield b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + MALFORMED[name]


def malformed_requests(target: Target) -> Case:
    """Send each malformed request, then check that the server still works."""
    case = Case("malformed requests")
    with target.watching(case):
        for name in MALFORMED:
            for sound, sent in enumerate(_sent(name)):
                judge_exchange(case, name, *exchange(target.port, sent), sound)
        if not target.until_well(ANSWER):
            case.fail("the server did not work afterwards")
    return case


def judge_exchange(case: Case, name: str, came: bytes, seconds: float, sound: int = 0) -> None:
    """Count the result of a malformed request.

    It fails with status 500, with an answer as to a valid request, or if the answer is late.

    Args:
        case: the case to count it in.
        name: of the request, a key of `MALFORMED`.
        came: all bytes that came on its connection.
        seconds: until then.
        sound: how many valid requests were sent before it.
    """
    failure = None
    statuses = [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", came, re.M)]
    if 500 in statuses:  # 501 and 505 are refusals
        failure = f"{name}: a server error"
    elif name not in ODD_ALONE and sum(status < 400 for status in statuses) > sound:
        failure = f"{name}: answered like a valid request"
    elif seconds > ANSWER:
        failure = f"{name}: later than {ANSWER} s"
    case.add(seconds, failure)


def hang_up(port: int, data: bytes, share: float, seconds: float) -> None:
    """Send part of an upload, wait, and reset the connection.

    Args:
        port: of the server.
        data: the file.
        share: the share of the request that is sent, 0–1.
        seconds: to wait.
    """
    method, path, body, headers = upload(data)
    assert body is not None
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    whole = head.encode() + body
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as link:
        link.sendall(whole[: max(1, int(share * len(whole)))])
        time.sleep(seconds)
        # RST instead of FIN, as from a client that crashed.
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
