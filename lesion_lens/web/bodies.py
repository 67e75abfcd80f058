"""Reading request bodies from clients that may send slowly or not at all.

The app works on a body only when all of it is in memory, and each body must arrive at a minimum
rate. Small and large bodies have separate memory budgets, so neither waits for the other. Beyond
its first bytes, a body must reserve its memory ("room") before reading continues; if there is none,
the slowest sender gives way. Everything here runs in gevent's loop. So it needs no locks, but it
must not hold up the loop for long.
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

# Bytes to read before other greenlets get their turn: first step of a chunked body, largest step.
_FIRST_STEP, _LARGEST_STEP = 128, 16_384
_CHEAP, _DEAR = 0.0005, 0.002  # seconds; a faster step makes the next larger, a slower one smaller
_SHARE = 5  # all bodies that are expensive to read together get one fifth of the loop's time
_FREE = 32_768  # bytes of each body that need no room
_SLOW = 250_000  # bytes per second; after `_GRACE`, a slower sender gives way to others
_GRACE = 1  # second
_PATIENCE = 2  # seconds that a body waits for room
# CPU seconds allowed for reading a body: a base, and for each megabyte. Chunks of one byte take 60
# times as long.
_READING, _READING_A_MEGABYTE = 0.05, 0.05


class RequestRefused(Exception):
    """A request whose body is not read to its end; the text is for the sender.

    Args:
        status: of the answer, such as `408 Request Timeout`.
        text: a sentence.
    """

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


def _too_slow() -> RequestRefused:
    return RequestRefused("408 Request Timeout", "The request came too slowly. Send it again.")


@dataclass(eq=False)
class _Body:
    """A body that is being read or processed.

    Attributes:
        most: its size in bytes or, if not declared, the most that it may have.
        data: where it is stored.
        size: bytes received so far.
        room: bytes of memory reserved for it.
        since: when it got its room.
        waited: seconds that it waited for its room.
        work: CPU seconds spent on reading it.
        is_whole: whether all of it has arrived.
        gave_way: whether it lost its room to another body.
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
        """Bytes per second since it got its room; infinite during the first `_GRACE`."""
        seconds = time.monotonic() - self.since
        return (self.size - _FREE) / seconds if seconds > _GRACE else float("inf")


class Bodies:
    """All request bodies in memory.

    Args:
        largest: bytes of the largest body that the app accepts.
    """

    def __init__(self, largest: int = MAX_CONTENT_LENGTH) -> None:
        self._largest = largest
        self._holders: list[_Body] = []
        self._dear_until = 0.0  # when the next step of an expensive body may be read

    @contextlib.contextmanager
    def read(self, asked: dict[str, Any]) -> Iterator[bool]:
        """Read a request's body, and replace the request's stream with it inside the block.

        A body that is too large or finds no room is read and discarded, up to a limit, because a
        browser shows an answer only after it has sent everything. The app then refuses it.

        Yields:
            Whether the body was read to its end.

        Raises:
            RequestRefused
            gunicorn.http.errors.ParseException: the chunks are malformed.
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
        """Read a body; return False if it was discarded because there is no room for it."""
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
        if body.gave_way:  # after its last byte came, but before its end was read
            raise _too_slow()
        return has_room

    def _has_room(self, body: _Body) -> bool:
        """Wait for room for a body; return False if there is none within `_PATIENCE`."""
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
                slowest.gave_way = True  # noticed when its next bytes arrive
                slowest.data.clear()
            elif body.waited > _PATIENCE:
                return False
            else:
                gevent.sleep(0.05)

    def _steps(self, stream: Any, body: _Body, size: int) -> Iterator[bytes]:
        """Yield a body as it arrives, at least `LEAST_SENT` bytes in `SILENCE` seconds.

        Other greenlets get their turn between the steps.

        Raises:
            RequestRefused: it arrives too slowly, or in such small pieces that reading takes too
                much CPU time.
        """
        loop = gevent.get_hub().loop
        while True:
            got = 0
            with gevent.Timeout(SILENCE, _too_slow()):
                while got < LEAST_SENT:
                    now, begin = loop.now(), time.thread_time()
                    step: bytes = stream.read(size)
                    took = time.thread_time() - begin if loop.now() == now else 0  # else others ran
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
    """A stream that frees its bytes once all of them are read."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._place = 0

    def append(self, step: bytes) -> None:
        """Add bytes at the end."""
        self._data += step

    def clear(self) -> None:
        """Discard all bytes."""
        self._data = bytearray()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill a buffer; return the number of bytes, 0 at the end."""
        found = memoryview(self._data)[self._place : self._place + len(target)]
        count = len(found)
        target[:count] = found
        found.release()
        self._place += count
        if self._place == len(self._data):
            self._data, self._place = bytearray(), 0
        return count
