"""gunicorn's gevent worker, in which gevent keeps the connections and threads do the work.

A connection costs a greenlet of some kilobytes, so hundreds of slow clients hold up nobody. Once
all of a request is there, a thread runs the app, which knows nothing of gevent: its locks, threads
and processes are the ordinary ones, and what it computes does not stop gevent's loop.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
from gevent import socket as gevent_socket
from gevent.threadpool import ThreadPool
from gunicorn.workers.ggevent import GeventWorker

from lesion_lens.model.admission import MAX_REQUESTS
from lesion_lens.web.bodies import Bodies, RequestRefused
from lesion_lens.web.headers import ERROR_HEADERS
from lesion_lens.web.limits import MAX_CONTENT_LENGTH, SENDING_LIMIT
from lesion_lens.web.uploads import CLIENT_GONE

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

THREADS = MAX_REQUESTS + 8  # for all requests with images that are let in, and for others


class Worker(GeventWorker):
    """Serves the app as this module's docstring says."""

    def patch(self) -> None:
        """Make gevent's sockets of the listening ones; leave Python's own modules as they are."""
        self.sockets: list[Any] = [
            gevent_socket.socket(listener.FAMILY, fileno=listener.sock.detach())
            for listener in self.sockets
        ]

    def load_wsgi(self) -> None:
        """Load the app and put what reads bodies before it."""
        super().load_wsgi()
        self.wsgi: Any = BodyFirst(self.wsgi)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what gunicorn cannot parse, with its own page and our headers."""
        super().handle_error(req, _WithHeaders(client), addr, exc)


class _WithHeaders:
    """A connection whose one answer, which gunicorn writes by itself, gets our headers."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def sendall(self, data: bytes) -> None:
        """Send an answer, which begins with its status line."""
        status, rest = data.split(b"\r\n", 1)
        lines = "".join(f"{name}: {value}\r\n" for name, value in ERROR_HEADERS.items())
        self._connection.sendall(status + b"\r\n" + lines.encode() + rest)


class BodyFirst:
    """WSGI middleware that reads a request's body in a greenlet and runs the app in a thread."""

    def __init__(self, app: Callable[[Environ, StartResponse], Iterable[bytes]]) -> None:
        self._app = app
        self._bodies = Bodies(MAX_CONTENT_LENGTH)
        self._threads = ThreadPool(THREADS)

    def __call__(self, asked: Environ, start_response: StartResponse) -> Iterable[bytes]:
        connection = asked["gunicorn.socket"]
        connection.settimeout(SENDING_LIMIT)  # also of whoever reads the answer slowly
        try:
            _check_head(asked)
            with self._bodies.read(asked):
                return self._in_a_thread(connection, asked, start_response)
        except RequestRefused as refusal:
            text = f"{refusal}\n".encode()
            headers = ERROR_HEADERS | {
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(text)),
            }
            start_response(refusal.status, list(headers.items()))
            return _LastAnswer(text, connection)

    def _in_a_thread(
        self, connection: Any, asked: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        gone = asked[CLIENT_GONE] = threading.Event()
        watcher = gevent.spawn(_watch, connection, gone)
        try:
            answer: Iterable[bytes] = self._threads.apply(self._app, (asked, start_response))
            return answer
        finally:
            watcher.kill(block=False)


def _check_head(asked: Environ) -> None:
    """Refuse what gunicorn lets pass.

    Raises:
        RequestRefused
    """
    if asked["SERVER_PROTOCOL"] == "HTTP/1.1" and "HTTP_HOST" not in asked:
        raise RequestRefused("400 Bad Request", "The request has no Host (RFC 9112, section 3.2).")
    if asked.get("HTTP_TRANSFER_ENCODING", "chunked").strip().lower() != "chunked":
        raise RequestRefused("501 Not Implemented", "Only the transfer encoding chunked is known.")


class _LastAnswer:
    """An answer after which gunicorn reads no more from the connection, and so closes it."""

    def __init__(self, text: bytes, connection: Any) -> None:
        self._text, self._connection = text, connection

    def __iter__(self) -> Iterator[bytes]:
        return iter([self._text])

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the client has closed it
            self._connection.shutdown(gevent_socket.SHUT_RD)


def _watch(connection: Any, gone: threading.Event) -> None:
    """Say when the client has closed the connection."""
    with contextlib.suppress(gevent.GreenletExit):
        try:
            gevent_socket.wait_read(connection.fileno())
            if connection.recv(1, gevent_socket.MSG_PEEK):
                return  # it sends its next request already
        except OSError:
            pass
        gone.set()
