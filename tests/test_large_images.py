"""Large images, which are reduced while decoding: the size kept, and the effect on answers."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image

from lesion_lens.model.classifier import Classifier
from lesion_lens.model.errors import DamagedImage
from lesion_lens.model.images import MAX_PIXELS, read_image
from skin_cancer_detection import EXACT_PIXELS, SIDE, preprocess
from tests.support.drawings import draw_grainy_lesion, encode
from tests.support.models import MODEL

TWELVE_MEGAPIXELS = (4000, 3000)
JPEG = {"image_format": "JPEG", "quality": 92}
PNG = {"image_format": "PNG", "compress_level": 1}
JPEG2000 = {"image_format": "JPEG2000", "irreversible": True, "quality_layers": [12]}


def noise(size):
    """Make random pixels, which are the hardest to reduce."""
    grain = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(grain)


def exactly_reduced(data):
    """Return the pixels by Pillow alone: the full image, decoded and reduced with LANCZOS."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS))


# --- What is kept ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [JPEG, PNG], ids=["JPEG", "PNG"])
@pytest.mark.parametrize(
    "size", [(28, 28), (600, 450), (1600, 1250), (1000, 2000), (20_000, 100)], ids=str
)
def test_up_to_two_megapixels_the_reduction_is_exact(size, options):
    assert size[0] * size[1] <= EXACT_PIXELS
    data = encode(noise(size), **options)
    assert np.array_equal(preprocess(read_image(data)), exactly_reduced(data))


@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        ((1500, 1400), (750, 700)),
        ((4000, 3000), (1000, 750)),
        ((3000, 4000), (750, 1000)),
        ((6000, 4000), (1500, 1000)),
        ((5000, 5000), (625, 625)),
        ((2500, 1199), (1250, 600)),
        ((20_000, 1000), (10_000, 500)),
    ],
    ids=str,
)
def test_a_large_jpeg_is_decoded_at_a_size_that_its_format_offers(size, decoded):
    assert read_image(encode(Image.new("RGB", size), "JPEG")).size == decoded


@pytest.mark.parametrize(
    ("size", "decoded"), [((1501, 1403), (751, 702)), ((2501, 2405), (626, 602))], ids=str
)
def test_a_large_jpeg_2000_is_halved_while_it_is_decoded(size, decoded):
    assert read_image(encode(Image.new("RGB", size), "JPEG2000")).size == decoded


def test_a_large_jpeg_2000_that_cannot_be_halved_is_reduced_afterwards():
    data = encode(Image.new("RGB", (1500, 1400)), "JPEG2000", num_resolutions=1)
    assert read_image(data).size == (500, 467)


@pytest.mark.parametrize("size", [(1500, 1400), (5000, 5000), (20_000, 1000), (1000, 20_000)])
@pytest.mark.parametrize("options", [JPEG, PNG], ids=["JPEG", "PNG"])
def test_lanczos_sees_at_least_eight_times_the_target(monkeypatch, size, options):
    seen, reduce = [], Image.Image.reduce

    def reduced(image, *arguments, **settings):
        small = reduce(image, *arguments, **settings)
        seen.append(small.size)
        return small

    image = read_image(encode(Image.new("RGB", size), **options))
    monkeypatch.setattr(Image.Image, "reduce", reduced)
    preprocess(image)
    assert min(seen[-1] if seen else image.size) >= 8 * SIDE


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_jpeg_is_turned_upright(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    lesion = draw_grainy_lesion(3).resize((2000, 1500))
    lesion.paste("navy", (0, 0, 1000, 750))  # so that all orientations differ
    upright = read_image(encode(lesion, **PNG, exif=exif))  # decoded at full size
    drafted = read_image(encode(lesion, **JPEG, exif=exif))
    assert (drafted.width > drafted.height) == (upright.width > upright.height)
    assert np.abs(preprocess(drafted).astype(int) - preprocess(upright)).max() <= 3


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_large_jpeg_of_another_mode_is_reduced_too(mode):
    data = encode(noise((1500, 1400)).resize((3000, 2800)).convert(mode), **JPEG)
    image = read_image(data)
    assert (image.mode, image.size) == ("RGB", (750, 700))
    assert np.abs(preprocess(image).astype(int) - exactly_reduced(data)).max() <= 3


@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_a_large_jpeg_that_breaks_off_is_damaged(progressive):
    data = encode(noise((2000, 1500)), **JPEG, progressive=progressive)
    with pytest.raises(DamagedImage):
        read_image(data[: len(data) // 2])


# --- The effect on the answers ---------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier():
    return Classifier(MODEL)


def largest_move(classifier, images, options, size=TWELVE_MEGAPIXELS):
    """Return the largest change of a shown probability for images enlarged to a size."""
    moves = []
    for image in images:
        data = encode(image.resize(size, Image.Resampling.BICUBIC), **options)
        ours, exact = preprocess(read_image(data)), exactly_reduced(data)
        moves.append(np.abs(classifier(ours).probabilities - classifier(exact).probabilities).max())
    print(f"{options['image_format']}: a probability moves by up to {max(moves):.4f}")
    return max(moves)


@pytest.mark.parametrize(("options", "count"), [(JPEG, 4), (PNG, 1)], ids=["JPEG", "PNG"])
def test_no_probability_of_a_drawn_lesion_moves_by_more_than_a_hundredth(
    classifier, options, count
):
    images = [draw_grainy_lesion(seed) for seed in range(count)]
    assert 0 < largest_move(classifier, images, options) <= 0.01


def test_no_probability_of_a_jpeg_2000_moves_by_more_than_a_hundredth(classifier):
    moved = largest_move(classifier, [draw_grainy_lesion(0)], JPEG2000, (2403, 1801))
    assert 0 < moved <= 0.01


def test_no_probability_of_the_largest_photographs_moves_by_more_than_a_hundredth(classifier):
    size = (5003, 4987)  # decoded at an eighth
    assert size[0] * size[1] <= MAX_PIXELS
    assert 0 < largest_move(classifier, [draw_grainy_lesion(4)], JPEG, size) <= 0.01


@pytest.mark.parametrize(("options", "count"), [(JPEG, 8), (PNG, 2)], ids=["JPEG", "PNG"])
def test_no_probability_of_an_original_moves_by_more_than_a_hundredth(
    classifier, original_files, options, count
):
    files = original_files[:: -(-len(original_files) // count)]
    images = [Image.open(file).convert("RGB") for file in files]
    assert 0 < largest_move(classifier, images, options) <= 0.01
