"""Schedules decoding in separate processes: which file is decoded when, and for how long.

Untrusted files are decoded in separate processes (decoder.py), so that a crash does not reach the
server. At most `MAX_DECODES` files are decoded at once, in at most `DECODE_MEMORY` bytes together.
A large image waits for another large one; a small one waits for neither. The request that has used
the least decoding time goes first. A decode that takes longer than `SLICE` gets a lower priority.
If such decodes hold all the places and another file waits, the one that began last is stopped and
restarted later. So files made to take long wait for each other, and barely delay ordinary files.

We do not use `ProcessPoolExecutor` or loky's pool because they fail all running tasks when one of
their processes is killed. Pebble's pool survives its own time-outs, but not a kill from outside
(5.2: after one `kill -9`, every task ends with 'Unexpected error within the Pool'). None of the
three can stop a task and restart it later, or grant memory to a running task.
"""

import contextlib
import functools
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lesion_lens.model.decoder import PREVIEW_SIDE, DecodedImage
from lesion_lens.model.decoder_processes import (
    Decoder,
    DecoderDied,
    DecoderStarter,
    DecoderWasDead,
    NoMemoryNow,
)
from lesion_lens.model.errors import (
    Busy,
    EmptyImage,
    ImageError,
    ImageTooCostly,
    LesionLensError,
)
from lesion_lens.model.events import watcher
from lesion_lens.model.limits import (
    ANSWER_LIMIT,
    CPU_LIMIT,
    DECODE_MEMORY,
    MAX_DECODES,
    MEGA,
    OPENING_MEMORY,
    WALL_LIMIT,
)
from lesion_lens.model.process_limits import processor_time

SLICE = 0.4  # seconds; ordinary photographs take 0.01 to 0.3
FOR_SMALL = 28 * MEGA  # bytes reserved for images that need no more than this
_PATIENCE = 1  # second for which a large image lets small ones go first
_TICK = 0.05  # seconds between checks of the running jobs


class ClientGone(LesionLensError):
    """The client has closed the connection and no longer waits for the answer."""

    def __init__(self) -> None:
        super().__init__("The client has gone.")


class _AnotherTurn(Exception):
    """The job's turn ended without an image. It needs another turn."""


# The error for each reason to stop a job.
_ERRORS: dict[str, type[Exception]] = {
    "again": _AnotherTurn,
    "costly": ImageTooCostly,
    "busy": Busy,
    "gone": ClientGone,
}


@dataclass
class Requester:
    """The request or command whose images are decoded.

    Attributes:
        has_gone: says whether the client has stopped waiting for the answer.
        waited: seconds that it had already waited when it asked.
        decoding: seconds of decoding that its images have taken so far.
    """

    has_gone: Callable[[], bool] = lambda: False
    waited: float = 0
    decoding: float = 0


@dataclass(eq=False)
class _Job:
    requester: Requester
    memory: int  # bytes
    number: int  # in the order of arrival
    arrived: float = field(default_factory=time.monotonic)
    begun: float = 0  # when its turn came
    decoder: Decoder | None = None
    worked_before: float | None = None  # processor seconds that its decoder took for earlier files
    was_long: bool = False  # it has had a turn longer than `SLICE`
    deaths: int = 0  # decoders that died on it for unknown reasons
    fate: str = ""  # a key of `_ERRORS` once it is stopped

    @property
    def rank(self) -> tuple[float, int]:
        return self.requester.decoding, self.number

    def ran(self) -> float:
        """Seconds since its turn came."""
        return time.monotonic() - self.begun

    def worked(self) -> float:
        """Processor seconds in its turn; if they cannot be read, seconds since its turn came."""
        now = processor_time(self.decoder.pid) if self.decoder else None
        return self.ran() if now is None or self.worked_before is None else now - self.worked_before

    def waited(self) -> float:
        """Seconds since it arrived, plus those that its requester had waited before."""
        return time.monotonic() - self.arrived + self.requester.waited


class DecoderPool:
    """Decodes files for many threads. It starts its processes when they are first needed.

    Args:
        places: how many files are decoded at once.
        memory: bytes that they may take together.
        answer_limit: seconds after which a file that is not yet decoded is given up.
    """

    def __init__(
        self,
        places: int = MAX_DECODES,
        memory: int = DECODE_MEMORY,
        answer_limit: float = ANSWER_LIMIT,
    ) -> None:
        self._places, self._memory, self._answer_limit = places, memory, answer_limit
        self._starter = DecoderStarter()
        self._idle: list[Decoder] = []
        self._waiting: list[_Job] = []
        self._running: list[_Job] = []
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._watch: threading.Thread | None = None

    def prepare(self) -> None:
        """Start the process that starts decoders, without waiting for it."""
        self._starter.prepare()

    def decode(
        self,
        data: bytes,
        with_preview: bool = False,
        requester: Requester | None = None,
        preview_side: int = PREVIEW_SIDE,
    ) -> DecodedImage:
        """Decode an untrusted file.

        Args:
            data: the file.
            with_preview: whether to make a preview.
            requester: the request or command that the file belongs to.
            preview_side: the preview's longest side, at most; up to `PREVIEW_SIDE` pixels.

        Raises:
            ImageError: the file cannot be used; see `read_image`.
            Busy: the file was not decoded in time, for reasons other than its own cost.
            ClientGone
        """
        if not data:
            raise EmptyImage
        job = _Job(requester or Requester(), len(data) + OPENING_MEMORY, next(self._numbers))
        if job.requester.has_gone():
            raise ClientGone
        if job.memory > self._most():
            raise ImageTooCostly
        while True:
            with contextlib.suppress(_AnotherTurn), self._turn(job):
                return self._decode(job, data, with_preview, preview_side)

    @contextlib.contextmanager
    def _turn(self, job: _Job) -> Iterator[None]:
        """Wait for a turn and hold it. If the job is stopped first, raise the error for that."""
        with self._changed:
            job.fate = ""
            self._waiting.append(job)
            self._start_watch()
            self._hand_out()
        try:
            with self._changed:
                self._changed.wait_for(lambda: job in self._running or job.fate)
            if job.fate:
                raise _ERRORS[job.fate]()
            yield
        finally:
            with self._changed:
                if job in self._waiting:  # the thread was interrupted
                    self._waiting.remove(job)
                if job in self._running:
                    self._running.remove(job)
                    job.requester.decoding += job.ran()
                self._hand_out()

    def _decode(
        self, job: _Job, data: bytes, with_preview: bool, preview_side: int
    ) -> DecodedImage:
        """Decode during a turn.

        Raises:
            _AnotherTurn: the job was stopped, or there was too little memory.
        """
        decoder = self._decoder_for(job)
        may_take = functools.partial(self._may_take, job, len(data))
        is_fit = False
        try:
            image = decoder.decode(data, with_preview, may_take, preview_side)
            is_fit = True
            return image
        except ImageError:
            is_fit = True
            raise
        except NoMemoryNow:
            is_fit = True
            raise (_ERRORS[job.fate] if job.fate else _AnotherTurn)() from None
        except DecoderWasDead:
            raise _ERRORS[job.fate or "again"]() from None
        except DecoderDied:
            # If we did not stop the decoder, a library crashed, the kernel ran out of memory, or
            # it was killed before this turn. Retry, at most once for each decoder of the pool.
            job.deaths += 1
            may_be_dead = job.deaths <= self._places
            raise _ERRORS[job.fate or ("again" if may_be_dead else "costly")]() from None
        finally:
            self._give_back(job, decoder, is_fit)

    def _decoder_for(self, job: _Job) -> Decoder:
        with self._changed:
            decoder = self._idle.pop() if self._idle else None
        try:
            decoder = decoder or self._starter.start()
        except OSError as error:  # too many open files, or no memory for a process
            logging.getLogger(__name__).error("No image can be decoded: %s", error)
            raise Busy from error
        with self._changed:
            job.decoder = decoder
            job.begun = time.monotonic()  # starting the first decoder takes longer than `SLICE`
            is_stopped = bool(job.fate)
        if is_stopped:  # while its decoder was starting
            decoder.kill()
        return decoder

    def _give_back(self, job: _Job, decoder: Decoder, is_fit: bool) -> None:
        with self._changed:
            job.decoder = None
            if is_fit and decoder.stays and not decoder.is_slowed and not job.fate:
                self._idle.append(decoder)
                return
            why = job.fate or ("" if is_fit else "died")
        decoder.close()
        if why:
            watcher().decoder_stopped(why)

    def _may_take(self, job: _Job, file_size: int, needed: int) -> bool:
        """Whether a running job may take more memory. If not, the job needs another turn."""
        with self._changed:
            job.memory = file_size + OPENING_MEMORY + needed
            if job.memory > self._most():
                job.fate = "costly"
            return not job.fate and self._fits(job)

    def _most(self) -> int:
        """The most bytes that one job, or all large jobs together, may take."""
        return self._memory - FOR_SMALL

    def _fits(self, job: _Job) -> bool:
        """Whether there is memory for a job beside the running ones."""
        others = sum(other.memory for other in self._running if other is not job)
        return others + job.memory <= self._memory and self._fits_beside_large(job)

    def _fits_beside_large(self, job: _Job) -> bool:
        """Whether there would be memory for a job if no small job were running."""
        others = (other.memory for other in self._running if other is not job)
        large = sum(memory for memory in others if memory > FOR_SMALL)
        return job.memory <= FOR_SMALL or large + job.memory <= self._most()

    def _hand_out(self) -> None:
        """Give the free places to waiting jobs. Call this with the lock held."""
        for job in sorted(self._waiting, key=lambda job: job.rank):
            if len(self._running) < self._places and self._fits(job):
                self._waiting.remove(job)
                self._running.append(job)
                job.begun, job.worked_before = time.monotonic(), None
            elif job.waited() > _PATIENCE and self._fits_beside_large(job):
                break  # or smaller jobs after it would keep taking its memory
        watcher().queue_changed(len(self._waiting), len(self._running))
        self._changed.notify_all()

    def _start_watch(self) -> None:
        if self._watch is None or not self._watch.is_alive():
            self._watch = threading.Thread(target=self._keep_watch, daemon=True)
            self._watch.start()

    def _keep_watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._running)
                self._look_at_waiting()
                stopped = self._look_at_running()
            for decoder in stopped:  # without the lock, because this may take a while
                decoder.kill()
            time.sleep(_TICK)

    def _look_at_waiting(self) -> None:
        for job in list(self._waiting):
            if job.requester.has_gone():
                job.fate = "gone"
            elif job.waited() > self._answer_limit:
                job.fate = "busy"
            if job.fate:
                self._waiting.remove(job)
        self._hand_out()

    def _look_at_running(self) -> list[Decoder]:
        """Decide which jobs to stop, and return their decoders, which the caller must kill."""
        fates = {}
        for job in self._running:
            if job.fate:
                continue
            if job.worked_before is None and job.decoder is not None:
                # Read it only here, up to a tick late: most jobs end before the first check.
                job.worked_before = processor_time(job.decoder.pid)
            if job.requester.has_gone():
                fates[job] = "gone"
            elif job.decoder is not None and job.ran() > WALL_LIMIT:
                fates[job] = "costly" if job.worked() > CPU_LIMIT / 3 else "busy"
            elif job.waited() > self._answer_limit:
                fates[job] = "busy"
            elif job.decoder is not None and job.ran() > SLICE and not job.was_long:
                job.was_long = True
                job.decoder.slow_down()
        long = [
            job
            for job in self._running
            if job.decoder is not None and job.ran() > SLICE and not job.fate and job not in fates
        ]
        if len(long) == self._places and not all(job.was_long for job in self._waiting):
            fates[max(long, key=lambda job: job.begun)] = "again"
        for job, fate in fates.items():
            job.fate = fate
        return [job.decoder for job in fates if job.decoder is not None]


_POOL = DecoderPool()
decode = _POOL.decode
prepare = _POOL.prepare
