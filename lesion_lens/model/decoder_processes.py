"""Starts, uses and stops the processes that decode (decoder.py).

A small process that has already imported what they need forks them, in a few milliseconds. Without
fork (Windows), each is started separately. Decoders are not forked from this process because
TensorFlow would not survive that, and they do not import its main module.
"""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import IO, Any, cast

import numpy as np

from lesion_lens import ROOT
from lesion_lens.model import decoder as protocol
from lesion_lens.model.decoder import PREVIEW_SIDE, DecodedImage
from lesion_lens.model.errors import ImageError
from lesion_lens.model.limits import MAX_SIDE
from skin_cancer_detection import SIDE

CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds")


class DecoderDied(Exception):
    """A decoder ended before it answered: it was killed, or the file crashed it."""


class DecoderWasDead(DecoderDied):
    """A decoder had ended before it received the file."""


class NoMemoryNow(Exception):
    """The decoder was refused the memory that it asked for. It is ready for the next file."""


class Decoder:
    """One process that decodes.

    Args:
        connection: to the process.
        end: ends the process, even if it has already ended. Call it once.
        pid: of the process.
    """

    def __init__(
        self, connection: "Connection[Any, Any]", end: Callable[[], None], pid: int
    ) -> None:
        self._connection, self._end, self.pid = connection, end, pid
        self._lock, self._has_ended = threading.Lock(), False
        self.is_slowed = False
        self.stays = True  # whether it takes another file

    def decode(
        self,
        data: bytes,
        with_preview: bool,
        may_take: Callable[[int], bool],
        preview_side: int = PREVIEW_SIDE,
    ) -> DecodedImage:
        """Decode a file.

        Args:
            data: the file.
            with_preview: whether to make a preview.
            may_take: says whether the decoder may take a given number of further bytes.
            preview_side: the preview's longest side, at most; up to `PREVIEW_SIDE` pixels.

        Raises:
            ImageError: the file cannot be used.
            NoMemoryNow, DecoderWasDead, DecoderDied
        """
        order = protocol.DECODE
        if with_preview:
            order = protocol.DECODE_WITH_PREVIEW + protocol.LONGEST_SIDE.pack(preview_side)
        try:
            self._connection.send_bytes(order)
        except OSError as error:
            raise DecoderWasDead from error
        try:
            self._connection.send_bytes(data)
            reply = self._connection.recv_bytes(_LARGEST_REPLY)
            if reply[:1] == protocol.RESERVE:
                granted = may_take(protocol.MEMORY.unpack(reply[1:])[0])
                self._connection.send_bytes(protocol.GRANTED if granted else protocol.REFUSED)
                reply = self._connection.recv_bytes(_LARGEST_REPLY)
        except (EOFError, OSError, protocol.struct.error) as error:
            raise DecoderDied from error
        self.stays = reply[:1] == protocol.STAYS
        return _read(reply[1:])

    def slow_down(self) -> None:
        """Lower the process's priority. This is permanent: only the superuser can raise it."""
        self.is_slowed = True
        with contextlib.suppress(OSError, AttributeError):  # it has ended, or this is Windows
            os.setpriority(os.PRIO_PROCESS, self.pid, 10)

    def kill(self) -> None:
        """End the process. A thread that waits in `decode` gets `DecoderDied`."""
        with self._lock:  # only once: later, another process may have its number
            if not self._has_ended:
                self._has_ended = True
                self._end()

    def close(self) -> None:
        """End the process and close its connection. Call this only when no thread waits for it."""
        self.kill()
        self._connection.close()


_LARGEST_REPLY = 4_000_000  # bytes; a preview of noise takes 400,000
_LARGEST_ERROR = 1000


def _read(reply: bytes) -> DecodedImage:
    """Parse a decoder's reply, without trusting it.

    Raises:
        ImageError, NoMemoryNow
        DecoderDied: the reply is invalid, so the decoder can no longer be trusted.
    """
    kind, rest = reply[:1], reply[1:]
    if kind == protocol.NOT_NOW:
        raise NoMemoryNow
    try:
        if kind == protocol.ERROR:
            said = json.loads(rest[:_LARGEST_ERROR])
            raise _IMAGE_ERRORS[said["name"]](**said["values"])
        *full_size, width, height = protocol.HEAD.unpack_from(rest)
        pixels = np.frombuffer(rest, np.uint8, protocol.PIXELS, protocol.HEAD.size)
    except (ValueError, KeyError, TypeError, RecursionError, protocol.struct.error) as error:
        raise DecoderDied from error
    preview = rest[protocol.HEAD.size + protocol.PIXELS :]
    if kind != protocol.IMAGE or max(width, height) > PREVIEW_SIDE or max(full_size) > MAX_SIDE:
        raise DecoderDied
    pixels = pixels.reshape(SIDE, SIDE, 3)
    size = (full_size[0], full_size[1])
    if not preview:
        return DecodedImage(pixels, size)
    return DecodedImage(pixels, size, preview, (width, height))


_IMAGE_ERRORS = {kind.name: kind for kind in ImageError.__subclasses__()}


class DecoderStarter:
    """Starts decoders. All threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forker: _Forker | None = None

    def prepare(self) -> None:
        """Start the process that forks, without waiting for it."""
        if CAN_FORK:
            self._current()

    def start(self) -> Decoder:
        """Start a decoder.

        Raises:
            OSError: no process can be started.
        """
        if not CAN_FORK:
            return _spawned()
        for _ in range(2):  # retry once if it has died
            forker = self._current()
            with contextlib.suppress(ConnectionResetError):
                return forker.fork()
            self._give_up(forker)
        raise OSError("The process that decodes images cannot be started.")

    def _current(self) -> "_Forker":
        with self._lock:
            if self._forker is None:
                self._forker = _Forker()
            return self._forker

    def _give_up(self, forker: "_Forker") -> None:
        with self._lock:
            if self._forker is forker:
                self._forker = None
        forker.end()


class _Forker:
    """The process that forks decoders.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(_LONGEST_START)
        with theirs:
            theirs.set_inheritable(True)
            self._process = _python("fork", str(theirs.fileno()), pass_fds=[theirs.fileno()])

    def fork(self) -> Decoder:
        """Fork a decoder.

        Raises:
            ConnectionResetError: the process has died or does not answer.
            OSError: there are too many open files.
        """
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as if_it_fails, theirs:
            if_it_fails.enter_context(ours)
            # Before the fork, because a failure after it would leave a process behind.
            connection = if_it_fails.enter_context(Connection(os.dup(ours.fileno())))
            pid = self._order(protocol.FORK, 0, [theirs.fileno()])
            if_it_fails.pop_all()
        return Decoder(connection, lambda: self._kill(pid, ours), pid)

    def _kill(self, pid: int, connection: socket.socket) -> None:
        """End a decoder. Even if the forker cannot, the decoder ends after its current file."""
        with connection, contextlib.suppress(OSError):
            try:
                self._order(protocol.KILL, pid, [])
            finally:
                connection.shutdown(socket.SHUT_RDWR)

    def _order(self, order: bytes, process: int, descriptors: list[int]) -> int:
        """Give an order and wait for the answer.

        Raises:
            ConnectionResetError: no answer came. Do not use the forker again: a late answer would
                be taken for the answer to the next order.
        """
        with self._lock:
            is_done = False
            try:
                message = protocol.ORDER.pack(order, process)
                socket.send_fds(self._channel, [message], descriptors)
                answer = self._channel.recv(protocol.ORDER.size, socket.MSG_WAITALL)
                _, process = protocol.ORDER.unpack(answer)
                self._channel.settimeout(_LONGEST_ANSWER)  # shorter, now that it has started
                is_done = True
            except (OSError, protocol.struct.error) as error:  # also if it was already closed
                raise ConnectionResetError("The process that forks does not answer.") from error
            finally:
                if not is_done:  # also after an interruption
                    self._channel.close()
        return process

    def end(self) -> None:
        """End the process. Its decoders end when their connections are closed."""
        with self._lock:
            self._channel.close()
        self._process.kill()
        self._process.wait()


_LONGEST_START = 20  # seconds; a third of a second on an idle machine
_LONGEST_ANSWER = 2  # seconds; a fork takes a few milliseconds


def _spawned() -> Decoder:
    """Start a decoder without the process that forks.

    Raises:
        OSError: it does not start.
    """
    key = secrets.token_bytes(32)
    with Listener(authkey=key) as listener:
        process = _python("connect", str(listener.address), stdin=subprocess.PIPE)
        waker = threading.Thread(target=_stop_waiting, args=(process, listener.address))
        waker.daemon = True
        waker.start()
        try:
            with cast(IO[bytes], process.stdin) as stdin:
                stdin.write(key)
            return Decoder(listener.accept(), process.kill, process.pid)
        except (OSError, EOFError, AuthenticationError) as error:
            process.kill()
            raise OSError("The process that decodes images cannot be started.") from error


def _stop_waiting(process: "subprocess.Popen[bytes]", address: Any) -> None:
    """End `accept` by connecting, if the process has ended or takes too long to connect.

    If the process has connected, the listener is closed and this has no effect.
    """
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_LONGEST_START)
    with contextlib.suppress(OSError):
        Client(address).close()


def _python(way: str, place: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Start decoder.py as a program in the repository's folder, so nothing shadows its imports."""
    return subprocess.Popen(  # noqa: S603 (our own interpreter and our own module)
        [sys.executable, "-m", protocol.__name__, way, place],
        cwd=ROOT,
        env=_environment(),
        stdout=subprocess.DEVNULL,
        **{"stdin": subprocess.DEVNULL, **options},
    )


def _environment() -> dict[str, str]:
    """Our environment, changed so that decoders find this package."""
    environment = os.environ | _ENVIRONMENT
    environment.pop("PYTHONSAFEPATH", None)
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), environment.get("PYTHONPATH")])
    )
    return environment


# A decoder does not need NumPy's threads or glibc's arenas for them, which take address space.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
