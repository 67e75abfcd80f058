"""Slow clients: hundreds of connections of each kind, held by one thread."""

import contextlib
import errno
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attacks.servers import Target, crowd, harmless, health
from attacks.table import Case

try:
    import resource
except ImportError:  # Windows, which does not limit connections this way
    resource = None  # type: ignore[assignment]

SLOW = 2  # seconds for an answer while slow clients are connected
AT_ONCE = 50  # connections that are opened at once, few enough for the server's queue
HEADER_DEADLINE = 12  # seconds: ten for a header, and two for the server to notice
_FORM = b"POST /api/v1/predictions HTTP/1.1\r\nHost: x\r\n"
_FORM += b"Content-Type: multipart/form-data; boundary=x\r\n"
_PAGE = b"GET /model HTTP/1.1\r\nHost: x\r\n\r\n"  # the largest one
_LENGTH = _FORM + b"Content-Length: 19000000\r\n\r\n"
_PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'


@dataclass(frozen=True)
class Slow:
    """A kind of slow client.

    Attributes:
        name: what it does.
        first: what it sends first.
        then: what it then sends repeatedly.
        pause: seconds between repetitions.
        has_header: whether it sends a complete header.
        reads: bytes that it reads at each repetition; None if it reads whatever arrives.
        most: the largest number of such clients; None for any number.
    """

    name: str
    first: bytes
    then: bytes = b""
    pause: float = 5
    has_header: bool = True
    reads: int | None = None
    most: int | None = None


SLOW_KINDS = (
    Slow("that send half a header", _FORM[:60], has_header=False),
    Slow("that trickle a header", _FORM, b"a: b\r\n", 1, has_header=False),
    Slow("that send nothing", b"", has_header=False),
    Slow("that trickle a body, a byte every five seconds", _LENGTH + _PART, b"x"),
    Slow(
        "that trickle a body in chunks, a byte every five seconds",
        _FORM + b"Transfer-Encoding: chunked\r\n\r\n",
        b"1\r\nx\r\n",
    ),
    Slow(
        "that send 40 kB of an ordinary upload and then trickle",
        _FORM + b"Content-Length: 990000\r\n\r\n" + _PART + bytes(40_000),
        b"x",
    ),
    Slow("that send 1 MB and then trickle", _LENGTH + _PART + bytes(1_000_000), b"x"),
    Slow("that request a page and read a byte every five seconds", _PAGE, reads=1),
    # These fill the system's buffers for a connection, about 2 MB. Computing thirty pages for each
    # client takes time, so more clients would measure that instead.
    Slow("that request 50 pages and never read", _PAGE * 50, reads=0, most=20),
)


class SlowClients:
    """Connections of one kind of slow client, in a separate thread.

    Args:
        port: of the server.
        kind: Slow.
        count: how many connections.
    """

    def __init__(self, port: int, kind: Slow, count: int) -> None:
        self._port, self._kind, self._count = port, kind, count_of(kind, count)
        self._links: dict[socket.socket, memoryview] = {}  # -> what is still to be sent
        self._unsent = selectors.DefaultSelector()  # connections with something to send
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep)

    def __enter__(self) -> "SlowClients":
        _allow_connections(self._count + 200)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for link in self._links:
            link.close()
        self._unsent.close()

    def open(self) -> int:
        """How many connections the server has not closed."""
        return len(self._links)

    def _keep(self) -> None:
        missing, look, go_on = self._count, 0.0, time.monotonic() + self._kind.pause
        while not self._ended.is_set():
            for _ in range(min(missing, AT_ONCE)):
                self._connect()
            missing -= min(missing, AT_ONCE)
            for key, _ in self._unsent.select(0.05):
                self._try(self._send, key.fileobj)
            now = time.monotonic()
            if now >= look and self._kind.reads is None:
                look = now + 0.25
                for link in list(self._links):
                    self._try(self._drain, link)
            if now >= go_on:
                go_on += self._kind.pause
                for link in list(self._links):
                    self._try(self._go_on, link)

    def _connect(self) -> None:
        link = socket.socket()
        if self._kind.reads is not None:  # so that the system buffers little
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        link.setblocking(False)
        if link.connect_ex(("127.0.0.1", self._port)) in (0, errno.EINPROGRESS):
            self._links[link] = memoryview(self._kind.first)
            self._unsent.register(link, selectors.EVENT_WRITE)
        else:
            link.close()

    def _try(self, act: Callable[[Any], None], link: Any) -> None:
        """Act on a connection; drop it if the server has closed it."""
        try:
            act(link)
        except BlockingIOError:
            return
        except OSError:
            with contextlib.suppress(KeyError):
                self._unsent.unregister(link)
            del self._links[link]
            link.close()

    def _send(self, link: socket.socket) -> None:
        left = self._links[link]
        left = left[link.send(left) if left else 0 :]
        self._links[link] = left
        if not left:
            self._unsent.unregister(link)

    def _drain(self, link: socket.socket) -> None:
        if not link.recv(65_536):
            raise ConnectionResetError

    def _go_on(self, link: socket.socket) -> None:
        if self._kind.then and not self._links[link]:
            link.send(self._kind.then)
        if self._kind.reads and not link.recv(self._kind.reads):
            raise ConnectionResetError


def count_of(kind: Slow, count: int) -> int:
    """How many clients of a kind to run if `count` are requested."""
    return min(count, kind.most or count)


def _allow_connections(count: int) -> None:
    """Allow this process that many open files."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < count:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def slow_clients(target: Target, kind: Slow, count: int, seconds: float) -> Case:
    """Run slow clients of one kind; meanwhile upload photographs and request /healthz.

    Args:
        target: Target.
        kind: Slow.
        count: how many slow clients.
        seconds: how long.

    Returns:
        Case; its count is of the slow clients, its time of the other requests.
    """
    count = count_of(kind, count)
    case = Case(f"{count:,} clients {kind.name}")
    others = Case("")
    with (
        target.watching(case),
        SlowClients(target.port, kind, count),
        crowd(harmless(target, others, SLOW), health(target, others, SLOW)),
    ):
        time.sleep(seconds)
    case.count, case.worst_time = count, others.worst_time
    case.failures += others.failures
    return case


def headers_without_end(target: Target, count: int) -> Case:
    """Wait until the server has closed all connections that never complete their header.

    Args:
        target: Target.
        count: connections of each such kind.

    Returns:
        Case; its time is until the last connection was closed.
    """
    kinds = [kind for kind in SLOW_KINDS if not kind.has_header]
    case = Case("headers that never end, until the connection is closed", count * len(kinds))
    begin = time.monotonic()
    with target.watching(case), contextlib.ExitStack() as stack:
        slow = [stack.enter_context(SlowClients(target.port, kind, count)) for kind in kinds]
        time.sleep(1)  # until all are open
        while (left := sum(clients.open() for clients in slow)) and (
            time.monotonic() < begin + HEADER_DEADLINE
        ):
            time.sleep(0.1)
        case.worst_time = time.monotonic() - begin
        case.fail(f"still open after {HEADER_DEADLINE} s", left)
    return case
