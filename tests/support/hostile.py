"""Files made to take much time or memory; attacks/files makes more kinds."""

import io
import struct

from PIL import Image

from tests.support.drawings import encode


def repeated_scan(times):
    """Return a progressive JPEG whose last scan is repeated many times."""
    data = encode(Image.effect_noise((2000, 2000), 50), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * times + data[-2:]


def repeated_strip(times):
    """Return a TIFF of two strips that lists each strip many times."""
    data = bytearray(encode(Image.new("L", (500, 500)), "TIFF", tiffinfo={278: 250}))
    image = Image.open(io.BytesIO(data))
    offset, size = image.tag_v2[273][0], image.tag_v2[279][0]
    entries = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[entries : entries + 2], "little")
    for entry in range(entries + 2, entries + 2 + 12 * count, 12):
        value = {273: offset, 279: size}.get(int.from_bytes(data[entry : entry + 2], "little"))
        if value is not None:
            data[entry + 2 : entry + 12] = struct.pack("<HII", 4, times, len(data))
            data += struct.pack("<I", value) * times
    return bytes(data)


# A JPEG with a padded first marker: Pillow reads the padding byte by byte, for many seconds.
ENDLESS = b"\xff\xd8" + b"\xff" * 18_000_000


def huge_tile():
    """Return a TIFF of 148 bytes whose only tile has 26,752 pixels a side."""
    entries = {
        256: 100, 257: 100, 258: 8, 259: 1, 262: 1, 277: 1,
        322: 26752, 323: 26752, 324: 8, 325: 10,
    }  # fmt: skip
    data = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    for tag, value in entries.items():
        data += struct.pack("<HHII", tag, 4, 1, value)
    return data + bytes(4)
