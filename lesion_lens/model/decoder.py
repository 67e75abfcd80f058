"""The process that decodes untrusted files. It uses Pillow, pydicom and NumPy, but no model.

    python -m lesion_lens.model.decoder fork DESCRIPTOR       forks a decoder whenever told to
    python -m lesion_lens.model.decoder connect ADDRESS       runs one decoder, if there is no fork

decoder_processes.py starts it. A decoder takes one file after another. The kernel limits its memory
and its processor time, and stops it from writing to files. Its reply is small and plain: 28×28
pixels, the image's size, a preview and its size, or the name of an error. The server does not
unpickle the reply.
"""

import contextlib
import gc
import io
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesion_lens.model.dicom import load_reader
from lesion_lens.model.errors import ImageError, ImageTooCostly
from lesion_lens.model.images import read_sized
from lesion_lens.model.limits import CPU_LIMIT, HAS_DICOM, MEGA, OPENING_MEMORY, SMALL_IMAGE
from lesion_lens.model.process_limits import (
    address_space,
    anonymous_memory,
    be_quiet,
    lift_limits,
    limit_for_good,
    limit_memory,
    limit_processor,
    return_freed_memory,
)
from skin_cancer_detection import SIDE, preprocess

PREVIEW_SIDE = 600  # pixels, as wide as the originals of HAM10000
# Pixels. A table shows 96, and phones and many other screens use two physical pixels for each.
THUMBNAIL_SIDE = 192

# The first byte of each message. To a decoder: whether to make a preview, then the file.
DECODE, DECODE_WITH_PREVIEW = b"d", b"p"
LONGEST_SIDE = struct.Struct("!H")  # after DECODE_WITH_PREVIEW: pixels
GRANTED, REFUSED = b"y", b"n"
# From a decoder.
RESERVE, IMAGE, ERROR, NOT_NOW = b"r", b"i", b"e", b"w"
STAYS, LEAVES = b"+", b"-"  # before all but RESERVE: whether it takes another file
MEMORY = struct.Struct("!Q")  # after RESERVE: bytes
# After IMAGE: width and height of the file's image and of the preview, then pixels and preview.
HEAD = struct.Struct("!HHHH")
PIXELS = SIDE * SIDE * 3
# Between decoder_processes.py and the process that forks: an order and a process.
FORK, KILL = b"f", b"k"
ORDER = struct.Struct("!ci")

_MOST_KEPT = 8 * MEGA  # bytes more than at the start; a decoder that holds more is replaced


@dataclass(frozen=True)
class DecodedImage:
    """What remains of an uploaded file after decoding.

    Attributes:
        pixels: (28, 28, 3), RGB, 0–255, as the network takes them.
        full_size: (width, height) of the file's image in pixels, upright.
        preview: an upright JPEG without metadata from the upload, with sides of at most
            `PREVIEW_SIDE` pixels or the requested number; None if no preview was requested.
        size: (width, height) of the preview in pixels; None without a preview.
    """

    pixels: NDArray[np.uint8]
    full_size: tuple[int, int]
    preview: bytes | None = None
    size: tuple[int, int] | None = None


class _NotNow(BaseException):
    """There is no memory for this image now. Not an Exception, because decoders catch those."""


def main() -> None:
    """Run one of the two commands in the module's docstring."""
    with contextlib.suppress(KeyboardInterrupt):
        way, place = sys.argv[1:]
        if way == "fork":
            fork_when_told(socket.socket(fileno=int(place)))
        else:
            with contextlib.suppress(EOFError, OSError):  # the server has gone
                connection = Client(place, authkey=sys.stdin.buffer.read())
                be_quiet()
                serve(connection)


def fork_when_told(channel: socket.socket) -> None:
    """Fork a decoder for each connection that arrives, until the server has gone."""
    # A terminal or a platform sends these signals to all of a server's processes at once. The
    # server finishes its work first; this process ends when the server does.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)
    be_quiet()
    Image.init()  # imports all formats once, instead of in each decoder
    if HAS_DICOM:
        load_reader()
    gc.freeze()  # keeps the garbage collector away from memory that the decoders share
    while True:
        message, descriptors, *_ = socket.recv_fds(channel, ORDER.size, 1)
        if not message:
            return
        order, process = ORDER.unpack(message)
        if order == KILL:  # the process may be dead already, but it is reaped only here
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
        elif process := os.fork():
            os.close(descriptors[0])
        else:
            channel.close()
            with contextlib.suppress(EOFError, OSError):  # the server has gone
                serve(Connection(descriptors[0]))
            os._exit(0)
        channel.sendall(ORDER.pack(order, process))


def serve(connection: Connection) -> None:
    """Decode files from the connection until it closes, or until too much memory is held."""
    return_freed_memory()
    limit_for_good()
    at_first = anonymous_memory()
    stays = True
    while stays:
        order, data = connection.recv_bytes(), connection.recv_bytes()
        try:
            reply = reply_to(connection, data, order)
        except _NotNow:
            reply = NOT_NOW
        finally:
            lift_limits()
        del data
        stays = anonymous_memory() - at_first <= _MOST_KEPT
        connection.send_bytes((STAYS if stays else LEAVES) + reply)


def reply_to(connection: Connection, data: bytes, order: bytes) -> bytes:
    """Decode a file within the limits and return the reply.

    Args:
        connection: to ask for memory.
        data: the file.
        order: DECODE, or DECODE_WITH_PREVIEW and the preview's longest side.
    """
    with_preview = order[:1] == DECODE_WITH_PREVIEW
    (side,) = LONGEST_SIDE.unpack(order[1:]) if with_preview else (0,)
    allowed = address_space() + OPENING_MEMORY

    def reserve(needed: int) -> None:
        nonlocal allowed
        if needed <= SMALL_IMAGE:
            return
        connection.send_bytes(RESERVE + MEMORY.pack(needed))
        if connection.recv_bytes() != GRANTED:
            raise _NotNow
        allowed += needed
        limit_memory(allowed)

    limit_memory(allowed)
    limit_processor(CPU_LIMIT)
    try:
        image = decode(data, with_preview, reserve, side)
    except ImageError as error:
        return ERROR + json.dumps({"name": error.name, "values": error.values}).encode()
    head = HEAD.pack(*image.full_size, *(image.size or (0, 0)))
    return IMAGE + head + image.pixels.tobytes() + (image.preview or b"")


def decode(
    data: bytes,
    with_preview: bool,
    reserve: Callable[[int], None],
    preview_side: int = PREVIEW_SIDE,
) -> DecodedImage:
    """Decode a file in this process.

    Args:
        data: the file.
        with_preview: whether to make a preview.
        reserve: as in `read_sized`.
        preview_side: the preview's longest side, at most, in pixels.

    Raises:
        ImageError: the file cannot be used.
    """
    try:
        image, full_size = read_sized(data, reserve)
        pixels = preprocess(image)
        if not with_preview:
            return DecodedImage(pixels, full_size)
        image.thumbnail((preview_side, preview_side))
        image.info.clear()  # or Pillow copies a JPEG's comment into the preview
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85)
        return DecodedImage(pixels, full_size, file.getvalue(), image.size)
    except MemoryError as error:
        raise ImageTooCostly from error


if __name__ == "__main__":
    main()
