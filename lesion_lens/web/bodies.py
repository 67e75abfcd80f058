"""Reading the bodies of requests, from clients that may send slowly or never.

A body is read into memory before anything works on it, and each has to come at a least rate. What
all bodies together may take is divided between small and large ones, so that neither waits for the
other. A body takes its room before it is read on; where there is none, the slowest sender gives
way. Everything here runs in gevent's loop, so that nothing of it needs a lock, and nothing of it
may keep the loop for long.
"""

import contextlib
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import gevent

from lesion_lens.web.limits import (
    BODY_LIMIT,
    LARGE_BODIES,
    LEAST_SENT,
    MAX_CONTENT_LENGTH,
    MEGABYTE,
    SILENCE,
    SMALL_BODIES,
    SMALL_BODY,
)
from lesion_lens.web.uploads import NO_ROOM, WAITED

# Bytes that are read before others get their turn: of chunks at first, and of what is cheap.
_FIRST_STEP, _LARGEST_STEP = 128, 16_384
_CHEAP, _DEAR = 0.0005, 0.002  # seconds of a step, up to which the next is larger, or smaller
_SHARE = 5  # all bodies that are dear to read have one fifth of the loop together
_FREE = 32_768  # bytes of each body that need no room
_SLOW = 250_000  # bytes a second; a slower sender gives way to others after `_GRACE`
_GRACE = 1  # second
_PATIENCE = 2  # seconds that a body waits for room
# Seconds of the processor for reading a body, at first and for each megabyte. Chunks of one byte
# take 60 times as long.
_READING, _READING_A_MEGABYTE = 0.05, 0.05


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
    """A body that is read or worked on.

    Attributes:
        most: bytes that it has, or may have where it does not say.
        data: where it is read into.
        size: bytes that have come.
        room: bytes that it holds.
        since: when it got them.
        waited: seconds that it waited for them.
        work: seconds that the processor spent on reading it.
        is_whole: all of it has come.
        gave_way: it lost its room to another.
    """

    most: int
    data: "ReadOnce"
    size: int = 0
    room: int = 0
    since: float = field(default_factory=time.monotonic)
    waited: float = 0
    work: float = 0
    is_whole: bool = False
    gave_way: bool = False

    def rate(self) -> float:
        """Bytes a second since it got its room, infinite in the first `_GRACE`."""
        seconds = time.monotonic() - self.since
        return (self.size - _FREE) / seconds if seconds > _GRACE else float("inf")


class Bodies:
    """All bodies that are in memory.

    Args:
        largest: bytes of the largest body that the app takes.
    """

    def __init__(self, largest: int = MAX_CONTENT_LENGTH) -> None:
        self._largest = largest
        self._holders: list[_Body] = []
        self._dear_until = 0.0  # when the next step of a dear body may be read

    @contextlib.contextmanager
    def read(self, asked: dict[str, Any]) -> Iterator[bool]:
        """Read a request's body, and put it in the place of its stream for as long as this lasts.

        What is too large, or finds no room, is read away up to a bound, as a browser shows an
        answer only when it could send everything. The app then refuses it.

        Yields:
            Whether the body was read to its end.

        Raises:
            RequestRefused
            gunicorn.http.errors.ParseException: the chunks are spoiled.
        """
        declared = asked.get("CONTENT_LENGTH") or "0"
        is_chunked = "chunked" in asked.get("HTTP_TRANSFER_ENCODING", "").lower()
        if not is_chunked and declared == "0":
            yield True
            return
        length = None if is_chunked else int(declared)
        body = _Body(self._largest + 1 if length is None else length, ReadOnce())
        stream, asked["wsgi.input"] = asked["wsgi.input"], body.data
        try:
            first = _FIRST_STEP if is_chunked else _LARGEST_STEP
            has_room = body.most > 8 * self._largest or self._fill(stream, body, first)
            body.is_whole = body.size <= 8 * self._largest and body.most <= 8 * self._largest
            asked |= {
                NO_ROOM: not has_room,
                WAITED: body.waited,
                "CONTENT_LENGTH": str(body.size if length is None else length),
            }
            asked.pop("HTTP_TRANSFER_ENCODING", None)
            yield body.is_whole
        finally:
            if body in self._holders:
                self._holders.remove(body)

    def _fill(self, stream: Any, body: _Body, first: int) -> bool:
        """Read a body; returns False if nothing was kept because there is no room for it."""
        deadline = time.monotonic() + BODY_LIMIT
        has_room = True
        for step in self._steps(stream, body, first):
            body.size += len(step)
            if body.gave_way or time.monotonic() > deadline:
                raise _too_slow()
            if body.size > self._largest or body.most > self._largest + 1:
                body.data.clear()
                if body.size > 8 * self._largest:
                    break
            elif has_room and (has_room := self._has_room(body)):
                body.data.append(step)
            else:
                body.data.clear()
        if body.gave_way:  # after its last byte, but before its end was read
            raise _too_slow()
        return has_room

    def _has_room(self, body: _Body) -> bool:
        """Wait until there is room for a body; returns False if there is none for `_PATIENCE`."""
        needed = min(body.most, self._largest)
        if body.room or needed <= _FREE or body.size <= _FREE:
            return True
        is_small = needed <= SMALL_BODY
        begin = time.monotonic()
        while True:
            body.waited = time.monotonic() - begin
            same = [one for one in self._holders if (one.room <= SMALL_BODY) == is_small]
            if sum(one.room for one in same) + needed <= (
                SMALL_BODIES if is_small else LARGE_BODIES
            ):
                body.room, body.since = needed, time.monotonic()
                self._holders.append(body)
                return True
            slow = [one for one in same if not one.is_whole and one.rate() < _SLOW]
            if slow:
                slowest = min(slow, key=_Body.rate)
                self._holders.remove(slowest)
                slowest.gave_way = True  # which it sees when something comes of it again
                slowest.data.clear()
            elif body.waited > _PATIENCE:
                return False
            else:
                gevent.sleep(0.05)

    def _steps(self, stream: Any, body: _Body, size: int) -> Iterator[bytes]:
        """Yield a body as it comes, at least `LEAST_SENT` in `SILENCE`; others work between.

        Raises:
            RequestRefused: it comes too slowly, or in so small pieces that reading it is the work.
        """
        loop = gevent.get_hub().loop
        while True:
            got = 0
            with gevent.Timeout(SILENCE, _too_slow()):
                while got < LEAST_SENT:
                    now, begin = loop.now(), time.thread_time()
                    step: bytes = stream.read(size)
                    took = time.thread_time() - begin if loop.now() == now else 0  # others worked
                    if not step:
                        return
                    got += len(step)
                    yield step
                    body.work += took
                    if took > _DEAR:
                        size = max(16, size // 2)
                        self._dear_until = max(self._dear_until, time.monotonic()) + _SHARE * took
                        gevent.sleep(self._dear_until - time.monotonic())
                    else:
                        size = min(_LARGEST_STEP, 2 * size) if took < _CHEAP else size
                        gevent.sleep(0)
                    if body.work > _READING + _READING_A_MEGABYTE * body.size / MEGABYTE:
                        sentence = "The chunks of the request are too small."
                        raise RequestRefused("400 Bad Request", sentence)


class ReadOnce(io.RawIOBase):
    """A stream that lets go of its bytes when all of them are read."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._place = 0

    def append(self, step: bytes) -> None:
        """Add bytes at the end."""
        self._data += step

    def clear(self) -> None:
        """Forget what was added."""
        self._data = bytearray()

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill a buffer; returns the number of bytes, 0 at the end."""
        found = memoryview(self._data)[self._place : self._place + len(target)]
        count = len(found)
        target[:count] = found
        found.release()
        self._place += count
        if self._place == len(self._data):
            self._data, self._place = bytearray(), 0
        return count
