"""Starting, asking and stopping the processes that decode (decoder.py).

They are forked by a small process that has imported what they need, which takes some milliseconds;
where there is no fork (Windows), each is started by itself. None of them is a copy of this process,
whose TensorFlow would not survive a fork, and none imports its main module.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, Listener
from typing import IO, Any, cast

import numpy as np

from lesion_lens import ROOT
from lesion_lens.model import decoder as protocol
from lesion_lens.model.decoder import PREVIEW_SIDE, DecodedImage
from lesion_lens.model.errors import ImageError
from skin_cancer_detection import SIDE

CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds")


class DecoderDied(Exception):
    """A decoder that ended before it answered: it was killed, or what it decoded crashed it."""


class NoMemoryNow(Exception):
    """The decoder was not granted the memory that it asked for, and waits for the next file."""


class Decoder:
    """One process that decodes.

    Args:
        connection: to it.
        kill: ends it, also where it has ended already; to be called once.
        pid: of the process.
    """

    def __init__(self, connection: "Connection[Any, Any]", kill: Callable[[], None], pid: int):
        self._connection, self._kill, self.pid = connection, kill, pid
        self.is_slowed = False
        self.stays = True  # whether it takes another file

    def decode(
        self, data: bytes, with_preview: bool, may_take: Callable[[int], bool]
    ) -> DecodedImage:
        """Decode a file.

        Args:
            data: the file.
            with_preview: whether to make a preview.
            may_take: says whether the decoder may take so many bytes more.

        Raises:
            ImageError: the file cannot be used.
            NoMemoryNow, DecoderDied
        """
        order = protocol.DECODE_WITH_PREVIEW if with_preview else protocol.DECODE
        try:
            self._connection.send_bytes(order)
            self._connection.send_bytes(data)
            reply = self._connection.recv_bytes(_LARGEST_REPLY)
            if reply[:1] == protocol.RESERVE:
                granted = may_take(protocol.MEMORY.unpack(reply[1:])[0])
                self._connection.send_bytes(protocol.GRANTED if granted else protocol.REFUSED)
                reply = self._connection.recv_bytes(_LARGEST_REPLY)
        except (EOFError, OSError) as error:
            raise DecoderDied from error
        self.stays = reply[:1] == protocol.STAYS
        return _read(reply[1:])

    def slow_down(self) -> None:
        """Leave the processor to others; for good, as only the superuser can undo it."""
        self.is_slowed = True
        with contextlib.suppress(OSError, AttributeError):  # it has ended, or this is Windows
            os.setpriority(os.PRIO_PROCESS, self.pid, 10)

    def kill(self) -> None:
        """End the process; whoever waits in `decode` gets `DecoderDied`."""
        self._kill()

    def close(self) -> None:
        """End the process when nobody waits for it, and forget it."""
        self._kill()
        self._connection.close()


_LARGEST_REPLY = 4_000_000  # bytes; a preview of noise has 400,000


def _read(reply: bytes) -> DecodedImage:
    """Make of a decoder's reply what it says, trusting nothing of it.

    Raises:
        ImageError, NoMemoryNow
        DecoderDied: the reply is none, so the decoder is no longer what was started.
    """
    kind, rest = reply[:1], reply[1:]
    if kind == protocol.NOT_NOW:
        raise NoMemoryNow
    try:
        if kind == protocol.ERROR:
            said = json.loads(rest)
            raise _IMAGE_ERRORS[said["name"]](**said["values"])
        width, height = protocol.HEAD.unpack_from(rest)
        pixels = np.frombuffer(rest, np.uint8, protocol.PIXELS, protocol.HEAD.size)
    except (ValueError, KeyError, TypeError, protocol.struct.error) as error:
        raise DecoderDied from error
    preview = rest[protocol.HEAD.size + protocol.PIXELS :]
    if kind != protocol.IMAGE or max(width, height) > PREVIEW_SIDE:
        raise DecoderDied
    pixels = pixels.reshape(SIDE, SIDE, 3)
    return DecodedImage(pixels, preview, (width, height)) if preview else DecodedImage(pixels)


_IMAGE_ERRORS = {kind.name: kind for kind in ImageError.__subclasses__()}


class DecoderStarter:
    """Starts decoders. To be shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None

    def prepare(self) -> None:
        """Begin to start, without waiting, the process that forks."""
        if CAN_FORK:
            with self._lock:
                self._open_channel()

    def start(self) -> Decoder:
        """Start a decoder.

        Raises:
            OSError: no process can be started.
        """
        return self._forked() if CAN_FORK else _spawned()

    def _forked(self) -> Decoder:
        ours, theirs = socket.socketpair()
        with theirs:
            pid = self._order(protocol.FORK, 0, [theirs.fileno()])
        kill = _once(lambda: self._order(protocol.KILL, pid, []))
        return Decoder(Connection(ours.detach()), kill, pid)

    def _order(self, order: bytes, process: int, descriptors: list[int]) -> int:
        """Give the process that forks an order, once more if it has died; returns its answer."""
        with self._lock:
            for _ in range(2):
                channel = self._open_channel()
                with contextlib.suppress(OSError):
                    message = protocol.ORDER.pack(order, process)
                    socket.send_fds(channel, [message], descriptors)
                    if answer := channel.recv(protocol.ORDER.size, socket.MSG_WAITALL):
                        return int(protocol.ORDER.unpack(answer)[1])
                channel.close()
                self._channel = None
                if order == protocol.KILL:  # the decoders of a dead one are not its successor's
                    with contextlib.suppress(OSError):
                        os.kill(process, signal.SIGKILL)
                    return process
        raise OSError("The process that decodes images cannot be started.")

    def _open_channel(self) -> socket.socket:
        if self._channel is None:
            self._channel, theirs = socket.socketpair()
            with theirs:
                theirs.set_inheritable(True)
                _python("fork", str(theirs.fileno()), pass_fds=[theirs.fileno()])
        return self._channel


def _spawned() -> Decoder:
    """Start a decoder by itself."""
    key = secrets.token_bytes(32)
    with Listener(authkey=key) as listener:
        address = listener.address if isinstance(listener.address, str) else listener.address[1]
        process = _python("connect", str(address), stdin=subprocess.PIPE)
        with cast(IO[bytes], process.stdin) as stdin:
            stdin.write(key)
        return Decoder(listener.accept(), _once(process.kill), process.pid)


def _python(way: str, place: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Start decoder.py as a program, in its own folder, so that nothing shadows what it imports."""
    return subprocess.Popen(  # noqa: S603 (our own interpreter and our own module)
        [sys.executable, "-m", protocol.__name__, way, place],
        cwd=ROOT,
        env=os.environ | _ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        **{"stdin": subprocess.DEVNULL, **options},
    )


# NumPy's threads and glibc's arenas for them would take address space, and nothing needs them.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


def _once(kill: Callable[[], Any]) -> Callable[[], None]:
    """Make a `kill` that works once: later, the process's number may be another process's."""
    lock, done = threading.Lock(), False

    def kill_once() -> None:
        nonlocal done
        with lock:
            if not done:
                done = True
                kill()

    return kill_once
