"""A gunicorn worker in which gevent handles the connections and threads do the work.

A connection costs a greenlet of a few kilobytes, so hundreds of slow clients do not block others.
Once a request has arrived completely, a thread runs the app, which does not use gevent: its locks,
threads and processes are the ordinary ones, and its computing does not block gevent's loop.

gunicorn's own gevent worker computes in the loop, and was slower than threads. Its asgi worker has
no deadline for headers (27.0), and would need an adapter that reads bodies like bodies.py.
"""

import contextlib
import errno
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
from gevent import socket as gevent_socket
from gevent.threadpool import ThreadPool
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.ggevent import GeventWorker

from lesion_lens.model.admission import MAX_REQUESTS
from lesion_lens.web.bodies import Bodies, RequestRefused
from lesion_lens.web.headers import ERROR_HEADERS
from lesion_lens.web.limits import MAX_CONTENT_LENGTH, SENDING_LIMIT
from lesion_lens.web.metrics import count_refusal
from lesion_lens.web.uploads import CLIENT_GONE

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

THREADS = MAX_REQUESTS + 8  # for all admitted requests with images, and 8 others


# Bytes of a body that gunicorn reads ahead. By default it would hold 1 MB for each of hundreds of
# connections.
SocketUnreader.max_body_chunk = 32_768


class Worker(GeventWorker):
    """Serves the app as the module's docstring describes."""

    def patch(self) -> None:
        """Turn the listening sockets into gevent's; leave Python's own modules unpatched."""
        self.sockets: list[Any] = [
            gevent_socket.socket(listener.FAMILY, fileno=listener.sock.detach())
            for listener in self.sockets
        ]

    def load_wsgi(self) -> None:
        """Load the app and wrap it in `BodyFirst`."""
        super().load_wsgi()
        self.wsgi: Any = BodyFirst(self.wsgi)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        """Answer a request; treat a client that does not take the answer in time as gone."""
        try:
            return super().handle_request(listener_name, req, sock, addr)
        except TimeoutError as error:
            raise BrokenPipeError(errno.EPIPE, str(error)) from error

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer what gunicorn cannot parse with gunicorn's page and our headers."""
        super().handle_error(req, _WithHeaders(client), addr, exc)


class _WithHeaders:
    """A connection that adds our headers to the one answer that gunicorn writes itself."""

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
        connection.settimeout(SENDING_LIMIT)  # also for clients that read slowly
        try:
            _check_head(asked)
            with self._bodies.read(asked) as is_whole:
                answer = self._in_a_thread(connection, asked, start_response)
            return answer if is_whole else _last(answer, start_response, connection)
        except RequestRefused as refusal:
            count_refusal(self._app, asked["REQUEST_METHOD"], refusal.status)
            text = f"{refusal}\n".encode()
            headers = ERROR_HEADERS | {
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(text)),
            }
            start_response(refusal.status, list(headers.items()))
            return _last([text], start_response, connection)

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
    """Refuse invalid requests that gunicorn accepts.

    Raises:
        RequestRefused
    """
    if asked["SERVER_PROTOCOL"] == "HTTP/1.1" and "HTTP_HOST" not in asked:
        raise RequestRefused("400 Bad Request", "The request has no Host (RFC 9112, section 3.2).")
    if asked.get("HTTP_TRANSFER_ENCODING", "chunked").strip().lower() != "chunked":
        raise RequestRefused(
            "501 Not Implemented", "Only the transfer encoding chunked is supported."
        )


def _last(answer: Iterable[bytes], start_response: Any, connection: Any) -> "_LastAnswer":
    """Make gunicorn close the connection after answering a request that was not read to its end."""
    start_response.__self__.force_close()  # `start_response` is a method of gunicorn's response
    return _LastAnswer(answer, connection)


class _LastAnswer:
    """An answer after which the connection is closed, but not before the client can read it.

    If it were closed at once, with bytes of the request unread, the system would drop the answer.
    """

    def __init__(self, answer: Iterable[bytes], connection: Any) -> None:
        self._answer, self._connection = answer, connection

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        if hasattr(self._answer, "close"):
            self._answer.close()
        with contextlib.suppress(OSError), gevent.Timeout(_FAREWELL, False):
            self._connection.shutdown(gevent_socket.SHUT_WR)
            while self._connection.recv(65536):
                gevent.sleep(0.001)  # to use little CPU time


_FAREWELL = 1  # second that a client has to read the last answer


def _watch(connection: Any, gone: threading.Event) -> None:
    """Set `gone` when the client closes the connection; works only on Linux."""
    if not hasattr(gevent_socket, "TCP_INFO"):
        return
    with contextlib.suppress(OSError):  # already closed
        gevent.sleep(_TICK)  # most requests are answered before the first look
        while connection.getsockopt(gevent_socket.IPPROTO_TCP, gevent_socket.TCP_INFO, 1) == _OPEN:
            gevent.sleep(_TICK)
    gone.set()


_TICK = 0.1  # second
_OPEN = b"\x01"  # TCP_ESTABLISHED, the first byte of TCP_INFO
