"""Request bodies that lose their room to others."""

import gevent
import gevent.event

from lesion_lens.web import bodies
from lesion_lens.web.bodies import Bodies, RequestRefused
from lesion_lens.web.limits import MEGABYTE, SMALL_BODIES


class SlowEnd:
    """A stream that gives all data in one step, and ends when it is told to."""

    def __init__(self, data):
        self._steps, self.may_end = [data], gevent.event.Event()

    def read(self, _):
        if self._steps:
            return self._steps.pop()
        self.may_end.wait()
        return b""


def asked(stream):
    return {"wsgi.input": stream, "HTTP_TRANSFER_ENCODING": "chunked"}


def test_a_body_that_lost_its_room_before_its_end_is_too_slow(monkeypatch):
    monkeypatch.setattr(bodies, "_GRACE", 0)
    monkeypatch.setattr(bodies, "_SLOW", float("inf"))
    largest = MEGABYTE  # twelve of them take all the room
    room, data = Bodies(largest), bytes(100_000)
    ends = [SlowEnd(data) for _ in range(SMALL_BODIES // largest + 1)]

    def read(stream):
        with room.read(asked(stream)) as is_whole:
            return is_whole

    begun = []
    for stream in ends:
        begun.append(gevent.spawn(read, stream))
        gevent.sleep(0.01)
    for stream in ends:
        stream.may_end.set()
    gevent.joinall(begun)
    refused = [one.exception for one in begun if one.exception]
    assert len(refused) == 1
    assert isinstance(refused[0], RequestRefused)
    assert refused[0].status.startswith("408")
    assert begun[-1].value is True
