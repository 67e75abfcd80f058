"""A browser reads the same 28×28 pixels from a file as the server, and refuses the same files."""

import base64
import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from lesion_lens.model.errors import DamagedImage, EmptyImage
from lesion_lens.model.images import read_image
from lesion_lens.web.device_images import HIDDEN, UNREADABLE, image_limits
from skin_cancer_detection import SIDE, preprocess
from tests.support.device import READ, arguments_of, deviations
from tests.support.drawings import draw_grainy_lesion, encode

# (width, height) around the limits between exact reduction, reduction by whole factors and in two
# steps, and on both sides of the point where Pillow starts with the columns.
SIZES = [
    *((1, 1), (2, 3), (27, 29), (28, 28), (28, 200), (200, 28), (90, 153), (90, 154), (600, 450)),
    *((3000, 2), (5000, 7), (7, 5000), (20_000, 101), (1500, 1400), (2100, 960), (1100, 2300)),
]
LESION = draw_grainy_lesion(1)
JPEG = encode(LESION, "JPEG", quality=90)
PNG = encode(LESION)


@pytest.fixture(scope="module")
def read(page):
    """A function that takes files, as bytes by name, and returns what the browser reads."""
    return lambda files: page.evaluate(READ, arguments_of(files))


@pytest.fixture(scope="module")
def read_aside(page):
    """Like `read`, but in a worker, with a limit of some seconds."""
    program = (
        f"addEventListener('message', async ({{ data }}) => postMessage(await ({READ})(data)));"
    )
    response = {
        "body": program,
        "content_type": "text/javascript",
        "headers": {"Cross-Origin-Embedder-Policy": "require-corp"},  # like the page
    }
    page.route("**/static/reader.js", lambda route: route.fulfill(**response))
    return lambda files: page.evaluate(
        """(data) => new Promise((resolve, reject) => {
            const worker = new Worker("/static/reader.js", { type: "module" });
            worker.addEventListener("message", ({ data }) => resolve(data));
            worker.addEventListener("error", reject);
            worker.postMessage(data);
            setTimeout(() => {
                worker.terminate();
                reject(new Error("it took too long"));
            }, 20_000);
        })""",
        arguments_of(files),
    )


def noise(size, seed=0, bands=3):
    """Make random pixels, which show wrong weights best; large images have few levels."""
    levels = 256 if size[0] * size[1] < 100_000 else 4
    shape = (size[1], size[0], bands)
    pixels = np.random.default_rng(seed).integers(0, levels, shape) * (255 // (levels - 1))
    return Image.fromarray(pixels.astype(np.uint8))


def with_orientation(orientation, image_format="JPEG"):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encode(LESION.crop((0, 0, 333, 251)), image_format, exif=exif)


def other_colours():
    """Return a colour profile that swaps red and green."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")


def test_pngs_of_any_size_give_the_same_bytes(read):
    files = {str(size): encode(noise(size), compress_level=1) for size in SIZES}
    assert {most for most, _ in deviations(read(files), files).values()} == {0}


def test_small_pngs_of_random_sizes_give_the_same_bytes(read):
    sizes = np.random.default_rng(1).integers(1, 200, (40, 2))
    files = {str(seed): encode(noise(size, seed)) for seed, size in enumerate(sizes.tolist())}
    assert {most for most, _ in deviations(read(files), files).values()} == {0}


def test_pngs_without_colours_give_the_same_bytes(read):
    files = {mode: encode(LESION.convert(mode)) for mode in ("L", "P", "1")}
    assert {most for most, _ in deviations(read(files), files).values()} == {0}


def test_what_is_transparent_lies_on_white(read):
    images = {
        "RGBA": noise((60, 45), bands=4),
        "small": noise((28, 28), bands=4),
        "LA": noise((60, 45), bands=4).convert("LA"),
    }
    files = {name: encode(image) for name, image in images.items()}
    assert max(most for most, _ in deviations(read(files), files).values()) <= 1


def test_jpegs_of_all_kinds_give_nearly_the_same(read):
    kinds = {f"chroma {kind}": {"subsampling": kind} for kind in (0, 1, 2)}
    kinds["progressive"] = {"progressive": True}
    files = {name: encode(LESION, "JPEG", quality=90, **kind) for name, kind in kinds.items()}
    files |= {mode: encode(LESION.convert(mode), "JPEG") for mode in ("L", "CMYK")}
    assert_close(deviations(read(files), files))


def assert_close(found):
    """Assert the agreement of JPEG decoders: within 2 levels, and below 0.1 on average."""
    assert max(most for most, _ in found.values()) <= 2
    assert max(mean for _, mean in found.values()) < 0.1


def test_images_are_turned_upright(read):
    files = {str(orientation): with_orientation(orientation) for orientation in range(1, 9)}
    files["PNG"] = with_orientation(6, "PNG")
    found = read(files)
    assert_close(deviations(found, files))
    assert found["6"]["full_size"] == [251, 333]


def test_other_formats_give_nearly_the_same(read):
    files = {name: encode(LESION, name) for name in ("WEBP", "BMP", "AVIF")}
    files["GIF"] = encode(LESION.convert("P"), "GIF")
    assert_close(deviations(read(files), files))


def test_of_several_frames_the_first_counts(read):
    others = [LESION.rotate(90), LESION.rotate(180)]
    files = {
        name: encode(LESION, name, save_all=True, append_images=others) for name in ("GIF", "PNG")
    }
    assert_close(deviations(read(files), files))


def test_colour_profiles_are_ignored(read):
    formats = ("PNG", "JPEG", "WEBP", "AVIF")
    files = {name: encode(LESION, name, icc_profile=other_colours()) for name in formats}
    assert_close(deviations(read(files), files))


def test_a_large_jpeg_gives_nearly_the_same(read):
    """The server reduces such a JPEG differently, while decoding it."""
    large = draw_grainy_lesion(5, (800, 600)).resize((4000, 3000), Image.Resampling.BICUBIC)
    files = {"12 megapixels": encode(large, "JPEG", quality=90)}
    found = read(files)
    assert_close(deviations(found, files))
    assert found["12 megapixels"]["full_size"] == [4000, 3000]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", str(EmptyImage())),
        (b"hello", UNREADABLE),
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', UNREADABLE),
        (encode(LESION, "TIFF"), UNREADABLE),
        (JPEG[:20] + JPEG[-2:], UNREADABLE),
        (JPEG[:-2], str(DamagedImage())),
        (PNG[: len(PNG) // 2], str(DamagedImage())),
        (PNG.replace(b"IDAT", b"IDAT\1", 1), str(DamagedImage())),
        *(
            (encode(LESION.convert("P"), name)[:-99], str(DamagedImage()))
            for name in ("GIF", "BMP")
        ),
        *((encode(LESION, name)[:-99], str(DamagedImage())) for name in ("WEBP", "AVIF")),
        (encode(Image.new("1", (6000, 5000))), "The image has more than 25 million pixels"),
        (encode(Image.new("1", (20_001, 3))), "The image has more than 20,000 pixels on one side"),
        (encode(Image.new("L", (8000, 6300)), "JPEG"), "The image has more than 50 million"),
        (encode(Image.new("P", (5100, 5000)), "GIF"), "The image has more than 25 million pixels"),
    ],
    ids=[
        *("empty", "text", "svg", "tiff", "hollow-jpeg", "cut-jpeg", "cut-png", "spoiled-png"),
        *("cut-gif", "cut-bmp", "cut-webp", "cut-avif"),
        *("large-png", "long-png", "large-jpeg", "large-gif"),
    ],
)
def test_what_cannot_be_used_gets_its_sentence(read, data, sentence):
    assert read({"image": data})["image"]["error"].startswith(sentence)


# --- What the bytes say before anything is decoded -------------------------------------------


def with_bytes(data, at, other):
    """Replace bytes of a file, starting at `at`."""
    return data[:at] + other + data[at + len(other) :]


def with_sizes(data, side):
    """Change the size boxes of an AVIF to side × side."""
    size = struct.pack(">2I", side, side)
    return re.sub(rb"(ispe\0{4}).{8}", lambda found: found[1] + size, data, flags=re.DOTALL)


def with_long_box(data):
    """Write the length of an AVIF's "meta" box in 8 bytes."""
    at = data.index(b"meta") - 4
    length = int.from_bytes(data[at : at + 4])
    return data[:at] + struct.pack(">I4sQ", 1, b"meta", 8 + length) + data[at + 8 :]


def bomb_of_rows(header=40):
    """Return a BMP of 20000 × 20000 pixels in a few bytes, with run-length coding."""
    size = struct.pack("<2H2H" if header == 12 else "<2i2H", 20_000, 20_000, 1, 8)
    coded = struct.pack("<6I", 1, 0, 0, 0, 256, 0) if header == 40 else b""
    data = struct.pack("<I", header) + size + coded + bytes(1024) + b"\0\1"
    return b"BM" + struct.pack("<3I", 14 + len(data), 0, 14 + len(data) - 2) + data


def webp(**options):
    return encode(LESION, "WEBP", **options)


CLEAR = noise((61, 45), bands=4)
FRAMES = [LESION.rotate(90), LESION.rotate(180)]
GIF = encode(LESION.convert("P"), "GIF")
AVIF = encode(LESION, "AVIF")
BOMBS = {
    "PNG": with_bytes(PNG, 16, struct.pack(">2I", 20_000, 20_000)),
    "GIF": GIF.replace(struct.pack("<2H", *LESION.size), struct.pack("<2H", 20_000, 20_000)),
    "WebP VP8X": with_bytes(encode(CLEAR, "WEBP"), 24, b"\xfe\x3f\0" * 2),
    "WebP VP8": with_bytes(webp(), 26, b"\xff\x3f" * 2),
    "WebP VP8L": with_bytes(webp(lossless=True), 21, struct.pack("<I", (1 << 28) - 1)),
    "AVIF": with_sizes(AVIF, 12_000),
    "AVIF, a box of the other kind": with_long_box(with_sizes(AVIF, 12_000)),
    "BMP, coded": bomb_of_rows(),
    "BMP of OS/2": bomb_of_rows(12),
}
ORDINARY = {
    "JPEG": JPEG,
    "progressive": encode(LESION, "JPEG", progressive=True),
    "PNG": PNG,
    "APNG": encode(LESION, save_all=True, append_images=FRAMES),
    "BMP": encode(LESION, "BMP"),
    "GIF": GIF,
    "GIF, animated": encode(LESION, "GIF", save_all=True, append_images=FRAMES),
    "WebP": webp(),
    "WebP, lossless": webp(lossless=True),
    "WebP, profile": webp(icc_profile=other_colours()),
    "WebP, animated": webp(save_all=True, append_images=FRAMES),
    "WebP, alpha": encode(CLEAR, "WEBP"),
    "WebP, lossless, alpha": encode(CLEAR, "WEBP", lossless=True),
    "AVIF": AVIF,
    "AVIF, alpha": encode(CLEAR, "AVIF"),
    "AVIF, animated": encode(LESION, "AVIF", save_all=True, append_images=FRAMES),
}


def test_sizes_are_known_before_decoding(page):
    found = page.evaluate(
        """async (files) => {
            const { lookInto } = await import("/static/formats.js");
            const bytes = (data) => Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0));
            return files.map((data) => lookInto(bytes(data)));
        }""",
        [base64.b64encode(data).decode() for data in ORDINARY.values()],
    )
    for (name, data), seen in zip(ORDINARY.items(), found, strict=True):
        assert (name, *seen["size"]) == (name, *Image.open(io.BytesIO(data)).size)
        assert seen["isWhole"], name


def test_what_is_too_large_is_never_decoded(desk, address):
    page = desk.new_page()
    page.goto(address)
    page.evaluate("() => { globalThis.createImageBitmap = () => { throw new Error('decoded'); }; }")
    found = page.evaluate(READ, arguments_of(BOMBS | {"small": PNG}))
    page.close()
    assert found.pop("small")["error"] == UNREADABLE  # the fault that the others would get
    too_large = image_limits()["sentences"]["large"]
    assert found == {name: {"error": too_large} for name in BOMBS}


@pytest.mark.parametrize("length", [0, 15])
def test_a_box_that_is_shorter_than_its_head_is_passed_over(read_aside, length):
    box = struct.pack(">I4sQ", 1, b"mdat", length)
    data = b"\0\0\0\x18ftypavif" + bytes(12) + box + bytes(40)
    assert read_aside({"image": data})["image"]["error"] == str(DamagedImage())


def test_what_browsers_take_another_frame_of_is_refused(read):
    files = {
        "APNG": encode(LESION, save_all=True, append_images=FRAMES, default_image=True),
        "GIF, wide": with_bytes(GIF, 6, struct.pack("<2H", 700, 450)),
        "GIF, high": with_bytes(GIF, 6, struct.pack("<2H", 600, 500)),
        "AVIF": ORDINARY["AVIF, animated"],
    }
    assert {read_image(data).size >= LESION.size for data in files.values()} == {True}
    assert {image["error"] for image in read(files).values()} == {UNREADABLE}


def chunk(name, data):
    """Return a PNG chunk."""
    checksum = zlib.crc32(name + data)
    return struct.pack(">I4s", len(data), name) + data + struct.pack(">I", checksum)


SPOILED = chunk(b"tEXt", b"Comment\0a")[:-1] + b"?"


CHUNKS = {
    "gAMA": chunk(b"gAMA", struct.pack(">I", 100_000)),
    "cHRM": chunk(b"gAMA", struct.pack(">I", 45_455))
    + chunk(b"cHRM", struct.pack(">8I", *(31_270, 32_900, 30_000, 60_000, *[20_000] * 4))),
    "sRGB": chunk(b"sRGB", b"\0"),
    "iCCP": chunk(b"iCCP", b"a\0\0" + zlib.compress(other_colours())),
}


def test_other_chunks_of_a_png_change_nothing(read):
    files = {name: PNG[:33] + data + PNG[33:] for name, data in CHUNKS.items()}
    files["spoiled"] = PNG[:-12] + SPOILED + PNG[-12:]
    assert {most for most, _ in deviations(read(files), files).values()} == {0}


def test_no_decoder_finds_a_colour_profile(page):
    """Chromium ignores them anyway, as requested; WebKit does not."""
    files = [PNG[:33] + data + PNG[33:] for data in CHUNKS.values()]
    files += [
        encode(LESION, name, icc_profile=other_colours()) for name in ("JPEG", "WEBP", "AVIF")
    ]
    left = page.evaluate(
        """async (files) => {
            const { lookInto } = await import("/static/formats.js");
            return files.map((data) => {
                const bytes = Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0));
                lookInto(bytes);
                return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
            });
        }""",
        [base64.b64encode(data).decode() for data in files],
    )
    for before, after in zip(files, map(base64.b64decode, left), strict=True):
        assert colours_of(before)
        assert not colours_of(after)


def colours_of(data):
    """Return the colour information that Pillow finds in a file."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image.info.keys() & {"icc_profile", "gamma", "chromaticity", "srgb"}


def test_a_spoiled_chunk_before_the_pixels_is_refused_as_by_the_server(read):
    data = PNG[:33] + SPOILED + PNG[33:]
    with pytest.raises(DamagedImage):
        read_image(data)
    assert read({"image": data})["image"]["error"] == str(DamagedImage())


# --- What else a browser does, and gives ------------------------------------------------------


def test_a_browser_that_hides_pixels_gets_no_answer(desk, address):
    page = desk.new_page()
    page.goto(address)
    page.evaluate(
        """() => {
            const { prototype } = CanvasRenderingContext2D;
            const { getImageData } = prototype;
            prototype.getImageData = function (...box) {
                const image = getImageData.apply(this, box);
                image.data.fill(255);
                return image;
            };
        }"""
    )
    found = page.evaluate(READ, arguments_of({"image": PNG}))
    page.close()
    assert found["image"]["error"] == HIDDEN


def picture(address):
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_a_browser_gives_the_pixels_and_a_small_copy_as_pictures(read):
    found = read({"image": encode(noise((1300, 900)), "JPEG", comment=b"Jane Doe")})["image"]
    seen = picture(found["png"])
    assert np.array_equal(np.asarray(seen.convert("RGB")).ravel(), found["pixels"])
    assert seen.size == (SIDE, SIDE)
    preview = picture(found["preview"])
    assert preview.format == "JPEG"
    assert [*preview.size] == found["preview_size"] == [600, 415]
    assert "Jane" not in str(preview.info)


def test_a_worker_reads_the_same(read_aside):
    files = {
        "PNG": encode(noise((1500, 1400)), compress_level=1),
        "small": encode(noise((28, 28))),
    }
    found = read_aside(files)
    assert {most for most, _ in deviations(found, files).values()} == {0}
    assert picture(found["PNG"]["preview"]).size == (600, 560)


def test_the_limits_are_the_servers(app):
    limits = image_limits()
    assert app.json.loads(app.json.dumps(limits)) == limits
    assert preprocess(read_image(PNG)).shape == (limits["side"], limits["side"], 3)
