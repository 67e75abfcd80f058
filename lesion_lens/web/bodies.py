"""Reading the bodies of requests, from clients that may send slowly or never.

A body is read into memory before anything works on it. All bodies together take `BODIES_MEMORY` at
most, and each has to come at a least rate. Where there is no room left, whoever has sent nothing
for longest gives way. Everything here runs in gevent's loop, so that nothing of it needs a lock.
"""

import contextlib
import io
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gevent

from lesion_lens.web.limits import (
    BODIES_MEMORY,
    BODY_LIMIT,
    LEAST_SENT,
    MAX_CONTENT_LENGTH,
    SILENCE,
)

_FREE = 65_536  # bytes of each body that are not counted
_STALE = 1  # second without a byte, after which a body may be given up for another
_PATIENCE = 3  # seconds that a body waits for room


class RequestRefused(Exception):
    """A request whose body is not read, or not to its end; the text is for its sender.

    Args:
        status: of the answer, with its phrase.
        text: a sentence.
    """

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


def _too_slow() -> RequestRefused:
    return RequestRefused("408 Request Timeout", "The request came too slowly. Send it again.")


@dataclass(eq=False)
class _Body:
    greenlet: Any
    size: int = 0
    last: float = field(default_factory=time.monotonic)  # when something came
    is_whole: bool = False


class Bodies:
    """All bodies that are in memory.

    Args:
        largest: bytes of the largest body that the app takes.
        memory: bytes of all together.
    """

    def __init__(self, largest: int = MAX_CONTENT_LENGTH, memory: int = BODIES_MEMORY) -> None:
        self._largest, self._memory = largest, memory
        self._bodies: set[_Body] = set()

    @contextlib.contextmanager
    def read(self, asked: dict[str, Any]) -> Iterator[None]:
        """Read a request's body, and put it in the place of its stream for as long as this lasts.

        A body that is larger than the largest is read away up to a bound, as a browser shows an
        answer only when it could send everything; the app sees its length and refuses it.

        Raises:
            RequestRefused
            gunicorn.http.errors.ParseException: the chunks are spoiled.
        """
        declared = asked.get("CONTENT_LENGTH") or None
        is_chunked = "chunked" in asked.get("HTTP_TRANSFER_ENCODING", "").lower()
        if not is_chunked and declared in (None, "0"):
            yield
            return
        body = _Body(gevent.getcurrent())
        self._bodies.add(body)
        try:
            length = None if is_chunked else int(declared or 0)
            if length is None or length <= 8 * self._largest:
                chunks = self._chunks(asked["wsgi.input"], body, length)
                asked["wsgi.input"] = Chunks(chunks)
                asked["CONTENT_LENGTH"] = str(body.size if length is None else length)
            else:
                asked["wsgi.input"] = Chunks(deque())
            asked.pop("HTTP_TRANSFER_ENCODING", None)
            body.is_whole = True
            yield
        finally:
            self._bodies.discard(body)

    def _chunks(self, stream: Any, body: _Body, length: int | None) -> "deque[bytes]":
        """Read a body; of one that is too large nothing is kept."""
        chunks: deque[bytes] = deque()
        deadline = time.monotonic() + BODY_LIMIT
        while chunk := self._next_chunk(stream, deadline):
            body.size += len(chunk)
            body.last = time.monotonic()
            if max(body.size, length or 0) > self._largest:
                chunks.clear()
                if body.size > 8 * self._largest:
                    break
            else:
                self._make_room(body)
                chunks.append(chunk)
        return chunks

    def _next_chunk(self, stream: Any, deadline: float) -> bytes:
        try:
            with gevent.Timeout(SILENCE):
                chunk: bytes = stream.read(LEAST_SENT)
        except gevent.Timeout as error:
            raise _too_slow() from error
        if time.monotonic() > deadline:
            raise _too_slow()
        return chunk

    def _make_room(self, body: _Body) -> None:
        """Wait until there is room for a body that grew.

        Raises:
            RequestRefused: there is none.
        """
        waited_since = time.monotonic()
        while body.size > _FREE and self._held() > self._memory:
            others = (one for one in self._bodies if not one.is_whole and one.size > _FREE)
            stalest = min(others, key=lambda one: one.last)
            if time.monotonic() - stalest.last > _STALE:
                self._bodies.discard(stalest)
                gevent.kill(stalest.greenlet, _too_slow(), block=False)
            elif time.monotonic() - waited_since > _PATIENCE:
                sentence = "Too much is being sent at the moment. Try again in a few seconds."
                raise RequestRefused("503 Service Unavailable", sentence)
            else:
                gevent.sleep(0.05)

    def _held(self) -> int:
        return sum(body.size for body in self._bodies if body.size > _FREE)


class Chunks(io.RawIOBase):
    """A stream of chunks that lets go of each as it is read, so that a body is in memory once."""

    def __init__(self, chunks: "deque[bytes]") -> None:
        self._chunks = chunks

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill a buffer from the first chunk; returns the number of bytes, 0 at the end."""
        if not self._chunks:
            return 0
        chunk = self._chunks.popleft()
        count = min(len(chunk), len(target))
        target[:count] = chunk[:count]
        if count < len(chunk):
            self._chunks.appendleft(chunk[count:])
        return count
