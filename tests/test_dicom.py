"""DICOM files: the first frame is read in its true colours, and no patient data are kept."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from attacks.formats import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    JPEG2000_SYNTAX,
    JPEG_SYNTAX,
    RLE,
    SYNTAX,
    dicom,
    pixel_elements,
)
from lesion_lens import ROOT
from lesion_lens.model import dicom as reader
from lesion_lens.model.decoding import DecoderPool
from lesion_lens.model.errors import (
    DamagedImage,
    DicomNotRead,
    ImageError,
    ImageTooLarge,
    UnsupportedVariant,
)
from lesion_lens.model.images import read_image
from tests.support.drawings import draw_grainy_lesion, draw_lesion, encode

LESION = draw_lesion((60, 40))
needs_pydicom = pytest.mark.skipif(not reader.HAS_DICOM, reason="needs pydicom")


def of(image, photometric="RGB", syntax=EXPLICIT, pixels=None, bits=8, **changed):
    """Write an image as a DICOM file; `changed` are elements by number, such as _00280006."""
    samples = len(image.getbands()) if image.mode != "P" else 1
    elements = pixel_elements(image.size, samples, photometric, bits)
    elements |= {int(tag[1:], 16): value for tag, value in changed.items()}
    return dicom(elements, image.tobytes() if pixels is None else pixels, syntax)


def far(image, other=LESION):
    """Return the largest difference between two images, in levels."""
    assert image.size == other.size
    return np.abs(np.asarray(image.convert("RGB"), int) - np.asarray(other.convert("RGB"))).max()


@needs_pydicom
@pytest.mark.parametrize("syntax", [SYNTAX, EXPLICIT, DEFLATED])
def test_pixels_that_are_not_compressed_are_read_as_they_are(syntax):
    assert far(read_image(of(LESION, syntax=syntax))) == 0


@needs_pydicom
def test_big_endian_words_are_two_pixels_of_eight_bits():
    swapped = np.frombuffer(LESION.tobytes(), "u2").byteswap().tobytes()
    assert far(read_image(of(LESION, syntax=BIG_ENDIAN, pixels=swapped))) == 0


@needs_pydicom
def test_colours_one_after_the_other_are_put_together():
    planes = b"".join(band.tobytes() for band in LESION.split())
    assert far(read_image(of(LESION, pixels=planes, _00280006=(b"US", 1)))) == 0


@needs_pydicom
@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_ycbcr_becomes_rgb(photometric):
    values = np.asarray(LESION.convert("YCbCr"))
    if photometric == "YBR_FULL_422":
        pairs = values.reshape(40, 30, 6)  # Y Cb Cr Y Cb Cr
        values = np.ascontiguousarray(pairs[..., [0, 3, 1, 2]])
    assert far(read_image(of(LESION, photometric, pixels=values.tobytes()))) < 8


@needs_pydicom
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN])
def test_greys_of_any_depth_are_scaled_to_eight_bits(photometric, bits, syntax):
    grey = LESION.convert("L")
    levels = np.asarray(grey, np.float64) / 255 * (2**bits - 1)
    if photometric == "MONOCHROME1":
        levels = 2**bits - 1 - levels
    stored = np.rint(levels).astype(np.uint8 if bits == 8 else np.uint16)
    if syntax == BIG_ENDIAN:
        stored = stored.view(np.uint16).byteswap()
    data = of(grey, photometric, syntax, stored.tobytes(), bits)
    assert far(read_image(data), grey) == 0


@needs_pydicom
@pytest.mark.parametrize("depth", [8, 16])
def test_a_palette_gives_the_colours(depth):
    image = LESION.quantize(32)
    colours = np.array(image.getpalette(), np.uint16).reshape(-1, 3) * (257 if depth == 16 else 1)
    tables = {}
    for number, column in enumerate(colours.T):
        tables[f"_0028110{number + 1}"] = (b"US", [len(column), 0, depth])
        tables[f"_0028120{number + 1}"] = (b"OW", column.astype("<u2").tobytes())
    assert far(read_image(of(image, "PALETTE COLOR", **tables)), image) == 0


@needs_pydicom
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
def test_a_jpeg_inside_is_decoded(photometric):
    options = {"quality": 95}
    if photometric == "RGB":  # without a marker for RGB
        options |= {"keep_rgb": True}
    frame = encode(LESION, "JPEG", **options)
    if photometric == "RGB":
        start = frame.index(b"\xff\xee")
        frame = frame[:start] + frame[start + 16 :]
    frame = frame.replace(frame[2:20], b"") if frame[2:4] == b"\xff\xe0" else frame
    assert far(read_image(of(LESION, photometric, JPEG_SYNTAX, [frame]))) < 20


@needs_pydicom
@pytest.mark.parametrize("photometric", ["RGB", "YBR_RCT", "YBR_FULL"])
def test_a_jpeg_2000_inside_is_decoded(photometric):
    image = LESION
    if photometric == "YBR_FULL":
        image = Image.frombytes("RGB", LESION.size, LESION.convert("YCbCr").tobytes())
    options = {"no_jp2": True, "mct": photometric == "YBR_RCT"}
    frame = encode(image, "JPEG2000", **options)
    assert far(read_image(of(LESION, photometric, JPEG2000_SYNTAX, [frame]))) < 6


@needs_pydicom
@pytest.mark.parametrize("bits", [8, 16])
def test_rle_is_unpacked(bits):
    grey = LESION.convert("L")
    levels = np.asarray(grey).astype(np.uint16) * (257 if bits == 16 else 1)
    planes = [levels >> 8, levels & 255] if bits == 16 else [levels]
    segments = [
        b"".join(b"\x3b" + row.astype(np.uint8).tobytes() for row in plane) for plane in planes
    ]
    places = [64 + sum(map(len, segments[:number])) for number in range(len(segments))]
    head = np.zeros(16, "<u4")
    head[: len(segments) + 1] = [len(segments), *places]
    frame = head.tobytes() + b"".join(segments)
    assert far(read_image(of(grey, "MONOCHROME2", RLE, [frame], bits)), grey) == 0


@needs_pydicom
@pytest.mark.parametrize("is_coded", [False, True])
def test_only_the_first_frame_is_decoded(is_coded):
    frames = {"_00280008": (b"IS", "2")}
    pixels = LESION.tobytes() + bytes(7200)
    if is_coded:
        pixels = [encode(LESION, "JPEG", quality=95), b"\xff\xd8no image\xff\xd9"]
    data = of(LESION, "YBR_FULL_422" if is_coded else "RGB",
              JPEG_SYNTAX if is_coded else EXPLICIT, pixels, **frames)  # fmt: skip
    assert far(read_image(data)) < 20


@needs_pydicom
def test_a_large_one_is_reduced_a_strip_at_a_time():
    image = draw_grainy_lesion(0, (2400, 1800))
    data = of(image)
    assert read_image(data).size == read_image(encode(image, compress_level=1)).size
    assert far(read_image(data), read_image(encode(image, compress_level=1))) == 0


# --- What is refused -------------------------------------------------------------------------


@needs_pydicom
@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"_00080060": (b"CS", "CT")}, "computed tomography"),
        ({"_00281052": (b"DS", "-1024")}, "measured values"),
        ({"_00280103": (b"US", 1)}, "measured values"),
        ({"_00280100": (b"US", 32)}, "a variant of DICOM"),
        ({"syntax": f"{SYNTAX}.4.80", "pixels": [b"x"]}, "JPEG-LS"),
    ],
    ids=str,
)
def test_what_is_no_photograph_is_named(changed, named):
    with pytest.raises(UnsupportedVariant, match=named):
        read_image(of(LESION, **changed))


@needs_pydicom
def test_a_claim_of_too_many_pixels_is_refused():
    with pytest.raises(ImageTooLarge):
        read_image(of(LESION, _00280010=(b"US", 65_000), _00280011=(b"US", 65_000)))


@needs_pydicom
@pytest.mark.parametrize("syntax", [SYNTAX, EXPLICIT, DEFLATED])
def test_half_of_a_dicom_file_is_damaged(syntax):
    noise = Image.effect_noise((60, 60), 80)
    data = of(noise, "MONOCHROME2", syntax)
    with pytest.raises(DamagedImage):
        read_image(data[: len(data) // 2])


@needs_pydicom
def test_spoiled_bytes_raise_nothing_but_image_errors(capfd):
    rng = np.random.default_rng(0)
    for data in (of(LESION), of(LESION, "YBR_FULL", JPEG_SYNTAX, [encode(LESION, "JPEG")])):
        whole = np.frombuffer(data, np.uint8)
        for _ in range(200):
            spoiled = whole.copy()
            spoiled[rng.integers(132, 600, size=rng.integers(1, 9))] = rng.integers(256)
            try:
                read_image(spoiled.tobytes())
            except ImageError:
                continue
    assert capfd.readouterr() == ("", "")


# --- Decoding limits, patient data and pydicom -----------------------------------------------


@needs_pydicom
def test_a_decoder_reads_the_largest_within_its_limits():
    image = Image.new("RGB", (2900, 2200), (104, 62, 42))
    for syntax in (EXPLICIT, DEFLATED):
        assert DecoderPool().decode(of(image, syntax=syntax)).pixels[0, 0].tolist() == [104, 62, 42]


@needs_pydicom
def test_what_is_said_of_the_patient_is_neither_kept_nor_quoted(capfd):
    patient = {"_00100010": (b"PN", "SECRET^NAME"), "_00100030": (b"DA", "SECRET")}
    whole = of(LESION, **patient)
    frame = reader.first_frame(whole, lambda _: None)
    assert "SECRET" not in repr(frame)
    assert read_image(whole).info == {}
    decoded = DecoderPool().decode(whole, with_preview=True)
    assert b"SECRET" not in decoded.preview
    for spoiled in (whole[:-100], whole[:300], of(LESION, _00080060=(b"CS", "CT"), **patient)):
        with pytest.raises(ImageError) as caught:
            read_image(spoiled)
        assert "SECRET" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_without_pydicom_the_page_and_the_command_line_name_a_remedy(monkeypatch):
    monkeypatch.setattr(reader, "HAS_DICOM", False)
    with pytest.raises(DicomNotRead, match="Export the image as JPEG or PNG") as caught:
        read_image(of(LESION))
    assert "pip install pydicom" in caught.value.at_the_command_line()


def test_pydicom_is_imported_for_no_other_file():
    script = (
        "import sys; from lesion_lens.model.images import read_image;"
        "from tests.support.drawings import draw_lesion, encode; read_image(encode(draw_lesion()));"
        "print('pydicom' in sys.modules)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
